//! Switching of MSRP frames between the legs of a stream (sans-IO).
//!
//! [`Switch`] is told of connections, of their octets and of time; it answers with octets in the
//! [`Outbox`] of each connection and with [`Action`]s. It is cut-through: heads are rewritten per leg, the body
//! passes on as it arrives, whatever its size.
//!
//! # Whose octets are they?
//! What [`Switch::input`] did not consume belongs to the caller (in the product: the connection's remainder
//! buffer or the socket's receive queue). What it consumed belongs to the outboxes of the targets, or, for
//! a copy that has to wait for another frame, to the target connection's deferred frames.
//!
//! # Who slows whom?
//! The primary leg (far end for the user's devices, originator for the far end) slows its source: reading
//! pauses. Where the originator is lost and the session goes on without it, the far end is answered here
//! ([`intercept`]); when it is back, it gets what it missed first ([`deliver`]). Every other leg gets copies; when its queue passes its bound, the leg is closed. A device's leg that
//! is not up yet gets its copies when it is ([`late`]). A source that leaves its frame half sent does not keep
//! a shared connection from others ([`stuck`]).

mod accept;
mod arena;
mod binding;
mod command;
mod connection;
mod deliver;
mod fast;
mod frame;
mod half;
mod intercept;
mod interrupt;
mod late;
mod leg;
mod live;
mod outbox;
mod receive;
mod record;
mod release;
mod response;
mod route;
mod stuck;
mod timers;

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
    net::SocketAddr,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use self::{arena::Arena, connection::Connection, leg::Leg, leg::Stream};
pub use self::{
    arena::Id,
    fast::{BLOCK_MAX, Carried, LONG_MAX, LegPath, MESSAGE_MAX, Plan, PlannedLeg, Why},
    outbox::Outbox,
    record::Noted,
};
use super::{
    entropy::Entropy,
    event::{LegCounters, LegKey, LegRole, MediaEvent, StreamKey},
    time::Time,
};

/// A connection, as long as it lives.
pub type ConnId = Id<Connection>;
/// A leg, as long as it lives.
pub type LegId = Id<Leg>;
/// A stream, as long as it lives.
pub type StreamId = Id<Stream>;

/// Bounds and timers. Octets unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Queue of a primary leg's connection above which its source is no longer read.
    pub high_water: usize,
    /// Queue at which the source is read again.
    pub low_water: usize,
    /// Queue of any other leg's connection above which the leg is closed as slow (MED-26).
    pub device_queue: usize,
    /// What is kept of a stream for devices whose legs are not up yet; the oldest messages go when it is more.
    /// 0: nothing is kept.
    pub device_backlog: usize,
    /// Frames that are kept of a stream.
    pub device_backlog_frames: usize,
    /// How long the primary may take to answer before the sender gets 408: below the sender's own 30 s
    /// (RFC 4975 section 7.1.1).
    pub guard: Duration,
    /// How long a frame may keep others from the connection it is written to without getting on: after that it is
    /// abandoned, and its sender gets 408. Where nobody waits, [`Limits::guard`] holds.
    pub stuck: Duration,
    /// How long a device may take to answer, and a connection to come, before the leg is closed as silent.
    pub silent: Duration,
    /// How long a connection may write nothing of what is queued before its legs are closed.
    pub stalled: Duration,
    /// How long an accepted connection may live without naming a session.
    pub unbound: Duration,
    /// How long connecting may take.
    pub connect: Duration,
    /// How long the rest of a chunked message is waited for (RFC 7701 section 6.1).
    pub chunks: Duration,
    /// Open transactions per connection.
    pub transactions: usize,
    /// Chunked messages followed per stream; beyond that the oldest gets no more copies.
    pub chunked_messages: usize,
    /// Octets of one recorded message that are held until the rest has come; of a longer one, parts go to the store
    /// before.
    pub recorded_octets: u64,
    /// Legs that share one of our connections to the same host and port (MED-11).
    pub reuse_connections: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            high_water: 256 * 1024,
            low_water: 64 * 1024,
            device_queue: 1024 * 1024,
            device_backlog: 1024 * 1024,
            device_backlog_frames: 4096,
            guard: Duration::from_secs(25),
            stuck: Duration::from_secs(5),
            silent: Duration::from_secs(30),
            stalled: Duration::from_secs(60),
            unbound: Duration::from_secs(10),
            connect: Duration::from_secs(10),
            chunks: Duration::from_secs(540),
            transactions: 16 * 1024,
            chunked_messages: 64,
            recorded_octets: 1024 * 1024,
            reuse_connections: true,
        }
    }
}

