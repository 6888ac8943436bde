//! Sockets: which there are, which fits a destination, and how octets leave through them.

pub(crate) mod local;
pub(crate) mod resolve;
pub(crate) mod stream;
pub(crate) mod udp;

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::mpsc,
};

use self::{
    local::LocalAddresses,
    stream::{Flow, Queue, Refused},
};
use super::{
    config::{SipConfig, SipStartError},
    engine::{Network, Opened, Route, Way},
    stats::Counters,
};
use crate::core::event::{FlowId, Transport};

/// How long a peer that refused TCP is not asked again for the sake of a large request.
const NO_TCP: Duration = Duration::from_secs(60);
/// How many such peers are remembered.
const MAX_NO_TCP: usize = 4096;

/// A UDP socket of ours.
#[derive(Debug)]
pub(crate) struct UdpPort {
    pub(crate) socket: UdpSocket,
    pub(crate) bound: SocketAddr,
}

/// A connection to be opened.
#[derive(Debug)]
pub(crate) struct Dial {
    pub(crate) flow: Arc<Flow>,
    pub(crate) queue: Queue,
    /// The listener that this connection belongs to.
    pub(crate) from: SocketAddr,
}

/// All sockets.
#[derive(Debug)]
pub(crate) struct Transports {
    config: Arc<SipConfig>,
    pub(crate) udp: Vec<UdpPort>,
    /// Addresses of the TCP listeners.
    pub(crate) tcp: Vec<SocketAddr>,
    flows: Mutex<Flows>,
    next: AtomicU64,
    pub(crate) local: LocalAddresses,
    no_tcp: Mutex<HashMap<SocketAddr, Instant>>,
    dial: mpsc::UnboundedSender<Dial>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Flows {
    by_id: HashMap<FlowId, Arc<Flow>>,
    by_remote: HashMap<SocketAddr, FlowId>,
    per_peer: HashMap<IpAddr, usize>,
}

impl Transports {
    /// Binds everything that `config` lists.
    pub(crate) fn bind(
        config: Arc<SipConfig>,
        dial: mpsc::UnboundedSender<Dial>,
        counters: Arc<Counters>,
    ) -> Result<(Transports, Vec<TcpListener>), SipStartError> {
        let (mut udp, mut tcp, mut listeners) = (Vec::new(), Vec::new(), Vec::new());
        for &(transport, addr) in &config.listen {
            let failed = |source: io::Error| SipStartError::Bind { transport, addr, source };
            match transport {
                Transport::Udp => {
                    let socket = udp::bind(addr, config.udp_buffer).map_err(failed)?;
                    let bound = socket.local_addr().map_err(failed)?;
                    udp.push(UdpPort { socket, bound });
                }
                Transport::Tcp => {
                    let listener = stream::listen(addr).map_err(failed)?;
                    tcp.push(listener.local_addr().map_err(failed)?);
                    listeners.push(listener);
                }
                Transport::Tls => return Err(SipStartError::Unsupported(transport)),
            }
        }
        if udp.is_empty() && tcp.is_empty() {
            return Err(SipStartError::Nothing);
        }
        let transports = Transports {
            config,
            udp,
            tcp,
            flows: Mutex::default(),
            next: AtomicU64::new(1),
            local: LocalAddresses::default(),
            no_tcp: Mutex::default(),
            dial,
            counters,
        };
        Ok((transports, listeners))
    }

    /// Everything bound.
    pub(crate) fn bound(&self) -> Vec<(Transport, SocketAddr)> {
        let udp = self.udp.iter().map(|port| (Transport::Udp, port.bound));
        udp.chain(self.tcp.iter().map(|addr| (Transport::Tcp, *addr))).collect()
    }

    /// Is there a socket for this kind of destination?
    pub(crate) fn serves(&self, transport: Transport, to: IpAddr) -> bool {
        match transport {
            Transport::Udp => self.udp.iter().any(|port| port.bound.is_ipv4() == to.is_ipv4()),
            Transport::Tcp => self.tcp.iter().any(|addr| addr.is_ipv4() == to.is_ipv4()),
            Transport::Tls => false,
        }
    }

    /// The address of ours that a datagram from `source` arrived at: for a socket bound to a wildcard, the one
    /// that the system would answer from.
    pub(crate) fn local_of(&self, bound: SocketAddr, source: IpAddr) -> SocketAddr {
        match bound.ip().is_unspecified() {
            true => SocketAddr::new(self.local.towards(source).unwrap_or(source), bound.port()),
            false => bound,
        }
    }

    /// Takes in a connection; `None` where there are too many.
    pub(crate) fn admit(&self, transport: Transport, remote: SocketAddr) -> Option<(Arc<Flow>, Queue)> {
        let mut flows = self.flows();
        let here = flows.per_peer.get(&remote.ip()).copied().unwrap_or(0);
        if flows.by_id.len() >= self.config.max_connections || here >= self.config.max_connections_per_peer {
            self.counters.connections_refused.add();
            return None;
        }
        let id = FlowId(self.next.fetch_add(1, Relaxed));
        let (messages, octets) = (self.config.connection_queue, self.config.connection_queue_octets);
        let (flow, queue) = Flow::new(id, transport, remote, messages, octets);
        let flow = Arc::new(flow);
        flows.by_id.insert(id, flow.clone());
        flows.by_remote.insert(remote, id);
        *flows.per_peer.entry(remote.ip()).or_default() += 1;
        Some((flow, queue))
    }

