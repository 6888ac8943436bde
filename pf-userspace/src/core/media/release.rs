//! Who waits, and who may go on; what happens when connections and legs go.

use pf_common::msrp::FailureReport;

use super::{Action, ConnId, LegId, Switch, connection::Connection, leg::Gone, live::AnswerTo};
use crate::core::{
    event::{LegDown, LegRole, MediaEvent},
    time::Time,
};

/// Empty buffers kept for outboxes.
const SPARE: usize = 64;
/// Larger buffers are given back.
const SPARE_CAPACITY: usize = 256 * 1024;

impl Connection {
    /// It has something to write: puts it into the list of those, once.
    #[inline]
    pub(super) fn dirty(&mut self, id: ConnId, dirty: &mut Vec<ConnId>, spare: &mut Vec<Vec<u8>>) {
        if !self.dirty {
            self.dirty = true;
            dirty.push(id);
            if self.outbox.is_empty()
                && let Some(buffer) = spare.pop()
            {
                self.outbox.equip(buffer);
            }
        }
    }
}

impl Switch {
    /// `n` octets of the outbox were written.
    pub fn wrote(&mut self, now: Time, id: ConnId, n: usize) {
        self.now = now;
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.outbox.wrote(n);
        conn.allowance = conn.allowance.saturating_sub(n);
        if n > 0 {
            conn.progress = now;
        }
        if let Some(buffer) = conn.outbox.strip()
            && self.spare.len() < SPARE
            && buffer.capacity() <= SPARE_CAPACITY
        {
            self.spare.push(buffer);
        }
        if conn.outbox.len() <= self.limits.low_water {
            if let Some((source, _)) = conn.open
                && self
                    .conns
                    .get(source)
                    .is_some_and(|c| c.frame.targets.iter().any(|t| t.primary && t.conn == id))
            {
                self.wake(source);
            }
            self.invite(id);
            self.deliver_on();
        } else {
            let stalled = now + self.limits.stalled;
            self.alarm_at(stalled);
        }
    }

