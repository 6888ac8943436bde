//! U1: read, look, queue. What was read from a kernel socket goes to the switch only when everything that the
//! programs consumed before it has been entered.

use pf_common::{
    maps::{ControlRow, LogHeader, Op, RecordKind},
    splice::{LegMode, seq::before},
};

use super::{Splice, record::Record};
use crate::core::{
    media::{Carried, ConnId, LegId, Switch},
    time::Time,
};

impl Splice {
    /// Userspace has read `octets` of a connection.
    pub(super) fn read(&mut self, conn: ConnId, octets: usize) {
        if let Some(line) = self.number(conn).and_then(|number| self.line_mut(number)) {
            // A read is never longer than the buffer.
            line.parsed = line.parsed.wrapping_add(octets as u32);
        }
    }

    /// May what was read from a connection, or its end, be given to the switch? If not, it is asked again in the
    /// next turn: a message is on its way to the legs at this moment.
    pub(super) fn may_enter(&mut self, now: Time, switch: &mut Switch, conn: ConnId) -> bool {
        let Some(own) = self.number(conn) else { return true };
        let Some((group, _)) = self.line(own).and_then(|line| line.group) else { return true };
        let members = self.members(group);
        if !members.iter().any(|number| self.line(*number).is_some_and(|line| line.source_fast)) {
            self.nudge(group);
            return true;
        }
        // Everything read before came before what the copies say.
        let Ok(rows) = self.view_all(group) else { return false };
        self.read_log(now, switch);
        let mut may = true;
        for row in &rows {
            self.look_at(now, switch, row);
            let Some(line) = self.line(row.connection) else { continue };
            // An answer may have come to a message whose record cannot be read yet.
            may &= row.in_work == 0 && line.is_drained(row);
            may &= row.connection != own || !line.source_fast;
        }
        self.put_back(rows);
        self.want(group, now);
        may
    }

    /// Enters the state of one connection.
    pub(super) fn look_at(&mut self, now: Time, switch: &mut Switch, row: &ControlRow) {
        let tunables = self.tunables;
        let Some(line) = self.line_mut(row.connection) else { return };
        let moved =
            (line.seen.next, line.seen.acked, line.seen.highest) != (row.next, row.acked, row.highest);
        let left = line.look(now, row, &tunables);
        let (group, conn, why) = (line.group, line.conn, line.why);
        let leaving = line.leg_fast && row.leg_mode == LegMode::Leaving as u32;
        if let Some((group, _)) = group
            && (moved || left)
        {
            self.busy(now, group);
        }
        if let (true, Some(conn)) = (left, conn) {
            switch.note_why(conn, why);
            if let Some((group, _)) = group {
                self.want(group, now);
            }
        }
        if leaving {
            // Userspace must take it in the end: nobody else repairs a loss.
            self.pace.taking.push(row.connection);
        }
    }

    /// Reads the log: enters what the programs carried, gives legs what they missed, and keeps the messages.
    pub(in crate::msrp) fn read_log(&mut self, now: Time, switch: &mut Switch) {
        let mut inbox = std::mem::take(&mut self.inbox);
        inbox.clear();
        self.path.read_log(&mut |header, message| inbox.push((*header, message.to_vec())));
        if self.is_disordered(&inbox) {
            in_order_of_claims(&mut inbox);
        }
        for (header, message) in inbox.drain(..) {
            self.entry(now, switch, &header, message);
        }
        self.inbox = inbox;
    }

    /// Does a message stand behind a later one of its connection?
    fn is_disordered(&mut self, inbox: &[(LogHeader, Vec<u8>)]) -> bool {
        let mut disordered = false;
        for (header, _) in inbox.iter().filter(|(header, _)| header.kind != RecordKind::Notice as u32) {
            if let Some(line) = self.line_mut(header.connection) {
                disordered |= before(header.position, line.read_to);
                line.read_to = header.position.wrapping_add(header.len);
            }
        }
        disordered
    }

