//! What the programs have carried is entered into the books; a leg that missed it is given it.

use pf_common::msrp::{DASHES, FailureReport, Head, IDENT_MAX, Ident, Parsed, Start};

use super::Why;
use crate::core::{
    media::{
        ConnId, LegId, Switch,
        frame::end_line,
        live::{AnswerTo, Sender, Sent},
    },
    time::Time,
};

/// A message or response that the programs took from a connection.
#[derive(Clone, Copy, Debug)]
pub struct Carried<'a> {
    /// The connection it came on.
    pub conn: ConnId,
    /// The leg it belongs to.
    pub leg: LegId,
    /// The whole frame, as it came.
    pub octets: &'a [u8],
    /// Who was to get it: of a SEND all targets, the primary leg first; of a response whom it answers.
    pub targets: &'a [LegId],
    /// Bit n: `targets[n]` got no copy.
    pub missed: u32,
    /// Octets of its path lines.
    pub block: usize,
}

impl Carried<'_> {
    fn was_missed_by(&self, place: usize) -> bool {
        u32::try_from(place)
            .is_ok_and(|place| self.missed.checked_shr(place).is_some_and(|rest| rest & 1 != 0))
    }

    /// Its transaction id, and what stands behind that. The programs have read the start line, which is the only line
    /// that matters here as long as nobody missed the message.
    fn start(&self) -> Option<(Ident, &[u8])> {
        let line = self.octets.get(b"MSRP ".len()..)?;
        let end = line.iter().take(IDENT_MAX + 1).position(|octet| *octet == b' ')?;
        let (id, rest) = line.split_at_checked(end)?;
        Some((Ident::parse(id)?, rest.get(1..)?))
    }

    /// What goes to everybody as it came: all but the path lines.
    fn rest(&self) -> usize {
        self.octets.len().saturating_sub(self.block)
    }
}

impl Switch {
    /// Enters what the programs carried. They look at all that is looked at here; what they should not have carried
    /// is left alone.
    pub fn carried(&mut self, now: Time, carried: &Carried<'_>) {
        self.now = now;
        let Some((transaction, kind)) = carried.start() else { return };
        if kind.starts_with(b"SEND\r\n") {
            self.carried_send(now, carried, &transaction);
        } else {
            self.carried_response(carried, &transaction);
        }
        self.welcome(now);
        if !self.half.is_empty() {
            self.close_answered(now);
        }
    }

    fn carried_send(&mut self, now: Time, carried: &Carried<'_>, transaction: &Ident) {
        if let Some(books) = &mut self.books {
            if carried.missed == 0 {
                books.carried += 1;
            } else {
                books.passed[Why::LegMissed.index()] += 1;
            }
        }
        if let Some(leg) = self.legs.get_mut(carried.leg) {
            leg.counters.sends_in += 1;
            leg.counters.octets_in += carried.octets.len() as u64;
            leg.kernel.sends_in += 1;
        }
        self.record_carried(now, carried.leg, carried.octets);
        for (place, to) in carried.targets.iter().enumerate() {
            let primary = place == 0;
            if carried.was_missed_by(place) {
                self.deliver(now, carried, *to, primary);
                continue;
            }
            if let Some(leg) = self.legs.get_mut(*to) {
                leg.counters.sends_out += 1;
                leg.counters.octets_out += (carried.rest() + leg.request_lines.len()) as u64;
                leg.copied(now);
            }
            if primary {
                self.await_answer(now, carried, transaction, *to);
            }
        }
        self.alarm_at(now + self.limits.guard.min(self.limits.silent));
    }

    /// The primary leg has got it from the programs: its answer is awaited like any other's.
    fn await_answer(&mut self, now: Time, carried: &Carried<'_>, transaction: &Ident, primary: LegId) {
        let conn = self.legs.get(primary).and_then(|leg| leg.conn).and_then(|id| self.conns.get_mut(id));
        let Some(conn) = conn else {
            // It went while the message was on its way.
            return self.answer(carried.conn, carried.leg, transaction, b"481 Next hop is gone");
        };
        let sender = Sender {
            conn: carried.conn,
            leg: carried.leg,
            transaction: *transaction,
            report: FailureReport::Yes,
        };
        conn.live.push(Sent {
            transaction: *transaction,
            leg: primary,
            at: Some(now),
            answer: AnswerTo::Sender(sender),
        });
    }

    /// Writes the whole frame to a leg that missed it, behind all that is queued for it.
    fn deliver(&mut self, now: Time, carried: &Carried<'_>, leg: LegId, primary: bool) {
        let Parsed::Head(head) = Head::parse(carried.octets) else { return };
        let to = self.legs.get(leg).and_then(|leg| leg.conn).filter(|to| self.conns.get(*to).is_some());
        let Some(to) = to else {
            if primary {
                self.answer(carried.conn, carried.leg, &head.transaction, b"481 Next hop is gone");
            }
            return;
        };
        let target = self.open_target(carried.conn, carried.leg, &head, carried.octets, (leg, to), primary);
        let Some(target) = target else { return };
        let body = carried.octets.get(head.len..).unwrap_or(&[]);
        let Some(conn) = self.conns.get_mut(to) else { return };
        let out = match conn.deferred.back_mut() {
            Some(deferred) if target.deferred => {
                deferred.done = true;
                &mut deferred.octets
            }
            _ => conn.outbox.octets(),
        };
        let before = out.len();
        if target.kept {
            out.extend_from_slice(body);
        } else {
            let end = DASHES.len() + head.transaction.as_bytes().len() + 3;
            out.extend_from_slice(body.get(..body.len().saturating_sub(end)).unwrap_or(&[]));
            end_line(out, &target.transaction, pf_common::msrp::Flag::Last);
        }
        let written = out.len() - before;
        if let Some(number) = target.number {
            conn.live.complete(number, now);
        }
        let bound = self.limits.device_queue.saturating_add(conn.allowance);
        let full = conn.queued() > bound;
        if let Some(leg) = self.legs.get_mut(leg) {
            leg.counters.octets_out += written as u64;
        }
        if full && !primary {
            self.slow.push(leg);
        }
        if !target.deferred {
            self.release(to);
        }
    }

    /// The primary's `200 OK` has gone to the sender, or shall go there now.
    fn carried_response(&mut self, carried: &Carried<'_>, transaction: &Ident) {
        let Some(conn) = self.conns.get_mut(carried.conn) else { return };
        let sent = conn.live.take(transaction);
        if let Some(leg) = self.legs.get_mut(carried.leg) {
            leg.counters.ok += 1;
            leg.counters.octets_in += carried.octets.len() as u64;
        }
        self.invite(carried.conn);
        let Some(to) = carried.targets.first() else { return };
        if !carried.was_missed_by(0) {
            if let Some(leg) = self.legs.get_mut(*to) {
                leg.counters.octets_out += (carried.rest() + leg.response_lines.len()) as u64;
            }
            return;
        }
        let Parsed::Head(head) = Head::parse(carried.octets) else { return };
        if let (Some(Sent { answer: AnswerTo::Sender(sender), .. }), Start::Response { code, status }) =
            (sent, head.start)
        {
            self.pass_response(&sender, code, status, &head, carried.octets);
        }
    }
}
