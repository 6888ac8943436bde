//! Who connects (RFC 4145, RFC 6135) and where to (RFC 4975, RFC 6714).

use super::MsrpLine;
use crate::core::event::{RemoteLeg, Setup};

/// A value of `a=setup` that an endpoint may send. `holdconn` is never sent and ignored when received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupAttr {
    /// Its writer connects.
    Active,
    /// Its writer does either.
    Actpass,
    /// Its writer waits.
    Passive,
}

impl SetupAttr {
    /// The value on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            SetupAttr::Active => "active",
            SetupAttr::Actpass => "actpass",
            SetupAttr::Passive => "passive",
        }
    }

    /// Reads a value; `None` for `holdconn` and anything unknown.
    pub fn parse(value: &str) -> Option<SetupAttr> {
        let value = value.trim();
        [SetupAttr::Active, SetupAttr::Actpass, SetupAttr::Passive]
            .into_iter()
            .find(|s| s.as_str().eq_ignore_ascii_case(value))
    }
}

/// What we answer to an offered `a=setup`: `passive`, as the clause demands towards the client, unless the offer
/// was (against RFC 6135 section 4.2.2) `passive`, which leaves only `active`.
pub fn answer_setup(offered: Option<SetupAttr>) -> SetupAttr {
    match offered {
        Some(SetupAttr::Passive) => SetupAttr::Active,
        Some(SetupAttr::Active | SetupAttr::Actpass) | None => SetupAttr::Passive,
    }
}

/// Our role, from what we wrote and what the peer wrote, whoever offered (RFC 4145 section 4.1).
/// An answerer that says nothing is passive, an offerer that says nothing active. Where both wrote `passive`,
/// which the table forbids, we connect, because somebody has to.
pub fn our_role(local: SetupAttr, remote: Option<SetupAttr>) -> Setup {
    match (local, remote) {
        (SetupAttr::Active, _) => Setup::Active,
        (SetupAttr::Actpass, Some(SetupAttr::Active)) => Setup::Passive,
        (SetupAttr::Actpass, _) => Setup::Active,
        (SetupAttr::Passive, Some(SetupAttr::Passive)) => Setup::Active,
        (SetupAttr::Passive, _) => Setup::Passive,
    }
}

/// The peer's side of a leg. Where we are active we connect to
///
/// - the address in `c=`/`m=` if the peer does CEMA (RFC 6714 section 4.2),
/// - else, with `legacy_matching` (the operator's policy), there as well, because that is what a session
///   border controller rewrote; the messages are then matched by session-id only,
/// - else to the nearest URI of the path (RFC 4975 section 8.1).
pub fn remote_leg(line: &MsrpLine, our: Setup, legacy_matching: bool) -> RemoteLeg {
    let legacy_matching = legacy_matching && !line.cema;
    // 9 (discard) stands where there is no port to connect to (RFC 4145 section 4.1).
    let media = line.media_address().filter(|_| !matches!(line.port, 0 | 9));
    let path = line.path_address();
    let connect_to = if line.cema || legacy_matching { media.or(path) } else { path.or(media) };
    RemoteLeg {
        path: line.path.clone(),
        setup: our,
        connect_to: connect_to.unwrap_or_default(),
        accept_types: line.accept_types.clone(),
        accept_wrapped_types: line.accept_wrapped_types.clone(),
        max_size: line.max_size,
        legacy_matching,
        may_send: line.direction.receives(),
    }
}
