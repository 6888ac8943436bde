//! What a session wants kept in the message store of its user (clause 8.5), and what became of it.
//!
//! The core orders with [`Command::Store`](super::Command), goes on with other events, and hears of the outcome in
//! [`Event::Store`](super::Event). A store that says nothing holds nobody up for longer than [`StoreConfig::wait`].

mod chat;
mod counters;
mod object;

use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

pub use chat::{ChatMessage, Direction, Missing, Part, Place, Recorded};
pub use counters::{RecordingCounters, StoreCounters};
pub use object::{Body, Content, Folder, GroupState, Message, Object, SessionEnd, SessionInfo};

/// An order to the store, named by the core. Unique over the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OrderId(pub u64);

/// What names an object in its store: what IMAP calls the UID (RFC 3501 section 2.3.1.1), which rises with every
/// object and is never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uid(pub NonZeroU32);

impl std::fmt::Display for Uid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One object to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its name, for the outcome.
    pub id: OrderId,
    /// What is to be stored.
    pub object: Object,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which order.
    pub id: OrderId,
    /// The name that the object has in the store, once it is there durably.
    pub stored: Result<Uid, StoreError>,
}

/// Why an object was not stored. It never keeps a session from ending (TMR-10).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// More orders wait than are kept.
    #[error("too many objects wait to be stored")]
    Busy,
    /// Reading or writing failed, or the store has ended.
    #[error("{0}")]
    Failed(String),
    /// The store may grow no further.
    #[error("the store is full")]
    Full,
}

/// What the core knows of its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// How long a session waits for the outcome of an order before it goes on without.
    pub wait: Duration,
    /// Octets of intercepted messages of a stream that may be held at once, until they are stored.
    pub held_octets: u64,
    /// Octets of missed messages of one session that may wait for the return of its client.
    pub deferred_octets: u64,
    /// Octets of intercepted messages that are stored of one session at most.
    pub session_octets: u64,
}
