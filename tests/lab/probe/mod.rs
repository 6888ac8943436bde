//! The wire probe: does an MSRP relay, any MSRP relay, do what RFC 4975 says when the network is not kind?

mod answers;
mod command;
mod framing;
mod refusals;
mod relay;
mod sip;
mod stream;
mod target;

use std::{fmt, future::Future, pin::Pin, time::Instant};

use anyhow::Result;
use serde::Serialize;

pub use command::{Arguments, run};
pub use relay::RelayTarget;
pub use sip::SipTarget;
pub use target::{Pair, PairFuture, PathsTarget, Target};

/// What the checks may be told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Octets of the body in the check of one very large frame.
    pub large: u64,
    /// Process whose memory is watched meanwhile.
    pub pid: Option<u32>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { large: 200 << 20, pid: None }
    }
}

/// A check's outcome: a note for people, or what went wrong.
type Outcome<'a> = Pin<Box<dyn Future<Output = Result<String>> + 'a>>;

/// One check.
#[derive(Clone, Copy)]
pub struct Check {
    /// Name on the command line.
    pub name: &'static str,
    /// What a good relay does.
    pub what: &'static str,
    run: for<'a> fn(&'a mut dyn Target, &'a Settings) -> Outcome<'a>,
}

macro_rules! check {
    ($name:literal, $what:literal, $run:path) => {
        Check { name: $name, what: $what, run: |target, settings| Box::pin($run(target, settings)) }
    };
}

/// All checks, in the order in which they run.
pub const CHECKS: &[Check] = &[
    check!("whole", "a message arrives unchanged and is answered 200", framing::whole),
    check!("split", "a frame cut at any octet, into any number of segments", framing::split),
    check!("one-octet", "a frame one octet at a time", framing::one_octet),
    check!("twenty", "20 frames in one segment", framing::twenty),
    check!("pipeline", "more than 64 KB of frames at once", framing::pipeline),
    check!("look-alike", "a body with foreign end-lines and all octets", framing::look_alike),
    check!("large", "one very large frame, passed on while it comes, memory bounded", stream::large),
    check!("chunks", "three chunks of one message", framing::chunks),
    check!("abandoned", "a message abandoned with #", framing::abandoned),
    check!("unknown-total", "Byte-Range 1-*/*", framing::unknown_total),
    check!("empty", "Byte-Range 1-0/0 without body", framing::empty),
    check!("extension", "an unknown header disturbs nothing", framing::extension),
    check!("no-report", "Failure-Report: no is never answered", answers::no_report),
    check!("partial-report", "Failure-Report: partial is not answered 200", answers::partial_report),
    check!("report-back", "a Success-Report comes back to the sender", answers::report_back),
    check!("bare-status", "the next hop's answer needs no comment", answers::bare_status),
    check!("next-hop-413", "the next hop's 413 reaches the sender", answers::next_hop_413),
    check!("next-hop-gone", "the next hop is gone: an error, and never a 200", answers::next_hop_gone),
    check!("stray-response", "a response to nothing disturbs nothing", answers::stray_response),
    check!("third-party", "a third party cannot use another's session", refusals::third_party),
    check!("unknown-session", "an unknown session is answered 481", refusals::unknown_session),
    check!(
        "unknown-method",
        "an unknown method is answered 501, the connection lives",
        refusals::unknown_method
    ),
    check!("malformed", "a malformed header is answered 400, the connection lives", refusals::malformed),
    check!("no-message-id", "a SEND without Message-ID is answered 400", refusals::no_message_id),
    check!("garbage", "octets that are no MSRP disturb no other session", refusals::garbage),
];

/// The check of this name.
pub fn check(name: &str) -> Option<&'static Check> {
    CHECKS.iter().find(|check| check.name == name)
}

/// The result of one check.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Name of the check.
    pub check: &'static str,
    /// What a good relay does.
    pub what: &'static str,
    /// Could it be asked of this one?
    pub asked: bool,
    /// Did this one?
    pub passed: bool,
    /// A note, or what went wrong.
    pub note: String,
    /// Milliseconds that the check took.
    pub milliseconds: u128,
}

impl Verdict {
    /// `ok`, `FAIL`, or `n/a` where it could not be asked.
    pub fn result(&self) -> &'static str {
        match (self.asked, self.passed) {
            (false, _) => "n/a",
            (true, true) => "ok",
            (true, false) => "FAIL",
        }
    }
}

/// The check makes no sense for this relay.
#[derive(Debug)]
pub struct NotAsked(pub &'static str);

impl fmt::Display for NotAsked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NotAsked {}

impl Check {
    /// Runs the check against `target`.
    pub async fn run(&self, target: &mut dyn Target, settings: &Settings) -> Verdict {
        let begin = Instant::now();
        let outcome = (self.run)(target, settings).await;
        let passed = outcome.is_ok();
        let asked = !outcome.as_ref().is_err_and(|error| error.is::<NotAsked>());
        let note = outcome.unwrap_or_else(|error| format!("{error:#}"));
        let milliseconds = begin.elapsed().as_millis();
        Verdict { check: self.name, what: self.what, asked, passed, note, milliseconds }
    }
}

/// A deterministic body of `length` octets that differs with `seed`; all octet values occur.
pub fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut octets = Vec::with_capacity(length + 8);
    while octets.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        octets.extend_from_slice(&state.to_le_bytes());
    }
    octets.truncate(length);
    octets
}
