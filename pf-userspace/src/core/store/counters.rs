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
