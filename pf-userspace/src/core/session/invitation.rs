//! Clause 8.2.2.1, request part: from the INVITE of the served user's device to our INVITE to the other CPM entity.
//!
//! | step | what | where |
//! |---|---|---|
//! | 1 | who sends it, and may this user? | [`admit`], [`check`] |
//! | 2 | the client's release | [`check`] |
//! | 3 | anonymity | [`check`] |
//! | 4 | in the media path: why, `policy::media_path`; b. a session of two dialogs | [`invite`], `begin` |
//! | 4.a, c to j | our INVITE, in the order of the letters as far as its header allows | `Session::invite_far` |
//! | 4.h | which service it is | `service` |
//! | 4.k | to the ISF or by the rules of the core | `routing` |
//! | 5 | not in the media path | `core::proxy` |
//!
//! The response part is in `answer`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    Client, RINGING, Session, Work,
    context::Context,
    interworking::Interworking,
    leg::{F, Leg},
    media::{Reach, own_uri},
    modification::Change,
    offer::{Offered, offer_of},
    routing::{destination, max_forwards, next_hop, to_core},
    service::{Service, service},
    timer,
};
use crate::core::{
    Time,
    event::{ClientTx, Hop, LegRole, Peer, ServerTx},
    identity::{self, Identified},
    policy::privacy::anonymity_requested,
    sdp::{self, Part, Sdp, SetupAttr},
    sip::{Dialog, Headers, Method, NameAddr, Request, Response, dialog::with_tag},
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
    /// Both sides belong to the core's trust domain (RFC 3325): the node it came from, and the next one.
    pub(crate) in_trust_domain: bool,
    /// What the session is, for the choice of devices.
    pub(crate) group: bool,
    /// P-Asserted-Service as we assert it or pass it on.
    pub(crate) service: Option<String>,
    /// P-Asserted-Identity of the user.
    pub(crate) asserted: Vec<String>,
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
    /// The change of the session that waits for it.
    pub(crate) change: Option<Box<Change>>,
}

/// Header fields of the INVITE that are said to the far end as the originating device said them: those of step 4.a
/// and 4.e, and those that RFCs and TS 24.229 define from end to end. Everything else is ours or ends here.
const END_TO_END: [&str; 23] = [
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
    "Geolocation",
    "In-Reply-To",
    "Message-ID",
    "Organization",
    "Priority",
    "Privacy",
    "Referred-By",
    "Replaces",
    "Reply-To",
    "Subject",
];

/// Header fields that nodes of the core write, not clients (RFC 6809, RFC 7044; TS 24.229 clause 4.4): from a
/// trusted node only.
pub(crate) const FROM_TRUSTED: [&str; 2] = ["Feature-Caps", "History-Info"];

/// Header fields that do not enter the core's trust domain nor leave it (RFC 7315).
pub(crate) const IN_TRUST_DOMAIN: [&str; 3] =
    ["P-Access-Network-Info", "P-Charging-Function-Addresses", "P-Charging-Vector"];

/// Option tags that an INVITE may require of us.
const SUPPORTED: [&str; 3] = ["timer", "100rel", "recipient-list-invite"];

/// Option tags of Require that we do not know (RFC 3261 section 8.2.2.3).
pub(super) fn unsupported(request: &Request) -> Vec<&str> {
    let known = |tag: &&str| SUPPORTED.iter().any(|s| s.eq_ignore_ascii_case(tag));
    request.headers.list("Require").filter(|tag| !known(tag)).collect()
}

/// Who starts a session, as found out in step 1.
#[derive(Clone, Debug)]
pub(crate) struct Originator {
    /// The user's address of record.
    pub(crate) user: String,
    /// Values of P-Asserted-Identity to send on.
    pub(crate) asserted: Vec<String>,
}

/// Handles an INVITE outside of any dialog that was admitted: either a session comes of it, or it is answered here.
/// `hold`: the originating device is answered at once, and the far end asked when it says something (clause 8.2.2.7.1).
pub(crate) fn invite(
    cx: &mut Context<'_>,
    tx: ServerTx,
    from: &Peer,
    request: &Request,
    originator: Originator,
    hold: bool,
) -> Option<Session> {
    match begin(cx, tx, from, request, originator, hold) {
        Ok(session) => Some(session),
        Err(mut refusal) => {
            cx.tagged(request, &mut refusal);
            cx.respond(tx, *refusal);
            None
        }
    }
}

