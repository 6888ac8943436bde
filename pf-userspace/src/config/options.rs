//! Every option: its kind, an example and what it does. The reference is made from this table.

use super::kind::Kind;

/// One option of the configuration file.
#[derive(Clone, Copy, Debug)]
pub struct OptionDoc {
    /// `table.key`, or `key` at the top of the file.
    pub key: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// A good value, as written in TOML.
    pub example: &'static str,
    /// What it does.
    pub text: &'static str,
}

/// One table of the configuration file, in the order of the reference.
#[derive(Clone, Copy, Debug)]
pub struct TableDoc {
    /// Its name; empty for the top of the file.
    pub name: &'static str,
    /// What it is about.
    pub text: &'static str,
}

/// All tables.
pub const TABLES: &[TableDoc] = &[
    TableDoc { name: "", text: "These stand at the top of the file, before the first table." },
    TableDoc { name: "sip", text: "Where `pf` is reached by SIP, and the nodes it works with." },
    TableDoc {
        name: "msrp",
        text: "Where `pf` is reached by MSRP, and how much it may hold for a slow peer.",
    },
    TableDoc {
        name: "guard",
        text: "A program in the kernel that keeps floods from the MSRP ports. `docs/guard.md` says what it drops and why.",
    },
    TableDoc {
        name: "datapath",
        text: "Bounds of the fast path (`fast_path`). `docs/datapath.md` says how it works and how to tune it.",
    },
    TableDoc { name: "registrar", text: "The users whose devices register at `pf`." },
    TableDoc {
        name: "policy",
        text: "What the operator decides about CPM sessions. `docs/decisions.md` says why each default is what it is.",
    },
    TableDoc {
        name: "store",
        text: "Where the conversation histories of users with `<allow-offline-storage>` are kept.",
    },
    TableDoc {
        name: "xdms",
        text: "The XML document management server (XDMS) that users lay their preferences down at. Without one the users \
               file and `[policy]` say what each user wants; with one they count for users who have laid nothing down.",
    },
    TableDoc {
        name: "admin",
        text: "The socket that `pf sessions`, `pf groups`, `pf devices`, `pf legs`, `pf store`, `pf stats` and `pf maps` \
               ask.",
    },
    TableDoc { name: "log", text: "What is logged to standard error, and how." },
];

const fn option(key: &'static str, kind: Kind, example: &'static str, text: &'static str) -> OptionDoc {
    OptionDoc { key, kind, example, text }
}

