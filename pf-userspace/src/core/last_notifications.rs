//! Subscriptions that we have ended, until their last NOTIFY has come (RFC 6665 section 4.1.2.3). The session that had
//! one may be gone by then.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{Time, sip::Request};

/// How long the last NOTIFY is waited for: timer N of RFC 6665 section 4.1.2, 64*T1.
const PATIENCE: Duration = Duration::from_secs(32);
/// Subscriptions that are remembered; for a further one the oldest is forgotten.
const MOST: usize = 10_000;

/// Call-ID and our tag.
type Key = (String, String);

/// The subscriptions that ended last.
#[derive(Clone, Debug, Default)]
pub(super) struct LastNotifications {
    until: BTreeMap<Key, Time>,
    /// The oldest first.
    order: VecDeque<Key>,
}

impl LastNotifications {
    /// One has been ended.
    pub(super) fn expect(&mut self, now: Time, key: Key) {
        while let Some(oldest) = self.order.front() {
            let waits = self.until.get(oldest).is_some_and(|until| *until > now);
            if waits && self.order.len() < MOST {
                break;
            }
            if let Some(oldest) = self.order.pop_front() {
                self.until.remove(&oldest);
            }
        }
        self.until.insert(key.clone(), now + PATIENCE);
        self.order.push_back(key);
    }

    /// Does a NOTIFY belong to one of them? `terminated`: it is the last.
    pub(super) fn takes(&mut self, now: Time, notify: &Request) -> bool {
        let Some(tag) = notify.to_tag() else { return false };
        let key = (notify.call_id().to_owned(), tag);
        if self.until.get(&key).is_none_or(|until| *until <= now) {
            return false;
        }
        let state = notify.headers.get("Subscription-State").unwrap_or_default();
        let state = state.split(';').next().unwrap_or_default().trim();
        if state.eq_ignore_ascii_case("terminated") {
            self.until.remove(&key);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::sip::Method;

    fn notify(call: u32, state: &str) -> Request {
        let mut notify = Request::new(Method::Notify, "sip:pf@example.org");
        notify.headers.push("Call-ID", call.to_string());
        notify.headers.push("To", "<sip:pf@example.org>;tag=ours");
        notify.headers.push("Subscription-State", state);
        notify
    }

    fn key(call: u32) -> Key {
        (call.to_string(), "ours".to_owned())
    }

    // Rows: PART-14
    #[test]
    fn the_last_notification_is_taken_once_and_for_a_while() {
        let mut last = LastNotifications::default();
        let now = Time::ZERO;
        last.expect(now, key(1));
        last.expect(now, key(2));
        assert!(!last.takes(now, &notify(3, "active")));
        assert!(last.takes(now, &notify(1, "active")));
        assert!(last.takes(now, &notify(1, "Terminated ;reason=timeout")));
        assert!(!last.takes(now, &notify(1, "terminated")));
        assert!(!last.takes(now + PATIENCE, &notify(2, "terminated")), "too late");
        for call in 10..10 + MOST as u32 + 5 {
            last.expect(now, key(call));
        }
        assert!(last.order.len() <= MOST && last.until.len() <= MOST);
    }
}
