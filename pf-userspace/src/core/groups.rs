//! Group sessions that have ended, as far as a later re-join needs to know of them (clause 8.2.2.7).

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::{Time, session::GroupEnd, view::GroupView};

/// A group session that has ended for a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedGroup {
    /// The user's address of record.
    pub user: String,
    /// The last CPM Group Session Identity.
    pub focus: String,
    /// Conversation-ID.
    pub conversation_id: Option<String>,
    /// Contribution-ID.
    pub contribution_id: Option<String>,
    /// How it ended.
    pub end: GroupEnd,
    /// When.
    pub at: Time,
}

/// The group sessions that ended last; of each user and session identity the last end only.
#[derive(Clone, Debug, Default)]
pub struct EndedGroups {
    most: usize,
    /// By user and session identity.
    groups: BTreeMap<(String, String), (u64, EndedGroup)>,
    /// The oldest first; an entry whose number is not the group's is out of date.
    order: VecDeque<(u64, (String, String))>,
    last: u64,
}

impl EndedGroups {
    /// A table of so many group sessions at most: for a further one the oldest is forgotten.
    pub fn new(most: usize) -> EndedGroups {
        EndedGroups { most, ..EndedGroups::default() }
    }

    /// Remembers one.
    pub fn note(&mut self, group: EndedGroup) {
        let key = (group.user.clone(), group.focus.clone());
        self.last += 1;
        self.order.push_back((self.last, key.clone()));
        self.groups.insert(key, (self.last, group));
        while self.groups.len() > self.most || self.order.len() > 2 * self.most {
            let Some((number, key)) = self.order.pop_front() else { return };
            if self.groups.get(&key).is_some_and(|(last, _)| *last == number) {
                self.groups.remove(&key);
            }
        }
    }

    /// The end of this user's session with this identity, where it is remembered.
    pub fn get(&self, user: &str, focus: &str) -> Option<&EndedGroup> {
        self.groups.get(&(user.to_owned(), focus.to_owned())).map(|(_, group)| group)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// What an operator sees of them, the last one first.
    pub fn views(&self, now: Time) -> impl Iterator<Item = GroupView> {
        let current = |number: u64, key: &(String, String)| {
            self.groups.get(key).filter(|(last, _)| *last == number).map(|(_, group)| group)
        };
        self.order.iter().rev().filter_map(move |(number, key)| current(*number, key)).map(move |group| {
            GroupView {
                user: group.user.clone(),
                focus: group.focus.clone(),
                conversation_id: group.conversation_id.clone(),
                contribution_id: group.contribution_id.clone(),
                end: group.end,
                restartable: group.end.restartable(),
                ended_seconds: now.saturating_since(group.at).as_secs(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(user: &str, focus: &str, end: GroupEnd) -> EndedGroup {
        EndedGroup {
            user: user.to_owned(),
            focus: focus.to_owned(),
            conversation_id: None,
            contribution_id: None,
            end,
            at: Time::ZERO,
        }
    }

    fn shown(groups: &EndedGroups) -> Vec<(String, GroupEnd)> {
        groups.views(Time::ZERO).map(|view| (view.focus, view.end)).collect()
    }

    #[test]
    fn the_last_end_of_a_session_counts_and_the_oldest_sessions_are_forgotten() {
        let mut groups = EndedGroups::new(2);
        groups.note(group("ann", "one", GroupEnd::Inactive));
        groups.note(group("ann", "two", GroupEnd::Inactive));
        groups.note(group("ann", "one", GroupEnd::Gone));
        assert_eq!(
            shown(&groups),
            [("one".to_owned(), GroupEnd::Gone), ("two".to_owned(), GroupEnd::Inactive)]
        );
        assert_eq!(groups.get("bea", "one"), None);
        groups.note(group("ann", "three", GroupEnd::Left));
        assert_eq!(groups.get("ann", "two"), None);
        assert_eq!(groups.get("ann", "one").map(|group| group.end), Some(GroupEnd::Gone));
        assert_eq!(groups.len(), 2);
        for _ in 0..100 {
            groups.note(group("ann", "three", GroupEnd::Other));
        }
        assert!(groups.order.len() <= 4, "an end that is replaced takes no room");
        assert_eq!(groups.get("ann", "three").map(|group| group.end), Some(GroupEnd::Other));
    }
}
