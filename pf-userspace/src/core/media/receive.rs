//! Octets of a connection come in: frames are taken apart and handed on.

use pf_common::msrp::{Ending, Head, Method, Parsed, Search, Start, find_end, head::leftmost};

use super::{ConnId, LegId, Switch, connection::Reading};
use crate::core::{
    event::{LegDown, LegRole},
    time::Time,
};

/// A REPORT with its body (RFC 4975 section 7.1: at most 10240 octets) is read whole.
const REPORT_MAX: usize = pf_common::msrp::HEAD_MAX + pf_common::msrp::OTHER_BODY_MAX;

/// What became of the octets at hand.
pub(super) enum Step {
    /// So many are done with.
    Consumed(usize),
    /// Nothing to do before more octets or a wake-up come.
    Wait,
}

impl Switch {
    /// Octets of a connection, beginning where nothing was consumed yet. Gives how many were consumed: the rest
    /// is given again, with what follows, when more has come or [`Switch::take_ready`] names the connection.
    /// Outboxes may borrow from `input` afterwards ([`Switch::take_borrowing`]).
    pub fn input(&mut self, now: Time, id: ConnId, input: &[u8]) -> usize {
        self.now = now;
        let mut at = 0;
        while at < input.len() {
            let Some(conn) = self.conns.get(id) else { return input.len() };
            if conn.paused {
                break;
            }
            let step = match conn.reading {
                Reading::Head => self.head(now, id, input, at),
                Reading::Body { fresh } => self.body(now, id, input, at, fresh),
            };
            self.welcome(now);
            match step {
                Step::Consumed(n) => at += n,
                Step::Wait => break,
            }
        }
        self.give_back_turn(id);
        self.learn_habit(id, at == input.len());
        if !self.half.is_empty() {
            self.close_answered(now);
        }
        at
    }

    fn head(&mut self, now: Time, id: ConnId, input: &[u8], at: usize) -> Step {
        let rest = &input[at..];
        match Head::parse(rest) {
            Parsed::Incomplete => Step::Wait,
            Parsed::NotMsrp => {
                self.lose(now, id, LegDown::Malformed);
                Step::Consumed(rest.len())
            }
            Parsed::TooLong(transaction) => {
                let leg = self.conns.get(id).and_then(|c| c.last);
                if let (Some(transaction), Some(leg)) = (transaction, leg) {
                    self.answer(id, leg, &transaction, b"400 Head too long");
                }
                self.lose(now, id, LegDown::Malformed);
                Step::Consumed(rest.len())
            }
            Parsed::Head(head) => match head.start {
                Start::Response { .. } => {
                    self.response(now, id, &head, rest);
                    self.skip(id, &head)
                }
                Start::Request(method) => self.request(now, id, &head, method, input, at),
            },
        }
    }

    fn request(
        &mut self,
        now: Time,
        id: ConnId,
        head: &Head<'_>,
        method: Method,
        input: &[u8],
        at: usize,
    ) -> Step {
        if self.backlog(id) > self.limits.high_water.saturating_mul(4) {
            // A peer that asks but does not read its answers.
            self.pause(id, id);
            return Step::Wait;
        }
        // Without a Message-ID nobody could tell its chunks and reports from those of others
        // (RFC 4975 section 7.1.1).
        let nameless = method == Method::Send && head.ending == Ending::Body && head.message_id.is_none();
        if head.fault.is_some() || nameless {
            self.refuse(id, head, method, b"400 Bad request");
            return self.skip(id, head);
        }
        let leg = match self.match_leg(now, id, head.to_path) {
            Ok(leg) => leg,
            Err(status) => {
                self.refuse(id, head, method, status);
                return self.skip(id, head);
            }
        };
        match method {
            Method::Other => {
                self.refuse(id, head, method, b"501 Unknown method");
                self.skip(id, head)
            }
            Method::Report => self.report(id, leg, head, input, at),
            Method::Send => self.send(now, id, leg, head, input, at),
        }
    }

