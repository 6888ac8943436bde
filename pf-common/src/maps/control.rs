//! What userspace asks of connections, and the answers.

use crate::splice::{Arm, Connection, LegMode, SourceMode};

/// What userspace asks of a connection.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Op {
    /// Nothing: the state.
    #[default]
    View = 0,
    /// `Connection::arm_source`; `a`: what was parsed.
    ArmSource = 1,
    /// `Connection::arm_leg`; `a`: what was written, `b`: misses handled.
    ArmLeg = 2,
    /// `Connection::leave_source`, because it was requested.
    LeaveSource = 3,
    /// `Connection::take`.
    Take = 4,
    /// `Connection::release`; `a`: octets.
    Release = 5,
    /// `Connection::tick`, and the ACK it asks for.
    Tick = 6,
    /// Slow for good in both roles, and the flow ends with a SYN.
    Close = 7,
    /// `transmit.cap_segments` becomes `a`.
    Cap = 8,
}

/// The answer of [`Op::ArmLeg`] where the leg's link has not been learned yet: no [`Arm`] has this number.
pub const NOT_LEARNED: u32 = 100;

/// The answer of any [`Op`] to a connection number that nobody has.
pub const NO_CONNECTION: u32 = 101;

/// A request to one connection and its answer. All rows of a batch are worked on in order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlRow {
    /// In: an [`Op`].
    pub op: u32,
    /// In: the connection's number.
    pub connection: u32,
    /// In: see [`Op`].
    pub a: u32,
    /// In: see [`Op`].
    pub b: u32,
    /// Out: of the arming ops an [`Arm`] by its index or [`NOT_LEARNED`]; of `Tick` 1 if the leg left just now; of
    /// others 0; of any [`NO_CONNECTION`].
    pub answer: u32,
    /// Out, of `Take`: 1 if the stream is broken beyond repair.
    pub taken_broken: u32,
    /// Out, of `Take`: wire position of the first octet to be written again.
    pub taken_from: u32,
    /// Out, of `Take`: how many there are.
    pub taken_octets: u32,
    /// Out, as everything below: the state after the op. A [`LegMode`] by number.
    pub leg_mode: u32,
    /// `leg.cause`, by index.
    pub leg_cause: u32,
    /// `leg.shut`.
    pub leg_shut: u32,
    /// `leg.misses`.
    pub misses: u32,
    /// A [`SourceMode`] by number.
    pub source_mode: u32,
    /// `source.cause`, by index.
    pub source_cause: u32,
    /// `source.shut`.
    pub source_shut: u32,
    /// `source.in_work`.
    pub in_work: u32,
    /// `source.finished`, wire.
    pub finished: u32,
    /// `source.logged`.
    pub logged: u32,
    /// `source.released`.
    pub released: u32,
    /// `receive.next`, wire.
    pub next: u32,
    /// `receive.delta`.
    pub delta: u32,
    /// `receive.kernel_has`, kernel.
    pub kernel_has: u32,
    /// `transmit.acked`, wire.
    pub acked: u32,
    /// `transmit.highest`, wire.
    pub highest: u32,
    /// `transmit.kernel_next`, kernel.
    pub kernel_next: u32,
    /// `transmit.next()`, wire: where the leg's next octet goes.
    pub write_next: u32,
    /// 1 once the link has been learned, so that the leg can be armed.
    pub learned: u32,
    /// Zero.
    pub zero: u32,
}

impl ControlRow {
    /// A request.
    pub const fn new(op: Op, connection: u32, a: u32, b: u32) -> ControlRow {
        // Default is not const.
        ControlRow {
            op: op as u32,
            connection,
            a,
            b,
            answer: 0,
            taken_broken: 0,
            taken_from: 0,
            taken_octets: 0,
            leg_mode: 0,
            leg_cause: 0,
            leg_shut: 0,
            misses: 0,
            source_mode: 0,
            source_cause: 0,
            source_shut: 0,
            in_work: 0,
            finished: 0,
            logged: 0,
            released: 0,
            next: 0,
            delta: 0,
            kernel_has: 0,
            acked: 0,
            highest: 0,
            kernel_next: 0,
            write_next: 0,
            learned: 0,
            zero: 0,
        }
    }

    /// Whether an arming op was done.
    pub const fn armed(&self) -> bool {
        self.answer == Arm::Armed as u32
    }

    /// The source is slow and nothing of it is in work: what userspace has read may be queued (U1).
    pub const fn ready_for_slow(&self) -> bool {
        self.source_mode == SourceMode::Slow as u32 && self.in_work == 0
    }

    /// Whether the leg is userspace's to write to.
    pub const fn leg_is_slow(&self) -> bool {
        self.leg_mode == LegMode::Slow as u32
    }

    /// Whether the program injects on the leg.
    pub const fn leg_is_fast(&self) -> bool {
        self.leg_mode == LegMode::Fast as u32
    }

    /// Writes the view of `connection` into the row.
    #[inline(always)]
    pub fn view(&mut self, connection: &Connection) {
        let (rx, tx) = (&connection.receive, &connection.transmit);
        let (source, leg) = (&connection.source, &connection.leg);
        self.leg_mode = leg.mode as u32;
        self.leg_cause = leg.cause as u32;
        self.leg_shut = leg.shut;
        self.misses = leg.misses;
        self.source_mode = source.mode as u32;
        self.source_cause = source.cause as u32;
        self.source_shut = source.shut;
        self.in_work = source.in_work;
        self.finished = source.finished;
        self.logged = source.logged;
        self.released = source.released;
        self.next = rx.next;
        self.delta = rx.delta;
        self.kernel_has = rx.kernel_has;
        self.acked = tx.acked;
        self.highest = tx.highest;
        self.kernel_next = tx.kernel_next;
        self.write_next = tx.next();
    }
}

/// Rows of one run of the control program.
pub const ROWS: usize = 64;

/// What userspace and the programs share without system calls.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Shared {
    /// Userspace sleeps: the next record of the log wakes it. Set by userspace, cleared by the programs.
    pub asleep: u32,
    /// How many rows are filled in.
    pub rows: u32,
    /// The control program's [`SCHEMA`](super::SCHEMA), written with each run.
    pub schema: u32,
    /// The size of a [`Slot`], written with each run.
    pub slot: u32,
    /// The rows.
    pub row: [ControlRow; ROWS],
}

// The sum of the fields is the size: no padding.
const _: () = assert!(size_of::<ControlRow>() == 28 * 4);
const _: () = assert!(size_of::<Shared>() == 16 + ROWS * 28 * 4);
