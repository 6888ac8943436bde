//! May messages pass userspace by now, between two frames?

use super::Why;
use crate::core::{
    event::LegRole,
    media::{
        ConnId, Switch,
        connection::{Connection, Reading},
        leg::{Leg, Stream},
        live::{AnswerTo, Sent},
    },
};
use pf_common::msrp::FailureReport;

impl Switch {
    /// May the messages and responses of this connection pass userspace by?
    ///
    /// # Errors
    /// What is in the way at this moment.
    pub fn passable(&self, id: ConnId) -> Result<(), Why> {
        let conn = self.conns.get(id).ok_or(Why::Closing)?;
        let leg = conn.legs.first().and_then(|leg| self.legs.get(*leg)).ok_or(Why::LegsMissing)?;
        let stream = self.streams.get(leg.stream).ok_or(Why::LegsMissing)?;
        if conn.reading != Reading::Head {
            return Err(Why::HalfRead);
        }
        if conn.paused || conn.held.is_some() || conn.invited_by.is_some() || conn.ended.is_some() {
            return Err(Why::Paused);
        }
        if !stream.chunked.is_empty() {
            return Err(Why::Chunked);
        }
        if self.waits_for_store(leg.stream) {
            return Err(Why::Store);
        }
        if stream.backlog.holds_something() {
            return Err(Why::LateDevices);
        }
        let primary = self.primary_of(stream, leg);
        if !conn.live.iter().all(|sent| ends_alike(sent, leg, primary.map(|(id, _)| id))) {
            return Err(Why::Answers);
        }
        match primary {
            Some((_, primary)) if primary.outbox.len() > self.limits.high_water => Err(Why::Congested),
            Some((_, primary)) if primary.live.len() >= self.limits.transactions => Err(Why::Congested),
            _ => Ok(()),
        }
    }

    /// Does nothing wait to be written to this connection, and is no frame open on it?
    pub fn is_drained(&self, id: ConnId) -> bool {
        self.conns.get(id).is_some_and(|conn| {
            conn.outbox.is_empty()
                && conn.control.is_empty()
                && conn.open.is_none()
                && conn.deferred.is_empty()
                && conn.turn.is_none()
                && conn.waiters.is_empty()
        })
    }

    /// The connection of the leg whose answer is the sender's, where the programs carry what the leg sends.
    fn primary_of(&self, stream: &Stream, leg: &Leg) -> Option<(ConnId, &Connection)> {
        let primary = match leg.role {
            LegRole::Originator => stream.far,
            LegRole::Far => stream.originator,
            LegRole::Device => None,
        };
        let id = primary.and_then(|primary| self.legs.get(primary)?.conn)?;
        Some((id, self.conns.get(id)?))
    }
}

/// Would the programs do with the response what userspace would do? They drop those of devices, whose transactions
/// userspace would take for unanswered, and pass a primary's on as it is.
fn ends_alike(sent: &Sent, leg: &Leg, primary: Option<ConnId>) -> bool {
    match sent.answer {
        AnswerTo::Delivery(_) | AnswerTo::Nobody | AnswerTo::Ourselves | AnswerTo::Part(_) => false,
        AnswerTo::Sender(sender) => {
            leg.role != LegRole::Device
                && Some(sender.conn) == primary
                && sender.transaction == sent.transaction
                && sender.report == FailureReport::Yes
        }
    }
}