/// All options.
pub const OPTIONS: &[OptionDoc] = &[
    option(
        "state_dir",
        Kind::Path,
        "\"/var/lib/pf\"",
        "Folder for what must survive a restart: the key (`contact.key`, made at the first start, mode 0600) that \
         lets `pf` recognise the Contacts it gave out before. Keep it: with another key, clients can no longer \
         re-join sessions by the address they remember.",
    ),
    option(
        "fast_path",
        Kind::Choice(&["auto", "off", "required"]),
        "\"auto\"",
        "Whether messages are forwarded inside the kernel. `auto`: where this build and this host can, else in \
         userspace; one line at the start says which and why. `off`: always in userspace. `required`: do not start \
         without it. It needs Linux 6.8, CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, and `workers = 1` under [msrp]. \
         Whatever it cannot carry goes through userspace: `pf stats` counts that by reason.",
    ),
    option(
        "sip.listen",
        Kind::List(&Kind::SipListen),
        "[\"udp:10.0.0.1:5060\", \"tcp:[2001:db8::1]:5060\"]",
        "Addresses to listen on. Port 0 lets the system choose; the `pf ready:` line says which it chose.",
    ),
    option(
        "sip.advertise",
        Kind::Host,
        "\"pf.example.org\"",
        "Host that `pf` writes into Via and Contact, where peers reach it by another name than the address it \
         listens on. Needed when it listens on a wildcard address.",
    ),
    option(
        "sip.trusted",
        Kind::List(&Kind::Ip),
        "[\"10.0.0.5\"]",
        "Nodes of the core whose P-Asserted-Identity is believed, and their P-Asserted-Service and charging header \
         fields with it: they must check or remove what their users write there (RFC 3325). A request from any \
         other address has to prove who sent it (`policy.identify`).",
    ),
    option(
        "sip.registrars",
        Kind::List(&Kind::Ip),
        "[\"10.0.0.7\"]",
        "S-CSCFs whose third-party REGISTERs (TS 24.229 clause 5.4.1.7) are believed: they enter and remove the \
         devices of every user without a password. Name no address from which users' own requests come. Any other \
         REGISTER is answered with a challenge, one from `trusted` too.",
    ),
    option(
        "sip.core",
        Kind::SipUri,
        "\"sip:10.0.0.5:5060;transport=tcp\"",
        "Next hop for every request towards the far end. Without it the Request-URI decides.",
    ),
    option(
        "sip.isf",
        Kind::SipUri,
        "\"sip:10.0.0.6:5060\"",
        "The Interworking Selection Function. Invitations to addresses that are neither SIP nor tel URIs go there \
         directly; without it they are refused. Others go there where `policy.interworking_after` says so.",
    ),
    option(
        "sip.own_uri",
        Kind::SipUri,
        "\"sip:cpm-pf@example.org\"",
        "`pf`'s own SIP URI (such as CPMDeferredMsgMgmtURI): From of the SUBSCRIBE by which it asks who takes part in a \
         group session. Without it, the address that `pf` is reached at.",
    ),
    option(
        "sip.outside_trust_domain",
        Kind::Bool,
        "true",
        "`pf` is in another domain than the users' core, outside of its trust domain (TS 24.229 clause 4.4): that \
         SUBSCRIBE then has P-Preferred-Service instead of P-Asserted-Service.",
    ),
    option(
        "sip.product",
        Kind::Product,
        "\"CPM-serv/OMA2.2 pf/0.1.0\"",
        "User-Agent of requests and Server of responses. The first token is the CPM release.",
    ),
    option(
        "sip.connections",
        Kind::Integer(1, 1_000_000, "connections"),
        "20000",
        "TCP connections at once; one more is closed when it is accepted.",
    ),
    option(
        "sip.connections_per_peer",
        Kind::Integer(1, 1_000_000, "connections"),
        "64",
        "TCP connections at once from one address. Lower it where no proxy or gateway connects on behalf of many.",
    ),
    option(
        "sip.transactions",
        Kind::Integer(100, 10_000_000, "transactions"),
        "400000",
        "SIP transactions at once; requests above it get `503` with Retry-After.",
    ),
    option(
        "sip.transactions_per_source",
        Kind::Integer(10, 10_000_000, "transactions"),
        "1000",
        "SIP transactions at once that one source address may begin; requests above it get `503` with Retry-After. \
         Without it a quarter of `transactions`. Addresses under `trusted` and `registrars` have no such bound.",
    ),
    option(
        "sip.idle_seconds",
        Kind::Integer(10, 86_400, "seconds"),
        "3600",
        "A TCP connection without traffic for this long is closed. Devices that register over TCP are reached by \
         that connection: longer than their keep-alive interval.",
    ),
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
    option(
        "datapath.connections",
        Kind::Integer(16, 1_048_576, "connections"),
        "4096",
        "MSRP connections at once that the fast path serves; what is above goes through userspace. `pf check` says how \
         much kernel memory that takes.",
    ),
    option(
        "datapath.log",
        Kind::Integer(65_536, 1_073_741_824, "octets"),
        "8388608",
        "Size of the log in which the kernel keeps what it forwarded until `pf` has read it: a power of two. `pf` reads \
         it every 30 ms, and at once when it is half full; when it is full, messages go through userspace.",
    ),
    option(
        "datapath.log_per_connection",
        Kind::Integer(4096, 67_108_864, "octets"),
        "262144",
        "How much of what one peer sent may be kept at once because not every leg has acknowledged it. Above that its \
         messages go through userspace, until there is room again.",
    ),
    option(
        "datapath.in_flight_segments",
        Kind::Integer(1, 64, "segments"),
        "20",
        "How many segments (of the peer's MSS) of a leg may be on their way without an acknowledgement. A message above \
         that goes to this leg through userspace. Nothing else slows the kernel's copies down: no congestion control \
         sees them. `pf maps set` changes it at once.",
    ),
    option(
        "datapath.fan_out",
        Kind::Integer(1, 15, "copies"),
        "4",
        "The most copies that the kernel makes of one message: far end and devices. Sessions with more legs go through \
         userspace, counted as `many-legs`. `pf maps set` changes it at once, for sessions that live, too.",
    ),
    option(
        "datapath.backoff_octets",
        Kind::Integer(0, 16_777_216, "octets"),
        "6000",
        "A peer whose messages leave the fast path after fewer octets than these (because they come several at once, in \
         parts, or in another form than the kernel reads) stays in userspace for a while: changing over costs more than \
         so few messages save. 0: it never does. `pf maps set` changes it at once.",
    ),
    option(
        "datapath.backoff_ms",
        Kind::Integer(1, 60_000, "milliseconds"),
        "10",
        "How long after the first time; it doubles with each further one, until the fast path has held for longer. \
         `pf maps set` changes it at once.",
    ),
    option(
        "datapath.backoff_max_ms",
        Kind::Integer(1, 600_000, "milliseconds"),
        "5000",
        "How long at most. `pf maps set` changes it at once.",
    ),
    option(
        "datapath.statistics",
        Kind::Bool,
        "true",
        "Let the kernel measure how long its programs run (BPF_ENABLE_STATS: those of all processes, at some 20 ns a \
         run); `pf stats` shows it. It needs CAP_SYS_ADMIN: without that there is one line in the log and no \
         measurement. `pf maps set datapath.statistics 1` switches it on for a while.",
    ),
    option(
        "datapath.pin",
        Kind::Bool,
        "false",
        "Give the maps of the fast path and of the guard names in `pin_dir`, so that `bpftool` and other programs can look \
         at them. Programs are never pinned: they end with `pf`. Where it cannot be done, one line in the log says why, \
         and everything else works.",
    ),
    option(
        "datapath.pin_dir",
        Kind::Path,
        "\"/sys/fs/bpf/pf\"",
        "A folder in a BPF file system (`mount -t bpf bpf /sys/fs/bpf`), made if need be. The maps of a running `pf` are in \
         `v<layout>/<number>` below it: `v` with the version of their layout, and the lowest number that no other `pf` \
         has. They are removed at the end; what a `pf` that was killed left there, the next one removes at its start.",
    ),
    option(
        "guard.interfaces",
        Kind::List(&Kind::Interface),
        "[\"eth0\"]",
        "Network interfaces on which MSRP peers reach `pf`. With none there is no guard; with any, `pf` does not start \
         where the guard cannot be loaded on all of them. It needs Linux 6.8, CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN.",
    ),
    option(
        "guard.mode",
        Kind::Choice(&["auto", "driver", "skb"]),
        "\"driver\"",
        "Where the program runs. `driver`: in the network driver, cheapest, if that can. `skb`: in the kernel's generic \
         code, on any interface. `auto`: `driver`, else `skb`; the log says which.",
    ),
    option(
        "guard.connections_per_second",
        Kind::Integer(1, 1_000_000, "connections"),
        "20",
        "New connections in a second from one IPv4 address or one IPv6 /64, and as many at once after a pause; more \
         are dropped. Everybody behind one NAT or border controller counts as one source.",
    ),
    option(
        "guard.packets_per_second",
        Kind::Integer(100, 10_000_000, "packets"),
        "20000",
        "Packets in a second for the MSRP ports from one source, counted as above; more are dropped. A file at 100 \
         megabits per second is 8,600.",
    ),
    option(
        "guard.sources",
        Kind::Integer(1024, 4_194_304, "sources"),
        "65536",
        "Sources that are remembered; the one not heard of for longest is forgotten first. `pf check` says how much \
         kernel memory that takes.",
    ),
    option(
        "registrar.domains",
        Kind::List(&Kind::Domain),
        "[\"example.org\"]",
        "Domains whose users `pf` registers. The first one is the realm of digest authentication.",
    ),
    option(
        "registrar.users",
        Kind::Path,
        "\"users.toml\"",
        "The users file; a relative path counts from the folder of this file. Its form is at the end of this page.",
    ),
    option(
        "registrar.digest",
        Kind::List(&Kind::Choice(&["SHA-256", "MD5"])),
        "[\"MD5\", \"SHA-256\"]",
        "Algorithms of digest authentication: each is offered in a header field of `401` and `407` of its own, in \
         this order, and no other is accepted. A client takes the first that it knows (RFC 8760 section 2.4), so the \
         best stands first; but some old clients read the first header field alone: for them put `MD5` first. \
         Without `MD5` clients that know nothing else stay out.",
    ),
    option(
        "policy.barred",
        Kind::List(&Kind::CpmAddress),
        "[\"sip:mallory@example.org\"]",
        "Users that may not start a session: they get `403` with `127 Service not authorised`.",
    ),
    option(
        "policy.media_path",
        Kind::Choice(&["always", "when-needed"]),
        "\"when-needed\"",
        "Whether `pf` stays in the media path. `always`: it is a back-to-back user agent and MSRP relay for every \
         session. `when-needed`: only for sessions that `direct_delivery`, `interworking_after`, `legacy_matching`, storage \
         (`allow_offline_storage`, `allow_store`, `allow_defer`) or `media_path_users` need it for; for all others it is a SIP proxy, and messages go directly between the two ends.",
    ),
    option(
        "policy.media_path_users",
        Kind::List(&Kind::CpmAddress),
        "[\"sip:alice@example.org\"]",
        "Users whose sessions `pf` stays in the media path of, whatever `media_path` says.",
    ),
    option(
        "policy.direct_delivery",
        Kind::Bool,
        "false",
        "Copy what one device of a user sends to the user's other suitable devices, so that they all show the \
         conversation.",
    ),
    option(
        "policy.client_version",
        Kind::VersionRule,
        "{ minimum = \"2.2\" }",
        "CPM release that a client must have, read from the `CPM-client/OMA` token of its User-Agent. Others get \
         `403` with `132 Version not supported`, and are not invited as another device. Without it nothing is checked.",
    ),
    option(
        "policy.allow_anonymity",
        Kind::Bool,
        "false",
        "Let a user ask for anonymity (`Privacy: id`). If not: `403` with `119 Anonymity not allowed`.",
    ),
    option(
        "policy.copy_far",
        Kind::Bool,
        "false",
        "Copy what the far end sends to the user's other devices in the session too. Needs `direct_delivery`.",
    ),
    option(
        "policy.copy_devices",
        Kind::Bool,
        "false",
        "Forward what another device of the user sends to the far end, and copy it to the user's other devices. \
         Needs `direct_delivery`.",
    ),
    option(
        "policy.refuse_other_services",
        Kind::Bool,
        "true",
        "Refuse with `403` an INVITE whose P-Preferred-Service or P-Asserted-Service names another service than a \
         CPM session. If not, it is treated as any other and goes on.",
    ),
    option(
        "policy.late_devices",
        Kind::Bool,
        "true",
        "Invite a device that registers while a session lives into that session. Needs `direct_delivery`.",
    ),
    option(
        "policy.legacy_matching",
        Kind::Bool,
        "true",
        "Match MSRP URIs by their session-id alone where the peer's SDP had no `a=msrp-cema`: for clients and \
         border controllers that rewrite SDP but not paths.",
    ),
    option(
        "policy.session_expires",
        Kind::Integer(90, 86_400, "seconds"),
        "1800",
        "Session-Expires of the invitations `pf` sends (RFC 4028).",
    ),
    option(
        "policy.min_session_expires",
        Kind::Integer(90, 86_400, "seconds"),
        "90",
        "Smallest Session-Expires that a peer may ask for; below it `pf` answers `422`.",
    ),
    option(
        "policy.device_answer_seconds",
        Kind::Integer(1, 180, "seconds"),
        "30",
        "How long another device may take to answer its invitation before that leg is cancelled. The session \
         itself never waits for it.",
    ),
    option(
        "policy.identify",
        Kind::Choice(&["digest", "registration"]),
        "\"digest\"",
        "How `pf` knows who sends an INVITE, where no trusted node says so. `digest`: every INVITE is challenged \
         (`407`). `registration`: an INVITE from the UDP address, or over the TCP connection, of a registered device \
         counts as that user's; others are challenged. Over UDP that trusts the source address: take `digest` \
         where others could forge it.",
    ),
    option(
        "policy.allow_offline_storage",
        Kind::Bool,
        "true",
        "`<allow-offline-storage>` of users who have said nothing themselves: the history of their sessions is \
         recorded in the store (`[store]`). A user's own line in the users file counts before this.",
    ),
    option(
        "policy.allow_store",
        Kind::Bool,
        "true",
        "`<allow-store>` of users who have said nothing themselves: messages of a group session that come while the \
         user's last device is lost are kept in the store.",
    ),
    option(
        "policy.allow_defer",
        Kind::Bool,
        "true",
        "`<allow-defer>` of users who have said nothing themselves: messages of a group session that come while the \
         user's last device is lost are kept for a later delivery.",
    ),
    option(
        "policy.restart_group_sessions",
        Kind::Bool,
        "true",
        "Users may start long-lived group sessions again: a client that joins an inactive one is not refused with `403` \
         and `127 Service not authorised` (clause 8.2.2.7.2). `pf` then also stays in a group session whose last device of the \
         user is lost (clause 8.2.2.3 step 4.d). What is said there meanwhile is not kept for that alone.",
    ),
    option(
        "policy.long_lived_groups",
        Kind::Choice(&["decided", "undecided"]),
        "\"undecided\"",
        "Who decides when a client joins a group session again that it was in (clause 8.2.2.7). `decided`: you, by the \
         three `restart_` options. `undecided`: the controlling function alone; `pf` answers the client and asks the \
         controlling function when the client sends a first message. A session that `pf` has stayed in for a lost \
         client is joined at once either way.",
    ),
    option(
        "policy.restart_controlling_functions",
        Kind::List(&Kind::Text),
        "[\"focus.example.net\"]",
        "Hosts of the controlling functions whose inactive group sessions may be started again, as they stand in the \
         URI of the session; others get `403` with `127 Service not authorised`. Empty: all. Without \
         `restart_group_sessions` none.",
    ),
    option(
        "policy.restart_at_first_message",
        Kind::Bool,
        "true",
        "A client that starts an inactive group session again is answered by `pf`; the controlling function gets the \
         INVITE when the client sends a first message.",
    ),
    option(
        "policy.subscription_retry_seconds",
        Kind::Integer(1, 86_400, "seconds"),
        "120",
        "While a group session goes on for a lost client, `pf` subscribes to its participants. A subscription that fails \
         in a way that may pass (408, 481, 5xx), or that the controlling function takes back for a while, is tried \
         again after so long.",
    ),
    option(
        "policy.registration_min_seconds",
        Kind::Integer(1, 86_400, "seconds"),
        "60",
        "Shortest registration that is accepted; a REGISTER that asks for less gets `423` (RFC 3261 section 10.3).",
    ),
    option(
        "policy.registration_max_seconds",
        Kind::Integer(60, 31_536_000, "seconds"),
        "3600",
        "Longest registration: a REGISTER that asks for more, or for nothing, gets this.",
    ),
    option(
        "policy.interworking_after",
        Kind::List(&Kind::Integer(300, 699, "status code")),
        "[404, 488, 606]",
        "Answers to an INVITE after which it goes to `sip.isf`, once, before the client hears of them. Empty: no \
         interworking for SIP and tel addresses. A far end that does not answer counts as 408, one that cannot be \
         reached as 503.",
    ),
    option(
        "policy.interworking_rejected_streams",
        Kind::Bool,
        "true",
        "Invite through `sip.isf` a second time, for those streams of a session that its interworking functions \
         have rejected. The session itself lives, whatever comes of it.",
    ),
    option(
        "policy.interworking_rejected_setup",
        Kind::Choice(&["actpass", "passive"]),
        "\"actpass\"",
        "`a=setup` in the offer of that second invitation: `passive` as CPM has it, or `actpass` for interworking \
         functions that follow RFC 6135 strictly.",
    ),
    option(
        "policy.interworking_new_streams",
        Kind::Bool,
        "true",
        "Invite through `sip.isf` for a stream that a client adds to an interworked session and that all \
         interworking functions of the session refuse. If not, the client gets `488`.",
    ),
    option(
        "policy.interworking_wait_seconds",
        Kind::Integer(1, 10, "seconds"),
        "2",
        "How long the client's answer waits for further interworking functions when the first one has rejected \
         streams; once more for a second invitation.",
    ),
    option(
        "policy.interworking_leave",
        Kind::Choice(&["session", "streams"]),
        "\"streams\"",
        "What ends when one of several interworking functions leaves a session: all of it, or its streams only.",
    ),
    option(
        "store.kind",
        Kind::Choice(&["journal", "none"]),
        "\"journal\"",
        "`journal`: a file of JSON lines, one for each object that a message store would hold, each on the disk before \
         it counts as stored. `none`: nothing is recorded, whatever users want. `pf store` lists what is there.",
    ),
    option(
        "store.path",
        Kind::Path,
        "\"/var/lib/pf/store.jsonl\"",
        "The journal, made with mode 0600; `store.jsonl` in `state_dir` where it is left out. It is locked (flock) \
         while lines are written: take that lock to copy it whole. Do not cut it while `pf` runs.",
    ),
    option(
        "store.max_octets",
        Kind::Integer(1 << 10, 1 << 50, "octets"),
        "10737418240",
        "How large the journal may grow; what would make it larger is not stored, which `pf stats` counts.",
    ),
    option(
        "store.wait_seconds",
        Kind::Integer(1, 20, "seconds"),
        "3",
        "How long the end of a session waits for the store before it goes on without. The object may still be stored \
         later.",
    ),
    option(
        "store.held_octets",
        Kind::Integer(1 << 10, 1 << 30, "octets"),
        "4194304",
        "What is said in a group session whose last client is lost is kept where the user wants that. So much of it is \
         held of one stream at once until it is in the store; a message that is larger gets `413`.",
    ),
    option(
        "store.deferred_octets",
        Kind::Integer(1 << 10, 1 << 32, "octets"),
        "16777216",
        "What a lost client of a user with `allow_defer` missed is held in memory, apart from the store, until it joins \
         the session again. So much of one session at most; what goes beyond gets `408`, and is counted in `pf stats`.",
    ),
    option(
        "store.session_octets",
        Kind::Integer(1 << 10, 1 << 40, "octets"),
        "1073741824",
        "How much of it is stored of one session; what goes beyond gets `408`, and is counted in `pf stats`.",
    ),
    option(
        "store.recorded_octets",
        Kind::Integer(1 << 10, 8 << 20, "octets"),
        "262144",
        "Messages of recorded sessions are put together from their chunks in memory. Of one that is longer than this, parts \
         are stored as they come, each an object with its `byte_range`. All incomplete messages of a stream together \
         take four times as much.",
    ),
    option(
        "store.recording_octets",
        Kind::Integer(1 << 10, 1 << 40, "octets"),
        "67108864",
        "How much of what is recorded may wait for the store, of all sessions together. When it is more, recorded sessions \
         wait until half of it is written: nothing is lost, their peers are slowed by TCP. `pf stats` counts it.",
    ),
    option(
        "xdms.root",
        Kind::HttpRoot,
        "\"http://10.0.0.9:8080/services\"",
        "Its XCAP root. Of each session's originator the document \
         `<root>/org.openmobilealliance.access-rules/users/<address of record>/access-rules` is fetched when the session \
         is asked for, and its actions `allow-offline-storage`, `allow-store` and `allow-defer` count: those of all \
         rules whose conditions hold, one `true` is enough, and what none says is `false`. The last answer of each user \
         is kept, asked for by its ETag, and counts while there is no other. Left out: no XDMS is asked.",
    ),
    option(
        "xdms.wait_seconds",
        Kind::Integer(1, 20, "seconds"),
        "3",
        "How long an answer may take. The beginning of a session's record waits for it, and nothing else does; what is said \
         meanwhile is kept in memory (`store.recording_octets`). Then what was answered last counts, else the users file \
         and `[policy]`.",
    ),
    option(
        "xdms.identity_header",
        Kind::HeaderName,
        "\"X-XCAP-Asserted-Identity\"",
        "The header field that tells the XDMS for which user `pf` asks: the XDMS has to trust it when `pf` sends it.",
    ),
    option(
        "admin.socket",
        Kind::Path,
        "\"/run/pf/pf.sock\"",
        "Path of the Unix socket, made with mode 0600 at the start and removed at the end.",
    ),
    option(
        "log.level",
        Kind::LogFilter,
        "\"info,pf::sip=debug\"",
        "`error`, `warn`, `info`, `debug`, `trace`, or filter directives per module. Addresses of users appear at \
         `debug` and below only, message contents never.",
    ),
    option(
        "log.format",
        Kind::Choice(&["text", "json"]),
        "\"json\"",
        "One line for people, or one JSON object a line.",
    ),
];

