//! What the client missed (clause 8.2.2.7.2): messages that the core kept are sent on the originator's leg, in chunks,
//! each message whole and in order. When the core has no more, the far end's own messages pass again, behind them.
//!
//! A message of which the far end had sent only the beginning is handed over as it stands: the client gets that
//! beginning from here and the rest from the far end, under the same Message-ID.

use std::collections::VecDeque;

use pf_common::msrp::Flag;

use super::{
    Action, ConnId, LegId, StreamId, Switch,
    frame::end_line,
    live::{AnswerTo, Sent},
};
use crate::core::{
    event::{InterceptedMessage, LegDown, MediaEvent, StreamKey},
    time::Time,
};

/// Octets of a chunk: the most that need not be interruptible (RFC 4975 section 5.1).
const CHUNK: usize = 2048;

/// A message on its way to a client that is back.
#[derive(Debug)]
pub(super) struct Delivery {
    /// Its number; absent for one whose rest comes from the far end.
    number: Option<u64>,
    message_id: Vec<u8>,
    content_type: Option<String>,
    octets: Vec<u8>,
    /// Octets that are sent.
    sent: usize,
}

impl Delivery {
    /// The beginning of a message whose rest is still to come.
    pub(super) fn beginning(message_id: Vec<u8>, content_type: Option<String>, octets: Vec<u8>) -> Delivery {
        Delivery { number: None, message_id, content_type, octets, sent: 0 }
    }

