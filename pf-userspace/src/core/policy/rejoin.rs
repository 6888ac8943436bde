//! Clause 8.2.2.7: what the operator decides when a client of the user wants to join a group session again.

use serde::{Deserialize, Serialize};

use super::Policy;
use crate::core::sip::Uri;

/// Who decides on long-lived group sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LongLivedGroups {
    /// The operator's policy (clause 8.2.2.7.2).
    #[default]
    Decided,
    /// The controlling function alone: it hears of a re-join when the client says something (clause 8.2.2.7.1).
    Undecided,
}

/// How a group session that a client wants to join again stands, apart from those that we are connected in for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// It goes on without us, as far as we know.
    Active,
    /// Nobody said anything for so long that the controlling function ended it.
    Inactive,
    /// The controlling function ended it for good.
    Gone,
}

/// What is done with such an INVITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Like any other (clause 8.2.2.1).
    Invite,
    /// The client is answered, and the controlling function is asked when the client says something.
    Hold,
    /// `403` with `127 Service not authorised`.
    Refuse,
}

impl Policy {
    /// What is done with an INVITE that asks for a session which stands like this and has this identity (AMB-29).
    pub fn rejoins(&self, stands: Stands, focus: &str) -> Decision {
        if self.long_lived_groups == LongLivedGroups::Undecided {
            return Decision::Hold;
        }
        match stands {
            Stands::Active => Decision::Invite,
            Stands::Gone => Decision::Refuse,
            Stands::Inactive if !self.restart_group_sessions || !self.admits_focus(focus) => Decision::Refuse,
            Stands::Inactive if self.restart_at_first_message => Decision::Hold,
            Stands::Inactive => Decision::Invite,
        }
    }

    /// May sessions of this controlling function be started again?
    fn admits_focus(&self, focus: &str) -> bool {
        let host = Uri::parse(focus).map(|uri| uri.host).unwrap_or_default();
        let hosts = &self.restart_controlling_functions;
        hosts.is_empty() || hosts.iter().any(|admitted| admitted.eq_ignore_ascii_case(&host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOCUS: &str = "sip:conf-1@focus.example.net;transport=tcp";

    // Rows: JOIN-09, JOIN-10, JOIN-11, JOIN-16
    #[test]
    fn only_inactive_sessions_need_permission() {
        let strict = Policy::default();
        assert_eq!(strict.rejoins(Stands::Active, FOCUS), Decision::Invite);
        assert_eq!(strict.rejoins(Stands::Inactive, FOCUS), Decision::Refuse);
        let open = Policy { restart_group_sessions: true, ..Policy::default() };
        assert_eq!(open.rejoins(Stands::Inactive, FOCUS), Decision::Invite);
        assert_eq!(open.rejoins(Stands::Gone, FOCUS), Decision::Refuse);
        let hosts =
            |host: &str| Policy { restart_controlling_functions: vec![host.to_owned()], ..open.clone() };
        assert_eq!(hosts("other.example.net").rejoins(Stands::Inactive, FOCUS), Decision::Refuse);
        assert_eq!(hosts("Focus.example.NET").rejoins(Stands::Inactive, FOCUS), Decision::Invite);
        let later = Policy { restart_at_first_message: true, ..open.clone() };
        assert_eq!(later.rejoins(Stands::Inactive, FOCUS), Decision::Hold);
        assert_eq!(later.rejoins(Stands::Active, FOCUS), Decision::Invite);
    }

    // Rows: JOIN-05
    #[test]
    fn without_a_policy_the_controlling_function_decides_when_there_is_something_to_say() {
        let none = Policy { long_lived_groups: LongLivedGroups::Undecided, ..Policy::default() };
        for stands in [Stands::Active, Stands::Inactive, Stands::Gone] {
            assert_eq!(none.rejoins(stands, FOCUS), Decision::Hold);
        }
    }
}
