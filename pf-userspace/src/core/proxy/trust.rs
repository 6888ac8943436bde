//! The edge of the core's trust domain (RFC 3325, RFC 7315): what a device may not say to the core, and what the core
//! does not tell a device. Inside the domain a proxy changes none of this.

use crate::core::{
    config::CoreConfig,
    event::Peer,
    policy::privacy::anonymity_requested,
    session::{FROM_TRUSTED, IN_TRUST_DOMAIN},
    sip::{Headers, Request, Response},
};

/// What nodes of the core assert, and a device may at most ask for.
const ASSERTED: [&str; 3] = ["P-Asserted-Identity", "P-Asserted-Service", "P-Preferred-Identity"];

/// A request on its way from the originating side. `core`: the next node is one of the core. `asserted`: who we say
/// it is, where a device sends it to us directly.
pub(super) fn leave(
    config: &CoreConfig,
    request: &mut Request,
    from: &Peer,
    core: bool,
    asserted: &[String],
) {
    let anonymous = anonymity_requested(request);
    let headers = &mut request.headers;
    if config.trusted.contains(&from.addr.ip()) {
        if !core {
            remove(headers, &IN_TRUST_DOMAIN);
            if anonymous {
                headers.remove("P-Asserted-Identity");
            }
        }
        return;
    }
    for names in [&ASSERTED[..], &FROM_TRUSTED, &IN_TRUST_DOMAIN] {
        remove(headers, names);
    }
    // Our own credentials are used up here (RFC 3261 section 22.3).
    let realm = config.domains.first().map_or("pf", String::as_str);
    headers.0.retain(|h| !h.is("Proxy-Authorization") || !is_for(&h.value, realm));
    if core || !anonymous {
        for identity in asserted {
            headers.push("P-Asserted-Identity", identity);
        }
    }
}

/// A response on its way to a node that is not of the core.
pub(super) fn tell(response: &mut Response) {
    let is_id = |value: &str| value.split([';', ',']).any(|wish| wish.trim().eq_ignore_ascii_case("id"));
    let hidden = response.headers.all("Privacy").any(is_id);
    remove(&mut response.headers, &IN_TRUST_DOMAIN);
    if hidden {
        response.headers.remove("P-Asserted-Identity");
    }
}

fn remove(headers: &mut Headers, names: &[&str]) {
    names.iter().for_each(|name| headers.remove(name));
}

/// Are these credentials for that realm?
fn is_for(credentials: &str, realm: &str) -> bool {
    credentials.split(',').any(|part| {
        let (name, value) = part.split_once('=').unwrap_or_default();
        let name = name.split_ascii_whitespace().next_back().unwrap_or_default();
        name.eq_ignore_ascii_case("realm") && value.trim().trim_matches('"') == realm
    })
}
