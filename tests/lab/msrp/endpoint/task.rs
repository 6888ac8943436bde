//! The connection behind an endpoint.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use bytes::BytesMut;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    sync::{mpsc, oneshot, watch},
};

use super::{
    Answer, Incoming, Received, Role, Script, State, ok_script, switch,
    writing::{Writing, write_all},
};
use crate::{
    lock,
    msrp::{ByteRange, Flag, Frame, Head, Kind, Reader, frame},
    net::Place,
    trace::{Protocol, Trace},
};

/// What the endpoint and its connection share.
pub(crate) struct Shared {
    pub(crate) name: String,
    uri: String,
    remote: Vec<String>,
    trace: Trace,
    peer: Mutex<Option<SocketAddr>>,
    pub(crate) state: watch::Sender<State>,
    pub(crate) reading: watch::Sender<bool>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) script: Mutex<Script>,
    pub(crate) violations: Mutex<Vec<String>>,
    pub(crate) answers: Mutex<Vec<u16>>,
    pub(crate) open: Mutex<HashMap<String, oneshot::Sender<Head>>>,
    pub(crate) urgent: mpsc::UnboundedSender<Vec<u8>>,
    pub(crate) bulk: mpsc::Sender<Writing>,
}

impl Shared {
    pub(crate) fn new(
        name: &str,
        uri: &str,
        remote: Vec<String>,
        trace: &Trace,
        urgent: mpsc::UnboundedSender<Vec<u8>>,
        bulk: mpsc::Sender<Writing>,
    ) -> Arc<Shared> {
        Arc::new(Shared {
            name: name.to_owned(),
            uri: uri.to_owned(),
            remote,
            trace: trace.clone(),
            peer: Mutex::default(),
            state: switch(State::Connecting),
            reading: switch(true),
            stop: switch(false),
            script: ok_script(),
            violations: Mutex::default(),
            answers: Mutex::default(),
            open: Mutex::default(),
            urgent,
            bulk,
        })
    }

    pub(crate) fn trace_sent(&self, head: &Head, size: usize) {
        if let Some(peer) = *lock(&self.peer) {
            self.trace.sent(Protocol::Msrp, &self.name, peer, head.summary(), &head.encode(false), size);
        }
    }

    fn send_frame(&self, frame: &Frame) {
        let octets = frame.encode();
        self.trace_sent(&frame.head, octets.len());
        let _ = self.urgent.send(octets);
    }
}

/// The connection's own part.
pub(crate) struct Link {
    pub(crate) place: Place,
    pub(crate) listener: TcpListener,
    pub(crate) role: Role,
    pub(crate) connect_to: SocketAddr,
    pub(crate) receive_buffer: Option<usize>,
    pub(crate) urgent: mpsc::UnboundedReceiver<Vec<u8>>,
    pub(crate) bulk: mpsc::Receiver<Writing>,
    pub(crate) incoming: mpsc::UnboundedSender<Incoming>,
}

impl Link {
    pub(crate) async fn run(self, shared: Arc<Shared>) {
        let incoming = self.incoming.clone();
        let mut stop = shared.stop.subscribe();
        let why = tokio::select! {
            outcome = self.serve(&shared) => match outcome {
                Ok(why) => why,
                Err(error) => {
                    let why = format!("{error:#}");
                    lock(&shared.violations).push(why.clone());
                    why
                }
            },
            _ = stop.wait_for(|stop| *stop) => "closed by the endpoint itself".to_owned(),
        };
        shared.state.send_replace(State::Down(why.clone()));
        lock(&shared.open).clear();
        let _ = incoming.send(Incoming::Closed(why));
    }

