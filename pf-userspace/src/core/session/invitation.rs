//! Clause 8.2.2.1, request part: from the INVITE of the served user's device to our INVITE to the other CPM entity.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    Client, RINGING, Session, Work,
    context::Context,
    leg::{F, Leg},
    media::{Reach, own_uri},
    timer,
};
use crate::core::{
    Time,
    event::{ClientTx, Hop, LegRole, Peer, ServerTx},
    identity,
    identity::Identified,
    mapped_contact,
    policy::privacy::anonymity_requested,
    registry::{Icsi, same_address},
    sdp::{self, Part, Sdp, SdpError, SetupAttr},
    sip::{Dialog, Headers, Method, NameAddr, Request, Response, Uri, dialog::with_tag},
};

/// What the originating device asked for, as far as the session needs it later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Invitation {
    /// The user's address of record.
    pub(crate) user: String,
    /// Where the session goes: the Request-URI, a mapped Contact of ours resolved.
    pub(crate) destination: String,
    /// The header fields of the INVITE.
    pub(crate) headers: Headers,
    /// Where it came from.
    pub(crate) from: Peer,
    /// What the session is, for the choice of devices.
    pub(crate) group: bool,
    /// P-Asserted-Service as we assert it or pass it on.
    pub(crate) service: Option<String>,
    /// It had no session description: we make the offer in our 2xx.
    pub(crate) offerless: bool,
}

/// An INVITE of ours as it was sent, for another try with a longer session interval (`422`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SentInvite {
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    pub(crate) hop: Hop,
    pub(crate) uri: String,
    /// Seconds in its Session-Expires.
    pub(crate) interval: u32,
    /// How often it was sent again.
    pub(crate) tries: u8,
}

/// Header fields of the INVITE that are said to the far end as the originating device said them: those of step 4.a
/// and 4.e, and those that RFCs and TS 24.229 define from end to end. Everything else is ours or ends here.
const END_TO_END: [&str; 28] = [
    "Conversation-ID",
    "Contribution-ID",
    "InReplyTo-Contribution-ID",
    "Session-Replaces",
    "Accept-Contact",
    "Reject-Contact",
    "Request-Disposition",
    "Accept-Language",
    "Alert-Info",
    "Call-Info",
    "Date",
    "Error-Info",
    "Expires",
    "Feature-Caps",
    "Geolocation",
    "History-Info",
    "In-Reply-To",
    "Message-ID",
    "Organization",
    "P-Access-Network-Info",
    "P-Charging-Function-Addresses",
    "P-Charging-Vector",
    "Priority",
    "Privacy",
    "Referred-By",
    "Replaces",
    "Reply-To",
    "Subject",
];

/// Option tags that an INVITE may require of us.
const SUPPORTED: [&str; 2] = ["timer", "recipient-list-invite"];

/// Handles an INVITE outside of any dialog: either a session comes of it, or it is answered here.
pub(crate) fn invite(cx: &mut Context<'_>, tx: ServerTx, from: &Peer, request: &Request) -> Option<Session> {
    match begin(cx, tx, from, request) {
        Ok(session) => Some(session),
        Err(mut refusal) => {
            cx.tagged(request, &mut refusal);
            cx.respond(tx, *refusal);
            None
        }
    }
}

