//! How the store has done.

use serde::{Deserialize, Serialize};

use super::StoreError;

/// Orders by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreCounters {
    /// Orders given.
    pub ordered: u64,
    /// Objects that are in the store.
    pub stored: u64,
    /// Orders refused because too many waited.
    pub busy: u64,
    /// Orders that failed.
    pub failed: u64,
    /// Orders refused because the store is full.
    pub full: u64,
    /// Messages for a lost client beyond what is kept of one session.
    #[serde(default)]
    pub refused: u64,
    /// Orders that a session did not wait for any longer. Their outcome is counted as well when it comes.
    pub late: u64,
}

/// The messages of recorded sessions, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingCounters {
    /// Messages that are in the store.
    pub messages: u64,
    /// Octets of them.
    pub octets: u64,
    /// Octets that wait for the store now.
    pub waiting_octets: u64,
    /// Are the sources of recorded sessions held up now, since the store cannot follow?
    pub holding: bool,
    /// How often they were.
    pub held: u64,
    /// Messages that their senders gave up.
    pub abandoned: u64,
    /// Messages that were noted as incomplete, since chunks of them have not come.
    pub incomplete: u64,
    /// Objects that the store did not take.
    pub lost: u64,
}

impl StoreCounters {
    /// Counts an outcome.
    pub(crate) fn note<T>(&mut self, stored: &Result<T, StoreError>) {
        let counter = match stored {
            Ok(_) => &mut self.stored,
            Err(StoreError::Busy) => &mut self.busy,
            Err(StoreError::Failed(_)) => &mut self.failed,
            Err(StoreError::Full) => &mut self.full,
        };
        *counter = counter.saturating_add(1);
    }
}
