//! A connection as a leg: who may write to the peer, and what a roll-back would have to repeat.

use super::mutant::{Mutant, broken};
use super::seq::{after, before, earlier, later};
use super::{Arm, Cause, Connection, Header};

/// Who writes the octets of the stream to the peer.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegMode {
    /// The kernel socket, for userspace.
    Slow,
    /// The program, by injection.
    Fast,
    /// Nobody: injection has stopped, userspace has not yet taken the stream.
    Leaving,
}

/// A connection's state as a leg.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Leg {
    /// Who writes.
    pub mode: LegMode,
    /// Why it left the fast path last.
    pub cause: Cause,
    /// Messages ever refused by [`Connection::reserve`]: userspace owes each of them to the leg.
    pub misses: u32,
    /// 1 once the kernel socket sent FIN or RST.
    pub shut: u32,
}

impl Leg {
    pub(super) const fn new() -> Leg {
        Leg { mode: LegMode::Slow, cause: Cause::Clear, misses: 0, shut: 0 }
    }
}

/// The most injected messages that can be unacknowledged on a leg. A power of two.
pub const JOURNAL: usize = 64;

/// A message injected on a leg, and where it came from.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    /// The source's number; its meaning is the caller's.
    pub source: u32,
    /// Wire position of the message on the source's connection.
    pub position: u32,
    /// Octets of the message as it came.
    pub taken: u32,
    /// Octets of the message as it went out.
    pub len: u32,
    /// Wire position of the message on the leg; written by [`Connection::reserve`].
    pub wire: u32,
}

/// The unacknowledged injected messages of a leg in the order of the stream.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Journal {
    entries: [Injected; JOURNAL],
    first: u32,
    end: u32,
}

impl Journal {
    pub(super) const fn new() -> Journal {
        let none = Injected { source: 0, position: 0, taken: 0, len: 0, wire: 0 };
        Journal { entries: [none; JOURNAL], first: 0, end: 0 }
    }

    /// How many messages it holds.
    pub const fn len(&self) -> u32 {
        self.end.wrapping_sub(self.first)
    }

    /// Whether it holds none.
    pub const fn is_empty(&self) -> bool {
        self.first == self.end
    }

    /// The message at place `at`, counted from the oldest.
    pub const fn get(&self, at: u32) -> Option<Injected> {
        if at < self.len() {
            Some(self.entries[self.first.wrapping_add(at) as usize & (JOURNAL - 1)])
        } else {
            None
        }
    }

    /// Forgets messages that end at `acked` or before.
    fn prune(&mut self, acked: u32) {
        let mut steps = 0;
        while steps < JOURNAL {
            if self.first == self.end {
                return;
            }
            let oldest = &self.entries[self.first as usize & (JOURNAL - 1)];
            if after(oldest.wire.wrapping_add(oldest.len), acked) {
                return;
            }
            self.first = self.first.wrapping_add(1);
            steps += 1;
        }
    }

    fn push(&mut self, entry: Injected) {
        self.entries[self.end as usize & (JOURNAL - 1)] = entry;
        self.end = self.end.wrapping_add(1);
    }
}

/// The answer to a message offered to a leg.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Reserved {
    /// `Clear`: the range is reserved and the packet must be sent. Otherwise the leg missed the message.
    pub cause: Cause,
    /// With `Clear`: the header of the packet.
    pub header: Header,
}

/// What userspace got when it took a leg's stream.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// The stream is broken beyond repair: the kernel socket sent octets behind injected ones that are not all
    /// acknowledged. The connection must be reset.
    pub broken: bool,
    /// Wire: the first octet to be written again. The journal says which message it lies in.
    pub from: u32,
    /// Octets from there on that were injected and are not known to have arrived; userspace writes the same octets
    /// again before any others.
    pub octets: u32,
}