fn begin(
    cx: &mut Context<'_>,
    tx: ServerTx,
    from: &Peer,
    request: &Request,
) -> Result<Session, Box<Response>> {
    let refuse = |cx: &mut Context<'_>, status| Box::new(cx.refusal(request, status));
    let max_forwards = max_forwards(request).ok_or_else(|| refuse(cx, 483))?;

    // Step 1: may this user send it?
    let identified = identity::identify(cx.config, cx.registry, cx.now, cx.entropy, request, from);
    let (user, asserted) = match identified {
        Identified::User { aor, asserted } => (aor, asserted),
        Identified::Challenge(challenge) => return Err(Box::new(challenge)),
        Identified::Unknown => return Err(Box::new(cx.warning(request, 403, NOT_AUTHORISED))),
    };
    // Steps 1 to 3.
    check(cx, request, &user, &asserted)?;

    // What RFC 3261 sections 8.2.2.3 and 12.1.1, and RFC 4028 section 9, demand of any INVITE.
    let unsupported: Vec<&str> = request
        .headers
        .list("Require")
        .filter(|tag| !SUPPORTED.iter().any(|s| s.eq_ignore_ascii_case(tag)))
        .collect();
    if !unsupported.is_empty() {
        return Err(Box::new(cx.refusal(request, 420).with("Unsupported", unsupported.join(", "))));
    }
    let timer = timer::propose(&request.headers, &cx.config.policy, cx.now)
        .map_err(|min| Box::new(cx.refusal(request, 422).with("Min-SE", min.to_string())))?;
    let tag = cx.tag();
    let dialog = Dialog::incoming(request, tag, from.flow).map_err(|_| refuse(cx, 400))?;

    // Step 4: we stay in the media path.
    let (offered, parts) = offer_of(cx, request)?;
    let service = service(request, &parts);
    if !matches!(service, Service::Cpm(_)) && cx.config.policy.refuse_other_services {
        return Err(refuse(cx, 403));
    }
    let destination = destination(cx, request).map_err(|status| refuse(cx, status))?;
    let hop = next_hop(cx, from, request, &destination).map_err(|status| refuse(cx, status))?;

    let name = request.headers.get("Contact").and_then(|c| NameAddr::parse(c).ok());
    let device = name.as_ref().map(device_of).unwrap_or_default();
    let mut a = Leg::new(LegRole::Originator, user.clone(), device, dialog, String::new());
    a.asked = Some(tx);
    a.theirs = offered.octets.clone();
    a.timer = Some(timer);
    a.sdp_session = cx.sdp_session();
    a.learn(&request.headers);
    let mut session = Session {
        id: cx.ids.session(),
        started: cx.now,
        invitation: Invitation {
            user,
            destination,
            headers: request.headers.clone(),
            from: *from,
            group: service.is_group(),
            service: service.asserted(),
            offerless: offered.offerless,
        },
        legs: vec![a],
        streams: Vec::new(),
        clients: Default::default(),
        farewell: None,
        ending: false,
    };
    session.invite_far(cx, request, &offered.sdp, &parts, &service, &asserted, max_forwards, hop);
    Ok(session)
}

/// Steps 1 to 3: is the user barred, is the client's release wrong, is anonymity asked for and not allowed?
pub(super) fn check(
    cx: &mut Context<'_>,
    request: &Request,
    user: &str,
    asserted: &[String],
) -> Result<(), Box<Response>> {
    let policy = &cx.config.policy;
    let users = cx.config.users.iter().filter(|u| u.addresses.iter().any(|a| same_address(a, user)));
    let mut addresses: Vec<String> = users.flat_map(|u| u.addresses.clone()).collect();
    addresses.push(user.to_owned());
    addresses.extend(asserted.iter().filter_map(|value| Some(NameAddr::parse(value).ok()?.uri)));
    if policy.barred.iter().any(|barred| addresses.iter().any(|address| same_address(barred, address))) {
        return Err(Box::new(cx.warning(request, 403, NOT_AUTHORISED)));
    }
    if policy.client_version.is_some_and(|rule| !rule.admits(request.headers.get("User-Agent"))) {
        return Err(Box::new(cx.warning(request, 403, VERSION_NOT_SUPPORTED)));
    }
    if !policy.allow_anonymity && anonymity_requested(request) {
        return Err(Box::new(cx.warning(request, 403, ANONYMITY_NOT_ALLOWED)));
    }
    Ok(())
}

const NOT_AUTHORISED: &str = "127 Service not authorised";
const VERSION_NOT_SUPPORTED: &str = "132 Version not supported";
const ANONYMITY_NOT_ALLOWED: &str = "119 Anonymity not allowed";

