//! Payloads that are exactly one message which the kernel programs may carry.
//!
//! A second, narrower reader of MSRP beside [`crate::msrp`]: it takes a part of what the full grammar takes, and is
//! tested against it (`tests/whole.rs`). What it does not take goes to userspace, so every doubt is a refusal. It is
//! written for the verifier: it reads words at bounded places, and its loops are steps that the reader repeats.

mod body;
mod content;
mod line;
mod long;
mod response;
mod word;

pub use content::Content;
pub use long::{FRONT, LONG_MAX, TAIL, TAIL_AT, TAIL_END, body_in_piece, send_long};
pub use response::{response, responses};

use crate::{
    maps::{BLOCK_MAX, SESSION_MIN},
    msrp::{IDENT_MAX, IDENT_MIN, ident::is_ident_char},
};
use word::{cut, pair, text};

/// The longest message that is read as a whole; for longer ones see [`send_long`].
pub const WHOLE_MAX: u32 = 2048;

/// The shortest one: no paths are as short.
pub const WHOLE_MIN: u32 = 64;

/// The transaction id begins here.
pub const TID_AT: u32 = 5;

/// Octets of `-------`, flag and CRLF.
const AROUND_TID: u32 = 7 + 1 + 2;

/// A payload, and how to repeat a step over it.
pub trait Reader {
    /// The octet at `at`; any value beyond the payload.
    fn octet(&self, at: u32) -> u8;

    /// The eight octets from `at` on, the first in the lowest bits; any values beyond the payload.
    fn word(&self, at: u32) -> u64;

    /// Calls [`Step::run`] until it says that it is done, at most [`Step::most`] times.
    fn repeat(&self, step: Step, scan: &mut Scan);
}

/// What is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// One octet of the transaction id.
    Ident,
    /// Eight octets of header lines.
    Line,
    /// 64 octets of the body.
    Body,
    /// One more response like the first.
    Again,
}

impl Step {
    /// How many steps are enough for any payload.
    pub const fn most(self) -> u32 {
        match self {
            Step::Ident => IDENT_MAX as u32 + 1,
            // Each line ends in a word of its own.
            Step::Line => WHOLE_MAX / 8 + LINES,
            Step::Body => WHOLE_MAX / 64 + 1,
            Step::Again => WHOLE_MAX / WHOLE_MIN + 1,
        }
    }

    /// One step; whether another one is needed.
    #[inline(always)]
    pub fn run<R: Reader>(self, reader: &R, scan: &mut Scan) -> bool {
        match self {
            Step::Ident => ident(reader, scan),
            Step::Line => line::step(reader, scan),
            Step::Body => body::step(reader, scan),
            Step::Again => response::again(reader, scan),
        }
    }
}

/// The most header lines behind the paths.
const LINES: u32 = 64;

/// How far the reading is. Positions are octets from the beginning of the payload.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Scan {
    /// The next octet to look at.
    pub at: u32,
    /// Where to stop.
    pub end: u32,
    /// Where the line began.
    pub line: u32,
    /// Its first colon; 0: none yet.
    pub colon: u32,
    /// Headers that were there.
    pub seen: u32,
    /// Octets of the body by Byte-Range.
    pub length: u32,
    /// 1 if any content type will do.
    pub any_type: u32,
    /// 0 while it goes on, then [`DONE`] or a refusal.
    pub state: u32,
}

/// The scan came to a good end.
const DONE: u32 = 1;
/// With this added: a [`Content`] by its index.
const REFUSED: u32 = 2;

impl Scan {
    #[inline(always)]
    fn refuse(&mut self, why: Content) -> bool {
        self.state = REFUSED + why as u32;
        false
    }

    #[inline(always)]
    fn done(&mut self) -> bool {
        self.state = DONE;
        false
    }
}

/// What the start line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// SEND, or else `200 OK`.
    pub send: bool,
    /// Octets of the transaction id.
    pub tid_len: u32,
    /// Where the path block begins.
    pub block: u32,
}

