//! Userspace's part: what the relay must do, and in which order, so that no octet is lost, doubled or overtaken.
//! It decides nothing by itself about modes; it reads consistent copies of [`Source`] and [`Connection`] and keeps
//! three promises (U1..U3 in `docs/datapath.md`). Records from the programs only wake it: the state is the truth,
//! so a lost record costs a tick, never an octet.

use super::seq::{after, before};
use super::{Connection, LegMode, MAX_LEGS, Source, SourceMode};

/// A row of consumed messages, wire positions on the source's connection: from the first octet to after the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Position of the first message.
    pub from: u32,
    /// Position after the last message.
    pub to: u32,
}

impl Row {
    /// Whether the message at `position` belongs to the row.
    pub const fn holds(&self, position: u32) -> bool {
        !before(position, self.from) && before(position, self.to)
    }
}

/// What userspace remembers about a source (U1).
///
/// The order of one round: read from the kernel socket; copy the [`Source`]; queue for each leg what it is
/// [`owed`](SourceDuty::owed) from the log, in order; call [`settle`](SourceDuty::settle); and only then, if
/// [`ready_for_slow`] says so, queue the octets that were read. A copy taken before the read may be older than the
/// octets: messages consumed between the two would be overtaken.
#[derive(Clone, Copy, Debug)]
pub struct SourceDuty {
    settled: u32,
}

impl SourceDuty {
    /// A source whose first octet has the wire position `first`.
    pub const fn new(first: u32) -> SourceDuty {
        SourceDuty { settled: first }
    }

    /// The consumed messages that leg number `leg` missed and has not been given yet.
    pub const fn owed(&self, view: &Source, leg: usize) -> Option<Row> {
        if leg >= MAX_LEGS || view.missing & (1 << leg) == 0 {
            return None;
        }
        let since = view.missing_since[leg];
        let from = if after(since, self.settled) { since } else { self.settled };
        if before(from, view.finished) { Some(Row { from, to: view.finished }) } else { None }
    }

    /// Whether every message before `finished` that missed a leg has been queued, so that the log need not keep it.
    pub const fn settled(&self, finished: u32) -> bool {
        !before(self.settled, finished)
    }

    /// Everything owed by `view` has been queued.
    pub fn settle(&mut self, view: &Source) {
        self.settled = view.finished;
    }
}

/// Whether slow octets that were read before `view` was copied may be queued: nothing that precedes them is still
/// on its way to a leg.
pub const fn ready_for_slow(view: &Source) -> bool {
    view.in_work == 0 && matches!(view.mode, SourceMode::Slow)
}

/// Whether a source of this leg may be armed, as far as the leg goes: a message must not be injected while older ones
/// wait in the leg's queue. Either the queue is empty, or injection on the leg has ended and only userspace itself
/// can start it again.
pub const fn keeps_order(leg: &Connection, queue_is_empty: bool) -> bool {
    queue_is_empty || !matches!(leg.leg.mode, LegMode::Fast)
}

/// What userspace remembers about a leg (U2). It writes to the kernel socket only between a successful
/// [`Connection::take`] and the next [`Connection::arm_leg`], rolled-back octets first; it arms the leg only when
/// its queue is empty.
#[derive(Clone, Copy, Debug)]
pub struct LegDuty {
    written: u32,
    queued_misses: u32,
}

impl LegDuty {
    /// A leg whose first octet has the kernel position `first`.
    pub const fn new(first: u32) -> LegDuty {
        LegDuty { written: first, queued_misses: 0 }
    }

    /// The kernel socket accepted `octets`.
    pub fn wrote(&mut self, octets: u32) {
        self.written = self.written.wrapping_add(octets);
    }

    /// A missed message was queued.
    pub fn queued_miss(&mut self) {
        self.queued_misses = self.queued_misses.wrapping_add(1);
    }

    /// The position for [`Connection::arm_leg`].
    pub const fn written(&self) -> u32 {
        self.written
    }

    /// The count for [`Connection::arm_leg`].
    pub const fn queued_misses(&self) -> u32 {
        self.queued_misses
    }
}

/// When logged octets may go (U3): a mark set on one leg after the source's `finished` was read. Everything before
/// `finished` was either injected on the leg before `highest` or missed the leg.
#[derive(Clone, Copy, Debug)]
pub struct ReleaseMark {
    highest: u32,
}

impl ReleaseMark {
    /// Marks the leg. The source's position must have been read before.
    pub const fn set(leg: &Connection) -> ReleaseMark {
        ReleaseMark { highest: leg.transmit.highest }
    }

    /// Whether the leg's peer has acknowledged everything that was injected before the mark. What missed the leg is
    /// the business of [`SourceDuty::settled`].
    pub const fn reached(&self, leg: &Connection) -> bool {
        !before(leg.transmit.acked, self.highest)
    }
}