    /// Forgets a connection.
    pub(crate) fn remove(&self, flow: &Flow) {
        let mut flows = self.flows();
        if flows.by_id.remove(&flow.id).is_none() {
            return;
        }
        if flows.by_remote.get(&flow.remote) == Some(&flow.id) {
            flows.by_remote.remove(&flow.remote);
        }
        let ip = flow.remote.ip();
        if let Some(count) = flows.per_peer.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                flows.per_peer.remove(&ip);
            }
        }
    }

    /// Does the connection live?
    pub(crate) fn is_alive(&self, flow: FlowId) -> bool {
        self.flows().by_id.contains_key(&flow)
    }

    /// Connections now.
    pub(crate) fn connections(&self) -> usize {
        self.flows().by_id.len()
    }

    /// Sends octets, or says why not. A datagram that the socket has no room for counts as lost on the way.
    pub(crate) fn send(&self, way: Way, octets: Bytes) -> Result<(), String> {
        match way {
            Way::Udp { socket, to } => {
                let Some(port) = self.udp.get(socket) else { return Err("no such socket".to_owned()) };
                match port.socket.try_send_to(&octets, to) {
                    Ok(_) => Ok(()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.counters.send_errors.add();
                        Ok(())
                    }
                    Err(error) => Err(format!("{to}: {error}")),
                }
            }
            Way::Flow { flow, back } => {
                let known = self.flows().by_id.get(&flow).cloned();
                let refused = match known {
                    Some(flow) => match flow.send(octets.clone()) {
                        Ok(()) => return Ok(()),
                        Err(Refused::Full) => {
                            self.counters.slow_peers.add();
                            flow.close.notify_one();
                            return Err(format!("{}: the peer does not read", flow.remote));
                        }
                        Err(Refused::Closed) => "connection closed",
                    },
                    None => "connection closed",
                };
                match back {
                    Some(back) => self.send(self.open(&Route::To(Transport::Tcp, back))?.way, octets),
                    None => Err(refused.to_owned()),
                }
            }
        }
    }

    /// A peer did not accept a TCP connection.
    pub(crate) fn refused_tcp(&self, peer: SocketAddr) {
        let mut peers = self.no_tcp.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= MAX_NO_TCP {
            peers.clear();
        }
        peers.insert(peer, Instant::now());
    }

    /// Is a large request worth an attempt over TCP?
    pub(crate) fn may_take_tcp(&self, peer: SocketAddr) -> bool {
        let peers = self.no_tcp.lock().unwrap_or_else(PoisonError::into_inner);
        self.serves(Transport::Tcp, peer.ip()) && peers.get(&peer).is_none_or(|at| at.elapsed() > NO_TCP)
    }

    fn flows(&self) -> MutexGuard<'_, Flows> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The socket of ours that fits best: the one bound to the address that the system would use, else a
    /// wildcard, else any of the same family.
    fn fitting(&self, bound: impl Iterator<Item = SocketAddr>, to: IpAddr) -> Option<(usize, SocketAddr)> {
        let local = self.local.towards(to);
        bound.enumerate().filter(|(_, addr)| addr.is_ipv4() == to.is_ipv4()).min_by_key(
            |(_, addr)| match addr.ip() {
                ip if Some(ip) == local => 0,
                ip if ip.is_unspecified() => 1,
                _ => 2,
            },
        )
    }

    /// Protocol and sent-by of our Via towards `to`.
    fn sent_by(&self, protocol: &str, bound: SocketAddr, to: IpAddr) -> String {
        let port = bound.port();
        match &self.config.advertise {
            Some(host) if host.parse::<std::net::Ipv6Addr>().is_ok() => {
                format!("SIP/2.0/{protocol} [{host}]:{port}")
            }
            Some(host) => format!("SIP/2.0/{protocol} {host}:{port}"),
            None => format!("SIP/2.0/{protocol} {}", self.local_of(bound, to)),
        }
    }
}

impl Network for Transports {
    fn open(&self, route: &Route) -> Result<Opened, String> {
        match *route {
            Route::Flow(id) => {
                let flow = self.flows().by_id.get(&id).cloned().ok_or("connection closed")?;
                let to = flow.remote.ip();
                let (_, bound) = self
                    .fitting(self.tcp.iter().copied(), to)
                    .ok_or("no TCP listener of this address family")?;
                let way = Way::Flow { flow: id, back: None };
                Ok(Opened { way, sent: self.sent_by("TCP", bound, to), fresh: false })
            }
            Route::To(Transport::Udp, to) => {
                let bound = self.udp.iter().map(|port| port.bound);
                let (socket, bound) =
                    self.fitting(bound, to.ip()).ok_or("no UDP socket of this address family")?;
                let way = Way::Udp { socket, to };
                Ok(Opened { way, sent: self.sent_by("UDP", bound, to.ip()), fresh: true })
            }
            Route::To(Transport::Tcp, to) => {
                let (_, from) = self
                    .fitting(self.tcp.iter().copied(), to.ip())
                    .ok_or("no TCP listener of this address family")?;
                let sent = self.sent_by("TCP", from, to.ip());
                if let Some(flow) = self.flows().by_remote.get(&to).copied() {
                    return Ok(Opened { way: Way::Flow { flow, back: None }, sent, fresh: false });
                }
                let (flow, queue) = self.admit(Transport::Tcp, to).ok_or("too many connections")?;
                let way = Way::Flow { flow: flow.id, back: None };
                self.dial.send(Dial { flow, queue, from }).map_err(|_| "shutting down")?;
                Ok(Opened { way, sent, fresh: true })
            }
            Route::To(Transport::Tls, _) => Err("TLS is not supported for SIP".to_owned()),
        }
    }
}
