//! Responses and REPORTs on their way back.

use pf_common::msrp::{Ending, FailureReport, Flag, Head, Ident, Start};

use super::{
    ConnId, LegId, Switch,
    frame::end_line,
    live::{AnswerTo, Sender, Sent},
};
use crate::core::{
    event::{LegDown, LegRole},
    time::Time,
};

impl Switch {
    /// A response has come.
    pub(super) fn response(&mut self, now: Time, id: ConnId, head: &Head<'_>, rest: &[u8]) {
        let Start::Response { code, status } = head.start else { return };
        let Some(conn) = self.conns.get_mut(id) else { return };
        // Some clients answer REPORT, or answer late: a response without a transaction is dropped.
        let Some(sent) = conn.live.take(&head.transaction) else {
            // A copy that the kernel programs sent, mostly.
            return self.count_answer(id, code, head.len);
        };
        if let Some(leg) = self.legs.get_mut(sent.leg) {
            match code {
                200 => leg.counters.ok += 1,
                _ => leg.counters.errors += 1,
            }
            leg.counters.octets_in += head.len as u64;
        }
        if code == 200 && head.fault.is_none() {
            self.learn_block(sent.leg, rest.get(head.start_line..head.fields).unwrap_or(&[]));
        }
        self.invite(id);
        match sent.answer {
            AnswerTo::Nobody => {}
            AnswerTo::Delivery(number) => self.delivered(now, sent.leg, number, code),
            AnswerTo::Ourselves => {
                // The peer knows no session behind the connection we made.
                if matches!(code, 481 | 506) {
                    self.down(now, sent.leg, LegDown::ConnectFailed);
                }
            }
            AnswerTo::Sender(sender) => self.pass_response(&sender, code, status, head, rest),
            AnswerTo::Part(sender) => {
                let same = |s: &Sent| matches!(s.answer, AnswerTo::Part(other) if other.is(&sender));
                let Some(conn) = self.conns.get_mut(id) else { return };
                if code == 200 && conn.live.iter().any(same) {
                    return;
                }
                while conn.live.take_first(same).is_some() {}
                self.pass_response(&sender, code, status, head, rest);
            }
        }
    }

    /// A response of a device to a copy of which only the kernel programs know.
    fn count_answer(&mut self, id: ConnId, code: u16, octets: usize) {
        let leg = self.conns.get(id).and_then(|conn| conn.legs.first().copied());
        let Some(leg) = leg.filter(|_| self.books.is_some()).and_then(|leg| self.legs.get_mut(leg)) else {
            return;
        };
        if leg.role == LegRole::Device && leg.kernel.sends_out > 0 {
            leg.answered(self.now, 1);
            match code {
                200 => leg.counters.ok += 1,
                _ => leg.counters.errors += 1,
            }
            leg.counters.octets_in += octets as u64;
        }
    }

    /// The primary's response goes to the sender, with the sender's transaction id and paths; status line and
    /// further headers as they are.
    pub(super) fn pass_response(
        &mut self,
        sender: &Sender,
        code: u16,
        status: &[u8],
        head: &Head<'_>,
        rest: &[u8],
    ) {
        let wanted = match sender.report {
            FailureReport::Yes => true,
            FailureReport::Partial => code != 200,
            FailureReport::No => false,
        };
        if !wanted {
            return;
        }
        let Some(leg) = self.legs.get_mut(sender.leg) else { return };
        let lines = std::mem::take(&mut leg.response_lines);
        let end = if head.ending == Ending::Body { head.len.saturating_sub(2) } else { head.len };
        let fields = if head.fault.is_none() { rest.get(head.fields..end).unwrap_or(&[]) } else { &[] };
        let written = self.write_response(sender.conn, sender.transaction.as_bytes(), status, &lines, fields);
        if let Some(leg) = self.legs.get_mut(sender.leg) {
            leg.response_lines = lines;
            leg.counters.octets_out += written as u64;
        }
    }

    /// Answers a request of this leg ourselves.
    pub(super) fn answer(&mut self, id: ConnId, leg_id: LegId, transaction: &Ident, status: &[u8]) {
        let Some(leg) = self.legs.get_mut(leg_id) else { return };
        let lines = std::mem::take(&mut leg.response_lines);
        let written = if lines.is_empty() {
            0
        } else {
            self.write_response(id, transaction.as_bytes(), status, &lines, &[])
        };
        if let Some(leg) = self.legs.get_mut(leg_id) {
            leg.response_lines = lines;
            leg.counters.octets_out += written as u64;
        }
    }

    /// Writes a response, behind the open frame if there is one. Gives its length.
    pub(super) fn write_response(
        &mut self,
        id: ConnId,
        transaction: &[u8],
        status: &[u8],
        path_lines: &[u8],
        fields: &[u8],
    ) -> usize {
        let Some(out) = self.control(id) else { return 0 };
        let before = out.len();
        out.extend_from_slice(b"MSRP ");
        out.extend_from_slice(transaction);
        out.push(b' ');
        out.extend_from_slice(status);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(path_lines);
        out.extend_from_slice(fields);
        out.extend_from_slice(b"-------");
        out.extend_from_slice(transaction);
        out.extend_from_slice(b"$\r\n");
        let written = out.len() - before;
        self.interrupt(id);
        written
    }

    /// A REPORT goes on to a leg: `frame` is all of it.
    pub(super) fn pass_report(&mut self, to: LegId, head: &Head<'_>, frame: &[u8]) {
        let Some((conn, lines)) = self.legs.get_mut(to).and_then(|leg| {
            let conn = leg.conn.filter(|_| !leg.request_lines.is_empty())?;
            Some((conn, std::mem::take(&mut leg.request_lines)))
        }) else {
            return;
        };
        // A reader that answers REPORTs must not be taken to answer a SEND.
        let live = self.conns.get(conn).is_some_and(|c| c.live.contains(&head.transaction));
        let transaction = if live { self.transaction() } else { head.transaction };
        let end = 3 + pf_common::msrp::DASHES.len() + head.transaction.as_bytes().len();
        let mut written = 0;
        if let Some(out) = self.control(conn)
            && frame.len() >= head.fields + end
        {
            let before = out.len();
            out.extend_from_slice(b"MSRP ");
            out.extend_from_slice(transaction.as_bytes());
            out.extend_from_slice(b" REPORT\r\n");
            out.extend_from_slice(&lines);
            out.extend_from_slice(&frame[head.fields..frame.len() - end]);
            end_line(out, &transaction, Flag::Last);
            written = out.len() - before;
            self.interrupt(conn);
        }
        if let Some(leg) = self.legs.get_mut(to) {
            leg.request_lines = lines;
            leg.counters.octets_out += written as u64;
        }
    }

    /// Where a frame goes that must not wait: the outbox, or behind the open frame.
    pub(super) fn control(&mut self, id: ConnId) -> Option<&mut Vec<u8>> {
        let conn = self.conns.get_mut(id)?;
        conn.dirty(id, &mut self.dirty, &mut self.spare);
        Some(if conn.open.is_some() { &mut conn.control } else { conn.outbox.octets() })
    }
}
