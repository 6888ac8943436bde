//! Options of MSRP.

use super::{OptionDoc, option};
use crate::config::kind::Kind;

pub(super) const OPTIONS: &[OptionDoc] = &[
    option(
        "msrp.listen",
        Kind::List(&Kind::SocketAddr),
        "[\"10.0.0.1:2855\", \"[2001:db8::1]:2855\"]",
        "Addresses that devices and far ends connect to. A session uses the first one of its peer's address family.",
    ),
    option(
        "msrp.advertise",
        Kind::Ip,
        "\"192.0.2.7\"",
        "IP address that `pf` writes into `a=path` and `c=`, where it is not the one listened on. Needed when it \
         listens on a wildcard address, unless `sip.advertise` is an IP address: then that one is used.",
    ),
    option(
        "msrp.workers",
        Kind::Integer(1, 64, "threads"),
        "2",
        "Threads that carry messages. One session lives on one of them, so more threads help more sessions. With \
         more than one, a peer that uses one connection for several sessions finds only those of the same thread.",
    ),
    option(
        "msrp.connections",
        Kind::Integer(16, 1_000_000, "connections"),
        "100000",
        "Connections of one worker at once; one more is closed when it is accepted.",
    ),
    option(
        "msrp.unbound_connections",
        Kind::Integer(1, 1_000_000, "connections"),
        "1024",
        "Accepted connections of one worker that have not named a session yet; for one more the oldest of them is \
         closed.",
    ),
    option(
        "msrp.unbound_connections_per_peer",
        Kind::Integer(1, 1_000_000, "connections"),
        "256",
        "Of these, how many may come from one IP address; for one more the oldest of that address is closed. Raise \
         it where a gateway connects on behalf of many.",
    ),
    option(
        "msrp.device_queue",
        Kind::Integer(65_536, 1 << 30, "octets"),
        "1048576",
        "How much may wait for another device of the user. Above it that device's leg is closed as slow; the \
         session goes on.",
    ),
    option(
        "msrp.device_backlog",
        Kind::Integer(0, 1 << 30, "octets"),
        "1048576",
        "How much of a session is kept for other devices that are invited and not connected yet; they get it when \
         they are. Above it the oldest messages are dropped for them, and counted. With 0 a device gets only what \
         comes while it is connected.",
    ),
    option(
        "msrp.queue",
        Kind::Integer(16_384, 1 << 30, "octets"),
        "1048576",
        "How much may wait for the far end (or, on the way back, for the originator) before `pf` stops reading from \
         the sender; it reads on when a quarter of that is left.",
    ),
    option(
        "msrp.answer_seconds",
        Kind::Integer(1, 300, "seconds"),
        "25",
        "How long the far end may take to answer a SEND before the sender gets `408`. Below the 30 seconds that the \
         sender waits itself (RFC 4975 section 7.1.1).",
    ),
    option(
        "msrp.silent_seconds",
        Kind::Integer(1, 300, "seconds"),
        "30",
        "How long another device may take to answer a SEND, and any peer to make the connection that `pf` waits for, \
         before its leg is closed as silent.",
    ),
    option(
        "msrp.connect_seconds",
        Kind::Integer(1, 120, "seconds"),
        "10",
        "How long connecting to a peer may take before its leg is closed.",
    ),
    option(
        "msrp.reuse_connections",
        Kind::Bool,
        "false",
        "Let several sessions towards the same address share one connection (RFC 4975 section 5.4).",
    ),
    option(
        "msrp.connect_from_path_port",
        Kind::Bool,
        "false",
        "Connect from the port that stands in `pf`'s own path, by which some peers recognise the session. If not, \
         the system chooses the port.",
    ),
];
