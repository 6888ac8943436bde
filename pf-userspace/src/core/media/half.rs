//! A peer that has said its last word, and still listens for the answers.

use super::{
    ConnId, LegId, Switch,
    leg::Leg,
    live::{AnswerTo, Sent},
};
use crate::core::{event::LegDown, time::Time};

impl Switch {
    /// The peer sends nothing more, and all that it sent was consumed as far as it can be. The connection is closed
    /// when its requests are answered, after the guard time at the latest; at once if it has none.
    pub fn ended(&mut self, now: Time, id: ConnId) {
        self.now = now;
        let Some(conn) = self.conns.get_mut(id).filter(|c| c.ended.is_none()) else { return };
        conn.ended = Some(now);
        self.plans_changed(id);
        self.half.push(id);
        self.abandon(now, id);
        self.alarm_at(now + self.limits.guard);
        self.close_answered(now);
    }

    /// Closes those whose requests have been answered.
    pub(super) fn close_answered(&mut self, now: Time) {
        let mut n = 0;
        while let Some(id) = self.half.get(n).copied() {
            let Some(since) = self.conns.get(id).map(|c| c.ended) else {
                self.half.swap_remove(n);
                continue;
            };
            if since.is_some_and(|since| now < since + self.limits.guard) && self.is_owed_answers(id) {
                n += 1;
            } else {
                self.half.swap_remove(n);
                self.lose(now, id, LegDown::Closed);
            }
        }
    }

    /// Will this connection's peer get an answer to a request of its own?
    fn is_owed_answers(&self, id: ConnId) -> bool {
        let Some(conn) = self.conns.get(id) else { return false };
        let own =
            |sent: &Sent| matches!(sent.answer, AnswerTo::Sender(s) | AnswerTo::Part(s) if s.conn == id);
        let streams = conn.legs.iter().filter_map(|leg| self.streams.get(self.legs.get(*leg)?.stream));
        let mut legs =
            streams.flat_map(|s| s.originator.into_iter().chain(s.far).chain(s.devices.iter().copied()));
        let open = |leg: LegId| {
            let to: Option<&Leg> = self.legs.get(leg);
            to.and_then(|leg| self.conns.get(leg.conn?)).is_some_and(|c| c.live.iter().any(own))
        };
        // Answers that stand behind a frame that is still being written to it.
        !conn.control.is_empty() || legs.any(open)
    }
}
