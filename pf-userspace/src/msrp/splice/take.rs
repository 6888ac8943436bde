//! U2: userspace takes a leg before it writes to it, and writes first what the programs had in flight.

use pf_common::{
    maps::{ControlRow, Op},
    splice::Cause,
};

use super::{
    PATIENCE, Splice,
    line::cause,
    record::{from_position, rewritten},
};
use crate::core::{
    media::{ConnId, Switch},
    time::Time,
};

impl Splice {
    /// These connections have something to write: their legs become userspace's, and sources whose answers would go
    /// astray come to it before.
    pub(super) fn before_writes(&mut self, now: Time, switch: &mut Switch, conns: &[ConnId]) {
        for conn in conns {
            self.hold_back(now, switch, *conn);
        }
        let waits = |conn: &&ConnId| switch.outbox(**conn).is_some_and(|outbox| !outbox.is_empty());
        let numbers: Vec<u32> = conns.iter().filter(waits).filter_map(|conn| self.number(*conn)).collect();
        self.take(now, switch, &numbers);
    }

    /// Takes legs that have left the fast path by themselves.
    pub(super) fn take_left(&mut self, now: Time, switch: &mut Switch) {
        while !self.pace.taking.is_empty() {
            let numbers = std::mem::take(&mut self.pace.taking);
            self.take(now, switch, &numbers);
        }
    }

    /// Takes these legs, as far as they are the programs'.
    pub(super) fn take(&mut self, now: Time, switch: &mut Switch, numbers: &[u32]) {
        let mut wanted: Vec<u32> = Vec::with_capacity(numbers.len());
        for number in numbers {
            if !wanted.contains(number) && self.line(*number).is_some_and(|line| line.leg_fast) {
                wanted.push(*number);
            }
        }
        if wanted.is_empty() {
            return;
        }
        let rows = wanted.into_iter().map(|number| ControlRow::new(Op::Take, number, 0, 0));
        // Without an answer the legs stay the programs', and nothing may be written there: the next turn tries again.
        let Ok(rows) = self.batch(rows) else { return };
        for row in &rows {
            let Some(line) = self.line_mut(row.connection) else { continue };
            line.leg_fast = false;
            let (group, conn) = (line.group, line.conn);
            self.note_leaving(row.connection, cause(row.leg_cause));
            self.look_at(now, switch, row);
            if let Some((group, _)) = group {
                self.want(group, now);
                self.busy(now, group);
            }
            let whole = row.taken_broken == 0
                && (row.taken_octets == 0
                    || self.rebuild(now, switch, row.connection, row.taken_from, row.taken_octets));
            if !whole {
                let state = self.path.connection(row.connection).map(|state| (state.transmit, state.leg));
                tracing::error!(
                    ?row,
                    ?state,
                    "the fast path cannot give back what it had in flight: a connection is reset"
                );
                self.broken.extend(conn);
            }
        }
        self.put_back(rows);
    }

    /// Writes what was rolled back into [`super::line::Line::again`]: `octets` of them, from wire position `from` on.
    /// The journal names their messages, the records have them. From here on they are that buffer's.
    fn rebuild(&mut self, now: Time, switch: &mut Switch, number: u32, from: u32, octets: u32) -> bool {
        let Ok(connection) = self.path.connection(number) else { return false };
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            if let Some(again) = self.repeated(number, &connection.journal, from) {
                if again.len() != usize::try_from(octets).unwrap_or(usize::MAX) {
                    return false;
                }
                let Some(line) = self.line_mut(number) else { return false };
                line.again.extend_from_slice(&again);
                let conn = line.conn;
                self.pressing.extend(conn);
                return true;
            }
            // The source's program has sent the copy and not yet handed in the record.
            if std::time::Instant::now() >= deadline {
                return false;
            }
            self.read_log(now, switch);
        }
    }

    /// The journal's messages as the leg was sent them, from `from` on; nothing while one is not in the records.
    fn repeated(&self, number: u32, journal: &pf_common::splice::Journal, from: u32) -> Option<Vec<u8>> {
        let block = &self.line(number)?.out_block;
        let mut again = Vec::new();
        for entry in (0..journal.len()).filter_map(|place| journal.get(place)) {
            let source = self.line(entry.source)?;
            let record = source.records.iter().rev().find(|record| record.position == entry.position)?;
            let written = rewritten(&record.octets, block)?;
            if written.len() != usize::try_from(entry.len).unwrap_or(usize::MAX) {
                return Some(Vec::new());
            }
            again.extend(from_position(written, entry.wire, from));
        }
        Some(again)
    }

    /// Must the connection's leg be taken before anything is written?
    pub(super) fn is_injected(&self, conn: ConnId) -> bool {
        self.number(conn).and_then(|number| self.line(number)).is_some_and(|line| line.leg_fast)
    }

    /// What has to be written before all else, if there is something.
    pub(super) fn first(&self, conn: ConnId) -> Option<&[u8]> {
        let line = self.line(self.number(conn)?)?;
        (!line.again.is_empty()).then_some(line.again.as_slice())
    }

    /// The kernel socket has taken `octets` of what is first.
    pub(super) fn wrote_first(&mut self, conn: ConnId, octets: usize) {
        if let Some(line) = self.number(conn).and_then(|number| self.line_mut(number)) {
            line.again.drain(..octets.min(line.again.len()));
        }
        self.wrote(conn, octets);
    }

    /// The kernel socket has taken `octets`: they are its own now.
    pub(in crate::msrp) fn wrote(&mut self, conn: ConnId, octets: usize) {
        if let Some(line) = self.number(conn).and_then(|number| self.line_mut(number)) {
            // Positions wrap, as they do in TCP.
            line.leg.wrote(octets as u32);
        }
    }

    /// Is there something that must not wait for the next event?
    pub(in crate::msrp) fn has_more(&self) -> bool {
        !self.pressing.is_empty() || !self.broken.is_empty() || !self.pace.taking.is_empty()
    }

    /// Connections with something to write that the switch knows nothing of.
    pub(super) fn take_pressing(&mut self) -> Option<ConnId> {
        self.pressing.pop()
    }

    /// Connections that must be reset.
    pub(super) fn take_broken(&mut self) -> Option<ConnId> {
        self.broken.pop()
    }

    /// How often the legs and sources have left, by cause, for the sums.
    pub(super) fn left(&self) -> Vec<(Cause, u64)> {
        let of = |cause: Cause| {
            let lines = self.lines.iter().flatten().flat_map(|line| &line.left);
            lines.filter(|(known, _)| *known == cause).map(|(_, count)| count).sum()
        };
        Cause::ALL.iter().map(|cause| (*cause, of(*cause))).filter(|(_, count)| *count > 0).collect()
    }
}
