//! Users and policy that change while devices are registered.

use super::{Registry, keys, owners};
use crate::core::config::{CoreConfig, User};

impl Registry {
    /// Takes users and policy of this configuration in. What a user's devices have registered with us ends with the
    /// user: where nobody has that address of record any more, or another user name has it. What a core registrar has
    /// told of stays, and so do registrations of a user with another password: it is asked for with the next REGISTER.
    pub fn reload(&mut self, config: &CoreConfig) {
        let users = std::mem::replace(&mut self.users, config.users.clone());
        let owned = std::mem::replace(&mut self.owners, owners(&config.users));
        self.authenticator.set_users(&config.users);
        self.barred = keys(&config.policy.barred);
        self.media_path = keys(&config.policy.media_path_users);
        self.bounds = (config.policy.registration_min_seconds, config.policy.registration_max_seconds);
        self.removed.extend(owned.keys().cloned());
        self.removed.retain(|key| !self.owners.contains_key(key));
        let accounts: Vec<String> = self.accounts.keys().cloned().collect();
        for key in accounts {
            let Some(was) = owned.get(&key).and_then(|index| users.get(*index)) else { continue };
            let is = self.owners.get(&key).and_then(|index| self.users.get(*index));
            if !is.is_some_and(|is| same_account(is, was)) {
                self.change(&key, |account| account.devices.retain(|device| device.registrar.is_some()));
            }
        }
    }

    /// Was this the address of a user of the configuration, and is nobody's now?
    pub(crate) fn is_removed(&self, address: &str) -> bool {
        let removed = || super::address_key(address).is_some_and(|key| self.removed.contains(&key));
        !self.removed.is_empty() && removed() && self.known_user(address).is_none()
    }
}

fn same_account(is: &User, was: &User) -> bool {
    let first = |user: &User| user.addresses.first().and_then(|address| super::address_key(address));
    is.username == was.username && first(is) == first(was)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::registry::tests::{CPM, Lab, at, config, register, udp, user};

    fn contact() -> String {
        format!("<sip:ann@192.0.2.1:5060>;{CPM}")
    }

    fn registered(lab: &mut Lab, name: &str, cseq: u32) -> u16 {
        let request = register(name, cseq, &[("Contact", &contact())]);
        lab.register(at(u64::from(cseq)), &request, &udp("192.0.2.1:5060")).status
    }

    fn reload(lab: &mut Lab, change: impl FnOnce(&mut CoreConfig)) {
        change(&mut lab.config);
        lab.registry.reload(&lab.config);
    }

    #[test]
    fn the_devices_of_a_removed_user_are_gone_and_others_stay() {
        let mut lab = Lab::new(config());
        assert_eq!((registered(&mut lab, "ann", 1), registered(&mut lab, "bob", 1)), (200, 200));
        reload(&mut lab, |config| config.users.remove(0).username.clear());
        assert_eq!(lab.registry.devices("sip:ann@example.org").len(), 0);
        // Bob is now the first in the file.
        assert_eq!(lab.registry.devices("tel:+1-555-bob").len(), 1);
        assert!(lab.registry.is_removed("sip:ann@example.org") && lab.registry.is_removed("tel:+1-555-ann"));
        assert!(
            !lab.registry.is_removed("sip:bob@example.org") && !lab.registry.is_removed("sip:x@example.org")
        );
        assert_ne!(registered(&mut lab, "ann", 2), 200);
        assert_eq!(registered(&mut lab, "bob", 2), 200);
        // Ann comes back, but her devices have to say so.
        reload(&mut lab, |config| config.users.push(user("ann")));
        assert!(!lab.registry.is_removed("sip:ann@example.org"));
        assert_eq!(lab.registry.count(), 1);
        assert_eq!(registered(&mut lab, "ann", 3), 200);
        // Nothing changes where nothing has changed.
        reload(&mut lab, |_| {});
        assert_eq!(lab.registry.count(), 2);
    }

    #[test]
    fn an_address_of_record_that_changes_hands_has_no_devices() {
        let mut lab = Lab::new(config());
        registered(&mut lab, "ann", 1);
        reload(&mut lab, |config| {
            config.users[0].password = "another".to_owned();
            config.users[0].addresses.push("sip:anna@example.org".to_owned());
        });
        assert_eq!(lab.registry.devices("sip:anna@example.org").len(), 1, "the same user");
        reload(&mut lab, |config| config.users[0].username = "anna".to_owned());
        assert_eq!(lab.registry.count(), 0);
    }

    #[test]
    fn policy_counts_at_once() {
        let mut lab = Lab::new(config());
        assert!(!lab.registry.is_barred("tel:+1-555-ann"));
        reload(&mut lab, |config| {
            config.policy.barred.push("tel:+1555ann".to_owned());
            config.policy.media_path_users.push("sip:bob@example.org".to_owned());
            config.policy.registration_min_seconds = 100;
            config.policy.registration_max_seconds = 200;
        });
        assert!(lab.registry.is_barred("tel:+1-555-ann"));
        assert!(lab.registry.wants_media_path("sip:bob@example.org"));
        let short = register("bob", 1, &[("Contact", &contact()), ("Expires", "60")]);
        assert_eq!(lab.register(at(1), &short, &udp("192.0.2.1:5060")).status, 423);
    }
}
