//! A connection as a source: the mode of its messages, the packet in work and the octets in the log.

use super::mutant::{Mutant, broken};
use super::seq::{after, trail};
use super::{Arm, Cause, Connection};

/// The most legs a source can have: the far end and fifteen devices.
pub const MAX_LEGS: usize = 16;

/// Where a source's messages go.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceMode {
    /// To the kernel socket; userspace relays them.
    Slow,
    /// To the legs, by the program.
    Fast,
}

/// A connection's state as a source. Userspace reads it as one consistent copy.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Where the next message goes.
    pub mode: SourceMode,
    /// Why it left the fast path last.
    pub cause: Cause,
    /// Wire: the position at which it left.
    pub left_at: u32,
    /// Wire: the end of the last consumed message that every leg was tried with.
    pub finished: u32,
    /// 1 while a consumed message is on its way to the legs (M1).
    pub in_work: u32,
    /// Legs, by bit, that missed the last finished message.
    pub missing: u32,
    /// Wire, per leg with its bit set in `missing`: the first message of the unbroken row that it missed.
    pub missing_since: [u32; MAX_LEGS],
    /// Octets of this source ever put into the log.
    pub logged: u32,
    /// Octets of this source ever released from the log.
    pub released: u32,
    /// The most octets of this source the log may hold.
    pub log_capacity: u32,
    /// 1 once the peer sent FIN or RST.
    pub shut: u32,
}

impl Source {
    pub(super) const fn new(at: u32, log_capacity: u32) -> Source {
        Source {
            mode: SourceMode::Slow,
            cause: Cause::Clear,
            left_at: at,
            finished: at,
            in_work: 0,
            missing: 0,
            missing_since: [at; MAX_LEGS],
            logged: 0,
            released: 0,
            log_capacity,
            shut: 0,
        }
    }

    /// Whether the log takes `len` more octets of this source.
    pub(super) const fn fits(&self, len: u32) -> bool {
        self.logged.wrapping_sub(self.released).saturating_add(len) <= self.log_capacity
    }

    /// Whether the `len` octets that were logged last have filled half of its share: a reader must give some back soon.
    pub const fn has_filled_half(&self, len: u32) -> bool {
        let (held, half) = (self.logged.wrapping_sub(self.released), self.log_capacity / 2);
        held > half && held.wrapping_sub(len) <= half
    }

    pub(super) fn leave(&mut self, at: u32, cause: Cause) {
        self.mode = SourceMode::Slow;
        self.cause = cause;
        self.left_at = at;
    }
}

impl Connection {
    /// Ends the work on the message at wire position `at` that [`Connection::from_peer`] consumed. Bit n of `missed`
    /// says that leg n got no copy of it.
    pub fn finish(&mut self, at: u32, missed: u32) {
        let source = &mut self.source;
        let mut leg = 0;
        while leg < MAX_LEGS {
            let bit = 1 << leg;
            if missed & bit != 0 {
                if source.missing & bit == 0 {
                    source.missing_since[leg & (MAX_LEGS - 1)] = at;
                } else {
                    let since = source.missing_since[leg & (MAX_LEGS - 1)];
                    source.missing_since[leg & (MAX_LEGS - 1)] = trail(since, at);
                }
            }
            leg += 1;
        }
        source.missing = missed;
        source.finished = self.receive.consumed_end;
        source.in_work = 0;
    }

    /// Asks for the fast path: from the next packet on, if everything the kernel socket was given has been parsed,
    /// to the end of a message, and queued for the legs. `parsed` is the kernel position after what userspace read.
    /// That it was read also proves that the kernel socket has it, whether or not its ACK has gone out (M2, R3).
    pub fn arm_source(&mut self, parsed: u32) -> Arm {
        let end = self.receive.next.wrapping_sub(self.receive.delta);
        let behind = parsed != end;
        let gap = after(self.receive.given_end, self.receive.next);
        if self.source.shut != 0 {
            Arm::Shut
        } else if self.source.mode == SourceMode::Fast {
            Arm::NotSlow
        } else if self.source.in_work != 0 {
            Arm::Busy
        } else if behind && !broken(Mutant::ArmSourceBlind) {
            Arm::Behind
        } else if gap && !broken(Mutant::ArmSourceOverGap) {
            Arm::Gap
        } else {
            self.receive.kernel_has = end;
            self.source.mode = SourceMode::Fast;
            Arm::Armed
        }
    }

    /// Takes the source off the fast path at once, between two packets. A message in work stays in work.
    pub fn leave_source(&mut self, cause: Cause) {
        if self.source.mode == SourceMode::Fast {
            self.source.leave(self.receive.next, cause);
        }
    }

    /// Gives back `octets` of the source's share of the log (U3 says when).
    pub fn release(&mut self, octets: u32) {
        let held = self.source.logged.wrapping_sub(self.source.released);
        let octets = if octets > held { held } else { octets };
        self.source.released = self.source.released.wrapping_add(octets);
    }
}
