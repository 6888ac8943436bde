//! The transactions that are open on one outgoing connection, in the order they were sent.

use std::collections::VecDeque;

use pf_common::msrp::{FailureReport, Ident};

use super::{ConnId, LegId};
use crate::core::time::Time;

/// A request that was sent and waits for its response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// Transaction id on this connection.
    pub(super) transaction: Ident,
    /// The leg it was sent on.
    pub(super) leg: LegId,
    /// When its last octet was queued; absent while the frame is open.
    pub(super) at: Option<Time>,
    /// What its response is for.
    pub(super) answer: AnswerTo,
}

/// What becomes of a response.
#[derive(Clone, Copy, Debug)]
pub(super) enum AnswerTo {
    /// A copy: counted only.
    Nobody,
    /// Our own binding SEND.
    Ourselves,
    /// The last chunk of a message that the client missed, with the number of its delivery.
    Delivery(u64),
    /// The one response to the sender.
    Sender(Sender),
    /// One of the parts into which the sender's chunk was cut: joined with the others.
    Part(Sender),
}

/// Who waits for a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    pub(super) conn: ConnId,
    pub(super) leg: LegId,
    pub(super) transaction: Ident,
    pub(super) report: FailureReport,
}

impl Sender {
    /// Is it the same request?
    pub(super) fn is(&self, other: &Sender) -> bool {
        self.conn == other.conn && self.transaction == other.transaction
    }
}

/// Open transactions. Responses mostly come in the order of the requests, so searching begins at the oldest.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// Digests of the ids, lowest bit set; 0 for an entry that is done.
    digests: VecDeque<u64>,
    entries: VecDeque<Sent>,
    /// Number of the first entry.
    base: u64,
}

impl Live {
    /// Entries, answered ones between unanswered ones included.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn contains(&self, transaction: &Ident) -> bool {
        self.position(transaction).is_some()
    }

    /// Adds a transaction and gives its number.
    pub(super) fn push(&mut self, sent: Sent) -> u64 {
        self.digests.push_back(sent.transaction.digest() | 1);
        self.entries.push_back(sent);
        self.base + self.entries.len() as u64 - 1
    }

    /// The last octet of number `n` was queued.
    pub(super) fn complete(&mut self, n: u64, now: Time) {
        if let Some(sent) = n.checked_sub(self.base).and_then(|n| self.entries.get_mut(n as usize)) {
            sent.at = Some(now);
        }
    }

    /// Number `n` becomes one part of several; gives what the response to a further part is for.
    pub(super) fn split(&mut self, n: u64) -> Option<AnswerTo> {
        let n = n.checked_sub(self.base)? as usize;
        let sent = self.entries.get_mut(n).filter(|_| self.digests.get(n).is_some_and(|d| *d != 0))?;
        if let AnswerTo::Sender(sender) = sent.answer {
            sent.answer = AnswerTo::Part(sender);
        }
        Some(sent.answer)
    }

    /// The response to number `n` is nobody's any more.
    pub(super) fn disown(&mut self, n: u64) {
        if let Some(sent) = n.checked_sub(self.base).and_then(|n| self.entries.get_mut(n as usize)) {
            sent.answer = AnswerTo::Nobody;
        }
    }

    /// What the response to number `n` is for, if it is still to come.
    pub(super) fn awaited(&self, n: u64) -> Option<AnswerTo> {
        let n = n.checked_sub(self.base)? as usize;
        self.entries.get(n).filter(|_| self.digests.get(n).is_some_and(|d| *d != 0)).map(|sent| sent.answer)
    }

    /// Number `n` was never sent.
    pub(super) fn withdraw(&mut self, n: u64) {
        if let Some(n) = n.checked_sub(self.base) {
            self.take_at(n as usize);
        }
    }

    /// Takes the transaction with this id.
    pub(super) fn take(&mut self, transaction: &Ident) -> Option<Sent> {
        let n = self.position(transaction)?;
        self.take_at(n)
    }

    /// Takes the oldest transaction that `which` chooses.
    pub(super) fn take_first(&mut self, which: impl Fn(&Sent) -> bool) -> Option<Sent> {
        let n =
            self.digests.iter().zip(&self.entries).position(|(digest, sent)| *digest != 0 && which(sent))?;
        self.take_at(n)
    }

    /// The open ones, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Sent> {
        self.digests.iter().zip(&self.entries).filter(|(digest, _)| **digest != 0).map(|(_, sent)| sent)
    }

    fn position(&self, transaction: &Ident) -> Option<usize> {
        let digest = transaction.digest() | 1;
        let mut found = self.digests.iter().enumerate().filter(|(_, d)| **d == digest);
        found
            .find(|(n, _)| self.entries.get(*n).is_some_and(|s| s.transaction == *transaction))
            .map(|(n, _)| n)
    }

    fn take_at(&mut self, n: usize) -> Option<Sent> {
        let sent = *self.entries.get(n)?;
        *self.digests.get_mut(n)? = 0;
        while self.digests.front() == Some(&0) {
            self.digests.pop_front();
            self.entries.pop_front();
            self.base += 1;
        }
        Some(sent)
    }
}
