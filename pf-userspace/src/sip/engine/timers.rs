//! Deadlines of all transactions, each with at most one.

use std::{collections::BTreeSet, time::Instant};

use super::client::ClientId;
use crate::core::event::ServerTx;

/// Whose deadline it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    Client(ClientId),
    Server(ServerTx),
}

/// Two deadlines of one transaction, the earlier of which is in [`Timers`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deadlines {
    /// The next retransmission.
    pub(super) again: Option<Instant>,
    /// The end of the present state.
    pub(super) end: Option<Instant>,
    armed: Option<Instant>,
}

impl Deadlines {
    pub(super) fn new(again: Option<Instant>, end: Instant) -> Deadlines {
        Deadlines { again, end: Some(end), armed: None }
    }

    fn first(&self) -> Option<Instant> {
        match (self.again, self.end) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

/// What is due when.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeSet<(Instant, Owner)>,
}

impl Timers {
    pub(super) fn first(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Brings the entry of `owner` in line with its deadlines.
    pub(super) fn arm(&mut self, owner: Owner, deadlines: &mut Deadlines) {
        let first = deadlines.first();
        if deadlines.armed != first {
            if let Some(at) = deadlines.armed {
                self.due.remove(&(at, owner));
            }
            if let Some(at) = first {
                self.due.insert((at, owner));
            }
            deadlines.armed = first;
        }
    }

    /// Forgets `owner`, which is gone.
    pub(super) fn disarm(&mut self, owner: Owner, deadlines: &Deadlines) {
        if let Some(at) = deadlines.armed {
            self.due.remove(&(at, owner));
        }
    }

    /// Takes out the next one that is due. Its owner then moves that deadline or goes.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Owner> {
        let (at, owner) = *self.due.first()?;
        (at <= now).then(|| {
            self.due.remove(&(at, owner));
            owner
        })
    }
}