impl Session {
    /// Step 4.a to 4.k: generates our INVITE and sends it.
    #[allow(clippy::too_many_arguments)]
    fn invite_far(
        &mut self,
        cx: &mut Context<'_>,
        received: &Request,
        offered: &Sdp,
        parts: &[Part],
        service: &Service,
        asserted: &[String],
        max_forwards: u32,
        (hop, routes): (Hop, Vec<String>),
    ) {
        // c. A new INVITE: own Call-ID, tag and CSeq. From shows the user's device, To stays as it was.
        let config = cx.config;
        let header = |name| received.headers.get(name).unwrap_or_default();
        let (call_id, tag) = (cx.call_id(), cx.tag());
        let mut dialog = Dialog::outgoing(
            call_id,
            with_tag(header("From"), None),
            tag,
            with_tag(header("To"), None),
            self.invitation.destination.clone(),
            routes,
            None,
        );
        // a. The Request-URI as received.
        let (mut request, _) = dialog.request(Method::Invite);
        request.uri.clone_from(&self.invitation.destination);
        let headers = &mut request.headers;
        headers.set("Max-Forwards", max_forwards.to_string());
        for identity in asserted {
            headers.push("P-Asserted-Identity", identity);
        }
        // a., e. Conversation-ID, Contribution-ID, InReplyTo-Contribution-ID, Accept-Contact, and what else goes
        // from end to end.
        for name in END_TO_END {
            headers.copy(&received.headers, name);
        }
        // d. Our release, not the client's.
        headers.push("User-Agent", config.product.as_str());
        // e., i. Contact: our address with the parameters that the client gave to its own.
        let params = received.headers.get("Contact").and_then(|c| NameAddr::parse(c).ok());
        let params = params.map(|c| c.params_text()).unwrap_or_default();
        let contact = format!("<{}>{params}", own_uri(config, "pf", Reach::Uri(&hop.uri)));
        headers.push("Contact", contact.as_str());
        // f. Supported, and the same in Require where the client required it (RFC 5366 section 3).
        let list = "recipient-list-invite";
        let requires = received.headers.has_token("Require", list);
        let supported = if requires || received.headers.has_token("Supported", list) {
            format!("timer, {list}")
        } else {
            "timer".to_owned()
        };
        headers.push("Supported", supported);
        if requires {
            headers.push("Require", list);
        }
        headers.push("Allow", super::ALLOW);
        // g. Session-Expires: we refresh.
        let min_se = timer::min_se(&received.headers);
        let interval = config.policy.session_expires.max(min_se).max(timer::FLOOR);
        timer::write(headers, interval, min_se);
        // h. The service: preferred becomes asserted.
        if let Some(asserted) = service.asserted() {
            headers.push("P-Asserted-Service", asserted);
        }
        if let Service::Preferred(foreign) = service {
            headers.push("P-Preferred-Service", foreign);
        }
        // j. Our offer, made from the client's; a. beside it the recipient list.
        let mut leg =
            Leg::new(LegRole::Far, self.invitation.destination.clone(), String::new(), dialog, contact);
        leg.sdp_session = cx.sdp_session();
        self.legs.push(leg);
        self.plan_lines(cx, F, offered, |_| Session::far_session_id());
        let origin = self.legs[F].origin(self.media_host(cx, F));
        let offer = sdp::offer(offered, &self.legs[F].local_lines(|_| SetupAttr::Actpass), &origin).write();
        self.legs[F].ours = offer.to_vec();
        self.open_lines(cx, F);
        let boundary = cx.entropy.token(20);
        let (content_type, body) = sdp::join_body(&offer, parts, &boundary);
        request.headers.push("Content-Type", content_type);
        request.body = body;
        // k. Directly to the ISF, or as the core's rules say: that is in the hop.
        self.send_invite(cx, F, request, hop, interval, 0, cx.now + RINGING);
    }