/// What the shell shall do, in order.
#[derive(Debug)]
pub enum Action {
    /// Close the connection once its outbox is written; nothing more is read from it. The id is gone.
    Close {
        /// Which.
        conn: ConnId,
        /// What remains to be written.
        rest: Vec<u8>,
    },
    /// Open a TCP connection; report with [`Switch::connected`] or [`Switch::closed`].
    Connect {
        /// Its id.
        conn: ConnId,
        /// `host:port`.
        to: String,
        /// Address and port of the leg's own path: the source to use if that can be had.
        from: Option<SocketAddr>,
    },
    /// Tell the core.
    Event(MediaEvent),
}

/// How far a leg is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LegState {
    /// We are connecting.
    Connecting,
    /// Our path is given out; the peer's side is not known.
    Opened,
    /// It has a bound connection.
    Up,
    /// The peer shall connect.
    Waiting,
}

/// One leg, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegSnapshot {
    /// Its name.
    pub leg: LegKey,
    /// Its stream.
    pub stream: StreamKey,
    /// Whose it is.
    pub role: LegRole,
    /// How far it is.
    pub state: LegState,
    /// What it has carried.
    pub counters: LegCounters,
    /// Octets that wait to be written to its connection.
    pub queued: u64,
    /// Remote address of its connection.
    pub peer: Option<SocketAddr>,
    /// Our path URI.
    pub local: String,
    /// Its connection, as long as it has one.
    #[serde(skip)]
    pub conn: Option<ConnId>,
    /// What the kernel carried of that.
    pub kernel: KernelCounters,
    /// How the kernel carries it, where there is an in-kernel path.
    pub path: Option<LegPath>,
    /// Is what is said on its stream recorded?
    pub recorded: bool,
}

/// SENDs of a leg that the kernel programs carried; they are in its [`LegCounters`] as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelCounters {
    /// Received from the peer.
    pub sends_in: u64,
    /// Sent to the peer.
    pub sends_out: u64,
    /// Of a device: answers to these.
    pub answers: u64,
}

/// Session-ids are our own random text: a quick hash needs no key.
type SessionMap<V> = HashMap<Box<[u8]>, V, BuildHasherDefault<QuickHasher>>;

/// FNV-1a by words.
#[derive(Default)]
struct QuickHasher(u64);

impl Hasher for QuickHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, octets: &[u8]) {
        for chunk in octets.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = (self.0.rotate_left(23) ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
    }
}

/// All streams of one worker with their legs and connections.
pub struct Switch {
    limits: Limits,
    entropy: Box<dyn Entropy>,
    conns: Arena<Connection>,
    legs: Arena<Leg>,
    streams: Arena<Stream>,
    leg_keys: HashMap<LegKey, LegId>,
    stream_keys: HashMap<StreamKey, StreamId>,
    sessions: SessionMap<LegId>,
    actions: VecDeque<Action>,
    /// Connections with something to write.
    dirty: Vec<ConnId>,
    /// Connections with something to write that still stands in the input.
    borrowing: Vec<ConnId>,
    /// Connections whose reading may go on.
    ready: VecDeque<ConnId>,
    /// Legs found too slow while a piece was handed out.
    slow: Vec<LegId>,
    /// Room for the legs that get a copy of a frame.
    copies: Vec<LegId>,
    /// Room for the legs that would get one, and are not up yet.
    late: Vec<LegId>,
    /// Connections whose peers send nothing more, but still wait for answers.
    half: Vec<ConnId>,
    /// Legs that have come up, and may have something to catch up on.
    arrived: Vec<LegId>,
    /// Streams whose originator is back, and gets what it missed.
    delivering: Vec<StreamId>,
    /// What was recorded, and has not been taken yet.
    recorded: Vec<Noted>,
    /// What may have to be recorded.
    undecided: record::Undecided,
    /// Who waits for the store.
    hold: record::Hold,
    /// Empty output buffers.
    spare: Vec<Vec<u8>>,
    /// When something is to be looked at, if nothing else happens.
    alarm: Option<Time>,
    /// The last look at the timers.
    looked: Time,
    /// The time that was told last.
    now: Time,
    /// Kept where there is an in-kernel path.
    books: Option<fast::Books>,
}

