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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn got(script: &Script, number: usize) -> Received {
        let sent = script.outgoing(number);
        Received {
            message_id: sent.message_id,
            content_type: sent.content_type,
            body: sent.body,
            chunks: Vec::new(),
            at: Instant::now(),
        }
    }

    #[test]
    fn every_fault_is_counted() {
        let script = Script::new(1, 4, 0);
        let mut tally = Tally { seen: vec![false; 4], ..Tally::default() };
        tally.take(&got(&script, 0), &script);
        tally.take(&got(&script, 2), &script);
        tally.take(&got(&script, 2), &script);
        let mut broken = got(&script, 3);
        let mut octets = broken.body.to_vec();
        octets[30] ^= 1;
        broken.body = octets.into();
        tally.take(&broken, &script);
        assert_eq!((tally.received, tally.verified), (4, 3));
        assert_eq!((tally.reordered, tally.duplicated, tally.altered), (2, 1, 1));
    }
}
