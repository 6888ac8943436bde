//! What the far end says while its client is lost (clause 8.2.2.3 step 4.ii): `pf` answers in the client's place.
//!
//! Messages are put together from their chunks. One that is whole goes to the core, and its last chunk is answered
//! when the core has it kept; where nothing is to be kept, it is answered and dropped. What is held of a stream
//! meanwhile has a bound: what goes beyond it is refused with `413`, and a store that lags behind slows the far end.

use std::collections::VecDeque;

use pf_common::msrp::{FailureReport, Flag, Head, Ident};

use super::{Action, ConnId, LegId, StreamId, Switch, deliver::Delivery, frame::end_line, receive::Step};
use crate::core::event::{InterceptedMessage, LegRole, MediaEvent, StreamKey};

/// Messages of a stream that the core may have without having said what became of them.
const MAX_UNCONFIRMED: usize = 64;
/// Messages of a stream that may be incomplete.
const MAX_INCOMPLETE: usize = 64;

/// The interception of one stream.
#[derive(Debug)]
pub(super) struct Interception {
    /// Octets that may be held at once; absent: nothing is kept.
    keep: Option<u64>,
    /// Octets that are held.
    held: u64,
    incomplete: VecDeque<Incomplete>,
    unconfirmed: VecDeque<Unconfirmed>,
    /// Number of the last message given to the core.
    last: u64,
    /// What the client missed, and has not got yet.
    pub(super) deliveries: VecDeque<Delivery>,
    /// The client is back: no further message is intercepted.
    pub(super) resuming: bool,
}

/// A frame that is being taken in.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) stream: StreamId,
    octets: Vec<u8>,
    content_type: Option<String>,
    failure_report: FailureReport,
    success_report: bool,
    /// More came than may be held.
    refused: bool,
}

/// A message of which chunks are missing.
#[derive(Debug)]
struct Incomplete {
    message_id: Vec<u8>,
    content_type: Option<String>,
    octets: Vec<u8>,
}

/// A message that the core has.
#[derive(Debug)]
struct Unconfirmed {
    number: u64,
    conn: ConnId,
    leg: LegId,
    transaction: Ident,
    failure_report: FailureReport,
    /// For whom a success report is due.
    report: Option<Vec<u8>>,
    length: u64,
}

impl Interception {
    #[cfg(test)]
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    fn begin_anew(&mut self, keep: Option<u64>) {
        self.keep = keep;
        self.deliveries.clear();
        self.resuming = false;
    }

    /// Is nothing of it with the core?
    pub(super) fn is_settled(&self) -> bool {
        self.unconfirmed.is_empty()
    }

    /// The beginnings of messages whose rest is still to come, the oldest first.
    pub(super) fn take_incomplete(&mut self) -> Vec<Delivery> {
        let incomplete = std::mem::take(&mut self.incomplete);
        incomplete
            .into_iter()
            .filter(|message| !message.octets.is_empty())
            .map(|message| {
                self.held -= message.octets.len() as u64;
                Delivery::beginning(message.message_id, message.content_type, message.octets)
            })
            .collect()
    }

    fn is_crowded(&self) -> bool {
        self.unconfirmed.len() >= MAX_UNCONFIRMED
    }

    fn give_up(&mut self, message_id: &[u8]) -> Option<Incomplete> {
        let n = self.incomplete.iter().position(|m| m.message_id == message_id)?;
        let message = self.incomplete.remove(n)?;
        self.held -= message.octets.len() as u64;
        Some(message)
    }
}

impl Switch {
    /// From now on the far end is answered here.
    pub(super) fn begin_interception(&mut self, key: StreamKey, keep: Option<u64>) {
        let Some(id) = self.stream_keys.get(&key).copied() else { return };
        if let Some(stream) = self.streams.get_mut(id) {
            if let Some(interception) = &mut stream.interception {
                // The client was back, and is lost again.
                interception.begin_anew(keep);
                return self.wake_stream(id);
            }
            stream.interception = Some(Box::new(Interception {
                keep,
                held: 0,
                incomplete: VecDeque::new(),
                unconfirmed: VecDeque::new(),
                last: 0,
                deliveries: VecDeque::new(),
                resuming: false,
            }));
        }
        self.wake_stream(id);
    }

    /// Is what comes from this leg intercepted?
    pub(super) fn is_intercepted(&self, leg: LegId) -> bool {
        let Some(leg) = self.legs.get(leg) else { return false };
        leg.role == LegRole::Far
            && self.streams.get(leg.stream).is_some_and(|stream| stream.interception.is_some())
    }

