//! Everybody else's part: get the messages and compare every octet.

use std::{sync::Arc, time::Duration};

use super::{STUCK, message::Script};
use crate::msrp::{Answer, Endpoint, Incoming, Received};

/// What one receiver got.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) received: usize,
    pub(super) octets: u64,
    pub(super) verified: usize,
    pub(super) altered: usize,
    pub(super) reordered: usize,
    pub(super) duplicated: usize,
    pub(super) latencies: Vec<Duration>,
    pub(super) fault: Option<String>,
    seen: Vec<bool>,
    next: usize,
}

/// A receiver that is done. Its connection stays open as long as this lives.
pub(super) struct Part {
    pub(super) tally: Tally,
    _media: Endpoint,
}

/// Receives the whole script. With `stop_after` the device stops reading after so many messages.
pub(super) async fn receive(mut media: Endpoint, script: Arc<Script>, stop_after: Option<usize>) -> Part {
    let mut tally = Tally { seen: vec![false; script.len()], ..Tally::default() };
    if let Some(messages) = stop_after {
        let mut begun = std::collections::HashSet::new();
        media.script(move |head| {
            begun.extend(head.header("Message-ID").map(str::to_owned));
            if begun.len() > messages { Answer::StopReading } else { Answer::Code(200) }
        });
    }
    let wanted = stop_after.unwrap_or(script.len());
    while tally.received < wanted && tally.fault.is_none() {
        match media.next(STUCK).await {
            Ok(Incoming::Message(message)) => tally.take(&message, &script),
            Ok(other) => tally.fault = Some(format!("{other:?}")),
            Err(error) => tally.fault = Some(format!("{error:#}")),
        }
    }
    Part { tally, _media: media }
}

impl Tally {
    fn take(&mut self, message: &Received, script: &Script) {
        self.received += 1;
        self.octets += message.body.len() as u64;
        let Some(number) = script.number(&message.message_id) else {
            self.altered += 1;
            return;
        };
        if std::mem::replace(&mut self.seen[number], true) {
            self.duplicated += 1;
        }
        if number != self.next {
            self.reordered += 1;
        }
        self.next = number + 1;
        let sent = script.outgoing(number);
        if sent.body == message.body && sent.content_type == message.content_type {
            self.verified += 1;
        } else {
            self.altered += 1;
        }
        if let Some(left) = script.left(number) {
            self.latencies.push(message.at.saturating_duration_since(left));
        }
    }
}