    /// Writes the next chunk. Gives what its answer is for, and whether it was the last one.
    fn write(
        &mut self,
        out: &mut Vec<u8>,
        lines: &[u8],
        transaction: &pf_common::msrp::Ident,
    ) -> (AnswerTo, bool) {
        let whole = self.octets.len();
        let rest = self.octets.get(self.sent..).unwrap_or(&[]);
        let chunk = rest.get(..CHUNK).unwrap_or(rest);
        let (first, last) = (self.sent + 1, self.sent + chunk.len());
        let done = last == whole;
        let total = self.number.map_or_else(|| "*".to_owned(), |_| whole.to_string());
        out.extend_from_slice(b"MSRP ");
        out.extend_from_slice(transaction.as_bytes());
        out.extend_from_slice(b" SEND\r\n");
        out.extend_from_slice(lines);
        out.extend_from_slice(b"Message-ID: ");
        out.extend_from_slice(&self.message_id);
        out.extend_from_slice(format!("\r\nByte-Range: {first}-{last}/{total}\r\n").as_bytes());
        if let Some(content_type) = &self.content_type {
            out.extend_from_slice(format!("Content-Type: {content_type}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
        end_line(out, transaction, if done && self.number.is_some() { Flag::Last } else { Flag::More });
        self.sent = last;
        (self.number.filter(|_| done).map_or(AnswerTo::Ourselves, AnswerTo::Delivery), done)
    }
}

impl Switch {
    /// The originator shall get a message that it missed.
    pub(super) fn catch_up_with(&mut self, key: StreamKey, number: u64, message: InterceptedMessage) {
        let Some(id) = self.stream_keys.get(&key).copied() else { return };
        let Some(interception) = self.streams.get_mut(id).and_then(|s| s.interception.as_mut()) else {
            return;
        };
        interception.deliveries.push_back(Delivery {
            number: Some(number),
            message_id: message.message_id.into_bytes(),
            content_type: message.content_type,
            octets: message.octets,
            sent: 0,
        });
        self.delivers(id);
    }

    /// The core has nothing more of what was missed.
    pub(super) fn resume(&mut self, key: StreamKey) {
        let Some(id) = self.stream_keys.get(&key).copied() else { return };
        if let Some(interception) = self.streams.get_mut(id).and_then(|s| s.interception.as_mut()) {
            interception.resuming = true;
            self.delivers(id);
        }
    }

    fn delivers(&mut self, stream: StreamId) {
        if !self.delivering.contains(&stream) {
            self.delivering.push(stream);
        }
    }

    /// Goes on with what is to be delivered, as far as the clients' connections take it.
    pub(super) fn deliver_on(&mut self) {
        if self.delivering.is_empty() {
            return;
        }
        let mut streams = std::mem::take(&mut self.delivering);
        streams.retain(|stream| self.deliver_some(*stream));
        self.delivering = streams;
    }

    /// As far as it goes for one stream. Gives whether more is to be done.
    fn deliver_some(&mut self, id: StreamId) -> bool {
        loop {
            let Some((leg, conn)) = self.originator_of(id) else { return self.wait_for_originator(id) };
            if self.backlog(conn) > self.limits.high_water {
                return true;
            }
            let Some(interception) = self.streams.get_mut(id).and_then(|s| s.interception.as_mut()) else {
                return false;
            };
            if let Some(mut delivery) = interception.deliveries.pop_front() {
                let done = self.write_delivery(leg, conn, &mut delivery);
                if let Some(interception) = self.streams.get_mut(id).and_then(|s| s.interception.as_mut())
                    && !done
                {
                    interception.deliveries.push_front(delivery);
                }
                continue;
            }
            if !interception.resuming {
                return false;
            }
            if !interception.is_settled() || self.is_taking(id) {
                return true;
            }
            if !self.hand_over_beginnings(id) {
                self.end_interception(id, Some(leg));
                return false;
            }
        }
    }

    /// Nothing can be delivered at present. A stream that other devices take part in goes on with them when the
    /// originator is gone. Gives whether more is to be done.
    fn wait_for_originator(&mut self, id: StreamId) -> bool {
        let Some(stream) = self.streams.get(id) else { return false };
        let Some(interception) = stream.interception.as_ref() else { return false };
        let heirs = stream.originator_gone.is_some() && !stream.devices.is_empty();
        if heirs && interception.resuming && interception.is_settled() && !self.is_taking(id) {
            self.end_interception(id, None);
            return false;
        }
        true
    }

    /// The originator's leg and its connection, once it is up.
    fn originator_of(&self, stream: StreamId) -> Option<(LegId, ConnId)> {
        let id = self.streams.get(stream)?.originator?;
        let leg = self.legs.get(id).filter(|leg| leg.remote.is_some())?;
        Some((id, leg.conn.filter(|conn| self.conns.get(*conn).is_some_and(|conn| conn.up))?))
    }

    /// Is a message of the far end being taken in?
    fn is_taking(&self, stream: StreamId) -> bool {
        let far = self.streams.get(stream).and_then(|stream| self.legs.get(stream.far?));
        let taken = far.and_then(|leg| self.conns.get(leg.conn?)).and_then(|conn| conn.frame.taken.as_ref());
        taken.is_some_and(|taken| taken.stream == stream)
    }

    /// Puts the beginnings of incomplete messages behind what was missed. Gives whether there was any.
    fn hand_over_beginnings(&mut self, id: StreamId) -> bool {
        let Some(interception) = self.streams.get_mut(id).and_then(|s| s.interception.as_mut()) else {
            return false;
        };
        interception.deliveries = VecDeque::from(interception.take_incomplete());
        !interception.deliveries.is_empty()
    }

    fn end_interception(&mut self, id: StreamId, originator: Option<LegId>) {
        if let Some(stream) = self.streams.get_mut(id) {
            stream.interception = None;
        }
        if let Some(leg) = originator.and_then(|leg| self.legs.get(leg)) {
            self.actions.push_back(Action::Event(MediaEvent::Resumed { leg: leg.key }));
        }
        self.plan_changed(id);
        self.wake_stream(id);
    }

    fn write_delivery(&mut self, leg_id: LegId, to: ConnId, delivery: &mut Delivery) -> bool {
        let (transaction, now) = (self.transaction(), self.now);
        let Some(leg) = self.legs.get_mut(leg_id) else { return true };
        let lines = std::mem::take(&mut leg.request_lines);
        let mut written = 0;
        let mut done = true;
        if let Some(out) = self.control(to) {
            let before = out.len();
            let answer;
            (answer, done) = delivery.write(out, &lines, &transaction);
            written = out.len() - before;
            if let Some(conn) = self.conns.get_mut(to) {
                conn.live.push(Sent { transaction, leg: leg_id, at: Some(now), answer });
            }
        }
        self.interrupt(to);
        if let Some(leg) = self.legs.get_mut(leg_id) {
            leg.request_lines = lines;
            leg.counters.octets_out += written as u64;
            leg.counters.sends_out += 1;
        }
        self.alarm_at(now + self.limits.silent);
        done
    }

    /// The client has answered the last chunk of a message that it missed. Whatever it says, it has got it.
    pub(super) fn delivered(&mut self, now: Time, leg: LegId, number: u64, code: u16) {
        if matches!(code, 481 | 506) {
            return self.down(now, leg, LegDown::ConnectFailed);
        }
        if let Some(leg) = self.legs.get(leg) {
            self.actions.push_back(Action::Event(MediaEvent::Delivered { leg: leg.key, number }));
        }
    }

    /// The originator says something, and nobody has called the far end yet: tells the core, once.
    pub(super) fn far_is_wanted(&mut self, stream: StreamId) {
        let Some(stream) = self.streams.get_mut(stream) else { return };
        let Some(leg) = stream.originator.and_then(|leg| self.legs.get(leg)) else { return };
        if stream.far_gone.is_none() && !std::mem::replace(&mut stream.far_wanted, true) {
            self.actions.push_back(Action::Event(MediaEvent::Waiting { leg: leg.key }));
        }
    }
}