    /// A REPORT: passed on between originator and far end, otherwise absorbed.
    fn report(&mut self, id: ConnId, from: LegId, head: &Head<'_>, input: &[u8], at: usize) -> Step {
        let rest = &input[at..];
        let end = match head.ending {
            Ending::EndLine { end, .. } => end,
            Ending::Body => match find_end(&rest[head.len..], head.transaction.as_bytes(), true) {
                Search::End { end, .. } => head.len + end,
                Search::None { .. } if rest.len() < REPORT_MAX => return Step::Wait,
                Search::None { .. } | Search::Misplaced { .. } => return self.skip(id, head),
            },
        };
        let Some((role, stream)) = self.legs.get(from).map(|leg| (leg.role, leg.stream)) else {
            return self.skip(id, head);
        };
        let to = self.streams.get(stream).and_then(|stream| match role {
            LegRole::Device => None,
            LegRole::Far => stream.originator,
            LegRole::Originator => stream.far,
        });
        if let Some(conn) = to.and_then(|to| self.legs.get(to)).and_then(|leg| leg.conn)
            && self.backlog(conn) > self.limits.high_water.saturating_mul(4)
        {
            self.pause(id, conn);
            return Step::Wait;
        }
        if let Some(leg) = self.legs.get_mut(from) {
            leg.counters.reports += 1;
            leg.counters.octets_in += end as u64;
        }
        if let Some(to) = to {
            self.pass_report(to, head, &rest[..end]);
        }
        Step::Consumed(end)
    }

    /// Reads over a frame whose head is done with.
    pub(super) fn skip(&mut self, id: ConnId, head: &Head<'_>) -> Step {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.frame.targets.clear();
            conn.frame.leg = None;
            conn.frame.transaction = Some(head.transaction);
            conn.frame.message_id.clear();
            if head.ending == Ending::Body {
                conn.reading = Reading::Body { fresh: true };
            }
        }
        match head.ending {
            Ending::Body => Step::Consumed(head.len),
            Ending::EndLine { end, .. } => Step::Consumed(end),
        }
    }

    fn body(&mut self, now: Time, id: ConnId, input: &[u8], at: usize, fresh: bool) -> Step {
        let Some(transaction) = self.conns.get(id).and_then(|c| c.frame.transaction) else {
            return Step::Consumed(input.len() - at);
        };
        if self.primary_is_full(id) || self.frame_waits_for_store(id) {
            return Step::Wait;
        }
        match find_end(&input[at..], transaction.as_bytes(), fresh) {
            Search::End { dashes, flag, end, .. } => {
                self.hand_on(now, id, input, at, at + dashes, Some((flag, at + end)));
                Step::Consumed(end)
            }
            Search::None { body: 0 } => Step::Wait,
            Search::None { body } => {
                self.hand_on(now, id, input, at, at + body, None);
                if let Some(conn) = self.conns.get_mut(id) {
                    conn.reading = Reading::Body { fresh: false };
                }
                Step::Consumed(body)
            }
            Search::Misplaced { body, resume } => {
                self.hand_on(now, id, input, at, at + body, None);
                self.misplaced(now, id);
                if let Some(conn) = self.conns.get_mut(id) {
                    conn.reading = Reading::Body { fresh: false };
                }
                Step::Consumed(resume)
            }
        }
    }

    /// Has the open frame's primary enough to write? Then reading pauses until that has drained.
    fn primary_is_full(&mut self, id: ConnId) -> bool {
        let Some(primary) = self.conns.get(id).and_then(|c| c.frame.targets.iter().find(|t| t.primary))
        else {
            return false;
        };
        let full = self.conns.get(primary.conn).is_some_and(|c| c.outbox.len() > self.limits.high_water);
        if full && let Some(conn) = self.conns.get_mut(id) {
            conn.paused = true;
        }
        full
    }

    /// The sender's own end-line stands in its body: what was handed on is abandoned, the sender told.
    fn misplaced(&mut self, now: Time, id: ConnId) {
        let Some(conn) = self.conns.get(id) else { return };
        let (leg, transaction, answered) = (conn.frame.leg, conn.frame.transaction, conn.frame.answered);
        self.abandon(now, id);
        if let (Some(leg), Some(transaction), true) = (leg, transaction, answered) {
            self.answer(id, leg, &transaction, b"400 End-line in the body");
        }
    }

    /// Refuses a request: nothing if it wants no responses, or cannot be answered.
    pub(super) fn refuse(&mut self, id: ConnId, head: &Head<'_>, method: Method, status: &[u8]) {
        if method == Method::Report || head.failure_report == pf_common::msrp::FailureReport::No {
            return;
        }
        // SEND is answered to the neighbour, other requests along the whole path (RFC 4975 section 7.2).
        let to = if method == Method::Send { head.sender() } else { head.from_path };
        let from = leftmost(head.to_path);
        if to.is_empty() || from.is_empty() || [to, from].concat().iter().any(|o| !(0x20..0x7f).contains(o)) {
            return;
        }
        let mut lines = Vec::new();
        super::leg::path_lines(&mut lines, to, from);
        self.write_response(id, head.transaction.as_bytes(), status, &lines, &[]);
    }
}