    /// Sends an INVITE that makes leg `no`.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn send_invite(
        &mut self,
        cx: &mut Context<'_>,
        no: super::LegNo,
        request: Request,
        hop: Hop,
        interval: u32,
        tries: u8,
        until: Time,
    ) -> ClientTx {
        let tx = cx.ids.client();
        let sent = SentInvite {
            headers: request.headers.clone(),
            body: request.body.to_vec(),
            hop: hop.clone(),
            uri: request.uri.clone(),
            interval,
            tries,
        };
        self.clients.insert(tx, Client { leg: no, work: Work::Invite(Box::new(sent)), until });
        cx.request(tx, request, hop);
        tx
    }

    /// `422` to an INVITE of ours: once more with the interval that the peer wants, same Call-ID, next CSeq
    /// (RFC 4028 section 7.4). `false` if that makes no sense.
    pub(super) fn invite_again(
        &mut self,
        cx: &mut Context<'_>,
        no: super::LegNo,
        sent: &SentInvite,
        response: &Response,
        until: Time,
    ) -> bool {
        let wanted = timer::min_se(&response.headers);
        if response.status != 422 || sent.tries >= MAX_TRIES || wanted <= sent.interval {
            return false;
        }
        let mut request = Request::new(Method::Invite, sent.uri.as_str());
        request.headers = sent.headers.clone();
        request.body = Bytes::from(sent.body.clone());
        timer::write(&mut request.headers, wanted, wanted);
        let dialog = &mut self.legs[no].dialog;
        dialog.local_cseq = dialog.local_cseq.saturating_add(1);
        request.headers.set("CSeq", format!("{} INVITE", dialog.local_cseq));
        self.send_invite(cx, no, request, sent.hop.clone(), wanted, sent.tries + 1, until);
        true
    }
}

/// How often an INVITE is repeated because of `422`.
const MAX_TRIES: u8 = 3;

/// Step 4.h: which service the INVITE is for.
enum Service {
    /// P-Preferred-Service of a CPM session (i., ii.), P-Asserted-Service of one (third item), or one that its
    /// recipient list and feature tags show.
    Cpm(Icsi),
    /// P-Asserted-Service of something else.
    Foreign(String),
    /// P-Preferred-Service of something else.
    Preferred(String),
    /// Nothing says what it is.
    Unknown,
}

impl Service {
    fn is_group(&self) -> bool {
        matches!(self, Service::Cpm(Icsi::Group))
    }

    fn asserted(&self) -> Option<String> {
        match self {
            Service::Cpm(icsi) => Some(icsi.as_urn().to_owned()),
            Service::Foreign(value) => Some(value.clone()),
            Service::Preferred(_) | Service::Unknown => None,
        }
    }
}

fn service(request: &Request, parts: &[Part]) -> Service {
    let headers = &request.headers;
    // The whole URN counts here: one of the two begins like the other (AMB-05).
    if let Some(asserted) = headers.get("P-Asserted-Service") {
        return Icsi::from_urn(asserted).map_or_else(|| Service::Foreign(asserted.to_owned()), Service::Cpm);
    }
    if let Some(preferred) = headers.get("P-Preferred-Service") {
        return Icsi::from_urn(preferred)
            .map_or_else(|| Service::Preferred(preferred.to_owned()), Service::Cpm);
    }
    // AMB-03: neither is there.
    let tags: Vec<NameAddr> = ["Accept-Contact", "Contact"]
        .into_iter()
        .flat_map(|name| headers.list(name))
        .filter_map(|value| NameAddr::parse(value).ok())
        .collect();
    let tagged = |icsi: Icsi| {
        ["+g.3gpp.icsi-ref", "g.3gpp.icsi-ref"]
            .iter()
            .any(|name| tags.iter().filter_map(|t| t.param(name)).any(|value| icsi.matches_tag(value)))
    };
    let lists = parts.iter().any(|part| part.media_type() == "application/resource-lists+xml");
    match () {
        () if lists || tagged(Icsi::Group) => Service::Cpm(Icsi::Group),
        () if tagged(Icsi::Session) => Service::Cpm(Icsi::Session),
        () => Service::Unknown,
    }
}

/// The client's offer.
struct Offered {
    sdp: Sdp,
    octets: Vec<u8>,
    /// There was none: `sdp` is what we offer on our own.
    offerless: bool,
}

