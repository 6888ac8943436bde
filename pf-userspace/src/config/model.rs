//! What the configuration file says, typed, with its defaults.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use pf_common::maps::DEFAULT_SOURCES;

use crate::{
    core::{config::DigestAlgorithm, event::Transport, policy::Policy},
    fastpath::Mode,
    msrp::Tunables,
};

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where `pf` keeps what must survive a restart.
    pub state_dir: PathBuf,
    /// Shall messages be forwarded inside the kernel?
    pub fast_path: FastPath,
    /// SIP addresses and peers.
    pub sip: Sip,
    /// MSRP addresses and bounds.
    pub msrp: Msrp,
    /// The guard of the MSRP ports.
    pub guard: Guard,
    /// Bounds of the fast path.
    pub datapath: Datapath,
    /// Users and domains of the embedded registrar.
    pub registrar: Registrar,
    /// Operator policy.
    pub policy: Policy,
    /// The message store.
    pub store: Store,
    /// The XDMS.
    pub xdms: Xdms,
    /// The admin socket.
    pub admin: Admin,
    /// Logging.
    pub log: Log,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            state_dir: PathBuf::from("/var/lib/pf"),
            fast_path: FastPath::default(),
            sip: Sip::default(),
            msrp: Msrp::default(),
            guard: Guard::default(),
            datapath: Datapath::default(),
            registrar: Registrar::default(),
            policy: Policy::default(),
            store: Store::default(),
            xdms: Xdms::default(),
            admin: Admin::default(),
            log: Log::default(),
        }
    }
}

/// Shall messages be forwarded inside the kernel?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FastPath {
    /// Where this build and this host can; else userspace, said in one line at the start.
    #[default]
    Auto,
    /// Never; nothing is said about it.
    Off,
    /// `pf` does not start without it.
    Required,
}

impl fmt::Display for FastPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FastPath::Auto => "auto",
            FastPath::Off => "off",
            FastPath::Required => "required",
        })
    }
}

/// `[sip]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sip {
    /// Addresses to listen on.
    pub listen: Vec<SipListen>,
    /// Host that peers shall use, where it is not the address listened on.
    pub advertise: Option<String>,
    /// Peers whose P-Asserted-Identity counts.
    pub trusted: Vec<IpAddr>,
    /// S-CSCFs whose third-party REGISTERs count.
    pub registrars: Vec<IpAddr>,
    /// Next hop towards the far end.
    pub core: Option<String>,
    /// The Interworking Selection Function.
    pub isf: Option<String>,
    /// Our own SIP URI.
    pub own_uri: Option<String>,
    /// Outside of the core's trust domain?
    pub outside_trust_domain: bool,
    /// User-Agent and Server.
    pub product: String,
    /// Stream connections at once.
    pub connections: u32,
    /// Stream connections at once from one address.
    pub connections_per_peer: u32,
    /// Transactions at once.
    pub transactions: u32,
    /// Server transactions at once of one source that is not trusted.
    pub transactions_per_source: Option<u32>,
    /// How long a stream connection may be idle.
    pub idle_seconds: u32,
}

impl Default for Sip {
    fn default() -> Sip {
        let local = |transport| SipListen { transport, addr: SocketAddr::from(([127, 0, 0, 1], 5060)) };
        Sip {
            listen: vec![local(Transport::Udp), local(Transport::Tcp)],
            advertise: None,
            trusted: Vec::new(),
            registrars: Vec::new(),
            core: None,
            isf: None,
            own_uri: None,
            outside_trust_domain: false,
            product: concat!("CPM-serv/OMA2.2 pf/", env!("CARGO_PKG_VERSION")).to_owned(),
            connections: 20_000,
            connections_per_peer: 4096,
            transactions: 400_000,
            transactions_per_source: None,
            idle_seconds: 3600,
        }
    }
}

/// One SIP address to listen on, written `udp:127.0.0.1:5060` or `tcp:[::1]:5060`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SipListen {
    /// Transport protocol.
    pub transport: Transport,
    /// Address and port; port 0 lets the system choose.
    pub addr: SocketAddr,
}

impl TryFrom<String> for SipListen {
    type Error = String;
    fn try_from(text: String) -> Result<SipListen, String> {
        let (transport, addr) = text.split_once(':').ok_or_else(|| format!("`{text}` names no transport"))?;
        let transport = match transport {
            "udp" => Transport::Udp,
            "tcp" => Transport::Tcp,
            "tls" => {
                return Err("`tls` is not in this build: SIP over TLS has to end in front of pf".to_owned());
            }
            other => return Err(format!("`{other}` is not a transport: udp or tcp")),
        };
        let addr = addr.parse().map_err(|_| format!("`{addr}` is not an IP address with a port"))?;
        Ok(SipListen { transport, addr })
    }
}

impl From<SipListen> for String {
    fn from(listen: SipListen) -> String {
        listen.to_string()
    }
}

impl fmt::Display for SipListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", transport_name(self.transport), self.addr)
    }
}

/// `udp`, `tcp` or `tls`.
pub fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Tls => "tls",
        Transport::Udp => "udp",
    }
}

/// `[msrp]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Msrp {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Address that peers shall use, where it is not the one listened on.
    pub advertise: Option<IpAddr>,
    /// Threads that carry messages.
    pub workers: u32,
    /// Connections of one worker at once.
    pub connections: u32,
    /// Of these, accepted ones that have named no session.
    pub unbound_connections: u32,
    /// Of these, ones from one address.
    pub unbound_connections_per_peer: u32,
    /// Octets that may wait for another device before its leg is closed.
    pub device_queue: u64,
    /// Octets of a session that are kept for devices that are not connected yet.
    pub device_backlog: u64,
    /// Octets that may wait for the far end or the originator before the sender is no longer read.
    pub queue: u64,
    /// How long the far end may take to answer a SEND.
    pub answer_seconds: u32,
    /// How long a device may take to answer a SEND, and a peer to connect.
    pub silent_seconds: u32,
    /// How long connecting may take.
    pub connect_seconds: u32,
    /// Several sessions towards one address share a connection.
    pub reuse_connections: bool,
    /// Connect from the port of the own path.
    pub connect_from_path_port: bool,
}