/// What holds for every INVITE outside of a dialog, whether we are a B2BUA or a proxy for its session: steps 1 to 3.
pub(crate) fn admit(
    cx: &mut Context<'_>,
    from: &Peer,
    request: &Request,
) -> Result<Originator, Box<Response>> {
    if max_forwards(request).is_none() {
        return Err(Box::new(cx.refusal(request, 483)));
    }
    // Step 1: may this user send it?
    let identified = identity::identify(cx.config, cx.registry, cx.now, cx.entropy, request, from);
    let (user, asserted) = match identified {
        Identified::User { aor, asserted } => (aor, asserted),
        Identified::Challenge(challenge) => return Err(Box::new(challenge)),
        Identified::Unknown => return Err(Box::new(cx.warning(request, 403, NOT_AUTHORISED))),
    };
    // Steps 1 to 3.
    check(cx, request, &user, &asserted)?;
    Ok(Originator { user, asserted })
}

/// A device's INVITE outside of any dialog, as far as its own side goes.
pub(super) struct Arrived {
    /// Its leg; the INVITE waits for an answer.
    pub(super) leg: Leg,
    pub(super) offered: Offered,
    /// The other parts of its body.
    pub(super) parts: Vec<Part>,
}

/// Reads a device's INVITE: what RFC 3261 sections 8.2.2.3 and 12.1.1, and RFC 4028 section 9, demand of any, and its
/// session description.
pub(super) fn arrive(
    cx: &mut Context<'_>,
    tx: ServerTx,
    from: &Peer,
    request: &Request,
    user: &str,
) -> Result<Arrived, Box<Response>> {
    let unsupported = unsupported(request);
    if !unsupported.is_empty() {
        return Err(Box::new(cx.refusal(request, 420).with("Unsupported", unsupported.join(", "))));
    }
    let timer = timer::propose(&request.headers, &cx.config.policy, cx.now)
        .map_err(|min| Box::new(cx.refusal(request, 422).with("Min-SE", min.to_string())))?;
    let tag = cx.tag();
    let dialog = Dialog::incoming(request, tag, from.flow).map_err(|_| Box::new(cx.refusal(request, 400)))?;
    let (offered, parts) = offer_of(cx, request)?;
    let name = request.headers.get("Contact").and_then(|c| NameAddr::parse(c).ok());
    let device = name.as_ref().map(device_of).unwrap_or_default();
    let mut leg = Leg::new(LegRole::Originator, user.to_owned(), device, dialog, String::new());
    leg.asked = Some(tx);
    leg.theirs = offered.octets.clone();
    leg.timer = Some(timer);
    leg.sdp_session = cx.sdp_session();
    leg.learn(&request.headers);
    Ok(Arrived { leg, offered, parts })
}

fn begin(
    cx: &mut Context<'_>,
    tx: ServerTx,
    from: &Peer,
    request: &Request,
    Originator { user, asserted }: Originator,
    hold: bool,
) -> Result<Session, Box<Response>> {
    let refuse = |cx: &mut Context<'_>, status| Box::new(cx.refusal(request, status));
    let max_forwards = max_forwards(request).ok_or_else(|| refuse(cx, 483))?;
    // Step 4: we stay in the media path.
    let Arrived { leg: a, offered, parts } = arrive(cx, tx, from, request, &user)?;
    let trusted = cx.config.trusted.contains(&from.addr.ip());
    let service = service(request, &parts, trusted);
    if !matches!(service, Service::Cpm(_)) && cx.config.policy.refuse_other_services {
        return Err(refuse(cx, 403));
    }
    let destination = destination(cx, request).map_err(|status| refuse(cx, status))?;
    let hop = next_hop(cx, from, request, &destination).map_err(|status| refuse(cx, status))?;
    let mut session = Session {
        id: cx.ids.session(),
        started: cx.now,
        invitation: Invitation {
            user,
            // Straight to the destination, without a core between, is out of the trust domain (RFC 3325 section 5).
            in_trust_domain: trusted && hop.0.uri != destination,
            destination,
            headers: request.headers.clone(),
            from: *from,
            // What its user can join again is a group session, whatever the INVITE says.
            group: service.is_group() || hold,
            service: service.asserted(),
            asserted: asserted.clone(),
            offerless: offered.offerless,
        },
        legs: vec![a],
        streams: Vec::new(),
        clients: Default::default(),
        interworking: Interworking::default(),
        farewell: None,
        ending: false,
        storing: Default::default(),
        lost: None,
        missed: Default::default(),
        inactive: false,
        held: None,
        subscription: None,
        unsubscribed: Vec::new(),
        reliable: None,
        early: Vec::new(),
        passing: std::collections::BTreeMap::new(),
        referrer: None,
        ended_group: None,
    };
    let sent = session.invite_far(cx, request, &offered.sdp, &parts, &service, &asserted, max_forwards, hop);
    // The answer may be there when the 200 needs it (step 7 of its part).
    session.ask_wishes(cx);
    if hold {
        session.hold(cx, tx, sent);
    } else {
        session.open_lines(cx, F);
        let (request, hop, interval) = sent;
        session.send_invite(cx, F, request, hop, interval, 0, cx.now + RINGING);
    }
    Ok(session)
}

