//! Cutting a long chunk where a response or REPORT waits behind it (RFC 4975 section 7.1.1).
//!
//! The chunk ends with `+`, what waits is written, and the body goes on in a chunk of our own making. The answers
//! to the parts are joined: the sender hears one.

use pf_common::msrp::{Flag, Head, INTERRUPTIBLE_ABOVE};

use super::{
    ConnId, Switch,
    connection::Frame,
    frame::end_line,
    live::{AnswerTo, Sent},
};

impl Frame {
    /// Keeps what a further chunk's head needs.
    pub(super) fn keep_fields(&mut self, head: &Head<'_>, rest: &[u8]) {
        let (line, next) = head.byte_range_line;
        self.fields.0.clear();
        self.fields.0.extend_from_slice(rest.get(head.fields..line).unwrap_or(&[]));
        self.fields.1.clear();
        self.fields.1.extend_from_slice(rest.get(next..head.len).unwrap_or(&[]));
    }
}

impl Switch {
    /// Cuts the frame that is open on this connection, if something waits behind it and it may be cut.
    pub(super) fn interrupt(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(id) else { return };
        let Some((source, leg_id)) = conn.open.filter(|_| !conn.control.is_empty()) else { return };
        let Some(frame) = self.conns.get(source).map(|c| &c.frame) else { return };
        let Some(n) = frame.targets.iter().position(|t| t.leg == leg_id && !t.deferred) else { return };
        let Some(target) = frame.targets.get(n).copied() else { return };
        if !frame.interruptible || frame.handed - target.cut <= INTERRUPTIBLE_ABOVE {
            return;
        }
        let range = format!(
            "Byte-Range: {}-*/{}\r\n",
            frame.start.saturating_add(frame.handed),
            frame.total.map_or_else(|| "*".to_owned(), |total| total.to_string()),
        );
        let fields = [&frame.fields.0, range.as_bytes(), &frame.fields.1].concat();
        let handed = frame.handed;
        let transaction = self.transaction();
        let (Some(leg), Some(conn)) = (self.legs.get_mut(leg_id), self.conns.get_mut(id)) else { return };
        // The first part's transaction may be over already: then nobody waits for the second's answer.
        let number = target.number.map(|number| {
            conn.live.complete(number, self.now);
            let answer = conn.live.split(number).unwrap_or(AnswerTo::Nobody);
            conn.live.push(Sent { transaction, leg: leg_id, at: None, answer })
        });
        conn.dirty(id, &mut self.dirty, &mut self.spare);
        let out = conn.outbox.octets();
        let before = out.len();
        out.extend_from_slice(b"\r\n");
        end_line(out, &target.transaction, Flag::More);
        let ended = out.len();
        out.append(&mut conn.control);
        let resumed = out.len();
        out.extend_from_slice(b"MSRP ");
        out.extend_from_slice(transaction.as_bytes());
        out.extend_from_slice(b" SEND\r\n");
        out.extend_from_slice(&leg.request_lines);
        out.extend_from_slice(&fields);
        leg.counters.octets_out += (ended - before + out.len() - resumed) as u64;
        leg.counters.sends_out += 1;
        if let Some(target) = self.conns.get_mut(source).and_then(|c| c.frame.targets.get_mut(n)) {
            (target.transaction, target.kept, target.number, target.cut) =
                (transaction, false, number, handed);
        }
    }
}