    /// A SEND of the far end begins; `rest` begins with it.
    pub(super) fn intercept(&mut self, id: ConnId, from: LegId, head: &Head<'_>, rest: &[u8]) -> Step {
        let Some(stream_id) = self.legs.get(from).map(|leg| leg.stream) else { return self.skip(id, head) };
        let Some(stream) = self.streams.get_mut(stream_id) else { return self.skip(id, head) };
        if stream.interception.as_ref().is_some_and(|interception| interception.is_crowded()) {
            if !stream.waiters.contains(&id) {
                stream.waiters.push(id);
            }
            if let Some(conn) = self.conns.get_mut(id) {
                conn.paused = true;
            }
            return Step::Wait;
        }
        self.count_in(from, head.len, true);
        self.begin(id, from, head, rest);
        if let Some(conn) = self.conns.get_mut(id) {
            let fields = rest.get(head.fields..head.len).unwrap_or(&[]);
            conn.frame.taken = Some(Box::new(Taken {
                stream: stream_id,
                octets: Vec::new(),
                content_type: head.content_type.map(|value| String::from_utf8_lossy(value).into_owned()),
                failure_report: head.failure_report,
                success_report: wants_success_report(fields),
                refused: false,
            }));
        }
        Step::Consumed(head.len)
    }

    /// More of its body has come.
    pub(super) fn take_in(&mut self, id: ConnId, octets: &[u8]) {
        let Some(taken) = self.conns.get_mut(id).and_then(|c| c.frame.taken.as_mut()) else { return };
        let Some(interception) = self.streams.get_mut(taken.stream).and_then(|s| s.interception.as_mut())
        else {
            return;
        };
        let Some(limit) = interception.keep.filter(|_| !taken.refused) else { return };
        if interception.held + octets.len() as u64 > limit {
            interception.held -= taken.octets.len() as u64;
            (taken.octets, taken.refused) = (Vec::new(), true);
            return;
        }
        interception.held += octets.len() as u64;
        taken.octets.extend_from_slice(octets);
    }

    /// The frame has ended: `flag` is its own.
    pub(super) fn taken_whole(&mut self, id: ConnId, flag: Flag) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let (Some(mut taken), Some(from), Some(transaction)) =
            (conn.frame.taken.take(), conn.frame.leg, conn.frame.transaction)
        else {
            return;
        };
        let (start, message_id) = (conn.frame.start, conn.frame.message_id.clone());
        let Some(interception) = self.streams.get_mut(taken.stream).and_then(|s| s.interception.as_mut())
        else {
            return;
        };
        let answered = match interception.keep {
            None => Some(&b"200 OK"[..]),
            Some(_) => {
                // The CRLF before the end-line is none of the body's.
                let body = taken.octets.len().saturating_sub(2);
                interception.held -= (taken.octets.len() - body) as u64;
                taken.octets.truncate(body);
                interception.put_together(&taken, flag, start, &message_id)
            }
        };
        if let Some(status) = answered {
            return self.answer_intercepted((id, from, &transaction), taken.failure_report, status);
        }
        let Some(message) = interception.give_up(&message_id) else { return };
        let (Some(leg), length) = (self.legs.get(from), message.octets.len() as u64) else { return };
        interception.held += length;
        interception.last += 1;
        let number = interception.last;
        interception.unconfirmed.push_back(Unconfirmed {
            number,
            conn: id,
            leg: from,
            transaction,
            failure_report: taken.failure_report,
            report: taken.success_report.then(|| message_id.clone()),
            length,
        });
        let message = Box::new(InterceptedMessage {
            message_id: String::from_utf8_lossy(&message_id).into_owned(),
            content_type: message.content_type,
            octets: message.octets,
        });
        let event = MediaEvent::Intercepted { leg: leg.key, stream: leg.stream_key, number, message };
        self.actions.push_back(Action::Event(event));
    }

    /// The frame will not be whole: what came of it goes.
    pub(super) fn forget_taken(&mut self, id: ConnId) {
        let Some(taken) = self.conns.get_mut(id).and_then(|c| c.frame.taken.take()) else { return };
        if let Some(interception) = self.streams.get_mut(taken.stream).and_then(|s| s.interception.as_mut()) {
            interception.held -= taken.octets.len() as u64;
        }
    }

    /// The core has said what became of a message.
    pub(super) fn confirm_intercepted(&mut self, key: StreamKey, number: u64, kept: bool) {
        let Some(stream_id) = self.stream_keys.get(&key).copied() else { return };
        let Some(interception) = self.streams.get_mut(stream_id).and_then(|s| s.interception.as_mut()) else {
            return;
        };
        let Some(n) = interception.unconfirmed.iter().position(|u| u.number == number) else { return };
        let Some(message) = interception.unconfirmed.remove(n) else { return };
        interception.held -= message.length;
        let status: &[u8] = if kept { b"200 OK" } else { b"408 It could not be kept" };
        let request = (message.conn, message.leg, &message.transaction);
        self.answer_intercepted(request, message.failure_report, status);
        if let Some(message_id) = message.report.filter(|_| kept) {
            self.report_success(message.conn, message.leg, &message_id, message.length);
        }
        self.wake_stream(stream_id);
    }

    fn answer_intercepted(
        &mut self,
        (conn, leg, transaction): (ConnId, LegId, &Ident),
        report: FailureReport,
        status: &[u8],
    ) {
        let wanted = match report {
            FailureReport::Yes => true,
            FailureReport::Partial => !status.starts_with(b"200"),
            FailureReport::No => false,
        };
        if wanted {
            self.answer(conn, leg, transaction, status);
        }
    }

    /// A REPORT that the whole message has arrived (RFC 4975 section 7.1.2).
    fn report_success(&mut self, conn: ConnId, leg_id: LegId, message_id: &[u8], length: u64) {
        let transaction = self.transaction();
        let Some(lines) = self.legs.get(leg_id).map(|leg| leg.request_lines.clone()) else { return };
        let Some(out) = self.control(conn) else { return };
        let before = out.len();
        out.extend_from_slice(b"MSRP ");
        out.extend_from_slice(transaction.as_bytes());
        out.extend_from_slice(b" REPORT\r\n");
        out.extend_from_slice(&lines);
        out.extend_from_slice(b"Message-ID: ");
        out.extend_from_slice(message_id);
        out.extend_from_slice(
            format!("\r\nByte-Range: 1-{length}/{length}\r\nStatus: 000 200 OK\r\n").as_bytes(),
        );
        end_line(out, &transaction, Flag::Last);
        let written = out.len() - before;
        self.interrupt(conn);
        if let Some(leg) = self.legs.get_mut(leg_id) {
            leg.counters.octets_out += written as u64;
        }
    }
}