impl Default for Msrp {
    fn default() -> Msrp {
        Msrp {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 2855))],
            advertise: None,
            workers: 1,
            connections: 100_000,
            unbound_connections: 1024,
            unbound_connections_per_peer: 256,
            device_queue: 1 << 20,
            device_backlog: 1 << 20,
            queue: 256 << 10,
            answer_seconds: 25,
            silent_seconds: 30,
            connect_seconds: 10,
            reuse_connections: true,
            connect_from_path_port: true,
        }
    }
}

/// `[datapath]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Datapath {
    /// Connections at once that the fast path serves.
    pub connections: u32,
    /// Octets of the log between kernel and userspace.
    pub log: u32,
    /// Octets that one connection may have in the log or unacknowledged.
    pub log_per_connection: u32,
    /// Segments in flight on a leg.
    pub in_flight_segments: u32,
    /// The most copies of one message.
    pub fan_out: u32,
    /// Messages one by one that make a stream one for the fast path.
    pub single_messages: u32,
    /// Octets that make a spell in the fast path worth its while.
    pub backoff_octets: u32,
    /// Milliseconds of the first wait after a shorter one.
    pub backoff_ms: u32,
    /// Milliseconds of the longest wait.
    pub backoff_max_ms: u32,
    /// Does the kernel measure the time that its programs take?
    pub statistics: bool,
    /// Are the maps pinned?
    pub pin: bool,
    /// Where.
    pub pin_dir: PathBuf,
}

impl Default for Datapath {
    fn default() -> Datapath {
        let Tunables {
            in_flight_segments,
            fan_out,
            single_messages,
            backoff_octets,
            backoff_ms,
            backoff_max_ms,
        } = Tunables::default();
        Datapath {
            connections: 4096,
            log: 32 << 20,
            log_per_connection: 4 << 20,
            in_flight_segments,
            fan_out,
            single_messages,
            backoff_octets,
            backoff_ms,
            backoff_max_ms,
            statistics: false,
            pin: true,
            pin_dir: PathBuf::from("/sys/fs/bpf/pf"),
        }
    }
}

/// `[guard]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Guard {
    /// Interfaces to guard; none: no guard.
    pub interfaces: Vec<String>,
    /// Where the program runs.
    pub mode: Mode,
    /// New connections of one source in a second.
    pub connections_per_second: u32,
    /// Packets of one source in a second.
    pub packets_per_second: u32,
    /// Sources that are remembered.
    pub sources: u32,
}

impl Default for Guard {
    fn default() -> Guard {
        Guard {
            interfaces: Vec::new(),
            mode: Mode::default(),
            connections_per_second: 100,
            packets_per_second: 50_000,
            sources: DEFAULT_SOURCES,
        }
    }
}

/// `[registrar]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Registrar {
    /// Domains that are served.
    pub domains: Vec<String>,
    /// The users file.
    pub users: Option<PathBuf>,
    /// Algorithms of digest authentication, the best first.
    pub digest: Vec<DigestAlgorithm>,
}

impl Default for Registrar {
    fn default() -> Registrar {
        Registrar { domains: Vec::new(), users: None, digest: DigestAlgorithm::ALL.to_vec() }
    }
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// What keeps the objects.
    pub kind: StoreKind,
    /// The journal file; absent: in `state_dir`.
    pub path: Option<PathBuf>,
    /// Octets that the journal may grow to.
    pub max_octets: u64,
    /// How long a session waits for it.
    pub wait_seconds: u32,
    /// Octets of messages for a lost client that are held at once.
    pub held_octets: u64,
    /// Octets of such messages of one session that wait for the client's return.
    pub deferred_octets: u64,
    /// Octets of such messages that are stored of one session.
    pub session_octets: u64,
    /// Octets of one recorded message that are held until it is whole.
    pub recorded_octets: u64,
    /// Octets of recorded messages that may wait for the store.
    pub recording_octets: u64,
}

impl Default for Store {
    fn default() -> Store {
        Store {
            kind: StoreKind::None,
            path: None,
            max_octets: 1 << 30,
            wait_seconds: 5,
            held_octets: 1 << 20,
            deferred_octets: 8 << 20,
            session_octets: 64 << 20,
            recorded_octets: 1 << 20,
            recording_octets: 16 << 20,
        }
    }
}

/// What keeps the objects of conversation histories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// A file of JSON lines.
    Journal,
    /// Nothing: no history is recorded.
    #[default]
    None,
}

/// `[xdms]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Xdms {
    /// The XCAP root; absent: no XDMS.
    pub root: Option<String>,
    /// How long an answer may take.
    pub wait_seconds: u32,
    /// The header field that says for which user we ask.
    pub identity_header: String,
}

impl Default for Xdms {
    fn default() -> Xdms {
        Xdms { root: None, wait_seconds: 2, identity_header: "X-3GPP-Asserted-Identity".to_owned() }
    }
}

/// `[admin]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Path of the Unix socket.
    pub socket: PathBuf,
}

/// Where the admin socket is unless the file or `--socket` says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/pf/pf.sock";

impl Default for Admin {
    fn default() -> Admin {
        Admin { socket: PathBuf::from(DEFAULT_SOCKET) }
    }
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Level or filter directives.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Log {
        Log { level: "info".to_owned(), format: LogFormat::default() }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// One line for people.
    #[default]
    Text,
}
