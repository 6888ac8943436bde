//! What the media workers tell the core.

use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::MediaCommand;
use super::{LegKey, StreamKey};

/// What a media worker reports.
#[derive(Clone, Debug)]
pub enum MediaEvent {
    /// The client has answered a message of [`MediaCommand::Deliver`].
    Delivered {
        /// The originator's leg.
        leg: LegKey,
        /// The delivery's number.
        number: u64,
    },
    /// The far end has sent a message for a client that is lost. It waits for
    /// [`MediaCommand::ConfirmIntercepted`].
    Intercepted {
        /// The far end's leg.
        leg: LegKey,
        /// Its stream.
        stream: StreamKey,
        /// Number of the message within the stream.
        number: u64,
        /// The message.
        message: Box<InterceptedMessage>,
    },
    /// A leg was released on the core's word; its final counters.
    LegClosed {
        /// Which leg.
        leg: LegKey,
        /// What it carried.
        counters: LegCounters,
    },
    /// A leg's connection failed, or was given up; the leg is closed and needs no [`MediaCommand::CloseLeg`].
    LegDown {
        /// Which leg.
        leg: LegKey,
        /// Why.
        reason: LegDown,
        /// What it carried.
        counters: LegCounters,
    },
    /// A leg has a bound connection.
    LegUp {
        /// Which leg.
        leg: LegKey,
    },
    /// The far end's messages pass to the originator again ([`MediaCommand::Resume`]).
    Resumed {
        /// The originator's leg.
        leg: LegKey,
    },
    /// The originator has sent a message, and there is no leg of the far end yet: it waits for one.
    Waiting {
        /// The originator's leg.
        leg: LegKey,
    },
}

/// A whole message that was intercepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterceptedMessage {
    /// MSRP Message-ID.
    pub message_id: String,
    /// Content-Type.
    pub content_type: Option<String>,
    /// The body.
    pub octets: Vec<u8>,
}

/// Why a leg went down. Shown to the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LegDown {
    /// The peer closed or reset the connection.
    Closed,
    /// Connecting failed or took too long.
    ConnectFailed,
    /// The peer broke MSRP framing.
    Malformed,
    /// No connection came, or no answer to a SEND for 30 s (RFC 4975 section 7.1.1).
    Silent,
    /// The leg's queue was full: the device reads too slowly (MED-26).
    Slow,
}

/// What a leg has carried so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegCounters {
    /// SENDs with a body received from the peer.
    pub sends_in: u64,
    /// SENDs with a body sent to the peer.
    pub sends_out: u64,
    /// Octets received from the peer, framing included.
    pub octets_in: u64,
    /// Octets sent to the peer, framing included.
    pub octets_out: u64,
    /// 200 responses from the peer.
    pub ok: u64,
    /// Other responses from the peer.
    pub errors: u64,
    /// SENDs that the peer did not answer in time.
    pub timeouts: u64,
    /// REPORTs received from the peer.
    pub reports: u64,
    /// Messages not copied to this leg: type, size or direction it did not accept.
    pub unacceptable: u64,
    /// Messages not copied to this leg: more came before it was up than are kept.
    #[serde(default)]
    pub missed: u64,
    /// Messages of the peer that were whole and recorded.
    #[serde(default)]
    pub recorded: u64,
}

impl LegCounters {
    /// Adds what another leg, or the same one in another stream, has carried.
    pub(crate) fn add(&mut self, more: &LegCounters) {
        let LegCounters {
            sends_in,
            sends_out,
            octets_in,
            octets_out,
            ok,
            errors,
            timeouts,
            reports,
            unacceptable,
            missed,
            recorded,
        } = *more;
        for (total, more) in [
            (&mut self.sends_in, sends_in),
            (&mut self.sends_out, sends_out),
            (&mut self.octets_in, octets_in),
            (&mut self.octets_out, octets_out),
            (&mut self.ok, ok),
            (&mut self.errors, errors),
            (&mut self.timeouts, timeouts),
            (&mut self.reports, reports),
            (&mut self.unacceptable, unacceptable),
            (&mut self.missed, missed),
            (&mut self.recorded, recorded),
        ] {
            *total = total.saturating_add(more);
        }
    }
}
