//! A frame passes through: its head per leg, its body as it arrives, its end-line.

use pf_common::msrp::{DASHES, FailureReport, Flag, Head, Ident};

use super::{
    ConnId, LegId, Switch,
    connection::{Deferred, Reading, Target},
    leg::Chunked,
    live::{AnswerTo, Sender, Sent},
};
use crate::core::time::Time;

/// Pieces of a body from this length on are not copied.
const LEND_FROM: usize = 4096;
/// Longest Message-ID whose chunks are followed (the grammar says 32; real ones are UUIDs).
const MESSAGE_ID_MAX: usize = 256;

impl Switch {
    /// A frame from `from` begins to be handed on; `rest` begins with it.
    pub(super) fn begin(&mut self, id: ConnId, from: LegId, head: &Head<'_>, rest: &[u8]) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let range = head.byte_range;
        let frame = &mut conn.frame;
        frame.transaction = Some(head.transaction);
        frame.leg = Some(from);
        frame.targets.clear();
        (frame.kept, frame.taken, frame.recorded) = (None, None, None);
        frame.message_id.clear();
        frame
            .message_id
            .extend_from_slice(head.message_id.filter(|m| m.len() <= MESSAGE_ID_MAX).unwrap_or(&[]));
        frame.start = range.map_or(1, |r| r.start);
        frame.first = frame.start == 1;
        frame.total = range.and_then(|r| r.total);
        frame.interruptible = range.is_some_and(|r| r.end.is_none());
        frame.handed = 0;
        (frame.heard, frame.pace) = (self.now, (self.now, 0));
        if frame.interruptible {
            frame.keep_fields(head, rest);
        }
        frame.answered = head.failure_report != FailureReport::No;
        conn.reading = Reading::Body { fresh: true };
        self.alarm_at(self.now + self.limits.guard);
    }

    /// Writes the head for one more leg. `rest` begins with the frame.
    pub(super) fn add_target(
        &mut self,
        id: ConnId,
        from: LegId,
        head: &Head<'_>,
        rest: &[u8],
        to: (LegId, ConnId),
        primary: bool,
    ) {
        let target = self.open_target(id, from, head, rest, to, primary);
        if let (Some(target), Some(source)) = (target, self.conns.get_mut(id)) {
            source.frame.targets.push(target);
        }
    }

    /// Opens a frame for a leg, and writes its head.
    pub(super) fn open_target(
        &mut self,
        id: ConnId,
        from: LegId,
        head: &Head<'_>,
        rest: &[u8],
        (leg_id, to): (LegId, ConnId),
        primary: bool,
    ) -> Option<Target> {
        let live = self.conns.get(to).is_some_and(|c| c.live.contains(&head.transaction));
        let transaction = if live { self.transaction() } else { head.transaction };
        let limit = self.limits.transactions;
        let (leg, conn) = (self.legs.get_mut(leg_id)?, self.conns.get_mut(to)?);
        if !primary && conn.live.len() >= limit {
            self.slow.push(leg_id);
            return None;
        }
        let sender =
            Sender { conn: id, leg: from, transaction: head.transaction, report: head.failure_report };
        let answer = match (head.failure_report, primary) {
            (FailureReport::Yes, false) => Some(AnswerTo::Nobody),
            (FailureReport::Yes | FailureReport::Partial, true) => Some(AnswerTo::Sender(sender)),
            (FailureReport::Partial, false) | (FailureReport::No, _) => None,
        };
        let number = answer.map(|answer| conn.live.push(Sent { transaction, leg: leg_id, at: None, answer }));
        let deferred = conn.open.is_some();
        conn.dirty(to, &mut self.dirty, &mut self.spare);
        let out = if deferred {
            conn.deferred.push_back(Deferred { source: id, leg: leg_id, octets: Vec::new(), done: false });
            conn.crowded.get_or_insert(self.now);
            let until = self.now + self.limits.stuck;
            self.alarm = Some(self.alarm.map_or(until, |alarm| alarm.min(until)));
            conn.deferred.back_mut().map(|d| &mut d.octets)
        } else {
            conn.open = Some((id, leg_id));
            if conn.turn == Some(id) {
                conn.turn = None;
            }
            if !conn.waiters.is_empty() {
                conn.crowded = Some(self.now);
                let until = self.now + self.limits.stuck;
                self.alarm = Some(self.alarm.map_or(until, |alarm| alarm.min(until)));
            }
            Some(conn.outbox.octets())
        };
        let out = out?;
        let before = out.len();
        if live {
            out.extend_from_slice(b"MSRP ");
            out.extend_from_slice(transaction.as_bytes());
            out.extend_from_slice(b" SEND\r\n");
        } else {
            out.extend_from_slice(&rest[..head.start_line]);
        }
        out.extend_from_slice(&leg.request_lines);
        out.extend_from_slice(&rest[head.fields..head.len]);
        leg.counters.octets_out += (out.len() - before) as u64;
        leg.counters.sends_out += 1;
        Some(Target { conn: to, leg: leg_id, transaction, kept: !live, number, primary, cut: 0, deferred })
    }

