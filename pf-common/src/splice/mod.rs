//! The state machine of the in-kernel fast path: TCP splicing with octets that the kernel sockets never see.
//!
//! The relay ends every TCP connection in a kernel socket. A program in front of that socket may **consume** octets
//! of the peer (the kernel never sees them) and **inject** octets towards the peer (the kernel never sent them). So
//! every position exists twice: on the *wire*, as the peer counts, and in *kernel* space, as the socket counts. One
//! [`Connection`] holds the difference for both directions of one TCP connection; `docs/datapath.md` explains it and
//! numbers the invariants (R1.., S1.., M1..) that this code cites.
//!
//! Each public function on [`Connection`] is one critical section: the caller holds that connection's lock, and that
//! lock only, for the length of the call, and makes packets afterwards from the returned values. Userspace never
//! calls them: its wishes reach them through a control program, so that a pre-empted process never holds a lock.
//! What userspace itself must keep is in [`relay`].
//!
//! All values are plain data, all arithmetic is modulo 2^32, all loops are bounded by constants and nothing can
//! panic: the same code runs in the kernel and under the model test.

mod ack;
mod control;
mod egress;
mod ingress;
mod leg;
mod mutant;
pub mod relay;
pub mod seq;
mod source;
mod verdict;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wishes;

pub use control::Tick;
pub use egress::FromKernel;
pub use ingress::{FromPeer, Offer};
pub use leg::{Injected, JOURNAL, Journal, Leg, LegMode, Reserved, Taken};
pub use source::{MAX_LEGS, Source, SourceMode};
pub use verdict::{Arm, Cause, KernelVerdict, PeerVerdict};

/// Flags of a TCP header that matter here (RFC 9293, 3.1), at their place in the header's flag octet.
pub mod flags {
    /// No more octets from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement field is valid.
    pub const ACK: u8 = 0x10;
}

/// A packet is answered with an ACK at the latest with the second one unacknowledged (RFC 9293, 3.8.6.3) or after
/// this many milliseconds: far below the 200 ms at which a sender repeats, above a message's round trip.
pub const ACK_DELAY: u32 = 30;

/// Injected octets without an acknowledgement for this many milliseconds make the leg leave the fast path. It must
/// exceed the peer's delayed ACK: 50 ms demoted idle connections, 250 ms none.
pub const STALL: u32 = 250;

/// Octets in flight on a leg are at most this many times its MSS unless userspace says otherwise: the initial window of
/// RFC 6928, the only brake on injected octets, which no congestion control sees.
pub const CAP_SEGMENTS: u32 = 10;

/// The TCP header of a packet, as far as this module looks at it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Sequence number of the first octet.
    pub seq: u32,
    /// Acknowledgement number; meaningful with [`flags::ACK`].
    pub ack: u32,
    /// Window in octets, after scaling.
    pub window: u32,
    /// Octets of payload.
    pub len: u32,
    /// Flag octet of the header.
    pub flags: u8,
}

impl Segment {
    /// Whether any of the flags in `mask` is set.
    #[inline(always)]
    pub const fn has(&self, mask: u8) -> bool {
        self.flags & mask != 0
    }

    /// Sequence space the segment takes: its octets, and one each for SYN and FIN.
    #[inline(always)]
    pub const fn space(&self) -> u32 {
        let syn = if self.has(flags::SYN) { 1 } else { 0 };
        let fin = if self.has(flags::FIN) { 1 } else { 0 };
        self.len.wrapping_add(syn + fin)
    }

    /// The position after the segment.
    #[inline(always)]
    pub const fn end(&self) -> u32 {
        self.seq.wrapping_add(self.space())
    }
}

/// Header values for a packet that the programs make: all positions on the wire.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Window in octets.
    pub window: u32,
}

/// What the peer sends: from the wire to the kernel socket or into the log.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Receive {
    /// Wire: the first octet that is neither consumed nor given to the kernel socket (R1).
    pub next: u32,
    /// Octets consumed so far: wire = kernel + `delta` for every octet the kernel may still receive (R2).
    pub delta: u32,
    /// Wire: the end of the last consumed octet. What ends here or before needs no one any more (R4).
    pub consumed_end: u32,
    /// Wire: the highest end of anything given to the kernel socket or consumed, in order or not (R3).
    pub given_end: u32,
    /// Kernel: the kernel socket has everything before it, by its own ACK or because userspace has read it.
    pub kernel_has: u32,
    /// The window in octets that the kernel socket offered last.
    pub window: u32,
    /// Wire: the highest ACK sent to the peer.
    pub ack_sent: u32,
    /// Consumed packets that no ACK has covered.
    pub ack_owed: u32,
    /// When the first of them came, in milliseconds.
    pub ack_owed_since: u32,
}

