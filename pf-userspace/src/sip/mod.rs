//! The SIP shell: sockets, framing and transactions between the network and the core.
//!
//! Octets come in through `transport` (UDP sockets, stream connections), become messages in `framing` and
//! `preparse`, meet their transaction in `engine`, and leave as [`SipEvent`]s in one order through `outbox`.
//! [`SipCommand`]s take the way back. Nothing here knows dialogs, registrations or sessions.

mod config;
mod connection;
mod engine;
mod framing;
mod outbox;
mod preparse;
mod routing;
mod stats;
mod transport;
mod via;
mod write;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc, watch},
};

pub use self::{
    config::{SipConfig, SipStartError},
    stats::SipStats,
};
use self::{
    engine::{Engine, Forwarded, Outgoing, Settings, Way},
    outbox::Outbox,
    preparse::{Message, Refusal},
    stats::Counters,
    transport::{
        Dial, Transports,
        resolve::Names,
        stream::{self, Flow},
        udp,
    },
};
use crate::core::event::{Forward, Peer, SipCommand, SipEvent, Transport};

/// Datagrams read in one go before other tasks have their turn.
const BATCH: usize = 64;

/// Handle of the running SIP shell.
#[derive(Clone)]
pub struct SipShell {
    inner: Arc<Inner>,
}

struct Inner {
    config: Arc<SipConfig>,
    engine: Mutex<Timed>,
    transports: Arc<Transports>,
    names: Names,
    outbox: Outbox,
    counters: Arc<Counters>,
    timer: Notify,
    stop: watch::Sender<bool>,
    runtime: tokio::runtime::Handle,
}

/// The engine and when the timer task wakes for it.
struct Timed {
    engine: Engine,
    wakes: Option<Instant>,
}

impl SipShell {
    /// Binds all sockets and serves them until [`SipShell::stop`], or until the receiver of `events` is gone.
    ///
    /// # Errors
    /// A socket that cannot be bound, nothing to bind, or TLS, which is not supported yet.
    pub async fn start(config: SipConfig, events: mpsc::Sender<SipEvent>) -> Result<SipShell, SipStartError> {
        let config = Arc::new(config);
        let counters = Arc::new(Counters::default());
        let (dial, dials) = mpsc::unbounded_channel();
        let (transports, listeners) = Transports::bind(config.clone(), dial, counters.clone())?;
        let transports = Arc::new(transports);
        let settings = Settings {
            t1: config.t1,
            t2: config.t2,
            t4: config.t4,
            trying_after: config.trying_after,
            invite_timeout: config.invite_timeout,
            max_transactions: config.max_transactions,
            max_transactions_per_source: config.max_transactions_per_source,
            trusted: config.trusted.clone(),
            product: config.product.clone(),
        };
        let engine = Engine::new(settings, transports.clone(), counters.clone());
        let inner = Arc::new(Inner {
            engine: Mutex::new(Timed { engine, wakes: None }),
            transports,
            names: Names::default(),
            outbox: Outbox::new(config.max_events),
            counters,
            timer: Notify::new(),
            stop: watch::Sender::new(false),
            runtime: tokio::runtime::Handle::current(),
            config,
        });
        for index in 0..inner.transports.udp.len() {
            tokio::spawn(inner.clone().read_datagrams(index));
        }
        for listener in listeners {
            tokio::spawn(inner.clone().accept(listener));
        }
        tokio::spawn(inner.clone().dial(dials));
        tokio::spawn(inner.clone().keep_time());
        let forwarder = inner.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = forwarder.outbox.forward(events) => forwarder.stop(),
                () = forwarder.stopped() => {}
            }
        });
        Ok(SipShell { inner })
    }

    /// Carries out a command of the core. Never waits; what comes of it is reported as an event.
    pub fn command(&self, command: SipCommand) {
        let inner = &self.inner;
        match command {
            SipCommand::Respond { tx, response } => {
                inner.engine(|engine, now| engine.respond(now, tx, response))
            }
            SipCommand::Cancel { tx, reason } => inner.engine(|engine, now| engine.cancel(now, tx, reason)),
            SipCommand::Forward(Forward::Ack { request, hop, mark }) => inner.forward_ack(request, hop, mark),
            SipCommand::Forward(Forward::Request { tx, request, hop, mark, recorded }) => {
                inner.request(tx, request, hop, Some(Forwarded { mark: mark.into(), recorded }));
            }
            SipCommand::Forward(Forward::Response { tx, response }) => {
                inner.engine(|engine, now| engine.forward(now, tx, response));
            }
            SipCommand::Request { tx, request, hop } => inner.request(tx, request, hop, None),
            SipCommand::Ack { tx, request, hop } => inner.acknowledge(tx, request, hop),
        }
    }

    /// The sockets that are bound, port 0 resolved.
    pub fn local(&self) -> Vec<(Transport, SocketAddr)> {
        self.inner.transports.bound()
    }

    /// What has been counted.
    pub fn stats(&self) -> SipStats {
        let (servers, clients) =
            self.inner.engine.lock().unwrap_or_else(PoisonError::into_inner).engine.len();
        SipStats {
            server_transactions: servers as u64,
            client_transactions: clients as u64,
            connections: self.inner.transports.connections() as u64,
            events_waiting: self.inner.outbox.len() as u64,
            ..self.inner.counters.snapshot()
        }
    }

    /// Closes all sockets and ends all tasks; transactions end without a word.
    pub fn stop(&self) {
        self.inner.stop();
    }
}

