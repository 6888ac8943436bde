//! Questions and answers of the admin socket.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    core::{
        event::{LegCounters, LegDown, LegKey, LegRole, StreamKey},
        media::{KernelCounters, LegPath},
        policy::retrieval::XdmsCounters,
        store::{RecordingCounters, StoreCounters},
        view::{DeviceView, GroupView, SessionView},
    },
    fastpath::{Attached, Dump, MapInfo, SourceRow, TableName},
    msrp::ConnectionRow,
    store::Row,
};

/// Version of this protocol. It rises when a field changes its meaning or goes away; new fields do not raise it.
pub const VERSION: u32 = 1;

/// The longest question, in octets, with its line end.
pub const MAX_REQUEST: usize = 4096;

/// Rows of an answer where the question does not say.
pub const DEFAULT_LIMIT: usize = 1000;

/// The most rows of an answer.
pub const MAX_LIMIT: usize = 10_000;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Version of the protocol that the client speaks.
    pub version: u32,
    /// What it wants to know.
    pub query: Query,
    /// How many rows it wants at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// What it wants to change, with [`Query::Set`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<Change>,
    /// Which map, with [`Query::Dump`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<TableName>,
    /// One entry alone, of [`Query::Dump`], [`Query::Connections`] or [`Query::Guard`]: as the first column shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl Request {
    /// A question in this version.
    pub fn new(query: Query, limit: Option<usize>) -> Request {
        Request { version: VERSION, query, limit, set: None, map: None, key: None }
    }

    /// A change in this version.
    pub fn change(key: Setting, value: u64) -> Request {
        Request { set: Some(Change { key, value }), ..Request::new(Query::Set, None) }
    }

    /// The entries of a map, or one of them.
    pub fn entries(map: TableName, key: Option<String>, limit: Option<usize>) -> Request {
        let query = match map {
            TableName::Connections => Query::Connections,
            TableName::Guard => Query::Guard,
            _ => Query::Dump,
        };
        Request { map: Some(map), key, ..Request::new(query, limit) }
    }

    /// How many rows to answer with.
    pub fn rows(&self) -> usize {
        self.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT)
    }
}

/// What a client wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Query {
    /// Connections in the tables of the fast path.
    Connections,
    /// Registered devices.
    Devices,
    /// Entries of a map of the kernel programs.
    Dump,
    /// Group sessions that have ended.
    Groups,
    /// The table of the guard.
    Guard,
    /// MSRP legs.
    Legs,
    /// Maps of the kernel programs.
    Maps,
    /// Read the configuration again.
    Reload,
    /// CPM sessions with their legs.
    Sessions,
    /// Change a setting until the next start.
    Set,
    /// Counters of the process.
    Stats,
    /// What the store holds.
    Store,
}

/// What can be changed while `pf` runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Setting {
    /// Octets that make a spell in the fast path worth its while.
    #[serde(rename = "datapath.backoff_octets")]
    BackoffOctets,
    /// The first wait after a shorter spell.
    #[serde(rename = "datapath.backoff_ms")]
    Backoff,
    /// The longest wait.
    #[serde(rename = "datapath.backoff_max_ms")]
    BackoffMax,
    /// The most copies of one message.
    #[serde(rename = "datapath.fan_out")]
    FanOut,
    /// Segments in flight on a leg.
    #[serde(rename = "datapath.in_flight_segments")]
    InFlight,
    /// Does the kernel measure its programs? 0 or 1.
    #[serde(rename = "datapath.statistics")]
    Statistics,
    /// Messages one by one that make a stream one for the fast path.
    #[serde(rename = "datapath.single_messages")]
    SingleMessages,
    /// New connections of one source in a second.
    #[serde(rename = "guard.connections_per_second")]
    GuardConnections,
    /// Packets of one source in a second.
    #[serde(rename = "guard.packets_per_second")]
    GuardPackets,
}

impl Setting {
    /// All of them.
    pub const ALL: [Setting; 9] = [
        Setting::BackoffOctets,
        Setting::Backoff,
        Setting::BackoffMax,
        Setting::FanOut,
        Setting::InFlight,
        Setting::Statistics,
        Setting::SingleMessages,
        Setting::GuardConnections,
        Setting::GuardPackets,
    ];

    /// The option of the configuration that it changes.
    pub const fn name(self) -> &'static str {
        match self {
            Setting::BackoffOctets => "datapath.backoff_octets",
            Setting::Backoff => "datapath.backoff_ms",
            Setting::BackoffMax => "datapath.backoff_max_ms",
            Setting::FanOut => "datapath.fan_out",
            Setting::InFlight => "datapath.in_flight_segments",
            Setting::Statistics => "datapath.statistics",
            Setting::SingleMessages => "datapath.single_messages",
            Setting::GuardConnections => "guard.connections_per_second",
            Setting::GuardPackets => "guard.packets_per_second",
        }
    }
}

/// A new value for a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Which.
    pub key: Setting,
    /// The value, within the bounds of the option.
    pub value: u64,
}

/// An answer with the version of the protocol.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reply {
    /// Version of the protocol that the answer is in.
    pub version: u32,
    /// The answer.
    #[serde(flatten)]
    pub answer: Answer,
}

