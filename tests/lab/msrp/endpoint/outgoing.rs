//! Messages that an endpoint sends.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::Endpoint;
use crate::{
    msrp::{Flag, Frame, Head},
    wait,
};

/// A message to send, with control over everything that is on the wire.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Message-ID.
    pub message_id: String,
    /// Content-Type.
    pub content_type: String,
    /// All octets.
    pub body: Bytes,
    /// Octets per chunk.
    pub chunk: usize,
    /// Write the end of each Byte-Range instead of `*`.
    pub explicit_end: bool,
    /// Abandon the message (`#`) after so many chunks.
    pub abort_after: Option<usize>,
    /// Failure-Report; `None` leaves it out.
    pub failure_report: Option<String>,
    /// Success-Report; `None` leaves it out.
    pub success_report: Option<String>,
    /// Further headers, before Content-Type.
    pub headers: Vec<(String, String)>,
}

impl Outgoing {
    /// A message in chunks of 2,048 octets, range ends `*`.
    pub fn new(content_type: &str, body: impl Into<Bytes>) -> Outgoing {
        Outgoing {
            message_id: crate::token(8),
            content_type: content_type.to_owned(),
            body: body.into(),
            chunk: 2_048,
            explicit_end: false,
            abort_after: None,
            failure_report: None,
            success_report: None,
            headers: Vec::new(),
        }
    }

    /// A chat message inside CPIM.
    pub fn chat(from: &str, to: &str, text: &str) -> Outgoing {
        let id = crate::token(8);
        let body = crate::msrp::cpim(from, to, &id, "text/plain;charset=UTF-8", text.as_bytes());
        Outgoing::new("message/cpim", body)
    }

    /// The same with chunks of this size.
    pub fn chunked(self, chunk: usize) -> Outgoing {
        Outgoing { chunk, ..self }
    }

    /// Its frames from `from` along `to`.
    pub fn frames(&self, to: &str, from: &str) -> Vec<Frame> {
        let total = self.body.len();
        let mut frames = Vec::new();
        let mut start = 0;
        loop {
            let end = total.min(start + self.chunk.max(1));
            let range_end = if self.explicit_end { end.to_string() } else { "*".to_owned() };
            let mut head = Head::request("SEND", &crate::token(8), to, from)
                .with("Message-ID", &self.message_id)
                .with("Byte-Range", format!("{}-{range_end}/{total}", start + 1));
            for (name, value) in
                [("Failure-Report", &self.failure_report), ("Success-Report", &self.success_report)]
            {
                head.headers.extend(value.as_ref().map(|value| (name.to_owned(), value.clone())));
            }
            head.headers.extend(self.headers.iter().cloned());
            let head = head.with("Content-Type", &self.content_type);
            let abort = self.abort_after.is_some_and(|chunks| frames.len() + 1 >= chunks);
            let flag = match (abort, end == total) {
                (true, _) => Flag::Abort,
                (false, true) => Flag::End,
                (false, false) => Flag::More,
            };
            frames.push(Frame::with_body(head, self.body.slice(start..end), flag));
            start = end;
            if flag != Flag::More {
                return frames;
            }
        }
    }
}

/// A message on its way: its chunks wait for their answers.
pub struct Sending {
    /// Message-ID.
    pub message_id: String,
    answers: Vec<oneshot::Receiver<Head>>,
}

impl Sending {
    /// The answers to its chunks, in order.
    pub async fn answers(self, limit: Duration) -> Result<Vec<u16>> {
        let what = format!("answers to message {}", self.message_id);
        wait::within(limit, &what, async {
            let mut codes = Vec::with_capacity(self.answers.len());
            for answer in self.answers {
                codes.push(answer.await.context("the connection ended")?.code());
            }
            Ok(codes)
        })
        .await
    }

    /// Waits until every chunk is answered 200.
    pub async fn accepted(self, limit: Duration) -> Result<()> {
        let codes = self.answers(limit).await?;
        ensure!(codes.iter().all(|code| *code == 200), "answered {codes:?}");
        Ok(())
    }

    /// Asserts that no chunk is answered within `limit`.
    pub async fn unanswered(self, limit: Duration) -> Result<()> {
        for answer in self.answers {
            let outcome = tokio::time::timeout(limit, answer).await;
            ensure!(!matches!(outcome, Ok(Ok(_))), "answered, and must not");
        }
        Ok(())
    }
}

impl Endpoint {
    /// Sends a message: returns when its last chunk is on its way, answers come later.
    pub async fn send(&self, message: &Outgoing) -> Result<Sending> {
        let mut answers = Vec::new();
        for frame in message.frames(&self.remote.join(" "), &self.uri) {
            answers.push(self.request(&frame).await?);
        }
        Ok(Sending { message_id: message.message_id.clone(), answers })
    }

    /// Sends messages in one go, all their frames behind each other.
    pub async fn send_together(&self, messages: &[Outgoing]) -> Result<Vec<Sending>> {
        let (mut octets, mut sending) = (Vec::new(), Vec::new());
        for message in messages {
            let frames = message.frames(&self.remote.join(" "), &self.uri);
            let answers = frames.iter().map(|frame| self.append(frame, &mut octets)).collect();
            sending.push(Sending { message_id: message.message_id.clone(), answers });
        }
        self.put(octets).await?;
        Ok(sending)
    }

    /// Sends a request and returns where its answer will come.
    pub async fn request(&self, frame: &Frame) -> Result<oneshot::Receiver<Head>> {
        let mut octets = Vec::new();
        let answer = self.append(frame, &mut octets);
        self.put(octets).await?;
        Ok(answer)
    }

    fn append(&self, frame: &Frame, octets: &mut Vec<u8>) -> oneshot::Receiver<Head> {
        let (sender, answer) = oneshot::channel();
        crate::lock(&self.shared.open).insert(frame.head.tid.clone(), sender);
        let encoded = frame.encode();
        self.shared.trace_sent(&frame.head, encoded.len());
        octets.extend(encoded);
        answer
    }

    async fn put(&self, octets: Vec<u8>) -> Result<()> {
        self.shared.bulk.send(octets).await.ok().context("the MSRP connection is closed")
    }

    /// Sends a chat message and waits until it is accepted. Returns what was sent.
    pub async fn chat(&self, from: &str, to: &str, text: &str) -> Result<Outgoing> {
        let message = Outgoing::chat(from, to, text);
        self.send(&message).await?.accepted(wait::SOON).await?;
        Ok(message)
    }
}