    /// Copies what the outbox still borrows from `input`, the slice given to [`Switch::input`] last.
    pub fn settle(&mut self, id: ConnId, input: &[u8]) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.outbox.settle(input);
        }
    }

    /// Octets that wait to be written there.
    pub(super) fn backlog(&self, id: ConnId) -> usize {
        self.conns.get(id).map_or(0, |c| c.outbox.len() + c.control.len())
    }

    /// `id` is not read until `on` can take a frame from it.
    pub(super) fn pause(&mut self, id: ConnId, on: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.paused = true;
        }
        if let Some(on) = self.conns.get_mut(on)
            && !on.waiters.contains(&id)
        {
            on.waiters.push_back(id);
            on.crowded.get_or_insert(self.now);
            self.alarm_at(self.now + self.limits.stuck);
        }
    }

    /// Reading of `id` may go on.
    pub(super) fn wake(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id)
            && conn.paused
        {
            conn.paused = false;
            // The time of the pause was not the source's own.
            (conn.frame.heard, conn.frame.pace) = (self.now, (self.now, conn.frame.handed));
            self.ready.push_back(id);
        }
    }

    /// Gives the next source that waits for this connection its turn, if a frame can begin.
    pub(super) fn invite(&mut self, id: ConnId) {
        let limits = &self.limits;
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.waiters.is_empty() || conn.turn.is_some() || conn.busy(limits) {
            return;
        }
        while let Some(next) = self.conns.get_mut(id).and_then(|c| c.waiters.pop_front()) {
            let Some(source) = self.conns.get_mut(next) else { continue };
            source.invited_by = Some(id);
            if let Some(conn) = self.conns.get_mut(id) {
                conn.turn = Some(next);
            }
            self.wake(next);
            return;
        }
    }

    /// A source has had its say: if it did not use its turn, the next one gets it.
    pub(super) fn give_back_turn(&mut self, id: ConnId) {
        let Some(by) = self.conns.get_mut(id).and_then(|c| c.invited_by.take()) else { return };
        if let Some(conn) = self.conns.get_mut(by)
            && conn.turn == Some(id)
        {
            conn.turn = None;
        }
        self.invite(by);
    }

    /// A connection is gone: closed or reset by the peer, or it never came to be.
    pub fn closed(&mut self, now: Time, id: ConnId) {
        self.now = now;
        let connected = self.conns.get(id).is_some_and(|c| c.up);
        self.lose(now, id, if connected { LegDown::Closed } else { LegDown::ConnectFailed });
        self.close_answered(now);
    }

    /// What the connection still has to write; an open frame is left as it is, since nothing follows.
    fn rest(&mut self, id: ConnId) -> Vec<u8> {
        let Some(conn) = self.conns.get_mut(id) else { return Vec::new() };
        if conn.outbox.borrows() {
            // The input is not at hand here; only a slow or faulty peer loses these octets.
            return Vec::new();
        }
        let mut rest = conn.outbox.plain().to_vec();
        if conn.open.is_none() {
            rest.extend_from_slice(&conn.control);
        }
        rest
    }

    /// A connection ends with all its legs; what is queued is still written.
    pub(super) fn lose(&mut self, now: Time, id: ConnId, reason: LegDown) {
        self.abandon(now, id);
        while let Some(leg) = self.conns.get(id).and_then(|c| c.legs.first().copied()) {
            // The last one closes the connection.
            self.remove_leg(now, leg, Gone::Down(reason));
        }
        self.close(now, id);
    }

    /// Closes a connection that carries no leg.
    fn close(&mut self, now: Time, id: ConnId) {
        if self.conns.get(id).is_some() {
            self.abandon(now, id);
            let rest = self.rest(id);
            self.forget(id);
            self.actions.push_back(Action::Close { conn: id, rest });
        }
    }

    /// Removes a connection that has no legs.
    fn forget(&mut self, id: ConnId) {
        let Some(conn) = self.conns.remove(id) else { return };
        for waiter in conn.waiters {
            self.wake(waiter);
        }
        if let Some((source, leg)) = conn.open
            && let Some(source) = self.conns.get_mut(source)
        {
            source.frame.targets.retain(|t| t.leg != leg);
        }
        if let Some((source, _)) = conn.open {
            self.wake(source);
        }
        if let Some(turn) = conn.invited_by.and_then(|by| self.conns.get_mut(by))
            && turn.turn == Some(id)
        {
            turn.turn = None;
        }
        if let Some(by) = conn.invited_by {
            self.invite(by);
        }
    }

    /// One leg goes down by itself.
    pub(super) fn down(&mut self, now: Time, leg: LegId, reason: LegDown) {
        self.remove_leg(now, leg, Gone::Down(reason));
    }

    /// Removes a leg and tells the core; its connection closes when no other leg uses it.
    pub(super) fn remove_leg(&mut self, now: Time, id: LegId, gone: Gone) {
        let Some(leg) = self.legs.remove(id) else { return };
        self.leg_keys.remove(&leg.key);
        self.sessions.remove(leg.session());
        if let Some(stream) = self.streams.get_mut(leg.stream) {
            stream.devices.retain(|l| *l != id);
            stream.chunked.retain(|m| m.from != id);
            match leg.role {
                LegRole::Far if stream.far == Some(id) => (stream.far, stream.far_gone) = (None, Some(gone)),
                LegRole::Originator if stream.originator == Some(id) => {
                    (stream.originator, stream.originator_gone) = (None, Some(gone));
                }
                _ => {}
            }
        }
        if leg.role == LegRole::Device {
            self.forget_kept(leg.stream, id);
        }
        self.actions.push_back(Action::Event(match gone {
            Gone::Closed => MediaEvent::LegClosed { leg: leg.key, counters: leg.counters },
            Gone::Down(reason) => MediaEvent::LegDown { leg: leg.key, reason, counters: leg.counters },
        }));
        self.plan_changed(leg.stream);
        if let Some(conn) = leg.conn {
            self.unbind(now, id, conn);
        }
        self.wake_stream(leg.stream);
    }

    /// A connection no longer carries a leg.
    pub(super) fn unbind(&mut self, now: Time, leg: LegId, id: ConnId) {
        // What the leg was sending.
        if self.conns.get(id).is_some_and(|c| c.frame.leg == Some(leg)) {
            self.abandon(now, id);
        }
        // What was being sent to it.
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.legs.retain(|l| *l != leg);
        if conn.last == Some(leg) {
            conn.last = None;
        }
        let last_leg = conn.legs.is_empty();
        let mut sources: Vec<ConnId> =
            conn.deferred.iter().filter(|d| d.leg == leg).map(|d| d.source).collect();
        sources.extend(conn.open.filter(|(_, l)| *l == leg).map(|(source, _)| source));
        let mut senders = Vec::new();
        while let Some(sent) = conn.live.take_first(|s| s.leg == leg) {
            if let AnswerTo::Sender(sender) | AnswerTo::Part(sender) = sent.answer
                && !senders.iter().any(|s: &super::live::Sender| {
                    s.transaction == sender.transaction && s.conn == sender.conn
                })
            {
                senders.push(sender);
            }
        }
        self.plans_changed(id);
        for source in sources {
            self.drop_target(source, leg);
        }
        for sender in senders {
            if sender.report != FailureReport::No {
                // Another try finds somebody who takes it.
                let again = self.is_intercepted(sender.leg);
                let status: &[u8] = if again { b"408 The client is lost" } else { b"481 Next hop is gone" };
                self.answer(sender.conn, sender.leg, &sender.transaction, status);
            }
        }
        if last_leg {
            self.close(now, id);
        }
    }
}