/// An answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "lowercase")]
pub enum Answer {
    /// Connections in the tables of the fast path.
    Connections {
        /// How many there are, shown or not.
        total: usize,
        /// As many as were asked for.
        connections: Vec<ConnectionRow>,
    },
    /// Registered devices.
    Devices {
        /// How many there are, shown or not.
        total: usize,
        /// As many as were asked for.
        devices: Vec<DeviceView>,
    },
    /// Entries of a map of the kernel programs.
    Entries {
        /// Which map.
        map: TableName,
        /// As many as were asked for, and how many there are.
        #[serde(flatten)]
        dump: Dump,
    },
    /// The question was not understood, or cannot be answered now.
    Error {
        /// Why, in one sentence.
        message: String,
    },
    /// Group sessions that have ended, the last one first.
    Groups {
        /// How many are remembered, shown or not.
        total: usize,
        /// As many as were asked for.
        groups: Vec<GroupView>,
    },
    /// The table of the guard.
    Guard {
        /// How many sources it holds, shown or not.
        total: usize,
        /// As many as were asked for.
        sources: Vec<SourceRow>,
    },
    /// MSRP legs.
    Legs {
        /// How many there are, shown or not.
        total: usize,
        /// As many as were asked for.
        legs: Vec<LegRow>,
    },
    /// Maps of the kernel programs; none where no program is loaded.
    Maps {
        /// All of them.
        maps: Vec<MapInfo>,
    },
    /// The configuration was read again.
    Reloaded {
        /// Users that there are now.
        users: usize,
        /// Of these, new ones.
        users_added: usize,
        /// Users with another password, address or wish.
        users_changed: usize,
        /// Users that are no more.
        users_removed: usize,
        /// Options that have changed.
        changed: Vec<String>,
        /// Options whose new values count after a restart only.
        restart: Vec<String>,
    },
    /// CPM sessions.
    Sessions {
        /// How many there are, shown or not.
        total: usize,
        /// As many as were asked for.
        sessions: Vec<SessionView>,
    },
    /// A setting was changed.
    Set {
        /// Which.
        key: Setting,
        /// What it was.
        was: u64,
        /// What it is now.
        now: u64,
    },
    /// Counters of the process.
    Stats {
        /// All of them.
        stats: Box<Stats>,
    },
    /// What the store holds, the newest first.
    Store {
        /// How many objects it holds, shown or not.
        total: usize,
        /// As many as were asked for.
        objects: Vec<Row>,
    },
}

/// One MSRP leg: what the relay knows of it, with the session it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegRow {
    /// The leg.
    pub leg: LegKey,
    /// The stream (m-line) it belongs to.
    pub stream: StreamKey,
    /// The session, where the core still knows it.
    pub session: Option<u64>,
    /// Whose leg it is.
    pub role: LegRole,
    /// Device name, instance or URI.
    pub name: String,
    /// State of its connection.
    pub state: String,
    /// Remote socket address, once connected.
    pub peer: Option<String>,
    /// Octets that wait in its queue.
    pub queued_octets: u64,
    /// What it has carried.
    pub counters: LegCounters,
    /// What the kernel carried of that.
    #[serde(default)]
    pub kernel: KernelCounters,
    /// How the kernel carries it, where there is an in-kernel path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<LegPath>,
    /// Is what is said on its stream recorded? How many of its peer's messages were, its counters say.
    #[serde(default)]
    pub recorded: bool,
}

/// Counters of the process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Version of `pf`.
    pub pf_version: String,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Sessions now.
    pub sessions: usize,
    /// Those of them that are proxied.
    #[serde(default)]
    pub sessions_proxied: usize,
    /// Registered devices now.
    pub devices: usize,
    /// MSRP legs now.
    pub legs: usize,
    /// What living and past MSRP legs have carried together.
    pub media: LegCounters,
    /// MSRP legs that went down, by reason.
    pub legs_down: BTreeMap<LegDown, u64>,
    /// The in-kernel path.
    pub fast_path: FastPathStats,
    /// Orders to the store, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreCounters>,
    /// The messages of recorded sessions, where there is a store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<RecordingCounters>,
    /// Questions to the XDMS, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xdms: Option<XdmsCounters>,
    /// The guard of the MSRP ports, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<GuardStats>,
    /// The kernel programs, where any are loaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<ProgramStats>,
    /// Does the kernel measure how long they run?
    #[serde(default)]
    pub programs_measured: bool,
    /// Counters of the SIP shell, by its own names.
    pub sip: serde_json::Value,
}

/// What the guard of the MSRP ports does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardStats {
    /// Where it is attached.
    pub interfaces: Vec<Attached>,
    /// New connections that a source may make in a second.
    pub connections_per_second: u32,
    /// Packets that a source may send in a second.
    pub packets_per_second: u32,
    /// Packets by what became of them and why.
    pub packets: BTreeMap<String, u64>,
}

/// How much of the traffic the kernel carries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FastPathStats {
    /// `auto`, `off` or `required`, as configured.
    pub mode: String,
    /// Can this process use it?
    pub available: bool,
    /// Why this process cannot, where it should.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// The share of all SENDs that the kernel forwarded, 0 to 1; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hit_ratio: Option<f64>,
    /// SENDs that the kernel forwarded.
    pub sends_in_kernel: u64,
    /// SENDs that userspace carried, by the reason why.
    pub sends_in_userspace: BTreeMap<String, u64>,
    /// Streams that the kernel serves.
    #[serde(default)]
    pub streams: usize,
    /// Connections that the kernel serves, closed ones included that may still send their last packets.
    #[serde(default)]
    pub connections: usize,
    /// How often its connections left the fast path, by cause.
    #[serde(default)]
    pub left: BTreeMap<String, u64>,
    /// What the kernel programs counted.
    #[serde(default)]
    pub counts: BTreeMap<String, u64>,
}

/// What one of the kernel programs costs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramStats {
    /// Its name.
    pub name: String,
    /// How often it ran while the kernel measured.
    pub runs: u64,
    /// Nanoseconds that it took for that, all processors together.
    pub run_nanoseconds: u64,
    /// Nanoseconds of a run, on the average; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_nanoseconds: Option<u64>,
    /// Instructions that the verifier looked at; it gives up at a million.
    pub verified_instructions: u32,
}
