//! What each user wants done with messages that no device takes: the `<actions>` of clause 8.4.1.
//!
//! The user's own rules in the XDMS count first (`retrieval`), then what the users file says of the user, then the
//! operator's defaults.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{
    Policy,
    retrieval::{Copies, Question, Retrieved, XdmsConfig, XdmsCounters},
};
use crate::core::{Time, config::User, registry::address_key};

/// The settings of one user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preferences {
    /// `<allow-offline-storage>`: record the conversation history in the message store.
    pub allow_offline_storage: bool,
    /// `<allow-store>`: store what no device took.
    pub allow_store: bool,
    /// `<allow-defer>`: keep what no device took, for a later delivery.
    pub allow_defer: bool,
}

/// What is set for one user; what is not set is as the operator's policy says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserPreferences {
    /// As in [`Preferences`].
    pub allow_offline_storage: Option<bool>,
    /// As in [`Preferences`].
    pub allow_store: Option<bool>,
    /// As in [`Preferences`].
    pub allow_defer: Option<bool>,
}

/// The settings of all users.
#[derive(Clone, Debug, Default)]
pub struct PreferenceTable {
    defaults: Preferences,
    /// By address key. Looked up only, never walked.
    users: HashMap<String, UserPreferences>,
    xdms: Option<XdmsConfig>,
    copies: Copies,
}

impl PreferenceTable {
    /// The operator's defaults, and what the users file says of its users. Without an XDMS that is all there is.
    pub fn new(policy: &Policy, users: &[User], xdms: Option<XdmsConfig>) -> PreferenceTable {
        let mut table = PreferenceTable {
            defaults: Preferences::default(),
            users: HashMap::new(),
            xdms,
            copies: Copies::default(),
        };
        table.reload(policy, users);
        table
    }

    /// The operator's defaults and the users file are these from now on.
    pub fn reload(&mut self, policy: &Policy, users: &[User]) {
        self.defaults = Preferences {
            allow_offline_storage: policy.allow_offline_storage,
            allow_store: policy.allow_store,
            allow_defer: policy.allow_defer,
        };
        self.users.clear();
        for user in users.iter().filter(|user| user.preferences != UserPreferences::default()) {
            user.addresses.iter().for_each(|address| self.set(address, user.preferences));
        }
    }

    /// Sets what the users file says of one user.
    fn set(&mut self, address: &str, preferences: UserPreferences) {
        self.users.insert(key(address), preferences);
    }

    /// What this user wants done with what is said between the user and `other`.
    pub fn of(&self, address: &str, other: &str, now: Time) -> Preferences {
        let rules = self.copies.rules(address).zip(self.xdms);
        rules.map_or_else(|| self.default_of(address), |(rules, xdms)| rules.of(other, xdms.seconds(now)))
    }

    fn default_of(&self, address: &str) -> Preferences {
        let user = self.users.get(&key(address)).copied().unwrap_or_default();
        Preferences {
            allow_offline_storage: user.allow_offline_storage.unwrap_or(self.defaults.allow_offline_storage),
            allow_store: user.allow_store.unwrap_or(self.defaults.allow_store),
            allow_defer: user.allow_defer.unwrap_or(self.defaults.allow_defer),
        }
    }

    /// May the user want more than [`PreferenceTable::of`] says, because the XDMS has not answered yet?
    pub fn may_want_more(&self, address: &str) -> bool {
        self.xdms.is_some() && !self.copies.knows(address)
    }

    /// The question to send to the XDMS about a user; none where one is on its way.
    pub(crate) fn ask(&mut self, address: &str) -> Option<Question> {
        self.copies.ask(address)
    }

    /// An answer is not waited for any longer.
    pub(crate) fn is_late(&mut self) {
        self.copies.counters.late += 1;
    }

    /// How the XDMS has done, where there is one.
    pub fn xdms_counters(&self) -> Option<XdmsCounters> {
        self.xdms.map(|_| self.copies.counters)
    }

    /// Takes an answer of the XDMS in.
    pub(crate) fn take(&mut self, answer: Retrieved) {
        self.copies.take(answer);
    }
}

fn key(address: &str) -> String {
    address_key(address).unwrap_or_else(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOB: &str = "sip:bob@example.org";

    #[test]
    fn a_user_s_own_word_counts_before_the_operator_s() {
        let policy = Policy { allow_store: true, ..Policy::default() };
        let mut table = PreferenceTable::new(&policy, &[], None);
        let default = Preferences { allow_store: true, ..Preferences::default() };
        assert_eq!(table.of("sip:ann@example.org", BOB, Time::ZERO), default);
        let own = UserPreferences { allow_store: Some(false), allow_defer: Some(true), ..Default::default() };
        table.set("sip:ann@Example.ORG", own);
        let ann = Preferences { allow_defer: true, ..Preferences::default() };
        assert_eq!(table.of("sip:ann@example.org", BOB, Time::ZERO), ann);
        assert_eq!(table.of("sip:bea@example.org", BOB, Time::ZERO), default);
    }
}
