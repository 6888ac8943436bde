//! What a proxy looks at before it passes a request on (RFC 3261 section 16.3), and how the request changes on the way
//! (section 16.6). Nothing else of it does: no header field is added, dropped or written anew but those named here.

use hmac::Mac;

use super::{route, route::Side, trust};
use crate::core::{
    event::{Hop, Peer, Recorded},
    mapped_contact::{base32, keyed},
    session::{Context, destination, next_hop},
    sip::{Header, Headers, Method, Request, Response, fields::split_list},
};

/// A request ready to be passed on.
#[derive(Clone, Debug)]
pub(super) struct Onward {
    pub(super) request: Request,
    pub(super) hop: Hop,
    /// The end of our branch.
    pub(super) mark: String,
    /// Our Record-Routes if the transport changes on the way.
    pub(super) recorded: Option<Recorded>,
}

/// An INVITE that makes a dialog (clause 8.2.2.1 step 5).
pub(super) fn first(
    cx: &mut Context<'_>,
    from: &Peer,
    received: &Request,
    asserted: &[String],
) -> Result<Onward, Box<Response>> {
    let destination = destination(cx, received).map_err(|status| Box::new(cx.refusal(received, status)))?;
    // c. Directly to the ISF, or as the core's rules say.
    let next = next_hop(cx, from, received, &destination);
    let (mut hop, routes) = next.map_err(|status| Box::new(cx.refusal(received, status)))?;
    let mut request = received.clone();
    request.uri.clone_from(&destination);
    route::put_routes(&mut request.headers, routes);
    let mark = validate(cx, received, &request)?;
    count_down(cx, received, &mut request)?;
    if !route::routes(&request.headers).is_empty() {
        hop.uri = route::next(&mut request);
    }
    // b. We stay on the path.
    let caller = received.from_tag().unwrap_or_default();
    let recorded = route::record(cx.config, &mut request, &caller, from, &hop);
    let core = hop.uri != destination;
    trust::leave(cx.config, &mut request, from, core, asserted);
    Ok(Onward { request, hop, mark, recorded })
}

/// A request inside a dialog whose path we are on: where its Route leads (clause 8.2.2.5 step 3, RFC 3261 section 16.4).
/// `flow`: the caller's connection, for what goes to the caller itself.
pub(super) fn inside(
    cx: &mut Context<'_>,
    from: &Peer,
    received: &Request,
    side: Side,
    flow: Option<crate::core::event::FlowId>,
) -> Result<Onward, Box<Response>> {
    let mut onward = along(cx, received, side, flow)?;
    if received.method == Method::Invite {
        // Section 16.6 step 4: an end that has lost its route set finds it again.
        let caller = match side {
            Side::Caller => received.from_tag(),
            Side::Callee => received.to_tag(),
        };
        let caller = caller.unwrap_or_default();
        onward.recorded = route::record(cx.config, &mut onward.request, &caller, from, &onward.hop);
    }
    leave(cx, from, side, &mut onward);
    Ok(onward)
}

/// What does not cross the edge of the trust domain: on the caller's side it is the device that speaks, on the other
/// side the core, to the device where nobody is on the way any more.
fn leave(cx: &Context<'_>, from: &Peer, side: Side, onward: &mut Onward) {
    let last = route::routes(&onward.request.headers).is_empty();
    let stranger = route::literal(&onward.hop.uri).is_some_and(|ip| !cx.config.trusted.contains(&ip));
    let device = side == Side::Callee && last && stranger;
    if device || side == Side::Caller {
        trust::leave(cx.config, &mut onward.request, from, !device, &[]);
    }
}

/// The same for an ACK, which changes nothing and is never answered.
pub(super) fn ack(
    cx: &mut Context<'_>,
    from: &Peer,
    received: &Request,
    side: Side,
    flow: Option<crate::core::event::FlowId>,
) -> Option<Onward> {
    let mut onward = along(cx, received, side, flow).ok()?;
    leave(cx, from, side, &mut onward);
    Some(onward)
}

