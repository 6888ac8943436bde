//! Transactions (RFC 3261 section 17, RFC 6026), sans-IO: messages, commands and time in; octets and events out.
//!
//! The layer is our own. `rsipstack` was tried first; it never acknowledges a repeated 3xx, 5xx or 6xx when the
//! Request-URI is not the next hop, reports its own time-outs as responses of the peer, and would hold a second
//! copy of each message, for its own changes names and escapes.
//!
//! All of it is one value behind one lock. Whoever calls it takes the output under that lock (events keep
//! their order) and sends the octets after it.

mod ack;
mod cancel;
mod client;
mod forward;
mod server;
mod timers;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

pub(crate) use self::forward::Forwarded;
use self::{
    ack::AckKey,
    client::{Client, ClientId},
    server::{Server, ServerKey},
    timers::{Owner, Timers},
};
use super::{stats::Counters, write};
use crate::core::{
    event::{ClientTx, FlowId, ServerTx, SipEvent, Transport},
    sip::{Headers, NameAddr, Response},
};

/// How octets leave: over a connection, or from one of our UDP sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Over this connection; where it is gone, over a new one to `back` (RFC 3261 section 18.2.2).
    Flow {
        /// Which.
        flow: FlowId,
        /// Where a response goes if the connection is gone.
        back: Option<SocketAddr>,
    },
    /// A datagram.
    Udp {
        /// Index of our socket.
        socket: usize,
        /// The peer.
        to: SocketAddr,
    },
}

impl Way {
    /// Does the transport retransmit by itself?
    fn is_reliable(&self) -> bool {
        matches!(self, Way::Flow { .. })
    }
}

/// One place where a request may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// A connection that lives, or lived a moment ago.
    Flow(FlowId),
    /// An address, with a new connection where there is none yet.
    To(Transport, SocketAddr),
}

/// A route made ready.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    /// How to send.
    pub(crate) way: Way,
    /// Protocol and sent-by of our Via: `SIP/2.0/TCP 10.0.0.1:5060`.
    pub(crate) sent: String,
    /// Was the connection opened for this?
    pub(crate) fresh: bool,
}

/// The sockets, as the engine sees them. Nothing here waits: a connection may still be opening, and its
/// failure is reported by [`Engine::flow_failed`].
pub(crate) trait Network: Send + Sync {
    /// Makes a route ready, or says why it cannot be used.
    fn open(&self, route: &Route) -> Result<Opened, String>;
}

/// Octets to send.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// How.
    pub(crate) way: Way,
    /// What.
    pub(crate) octets: Bytes,
    /// The client transaction that wants to know of a failure.
    pub(crate) owner: Option<ClientId>,
}

/// What the engine is told at its start.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) t1: Duration,
    pub(crate) t2: Duration,
    pub(crate) t4: Duration,
    pub(crate) trying_after: Duration,
    pub(crate) invite_timeout: Duration,
    pub(crate) max_transactions: usize,
    pub(crate) max_transactions_per_source: usize,
    pub(crate) trusted: Vec<IpAddr>,
    pub(crate) product: String,
}

impl Settings {
    /// 64*T1: how long anything is waited for.
    fn t64(&self) -> Duration {
        self.t1 * 64
    }
}

/// All transactions.
pub(crate) struct Engine {
    settings: Settings,
    network: Arc<dyn Network>,
    counters: Arc<Counters>,
    servers: HashMap<ServerTx, Server>,
    server_keys: HashMap<ServerKey, ServerTx>,
    /// How many server transactions each source has that is not trusted.
    per_source: HashMap<IpAddr, usize>,
    /// Requests outside dialogs, to tell merged ones (RFC 3261 section 8.2.2.2).
    merge_keys: HashMap<Box<str>, ServerTx>,
    acks: HashMap<AckKey, ServerTx>,
    clients: HashMap<ClientId, Client>,
    client_txs: HashMap<ClientTx, ClientId>,
    /// By our branch; true: the CANCEL, which shares its INVITE's branch.
    branches: HashMap<(Box<str>, bool), ClientId>,
    /// Client transactions that wait on a connection.
    on_flow: BTreeMap<FlowId, Vec<ClientId>>,
    timers: Timers,
    random: Random,
    /// Tag of the answers that belong to no transaction.
    stateless_tag: String,
    next: u64,
    outgoing: Vec<Outgoing>,
    events: Vec<SipEvent>,
}

