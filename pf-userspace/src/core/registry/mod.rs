//! The users' devices: who is registered, from where, with what.
//!
//! Fed by REGISTERs of the devices themselves (embedded registrar, RFC 3261 section 10.3) and by third-party
//! REGISTERs of the core's registrars.

pub(crate) mod address;
mod device;
pub(crate) mod digest;
mod gruu;
mod preferences;
mod register;
mod reload;
pub mod suitable;
mod third_party;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use super::{
    Entropy, Time,
    config::{CoreConfig, SipAddress, User},
    event::{FlowId, Peer, Transport},
    sip::{NameAddr, Request, Response},
    view::DeviceView,
};

pub use address::{address_key, same_address, same_contact};
pub use device::{Device, same_urn};
pub use preferences::Preferences;
pub use suitable::{Icsi, suitable};

use digest::{Asker, Authenticator};

/// The most devices of one user.
pub const MAX_DEVICES: usize = 16;
/// The most users with devices at a time.
const MAX_ACCOUNTS: usize = 1_000_000;

/// All registered devices.
#[derive(Debug)]
pub struct Registry {
    authenticator: Authenticator,
    domains: Vec<String>,
    sip: Vec<SipAddress>,
    /// Who may send third-party REGISTERs.
    registrars: Vec<IpAddr>,
    users: Vec<User>,
    /// Which user has an address, by [`address_key`].
    owners: BTreeMap<String, usize>,
    /// Addresses that may not start a session, by [`address_key`].
    barred: BTreeSet<String>,
    /// Addresses of users that the configuration had once, and has no more.
    removed: BTreeSet<String>,
    /// Users whose sessions always go through us.
    media_path: BTreeSet<String>,
    /// Shortest and longest registration, in seconds.
    bounds: (u32, u32),
    /// Users with devices, by [`address_key`] of the address of record.
    accounts: BTreeMap<String, Account>,
    /// How many devices there are.
    count: usize,
    by_expiry: BTreeSet<(Time, String)>,
    by_source: BTreeMap<Source, BTreeSet<String>>,
    by_alias: BTreeMap<String, String>,
}

/// A user's devices, in order of registration.
#[derive(Clone, Debug, Default)]
struct Account {
    devices: Vec<Device>,
    /// Other addresses of the user, by [`address_key`], as the core registrar said (P-Associated-URI).
    aliases: Vec<String>,
}

/// What a device registered over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    /// Its own connection.
    Direct(FlowId),
    /// A proxy's connection, shared with other devices.
    Relayed(FlowId),
    /// Its own UDP address.
    Udp(SocketAddr),
}

impl Source {
    fn of(device: &Device) -> Option<Source> {
        match (&device.registrar, device.path.is_empty()) {
            (Some(_), _) => None,
            (None, true) => Source::direct(&device.peer),
            (None, false) => device.peer.flow.map(Source::Relayed),
        }
    }

    fn direct(peer: &Peer) -> Option<Source> {
        match peer.transport {
            Transport::Udp => Some(Source::Udp(peer.addr)),
            Transport::Tcp | Transport::Tls => peer.flow.map(Source::Direct),
        }
    }
}

impl Registry {
    /// An empty registry for the users and domains of this configuration.
    pub fn new(config: &CoreConfig) -> Registry {
        let realm = config.domains.first().map_or("pf", String::as_str);
        Registry {
            authenticator: Authenticator::new(realm, &config.digest, &config.users),
            domains: config.domains.clone(),
            sip: config.sip.clone(),
            registrars: config.registrars.clone(),
            users: config.users.clone(),
            owners: owners(&config.users),
            barred: keys(&config.policy.barred),
            removed: BTreeSet::new(),
            media_path: keys(&config.policy.media_path_users),
            bounds: (config.policy.registration_min_seconds, config.policy.registration_max_seconds),
            accounts: BTreeMap::new(),
            count: 0,
            by_expiry: BTreeSet::new(),
            by_source: BTreeMap::new(),
            by_alias: BTreeMap::new(),
        }
    }

