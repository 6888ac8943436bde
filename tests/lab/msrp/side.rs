//! One side of an MSRP session on a raw connection: it knows the paths, and answers only when told.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};

use super::{Flag, Frame, Head, Wire};
use crate::wait::SOON;

/// A raw connection with the paths of its session.
pub struct Side {
    /// The connection.
    pub wire: Wire,
    /// To-Path of what we send.
    pub to: String,
    /// From-Path of what we send, To-Path of what we receive.
    pub own: String,
    /// From-Path of what we receive.
    pub peer: String,
}

/// A message received over a raw connection.
#[derive(Clone, Debug)]
pub struct Got {
    /// Message-ID.
    pub message_id: String,
    /// All octets, over all chunks.
    pub body: Bytes,
    /// The heads of its chunks.
    pub chunks: Vec<Head>,
    /// Flag of the last chunk.
    pub flag: Flag,
}

impl Side {
    /// A side whose peer has path `peer`, ours is `own`.
    pub fn new(wire: Wire, peer: &str, own: &str) -> Side {
        Side { wire, to: peer.to_owned(), own: own.to_owned(), peer: peer.to_owned() }
    }

    /// A request of this side.
    pub fn request(&self, method: &str) -> Head {
        Head::request(method, &crate::token(8), &self.to, &self.own)
    }

    /// A SEND with a fresh Message-ID and no body.
    pub fn empty_send(&self) -> Head {
        self.request("SEND").with("Message-ID", crate::token(8))
    }

    /// A whole message in one SEND.
    pub fn whole(&self, body: impl Into<Bytes>) -> Frame {
        let body = body.into();
        let head = self
            .empty_send()
            .with("Byte-Range", format!("1-{0}/{0}", body.len()))
            .with("Content-Type", "text/plain");
        Frame::with_body(head, body, Flag::End)
    }

    /// Sends a SEND without body, as the active side must, and waits for its 200.
    pub async fn bind(&mut self) -> Result<()> {
        let frame = Frame::bodiless(self.empty_send());
        self.wire.send(&frame).await?;
        let code = self.answer(&frame, SOON).await.context("the first SEND")?;
        ensure!(code == 200, "the first SEND was answered {code}");
        Ok(())
    }

    /// Waits for the peer's first SEND and accepts it.
    pub async fn bound(&mut self) -> Result<()> {
        let frame = self.wire.frame(SOON).await.context("the first SEND")?;
        ensure!(frame.head.method() == "SEND", "{} comes first", frame.head.summary());
        ensure!(frame.body.is_none(), "the first SEND has a body before anything was sent");
        self.respond(&frame.head, 200).await
    }

    /// The status code that answers `request`; it must be the next frame.
    pub async fn answer(&mut self, request: &Frame, limit: Duration) -> Result<u16> {
        let frame = self.wire.frame(limit).await?;
        let head = &frame.head;
        ensure!(head.code() > 0, "{} instead of an answer", head.summary());
        ensure!(head.tid == request.head.tid, "an answer to {}, not {}", head.tid, request.head.tid);
        ensure!(head.header("To-Path") == Some(&self.own), "the answer's To-Path is not us");
        let nearest = self.to.split(' ').next();
        let from = head.header("From-Path").and_then(|path| path.split(' ').next());
        ensure!(from == nearest, "the answer comes from {from:?}");
        Ok(head.code())
    }

    /// Sends a request and returns the status code of its answer.
    pub async fn ask(&mut self, frame: &Frame) -> Result<u16> {
        self.wire.send(frame).await?;
        self.answer(frame, SOON).await
    }

    /// Answers a request, unless it does not want this answer.
    pub async fn respond(&mut self, request: &Head, code: u16) -> Result<()> {
        match (request.header("Failure-Report").unwrap_or("yes"), code) {
            ("no", _) | ("partial", 200) => Ok(()),
            _ => {
                let comment = super::frame::comment(code);
                self.wire.send(&request.response(code, comment, &self.own)?).await
            }
        }
    }

    /// Checks the paths of a request that came in.
    pub fn check(&self, head: &Head) -> Result<()> {
        let (to, from) = (head.header("To-Path"), head.header("From-Path"));
        ensure!(to == Some(&self.own), "To-Path is {to:?}, we are {}", self.own);
        ensure!(from == Some(&self.peer), "From-Path is {from:?}, the peer is {}", self.peer);
        Ok(())
    }

    /// The next message with all its chunks, each answered `code`.
    pub async fn receive(&mut self, code: u16, limit: Duration) -> Result<Got> {
        let mut body = BytesMut::new();
        let mut chunks: Vec<Head> = Vec::new();
        loop {
            let frame = self.wire.frame(limit).await?;
            ensure!(frame.head.method() == "SEND", "{} instead of a SEND", frame.head.summary());
            self.check(&frame.head)?;
            self.respond(&frame.head, code).await?;
            let id = frame.head.header("Message-ID").unwrap_or_default().to_owned();
            if let Some(first) = chunks.first() {
                let first = first.header("Message-ID");
                ensure!(first == Some(&id), "chunk of {id} inside {first:?}");
            }
            if let Some(range) = frame.head.byte_range()? {
                let expected = body.len() as u64 + 1;
                ensure!(range.start == expected, "a chunk begins at {}, not {expected}", range.start);
            }
            body.extend_from_slice(&frame.body.unwrap_or_default());
            chunks.push(frame.head);
            if frame.flag != Flag::More {
                return Ok(Got { message_id: id, body: body.freeze(), chunks, flag: frame.flag });
            }
        }
    }
}
