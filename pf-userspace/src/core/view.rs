//! What an operator sees of the core: plain data, printed as tables or JSON.

use serde::{Deserialize, Serialize};

use super::{
    event::{LegCounters, LegKey, LegRole},
    session::GroupEnd,
};

/// One CPM session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    /// Number of the session in this process.
    pub id: u64,
    /// Are we in its media path?
    #[serde(default)]
    pub mode: SessionMode,
    /// Who started it (CPM address).
    pub originator: String,
    /// Where it goes (Request-URI).
    pub destination: String,
    /// Conversation-ID.
    pub conversation_id: Option<String>,
    /// Contribution-ID.
    pub contribution_id: Option<String>,
    /// Seconds since the INVITE.
    pub age_seconds: u64,
    /// `inviting`, `established`, `ending`.
    pub state: String,
    /// Are its messages recorded? How many were, the counters of its legs say.
    #[serde(default)]
    pub recorded: bool,
    /// Its legs: originator, far end, devices in the order they were invited.
    pub legs: Vec<LegView>,
}

/// What we are for a session (clause 8.2.2.1 steps 4 and 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionMode {
    /// In its media path, with dialogs of our own.
    #[default]
    B2bua,
    /// On its signalling path only.
    Proxy,
}

/// One leg of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegView {
    /// Whose it is.
    pub role: LegRole,
    /// Device name, instance or URI.
    pub name: String,
    /// `inviting`, `established`, `refused 486`, `cancelled`, `down: slow` ...
    pub state: String,
    /// Call-ID of its dialog.
    pub call_id: String,
    /// Its MSRP legs (one per m-line).
    pub media: Vec<LegKey>,
    /// What its MSRP legs have carried together, as last reported.
    pub counters: LegCounters,
}

/// A group session that has ended for a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupView {
    /// The user's address of record.
    pub user: String,
    /// The last CPM Group Session Identity.
    pub focus: String,
    /// Conversation-ID.
    pub conversation_id: Option<String>,
    /// Contribution-ID.
    pub contribution_id: Option<String>,
    /// How it ended.
    pub end: GroupEnd,
    /// May it be started again as a long-lived session? Absent where nobody has said so.
    pub restartable: Option<bool>,
    /// Seconds since then.
    pub ended_seconds: u64,
}

/// One registered device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceView {
    /// The user's address of record.
    pub user: String,
    /// `+sip.instance`, without brackets.
    pub instance: Option<String>,
    /// Display name of the Contact.
    pub name: String,
    /// Contact URI.
    pub contact: String,
    /// User-Agent.
    pub user_agent: Option<String>,
    /// Feature tags as registered.
    pub features: Vec<String>,
    /// Is it registered for CPM sessions?
    pub cpm: bool,
    /// Seconds until its registration ends.
    pub expires_seconds: u64,
}
