//! Questions and answers of the admin socket.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::core::{
    event::{LegCounters, LegDown, LegKey, LegRole, StreamKey},
    view::{DeviceView, SessionView},
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Version of the protocol that the client speaks.
    pub version: u32,
    /// What it wants to know.
    pub query: Query,
    /// How many rows it wants at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl Request {
    /// A question in this version.
    pub fn new(query: Query, limit: Option<usize>) -> Request {
        Request { version: VERSION, query, limit }
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
    /// Registered devices.
    Devices,
    /// MSRP legs.
    Legs,
    /// CPM sessions with their legs.
    Sessions,
    /// Counters of the process.
    Stats,
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
    /// Registered devices.
    Devices {
        /// How many there are, shown or not.
        total: usize,
        /// As many as were asked for.
        devices: Vec<DeviceView>,
    },
    /// The question was not understood, or cannot be answered now.
    Error {
        /// Why, in one sentence.
        message: String,
    },
    /// MSRP legs.
    Legs {
        /// How many there are, shown or not.
        total: usize,
        /// As many as were asked for.
        legs: Vec<LegRow>,
    },
    /// CPM sessions.
    Sessions {
        /// How many there are, shown or not.
        total: usize,
        /// As many as were asked for.
        sessions: Vec<SessionView>,
    },
    /// Counters of the process.
    Stats {
        /// All of them.
        stats: Box<Stats>,
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
    /// Counters of the SIP shell, by its own names.
    pub sip: serde_json::Value,
}

/// How much of the traffic the kernel carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FastPathStats {
    /// `auto`, `off` or `required`, as configured.
    pub mode: String,
    /// Can this process use it?
    pub available: bool,
    /// SENDs that the kernel forwarded.
    pub sends_in_kernel: u64,
    /// SENDs that userspace carried, by the reason why.
    pub sends_in_userspace: BTreeMap<UserspaceReason, u64>,
}

/// Why a SEND was carried by userspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserspaceReason {
    /// This build has no in-kernel path.
    NotBuilt,
    /// The operator turned it off.
    SwitchedOff,
}