impl Interception {
    /// Joins a chunk to its message. Gives the chunk's answer; none where the message is whole now, which then is the
    /// last of the incomplete ones under this id.
    fn put_together(
        &mut self,
        taken: &Taken,
        flag: Flag,
        start: u64,
        message_id: &[u8],
    ) -> Option<&'static [u8]> {
        let length = taken.octets.len() as u64;
        if taken.refused {
            self.give_up(message_id);
            return Some(b"413 More than is kept");
        }
        if message_id.is_empty() && (start > 1 || flag == Flag::More) {
            // Nothing would tell its chunks from another message's.
            self.held -= length;
            return Some(b"413 Its Message-ID is too long for several chunks");
        }
        let known = self.incomplete.iter().position(|m| m.message_id == message_id);
        let place = usize::try_from(start.saturating_sub(1)).unwrap_or(usize::MAX);
        let message = match known.and_then(|n| self.incomplete.get_mut(n)).filter(|_| start > 1) {
            Some(message) if place <= message.octets.len() => message,
            Some(_) | None if start > 1 => {
                // Its beginning went to the lost client, or a chunk is missing.
                self.held -= length;
                self.give_up(message_id);
                return Some(b"413 The beginning is not here");
            }
            _ => {
                self.give_up(message_id);
                if self.incomplete.len() >= MAX_INCOMPLETE
                    && let Some(oldest) = self.incomplete.pop_front()
                {
                    self.held -= oldest.octets.len() as u64;
                }
                self.incomplete.push_back(Incomplete {
                    message_id: message_id.to_vec(),
                    content_type: taken.content_type.clone(),
                    octets: Vec::new(),
                });
                self.incomplete.back_mut()?
            }
        };
        // A chunk that was sent again counts in the place of the first.
        self.held -= (message.octets.len() - place) as u64;
        message.octets.truncate(place);
        message.octets.extend_from_slice(&taken.octets);
        match flag {
            Flag::Last => None,
            Flag::More => Some(b"200 OK"),
            Flag::Abandoned => {
                self.give_up(message_id);
                Some(b"200 OK")
            }
        }
    }
}

/// Does the head ask for a success report?
fn wants_success_report(fields: &[u8]) -> bool {
    fields.split(|octet| *octet == b'\n').any(|line| {
        let mut parts = line.splitn(2, |octet| *octet == b':');
        let name = parts.next().unwrap_or(&[]);
        let value = parts.next().unwrap_or(&[]).trim_ascii();
        name.eq_ignore_ascii_case(b"Success-Report") && value == b"yes"
    })
}
