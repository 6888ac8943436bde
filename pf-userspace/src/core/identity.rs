//! Who sends a request (clause 8.2.2.1 step 1; RFC 3325): the authenticated side decides, never a header's claim.

use super::{
    Entropy, Time,
    config::CoreConfig,
    event::Peer,
    policy::{Identify, privacy::is_anonymous},
    registry::{Registry, address_key, digest::Asker, same_address},
    sip::{NameAddr, Request, Response, Uri},
};

/// The most P-Asserted-Identity or P-Preferred-Identity values that are looked at.
const MAX_VALUES: usize = 4;

/// Who sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identified {
    /// A user we serve.
    User {
        /// The user's address of record.
        aor: String,
        /// Values of P-Asserted-Identity to send on.
        asserted: Vec<String>,
    },
    /// Not known yet: answer with this `407`.
    Challenge(Response),
    /// Nobody we serve, or an address claimed that is not the sender's.
    Unknown,
}

/// Finds out who sends a request. In this order:
///
/// 1. P-Asserted-Identity, from a trusted peer only: the first value of a user we serve.
/// 2. With [`Identify::Registration`], the user of the device that registered from there, if the request claims
///    (P-Preferred-Identity, else From) one of that user's addresses, or claims none because From is anonymous.
/// 3. Digest authentication; what is claimed must belong to the user whose password it was.
pub fn identify(
    config: &CoreConfig,
    registry: &mut Registry,
    now: Time,
    entropy: &mut dyn Entropy,
    request: &Request,
    from: &Peer,
) -> Identified {
    let asserted = values(request, "P-Asserted-Identity");
    if config.trusted.contains(&from.addr.ip()) && !asserted.is_empty() {
        let user = asserted.iter().find_map(|value| served(config, registry, &value.uri));
        return match user {
            Some(aor) => {
                let asserted = request.headers.list("P-Asserted-Identity").take(MAX_VALUES);
                Identified::User { aor, asserted: asserted.map(str::to_owned).collect() }
            }
            None => Identified::Unknown,
        };
    }
    let claims = claims(request);
    if config.policy.identify == Identify::Registration
        && let Some(user) = by_registration(registry, &claims, from)
    {
        return user;
    }
    if config.users.is_empty() {
        return Identified::Unknown;
    }
    let addresses = match registry.authenticate(now, entropy, request, Asker::Proxy) {
        Ok(user) => user.addresses.clone(),
        Err(mut challenge) => {
            if let Some(to) = request.headers.get("To").filter(|_| request.to_tag().is_none()) {
                challenge.headers.push("To", format!("{to};tag={}", entropy.token(16)));
            }
            return Identified::Challenge(challenge);
        }
    };
    match (addresses.first(), claimed(&claims, &addresses)) {
        (Some(aor), Some(address)) => {
            Identified::User { aor: aor.clone(), asserted: assertion(&address, &addresses) }
        }
        _ => Identified::Unknown,
    }
}

/// The address of record of a user we serve, by one of the user's addresses. Where the configuration names no users,
/// these are all addresses of our domains, because then a core vouches for them.
fn served(config: &CoreConfig, registry: &Registry, address: &str) -> Option<String> {
    registry.known_user(address).or_else(|| {
        let uri = Uri::parse(address).ok()?;
        let ours = config.domains.iter().any(|domain| domain.eq_ignore_ascii_case(&uri.host));
        (config.users.is_empty() && ours && address_key(address).is_some()).then(|| address.to_owned())
    })
}

/// The user whose device registered from there and who owns what is claimed.
fn by_registration(registry: &Registry, claims: &[String], from: &Peer) -> Option<Identified> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for device in registry.devices_from(from) {
        let addresses = registry.user_addresses(&device.aor).unwrap_or_default();
        if !found.iter().any(|(aor, _)| *aor == device.aor) {
            found.push((device.aor.clone(), addresses.to_vec()));
        }
    }
    // Without a claim the source must leave no choice.
    if claims.is_empty() && found.len() != 1 {
        return None;
    }
    found.into_iter().find_map(|(aor, addresses)| {
        let address = claimed(claims, &addresses)?;
        let asserted = assertion(&address, &addresses);
        Some(Identified::User { aor, asserted })
    })
}

/// The address that the request is sent under: the claimed one among the user's, or the user's first where nothing is
/// claimed. `None` where an address is claimed that the user does not own.
fn claimed(claims: &[String], addresses: &[String]) -> Option<String> {
    let Some(first) = claims.first() else { return addresses.first().cloned() };
    let owned = |claim: &String| addresses.iter().any(|address| same_address(address, claim));
    if !claims.iter().all(owned) {
        return None;
    }
    addresses.iter().find(|address| same_address(address, first)).cloned()
}

/// P-Asserted-Identity for a request under `address`: that one, and the user's first of the other kind
/// (RFC 3325 section 9.1: one SIP and one tel URI at most).
fn assertion(address: &str, addresses: &[String]) -> Vec<String> {
    let is_tel = |address: &str| address.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("tel:"));
    let other = addresses.iter().find(|other| is_tel(other) != is_tel(address));
    std::iter::once(address).chain(other.map(String::as_str)).map(|uri| format!("<{uri}>")).collect()
}

/// The addresses that the sender claims: P-Preferred-Identity, else From unless that is anonymous.
fn claims(request: &Request) -> Vec<String> {
    let preferred = values(request, "P-Preferred-Identity");
    if !preferred.is_empty() {
        return preferred.into_iter().map(|value| value.uri).collect();
    }
    match request.headers.get("From") {
        Some(from) if is_anonymous(from) => Vec::new(),
        // An unreadable From claims something that nobody owns.
        from => vec![from.and_then(|f| NameAddr::parse(f).ok()).map(|f| f.uri).unwrap_or_default()],
    }
}

fn values(request: &Request, name: &str) -> Vec<NameAddr> {
    request.headers.list(name).take(MAX_VALUES).filter_map(|value| NameAddr::parse(value).ok()).collect()
}
