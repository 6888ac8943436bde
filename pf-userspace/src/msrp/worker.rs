//! One worker: an epoll loop around a switch.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use tokio::sync::mpsc::UnboundedSender;

use super::{
    Order, RelayConfig, Seat, connect,
    directory::Directory,
    own::Own,
    socket,
    splice::Splice,
    transfer::{READ, REMAINDER},
    unbound::Unbound,
};
use crate::{
    core::{
        Time,
        entropy::OsEntropy,
        event::MediaEvent,
        media::{Action, ConnId, Switch},
    },
    seldom::Seldom,
    store::Recorder,
};

/// Token of the waker.
pub(super) const WAKER: Token = Token(usize::MAX);
/// Token of the in-kernel path's log.
pub(super) const LOG: Token = Token(usize::MAX - 1);
/// Tokens of listeners begin here; below are connections, by place.
const LISTENERS: usize = 1 << 40;
/// Tokens of connections that are being closed begin here.
const CLOSING: usize = 1 << 41;

/// Connections accepted before the others have their turn.
const ACCEPTS: usize = 64;
/// How long until accepting is tried again after it failed.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// How long a closed connection is read on, so that its last octets are not lost to a reset.
const LINGER: Duration = Duration::from_secs(1);

/// The other workers.
pub(super) struct Colleagues {
    pub(super) number: usize,
    pub(super) seats: Arc<Vec<Seat>>,
    pub(super) directory: Arc<Directory>,
    pub(super) own: Arc<Own>,
}

/// A connection's socket.
pub(super) struct Socket {
    pub(super) id: ConnId,
    pub(super) stream: TcpStream,
    pub(super) peer: Option<SocketAddr>,
    /// Read, but not consumed by the switch.
    pub(super) rest: Vec<u8>,
    /// Our connect is under way.
    pub(super) connecting: bool,
    /// There may be something to read.
    pub(super) readable: bool,
    /// Something may be written.
    pub(super) writable: bool,
    /// The peer has said that it closes: what is left is read up to the end.
    pub(super) closing: bool,
    /// The end was read.
    pub(super) ended: bool,
    /// It is in the list of those to be read on.
    pub(super) queued: bool,
}

/// A connection that the switch has given up.
pub(super) struct Closing {
    pub(super) stream: TcpStream,
    pub(super) rest: Vec<u8>,
    pub(super) until: Instant,
}

pub(super) struct Worker {
    pub(super) config: RelayConfig,
    pub(super) poll: Poll,
    inbox: mpsc::Receiver<Order>,
    listeners: Vec<TcpListener>,
    /// Listeners with connections left to accept.
    accepting: Vec<usize>,
    /// Told to stop.
    pub(super) stopping: bool,
    /// Accepting failed (no descriptors, no memory): it is not tried again before this.
    exhausted: Option<Instant>,
    cannot_accept: Seldom,
    refused: Seldom,
    evicted: Seldom,
    pub(super) held_up: Seldom,
    /// Takes what is recorded, where there is a store.
    pub(super) recorder: Option<Recorder>,
    pub(super) colleagues: Colleagues,
    events: UnboundedSender<MediaEvent>,
    pub(super) switch: Switch,
    /// The in-kernel path, where there is one.
    pub(super) splice: Option<Box<Splice>>,
    pub(super) sockets: Vec<Option<Socket>>,
    unbound: Unbound,
    pub(super) closing: slab::Slab<Closing>,
    /// Those of them with more to read than one turn's share.
    pub(super) lingering: Vec<usize>,
    /// Connections with more to read than one turn's share.
    more: Vec<ConnId>,
    pub(super) buffer: Vec<u8>,
    pub(super) start: Instant,
    pub(super) now: Time,
}

impl Worker {
    pub(super) fn new(
        config: RelayConfig,
        poll: Poll,
        inbox: mpsc::Receiver<Order>,
        mut listeners: Vec<TcpListener>,
        colleagues: Colleagues,
        events: UnboundedSender<MediaEvent>,
    ) -> io::Result<Worker> {
        for (n, listener) in listeners.iter_mut().enumerate() {
            poll.registry().register(listener, Token(LISTENERS + n), Interest::READABLE)?;
        }
        let switch = Switch::new(config.limits.clone(), Box::new(OsEntropy));
        Ok(Worker {
            config,
            poll,
            inbox,
            listeners,
            accepting: Vec::new(),
            exhausted: None,
            cannot_accept: Seldom::default(),
            refused: Seldom::default(),
            evicted: Seldom::default(),
            held_up: Seldom::default(),
            recorder: None,
            stopping: false,
            colleagues,
            events,
            switch,
            splice: None,
            sockets: Vec::new(),
            unbound: Unbound::default(),
            closing: slab::Slab::new(),
            lingering: Vec::new(),
            more: Vec::new(),
            buffer: vec![0; REMAINDER + READ],
            start: Instant::now(),
            now: Time::ZERO,
        })
    }

