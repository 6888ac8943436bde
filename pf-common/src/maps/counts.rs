//! The counters of the datapath.

use crate::{
    splice::{Cause, KernelVerdict, PeerVerdict},
    whole::Content,
};

counted! {
    /// Sums over all connections that no verdict tells.
    Total {
        /// Messages consumed.
        Consumed => "consumed",
        /// Octets consumed.
        ConsumedOctets => "consumed-octets",
        /// Copies injected.
        Injected => "injected",
        /// Octets injected.
        InjectedOctets => "injected-octets",
        /// Responses consumed that go to nobody.
        Absorbed => "absorbed",
        /// Octets of theirs.
        AbsorbedOctets => "absorbed-octets",
        /// Messages that a leg missed.
        Missed => "missed",
        /// Copies that could not be sent.
        CloneFailed => "clone-failed",
        /// ACKs made by the programs.
        BareAck => "bare-ack",
        /// Packets passed up without their payload, for their acknowledgement.
        ShowAck => "show-ack",
        /// Packets of which a helper refused a change, and which were dropped for it.
        HelperFailed => "helper-failed",
        /// The log had no room.
        LogFull => "log-full",
        /// Packets whose SACK blocks were blanked.
        Sack => "sack",
        /// A leg entry named a connection that is not there any more.
        Stale => "stale",
    }
}

/// A counter of the programs: its place in the array `SPLICE_COUNTS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Packets from a peer, by their fate.
    Peer(PeerVerdict),
    /// Packets of a kernel socket, by their fate.
    Kernel(KernelVerdict),
    /// Why sources left, messages missed legs and legs left.
    Cause(Cause),
    /// What the parser made of payloads.
    Content(Content),
    /// Sums.
    Total(Total),
}

const KERNEL: usize = PeerVerdict::ALL.len();
const CAUSE: usize = KERNEL + KernelVerdict::ALL.len();
const CONTENT: usize = CAUSE + Cause::ALL.len();
const TOTAL: usize = CONTENT + Content::ALL.len();

impl Count {
    /// How many there are.
    pub const LEN: usize = TOTAL + Total::ALL.len();

    /// The counter's place.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        let index = match self {
            Count::Peer(verdict) => verdict.index(),
            Count::Kernel(verdict) => KERNEL + verdict.index(),
            Count::Cause(cause) => CAUSE + cause.index(),
            Count::Content(content) => CONTENT + content.index(),
            Count::Total(total) => TOTAL + total.index(),
        };
        index as u32
    }
}
