//! Where an INVITE goes (clause 8.2.2.1 steps 4.a and 4.k, 200 part step 5).

use super::context::Context;
use crate::core::{
    event::{Hop, Peer},
    mapped_contact,
    sip::{NameAddr, Request, Uri},
};

/// Max-Forwards of our INVITE; `None` if it may not be forwarded any more.
pub(super) fn max_forwards(request: &Request) -> Option<u32> {
    match request.headers.get("Max-Forwards") {
        Some(value) => value.trim().parse::<u32>().unwrap_or(70).min(255).checked_sub(1),
        None => Some(70),
    }
}

/// Where the session goes. Our own address is no destination, unless it stands for somebody else's (step 5 of the
/// 200 part: a mapped Contact resolves, also after its dialog and a restart).
pub(crate) fn destination(cx: &Context<'_>, request: &Request) -> Result<String, u16> {
    let uri = Uri::parse(&request.uri).map_err(|_| 400_u16)?;
    if !matches!(uri.scheme.as_str(), "sip" | "sips") || !is_ours(cx, &uri) {
        return Ok(request.uri.clone());
    }
    let user = uri.user.as_deref().unwrap_or_default();
    let original = mapped_contact::decode(&cx.config.secret, user).ok_or(404_u16)?;
    match Uri::parse(&original) {
        Ok(uri) if !is_ours(cx, &uri) => Ok(original),
        _ => Err(404),
    }
}

fn is_ours(cx: &Context<'_>, uri: &Uri) -> bool {
    let port = uri.port.unwrap_or(if uri.scheme == "sips" { 5061 } else { 5060 });
    cx.config.sip.iter().any(|address| {
        let bound = address.bound.ip().to_string();
        address.port == port && (address.host.eq_ignore_ascii_case(&uri.host) || bound == uri.host)
    })
}

/// Is it for the core to route (SIP and tel URIs), or for the ISF?
pub(super) fn to_core(destination: &str) -> bool {
    Uri::parse(destination).is_ok_and(|uri| matches!(uri.scheme.as_str(), "sip" | "sips" | "tel"))
}

/// Directly to the ISF (clause 6.5): the next hop and its Route, the Request-URI stays. `None` without an ISF.
pub(super) fn to_isf(cx: &Context<'_>) -> Option<(Hop, Vec<String>)> {
    cx.config.isf_route.as_deref().map(routed)
}

/// A configured next hop, which gets a Route of its own where it is a loose router.
fn routed(uri: &str) -> (Hop, Vec<String>) {
    let loose = Uri::parse(uri).is_ok_and(|u| u.param("lr").is_some());
    let routes = if loose { vec![format!("<{uri}>")] } else { Vec::new() };
    (Hop { uri: uri.to_owned(), flow: None }, routes)
}

/// Step 4.k: where our INVITE goes, and its Route header fields. The rest of a trusted core node's Route comes
/// first, then the configured core, then the destination itself.
pub(crate) fn next_hop(
    cx: &Context<'_>,
    from: &Peer,
    request: &Request,
    destination: &str,
) -> Result<(Hop, Vec<String>), u16> {
    let to = |uri: &str| Hop { uri: uri.to_owned(), flow: None };
    let scheme = Uri::parse(destination).map_err(|_| 400_u16)?.scheme;
    if !to_core(destination) {
        return to_isf(cx).ok_or(416);
    }
    if cx.config.trusted.contains(&from.addr.ip()) {
        let mut routes: Vec<String> = request.headers.list("Route").map(str::to_owned).collect();
        let uri = |route: &String| NameAddr::parse(route).ok().map(|r| r.uri);
        let own =
            |route: &String| uri(route).and_then(|u| Uri::parse(&u).ok()).is_some_and(|u| is_ours(cx, &u));
        while routes.first().is_some_and(own) {
            routes.remove(0);
        }
        if let Some(next) = routes.first().and_then(uri) {
            return Ok((to(&next), routes));
        }
    }
    match (&cx.config.core_route, scheme.as_str()) {
        (Some(core), _) => Ok(routed(core)),
        // A number without a core that could route it.
        (None, "tel") => Err(404),
        (None, _) => Ok((to(destination), Vec::new())),
    }
}