impl Engine {
    pub(crate) fn new(settings: Settings, network: Arc<dyn Network>, counters: Arc<Counters>) -> Engine {
        let mut random = Random::default();
        let stateless_tag = random.hex(8);
        Engine {
            settings,
            network,
            counters,
            servers: HashMap::new(),
            server_keys: HashMap::new(),
            per_source: HashMap::new(),
            merge_keys: HashMap::new(),
            acks: HashMap::new(),
            clients: HashMap::new(),
            client_txs: HashMap::new(),
            branches: HashMap::new(),
            on_flow: BTreeMap::new(),
            timers: Timers::default(),
            random,
            stateless_tag,
            next: 0,
            outgoing: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Takes what is to be sent and reported, in order.
    pub(crate) fn take(&mut self) -> (Vec<Outgoing>, Vec<SipEvent>) {
        (std::mem::take(&mut self.outgoing), std::mem::take(&mut self.events))
    }

    /// When [`Engine::tick`] wants to be called next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timers.first()
    }

    /// Server and client transactions now.
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.servers.len(), self.clients.len())
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Instant) {
        while let Some(owner) = self.timers.pop(now) {
            match owner {
                Owner::Server(tx) => self.server_timer(now, tx),
                Owner::Client(id) => self.client_timer(now, id),
            }
        }
    }

    /// A connection is gone: what waits on it is told or moves on. `reported`: the core may know it.
    pub(crate) fn flow_failed(&mut self, now: Instant, flow: FlowId, reason: &str, reported: bool) {
        for id in self.on_flow.remove(&flow).unwrap_or_default() {
            self.send_failed(now, id, reason);
        }
        if reported {
            self.events.push(SipEvent::FlowClosed { flow });
        }
    }

    /// Completes an answer that belongs to no transaction. Its Via, From, To, Call-ID and CSeq are there already.
    pub(crate) fn stateless(&self, mut response: Response) -> Bytes {
        if let Some(to) = response.headers.0.iter_mut().find(|h| h.is("To")) {
            let tagged = NameAddr::parse(&to.value).is_ok_and(|to| to.param("tag").is_some());
            if !tagged {
                to.value = format!("{};tag={}", to.value, self.stateless_tag);
            }
        }
        if !response.headers.has("Server") {
            response.headers.push("Server", self.settings.product.clone());
        }
        write::response(&response)
    }

    fn send(&mut self, way: Way, octets: Bytes, owner: Option<ClientId>) {
        self.counters.messages_out.add();
        self.outgoing.push(Outgoing { way, octets, owner });
    }

    fn send_again(&mut self, way: Way, octets: Bytes, owner: Option<ClientId>) {
        self.counters.retransmissions_out.add();
        self.send(way, octets, owner);
    }

    fn len_all(&self) -> usize {
        self.servers.len() + self.clients.len()
    }
}

/// The header fields that a response takes from its request.
fn stamp(headers: &Headers) -> Headers {
    let mut stamp = Headers::default();
    for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
        stamp.copy(headers, name);
    }
    stamp
}

fn tag_of(value: Option<&str>) -> Box<str> {
    value
        .and_then(|v| NameAddr::parse(v).ok())
        .and_then(|v| v.param("tag").map(Box::from))
        .unwrap_or_default()
}

/// Unguessable names, fetched from the system in bulk.
#[derive(Default)]
struct Random {
    pool: Vec<u8>,
}

impl Random {
    fn hex(&mut self, octets: usize) -> String {
        if self.pool.len() < octets {
            self.pool.resize(4096, 0);
            if getrandom::fill(&mut self.pool).is_err() {
                // Names stay unique by the counter that is part of them.
                tracing::error!("the system gives no random numbers");
            }
        }
        let at = self.pool.len() - octets;
        self.pool.drain(at..).fold(String::with_capacity(octets * 2), |mut hex, octet| {
            for half in [octet >> 4, octet & 15] {
                hex.push(char::from(b"0123456789abcdef"[usize::from(half)]));
            }
            hex
        })
    }
}
