//! Timers, coarse: what is due is found by looking at all connections, a few times a second at most.

use std::time::Duration;

use pf_common::msrp::FailureReport;

use super::{
    ConnId, LegId, Switch,
    live::{AnswerTo, Sent},
};
use crate::core::{
    event::{LegDown, LegRole, Setup},
    time::Time,
};

/// Shortest time between two looks.
const GRAIN: Duration = Duration::from_millis(250);

impl Switch {
    /// When [`Switch::tick`] is to be called if nothing else happens.
    pub fn deadline(&self) -> Option<Time> {
        self.alarm.map(|alarm| alarm.max(self.looked + GRAIN))
    }

    /// Looks for what is due.
    pub fn tick(&mut self, now: Time) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        (self.alarm, self.looked, self.now) = (None, now, now);
        let conns: Vec<ConnId> = self.conns.iter().map(|(id, _)| id).collect();
        for id in conns {
            self.look_at_connection(now, id);
            self.look_at_frame(now, id);
            self.look_at_transactions(now, id);
        }
        let legs: Vec<LegId> = self.legs.iter().map(|(id, _)| id).collect();
        for id in legs {
            self.look_at_leg(now, id);
            self.look_for_silence(now, id);
        }
        self.look_at_messages(now);
        self.look_at_recordings(now);
        for since in self.half.iter().filter_map(|id| self.conns.get(*id)?.ended).collect::<Vec<_>>() {
            self.alarm_at(since + self.limits.guard);
        }
        self.close_answered(now);
    }

    fn look_at_connection(&mut self, now: Time, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if !conn.up {
            let until = conn.since + self.limits.connect;
            return if now >= until {
                self.lose(now, id, LegDown::ConnectFailed)
            } else {
                self.alarm_at(until)
            };
        }
        if conn.legs.is_empty() {
            let until = conn.since + self.limits.unbound;
            return if now >= until { self.lose(now, id, LegDown::Silent) } else { self.alarm_at(until) };
        }
        if let Some(held) = conn.held {
            let until = held + self.limits.guard;
            if now >= until { self.wake(id) } else { self.alarm_at(until) }
        }
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.outbox.is_empty() {
            conn.progress = now;
        } else {
            let until = conn.progress + self.limits.stalled;
            if now >= until { self.lose(now, id, LegDown::Slow) } else { self.alarm_at(until) }
        }
    }

    /// Requests that nobody answered: 408 to the sender after the guard time, a silent device is given up.
    fn look_at_transactions(&mut self, now: Time, id: ConnId) {
        let (guard, silent) = (self.limits.guard, self.limits.silent);
        let due = |sent: &Sent| {
            let patience =
                if matches!(sent.answer, AnswerTo::Delivery(_) | AnswerTo::Nobody | AnswerTo::Ourselves) {
                    silent
                } else {
                    guard
                };
            sent.at.is_some_and(|at| now >= at + patience)
        };
        while let Some(sent) = self.conns.get_mut(id).and_then(|c| c.live.take_first(due)) {
            self.unanswered(now, id, &sent);
        }
        let next = self.conns.get(id).and_then(|c| c.live.iter().find_map(|sent| sent.at));
        if let Some(at) = next {
            self.alarm_at(at + guard.min(silent));
        }
        self.invite(id);
    }

    fn unanswered(&mut self, now: Time, id: ConnId, sent: &Sent) {
        let quiet =
            matches!(sent.answer, AnswerTo::Sender(s) | AnswerTo::Part(s) if s.report != FailureReport::Yes);
        let Some(leg) = self.legs.get_mut(sent.leg).filter(|_| !quiet) else { return };
        leg.counters.timeouts += 1;
        let role = leg.role;
        match sent.answer {
            AnswerTo::Delivery(_) => self.down(now, sent.leg, LegDown::Silent),
            AnswerTo::Nobody | AnswerTo::Ourselves => {
                if role == LegRole::Device {
                    self.down(now, sent.leg, LegDown::Silent);
                }
            }
            AnswerTo::Sender(sender) => {
                self.answer(sender.conn, sender.leg, &sender.transaction, b"408 No answer in time")
            }
            AnswerTo::Part(sender) => {
                let same = |s: &Sent| matches!(s.answer, AnswerTo::Part(other) if other.is(&sender));
                while self.conns.get_mut(id).and_then(|c| c.live.take_first(same)).is_some() {}
                self.answer(sender.conn, sender.leg, &sender.transaction, b"408 No answer in time");
            }
        }
    }

    /// The peer shall connect, and does not.
    fn look_at_leg(&mut self, now: Time, id: LegId) {
        let Some(leg) = self.legs.get(id) else { return };
        if leg.conn.is_none() && leg.remote.as_ref().is_some_and(|r| r.setup == Setup::Passive) {
            let until = leg.waiting + self.limits.silent;
            if now >= until { self.down(now, id, LegDown::Silent) } else { self.alarm_at(until) }
        }
    }

    fn look_at_messages(&mut self, now: Time) {
        let patience = self.limits.chunks;
        let mut next: Option<Time> = None;
        for stream in self.stream_keys.values() {
            let Some(stream) = self.streams.get_mut(*stream) else { continue };
            stream.chunked.retain(|m| now < m.touched + patience);
            for message in &stream.chunked {
                let at = message.touched + patience;
                next = Some(next.map_or(at, |n| n.min(at)));
            }
        }
        if let Some(next) = next {
            self.alarm_at(next);
        }
    }
}