    /// Hands on `input[from..to]`, octets of the body; with `end`, the CRLF after it included, the frame ends
    /// with this flag, and its end-line stands at `input[to..end]`.
    pub(super) fn hand_on(
        &mut self,
        now: Time,
        id: ConnId,
        input: &[u8],
        from: usize,
        to: usize,
        end: Option<(Flag, usize)>,
    ) {
        let Some(source) = self.conns.get_mut(id) else { return };
        let mut targets = std::mem::take(&mut source.frame.targets);
        source.frame.got_on(now, to - from);
        let consumed = end.map_or(to, |(_, end)| end) - from;
        if let Some(leg) = source.frame.leg.and_then(|leg| self.legs.get_mut(leg)) {
            leg.counters.octets_in += consumed as u64;
        }
        if source.frame.kept.is_some() {
            self.keep_on(id, input.get(from..from + consumed).unwrap_or(&[]));
        }
        if self.conns.get(id).is_some_and(|source| source.frame.taken.is_some()) {
            self.take_in(id, input.get(from..to).unwrap_or(&[]));
        }
        self.record_octets(id, input.get(from..to).unwrap_or(&[]));
        let mut pause = false;
        let mut missed = Vec::new();
        for target in &targets {
            let Some(conn) = self.conns.get_mut(target.conn) else { continue };
            // Where the transaction id is kept, the end-line is the sender's own.
            let upto = end.filter(|_| target.kept).map_or(to, |(_, end)| end);
            let new_end = end.filter(|_| !target.kept).map(|(flag, _)| flag);
            conn.dirty(target.conn, &mut self.dirty, &mut self.spare);
            let long = upto - from >= LEND_FROM && !target.deferred;
            let out = if target.deferred {
                match conn.deferred.iter_mut().find(|d| d.source == id && d.leg == target.leg && !d.done) {
                    Some(deferred) => &mut deferred.octets,
                    None => continue,
                }
            } else {
                if long {
                    if !conn.outbox.borrows() {
                        self.borrowing.push(target.conn);
                    }
                    conn.outbox.lend(from, upto - from);
                }
                conn.outbox.octets()
            };
            if !long {
                out.extend_from_slice(&input[from..upto]);
            }
            let mut written = upto - from;
            if let Some(flag) = new_end {
                written += end_line(out, &target.transaction, flag);
            }
            if let Some(leg) = self.legs.get_mut(target.leg) {
                leg.counters.octets_out += written as u64;
            }
            if target.primary {
                pause |= end.is_none() && conn.outbox.len() > self.limits.high_water;
            } else if target.deferred {
                // It is not this peer that is slow: it never saw these octets.
                if conn.held_back() > self.limits.device_queue.saturating_add(conn.allowance) {
                    missed.push(target.leg);
                }
            } else if conn.outbox.len() + conn.control.len()
                > self.limits.device_queue.saturating_add(conn.allowance)
            {
                self.slow.push(target.leg);
            }
        }
        if let Some(source) = self.conns.get_mut(id) {
            std::mem::swap(&mut source.frame.targets, &mut targets);
        }
        for leg in missed {
            self.miss(id, leg);
        }
        match end {
            Some((flag, _)) => self.finish(now, id, flag),
            None => {
                if let Some(source) = self.conns.get_mut(id) {
                    // Woken when the primary's queue has drained.
                    source.paused |= pause;
                }
                self.let_control_through(id);
            }
        }
    }

