//! What an operator sees of the fast path.

use std::collections::BTreeMap;

use pf_common::splice::{
    Connection,
    seq::{after, distance},
};

use super::Splice;
use crate::{
    core::{
        media::{ConnId, LegPath, LegSnapshot, Switch, Why},
        time::Time,
    },
    fastpath::ProgramInfo,
};

/// The fast path of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathView {
    /// SENDs that the programs carried.
    pub sends_in_kernel: u64,
    /// SENDs that userspace carried, by the reason why.
    pub sends_in_userspace: BTreeMap<Why, u64>,
    /// Streams that the programs know.
    pub streams: usize,
    /// Connections that the programs know.
    pub connections: usize,
    /// How often connections that live left the fast path, by cause.
    pub left: BTreeMap<String, u64>,
    /// What the programs counted, by kind and name.
    pub counts: BTreeMap<String, u64>,
    /// The programs.
    pub programs: Vec<ProgramInfo>,
}

/// Injected messages that the peer has not acknowledged in whole.
fn unacknowledged(connection: &Connection) -> u64 {
    let journal = &connection.journal;
    let entries = (0..journal.len()).filter_map(|at| journal.get(at));
    let open = entries.filter(|entry| after(entry.wire.wrapping_add(entry.len), connection.transmit.acked));
    u64::try_from(open.count()).unwrap_or(u64::MAX)
}

impl Splice {
    /// Enters what the programs dropped of the answers of a device.
    pub(super) fn count_answers(&mut self, now: Time, switch: &mut Switch, conn: ConnId) {
        let Some(number) = self.number(conn) else { return };
        let Some((group, place)) = self.line(number).and_then(|line| line.group) else { return };
        let leg = self.groups.get(group).and_then(|known| known.plan.legs.get(place));
        if leg.is_none_or(|leg| leg.answer_to.is_some()) {
            return;
        }
        let (Ok(slot), Some(line)) = (self.path.slot(number), self.line_mut(number)) else { return };
        let all = (slot.counts.consumed, slot.counts.consumed_octets);
        let (answers, octets) = std::mem::replace(&mut line.counted, all);
        switch.absorbed(now, conn, all.0.saturating_sub(answers), all.1.saturating_sub(octets));
    }

    /// Before timers are looked at: which devices have answered?
    pub(in crate::msrp) fn before_timers(&mut self, now: Time, switch: &mut Switch) {
        if switch.deadline().is_some_and(|deadline| deadline <= now) {
            for conn in switch.asked() {
                self.count_answers(now, switch, conn);
            }
        }
    }

    /// What the log and the counters have, for a view.
    pub(in crate::msrp) fn refresh(&mut self, now: Time, switch: &mut Switch) {
        self.read_log(now, switch);
        for conn in switch.asked() {
            self.count_answers(now, switch, conn);
        }
    }

    /// Completes what the switch says of its legs.
    pub(in crate::msrp) fn complete(&mut self, switch: &mut Switch, legs: &mut [LegSnapshot]) {
        for leg in legs {
            let Some(conn) = leg.conn else { continue };
            let why = switch.why(conn);
            let Some(number) = self.number(conn) else {
                leg.path = Some(LegPath { why, ..LegPath::slow() });
                continue;
            };
            let (Ok(slot), Some(line)) = (self.path.slot(number), self.line(number)) else { continue };
            let mode = |fast| if fast { "fast" } else { "slow" }.to_owned();
            let transmit = slot.connection.transmit;
            leg.path = Some(LegPath {
                source: mode(line.source_fast),
                leg: mode(line.leg_fast),
                why: why.filter(|_| !line.source_fast),
                in_flight: distance(transmit.acked, transmit.highest),
                consumed: slot.counts.consumed,
                consumed_octets: slot.counts.consumed_octets,
                injected: slot.counts.injected,
                injected_octets: slot.counts.injected_octets,
                acknowledged: slot.counts.injected.saturating_sub(unacknowledged(&slot.connection)),
                held_octets: line.held,
                left: line.left.iter().map(|(cause, count)| (cause.name().to_owned(), *count)).collect(),
            });
        }
    }

    /// The sums.
    pub(in crate::msrp) fn sums(&mut self, now: Time, switch: &mut Switch) -> PathView {
        self.read_log(now, switch);
        let (sends_in_kernel, passed) = switch.shares();
        let mut counts = BTreeMap::new();
        if let Ok(all) = self.path.counts() {
            let mut enter = |kind: &str, name: &str, count: u64| {
                if count > 0 {
                    counts.insert(format!("{kind}: {name}"), count);
                }
            };
            all.peer.iter().for_each(|(which, n)| enter("from peers", which.name(), *n));
            all.kernel.iter().for_each(|(which, n)| enter("from sockets", which.name(), *n));
            all.cause.iter().for_each(|(which, n)| enter("left or missed", which.name(), *n));
            all.content.iter().for_each(|(which, n)| enter("payload", which.name(), *n));
            all.total.iter().for_each(|(which, n)| enter("total", which.name(), *n));
        }
        PathView {
            sends_in_kernel,
            sends_in_userspace: passed.into_iter().collect(),
            streams: self.groups.len(),
            connections: self.lines.iter().flatten().count(),
            left: self.left().into_iter().map(|(cause, count)| (cause.name().to_owned(), count)).collect(),
            counts,
            programs: self.path.programs().unwrap_or_default(),
        }
    }
}
