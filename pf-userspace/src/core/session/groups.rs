//! How a group session ended: may it be started again as a long-lived one? (Clause 8.2.2.3, its list of Reasons.)

use serde::{Deserialize, Serialize};

use super::{Session, context::Context, leg::F};
use crate::core::groups::EndedGroup;

/// How a group session ended for its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupEnd {
    /// The controlling function ended it for good (`SIP;cause=410`).
    Gone,
    /// The controlling function ended it because nobody said anything (`SIP;cause=480`).
    Inactive,
    /// The user left it.
    Left,
    /// Its session timer expired.
    Expired,
    /// Anything else.
    Other,
}

impl GroupEnd {
    /// What the cause in the controlling function's BYE says.
    pub(crate) fn from_cause(cause: Option<u16>) -> GroupEnd {
        match cause {
            Some(410) => GroupEnd::Gone,
            Some(480) => GroupEnd::Inactive,
            _ => GroupEnd::Other,
        }
    }

    /// May it be started again as a long-lived session? `None` where nobody has said so.
    pub fn restartable(self) -> Option<bool> {
        match self {
            GroupEnd::Gone => Some(false),
            GroupEnd::Inactive => Some(true),
            GroupEnd::Left | GroupEnd::Expired | GroupEnd::Other => None,
        }
    }
}

impl Session {
    /// Notes the end of a group session for the shard, which remembers it when the session is no more.
    pub(super) fn group_ended(&mut self, cx: &Context<'_>, end: GroupEnd) {
        if !self.invitation.group {
            return;
        }
        let header = |name| self.invitation.headers.get(name).map(str::to_owned);
        self.ended_group = Some(EndedGroup {
            user: self.invitation.user.clone(),
            focus: self.legs[F].dialog.target.clone(),
            conversation_id: header("Conversation-ID"),
            contribution_id: header("Contribution-ID"),
            end,
            at: cx.now,
        });
    }

    /// The end of the group session, if it is new.
    pub(crate) fn take_ended_group(&mut self) -> Option<EndedGroup> {
        self.ended_group.take()
    }
}