/// What the peer is sent: from the kernel socket or by injection to the wire.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Transmit {
    /// Kernel: the boundary. Octets before it went out before the first injection, others come after (S2).
    pub boundary: u32,
    /// wire = kernel + `below` before the boundary.
    pub below: u32,
    /// wire = kernel + `above` from the boundary on. Injected: wire `boundary + below .. boundary + above`.
    pub above: u32,
    /// Kernel: octets before it were acknowledged before the offset changed; their positions are lost (S4).
    pub exact_from: u32,
    /// Kernel: the first octet the kernel socket has not sent, as seen by the egress program.
    pub kernel_next: u32,
    /// Kernel: the highest acknowledgement the kernel socket was shown, lower again when it repeats octets.
    pub kernel_acked: u32,
    /// Wire: the first unacknowledged octet.
    pub acked: u32,
    /// Wire: the end of the highest octet ever sent; not lowered by a roll-back (S5).
    pub highest: u32,
    /// Wire: the right edge of the peer's window.
    pub edge: u32,
    /// The window in octets that the kernel socket was shown last.
    pub window_shown: u32,
    /// Duplicate ACKs in a row.
    pub duplicates: u32,
    /// When `acked` moved last, or the first unacknowledged octet was injected, in milliseconds.
    pub progress: u32,
    /// The longest payload the peer takes, in octets.
    pub mss: u32,
    /// Octets in flight are at most this many times `mss`: [`CAP_SEGMENTS`] at first.
    pub cap_segments: u32,
}

/// One TCP connection between the relay's kernel socket and its peer, both directions.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// Positions of what the peer sends.
    pub receive: Receive,
    /// Positions of what the peer is sent.
    pub transmit: Transmit,
    /// The connection as a source: do its messages take the fast path?
    pub source: Source,
    /// The connection as a leg: may octets be injected?
    pub leg: Leg,
    /// Injected messages that a roll-back would have to repeat.
    pub journal: Journal,
}

/// What is known of a connection when its handshake is over.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Handshake {
    /// The sequence number of our SYN.
    pub our_isn: u32,
    /// The sequence number of the peer's SYN.
    pub peer_isn: u32,
    /// The window that the kernel socket offers, in octets.
    pub our_window: u32,
    /// The window that the peer offers, in octets.
    pub peer_window: u32,
    /// The longest payload the peer takes, in octets.
    pub mss: u32,
}

impl Connection {
    /// A connection whose two spaces still agree, slow in both roles. `log_capacity` bounds its octets in the log.
    pub const fn new(handshake: &Handshake, log_capacity: u32) -> Connection {
        let first = handshake.our_isn.wrapping_add(1);
        let expected = handshake.peer_isn.wrapping_add(1);
        Connection {
            receive: Receive {
                next: expected,
                delta: 0,
                consumed_end: expected,
                given_end: expected,
                kernel_has: expected,
                window: handshake.our_window,
                ack_sent: expected,
                ack_owed: 0,
                ack_owed_since: 0,
            },
            transmit: Transmit {
                boundary: first,
                below: 0,
                above: 0,
                exact_from: first,
                kernel_next: first,
                kernel_acked: first,
                acked: first,
                highest: first,
                edge: first.wrapping_add(handshake.peer_window),
                window_shown: handshake.peer_window,
                duplicates: 0,
                progress: 0,
                mss: handshake.mss,
                cap_segments: CAP_SEGMENTS,
            },
            source: Source::new(expected, log_capacity),
            leg: Leg::new(),
            journal: Journal::new(),
        }
    }

    /// The number of the first invariant of `docs/datapath.md` that does not hold, for tests and for a dump.
    pub fn violated(&self) -> Option<&'static str> {
        let (rx, tx) = (&self.receive, &self.transmit);
        let kernel_end = rx.next.wrapping_sub(rx.delta);
        let fast = matches!(self.source.mode, SourceMode::Fast);
        let owns = matches!(self.leg.mode, LegMode::Slow);
        let spoke = tx.kernel_next != tx.boundary;
        if seq::after(rx.kernel_has, kernel_end) || seq::after(rx.consumed_end, rx.next) {
            Some("R1")
        } else if fast && (seq::after(rx.given_end, rx.next) || rx.kernel_has != kernel_end) {
            Some("R3")
        } else if owns && tx.below != tx.above {
            Some("S1")
        } else if !owns && spoke && !matches!(self.leg.cause, Cause::KernelSpoke | Cause::Closed) {
            Some("S2")
        } else if seq::after(tx.acked, tx.highest) || seq::after(tx.next(), tx.highest) {
            Some("S5")
        } else if matches!(self.leg.mode, LegMode::Fast) && tx.next() != tx.highest {
            Some("S6")
        } else {
            None
        }
    }
}