impl Inner {
    fn stop(&self) {
        self.stop.send_replace(true);
    }

    async fn stopped(&self) {
        // An error means that the sender is gone: stopped as well.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Uses the engine, then sends what it has to say.
    fn engine<R>(&self, use_it: impl FnOnce(&mut Engine, Instant) -> R) -> R {
        let now = Instant::now();
        let (result, mut outgoing) = self.locked(|engine| use_it(engine, now));
        // What cannot be sent may make the engine try elsewhere: that ends, for each attempt uses up a route.
        while !outgoing.is_empty() {
            let mut failed = Vec::new();
            for Outgoing { way, octets, owner } in outgoing {
                if let Err(reason) = self.transports.send(way, octets) {
                    self.counters.send_errors.add();
                    tracing::debug!(?way, reason, "cannot send");
                    failed.extend(owner.map(|owner| (owner, reason)));
                }
            }
            outgoing = match failed.is_empty() {
                true => Vec::new(),
                false => {
                    let fail = |engine: &mut Engine| {
                        for (owner, reason) in failed {
                            engine.send_failed(now, owner, &reason);
                        }
                    };
                    self.locked(fail).1
                }
            };
        }
        result
    }

    fn locked<R>(&self, use_it: impl FnOnce(&mut Engine) -> R) -> (R, Vec<Outgoing>) {
        let mut timed = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        let result = use_it(&mut timed.engine);
        let (outgoing, events) = timed.engine.take();
        self.outbox.push(events);
        if let Some(at) = timed.engine.deadline()
            && timed.wakes.is_none_or(|wakes| at < wakes)
        {
            timed.wakes = Some(at);
            self.timer.notify_one();
        }
        (result, outgoing)
    }

    async fn keep_time(self: Arc<Inner>) {
        loop {
            let wakes = {
                let mut timed = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
                timed.wakes = timed.engine.deadline();
                timed.wakes
            };
            let sleep = async {
                match wakes {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => self.engine(|engine, now| engine.tick(now)),
                () = self.timer.notified() => {}
                () = self.stopped() => return,
            }
        }
    }

    /// A batched reader: it takes what is there, up to [`BATCH`], before it waits again. One reader per socket
    /// keeps a peer's datagrams in their order.
    async fn read_datagrams(self: Arc<Inner>, index: usize) {
        let Some(port) = self.transports.udp.get(index) else { return };
        let mut buffer = vec![0; udp::DATAGRAM];
        loop {
            tokio::select! {
                ready = port.socket.readable() => if let Err(error) = ready {
                    tracing::warn!(%error, "UDP socket");
                    return;
                },
                () = self.stopped() => return,
            }
            for _ in 0..BATCH {
                match port.socket.try_recv_from(&mut buffer) {
                    Ok((size, source)) => {
                        self.datagram(index, port.bound, Bytes::copy_from_slice(&buffer[..size]), source)
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                    // Another peer's ICMP error, reported here: nothing to do with the next datagram.
                    Err(error) => tracing::debug!(%error, "UDP receive"),
                }
            }
            // Requests get their 503 long before this; responses and ACKs wait in the socket's buffer.
            if self.outbox.len() > 2 * self.config.max_events {
                tokio::select! {
                    () = self.outbox.room() => {}
                    () = self.stopped() => return,
                }
            }
        }
    }

    fn datagram(&self, socket: usize, bound: SocketAddr, octets: Bytes, source: SocketAddr) {
        let local = self.transports.local_of(bound, source.ip());
        let peer = Peer { transport: Transport::Udp, addr: source, local, flow: None };
        let message = match preparse::datagram(&octets) {
            Ok(None) => return,
            Ok(Some(message)) => Ok(message),
            Err(refusal) => Err(refusal),
        };
        self.received_by(message, peer, Some(socket), !self.outbox.is_full());
    }

    /// A message, or what is left of one, from a connection.
    fn received(&self, message: Result<Message, Refusal>, peer: Peer, room: bool) {
        self.received_by(message, peer, None, room);
    }

    fn received_by(&self, message: Result<Message, Refusal>, peer: Peer, socket: Option<usize>, room: bool) {
        let way = |to: SocketAddr| match (peer.flow, socket) {
            (Some(flow), _) => Some(Way::Flow { flow, back: Some(to) }),
            (None, Some(socket)) => Some(Way::Udp { socket, to }),
            (None, None) => None,
        };
        match message {
            Ok(Message::Request(mut request)) => {
                let Some(via) = via::stamp_received(&mut request.headers, peer.addr) else { return };
                let to = match peer.flow {
                    Some(_) => SocketAddr::new(peer.addr.ip(), via.port.unwrap_or(5060)),
                    None => via.reply_to(peer.addr),
                };
                let Some(reply) = way(to) else { return };
                self.engine(|engine, now| engine.request(now, request, &via, peer, reply, room));
            }
            Ok(Message::Response(response)) => {
                let Some(via) = via::Via::top(&response.headers) else { return };
                self.engine(|engine, now| engine.response(now, response, &via, peer));
            }
            Err(Refusal { why, answer }) => {
                self.counters.malformed.add();
                tracing::debug!(peer = %peer.addr, why, "malformed message");
                let Some(mut answer) = answer else { return };
                via::stamp_received(&mut answer.headers, peer.addr);
                if let Some(way) = way(peer.addr) {
                    let octets = self.engine(|engine, _| engine.stateless(answer));
                    self.send(way, octets);
                }
            }
        }
    }

    /// Sends octets that belong to no transaction.
    fn send(&self, way: Way, octets: Bytes) {
        self.counters.messages_out.add();
        if let Err(reason) = self.transports.send(way, octets) {
            self.counters.send_errors.add();
            tracing::debug!(?way, reason, "cannot send");
        }
    }

    async fn accept(self: Arc<Inner>, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.stopped() => return,
            };
            match accepted {
                Ok((stream, remote)) => {
                    if let Some((flow, queue)) = self.transports.admit(Transport::Tcp, remote) {
                        tokio::spawn(connection::serve(self.clone(), flow, queue, stream));
                    }
                }
                Err(error) => {
                    // Out of file descriptors, most likely: wait for some to come free.
                    tracing::warn!(%error, "accept");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn dial(self: Arc<Inner>, mut dials: mpsc::UnboundedReceiver<Dial>) {
        loop {
            let dial = tokio::select! {
                dial = dials.recv() => dial,
                () = self.stopped() => None,
            };
            let Some(Dial { flow, queue, from }) = dial else { return };
            let inner = self.clone();
            tokio::spawn(async move {
                match stream::connect(from, flow.remote, inner.config.connect_timeout).await {
                    Ok(stream) => connection::serve(inner, flow, queue, stream).await,
                    Err(error) => {
                        inner.transports.refused_tcp(flow.remote);
                        inner.flow_gone(&flow, &format!("{}: {error}", flow.remote), false);
                    }
                }
            });
        }
    }

    fn flow_gone(&self, flow: &Flow, reason: &str, was_up: bool) {
        self.transports.remove(flow);
        self.engine(|engine, now| engine.flow_failed(now, flow.id, reason, was_up));
    }
}
