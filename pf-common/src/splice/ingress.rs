//! A packet from the peer: acknowledgement, position, claim and mode in one critical section (M1).

use super::ack::Shown;
use super::leg::LegMode;
use super::mutant::{Mutant, broken};
use super::seq::{HORIZON, after, before, later, trail};
use super::{Cause, Connection, PeerVerdict, Segment, SourceMode, flags};

/// What the parser and the log say about the payload before the claim.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Exactly one whole message of a registered session, with room for it reserved in the log.
    Message,
    /// Something else.
    Other,
    /// A message, but the log took no reservation.
    NoLog,
}

/// What to do with a packet from the peer.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FromPeer {
    /// The packet's fate.
    pub verdict: PeerVerdict,
    /// With `PassLeft`: why; else `Clear`, or why an already slow source could not have taken it.
    pub cause: Cause,
    /// With `Consume` and `DropRepeat`: the kernel socket needs the acknowledgement; pass the packet up without
    /// its payload.
    pub show_ack: bool,
    /// The peer needs an ACK now: see [`Connection::bare_ack`].
    pub answer: bool,
    /// Kernel: sequence number, acknowledgement number and window for a packet that is passed up.
    pub seq: u32,
    /// See `seq`.
    pub ack: u32,
    /// See `seq`, in octets.
    pub window: u32,
}

impl Connection {
    /// Decides about a packet from the peer and carries the decision out in the state. `now` is in milliseconds.
    ///
    /// After `Consume` the caller offers the message to each leg ([`Connection::reserve`]) and then calls
    /// [`Connection::finish`] with the packet's sequence number, whatever happened.
    pub fn from_peer(&mut self, segment: &Segment, offer: Offer, now: u32) -> FromPeer {
        let shown = if segment.has(flags::ACK) {
            match self.acknowledge(segment, now) {
                Some(shown) => shown,
                None => return self.dropped(PeerVerdict::DropBadAck, false),
            }
        } else {
            Shown { ack: segment.ack, window: segment.window, needed: true }
        };
        if segment.space() == 0 {
            return self.control(segment, &shown);
        }
        let repeat = !after(segment.end(), self.receive.consumed_end);
        if repeat && !segment.has(flags::SYN | flags::RST) {
            let mut dropped = self.dropped(PeerVerdict::DropRepeat, !broken(Mutant::SilentRepeat));
            if shown.needed {
                dropped.show_ack = true;
                self.present(&mut dropped, self.receive.next, segment, &shown);
            }
            return dropped;
        }
        match self.obstacle(segment, offer) {
            Cause::Clear => self.consume(segment, &shown, now),
            cause => self.pass(segment, &shown, cause),
        }
    }

    fn dropped(&self, verdict: PeerVerdict, answer: bool) -> FromPeer {
        FromPeer { verdict, cause: Cause::Clear, show_ack: false, answer, seq: 0, ack: 0, window: 0 }
    }

    /// Fills in the kernel's view of a packet whose kernel socket shall see `seq` (wire).
    fn present(&mut self, out: &mut FromPeer, seq: u32, segment: &Segment, shown: &Shown) {
        out.seq = seq.wrapping_sub(self.receive.delta);
        out.ack = shown.ack;
        out.window = shown.window;
        if segment.has(flags::ACK) {
            self.transmit.show(shown, segment.window);
        }
    }

    /// A packet without octets. The kernel socket keeps everything that is not plainly about injected octets.
    fn control(&mut self, segment: &Segment, shown: &Shown) -> FromPeer {
        let reset = segment.has(flags::RST);
        let plain = segment.flags & !(flags::ACK | flags::PSH) == 0 && segment.seq == self.receive.next;
        if plain && !shown.needed {
            return self.dropped(PeerVerdict::AbsorbAck, false);
        }
        let mut out = self.dropped(PeerVerdict::PassControl, false);
        self.present(&mut out, segment.seq, segment, shown);
        if reset && self.source.mode == SourceMode::Fast {
            self.source.leave(self.receive.next, Cause::Flags);
            out.verdict = PeerVerdict::PassLeft;
            out.cause = Cause::Flags;
        }
        out
    }

