//! Record-Route and Route (RFC 3261 sections 16.4 and 16.6 steps 4 and 6): how the requests of a dialog find us again,
//! and how we know that they are of a dialog we are on the path of.
//!
//! The URI that we record carries a token made from Call-ID and the caller's tag under our key. So a request inside a
//! dialog needs no memory of ours: it passes after a session was forgotten and after a restart, and nobody can use us
//! to reach places that no dialog of ours leads to.

use std::net::IpAddr;

use hmac::Mac;

use crate::core::{
    config::CoreConfig,
    event::{Hop, Peer, Recorded, Transport},
    mapped_contact::{base32, keyed},
    session::{Reach, own_uri},
    sip::{Header, Headers, NameAddr, Request, Uri},
};

/// Marks our user parts.
const PREFIX: &str = "rr1-";
/// Octets of the token.
const TOKEN: usize = 15;

/// The user part of our Record-Route URIs in a dialog.
pub(crate) fn token(secret: &[u8; 32], call_id: &str, caller_tag: &str) -> String {
    let mac = keyed(secret, b"pf record-route").chain_update((call_id.len() as u64).to_be_bytes());
    let octets = mac.chain_update(call_id).chain_update(caller_tag).finalize().into_bytes();
    format!("{PREFIX}{}", base32(&octets[..TOKEN]))
}

/// Which of the two ends a request inside a dialog comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Who sent the first INVITE.
    Caller,
    /// Who answered it.
    Callee,
}

/// The tokens that the two tags of a request may stand for.
struct Tokens([(String, Side); 2]);

impl Tokens {
    fn of(secret: &[u8; 32], request: &Request) -> Tokens {
        let of = |tag: Option<String>| token(secret, request.call_id(), &tag.unwrap_or_default());
        Tokens([(of(request.from_tag()), Side::Caller), (of(request.to_tag()), Side::Callee)])
    }

    /// Is this the URI that we recorded for the dialog? Some elements change the case of user parts.
    fn side(&self, uri: &str) -> Option<Side> {
        let user = Uri::parse(uri).ok()?.user.filter(|user| user.len() == PREFIX.len() + TOKEN * 8 / 5)?;
        self.0.iter().find(|(token, _)| token.eq_ignore_ascii_case(&user)).map(|(_, side)| *side)
    }
}

/// Is this a request inside a dialog whose path we are on, and whose is it?
pub(crate) fn recorded(secret: &[u8; 32], request: &Request) -> Option<Side> {
    request.to_tag()?;
    let first = first_route(&request.headers);
    // A hash costs more than a look.
    let looks = |uri: &str| uri.contains(PREFIX) || uri.contains("RR1-");
    let candidates = first.as_deref().into_iter().chain([request.uri.as_str()]);
    let mut candidates = candidates.filter(|uri| looks(uri)).peekable();
    candidates.peek()?;
    let tokens = Tokens::of(secret, request);
    candidates.find_map(|uri| tokens.side(uri))
}

/// Takes us off the route of such a request (section 16.4): a strict router in front of us has put our URI in the place
/// of the Request-URI; else we are the first Route, twice where two transports meet in us.
pub(crate) fn take_off(secret: &[u8; 32], request: &mut Request) {
    let tokens = Tokens::of(secret, request);
    let mut routes = routes(&request.headers);
    if tokens.side(&request.uri).is_some()
        && let Some(last) = routes.pop()
    {
        request.uri = uri_of(&last);
    }
    let ours = routes.iter().take_while(|route| tokens.side(&uri_of(route)).is_some()).count();
    routes.drain(..ours);
    put_routes(&mut request.headers, routes);
}

/// Where a request goes next (section 16.6 steps 6 and 7): to the first Route, else to the Request-URI. A strict router
/// gets itself as Request-URI.
pub(crate) fn next(request: &mut Request) -> String {
    let mut routes = routes(&request.headers);
    let Some(first) = routes.first().map(|route| uri_of(route)) else { return request.uri.clone() };
    if Uri::parse(&first).is_ok_and(|uri| uri.param("lr").is_none()) {
        routes.remove(0);
        routes.push(format!("<{}>", request.uri));
        request.uri.clone_from(&first);
        put_routes(&mut request.headers, routes);
    }
    first
}

/// Puts us on the path of the dialog: one Record-Route, or two where who is behind us is reached in another way than
/// who is in front (RFC 5658), the one for what comes from behind on top. Gives back what they are instead if the
/// request changes to TCP for its size.
pub(crate) fn record(
    config: &CoreConfig,
    request: &mut Request,
    caller_tag: &str,
    from: &Peer,
    hop: &Hop,
) -> Option<Recorded> {
    let user = token(&config.secret, request.call_id(), caller_tag);
    let transport = Reach::Uri(&hop.uri).transport();
    let ours = |transport| {
        let front = own_uri(config, &user, Reach::Peer(from));
        let behind = match same_way(from, &hop.uri, transport) {
            true => front.clone(),
            false => towards(config, &user, &hop.uri, transport),
        };
        let one = behind == front;
        [behind, front].into_iter().take(if one { 1 } else { 2 }).map(|uri| format!("<{uri};lr>"))
    };
    let headers = &mut request.headers.0;
    let at = headers.iter().position(|h| h.is("Record-Route")).unwrap_or(0);
    let fields = ours(transport).map(|value| Header { name: "Record-Route".to_owned(), value });
    headers.splice(at..at, fields);
    let may_switch =
        transport == Transport::Udp && config.sip.iter().any(|address| address.transport == Transport::Tcp);
    may_switch
        .then(|| Recorded { ours: ours(transport).count(), over_stream: ours(Transport::Tcp).collect() })
}

/// Puts these Routes in the place of those of the request.
pub(crate) fn put_routes(headers: &mut Headers, values: Vec<String>) {
    if values.iter().map(String::as_str).eq(headers.list("Route")) {
        return;
    }
    let at = headers.0.iter().position(|h| h.is("Route")).unwrap_or(0);
    headers.remove("Route");
    let fields = values.into_iter().map(|value| Header { name: "Route".to_owned(), value });
    headers.0.splice(at..at, fields);
}

/// The Routes of a request, one by one.
pub(crate) fn routes(headers: &Headers) -> Vec<String> {
    headers.list("Route").map(str::to_owned).collect()
}

fn first_route(headers: &Headers) -> Option<String> {
    headers.list("Route").next().map(uri_of)
}

fn uri_of(route: &str) -> String {
    NameAddr::parse(route).map(|route| route.uri).unwrap_or_default()
}

/// Is what is behind us reached by the transport and address family that the request came by?
fn same_way(from: &Peer, uri: &str, transport: Transport) -> bool {
    let family = literal(uri).is_none_or(|ip| ip.is_ipv4() == from.local.is_ipv4());
    transport == from.transport && family
}

/// Our address for who is at `uri`, of its family where that is known.
fn towards(config: &CoreConfig, user: &str, uri: &str, transport: Transport) -> String {
    let ip = literal(uri);
    let family = |bound: &IpAddr| ip.is_none_or(|ip| bound.is_ipv4() == ip.is_ipv4());
    let fits = config.sip.iter().find(|a| a.transport == transport && family(&a.bound.ip()));
    match fits {
        Some(address) => {
            let local = Peer { transport, addr: address.bound, local: address.bound, flow: None };
            own_uri(config, user, Reach::Peer(&local))
        }
        None => own_uri(config, user, Reach::Uri(uri)),
    }
}

/// The address in a URI that has one instead of a name.
pub(crate) fn literal(uri: &str) -> Option<IpAddr> {
    Uri::parse(uri).ok()?.host.parse().ok()
}