/// Steps 1 to 3: is the user barred, is the client's release wrong, is anonymity asked for and not allowed?
pub(crate) fn check(
    cx: &mut Context<'_>,
    request: &Request,
    user: &str,
    asserted: &[String],
) -> Result<(), Box<Response>> {
    let policy = &cx.config.policy;
    if addresses(cx, user, asserted).iter().any(|address| cx.registry.is_barred(address)) {
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

/// The same for a re-INVITE (clause 8.2.2.5 step 1): who sends it was found out when the session began, and may be no
/// user any more.
pub(crate) fn check_again(
    cx: &mut Context<'_>,
    request: &Request,
    user: &str,
    asserted: &[String],
) -> Result<(), Box<Response>> {
    if cx.registry.is_removed(user) {
        return Err(Box::new(cx.warning(request, 403, NOT_AUTHORISED)));
    }
    check(cx, request, user, asserted)
}

/// All addresses of an originator.
fn addresses(cx: &Context<'_>, user: &str, asserted: &[String]) -> Vec<String> {
    let mut addresses = cx.registry.user_addresses(user).unwrap_or_default().to_vec();
    addresses.push(user.to_owned());
    addresses.extend(asserted.iter().filter_map(|value| Some(NameAddr::parse(value).ok()?.uri)));
    addresses
}

impl Originator {
    /// Does the operator want us in the media path of this user's sessions?
    pub(crate) fn wants_media_path(&self, cx: &Context<'_>) -> bool {
        addresses(cx, &self.user, &self.asserted).iter().any(|address| cx.registry.wants_media_path(address))
    }
}

/// Warning text of a user that may not do this.
pub(crate) const NOT_AUTHORISED: &str = "127 Service not authorised";
const VERSION_NOT_SUPPORTED: &str = "132 Version not supported";
const ANONYMITY_NOT_ALLOWED: &str = "119 Anonymity not allowed";

impl Session {
    /// Step 4.a to 4.k: generates our INVITE. Gives it with the next hop and its session interval in seconds.
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
    ) -> (Request, Hop, u32) {
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
        let to_trusted = hop.uri != self.invitation.destination;
        if to_trusted || !anonymity_requested(received) {
            for identity in asserted {
                headers.push("P-Asserted-Identity", identity);
            }
        }
        // a., e. Conversation-ID, Contribution-ID, InReplyTo-Contribution-ID, Accept-Contact, and what else goes
        // from end to end.
        for name in END_TO_END {
            headers.copy(&received.headers, name);
        }
        if config.trusted.contains(&self.invitation.from.addr.ip()) {
            for name in FROM_TRUSTED {
                headers.copy(&received.headers, name);
            }
        }
        if self.invitation.in_trust_domain {
            for name in IN_TRUST_DOMAIN {
                headers.copy(&received.headers, name);
            }
        }
        // d. Our release, not the client's.
        headers.push("User-Agent", config.product.as_str());
        // e., i. Contact: our address with the parameters that the client gave to its own.
        let params = received.headers.get("Contact").and_then(|c| NameAddr::parse(c).ok());
        let params = params.map(|c| c.params_text()).unwrap_or_default();
        let contact = format!("<{}>{params}", own_uri(config, "pf", Reach::Uri(&hop.uri)));
        headers.push("Contact", contact.as_str());
        // f. Supported, and the same in Require where the client required it (RFC 5366 section 3). Provisional
        // responses are reliable as far as the far end wants that, if the client cares for it at all.
        let said = |tag| ["Require", "Supported"].iter().any(|name| received.headers.has_token(name, tag));
        let list = "recipient-list-invite";
        let requires = received.headers.has_token("Require", list);
        let known = ["timer", "100rel", list].into_iter().filter(|tag| *tag == "timer" || said(tag));
        headers.push("Supported", known.collect::<Vec<_>>().join(", "));
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
        leg.iwf = !to_core(&self.invitation.destination);
        self.legs.push(leg);
        self.plan_lines(cx, F, offered, |_| Session::far_session_id());
        let origin = self.legs[F].origin(self.media_host(cx, F));
        let offer = sdp::offer(offered, &self.legs[F].local_lines(|_| SetupAttr::Actpass), &origin).write();
        self.legs[F].ours = offer.to_vec();
        let boundary = cx.entropy.token(20);
        let (content_type, body) = sdp::join_body(&offer, parts, &boundary);
        request.headers.push("Content-Type", content_type);
        request.body = body;
        // k. Directly to the ISF, or as the core's rules say: that is in the hop.
        (request, hop, interval)
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
            change: None,
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

/// What tells the device of a Contact from another one.
pub(super) fn device_of(contact: &NameAddr) -> String {
    contact.param("+sip.instance").map_or_else(|| contact.uri.clone(), str::to_owned)
}
