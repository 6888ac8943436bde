//! A SIP user agent: its sockets, and what arrives there, sorted. All decisions are left to the test.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use tokio::sync::mpsc;

use super::{
    Message, ServerRequest, Start, Transport,
    client::Client,
    server::ServerState,
    transport::{Arrival, Wires},
};
use crate::{lock, net::Place, trace::Trace, wait};

/// T1 of RFC 3261.
pub(super) const T1: Duration = Duration::from_millis(500);
/// T2 of RFC 3261.
pub(super) const T2: Duration = Duration::from_secs(4);
/// Transactions end after this time.
pub(super) const T1_64: Duration = Duration::from_secs(32);

/// One actor's SIP side. Cheap to clone.
#[derive(Clone)]
pub struct Agent(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) wires: Arc<Wires>,
    pub(super) transport: Transport,
    pub(super) clients: Mutex<HashMap<(String, String), Client>>,
    pub(super) servers: Mutex<HashMap<(String, String), Arc<ServerState>>>,
    pub(crate) dialogs: Mutex<HashMap<(String, String), mpsc::UnboundedSender<ServerRequest>>>,
    pub(super) acks: Mutex<HashMap<AckKey, (Message, Transport, SocketAddr)>>,
    pub(super) waiting_acks: Mutex<HashMap<AckKey, Arc<ServerState>>>,
    requests: tokio::sync::Mutex<mpsc::UnboundedReceiver<ServerRequest>>,
    violations: Mutex<Vec<String>>,
}

/// Call-ID, CSeq number and To tag of a 2xx.
pub(super) type AckKey = (String, u32, String);

impl Agent {
    /// Binds UDP and TCP on one port of `place` (0: the system chooses) and starts to listen. `transport` is the
    /// one for requests of its own.
    pub fn start(name: &str, place: &Place, port: u16, transport: Transport, trace: &Trace) -> Result<Agent> {
        let (wires, arrivals) = Wires::open(name, place, port, trace)?;
        let (sender, requests) = mpsc::unbounded_channel();
        let inner = Arc::new(Inner {
            wires,
            transport,
            clients: Mutex::default(),
            servers: Mutex::default(),
            dialogs: Mutex::default(),
            acks: Mutex::default(),
            waiting_acks: Mutex::default(),
            requests: tokio::sync::Mutex::new(requests),
            violations: Mutex::default(),
        });
        tokio::spawn(receive(Arc::downgrade(&inner), arrivals, sender));
        Ok(Agent(inner))
    }

    /// The address of its sockets, UDP and TCP alike.
    pub fn local(&self) -> SocketAddr {
        self.0.wires.local
    }

    /// The transport of its own requests.
    pub fn transport(&self) -> Transport {
        self.0.transport
    }

    /// Its Contact URI.
    pub fn contact_uri(&self, user: &str) -> String {
        format!("sip:{user}@{}{}", self.local(), self.0.transport.parameter())
    }

    /// From now on, of a thousand of its datagrams in each direction `per_mille` are lost, chosen by this seed.
    pub fn lose(&self, per_mille: u32, seed: u64) {
        self.0.wires.lose(per_mille, seed);
    }

    /// Datagrams lost so far.
    pub fn lost(&self) -> u64 {
        self.0.wires.lost()
    }

    /// Datagrams that it has sent and received so far.
    pub fn datagrams(&self) -> u64 {
        self.0.wires.datagrams()
    }

    /// Closes its TCP connections.
    pub fn close_connections(&self) {
        self.0.wires.close_connections();
    }

    /// Sends a message as it is, outside any transaction.
    pub async fn send_raw(&self, message: &Message, to: SocketAddr) -> Result<()> {
        self.0.wires.send(message, self.0.transport, to).await
    }

    /// The next request outside any dialog.
    pub async fn next_request(&self, limit: Duration) -> Result<ServerRequest> {
        let name = &self.0.wires.name;
        let next = async { self.0.requests.lock().await.recv().await.context("the agent ended") };
        wait::within(limit, &format!("{name}: a request"), next).await
    }

    /// Asserts that no request outside a dialog comes within `limit`.
    pub async fn no_request(&self, limit: Duration) -> Result<()> {
        let next = async { self.0.requests.lock().await.recv().await.map(|r| r.message.summary()) };
        match tokio::time::timeout(limit, next).await {
            Ok(Some(what)) => Err(anyhow!("{} got {what}, and must not", self.0.wires.name)),
            _ => Ok(()),
        }
    }

    /// What its peers did against RFC 3261, as far as seen.
    pub fn violations(&self) -> Vec<String> {
        lock(&self.0.violations).clone()
    }
}

async fn receive(
    agent: Weak<Inner>,
    mut arrivals: mpsc::UnboundedReceiver<Arrival>,
    requests: mpsc::UnboundedSender<ServerRequest>,
) {
    while let Some((message, peer)) = arrivals.recv().await {
        let Some(agent) = agent.upgrade() else { return };
        match message {
            Err(error) => lock(&agent.violations).push(format!("from {}: {error:#}", peer.addr)),
            Ok(message) => {
                let outcome = match message.start {
                    Start::Request { .. } => agent.on_request(message, peer, &requests).await,
                    Start::Response { .. } => agent.on_response(message).await,
                };
                if let Err(error) = outcome {
                    lock(&agent.violations).push(format!("{error:#}"));
                }
            }
        }
    }
}