    /// Answers a REGISTER: from a device (after digest authentication), or from a core registrar (`registrars`)
    /// that tells of a user's registration.
    pub fn register(
        &mut self,
        now: Time,
        entropy: &mut dyn Entropy,
        request: &Request,
        from: &Peer,
    ) -> Response {
        self.expire(now);
        let outcome = match self.third_party(request, from) {
            Some(report) => self.report(now, entropy, request, report, from),
            None => self.first_party(now, entropy, request, from),
        };
        let response = outcome.unwrap_or_else(|refusal| refusal);
        match request.headers.get("To") {
            Some(to) if request.to_tag().is_none() => {
                response.with("To", format!("{to};tag={}", entropy.token(16)))
            }
            _ => response,
        }
    }

    /// The user's devices in order of registration; `aor` may be any of the user's addresses.
    pub fn devices(&self, aor: &str) -> Vec<&Device> {
        let account = self.account_key(aor).and_then(|key| self.accounts.get(&key));
        account.map(|account| account.devices.iter().collect()).unwrap_or_default()
    }

    /// The device that a GRUU or a Contact of ours stands for.
    pub fn resolve(&self, uri: &str) -> Option<&Device> {
        let contact = NameAddr { display: String::new(), uri: uri.to_owned(), params: Vec::new() };
        self.devices(uri).into_iter().find(|device| address::is_gruu(uri) && device.is(&contact))
    }

    /// The address of record of a known user: one of the configuration, or one with registered devices.
    pub fn known_user(&self, address: &str) -> Option<String> {
        let key = self.account_key(address)?;
        let configured = self.owners.get(&key).and_then(|index| self.users.get(*index)?.addresses.first());
        let registered = self.accounts.get(&key).and_then(|account| account.devices.first()).map(|d| &d.aor);
        configured.or(registered).cloned()
    }

    /// The devices of the user for which this holds have answered with an MSRP path of so many octets.
    pub(crate) fn learn_msrp_path(&mut self, aor: &str, is: impl Fn(&Device) -> bool, octets: usize) {
        let Some(key) = self.account_key(aor) else { return };
        self.change(&key, |account| {
            for device in account.devices.iter_mut().filter(|device| is(device)) {
                device.msrp_path = Some(octets);
            }
        });
    }

    /// A connection is gone: what registered over it is now reached at its Contact.
    pub fn flow_closed(&mut self, flow: FlowId) {
        let sources = [Source::Direct(flow), Source::Relayed(flow)];
        let keys: BTreeSet<String> =
            sources.iter().filter_map(|s| self.by_source.get(s)).flatten().cloned().collect();
        for key in keys {
            self.change(&key, |account| {
                for device in account.devices.iter_mut().filter(|d| d.peer.flow == Some(flow)) {
                    device.peer.flow = None;
                }
            });
        }
    }

    /// Drops what has not been refreshed in time.
    pub fn expire(&mut self, now: Time) {
        while let Some((_, key)) = self.by_expiry.first().filter(|(at, _)| *at <= now).cloned() {
            self.change(&key, |account| account.devices.retain(|device| device.expires > now));
        }
    }

    /// When [`Registry::expire`] has something to do next.
    pub fn deadline(&self) -> Option<Time> {
        self.by_expiry.first().map(|(at, _)| *at)
    }

    /// All devices, by user and in order of registration.
    pub fn view(&self, now: Time) -> Vec<DeviceView> {
        self.views(now).collect()
    }

    /// As [`Registry::view`], made one by one as they are taken.
    pub fn views(&self, now: Time) -> impl Iterator<Item = DeviceView> {
        self.accounts.values().flat_map(|account| &account.devices).map(move |device| device.view(now))
    }

    /// How many devices there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The devices that registered themselves from there, by user. There may be very many: look at as few as will do.
    pub(crate) fn devices_from(&self, from: &Peer) -> impl Iterator<Item = &Device> {
        let keys = Source::direct(from).and_then(|source| self.by_source.get(&source));
        let accounts = keys.into_iter().flatten().filter_map(|key| self.accounts.get(key));
        accounts.flat_map(|account| &account.devices).filter(|device| suitable::is_source(device, from))
    }