/// The option of that name.
pub fn find(key: &str) -> Option<&'static OptionDoc> {
    OPTIONS.iter().find(|option| option.key == key)
}

/// The option or table name that is nearest to a misspelt one, among those of the same table.
pub fn nearest(key: &str) -> Option<&'static str> {
    let (table, name) = key.rsplit_once('.').unwrap_or(("", key));
    let tables = TABLES.iter().map(|t| t.name).filter(|t| table.is_empty() && !t.is_empty());
    let options = OPTIONS.iter().map(|o| o.key.rsplit_once('.').unwrap_or(("", o.key)));
    options
        .filter(|(t, _)| *t == table)
        .map(|(_, n)| n)
        .chain(tables)
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(steps, candidate)| *steps <= 1 + candidate.len() / 4)
        .min_by_key(|(steps, _)| *steps)
        .map(|(_, candidate)| candidate)
}

/// The table in which an option of that last name exists, if there is just one.
pub fn table_of(name: &str) -> Option<&'static str> {
    let mut found = OPTIONS.iter().filter_map(|o| o.key.rsplit_once('.')).filter(|(_, n)| *n == name);
    match (found.next(), found.next()) {
        (Some((table, _)), None) => Some(table),
        _ => None,
    }
}

/// Edits (insert, delete, replace) that lead from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replace = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
