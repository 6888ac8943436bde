//! What the SIP shell is told at its start.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::core::event::Transport;

/// Where to listen, how to name ourselves, and the bounds of everything that could grow.
#[derive(Clone, Debug)]
pub struct SipConfig {
    /// Sockets to bind; port 0 takes a free one. A wildcard address listens on all addresses of its family.
    pub listen: Vec<(Transport, SocketAddr)>,
    /// Host for our Via instead of the local address that fits the destination.
    pub advertise: Option<String>,
    /// Value of Server in the answers that the shell makes by itself.
    pub product: String,
    /// Round-trip estimate T1 (RFC 3261 section 17.1.1.1).
    pub t1: Duration,
    /// Longest interval T2 between retransmissions of responses and non-INVITE requests.
    pub t2: Duration,
    /// How long T4 a message may live in the network.
    pub t4: Duration,
    /// An INVITE without a response gets its 100 after this (RFC 3261 section 17.2.1).
    pub trying_after: Duration,
    /// An INVITE with provisional responses but no final one is given up after this.
    pub invite_timeout: Duration,
    /// Requests above this size go over TCP where the peer takes it (RFC 3261 section 18.1.1), in octets.
    /// `None`: never.
    pub udp_mtu: Option<usize>,
    /// Size asked for the receive and send buffers of UDP sockets, in octets.
    pub udp_buffer: usize,
    /// Server and client transactions at once; above: 503 with Retry-After.
    pub max_transactions: usize,
    /// Server transactions at once of one source address that is not in `trusted`; above: 503 with Retry-After.
    pub max_transactions_per_source: usize,
    /// Addresses of known nodes: without that bound, and with all the repetitions of RFC 3261 over UDP.
    pub trusted: Vec<IpAddr>,
    /// Events that wait for the core; above: 503 on UDP, no reading on streams.
    pub max_events: usize,
    /// Stream connections at once; above: closed on accept.
    pub max_connections: usize,
    /// Stream connections at once from one address.
    pub max_connections_per_peer: usize,
    /// Messages that may wait to be written to one connection; above: it is closed.
    pub connection_queue: usize,
    /// Octets that may wait to be written to one connection; above: it is closed.
    pub connection_queue_octets: usize,
    /// A connection that takes no octet for this long is closed.
    pub write_timeout: Duration,
    /// A message that has begun must be complete after this.
    pub message_timeout: Duration,
    /// A connection without any traffic is closed after this.
    pub idle_timeout: Duration,
    /// Opening a connection may take this long.
    pub connect_timeout: Duration,
}

impl Default for SipConfig {
    fn default() -> SipConfig {
        SipConfig {
            listen: Vec::new(),
            advertise: None,
            product: concat!("CPM-serv/OMA2.2 pf/", env!("CARGO_PKG_VERSION")).to_owned(),
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            trying_after: Duration::from_millis(200),
            invite_timeout: Duration::from_secs(600),
            udp_mtu: Some(1300),
            udp_buffer: 8 << 20,
            max_transactions: 400_000,
            max_transactions_per_source: 100_000,
            trusted: Vec::new(),
            max_events: 8192,
            max_connections: 20_000,
            max_connections_per_peer: 4096,
            connection_queue: 1024,
            connection_queue_octets: 4 << 20,
            write_timeout: Duration::from_secs(5),
            message_timeout: Duration::from_secs(32),
            idle_timeout: Duration::from_secs(3600),
            connect_timeout: Duration::from_secs(4),
        }
    }
}

/// The SIP shell could not start.
#[derive(Debug, thiserror::Error)]
pub enum SipStartError {
    /// A socket could not be bound.
    #[error("cannot listen on {transport:?} {addr}: {source}")]
    Bind {
        /// Which protocol.
        transport: Transport,
        /// Which address.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is nothing to listen on.
    #[error("no SIP address to listen on")]
    Nothing,
    /// This protocol is not served yet.
    #[error("{0:?} is not supported for SIP")]
    Unsupported(Transport),
}
