//! An MSRP endpoint of one session: sends, receives, answers by a script, and verifies every frame.

mod media;
mod outgoing;
mod task;
mod writing;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::{Frame, Head};
use crate::{lock, wait};

pub use media::{Media, Negotiated, Role};
pub use outgoing::{Outgoing, Sending};
use task::Shared;

/// How a SEND is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This status code; the frame is handed out as it is, and not joined to others.
    Apart(u16),
    /// This status code.
    Code(u16),
    /// This status code, later.
    Later(u16, Duration),
    /// Nothing.
    Silence,
    /// Nothing, and nothing is read any more.
    StopReading,
    /// The connection is closed.
    Close,
}

/// A message that came in whole, in order and without gaps.
#[derive(Clone, Debug)]
pub struct Received {
    /// Message-ID.
    pub message_id: String,
    /// Content-Type.
    pub content_type: String,
    /// All octets.
    pub body: Bytes,
    /// The heads of its chunks.
    pub chunks: Vec<Head>,
    /// When its last octet came.
    pub at: Instant,
}

/// What comes in.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// A message that its sender abandoned (`#`): its id and the octets so far.
    Aborted(String, Bytes),
    /// The connection ended: why.
    Closed(String),
    /// A message.
    Message(Received),
    /// A request other than SEND, REPORT among them.
    Request(Frame),
}

/// A running endpoint.
pub struct Endpoint {
    /// Our path URI.
    pub uri: String,
    /// The peer's path.
    pub remote: Vec<String>,
    shared: Arc<Shared>,
    incoming: mpsc::UnboundedReceiver<Incoming>,
}

/// Decides the answer to each SEND with a body.
pub(crate) type Script = Box<dyn FnMut(&Head) -> Answer + Send>;

impl Endpoint {
    /// Waits until the connection is there and bound: the active side has its first SEND answered, the passive
    /// side has received one.
    pub async fn ready(&self, limit: Duration) -> Result<()> {
        let mut state = self.shared.state.subscribe();
        let wait = async {
            let state = state.wait_for(|state| !matches!(state, State::Connecting)).await?.clone();
            match state {
                State::Down(why) => bail!("the connection ended: {why}"),
                _ => Ok(()),
            }
        };
        wait::within(limit, &format!("{}: MSRP connection", self.shared.name), wait).await
    }

    /// Answers SENDs by `script` from now on. At first every SEND is answered 200.
    pub fn script(&self, script: impl FnMut(&Head) -> Answer + Send + 'static) {
        *lock(&self.shared.script) = Box::new(script);
    }

    /// Stops or goes on reading.
    pub fn read(&self, on: bool) {
        self.shared.reading.send_replace(on);
    }

    /// The next thing that comes in. A breach of RFC 4975 by the peer is an error.
    pub async fn next(&mut self, limit: Duration) -> Result<Incoming> {
        let what = format!("{}: something on MSRP", self.shared.name);
        let next = async { self.incoming.recv().await.context("the endpoint ended") };
        let next = wait::within(limit, &what, next).await?;
        self.verify()?;
        Ok(next)
    }

    /// The next message; anything else in between is an error.
    pub async fn message(&mut self, limit: Duration) -> Result<Received> {
        match self.next(limit).await.with_context(|| format!("{}: a message", self.shared.name))? {
            Incoming::Message(message) => Ok(message),
            other => bail!("{}: {other:?} instead of a message", self.shared.name),
        }
    }

    /// The next REPORT; anything else in between is an error.
    pub async fn report(&mut self, limit: Duration) -> Result<Frame> {
        match self.next(limit).await.with_context(|| format!("{}: a REPORT", self.shared.name))? {
            Incoming::Request(frame) if frame.head.method() == "REPORT" => Ok(frame),
            other => bail!("{}: {other:?} instead of a REPORT", self.shared.name),
        }
    }

    /// Waits for the end of the connection; messages before it are an error.
    pub async fn closed(&mut self, limit: Duration) -> Result<String> {
        match self.next(limit).await.with_context(|| format!("{}: the end", self.shared.name))? {
            Incoming::Closed(why) => Ok(why),
            other => bail!("{}: {other:?} instead of the end", self.shared.name),
        }
    }

    /// Asserts that nothing comes within `limit`.
    pub async fn quiet(&mut self, limit: Duration) -> Result<()> {
        match tokio::time::timeout(limit, self.incoming.recv()).await {
            Ok(Some(got)) => bail!("{}: {got:?}, and must not", self.shared.name),
            _ => self.verify(),
        }
    }

    /// Checks that the peer has kept to RFC 4975 so far.
    pub fn verify(&self) -> Result<()> {
        match lock(&self.shared.violations).first() {
            None => Ok(()),
            Some(what) => bail!("{}: the peer broke MSRP: {what}", self.shared.name),
        }
    }

    /// Sends octets as they are.
    pub fn write(&self, octets: Vec<u8>) {
        let _ = self.shared.urgent.send(octets);
    }

    /// Sends a frame as it is.
    pub fn send_frame(&self, frame: &Frame) {
        self.shared.trace_sent(&frame.head, frame.encode().len());
        self.write(frame.encode());
    }

    /// A Success-Report for a message, as its final receiver sends it.
    pub fn send_report(&self, message: &Received, status: &str) -> Result<()> {
        let to = message.chunks.last().and_then(|c| c.header("From-Path")).context("no From-Path")?;
        let length = message.body.len();
        let head = Head::request("REPORT", &crate::token(8), to, &self.uri)
            .with("Message-ID", &message.message_id)
            .with("Byte-Range", format!("1-{length}/{length}"))
            .with("Status", status);
        self.send_frame(&Frame::bodiless(head));
        Ok(())
    }

    /// Closes the connection in good order.
    pub fn close(&self) {
        self.shared.stop.send_replace(true);
    }

    /// SENDs with a body answered by the peer so far, by status code.
    pub fn answered(&self, code: u16) -> usize {
        lock(&self.shared.answers).iter().filter(|got| **got == code).count()
    }

    /// Whether the connection is there.
    pub fn is_up(&self) -> bool {
        matches!(*self.shared.state.borrow(), State::Up)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.close();
    }
}

/// State of the connection.
#[derive(Clone, Debug)]
pub(crate) enum State {
    Connecting,
    Up,
    Down(String),
}

pub(crate) fn ok_script() -> Mutex<Script> {
    Mutex::new(Box::new(|_| Answer::Code(200)))
}

pub(crate) fn switch<T>(value: T) -> watch::Sender<T> {
    watch::Sender::new(value)
}
