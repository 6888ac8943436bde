//! What went over the wires, in order, for assertions and ladder diagrams.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::lock;

/// The protocol of a traced message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// MSRP (RFC 4975).
    Msrp,
    /// SIP (RFC 3261).
    Sip,
}

/// One message that an actor sent or received.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Time since the trace began.
    pub at: Duration,
    /// Which protocol.
    pub protocol: Protocol,
    /// Who sent it.
    pub from: String,
    /// Who received it.
    pub to: String,
    /// The actor that saw it.
    pub seen_by: String,
    /// One line for people.
    pub summary: String,
    /// The message as it was on the wire; for MSRP the head only.
    pub octets: Vec<u8>,
    /// Length of the whole message in octets.
    pub size: usize,
}

/// A shared record of messages. Cheap to clone.
#[derive(Clone)]
pub struct Trace(Arc<Shared>);

struct Shared {
    start: Instant,
    msrp_limit: usize,
    state: Mutex<State>,
    /// Directory for a ladder diagram at the end, and the name of the test.
    ladder: Option<(PathBuf, String)>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let Some((directory, test)) = self.ladder.take() else { return };
        let state = std::mem::take(&mut *lock(&self.state));
        crate::ladder::keep(&directory, &test, state.once());
    }
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    msrp: BTreeMap<String, usize>,
    skipped: BTreeMap<String, usize>,
    hosts: BTreeMap<IpAddr, String>,
    sockets: BTreeMap<SocketAddr, String>,
    actors: BTreeSet<String>,
}

impl State {
    /// Every message once.
    fn once(&self) -> Vec<Entry> {
        let once = |entry: &&Entry| entry.seen_by == entry.from || !self.actors.contains(&entry.from);
        self.entries.iter().filter(once).cloned().collect()
    }
}

impl Default for Trace {
    fn default() -> Trace {
        Trace::new(10_000)
    }
}

impl Trace {
    /// A trace that keeps all SIP and the first `msrp_limit` MSRP messages of each actor. With `PF_LADDER` set to a
    /// directory, its ladder diagram is written there when it is dropped, named after the test.
    pub fn new(msrp_limit: usize) -> Trace {
        let ladder = std::env::var_os("PF_LADDER").map(|directory| {
            let thread = std::thread::current();
            (PathBuf::from(directory), thread.name().unwrap_or("test").to_owned())
        });
        Trace(Arc::new(Shared { start: Instant::now(), msrp_limit, state: Mutex::default(), ladder }))
    }

    /// Names the host `ip`.
    pub fn name_host(&self, ip: IpAddr, name: &str) {
        lock(&self.0.state).hosts.insert(ip, name.to_owned());
    }

    /// Names one socket address: stronger than its host's name.
    pub fn name_socket(&self, address: SocketAddr, name: &str) {
        lock(&self.0.state).sockets.insert(address, name.to_owned());
    }

    /// Records what `actor` sent to `peer`.
    pub fn sent(
        &self,
        protocol: Protocol,
        actor: &str,
        peer: SocketAddr,
        summary: String,
        head: &[u8],
        size: usize,
    ) {
        self.record(protocol, actor, peer, true, summary, head, size);
    }

    /// Records what `actor` received from `peer`.
    pub fn received(
        &self,
        protocol: Protocol,
        actor: &str,
        peer: SocketAddr,
        summary: String,
        head: &[u8],
        size: usize,
    ) {
        self.record(protocol, actor, peer, false, summary, head, size);
    }

    #[allow(clippy::too_many_arguments, reason = "one private funnel of two public doors")]
    fn record(
        &self,
        protocol: Protocol,
        actor: &str,
        peer: SocketAddr,
        sent: bool,
        summary: String,
        head: &[u8],
        size: usize,
    ) {
        let mut state = lock(&self.0.state);
        state.actors.insert(actor.to_owned());
        if protocol == Protocol::Msrp {
            let count = state.msrp.entry(actor.to_owned()).or_default();
            *count += 1;
            if *count > self.0.msrp_limit {
                *state.skipped.entry(actor.to_owned()).or_default() += 1;
                return;
            }
        }
        let other = state
            .sockets
            .get(&peer)
            .or_else(|| state.hosts.get(&peer.ip()))
            .cloned()
            .unwrap_or_else(|| peer.to_string());
        let (from, to) = if sent { (actor.to_owned(), other) } else { (other, actor.to_owned()) };
        state.entries.push(Entry {
            at: self.0.start.elapsed(),
            protocol,
            from,
            to,
            seen_by: actor.to_owned(),
            summary,
            octets: head.to_vec(),
            size,
        });
    }

    /// All entries so far; a message seen by its sender and by its receiver appears once, as the sender saw it.
    pub fn entries(&self) -> Vec<Entry> {
        lock(&self.0.state).once()
    }

    /// MSRP messages per actor that were counted but not kept.
    pub fn skipped(&self) -> Vec<(String, usize)> {
        lock(&self.0.state).skipped.iter().map(|(name, count)| (name.clone(), *count)).collect()
    }

    /// The SIP messages between `from` and `to` whose summary contains `what`.
    pub fn sip(&self, from: &str, to: &str, what: &str) -> Vec<Entry> {
        self.entries()
            .into_iter()
            .filter(|e| {
                e.protocol == Protocol::Sip && e.from == from && e.to == to && e.summary.contains(what)
            })
            .collect()
    }
}