    /// Runs until the connection ends; an error is a breach of the protocol by the peer.
    async fn serve(mut self, shared: &Arc<Shared>) -> Result<String> {
        let stream = match self.open().await {
            Ok(stream) => stream,
            Err(error) => return Ok(format!("{error:#}")),
        };
        *lock(&shared.peer) = stream.peer_addr().ok();
        let (read, write) = stream.into_split();
        if self.role == Role::Active {
            let (sender, answer) = oneshot::channel();
            let head = Head::request("SEND", &crate::token(8), &shared.remote.join(" "), &shared.uri)
                .with("Message-ID", crate::token(8));
            lock(&shared.open).insert(head.tid.clone(), sender);
            shared.send_frame(&Frame::bodiless(head));
            let state = shared.state.clone();
            tokio::spawn(async move {
                let Ok(head) = answer.await else { return };
                state.send_replace(match head.code() {
                    200 => State::Up,
                    code => State::Down(format!("the first SEND was answered {code}")),
                });
            });
        }
        let mut session = Session {
            shared: shared.clone(),
            incoming: self.incoming.clone(),
            open: HashMap::new(),
            done: HashSet::new(),
        };
        tokio::select! {
            outcome = session.read(read) => outcome,
            why = write_all(write, &mut self.urgent, &mut self.bulk) => Ok(why),
        }
    }

    async fn open(&self) -> Result<TcpStream> {
        match self.role {
            Role::Active => self.place.connect(self.connect_to, self.receive_buffer).await,
            Role::Passive => {
                if let Some(octets) = self.receive_buffer {
                    // Accepted connections inherit the buffer.
                    socket2::SockRef::from(&self.listener).set_recv_buffer_size(octets)?;
                }
                let (stream, _) = self.listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(stream)
            }
        }
    }
}

struct Assembly {
    content_type: String,
    body: BytesMut,
    chunks: Vec<Head>,
}

struct Session {
    shared: Arc<Shared>,
    incoming: mpsc::UnboundedSender<Incoming>,
    open: HashMap<String, Assembly>,
    done: HashSet<String>,
}

impl Session {
    async fn read(&mut self, mut read: OwnedReadHalf) -> Result<String> {
        let mut reader = Reader::default();
        let mut piece = vec![0; 65_536];
        let mut reading = self.shared.reading.subscribe();
        loop {
            reading.wait_for(|on| *on).await?;
            match read.read(&mut piece).await {
                Ok(0) if reader.pending() > 0 => bail!("the connection ended inside a frame"),
                Ok(0) => return Ok("closed by the peer".to_owned()),
                Ok(length) => reader.push(&piece[..length]),
                Err(error) => return Ok(format!("reading: {error}")),
            }
            while let Some(frame) = reader.frame()? {
                if let Some(why) = self.take(frame)? {
                    return Ok(why);
                }
                reading.wait_for(|on| *on).await?;
            }
        }
    }

    /// Takes one frame; `Some` ends the connection by our own script.
    fn take(&mut self, frame: Frame) -> Result<Option<String>> {
        if let Some(peer) = *lock(&self.shared.peer) {
            let head = frame.head.encode(false);
            let size = head.len() + frame.body.as_ref().map_or(0, |body| body.len());
            let summary = frame.head.summary();
            self.shared.trace.received(Protocol::Msrp, &self.shared.name, peer, summary, &head, size);
        }
        match &frame.head.kind {
            Kind::Response(code, _) => {
                let code = *code;
                let to = frame.head.header("To-Path").unwrap_or_default();
                ensure!(to == self.shared.uri, "a response to `{to}`, which is not us");
                let waiting = lock(&self.shared.open).remove(&frame.head.tid);
                let waiting = waiting
                    .with_context(|| format!("a response without request: {} {code}", frame.head.tid))?;
                lock(&self.shared.answers).push(code);
                let _ = waiting.send(frame.head);
                Ok(None)
            }
            Kind::Request(method) => {
                self.check_paths(&frame.head)?;
                self.shared.state.send_if_modified(|state| {
                    let first = matches!(state, State::Connecting);
                    if first {
                        *state = State::Up;
                    }
                    first
                });
                if method == "SEND" {
                    return self.take_send(frame);
                }
                let _ = self.incoming.send(Incoming::Request(frame));
                Ok(None)
            }
        }
    }

