//! What the core is told at its start.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{
    event::Transport,
    policy::{Policy, preferences::UserPreferences, retrieval::XdmsConfig},
    store::StoreConfig,
};

/// Everything that the core needs to know about its surroundings.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// Operator policy.
    pub policy: Policy,
    /// Domains whose users we serve and register, in lower case.
    pub domains: Vec<String>,
    /// Our SIP addresses, as peers shall see them.
    pub sip: Vec<SipAddress>,
    /// Our MSRP addresses, as peers shall see them.
    pub msrp: Vec<MsrpAddress>,
    /// Peers (core nodes) whose P-Asserted-Identity we believe.
    pub trusted: Vec<IpAddr>,
    /// S-CSCFs whose third-party REGISTERs we believe: they may enter and remove any user's devices.
    pub registrars: Vec<IpAddr>,
    /// Next hop for requests towards the far end (SIP URI); absent: the Request-URI decides.
    pub core_route: Option<String>,
    /// The Interworking Selection Function (SIP URI), for destinations that are neither SIP nor tel.
    pub isf_route: Option<String>,
    /// Value of User-Agent and Server, its first token the CPM release: `CPM-serv/OMA2.2 pf/0.1.0`.
    pub product: String,
    /// Key of the mapped Contacts (ANS-12): the same over restarts.
    pub secret: [u8; 32],
    /// Users of the embedded registrar.
    pub users: Vec<User>,
    /// Algorithms of digest authentication, the best first: each is offered in a header field of its own, in this
    /// order, and no other is accepted. At least one.
    pub digest: Vec<DigestAlgorithm>,
    /// Our own SIP URI, where it is not simply our address: From of what we ask on our own account.
    pub own_uri: Option<String>,
    /// We are outside of the core's trust domain (TS 24.229 clause 4.4).
    pub outside_trust_domain: bool,
    /// The message store; without one nothing is recorded.
    pub store: Option<StoreConfig>,
    /// The XDMS; without one the users file and the policy say what users want.
    pub xdms: Option<XdmsConfig>,
}

/// An algorithm of digest authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DigestAlgorithm {
    /// RFC 2617 and RFC 3261: what every client knows, and weak.
    #[serde(rename = "MD5")]
    Md5,
    /// RFC 7616 and RFC 8760.
    #[serde(rename = "SHA-256")]
    Sha256,
}

impl DigestAlgorithm {
    /// All of them, the best first.
    pub const ALL: [DigestAlgorithm; 2] = [DigestAlgorithm::Sha256, DigestAlgorithm::Md5];

    /// Its name in `algorithm=` and in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            DigestAlgorithm::Md5 => "MD5",
            DigestAlgorithm::Sha256 => "SHA-256",
        }
    }
}

/// A SIP address of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SipAddress {
    /// Transport protocol.
    pub transport: Transport,
    /// Bound socket address.
    pub bound: SocketAddr,
    /// Host that peers shall use: an IP literal without brackets, or a name.
    pub host: String,
    /// Port that peers shall use.
    pub port: u16,
}

/// An MSRP address of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MsrpAddress {
    /// Host for `a=path` and `c=`: an IP literal without brackets.
    pub host: IpAddr,
    /// Port for `a=path` and `m=`.
    pub port: u16,
}

/// A user of the embedded registrar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's CPM addresses (SIP or tel URIs); the first is the address of record.
    pub addresses: Vec<String>,
    /// User name for digest authentication.
    pub username: String,
    /// Password for digest authentication.
    pub password: String,
    /// What the user wants done with messages.
    pub preferences: UserPreferences,
}