impl Connection {
    /// Offers a message of `message.len` octets to the leg and reserves the next range of the stream for it, with
    /// the acknowledgement that the packet carries to the leg's peer. The packet will be cut into segments of at most
    /// `segment` octets. Must be followed by sending the packet, or by [`Connection::clone_failed`].
    pub fn reserve(&mut self, message: &Injected, segment: u32, now: u32) -> Reserved {
        let cause = self.refusal(message.len, segment);
        if cause != Cause::Clear {
            // Under the same lock: the next message must not overtake this one (M3).
            if !broken(Mutant::MissStaysFast) {
                self.leave_leg(cause);
            }
            self.leg.misses = self.leg.misses.wrapping_add(1);
            return Reserved { cause, header: Header { seq: 0, ack: 0, window: 0 } };
        }
        let seq = self.transmit.next();
        if !self.transmit.waits() {
            self.transmit.progress = now;
            self.transmit.duplicates = 0;
        }
        self.transmit.above = self.transmit.above.wrapping_add(message.len);
        self.transmit.highest = later(self.transmit.highest, self.transmit.next());
        self.journal.push(Injected { wire: seq, ..*message });
        let ack = self.wire_ack();
        self.ack_goes_out(ack);
        Reserved { cause, header: Header { seq, ack, window: self.receive.window } }
    }

    /// Why the leg cannot take `len` octets in such segments now; `Clear` if it can.
    fn refusal(&mut self, len: u32, segment: u32) -> Cause {
        if self.leg.mode != LegMode::Fast {
            return Cause::LegSlow;
        }
        self.journal.prune(self.transmit.acked);
        let tx = &self.transmit;
        let end = tx.next().wrapping_add(len);
        let cap = tx.acked.wrapping_add(tx.cap_segments.wrapping_mul(tx.mss));
        if segment > tx.mss {
            Cause::LegTooLong
        } else if after(end, cap) {
            Cause::LegCap
        } else if after(end, tx.edge) {
            Cause::LegWindow
        } else if self.journal.len() as usize >= JOURNAL {
            Cause::LegJournal
        } else {
            Cause::Clear
        }
    }

    /// The packet of a reserved range could not be sent. The hole is there to stay until the range is rolled back.
    pub fn clone_failed(&mut self) {
        self.leave_leg(Cause::CloneFailed);
    }

    /// Stops injection. The stream belongs to nobody until userspace takes it.
    pub(super) fn leave_leg(&mut self, cause: Cause) {
        if self.leg.mode == LegMode::Fast {
            self.leg.mode = LegMode::Leaving;
            self.leg.cause = cause;
        }
    }

    /// Gives the stream to userspace and its kernel socket (S1, S5). Octets that were injected and not acknowledged
    /// are rolled back: the kernel socket's next octet goes to the position of the first of them.
    pub fn take(&mut self) -> Taken {
        self.leave_leg(Cause::Requested);
        let tx = &mut self.transmit;
        let nothing = Taken { broken: false, from: tx.next(), octets: 0 };
        if self.leg.mode == LegMode::Slow {
            return nothing;
        }
        let from = if broken(Mutant::RollBackTooFar) {
            tx.injected_from()
        } else if broken(Mutant::NoRollBack) {
            tx.injected_to()
        } else {
            earlier(later(tx.acked, tx.injected_from()), tx.injected_to())
        };
        let octets = tx.injected_to().wrapping_sub(from);
        if octets != 0 && tx.kernel_next != tx.boundary {
            return Taken { broken: true, ..nothing };
        }
        if from != tx.injected_from() {
            // Octets below the boundary are acknowledged, and from now on one offset serves all (S4).
            tx.exact_from = tx.boundary;
        }
        tx.above = from.wrapping_sub(tx.boundary);
        tx.below = tx.above;
        tx.duplicates = 0;
        self.journal.prune(from);
        self.leg.mode = LegMode::Slow;
        Taken { broken: false, from, octets }
    }

    /// Asks for injection (S6, M3): `written` is the kernel position after all that userspace wrote to the socket,
    /// `handled` the number of misses that it has written.
    pub fn arm_leg(&mut self, written: u32, handled: u32) -> Arm {
        let tx = &mut self.transmit;
        let behind = written != tx.kernel_next || before(tx.next(), tx.highest);
        if self.leg.shut != 0 {
            Arm::Shut
        } else if self.leg.mode != LegMode::Slow {
            Arm::NotSlow
        } else if behind && !broken(Mutant::ArmLegBehind) {
            Arm::Behind
        } else if handled != self.leg.misses && !broken(Mutant::ArmLegMissesOpen) {
            Arm::MissesOpen
        } else {
            tx.boundary = tx.kernel_next;
            tx.below = tx.above;
            self.journal.first = self.journal.end;
            self.leg.mode = LegMode::Fast;
            Arm::Armed
        }
    }
}