    fn check_paths(&self, head: &Head) -> Result<()> {
        let to = head.header("To-Path").unwrap_or_default();
        let from = head.header("From-Path").unwrap_or_default();
        ensure!(to == self.shared.uri, "To-Path is `{to}`, our URI is `{}`", self.shared.uri);
        let expected = self.shared.remote.join(" ");
        ensure!(from == expected, "From-Path is `{from}`, the peer's path is `{expected}`");
        Ok(())
    }

    fn take_send(&mut self, frame: Frame) -> Result<Option<String>> {
        let answer = match frame.body {
            // A bodiless SEND binds the connection or keeps it alive.
            None => Answer::Code(200),
            Some(_) => (lock(&self.shared.script))(&frame.head),
        };
        let wanted = frame.head.header("Failure-Report").unwrap_or("yes").to_owned();
        let reply = |code: u16| match (wanted.as_str(), code) {
            ("no", _) | ("partial", 200) => Ok(None),
            _ => frame.head.response(code, frame::comment(code), &self.shared.uri).map(Some),
        };
        match answer {
            Answer::Apart(code) => {
                if let Some(frame) = reply(code)? {
                    self.shared.send_frame(&frame);
                }
                let _ = self.incoming.send(Incoming::Request(frame));
                return Ok(None);
            }
            Answer::Code(code) => {
                if let Some(frame) = reply(code)? {
                    self.shared.send_frame(&frame);
                }
            }
            Answer::Later(code, after) => {
                if let Some(frame) = reply(code)? {
                    let shared = self.shared.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(after).await;
                        shared.send_frame(&frame);
                    });
                }
            }
            Answer::Silence => {}
            Answer::StopReading => {
                self.shared.reading.send_replace(false);
            }
            Answer::Close => return Ok(Some("closed by the script".to_owned())),
        }
        if frame.body.is_some() {
            self.assemble(frame)?;
        }
        Ok(None)
    }

    fn assemble(&mut self, frame: Frame) -> Result<()> {
        let body = frame.body.unwrap_or_default();
        let id = frame.head.header("Message-ID").unwrap_or_default().to_owned();
        ensure!(!self.done.contains(&id), "message {id} comes again");
        let content_type = frame.head.header("Content-Type").unwrap_or_default().to_owned();
        let whole = ByteRange { start: 1, end: None, total: None };
        let ByteRange { start, end, total } = frame.head.byte_range()?.unwrap_or(whole);
        let part = self.open.entry(id.clone()).or_insert_with(|| Assembly {
            content_type,
            body: BytesMut::new(),
            chunks: Vec::new(),
        });
        let had = part.body.len() as u64;
        let now = had + body.len() as u64;
        ensure!(start == had + 1, "message {id}: a chunk begins at {start}, {had} octets were there");
        ensure!(end.is_none_or(|end| end == now), "message {id}: range end {end:?}, really {now}");
        ensure!(total.is_none_or(|total| now <= total), "message {id}: {now} octets of {total:?}");
        part.body.extend_from_slice(&body);
        part.chunks.push(frame.head);
        if frame.flag == Flag::More {
            return Ok(());
        }
        let Some(part) = self.open.remove(&id) else { return Ok(()) };
        self.done.insert(id.clone());
        let body = part.body.freeze();
        let _ = self.incoming.send(if frame.flag == Flag::Abort {
            Incoming::Aborted(id, body)
        } else {
            ensure!(total.is_none_or(|total| now == total), "message {id} ends at {now} of {total:?}");
            Incoming::Message(Received {
                message_id: id,
                content_type: part.content_type,
                body,
                chunks: part.chunks,
                at: Instant::now(),
            })
        });
        Ok(())
    }
}
