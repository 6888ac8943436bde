//! What the core tells the media workers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::InterceptedMessage;
#[cfg(doc)]
use super::MediaEvent;
use crate::core::store::Place;

/// One MSRP m-line of one CPM session: the unit that a media worker owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StreamKey(pub u64);

/// One MSRP leg: one m-line of one dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LegKey(pub u64);

/// Whose leg it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LegRole {
    /// Another device of the user (legs B, C ...): gets copies, decides nothing.
    Device,
    /// The other CPM entity (leg F): its answer is what the sender gets.
    Far,
    /// The device that originated the session (leg A).
    Originator,
}

/// Who opens the TCP connection of a leg, from our side (RFC 4145, RFC 6135).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Setup {
    /// We connect, and send a SEND at once.
    Active,
    /// We wait.
    Passive,
}

/// What a media worker shall do.
#[derive(Clone, Debug)]
pub enum MediaCommand {
    /// What is said on this stream from now on is recorded (clause 8.5): each message once, as it was carried.
    BeginRecording {
        /// Which stream.
        stream: StreamKey,
        /// Where its messages belong.
        place: Arc<Place>,
        /// It is not known yet whether the user wants that: what is said is kept until
        /// [`MediaCommand::DecideRecording`], which comes in any case.
        undecided: bool,
    },
    /// The peer's side of a leg is known (SDP answer received or sent), or has changed (re-INVITE):
    /// connect or expect the connection.
    ConnectLeg {
        /// Which leg.
        leg: LegKey,
        /// The peer's side.
        remote: RemoteLeg,
    },
    /// Release a leg: its connection closes unless another leg uses it. Answered by [`MediaEvent::LegClosed`].
    CloseLeg {
        /// Which leg.
        leg: LegKey,
    },
    /// Release a stream with all its legs.
    CloseStream {
        /// Which stream.
        stream: StreamKey,
    },
    /// It is known whether the user wants an undecided stream recorded: what was kept goes to the store, and recording
    /// goes on; or it goes away, and nothing of this stream is recorded. The stream may have been released before.
    DecideRecording {
        /// Which stream.
        stream: StreamKey,
        /// Does the user want it?
        wanted: bool,
    },
    /// Nothing of this stream is recorded from now on. What is ordered from the store behind this, in the same batch,
    /// comes after what was recorded.
    EndRecording {
        /// Which stream.
        stream: StreamKey,
    },
    /// A message that the client missed goes to the originator's leg, as soon as that is up, in the order of these
    /// commands (clause 8.2.2.7.2). Answered by [`MediaEvent::Delivered`]; nothing where the stream is not intercepted.
    Deliver {
        /// Which stream.
        stream: StreamKey,
        /// The delivery's name, chosen by the core.
        number: u64,
        /// The message.
        message: Box<InterceptedMessage>,
    },
    /// A path URI of ours is given out: SENDs to it belong to this leg.
    OpenLeg {
        /// The leg's name, chosen by the core.
        leg: LegKey,
        /// The stream it belongs to.
        stream: StreamKey,
        /// Whose it is.
        role: LegRole,
        /// Our `a=path` URI for this leg.
        local: String,
    },
    /// What became of a message of [`MediaEvent::Intercepted`]: its sender is answered.
    ConfirmIntercepted {
        /// Which stream.
        stream: StreamKey,
        /// Which message.
        number: u64,
        /// Is it kept?
        kept: bool,
    },
    /// The client is lost and the session goes on: the far end's messages are answered here (clause 8.2.2.3
    /// step 4.ii).
    Intercept {
        /// Which stream.
        stream: StreamKey,
        /// Octets of messages that may be held at once until they are kept, each reported by
        /// [`MediaEvent::Intercepted`]; absent: messages are answered and dropped.
        keep: Option<u64>,
    },
    /// The client is back: what the far end says from now on waits until what it missed is on its way, and then passes
    /// as before (clause 8.2.2.7.2). Answered by [`MediaEvent::Resumed`].
    Resume {
        /// Which stream.
        stream: StreamKey,
    },
    /// A stream begins.
    OpenStream {
        /// The stream's name, chosen by the core.
        stream: StreamKey,
        /// How its messages are switched.
        policy: StreamPolicy,
    },
}

/// The peer's side of a leg, from its SDP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteLeg {
    /// The whole `a=path`, leftmost (nearest) URI first. To-Path of all we send.
    pub path: Vec<String>,
    /// Who connects, from our side.
    pub setup: Setup,
    /// `host:port` to connect to where we are active: path (RFC 4975) or c=/m= (RFC 6714).
    pub connect_to: String,
    /// Types the peer accepts (`a=accept-types`), `*` included.
    pub accept_types: Vec<String>,
    /// Types it accepts inside a wrapper (`a=accept-wrapped-types`).
    pub accept_wrapped_types: Vec<String>,
    /// The largest message it wants, in octets (`a=max-size`), if it said so.
    pub max_size: Option<u64>,
    /// Compare only the session-id of incoming To-Paths (sessmatch; MED-02, MED-16).
    pub legacy_matching: bool,
    /// May we send to it (`a=sendrecv`, `a=recvonly` from its side)?
    pub may_send: bool,
}

/// How a stream's messages are switched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPolicy {
    /// The far end's SENDs also go to the user's other devices (AMB-34).
    pub copy_far: bool,
    /// A device's SENDs go to the far end and to the user's other devices (AMB-34).
    pub copy_devices: bool,
}