impl Switch {
    /// A switch without streams.
    pub fn new(limits: Limits, entropy: Box<dyn Entropy>) -> Switch {
        Switch {
            limits,
            entropy,
            conns: Arena::default(),
            legs: Arena::default(),
            streams: Arena::default(),
            leg_keys: HashMap::new(),
            stream_keys: HashMap::new(),
            sessions: SessionMap::default(),
            actions: VecDeque::new(),
            dirty: Vec::new(),
            borrowing: Vec::new(),
            ready: VecDeque::new(),
            slow: Vec::new(),
            copies: Vec::new(),
            late: Vec::new(),
            half: Vec::new(),
            arrived: Vec::new(),
            delivering: Vec::new(),
            recorded: Vec::new(),
            undecided: record::Undecided::default(),
            hold: record::Hold::default(),
            spare: Vec::new(),
            alarm: None,
            looked: Time::ZERO,
            now: Time::ZERO,
            books: None,
        }
    }

    /// The next thing to do.
    pub fn action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// A connection that has something to write, once.
    pub fn take_dirty(&mut self) -> Option<ConnId> {
        let id = self.dirty.pop()?;
        if let Some(conn) = self.conns.get_mut(id) {
            conn.dirty = false;
        }
        Some(id)
    }

    /// Those that [`Switch::take_dirty`] is going to give.
    pub fn dirty(&self) -> &[ConnId] {
        &self.dirty
    }

    /// A connection whose outbox borrows from the input given last: write or [`Switch::settle`] it before that
    /// input goes.
    pub fn take_borrowing(&mut self) -> Option<ConnId> {
        self.borrowing.pop()
    }

    /// A connection that was paused and may be read again: give [`Switch::input`] what it left unconsumed.
    pub fn take_ready(&mut self) -> Option<ConnId> {
        self.ready.pop_front()
    }

    /// Is there something for [`Switch::take_ready`]?
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// May the connection be read?
    pub fn readable(&self, conn: ConnId) -> bool {
        self.conns.get(conn).is_some_and(|c| !c.paused)
    }

    /// What waits to be written.
    pub fn outbox(&self, conn: ConnId) -> Option<&Outbox> {
        self.conns.get(conn).map(|c| &c.outbox)
    }

    /// Connections, bound and unbound.
    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    /// Does any leg use this connection?
    pub fn is_bound(&self, conn: ConnId) -> bool {
        self.conns.get(conn).is_some_and(|c| !c.legs.is_empty())
    }

    /// All legs, in order of place.
    pub fn snapshot(&self) -> Vec<LegSnapshot> {
        let one = |leg: &Leg| {
            let conn = leg.conn.and_then(|id| self.conns.get(id));
            LegSnapshot {
                leg: leg.key,
                stream: leg.stream_key,
                role: leg.role,
                state: leg.state(conn),
                counters: leg.counters,
                queued: conn.map_or(0, |c| c.queued() as u64),
                peer: conn.and_then(|c| c.peer),
                local: leg.local.clone(),
                conn: leg.conn,
                kernel: leg.kernel,
                path: None,
                recorded: self.is_recorded(leg.stream) && !self.undecided.has(leg.stream_key),
            }
        };
        self.legs.iter().map(|(_, leg)| one(leg)).collect()
    }

    /// A transaction id of our own: 70 random bits behind a prefix.
    fn transaction(&mut self) -> pf_common::msrp::Ident {
        let token = self.entropy.token(14);
        // 16 letters and digits are an ident.
        let text = format!("pf{token}");
        pf_common::msrp::Ident::parse(text.as_bytes()).unwrap_or_else(|| unreachable!("{text} is an ident"))
    }

    fn alarm_at(&mut self, at: Time) {
        self.alarm = Some(self.alarm.map_or(at, |alarm| alarm.min(at)));
    }
}
