//! Clause 8.4.1, retrieving a user's preferences: what the XDMS is asked, and the copies of what it has answered.
//!
//! The core asks with [`Command::Preferences`](crate::core::Command), goes on with other events, and hears of the
//! answer in [`Event::Preferences`](crate::core::Event). While the XDMS says nothing its last good answer counts.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::access_rules::AccessRules;
use crate::core::Time;

/// What the core knows of its XDMS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdmsConfig {
    /// How long the beginning of a record waits for an answer.
    pub wait: Duration,
    /// The wall clock at [`Time::ZERO`], since 1970.
    pub epoch: Duration,
}

impl XdmsConfig {
    /// The wall clock, in seconds since 1970.
    pub fn seconds(&self, now: Time) -> i64 {
        i64::try_from((self.epoch + now.since_start()).as_secs()).unwrap_or(i64::MAX)
    }
}

/// What does this user want?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The user's address of record.
    pub user: String,
    /// The copy that we have (RFC 9110 section 8.8.3): without a change of it nothing need be sent.
    pub etag: Option<String>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retrieved {
    /// Whose preferences, as in the question.
    pub user: String,
    /// What was found.
    pub found: Found,
}

/// What the XDMS has of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// This document.
    Document {
        /// What it says.
        rules: AccessRules,
        /// How long it is, in octets.
        octets: usize,
        /// Names this state of it.
        etag: Option<String>,
    },
    /// There was no answer that can be used.
    Failed,
    /// Nothing: the user has laid down nothing.
    Nothing,
    /// What we have a copy of.
    Unchanged,
}

/// How the XDMS has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct XdmsCounters {
    /// Answers with a document.
    pub documents: u64,
    /// Answers that the copy is up to date.
    pub unchanged: u64,
    /// Answers that the user has laid down nothing.
    pub nothing: u64,
    /// Questions without an answer that can be used.
    pub failed: u64,
    /// Records that did not wait for the answer any longer.
    pub late: u64,
}

/// Octets of documents that copies are kept of, at most; for a further one the oldest go.
const MAX_OCTETS: usize = 64 << 20;
/// What a copy costs beside its document.
const OVERHEAD: usize = 512;

/// The last good answer of each user.
#[derive(Clone, Debug, Default)]
pub(super) struct Copies {
    /// Looked up only, never walked.
    by_user: HashMap<String, Kept>,
    /// The users, in the order in which their answers came.
    ages: BTreeMap<u64, String>,
    last: u64,
    octets: usize,
    /// Who is being asked for.
    asking: HashSet<String>,
    pub(super) counters: XdmsCounters,
}

#[derive(Clone, Debug)]
struct Kept {
    /// None: the user has no document.
    rules: Option<AccessRules>,
    etag: Option<String>,
    cost: usize,
    age: u64,
}

impl Copies {
    /// The question to send about a user; none where one is on its way.
    pub(super) fn ask(&mut self, user: &str) -> Option<Question> {
        if !self.asking.insert(user.to_owned()) {
            return None;
        }
        let etag = self.by_user.get(user).and_then(|kept| kept.etag.clone());
        Some(Question { user: user.to_owned(), etag })
    }

    /// Takes an answer in.
    pub(super) fn take(&mut self, Retrieved { user, found }: Retrieved) {
        self.asking.remove(&user);
        let counter = match &found {
            Found::Document { .. } => &mut self.counters.documents,
            Found::Failed => &mut self.counters.failed,
            Found::Nothing => &mut self.counters.nothing,
            Found::Unchanged => &mut self.counters.unchanged,
        };
        *counter += 1;
        match found {
            Found::Document { rules, octets, etag } => self.keep(user, Some(rules), etag, octets),
            Found::Nothing => self.keep(user, None, None, 0),
            Found::Unchanged => {
                if let Some(kept) = self.forget(&user) {
                    self.keep(user, kept.rules, kept.etag, kept.cost.saturating_sub(OVERHEAD));
                }
            }
            Found::Failed => {}
        }
    }

    /// Has the XDMS ever said what the user wants, or that there is nothing?
    pub(super) fn knows(&self, user: &str) -> bool {
        self.by_user.contains_key(user)
    }

    /// What the user has laid down.
    pub(super) fn rules(&self, user: &str) -> Option<&AccessRules> {
        self.by_user.get(user)?.rules.as_ref()
    }

    fn keep(&mut self, user: String, rules: Option<AccessRules>, etag: Option<String>, octets: usize) {
        self.forget(&user);
        let cost = octets + OVERHEAD;
        self.last += 1;
        self.octets += cost;
        self.ages.insert(self.last, user.clone());
        self.by_user.insert(user, Kept { rules, etag, cost, age: self.last });
        while self.octets > MAX_OCTETS
            && let Some((_, oldest)) = self.ages.pop_first()
        {
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, user: &str) -> Option<Kept> {
        let kept = self.by_user.remove(user)?;
        self.ages.remove(&kept.age);
        self.octets -= kept.cost;
        Some(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(octets: usize, etag: &str) -> Found {
        Found::Document { rules: AccessRules::default(), octets, etag: Some(etag.to_owned()) }
    }

    fn answer(copies: &mut Copies, user: &str, found: Found) {
        copies.take(Retrieved { user: user.to_owned(), found });
    }

    #[test]
    fn a_copy_lasts_until_there_is_a_newer_one() {
        let mut copies = Copies::default();
        let etag = |copies: &mut Copies| copies.ask("ann").map(|question| question.etag);
        assert_eq!(etag(&mut copies), Some(None));
        assert_eq!(etag(&mut copies), None, "one question at a time");
        answer(&mut copies, "ann", Found::Failed);
        assert!(!copies.knows("ann"));
        assert_eq!(etag(&mut copies), Some(None));
        answer(&mut copies, "ann", document(10, "1"));
        assert_eq!(etag(&mut copies), Some(Some("1".to_owned())));
        answer(&mut copies, "ann", Found::Failed);
        assert!(copies.rules("ann").is_some());
        assert_eq!(etag(&mut copies), Some(Some("1".to_owned())));
        answer(&mut copies, "ann", Found::Unchanged);
        assert!(copies.rules("ann").is_some());
        assert_eq!(etag(&mut copies), Some(Some("1".to_owned())));
        answer(&mut copies, "ann", Found::Nothing);
        assert!(copies.knows("ann") && copies.rules("ann").is_none());
        assert_eq!(etag(&mut copies), Some(None));
    }

    #[test]
    fn the_oldest_copies_make_room() {
        let mut copies = Copies::default();
        let third = MAX_OCTETS / 3 - OVERHEAD;
        for user in ["a", "b", "c"] {
            answer(&mut copies, user, document(third, "1"));
        }
        answer(&mut copies, "a", Found::Unchanged);
        answer(&mut copies, "d", document(third, "1"));
        let known = ["a", "b", "c", "d"].map(|user| copies.knows(user));
        assert_eq!(known, [true, false, true, true]);
        assert_eq!((copies.ages.len(), copies.octets), (3, 3 * (third + OVERHEAD)));
    }
}