    /// Something may wait behind the piece that was handed on.
    fn let_control_through(&mut self, id: ConnId) {
        let mut n = 0;
        while let Some(target) = self.conns.get(id).and_then(|c| c.frame.targets.get(n)) {
            let to = target.conn;
            self.interrupt(to);
            n += 1;
        }
    }

    /// The frame of this source has ended, on all its legs.
    fn finish(&mut self, now: Time, id: ConnId, flag: Flag) {
        let Some(source) = self.conns.get_mut(id) else { return };
        source.reading = Reading::Head;
        let (kept, taken) = (source.frame.kept.is_some(), source.frame.taken.is_some());
        let mut targets = std::mem::take(&mut source.frame.targets);
        self.follow(now, id, flag, &targets);
        if kept {
            self.kept_whole(id, flag);
        }
        if taken {
            self.taken_whole(id, flag);
        }
        self.record_end(now, id, flag);
        for target in &targets {
            let Some(conn) = self.conns.get_mut(target.conn) else { continue };
            if let Some(number) = target.number {
                conn.live.complete(number, now);
            }
            if target.deferred
                && let Some(deferred) =
                    conn.deferred.iter_mut().find(|d| d.source == id && d.leg == target.leg && !d.done)
            {
                deferred.done = true;
            }
        }
        if targets.iter().any(|t| t.number.is_some()) {
            self.alarm_at(now + self.limits.guard.min(self.limits.silent));
        }
        for target in &targets {
            if !target.deferred {
                self.release(target.conn);
            }
        }
        targets.clear();
        if let Some(source) = self.conns.get_mut(id) {
            source.frame.targets = targets;
        }
    }

    /// Remembers who got the first chunk of a message that goes on; forgets it at its end.
    fn follow(&mut self, now: Time, id: ConnId, flag: Flag, targets: &[Target]) {
        let Some(frame) = self.conns.get(id).map(|c| &c.frame) else { return };
        let Some(from) = frame.leg else { return };
        let Some(stream) = self.legs.get(from).map(|l| l.stream) else { return };
        let Some(stream) = self.streams.get_mut(stream) else { return };
        if flag != Flag::More && stream.chunked.is_empty() || frame.message_id.is_empty() {
            return;
        }
        let known = stream.chunked.iter().position(|m| m.from == from && m.message_id == frame.message_id);
        match (flag, known) {
            (Flag::More, Some(n)) if !frame.first => {
                if let Some(message) = stream.chunked.get_mut(n) {
                    message.touched = now;
                }
            }
            (Flag::More, known) if frame.first => {
                if let Some(n) = known {
                    stream.chunked.remove(n);
                }
                if stream.chunked.len() >= self.limits.chunked_messages {
                    stream.chunked.pop_front();
                }
                let kept = frame.kept.iter().flat_map(|kept| kept.legs.iter().copied());
                let legs = targets.iter().map(|t| t.leg).chain(kept).collect();
                let message_id = frame.message_id.clone();
                stream.chunked.push_back(Chunked { from, message_id, legs, touched: now });
                self.alarm_at(now + self.limits.chunks);
            }
            (Flag::Last | Flag::Abandoned, Some(n)) => {
                stream.chunked.remove(n);
            }
            _ => {}
        }
    }