/// Reads the start line of a payload of `len` octets.
#[inline(always)]
pub fn start<R: Reader>(reader: &R, len: u32, scan: &mut Scan) -> Result<Start, Content> {
    if len > WHOLE_MAX {
        return Err(Content::Long);
    }
    if len < WHOLE_MIN {
        return Err(Content::Short);
    }
    if cut(reader.word(0), 5) != text(b"MSRP ") {
        return Err(Content::NoStart);
    }
    scan.at = TID_AT;
    reader.repeat(Step::Ident, scan);
    let tid_len = scan.at.wrapping_sub(TID_AT);
    let space = TID_AT + tid_len;
    let good = tid_len >= IDENT_MIN as u32 && tid_len <= IDENT_MAX as u32;
    if !good || !reader.octet(TID_AT).is_ascii_alphanumeric() || reader.octet(space) != b' ' {
        return Err(Content::NoStart);
    }
    let method = reader.word(space + 1);
    if cut(method, 6) == text(b"SEND\r\n") {
        Ok(Start { send: true, tid_len, block: space + 7 })
    } else if method == text(b"200 OK\r\n") {
        Ok(Start { send: false, tid_len, block: space + 9 })
    } else {
        Err(Content::Method)
    }
}

/// The key of the session whose id begins at `at`.
#[inline(always)]
pub fn session<R: Reader>(reader: &R, at: u32) -> [u8; SESSION_MIN] {
    pair(reader.word(at), reader.word(at + 8))
}

/// Whether the path block at `at` is this one, of which `len` octets count.
#[inline(always)]
pub fn path<R: Reader>(reader: &R, at: u32, block: &[u8; BLOCK_MAX], len: u32) -> bool {
    let mut done = 0;
    for wanted in block.as_chunks::<8>().0 {
        if done >= len {
            break;
        }
        let differs = reader.word(at + done) ^ u64::from_le_bytes(*wanted);
        if cut(differs, len - done) != 0 {
            return false;
        }
        done += 8;
    }
    true
}

/// Whether the end-line of the last chunk stands at `at`, and nothing behind it.
#[inline(always)]
fn end_line<R: Reader>(reader: &R, at: u32, tid_len: u32, len: u32) -> bool {
    if at.wrapping_add(AROUND_TID).wrapping_add(tid_len) != len || len > WHOLE_MAX {
        return false;
    }
    if cut(reader.word(at), 7) != text(b"-------") {
        return false;
    }
    let mut done = 0;
    while done < IDENT_MAX as u32 {
        if done < tid_len {
            let differs = reader.word(TID_AT + done) ^ reader.word(at + 7 + done);
            if cut(differs, tid_len - done) != 0 {
                return false;
            }
        }
        done += 8;
    }
    cut(reader.word(at + 7 + tid_len), 3) == text(b"$\r\n")
}

/// Reads a SEND behind its path block.
#[inline(always)]
pub fn send<R: Reader>(
    reader: &R,
    start: &Start,
    fields: u32,
    any_type: bool,
    len: u32,
    scan: &mut Scan,
) -> Result<(), Content> {
    let (body, length) = lines(reader, fields, len, any_type, scan)?;
    let behind = body.wrapping_add(length);
    if behind > WHOLE_MAX || cut(reader.word(behind), 2) != text(b"\r\n") {
        return Err(Content::End);
    }
    if !end_line(reader, behind + 2, start.tid_len, len) {
        return Err(Content::End);
    }
    body::look(reader, body, behind, scan)
}

/// Reads the header lines from `fields` on, which end before `end`: where the body begins, and how long it is.
#[inline(always)]
fn lines<R: Reader>(
    reader: &R,
    fields: u32,
    end: u32,
    any_type: bool,
    scan: &mut Scan,
) -> Result<(u32, u32), Content> {
    *scan = Scan { at: fields, end, line: fields, any_type: any_type as u32, ..Scan::default() };
    reader.repeat(Step::Line, scan);
    line::verdict(scan)?;
    Ok((scan.at, scan.length))
}

/// One octet of a transaction id.
#[inline(always)]
fn ident<R: Reader>(reader: &R, scan: &mut Scan) -> bool {
    if is_ident_char(reader.octet(scan.at)) {
        scan.at = scan.at.wrapping_add(1);
        return true;
    }
    false
}