fn along(
    cx: &mut Context<'_>,
    received: &Request,
    side: Side,
    flow: Option<crate::core::event::FlowId>,
) -> Result<Onward, Box<Response>> {
    let mut request = received.clone();
    route::take_off(&cx.config.secret, &mut request);
    let mark = validate(cx, received, &request)?;
    count_down(cx, received, &mut request)?;
    let last = route::routes(&request.headers).is_empty();
    let uri = route::next(&mut request);
    let flow = flow.filter(|_| last && side == Side::Callee);
    Ok(Onward { request, hop: Hop { uri, flow }, mark, recorded: None })
}

/// Loop and Proxy-Require (section 16.3 steps 4 and 5). Gives the mark of the request, which is what routing depends on
/// (RFC 5393 section 4.2): our own entries are off its route already.
fn validate(cx: &mut Context<'_>, received: &Request, request: &Request) -> Result<String, Box<Response>> {
    let mark = mark(&cx.config.secret, request);
    let seen = |via: &str| {
        let branch = via.split(';').skip(1).find_map(|p| p.trim().strip_prefix("branch="));
        branch.and_then(|branch| branch.trim().rsplit_once('.')).is_some_and(|(_, end)| end == mark)
    };
    if received.headers.list("Via").any(seen) {
        return Err(Box::new(cx.refusal(received, 482)));
    }
    if received.method != Method::Ack && received.headers.has("Proxy-Require") {
        // We have no extension that a client could require of us as a proxy.
        let tags: Vec<&str> = received.headers.list("Proxy-Require").collect();
        let refusal = cx.refusal(received, 420).with("Unsupported", tags.join(", "));
        return Err(Box::new(refusal));
    }
    Ok(mark)
}

fn mark(secret: &[u8; 32], request: &Request) -> String {
    let mut mac = keyed(secret, b"pf loop");
    let headers = &request.headers;
    let (from, to) = (request.from_tag().unwrap_or_default(), request.to_tag().unwrap_or_default());
    let number = request.cseq().unwrap_or_default().to_string();
    let fields = [&request.uri, request.call_id(), &from, &to, &number];
    let routing = ["Route", "Proxy-Require", "Proxy-Authorization"].into_iter().flat_map(|n| headers.all(n));
    for text in fields.into_iter().chain(routing) {
        mac.update(&(text.len() as u64).to_be_bytes());
        mac.update(text.as_bytes());
    }
    base32(&mac.finalize().into_bytes()[..10])
}

/// Max-Forwards (section 16.3 step 3, 16.6 step 3), in its place.
fn count_down(cx: &mut Context<'_>, received: &Request, request: &mut Request) -> Result<(), Box<Response>> {
    let found = request.headers.0.iter_mut().find(|h| h.is("Max-Forwards"));
    let left = match &found {
        Some(field) => field.value.trim().parse::<u32>().unwrap_or(70).min(255).checked_sub(1),
        None => Some(70),
    };
    let Some(left) = left else { return Err(Box::new(cx.refusal(received, 483))) };
    match found {
        Some(field) => field.value = left.to_string(),
        None => {
            request.headers.0.insert(0, Header { name: "Max-Forwards".to_owned(), value: left.to_string() })
        }
    }
    Ok(())
}

/// Takes our own Via off a response (section 16.7 step 3), and nothing else. `false`: there is none left, so it was
/// meant for nobody else.
pub(super) fn take_via_off(headers: &mut Headers) -> bool {
    let Some(at) = headers.0.iter().position(|h| h.is("Via")) else { return false };
    let rest: Vec<&str> = split_list(&headers.0[at].value).skip(1).collect();
    if rest.is_empty() {
        headers.0.remove(at);
    } else {
        headers.0[at].value = rest.join(", ");
    }
    headers.has("Via")
}
