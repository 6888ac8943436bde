//! What each user wants done with messages that no device takes: the `<actions>` of clause 8.4.1.
//!
//! The table is filled at the start from the operator's defaults and the users file. Whoever learns of a user's wish
//! in another way, as from an XDMS by XCAP, puts it in with [`PreferenceTable::set`]; those who ask see no difference.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Policy;
use crate::core::{config::User, registry::address_key};

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
}

impl PreferenceTable {
    /// The operator's defaults, and what the users file says of its users.
    pub fn new(policy: &Policy, users: &[User]) -> PreferenceTable {
        let defaults = Preferences {
            allow_offline_storage: policy.allow_offline_storage,
            allow_store: policy.allow_store,
            allow_defer: policy.allow_defer,
        };
        let mut table = PreferenceTable { defaults, users: HashMap::new() };
        for user in users.iter().filter(|user| user.preferences != UserPreferences::default()) {
            user.addresses.iter().for_each(|address| table.set(address, user.preferences));
        }
        table
    }

    /// Sets what one user wants.
    pub fn set(&mut self, address: &str, preferences: UserPreferences) {
        self.users.insert(key(address), preferences);
    }

    /// What this user wants.
    pub fn of(&self, address: &str) -> Preferences {
        let user = self.users.get(&key(address)).copied().unwrap_or_default();
        Preferences {
            allow_offline_storage: user.allow_offline_storage.unwrap_or(self.defaults.allow_offline_storage),
            allow_store: user.allow_store.unwrap_or(self.defaults.allow_store),
            allow_defer: user.allow_defer.unwrap_or(self.defaults.allow_defer),
        }
    }
}

fn key(address: &str) -> String {
    address_key(address).unwrap_or_else(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_s_own_word_counts_before_the_operator_s() {
        let policy = Policy { allow_store: true, ..Policy::default() };
        let mut table = PreferenceTable::new(&policy, &[]);
        let default = Preferences { allow_store: true, ..Preferences::default() };
        assert_eq!(table.of("sip:ann@example.org"), default);
        let own = UserPreferences { allow_store: Some(false), allow_defer: Some(true), ..Default::default() };
        table.set("sip:ann@Example.ORG", own);
        let ann = Preferences { allow_defer: true, ..Preferences::default() };
        assert_eq!(table.of("sip:ann@example.org"), ann);
        assert_eq!(table.of("sip:bea@example.org"), default);
    }
}