/// The session description and the other parts of the body. Lines that we cannot carry are rejected.
fn offer_of(cx: &mut Context<'_>, request: &Request) -> Result<(Offered, Vec<Part>), Box<Response>> {
    let body = match sdp::split_body(request.headers.get("Content-Type"), &request.body) {
        Ok(body) => body,
        Err(sdp::BodyError::Encoded | sdp::BodyError::Untyped) => {
            return Err(Box::new(
                cx.refusal(request, 415).with("Accept", "application/sdp, multipart/mixed"),
            ));
        }
        Err(_) => return Err(Box::new(cx.refusal(request, 400))),
    };
    let octets = body.sdp.clone().unwrap_or_default().to_vec();
    let offerless = body.sdp.is_none();
    let text = body.sdp.unwrap_or_else(|| Bytes::from_static(CHAT_OFFER));
    let sdp = parse_offer(&text).map_err(|refusal| Box::new(refusal.response(cx, request)))?;
    Ok((Offered { sdp, octets, offerless }, body.others))
}

/// Why an offer is not taken.
pub(super) enum BadOffer {
    Malformed,
    NotAcceptable(&'static str),
}

impl BadOffer {
    pub(super) fn response(self, cx: &mut Context<'_>, request: &Request) -> Response {
        match self {
            BadOffer::Malformed => cx.refusal(request, 400),
            BadOffer::NotAcceptable(why) => cx.warning(request, 488, why),
        }
    }
}

/// Reads an offer: at least one m-line must be an MSRP stream that we can carry; MSRP lines that we cannot are
/// rejected.
pub(super) fn parse_offer(text: &[u8]) -> Result<Sdp, BadOffer> {
    let sdp = Sdp::parse(text).map_err(|error| match error {
        SdpError::Malformed(_) => BadOffer::Malformed,
        SdpError::NotUtf8 | SdpError::TooLong | SdpError::TooManyLines => {
            BadOffer::NotAcceptable("Session description not supported")
        }
    })?;
    let lines = sdp.msrp_lines();
    let bad: Vec<usize> = lines
        .iter()
        .filter(|line| !line.is_rejected() && line.anchorable().is_err())
        .map(|line| line.index)
        .collect();
    if lines.iter().all(|line| line.anchorable().is_err()) {
        return Err(BadOffer::NotAcceptable("No MSRP stream that can be carried"));
    }
    Ok(if bad.is_empty() { sdp } else { sdp.rejecting(&bad) })
}

/// The offer that we make where the client made none: a chat of CPIM messages. Its addresses are replaced.
pub(super) const CHAT_OFFER: &[u8] = b"v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
    m=message 9 TCP/MSRP *\r\na=accept-types:message/cpim application/im-iscomposing+xml\r\n\
    a=accept-wrapped-types:*\r\na=path:msrp://0.0.0.0:9/-;tcp\r\n";

/// Max-Forwards of our INVITE; `None` if it may not be forwarded any more.
fn max_forwards(request: &Request) -> Option<u32> {
    match request.headers.get("Max-Forwards") {
        Some(value) => value.trim().parse::<u32>().unwrap_or(70).min(255).checked_sub(1),
        None => Some(70),
    }
}

/// Where the session goes. Our own address is no destination, unless it stands for somebody else's (step 5 of the
/// 200 part: a mapped Contact resolves, also after its dialog and a restart).
fn destination(cx: &Context<'_>, request: &Request) -> Result<String, u16> {
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

/// Step 4.k: where our INVITE goes, and its Route header fields. The rest of a trusted core node's Route comes
/// first, then the configured core, then the destination itself.
fn next_hop(
    cx: &Context<'_>,
    from: &Peer,
    request: &Request,
    destination: &str,
) -> Result<(Hop, Vec<String>), u16> {
    let to = |uri: &str| Hop { uri: uri.to_owned(), flow: None };
    let routed = |uri: &str| {
        let loose = Uri::parse(uri).is_ok_and(|u| u.param("lr").is_some());
        (to(uri), if loose { vec![format!("<{uri}>")] } else { Vec::new() })
    };
    let scheme = Uri::parse(destination).map_err(|_| 400_u16)?.scheme;
    if !matches!(scheme.as_str(), "sip" | "sips" | "tel") {
        return cx.config.isf_route.as_deref().map(routed).ok_or(416);
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

/// What tells the device of a Contact from another one.
pub(super) fn device_of(contact: &NameAddr) -> String {
    contact.param("+sip.instance").map_or_else(|| contact.uri.clone(), str::to_owned)
}
