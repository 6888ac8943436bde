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
    Order, RelayConfig, Seat,
    directory::Directory,
    own::Own,
    splice::Splice,
    transfer::{READ, REMAINDER},
    unbound::Unbound,
};
use crate::{
    core::{
        Time,
        entropy::OsEntropy,
        event::MediaEvent,
        media::{ConnId, Switch},
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
pub(super) const CLOSING: usize = 1 << 41;

/// How long a closed connection is read on, so that its last octets are not lost to a reset.
pub(super) const LINGER: Duration = Duration::from_secs(1);

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
    pub(super) inbox: mpsc::Receiver<Order>,
    pub(super) listeners: Vec<TcpListener>,
    /// Listeners with connections left to accept.
    pub(super) accepting: Vec<usize>,
    /// Told to stop.
    pub(super) stopping: bool,
    /// Accepting failed (no descriptors, no memory): it is not tried again before this.
    pub(super) exhausted: Option<Instant>,
    pub(super) cannot_accept: Seldom,
    pub(super) refused: Seldom,
    pub(super) evicted: Seldom,
    pub(super) held_up: Seldom,
    /// Takes what is recorded, where there is a store.
    pub(super) recorder: Option<Recorder>,
    pub(super) colleagues: Colleagues,
    pub(super) events: UnboundedSender<MediaEvent>,
    pub(super) switch: Switch,
    /// The in-kernel path, where there is one.
    pub(super) splice: Option<Box<Splice>>,
    pub(super) sockets: Vec<Option<Socket>>,
    pub(super) unbound: Unbound,
    pub(super) closing: slab::Slab<Closing>,
    /// Those of them with more to read than one turn's share.
    pub(super) lingering: Vec<usize>,
    /// Connections with more to read than one turn's share.
    pub(super) more: Vec<ConnId>,
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
}
