//! Clause 8.2.2.7.2, active 1, with 8.3.2.9: a client that is back gets what it missed, before anything new: the last
//! known participants, then the messages and notifications, in the order in which they came.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::{
    Session,
    connection_loss::Lost,
    context::Context,
    leg::{A, F},
};
use crate::core::{
    event::{InterceptedMessage, LegKey, MediaCommand, StreamKey},
    sdp::Sdp,
};

/// What a lost client has missed, as far as it is to be delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Missed {
    messages: VecDeque<Message>,
    /// Octets of these.
    octets: u64,
    /// Number of the last message.
    last: u64,
    /// The message that the client has and has not answered yet.
    underway: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Message {
    number: u64,
    stream: StreamKey,
    message: InterceptedMessage,
}

impl Missed {
    /// Octets that wait.
    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    /// Keeps a message, behind all others.
    pub(super) fn push(&mut self, stream: StreamKey, message: InterceptedMessage) -> u64 {
        self.last += 1;
        self.octets += message.octets.len() as u64;
        self.messages.push_back(Message { number: self.last, stream, message });
        self.last
    }

    /// Keeps one before all others.
    fn put_first(&mut self, stream: StreamKey, message: InterceptedMessage) {
        self.last += 1;
        self.octets += message.octets.len() as u64;
        self.messages.push_front(Message { number: self.last, stream, message });
    }

    /// The client has got a message.
    fn got(&mut self, number: u64) {
        if self.underway == Some(number) {
            self.underway = None;
        }
        // Mostly the first one.
        let Some(at) = self.messages.iter().position(|missed| missed.number == number) else { return };
        if let Some(missed) = self.messages.remove(at) {
            self.octets -= missed.message.octets.len() as u64;
        }
    }
}

impl Session {
    /// The client is connected again: it gets what it missed.
    pub(super) fn client_is_back(&mut self, cx: &mut Context<'_>) {
        let Some(lost) = self.lost.as_mut() else { return };
        lost.back = true;
        self.missed.underway = None;
        self.deliver_participants(cx);
        self.deliver_missed(cx);
        // The client can ask the controlling function itself now.
        self.unsubscribe(cx);
    }

    /// Gives the client the next message, or lets the far end's pass when there is none.
    fn deliver_missed(&mut self, cx: &mut Context<'_>) {
        if self.missed.underway.is_some() || !self.lost.as_ref().is_some_and(Lost::delivers) {
            return;
        }
        if let Some(Message { number, stream, message }) = self.missed.messages.front().cloned() {
            self.missed.underway = Some(number);
            return cx.media(MediaCommand::Deliver { stream, number, message: Box::new(message) });
        }
        let streams = self.streams.iter().zip(&self.legs[A].lines);
        let open = streams.filter_map(|(stream, line)| Some((stream.filter(|s| s.open)?, line.as_ref()?)));
        let (streams, legs): (Vec<StreamKey>, BTreeSet<LegKey>) =
            open.map(|(stream, line)| (stream.key, line.key)).unzip();
        for stream in streams {
            cx.media(MediaCommand::Resume { stream });
        }
        if let Some(lost) = self.lost.as_mut() {
            lost.resuming = Some(legs);
        }
    }

    /// A message for a client that is back already, which came before the far end's messages pass again.
    pub(super) fn missed_late(
        &mut self,
        cx: &mut Context<'_>,
        stream: StreamKey,
        message: InterceptedMessage,
    ) {
        let number = self.missed.push(stream, message.clone());
        if self.lost.as_ref().is_some_and(|lost| lost.resuming.is_some()) {
            cx.media(MediaCommand::Deliver { stream, number, message: Box::new(message) });
        } else {
            self.deliver_missed(cx);
        }
    }

    /// The client has answered a message.
    pub(super) fn delivered(&mut self, cx: &mut Context<'_>, number: u64) {
        self.missed.got(number);
        self.deliver_missed(cx);
    }

    /// The far end's messages pass again on the stream of this leg.
    pub(super) fn resumed(&mut self, leg: LegKey) {
        let Some(legs) = self.lost.as_mut().and_then(|lost| lost.resuming.as_mut()) else { return };
        legs.remove(&leg);
        if legs.is_empty() {
            self.lost = None;
        }
    }

    /// Clause 8.2.2.6, its note: the last known participants are part of what is delivered. They go first, in a form
    /// that the client accepts.
    fn deliver_participants(&mut self, cx: &Context<'_>) {
        let wishes = cx.wishes(&self.invitation.user, &self.invitation.destination);
        let wanted = cx.config.store.is_some() && wishes.allow_defer;
        let focus = self.legs[F].dialog.target.clone();
        let document = self.subscription.as_ref().filter(|_| wanted);
        let Some(document) = document.and_then(|subscription| subscription.document(&focus)) else { return };
        let theirs = Sdp::parse(&self.legs[A].theirs).map(|sdp| sdp.msrp_lines()).unwrap_or_default();
        let line = theirs.iter().find(|line| !line.is_rejected());
        let stream = line.and_then(|line| self.streams.get(line.index)).copied().flatten();
        let (Some(line), Some(stream)) = (line, stream) else { return };
        let accepts = |types: &[String], wanted: &str| {
            types.iter().any(|accepted| accepted == "*" || accepted.eq_ignore_ascii_case(wanted))
        };
        let (content_type, body) = if accepts(&line.accept_types, CONFERENCE) {
            (CONFERENCE, document)
        } else if accepts(&line.accept_types, CPIM) && accepts(&line.accept_wrapped_types, CONFERENCE) {
            let (from, to) = (&focus, &self.invitation.user);
            (
                CPIM,
                format!("From: <{from}>\r\nTo: <{to}>\r\n\r\nContent-Type: {CONFERENCE}\r\n\r\n{document}"),
            )
        } else {
            return;
        };
        let message = InterceptedMessage {
            message_id: format!("participants-{}-{}", self.id, self.missed.last + 1),
            content_type: Some(content_type.to_owned()),
            octets: body.into_bytes(),
        };
        self.missed.put_first(stream.key, message);
    }
}

/// A conference information document (RFC 4575).
const CONFERENCE: &str = "application/conference-info+xml";
/// RFC 3862.
const CPIM: &str = "message/cpim";
