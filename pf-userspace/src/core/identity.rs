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

/// What a request inside a dialog says of its sender, where nothing else is known of that: P-Asserted-Identity of a
/// trusted peer, P-Preferred-Identity, and From. At least one address, be it an empty one.
pub fn said_identities(config: &CoreConfig, request: &Request, from: &Peer) -> Vec<String> {
    let trusted = config.trusted.contains(&from.addr.ip());
    let asserted = if trusted { values(request, "P-Asserted-Identity") } else { Vec::new() };
    let preferred = values(request, "P-Preferred-Identity");
    let sender = request.headers.get("From").and_then(|from| NameAddr::parse(from).ok());
    let said = asserted.into_iter().chain(preferred).chain(sender).map(|value| value.uri);
    let said: Vec<String> = said.collect();
    if said.is_empty() { vec![String::new()] } else { said }
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
    // A connection may be shared by very many devices: the claim says whose to look at.
    let device = match claims.first() {
        Some(claim) => registry.device_from(claim, from)?,
        None => {
            let mut devices = registry.devices_from(from);
            let device = devices.next()?;
            // Without a claim the source must leave no choice.
            if devices.any(|other| other.aor != device.aor) {
                return None;
            }
            device
        }
    };
    let addresses = registry.user_addresses(&device.aor)?;
    let address = claimed(claims, addresses)?;
    Some(Identified::User { aor: device.aor.clone(), asserted: assertion(&address, addresses) })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        event::FlowId,
        registry::{
            address::tests::looked_at,
            digest::tests::answer,
            tests::{Lab, at, config, register, tcp, udp, user},
        },
        sip::Method,
    };

    const ANN: (&str, &str) = ("From", "<sip:ann@example.org>;tag=1");

    fn invite(headers: &[(&str, &str)]) -> Request {
        let mut request = Request::new(Method::Invite, "sip:carl@example.com");
        request.headers.push("To", "<sip:carl@example.com>");
        for (name, value) in headers {
            request.headers.push(*name, *value);
        }
        request
    }

    fn ask(lab: &mut Lab, request: &Request, from: &Peer) -> Identified {
        identify(&lab.config, &mut lab.registry, at(10), &mut lab.entropy, request, from)
    }

    fn known(aor: &str, asserted: &[&str]) -> Identified {
        Identified::User {
            aor: aor.to_owned(),
            asserted: asserted.iter().map(|&value| value.to_owned()).collect(),
        }
    }

    fn ann() -> Identified {
        known("sip:ann@example.org", &["<sip:ann@example.org>", "<tel:+1-555-ann>"])
    }

    fn is_challenge(found: &Identified) -> bool {
        matches!(found, Identified::Challenge(r) if r.status == 407 && r.headers.has("Proxy-Authenticate"))
    }

    // Rows: INV-02
    #[test]
    fn a_trusted_peers_assertion_counts_and_nobody_elses() {
        let mut lab = Lab::new(config());
        let (core, stranger) = (udp("10.0.0.5:5060"), udp("203.0.113.1:5060"));
        let asserted =
            |value| invite(&[("From", "<sip:x@anonymous.invalid>;tag=1"), ("P-Asserted-Identity", value)]);
        let ann = "\"Ann\" <sip:ann@example.org;user=phone>";
        assert_eq!(ask(&mut lab, &asserted(ann), &core), known("sip:ann@example.org", &[ann]));
        assert!(is_challenge(&ask(&mut lab, &asserted(ann), &stranger)));
        // Several values: all are sent on, the first that is ours decides.
        let mut two = asserted("<sip:unknown@example.com>");
        two.headers.push("P-Asserted-Identity", "tel:+1555ann");
        assert_eq!(
            ask(&mut lab, &two, &core),
            known("sip:ann@example.org", &["<sip:unknown@example.com>", "tel:+1555ann"])
        );
        for unknown in ["<sip:unknown@example.org>", "<sip:ann@example.com>", "<tel:+1999>"] {
            assert_eq!(ask(&mut lab, &asserted(unknown), &core), Identified::Unknown, "{unknown}");
        }
        assert!(is_challenge(&ask(&mut lab, &invite(&[ANN]), &core)), "trusted, but asserts nothing");
    }

    // Rows: INV-02
    #[test]
    fn without_configured_users_the_core_vouches_for_its_domains() {
        let mut config = config();
        config.users.clear();
        let mut lab = Lab::new(config);
        let core = udp("10.0.0.5:5060");
        let asserted = |value| invite(&[ANN, ("P-Asserted-Identity", value)]);
        let found = ask(&mut lab, &asserted("<sip:dora@example.org>"), &core);
        assert_eq!(found, known("sip:dora@example.org", &["<sip:dora@example.org>"]));
        assert_eq!(ask(&mut lab, &asserted("<sip:dora@example.com>"), &core), Identified::Unknown);
        assert_eq!(ask(&mut lab, &invite(&[ANN]), &core), Identified::Unknown);
        assert_eq!(
            ask(&mut lab, &asserted("<sip:dora@example.org>"), &udp("10.0.0.6:5060")),
            Identified::Unknown
        );
    }

    // Rows: INV-02
    #[test]
    fn a_registered_device_speaks_for_its_user_only() {
        let mut lab = Lab::new(config());
        let (phone, laptop, bobs) = (udp("192.0.2.1:5060"), tcp("192.0.2.2:40000", 7), udp("192.0.2.3:5060"));
        lab.register(at(0), &register("ann", 1, &[("Contact", "<sip:a@192.0.2.1>")]), &phone);
        lab.register(at(0), &register("ann", 2, &[("Contact", "<sip:l@192.0.2.2>")]), &laptop);
        lab.register(at(0), &register("bob", 1, &[("Contact", "<sip:b@192.0.2.3>")]), &bobs);
        let tel_first = known("sip:ann@example.org", &["<tel:+1-555-ann>", "<sip:ann@example.org>"]);
        let hidden = ("From", "Anonymous <sip:anonymous@anonymous.invalid>;tag=1");
        for (headers, from, expected) in [
            (vec![ANN], &phone, ann()),
            (vec![ANN], &laptop, ann()),
            (vec![("From", "<tel:+1555ann>;tag=1")], &phone, tel_first.clone()),
            (vec![hidden], &phone, ann()),
            (vec![hidden, ("P-Preferred-Identity", "<tel:+1-555-ann>")], &phone, tel_first),
        ] {
            assert_eq!(ask(&mut lab, &invite(&headers), from), expected, "{headers:?}");
        }
        for (headers, from) in [
            (vec![ANN], udp("192.0.2.1:5061")),
            (vec![ANN], bobs),
            (vec![ANN], tcp("192.0.2.2:40000", 8)),
            (vec![ANN], tcp("192.0.2.1:5060", 9)),
            (vec![hidden], udp("192.0.2.9:5060")),
            (vec![ANN, ("P-Preferred-Identity", "<sip:bob@example.org>")], phone),
            (vec![ANN, ("P-Preferred-Identity", "<sip:ann@example.org>, <sip:bob@example.org>")], phone),
            (vec![], phone),
        ] {
            assert!(is_challenge(&ask(&mut lab, &invite(&headers), &from)), "{headers:?} {from:?}");
        }
        lab.registry.flow_closed(FlowId(7));
        assert!(is_challenge(&ask(&mut lab, &invite(&[ANN]), &laptop)), "the connection has closed");
        lab.registry.expire(at(4000));
        assert!(is_challenge(&ask(&mut lab, &invite(&[ANN]), &phone)), "the registration has ended");
        lab.config.policy.identify = Identify::Digest;
        lab.register(at(0), &register("ann", 3, &[("Contact", "<sip:a@192.0.2.1>")]), &phone);
        assert!(
            is_challenge(&ask(&mut lab, &invite(&[ANN]), &phone)),
            "the policy wants a password every time"
        );
    }

    // Rows: INV-02
    #[test]
    fn many_users_behind_one_connection_cost_no_more_than_two() {
        let shared = tcp("192.0.2.1:40000", 7);
        let from = |name: &str| format!("<sip:{name}@example.org>;tag=1");
        let cost = |users: usize| {
            let names: Vec<String> = (0..users).map(|n| format!("u{n}")).collect();
            let mut config = config();
            config.users = names.iter().map(|name| user(name)).collect();
            let mut lab = Lab::new(config);
            for name in &names {
                let contact = format!("<sip:{name}@192.0.2.1>");
                lab.register(at(0), &register(name, 1, &[("Contact", &contact)]), &shared);
            }
            looked_at(|| {
                for name in [&names[0], &names[users - 1]] {
                    let tel = format!("<tel:+1-555-{name}>");
                    let expected = known(
                        &format!("sip:{name}@example.org"),
                        &[&format!("<sip:{name}@example.org>"), &tel],
                    );
                    assert_eq!(ask(&mut lab, &invite(&[("From", &from(name))]), &shared), expected);
                }
                for unclear in [from("stranger"), "<sip:x@anonymous.invalid>;tag=1".to_owned()] {
                    assert!(is_challenge(&ask(&mut lab, &invite(&[("From", &unclear)]), &shared)));
                }
            })
        };
        assert_eq!(cost(200), cost(2));
    }

    // Rows: INV-02
    #[test]
    fn credentials_prove_the_user_and_only_the_users_addresses() {
        let mut lab = Lab::new(config());
        let from = udp("192.0.2.1:5060");
        let log_in = |lab: &mut Lab, login: &str, request: &Request| {
            let Identified::Challenge(challenge) = ask(lab, request, &from) else { panic!("no challenge") };
            assert!(challenge.to_tag().is_some());
            let mut again = request.clone();
            again.headers.push("Proxy-Authorization", answer(&challenge, 1, 1, request, &user(login)));
            (ask(lab, &again, &from), ask(lab, &again, &from))
        };
        let (first, replayed) = log_in(&mut lab, "ann", &invite(&[ANN]));
        assert_eq!(first, ann());
        assert!(is_challenge(&replayed));
        assert_eq!(
            log_in(&mut lab, "bob", &invite(&[ANN])).0,
            Identified::Unknown,
            "Bob's password, Ann's name"
        );
        let hidden = invite(&[("From", "<sip:x@anonymous.invalid>;tag=1")]);
        assert_eq!(log_in(&mut lab, "ann", &hidden).0, ann());
        let forged = user("ann");
        let mut request = invite(&[ANN]);
        let Identified::Challenge(challenge) = ask(&mut lab, &request, &from) else { panic!("no challenge") };
        let wrong = crate::core::config::User { password: "guess".to_owned(), ..forged };
        request.headers.push("Proxy-Authorization", answer(&challenge, 0, 1, &request, &wrong));
        assert!(is_challenge(&ask(&mut lab, &request, &from)));
    }
}
