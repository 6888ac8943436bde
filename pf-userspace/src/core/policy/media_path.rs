//! Clause 8.2.2.1 step 4: does `pf` stay in the media path of a session, or is it a proxy?

use serde::{Deserialize, Serialize};

use super::{Policy, preferences::Preferences};

/// When `pf` stays in the media path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediaPath {
    /// For every session.
    #[default]
    Always,
    /// For the sessions that another decision needs it for; the others are proxied.
    WhenNeeded,
}

/// Why `pf` stays in the media path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The user's other devices get what the originating one sends.
    DirectDelivery,
    /// What the far end refuses may go to the ISF.
    Interworking,
    /// The two sides may not understand each other's MSRP.
    MsrpInteroperability,
    /// The operator wants it for every session.
    Operator,
    /// Something of the session is to be stored or kept for later.
    Storage,
    /// The operator wants it for this user.
    User,
}

/// Why `pf` stays in the media path of a session of a user with these preferences; `None`: nothing needs it there, so
/// it is a proxy. `wanted`: the operator wants it for this user (`policy.media_path_users`).
pub fn media_path(policy: &Policy, preferences: &Preferences, wanted: bool) -> Option<Reason> {
    let storage = preferences.allow_offline_storage || preferences.allow_store || preferences.allow_defer;
    // Each of these is impossible without the messages passing through.
    let needed = [
        (policy.media_path == MediaPath::Always, Reason::Operator),
        (policy.direct_delivery, Reason::DirectDelivery),
        (!policy.interworking_after.is_empty(), Reason::Interworking),
        (policy.legacy_matching, Reason::MsrpInteroperability),
        (storage, Reason::Storage),
        (wanted, Reason::User),
    ];
    needed.into_iter().find_map(|(needed, reason)| needed.then_some(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Rows: INV-07
    #[test]
    fn one_reason_is_enough_and_without_any_it_is_a_proxy() {
        let none = Policy { media_path: MediaPath::WhenNeeded, direct_delivery: false, ..Policy::default() };
        let nothing = Preferences::default();
        assert_eq!(media_path(&none, &nothing, false), None);
        assert_eq!(media_path(&none, &nothing, true), Some(Reason::User));
        for preferences in [
            Preferences { allow_offline_storage: true, ..nothing },
            Preferences { allow_store: true, ..nothing },
            Preferences { allow_defer: true, ..nothing },
        ] {
            assert_eq!(media_path(&none, &preferences, false), Some(Reason::Storage));
        }
        for (policy, reason) in [
            (Policy { media_path: MediaPath::Always, ..none.clone() }, Reason::Operator),
            (Policy { direct_delivery: true, ..none.clone() }, Reason::DirectDelivery),
            (Policy { interworking_after: vec![404], ..none.clone() }, Reason::Interworking),
            (Policy { legacy_matching: true, ..none.clone() }, Reason::MsrpInteroperability),
        ] {
            assert_eq!(media_path(&policy, &nothing, false), Some(reason));
        }
        assert_eq!(
            media_path(&Policy::default(), &nothing, false),
            Some(Reason::Operator),
            "as it always was"
        );
    }
}