    /// The first device of the user with this address that registered itself from there.
    pub(crate) fn device_from(&self, address: &str, from: &Peer) -> Option<&Device> {
        let account = self.accounts.get(&self.account_key(address)?)?;
        account.devices.iter().find(|device| suitable::is_source(device, from))
    }

    /// Does the policy bar this address?
    pub(crate) fn is_barred(&self, address: &str) -> bool {
        !self.barred.is_empty() && address_key(address).is_some_and(|key| self.barred.contains(&key))
    }

    /// Does the policy want us in the media path of this user's sessions?
    pub(crate) fn wants_media_path(&self, address: &str) -> bool {
        !self.media_path.is_empty() && address_key(address).is_some_and(|key| self.media_path.contains(&key))
    }

    /// The addresses of a configured user, by any of them.
    pub(crate) fn user_addresses(&self, address: &str) -> Option<&[String]> {
        let index = self.owners.get(&address_key(address)?)?;
        self.users.get(*index).map(|user| user.addresses.as_slice())
    }

    /// The configured user whose credentials the request carries, or the challenge to answer with.
    pub(crate) fn authenticate(
        &mut self,
        now: Time,
        entropy: &mut dyn Entropy,
        request: &Request,
        asker: Asker,
    ) -> Result<&User, Response> {
        let index = self.authenticator.authenticate(now, entropy, &self.users, request, asker)?;
        self.users.get(index).ok_or_else(|| Response::new(500))
    }

    /// The key of the account that an address belongs to.
    fn account_key(&self, address: &str) -> Option<String> {
        let key = address_key(address)?;
        let owner = self.owners.get(&key).and_then(|index| self.users.get(*index)?.addresses.first());
        match owner {
            Some(first) => address_key(first),
            None => Some(self.by_alias.get(&key).cloned().unwrap_or(key)),
        }
    }

    /// Changes an account and keeps the indices right. An account without devices goes.
    fn change<R>(&mut self, key: &str, change: impl FnOnce(&mut Account) -> R) -> R {
        let mut account = self.accounts.remove(key).unwrap_or_default();
        self.count -= account.devices.len();
        for device in &account.devices {
            self.by_expiry.remove(&(device.expires, key.to_owned()));
            if let Some(source) = Source::of(device)
                && let Some(keys) = self.by_source.get_mut(&source)
            {
                keys.remove(key);
                if keys.is_empty() {
                    self.by_source.remove(&source);
                }
            }
        }
        for alias in account.alias_keys() {
            self.by_alias.remove(&alias);
        }
        let result = change(&mut account);
        if account.devices.is_empty() {
            return result;
        }
        self.count += account.devices.len();
        for device in &account.devices {
            self.by_expiry.insert((device.expires, key.to_owned()));
            if let Some(source) = Source::of(device) {
                self.by_source.entry(source).or_default().insert(key.to_owned());
            }
        }
        for alias in account.alias_keys() {
            self.by_alias.insert(alias, key.to_owned());
        }
        self.accounts.insert(key.to_owned(), account);
        result
    }
}

/// Which of the users has an address.
fn owners(users: &[User]) -> BTreeMap<String, usize> {
    let addresses = users.iter().enumerate();
    addresses
        .flat_map(|(i, user)| user.addresses.iter().filter_map(move |a| Some((address_key(a)?, i))))
        .collect()
}

fn keys(addresses: &[String]) -> BTreeSet<String> {
    addresses.iter().filter_map(|address| address_key(address)).collect()
}

impl Account {
    /// Addresses other than the address of record that lead here.
    fn alias_keys(&self) -> Vec<String> {
        let gruus = self.devices.iter().flat_map(|device| &device.temp_gruus);
        gruus.filter_map(|gruu| address_key(gruu)).chain(self.aliases.iter().cloned()).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests;