    /// What keeps the segment from being consumed (R3, M1); `Clear` if nothing does. That the kernel socket has all
    /// it was given, and nothing from beyond a gap, needs no look here: a source is armed only then, and the first
    /// octets that are passed up end its fast mode.
    fn obstacle(&self, segment: &Segment, offer: Offer) -> Cause {
        let rx = &self.receive;
        if self.source.mode == SourceMode::Slow {
            Cause::SourceSlow
        } else if segment.has(flags::FIN) {
            Cause::Fin
        } else if segment.flags & !(flags::ACK | flags::PSH) != 0 || !segment.has(flags::ACK) {
            Cause::Flags
        } else if before(segment.seq, rx.next) {
            Cause::Overlap
        } else if after(segment.seq, rx.next) {
            Cause::OutOfOrder
        } else if offer == Offer::Other {
            Cause::Content
        } else if offer == Offer::NoLog || !self.source.fits(segment.len) {
            Cause::LogFull
        } else if self.source.in_work != 0 && !broken(Mutant::IgnoreInWork) {
            Cause::InWork
        } else {
            Cause::Clear
        }
    }

    fn consume(&mut self, segment: &Segment, shown: &Shown, now: u32) -> FromPeer {
        let end = segment.end();
        let rx = &mut self.receive;
        rx.next = end;
        rx.delta = rx.delta.wrapping_add(segment.len);
        rx.consumed_end = end;
        rx.given_end = end;
        if rx.ack_owed == 0 {
            rx.ack_owed_since = now;
        }
        rx.ack_owed = rx.ack_owed.saturating_add(1);
        let answer = rx.ack_owed >= 2;
        self.source.in_work = 1;
        self.source.logged = self.source.logged.wrapping_add(segment.len);
        let mut out = self.dropped(PeerVerdict::Consume, answer);
        if shown.needed {
            out.show_ack = true;
            self.present(&mut out, end, segment, shown);
        }
        out
    }

    fn pass(&mut self, segment: &Segment, shown: &Shown, cause: Cause) -> FromPeer {
        let (seq, end) = (segment.seq, segment.end());
        let mut out = self.dropped(PeerVerdict::PassSlow, false);
        out.cause = cause;
        self.present(&mut out, seq, segment, shown);
        let rx = &mut self.receive;
        if !after(end, rx.next) && !segment.has(flags::SYN | flags::RST) {
            out.verdict = PeerVerdict::PassRepeat;
            return out;
        }
        if self.source.mode == SourceMode::Fast && !broken(Mutant::PassStaysFast) {
            self.source.leave(rx.next, cause);
            out.verdict = PeerVerdict::PassLeft;
        }
        if segment.has(flags::RST | flags::SYN) {
            return out;
        }
        if !after(seq, rx.next) {
            rx.next = end;
            if segment.has(flags::FIN) {
                self.source.shut = 1;
            }
        }
        // Beyond the largest window the kernel socket drops it: it must not count as given.
        if end.wrapping_sub(rx.next) <= HORIZON {
            rx.given_end = later(rx.given_end, end);
        }
        rx.consumed_end = trail(rx.consumed_end, rx.next);
        out
    }

    /// The wire acknowledgement for the peer: what the kernel socket has, and what was consumed after it (R2).
    #[inline(always)]
    pub(super) fn wire_ack(&self) -> u32 {
        self.receive.kernel_has.wrapping_add(self.receive.delta)
    }

    /// A packet with this acknowledgement goes to the peer.
    pub(super) fn ack_goes_out(&mut self, ack: u32) {
        self.receive.ack_sent = later(self.receive.ack_sent, ack);
        if ack == self.receive.next {
            self.receive.ack_owed = 0;
        }
    }

    /// Whether the kernel socket owns the stream to the peer.
    #[inline(always)]
    pub(super) fn kernel_writes(&self) -> bool {
        self.leg.mode == LegMode::Slow
    }
}
