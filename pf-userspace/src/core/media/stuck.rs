//! A frame that does not get on, on a connection that others wait for.
//!
//! Sessions towards one place share a connection (RFC 4975 section 5.4), and on a connection one frame is written
//! after the other. A source that leaves its frame half sent would keep all others from it.

use std::time::Duration;

use super::{
    ConnId, LegId, Switch,
    connection::{Connection, Frame},
    live::{AnswerTo, Sent},
};
use crate::core::time::Time;

/// Fewer octets than these, within [`super::Limits::stuck`], are no progress while others wait.
const PACE: u64 = 4096;

/// Who waits for the end of an open frame?
enum Waiting {
    Nobody,
    Others,
}

impl Frame {
    /// So many octets of its body have come.
    pub(super) fn got_on(&mut self, now: Time, octets: usize) {
        if octets > 0 {
            self.handed += octets as u64;
            self.heard = now;
            if self.handed - self.pace.1 >= PACE {
                self.pace = (now, self.handed);
            }
        }
    }

    /// When it is given up unless it gets on.
    fn given_up_at(&self, crowded: Option<Time>, stuck: Duration, guard: Duration) -> Time {
        let silent = self.heard + guard;
        match crowded {
            Some(since) => silent.min(self.pace.0.max(since) + stuck),
            None => silent,
        }
    }
}

impl Connection {
    fn waiting(&self, source: ConnId) -> Waiting {
        let waiters = self.waiters.iter().any(|waiter| *waiter != source);
        let copies = self.deferred.iter().any(|deferred| deferred.source != source);
        // Answers to another session of the peer.
        let answers = self.legs.len() > 1 && !self.control.is_empty();
        if waiters || copies || answers { Waiting::Others } else { Waiting::Nobody }
    }
}

impl Switch {
    /// Looks whether the frame that is being written to this connection gets on.
    pub(super) fn look_at_frame(&mut self, now: Time, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let Some((source_id, leg)) = conn.open else { return };
        match conn.waiting(source_id) {
            Waiting::Nobody => conn.crowded = None,
            Waiting::Others => _ = conn.crowded.get_or_insert(now),
        }
        let crowded = conn.crowded;
        let Some(source) = self.conns.get(source_id) else { return };
        let Some(target) = source.frame.targets.iter().find(|t| t.leg == leg && t.conn == id) else { return };
        let (paused, primary) = (source.paused, target.primary);
        if paused && (primary || crowded.is_none()) {
            // It waits for its recipient, whose own patience is measured elsewhere.
            return;
        }
        let until = source.frame.given_up_at(crowded, self.limits.stuck, self.limits.guard);
        if now < until {
            self.alarm_at(until);
        } else if paused {
            // Its primary holds it back: that is none of this connection's business.
            self.miss(source_id, leg);
        } else {
            self.give_up(now, source_id);
        }
    }

    /// The rest of this source's frame is not waited for: its sender hears 408, the recipients get `#`.
    fn give_up(&mut self, now: Time, id: ConnId) {
        let Some(frame) = self.conns.get(id).map(|c| &c.frame) else { return };
        let primary = frame.targets.iter().find(|t| t.primary).and_then(|t| Some((t.conn, t.number?)));
        let awaited = primary
            .and_then(|(to, number)| Some((to, self.conns.get(to)?.live.awaited(number)?)))
            .and_then(|(to, answer)| match answer {
                AnswerTo::Sender(sender) | AnswerTo::Part(sender) => Some((to, sender)),
                AnswerTo::Delivery(_) | AnswerTo::Nobody | AnswerTo::Ourselves => None,
            });
        if let Some(leg) = frame.leg.and_then(|leg| self.legs.get_mut(leg)) {
            leg.counters.timeouts += 1;
        }
        self.abandon(now, id);
        let Some((to, sender)) = awaited else { return };
        // Parts that went out before are nobody's any more.
        let same = |s: &Sent| matches!(s.answer, AnswerTo::Part(other) if other.is(&sender));
        while self.conns.get_mut(to).and_then(|c| c.live.take_first(same)).is_some() {}
        self.answer(sender.conn, sender.leg, &sender.transaction, b"408 The rest did not come in time");
    }

    /// A leg gets no more of the message whose frame this source is sending; it stays up.
    pub(super) fn miss(&mut self, source: ConnId, leg: LegId) {
        let Some(frame) = self.conns.get(source).map(|c| &c.frame) else { return };
        let Some(target) = frame.targets.iter().find(|t| t.leg == leg) else { return };
        let (to, deferred, number) = (target.conn, target.deferred, target.number);
        let (from, message_id) = (frame.leg, frame.message_id.clone());
        if let (Some(number), Some(to)) = (number, self.conns.get_mut(to)) {
            if deferred {
                to.live.withdraw(number);
            } else {
                to.live.disown(number);
                to.live.complete(number, self.now);
            }
        }
        if let Some((from, stream)) = from.and_then(|from| Some((from, self.legs.get(from)?.stream))) {
            self.unfollow(stream, from, &message_id, &[leg]);
        }
        self.count_missed(&[leg]);
        self.drop_target(source, leg);
    }
}