    fn entry(&mut self, now: Time, switch: &mut Switch, header: &LogHeader, message: Vec<u8>) {
        let Some((group, place)) = self.line(header.connection).and_then(|line| line.group) else {
            if header.kind != RecordKind::Notice as u32 {
                tracing::error!("a message of no stream stands in the fast path's log");
            }
            return;
        };
        self.busy(now, group);
        if header.kind == RecordKind::Notice as u32 {
            self.pace.taking.push(header.connection);
            return;
        }
        let Some(known) = self.groups.get(group) else { return };
        let Some(leg) = known.plan.legs.get(place) else { return };
        let response = header.kind == RecordKind::Response as u32;
        let places: &[usize] = if response { leg.answer_to.as_slice() } else { &leg.targets };
        let id = |place: &usize| known.plan.legs.get(*place).map(|leg| leg.leg);
        let targets: Vec<LegId> = places.iter().filter_map(id).collect();
        let missing: Vec<u32> = places
            .iter()
            .enumerate()
            .filter(|(bit, _)| header.missed & (1 << bit) != 0)
            .filter_map(|(_, place)| known.numbers.get(*place).copied())
            .collect();
        let carried = Carried {
            conn: leg.conn,
            leg: leg.leg,
            octets: &message,
            targets: &targets,
            missed: header.missed,
            block: leg.in_block.len(),
        };
        switch.carried(now, &carried);
        if !missing.is_empty() {
            // The legs may be drained by the end of this turn.
            self.nudge(group);
        }
        for number in missing {
            if let Some(line) = self.line_mut(number) {
                line.leg.queued_miss();
            }
            // Under the same lock the leg left the fast path.
            self.pace.taking.push(number);
        }
        if let Some(line) = self.line_mut(header.connection) {
            line.keep(Record { position: header.position, octets: message });
            let held = line.held;
            self.pressed(now, held);
        }
    }

    /// The store can follow what is recorded of this connection no longer, or again.
    pub(in crate::msrp) fn store_changed(&mut self, now: Time, switch: &mut Switch, conn: ConnId) {
        self.hold_back(now, switch, conn);
        if let Some(group) = self.group_of(conn) {
            self.want(group, now);
        }
    }

    /// Sources of the group whose answers would go astray from now on come to userspace, before anything that was
    /// queued is written.
    pub(in crate::msrp) fn hold_back(&mut self, now: Time, switch: &mut Switch, conn: ConnId) {
        let Some(group) = self.group_of(conn) else { return };
        let Some(known) = self.groups.get(group) else { return };
        let mut rows = Vec::new();
        for (leg, number) in known.plan.legs.iter().zip(&known.numbers) {
            if self.line(*number).is_some_and(|line| line.source_fast && !line.leaving)
                && let Err(why) = switch.passable(leg.conn)
            {
                rows.push((ControlRow::new(Op::LeaveSource, *number, 0, 0), why));
            }
        }
        if rows.is_empty() {
            return;
        }
        for (row, why) in &rows {
            if let Some(line) = self.line_mut(row.connection) {
                (line.leaving, line.why) = (true, *why);
            }
        }
        if let Ok(rows) = self.batch(rows.into_iter().map(|(row, _)| row)) {
            self.put_back(rows);
        }
        self.want(group, now);
        self.busy(now, group);
    }
}

/// Puts the messages of each connection into the order in which they were claimed: two processors may have reserved
/// their places in the log the other way round. Places of different connections are not exchanged: an answer stands
/// behind what it answers.
fn in_order_of_claims(inbox: &mut [(LogHeader, Vec<u8>)]) {
    for at in 1..inbox.len() {
        let mut at = at;
        let mut earlier = at;
        while earlier > 0 {
            earlier -= 1;
            let (Some((one, _)), Some((other, _))) = (inbox.get(at), inbox.get(earlier)) else { return };
            if other.connection != one.connection || other.kind == RecordKind::Notice as u32 {
                continue;
            }
            if one.kind == RecordKind::Notice as u32 || !before(one.position, other.position) {
                break;
            }
            inbox.swap(earlier, at);
            at = earlier;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_come_in_order_and_answers_behind_them() {
        let record = |connection, position, kind: RecordKind| {
            (LogHeader { connection, position, kind: kind as u32, ..LogHeader::default() }, Vec::new())
        };
        let (send, response, notice) = (RecordKind::Send, RecordKind::Response, RecordKind::Notice);
        let mut inbox = [
            record(1, 900, send),
            record(2, 40, response),
            record(1, 0, notice),
            record(1, 700, send),
            record(2, 20, response),
            record(1, 1000, send),
            record(3, 5, send),
        ];
        in_order_of_claims(&mut inbox);
        let order: Vec<(u32, u32)> = inbox.iter().map(|(h, _)| (h.connection, h.position)).collect();
        assert_eq!(order, [(1, 700), (2, 20), (1, 0), (1, 900), (2, 40), (1, 1000), (3, 5)]);
    }
}
