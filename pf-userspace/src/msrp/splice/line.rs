//! One registered connection, as long as its kernel socket may send or take packets.

use std::{collections::VecDeque, time::Duration};

use pf_common::{
    maps::ControlRow,
    splice::{Cause, relay::LegDuty, seq::before},
};

use super::record::Record;
use crate::{
    core::{
        media::{ConnId, Why},
        time::Time,
    },
    msrp::Tunables,
};

/// How long a source waits for room in the log.
const LOG_WAIT: Duration = Duration::from_millis(4);

/// How far the release of logged octets has come (U3).
#[derive(Debug, Default)]
pub(super) enum Release {
    /// Nothing is on its way.
    #[default]
    Idle,
    /// The source's `finished`, and then the `highest` of each leg that gets its messages; `None`: that leg was
    /// userspace's.
    Marked(u32, Vec<Option<u32>>),
}

/// A registered connection. The octets of a message that the programs consumed are owned by [`Line::records`] until
/// every leg has acknowledged them, or userspace has queued them there; those of [`Line::again`] by that buffer until
/// the kernel socket has them.
#[derive(Debug)]
pub(super) struct Line {
    /// Its place in the switch, while it has one.
    pub(super) conn: Option<ConnId>,
    /// Its group, and its place there.
    pub(super) group: Option<(usize, usize)>,
    /// Kernel: the next octet that userspace reads.
    pub(super) parsed: u32,
    /// What userspace wrote, and how many misses it has queued.
    pub(super) leg: LegDuty,
    /// The source was armed, and is not known to be slow and drained.
    pub(super) source_fast: bool,
    /// The source was asked to leave.
    pub(super) leaving: bool,
    /// The leg was armed, and is not known to be slow.
    pub(super) leg_fast: bool,
    /// The peer or the kernel socket closes.
    pub(super) shut: bool,
    /// It was armed once: wire and kernel positions may differ for ever.
    pub(super) touched: bool,
    /// Path lines of what it is sent.
    pub(super) out_block: Vec<u8>,
    /// Rolled-back octets, to be written before anything else.
    pub(super) again: Vec<u8>,
    /// Consumed messages that may be needed again, oldest first.
    pub(super) records: VecDeque<Record>,
    /// Their octets.
    pub(super) held: u32,
    /// Wire: the end of the message that was read from the log last.
    pub(super) read_to: u32,
    /// See there.
    pub(super) release: Release,
    /// It is not armed as a source before.
    pub(super) patience: Time,
    wait: Duration,
    /// `delta` when it was armed.
    pub(super) armed_at: u32,
    /// The last look at it.
    pub(super) seen: ControlRow,
    /// Consumed messages and octets that were counted, of a device.
    pub(super) counted: (u64, u64),
    /// How often it left the fast path, in either role, by cause.
    pub(super) left: Vec<(Cause, u64)>,
    /// Why it is slow now.
    pub(super) why: Why,
}

impl Line {
    pub(super) fn new(conn: ConnId, written: u32, parsed: u32) -> Line {
        Line {
            conn: Some(conn),
            group: None,
            parsed,
            leg: LegDuty::new(written),
            source_fast: false,
            leaving: false,
            leg_fast: false,
            shut: false,
            touched: false,
            out_block: Vec::new(),
            again: Vec::new(),
            records: VecDeque::new(),
            held: 0,
            read_to: parsed,
            release: Release::Idle,
            patience: Time::ZERO,
            wait: Duration::ZERO,
            armed_at: 0,
            seen: ControlRow::default(),
            counted: (0, 0),
            left: Vec::new(),
            why: Why::New,
        }
    }

    /// Has every message that was consumed up to this look been read from the log? What is logged and not released
    /// is what is held here, or more was read since.
    pub(super) fn is_drained(&self, row: &ControlRow) -> bool {
        !before(self.held, row.logged.wrapping_sub(row.released))
    }

    /// Takes a look in: gives whether the source turned out to have left the fast path.
    pub(super) fn look(&mut self, now: Time, row: &ControlRow, tunables: &Tunables) -> bool {
        self.shut |= row.source_shut != 0 || row.leg_shut != 0;
        self.seen = *row;
        if !self.source_fast || !row.ready_for_slow() || !self.is_drained(row) {
            return false;
        }
        (self.source_fast, self.leaving) = (false, false);
        let cause = cause(row.source_cause);
        self.count(cause);
        if cause != Cause::Requested {
            self.why = reason(cause);
        }
        self.wait_after(now, cause, row.delta.wrapping_sub(self.armed_at), tunables);
        true
    }

    /// It left the fast path once more.
    pub(super) fn count(&mut self, cause: Cause) {
        match self.left.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, count)) => *count += 1,
            None => self.left.push((cause, 1)),
        }
    }

    /// How long the source stays slow after a spell in which `consumed` octets passed.
    fn wait_after(&mut self, now: Time, cause: Cause, consumed: u32, tunables: &Tunables) {
        match cause {
            // Nobody's habit.
            Cause::Requested | Cause::Closed => {}
            Cause::LogFull => self.patience = now + LOG_WAIT,
            _ if consumed < tunables.backoff_octets => {
                let (first, longest) = (tunables.backoff_ms, tunables.backoff_max_ms);
                let [first, longest] = [first, longest].map(|ms| Duration::from_millis(ms.into()));
                self.wait = (self.wait * 2).max(first).min(longest);
                self.patience = now + self.wait;
            }
            _ => self.wait = Duration::ZERO,
        }
    }

    /// A consumed message was read from the log.
    pub(super) fn keep(&mut self, record: Record) {
        self.held = self.held.wrapping_add(record.len());
        self.records.push_back(record);
    }

    /// Gives up the records that end by `position`: their octets.
    pub(super) fn drop_until(&mut self, position: u32) -> u32 {
        let mut octets = 0_u32;
        while let Some(oldest) = self.records.front().filter(|oldest| oldest.ends_by(position)) {
            octets = octets.wrapping_add(oldest.len());
            self.records.pop_front();
        }
        self.held = self.held.wrapping_sub(octets);
        octets
    }
}

/// A cause by its index in a row.
pub(super) fn cause(index: u32) -> Cause {
    let place = usize::try_from(index).unwrap_or(usize::MAX);
    Cause::ALL.get(place).copied().unwrap_or(Cause::Clear)
}

/// What a source's cause is called where messages are counted.
fn reason(cause: Cause) -> Why {
    match cause {
        Cause::Content => Why::Content,
        Cause::LogFull => Why::LogFull,
        Cause::Overlap | Cause::OutOfOrder | Cause::InWork => Why::Disorder,
        Cause::Fin | Cause::Flags | Cause::Closed => Why::Closing,
        Cause::Clear
        | Cause::Requested
        | Cause::SourceSlow
        | Cause::LegSlow
        | Cause::LegTooLong
        | Cause::LegCap
        | Cause::LegWindow
        | Cause::LegJournal
        | Cause::CloneFailed
        | Cause::Lost
        | Cause::Stalled
        | Cause::KernelSpoke => Why::Requested,
    }
}