    /// The rest of the frame will not come, or not be handed on: its copies end with `#`; what still comes of
    /// it is skipped. Nobody waits for its answers.
    pub(super) fn abandon(&mut self, now: Time, id: ConnId) {
        let Some(source) = self.conns.get_mut(id) else { return };
        let reading = source.reading;
        if reading == Reading::Head {
            return;
        }
        let targets = std::mem::take(&mut source.frame.targets);
        self.forget_taken(id);
        let Some(source) = self.conns.get_mut(id) else { return };
        if let Some(transaction) = source.frame.transaction.filter(|_| source.frame.kept.is_some()) {
            let mut end = b"\r\n".to_vec();
            end_line(&mut end, &transaction, Flag::Abandoned);
            self.keep_on(id, &end);
        }
        for target in &targets {
            let Some(conn) = self.conns.get_mut(target.conn) else { continue };
            conn.dirty(target.conn, &mut self.dirty, &mut self.spare);
            if let Some(number) = target.number {
                conn.live.disown(number);
            }
            let out = if target.deferred {
                conn.deferred
                    .iter_mut()
                    .find(|d| d.source == id && d.leg == target.leg && !d.done)
                    .map(|d| &mut d.octets)
            } else {
                Some(conn.outbox.octets())
            };
            if let Some(out) = out {
                out.extend_from_slice(b"\r\n");
                end_line(out, &target.transaction, Flag::Abandoned);
            }
        }
        if let Some(source) = self.conns.get_mut(id) {
            source.frame.targets = targets;
        }
        self.finish(now, id, Flag::Abandoned);
        if let Some(source) = self.conns.get_mut(id) {
            // In a frame it stays, whose rest is skipped.
            source.reading = reading;
            source.frame.leg = None;
        }
    }

    /// One leg no longer takes part in the frame that `source` sends.
    pub(super) fn drop_target(&mut self, source: ConnId, leg: LegId) {
        let Some(conn) = self.conns.get_mut(source) else { return };
        let Some(n) = conn.frame.targets.iter().position(|t| t.leg == leg) else { return };
        let target = conn.frame.targets.remove(n);
        self.wake(source);
        let Some(to) = self.conns.get_mut(target.conn) else { return };
        if target.deferred {
            to.deferred.retain(|d| d.done || d.source != source || d.leg != leg);
            return;
        }
        to.dirty(target.conn, &mut self.dirty, &mut self.spare);
        let out = to.outbox.octets();
        out.extend_from_slice(b"\r\n");
        end_line(out, &target.transaction, Flag::Abandoned);
        self.release(target.conn);
    }

    /// No frame is open on this connection any more: what waited for that goes on.
    pub(super) fn release(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        (conn.open, conn.crowded) = (None, None);
        if !conn.control.is_empty() {
            conn.outbox.octets().extend_from_slice(&conn.control);
            conn.control.clear();
        }
        let mut promoted = None;
        while let Some(deferred) = conn.deferred.pop_front() {
            conn.outbox.octets().extend_from_slice(&deferred.octets);
            // They come all at once, which is no fault of the peer's.
            conn.allowance = (conn.allowance + deferred.octets.len()).min(conn.outbox.len());
            if !deferred.done {
                conn.open = Some((deferred.source, deferred.leg));
                promoted = conn.open;
                break;
            }
        }
        if let Some((source, leg)) = promoted
            && let Some(source) = self.conns.get_mut(source)
            && let Some(target) = source.frame.targets.iter_mut().find(|t| t.leg == leg)
        {
            target.deferred = false;
        }
        if promoted.is_some() {
            // Whoever waits, it is looked at in time.
            self.alarm_at(self.now + self.limits.stuck);
        }
        self.invite(id);
    }
}

/// Writes an end-line; gives its length.
pub(super) fn end_line(out: &mut Vec<u8>, transaction: &Ident, flag: Flag) -> usize {
    out.extend_from_slice(DASHES);
    out.extend_from_slice(transaction.as_bytes());
    out.extend_from_slice(&[flag.octet(), b'\r', b'\n']);
    DASHES.len() + transaction.as_bytes().len() + 3
}