    /// Works until told to stop.
    ///
    /// # Errors
    /// The system no longer says which sockets are ready.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        loop {
            if let Err(error) = self.poll.poll(&mut events, self.timeout())
                && error.kind() != io::ErrorKind::Interrupted
            {
                return Err(error);
            }
            self.now = Time::from_start(self.start.elapsed());
            // First what the core has ordered: a peer may already use what was given out a moment ago.
            if !self.orders() || self.stopping {
                self.splice_stop();
                self.flush_recorded();
                return Ok(());
            }
            for event in &events {
                match event.token() {
                    WAKER => {}
                    LOG => self.splice_woken(),
                    Token(n) if n >= CLOSING => self.linger(n - CLOSING),
                    Token(n) if n >= LISTENERS => self.accept_soon(n - LISTENERS),
                    Token(n) => self.ready(n, event),
                }
            }
            if self.exhausted.is_none_or(|until| Instant::now() >= until) {
                self.exhausted = None;
                for listener in std::mem::take(&mut self.accepting) {
                    self.accept(listener);
                }
            }
            for n in std::mem::take(&mut self.lingering) {
                self.linger(n);
            }
            for id in std::mem::take(&mut self.more) {
                if let Some(socket) = self.socket(id) {
                    socket.queued = false;
                    self.read(id);
                }
            }
            if let Some(splice) = &mut self.splice {
                splice.before_timers(self.now, &mut self.switch);
            }
            self.switch.tick(self.now);
            loop {
                self.settle_down();
                self.splice_arm();
                if !self.record() {
                    break;
                }
            }
        }
    }

    fn timeout(&self) -> Option<Duration> {
        let accepts = !self.accepting.is_empty() && self.exhausted.is_none();
        let more = !self.more.is_empty() || self.splice_has_more();
        if self.stopping || more || !self.lingering.is_empty() || accepts {
            return Some(Duration::ZERO);
        }
        let again = self.exhausted.map(|until| until.saturating_duration_since(Instant::now()));
        let now = self.start.elapsed();
        let timer = self.switch.deadline().map(|at| at.since_start().saturating_sub(now));
        let linger = (!self.closing.is_empty()).then_some(LINGER);
        let splice = self.splice.as_ref().and_then(|splice| splice.deadline());
        let splice = splice.map(|at| at.since_start().saturating_sub(now));
        // epoll counts milliseconds and mio rounds up.
        timer.into_iter().chain(linger).chain(again).chain(splice).min()
    }

    pub(super) fn socket(&mut self, id: ConnId) -> Option<&mut Socket> {
        self.sockets.get_mut(id.index())?.as_mut().filter(|socket| socket.id == id)
    }

    /// Everything that follows from this turn: actions, resumed reading, writing, until nothing is left.
    fn settle_down(&mut self) {
        // Each round of resumed connections lets others write; what is not done after some rounds waits for the
        // next turn, so that sockets are looked at in between.
        for _ in 0..8 {
            self.act();
            for _ in 0..256 {
                let Some(id) = self.switch.take_ready() else { break };
                self.read(id);
            }
            self.splice_turn();
            while let Some(id) = self.switch.take_dirty() {
                self.write(id);
            }
            self.act();
            if !self.switch.has_ready() && !self.splice_has_more() {
                break;
            }
        }
        while let Some(id) = self.switch.take_ready() {
            self.queue(id);
        }
        if !self.closing.is_empty() {
            let now = Instant::now();
            self.closing.retain(|_, closing| now < closing.until);
        }
    }

    pub(super) fn queue(&mut self, id: ConnId) {
        if let Some(socket) = self.socket(id)
            && !std::mem::replace(&mut socket.queued, true)
        {
            self.more.push(id);
        }
    }

    /// Carries out orders; false when told to stop.
    pub(super) fn orders(&mut self) -> bool {
        loop {
            match self.inbox.try_recv() {
                Ok(Order::Command(command)) => {
                    if let Some(splice) = &mut self.splice {
                        splice.before_command(self.now, &mut self.switch, &command);
                    }
                    self.switch.command(self.now, command);
                    self.act();
                }
                Ok(Order::Adopt { stream, peer, octets }) => self.take_in(stream, peer, octets),
                Ok(Order::Resolved(found)) => match found.to {
                    Ok(to) => self.connect(found.conn, to, found.from),
                    Err(error) => {
                        tracing::debug!(%error, "a name in an MSRP path cannot be resolved");
                        self.gone(found.conn);
                    }
                },
                Ok(Order::Connections(reply)) => {
                    let legs = self.switch.snapshot();
                    let rows = self.splice.as_ref().map(|splice| splice.dump(&legs));
                    // Whoever asked may have gone.
                    let _ = reply.send(rows.unwrap_or_default());
                }
                Ok(Order::Path(reply)) => {
                    let path = self.splice.as_mut();
                    let _ = reply.send(path.map(|splice| splice.sums(self.now, &mut self.switch)));
                }
                Ok(Order::Tune(tunables, reply)) => {
                    self.config.tunables = tunables;
                    if let Some(splice) = &mut self.splice {
                        splice.tune(self.now, &mut self.switch, tunables);
                    }
                    let _ = reply.send(());
                }
                Ok(Order::Store(order)) => {
                    self.flush_recorded();
                    if let Some(recorder) = &self.recorder {
                        recorder.order(order);
                    }
                }
                Ok(Order::Recorded(reply)) => {
                    if let Some(splice) = &mut self.splice {
                        splice.refresh(self.now, &mut self.switch);
                    }
                    self.flush_recorded();
                    // Whoever asked may have gone.
                    let _ = reply.send(());
                }
                Ok(Order::Snapshot(reply)) => {
                    if let Some(splice) = &mut self.splice {
                        splice.refresh(self.now, &mut self.switch);
                    }
                    let mut legs = self.switch.snapshot();
                    if let Some(splice) = &mut self.splice {
                        splice.complete(&mut self.switch, &mut legs);
                    }
                    // Whoever asked may have gone.
                    let _ = reply.send(legs);
                }
                #[cfg(test)]
                Ok(Order::Fail) => panic!("told to fail"),
                Ok(Order::Stop) | Err(mpsc::TryRecvError::Disconnected) => return false,
                Err(mpsc::TryRecvError::Empty) => return true,
            }
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.switch.action() {
            match action {
                Action::Close { conn, rest } => self.close(conn, rest),
                Action::Connect { conn, to, from } => {
                    let from = from.filter(|_| self.config.connect_from_path_port);
                    match to.parse() {
                        Ok(to) => self.connect(conn, to, from),
                        Err(_) => {
                            let Colleagues { number, seats, .. } = &self.colleagues;
                            if connect::resolve(conn, to, from, seats.clone(), *number).is_err() {
                                self.gone(conn);
                            }
                        }
                    }
                }
                Action::Event(event) => {
                    if !self.colleagues.directory.is_single() {
                        self.colleagues.directory.note(&event);
                    }
                    // Without a core nobody needs to know.
                    let _ = self.events.send(event);
                }
            }
        }
    }

    /// This listener has connections for us.
    fn accept_soon(&mut self, n: usize) {
        if !self.accepting.contains(&n) {
            self.accepting.push(n);
        }
    }

    fn accept(&mut self, n: usize) {
        if self.exhausted.is_some() {
            return self.accept_soon(n);
        }
        for _ in 0..ACCEPTS {
            let Some(listener) = self.listeners.get(n) else { return };
            match listener.accept() {
                Ok((stream, peer)) => {
                    if self.switch.connections() < self.config.connections {
                        self.take_in(stream, Some(peer), Vec::new());
                    } else if let Some(count) = self.refused.count(Instant::now()) {
                        tracing::warn!(count, "MSRP connections refused: msrp.connections is reached");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    let now = Instant::now();
                    if let Some(count) = self.cannot_accept.count(now) {
                        tracing::warn!(%error, count, "cannot accept MSRP connections: tried again");
                    }
                    self.exhausted = Some(now + ACCEPT_AGAIN);
                    break;
                }
            }
        }
        self.accept_soon(n);
    }

    /// A connection that somebody opened to us.
    fn take_in(&mut self, stream: TcpStream, peer: Option<SocketAddr>, octets: Vec<u8>) {
        let id = self.switch.accepted(self.now, peer);
        if self.put(id, stream, peer, false).is_err() {
            self.switch.withdraw(id);
            return;
        }
        let caps = (self.config.unbound_connections, self.config.unbound_per_peer);
        let switch = &self.switch;
        let is_unbound = |id| switch.outbox(id).is_some() && !switch.is_bound(id);
        let ip = peer.map(|peer| peer.ip());
        for oldest in self.unbound.add(id, ip, caps, is_unbound).into_iter().flatten() {
            if self.switch.evict(self.now, oldest)
                && let Some(count) = self.evicted.count(Instant::now())
            {
                tracing::warn!(count, "MSRP connections that name no session closed for newer ones");
            }
        }
        if let Some(socket) = self.socket(id) {
            socket.rest = octets;
            self.queue(id);
        }
    }

    fn put(
        &mut self,
        id: ConnId,
        mut stream: TcpStream,
        peer: Option<SocketAddr>,
        connecting: bool,
    ) -> io::Result<()> {
        stream.set_nodelay(true)?;
        self.poll.registry().register(
            &mut stream,
            Token(id.index()),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        if self.sockets.len() <= id.index() {
            self.sockets.resize_with(id.index() + 1, || None);
        }
        let socket = Socket {
            id,
            stream,
            peer,
            rest: Vec::new(),
            connecting,
            readable: true,
            writable: !connecting,
            closing: false,
            ended: false,
            queued: false,
        };
        if let Some(place) = self.sockets.get_mut(id.index()) {
            *place = Some(socket);
        }
        Ok(())
    }

    fn connect(&mut self, id: ConnId, to: SocketAddr, from: Option<SocketAddr>) {
        // The leg may have been closed while its name was resolved.
        if self.switch.outbox(id).is_none() {
            return;
        }
        if self.colleagues.own.is(to) {
            tracing::debug!(%to, "not connected: this is our own address");
            return self.gone(id);
        }
        let begun = socket::connect(to, from).and_then(|stream| self.put(id, stream, Some(to), true));
        if let Err(error) = begun {
            tracing::debug!(%to, %error, "cannot connect");
            self.gone(id);
        }
    }

    /// A socket has something to tell.
    fn ready(&mut self, n: usize, event: &mio::event::Event) {
        let Some(socket) = self.sockets.get_mut(n).and_then(Option::as_mut) else { return };
        let id = socket.id;
        if socket.connecting {
            if event.is_writable() || event.is_error() {
                self.connected(id);
            }
            return;
        }
        socket.closing |= event.is_read_closed();
        socket.readable |= event.is_readable() || event.is_read_closed();
        if event.is_error() {
            self.gone(id);
            return;
        }
        if event.is_writable() && !socket.writable {
            socket.writable = true;
            self.write(id);
        }
        if event.is_readable() || event.is_read_closed() {
            self.read(id);
        }
    }

    fn connected(&mut self, id: ConnId) {
        let Some(socket) = self.socket(id) else { return };
        let failed = match socket.stream.take_error() {
            Ok(error) => error,
            Err(error) => Some(error),
        };
        let pending = failed.is_none() && socket.stream.peer_addr().is_err();
        if let Some(error) = failed {
            tracing::debug!(to = ?socket.peer, %error, "cannot connect");
            self.gone(id);
        } else if !pending {
            (socket.connecting, socket.writable) = (false, true);
            let peer = socket.peer;
            self.switch.connected(self.now, id, peer);
            self.read(id);
        }
    }

    /// The connection is broken, or ended by the peer, or never came to be.
    pub(super) fn gone(&mut self, id: ConnId) {
        if let Some(splice) = &mut self.splice {
            // What was in flight there goes with it.
            splice.closing(self.now, &mut self.switch, id);
        }
        if let Some(place) = self.sockets.get_mut(id.index())
            && place.as_ref().is_some_and(|socket| socket.id == id)
        {
            *place = None;
        }
        self.switch.closed(self.now, id);
    }

    /// The switch has given the connection up.
    fn close(&mut self, id: ConnId, mut rest: Vec<u8>) {
        if let Some(splice) = &mut self.splice {
            let first = splice.closing(self.now, &mut self.switch, id);
            rest.splice(..0, first);
        }
        let Some(place) = self.sockets.get_mut(id.index()) else { return };
        let Some(mut socket) = place.take_if(|socket| socket.id == id) else { return };
        if socket.connecting || socket.ended && rest.is_empty() {
            return;
        }
        let entry = self.closing.vacant_entry();
        let token = Token(CLOSING + entry.key());
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().reregister(&mut socket.stream, token, interest).is_ok() {
            let n = entry.key();
            entry.insert(Closing { stream: socket.stream, rest, until: Instant::now() + LINGER });
            self.linger(n);
        }
    }
}
