//! Clause 8.2.2.1, error part, and clause 6.5: an INVITE that the far end refuses goes to the Interworking Selection
//! Function, if the operator wants that.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    RINGING, Session,
    context::Context,
    invitation::{IN_TRUST_DOMAIN, SentInvite},
    iwf_answer::Gathering,
    iwf_bye::Leaving,
    leg::{A, F, Leg, LegNo, LegState},
    media::{Reach, own_uri},
    routing::to_isf,
};
use crate::core::{
    Time,
    event::{LegRole, MediaCommand},
    sdp::{self, Sdp, SetupAttr},
    sip::{Dialog, Headers, Method, NameAddr, Request, Response, dialog::with_tag},
};

/// The most legs to IWFs that a session has.
pub(super) const MAX_IWFS: usize = 16;

/// Header fields of an INVITE that each one has for itself.
const OWN: [&str; 11] = [
    "Call-ID",
    "Content-Type",
    "CSeq",
    "From",
    "Max-Forwards",
    "Min-SE",
    "Require",
    "Route",
    "Session-Expires",
    "Supported",
    "To",
];

/// What a session knows of its interworking.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Interworking {
    /// The far end's refusal, while the ISF is asked.
    refused: Option<Refusal>,
    /// The INVITE that the ISF took, for further ones.
    pub(super) sent: Option<SentInvite>,
    /// An IWF has accepted, the originating device is not answered yet.
    pub(super) gathering: Option<Gathering>,
    /// IWFs that have left, and whose streams the originating device still has.
    pub(super) leaving: Vec<Leaving>,
    /// IWFs that are to be told which streams are theirs.
    pub(super) undescribed: BTreeSet<LegNo>,
}

impl Interworking {
    /// When something is to be done.
    pub(super) fn deadline(&self) -> Option<Time> {
        let gathering = self.gathering.as_ref().map(|gathering| gathering.until);
        let leaving = self.leaving.iter().filter_map(Leaving::deadline);
        gathering.into_iter().chain(leaving).min()
    }
}

/// A response that is kept for later; its body says nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Refusal {
    status: u16,
    reason: String,
    headers: Headers,
}

impl Session {
    /// Error part, steps 1 and 2: where policy allows it the INVITE goes directly to the ISF, once in a session.
    /// `false` if not.
    pub(super) fn interwork(&mut self, cx: &mut Context<'_>, sent: &SentInvite, response: &Response) -> bool {
        let allowed = cx.config.policy.interworks_after(response.status);
        // What went to the ISF, be it the first time, never goes there again.
        if !allowed || self.legs[F].iwf || self.ending || self.legs[A].asked.is_none() {
            return false;
        }
        let Some((hop, routes)) = to_isf(cx) else { return false };
        let Response { status, reason, headers, .. } = response.clone();
        self.interworking.refused = Some(Refusal { status, reason, headers });
        let leg = &mut self.legs[F];
        leg.iwf = true;
        leg.state = LegState::Inviting;
        // Another try of the same INVITE: next CSeq, Request-URI and offer stay (RFC 3261 section 8.1.3.5).
        leg.dialog.local_cseq = leg.dialog.local_cseq.saturating_add(1);
        leg.dialog.routes.clone_from(&routes);
        let mut request = Request::new(Method::Invite, sent.uri.as_str());
        request.headers = sent.headers.clone();
        request.headers.set("CSeq", format!("{} INVITE", leg.dialog.local_cseq));
        request.headers.remove("Route");
        for route in routes {
            request.headers.push("Route", route);
        }
        // Contact: our address as the ISF reaches it, with the parameters as before.
        let params = NameAddr::parse(&leg.contact).map(|contact| contact.params_text()).unwrap_or_default();
        leg.contact = format!("<{}>{params}", own_uri(cx.config, "pf", Reach::Uri(&hop.uri)));
        request.headers.set("Contact", leg.contact.as_str());
        self.trust_isf(cx, &mut request.headers);
        request.body = Bytes::from(sent.body.clone());
        self.send_invite(cx, F, request, hop, sent.interval, 0, cx.now + RINGING);
        true
    }

    /// Another INVITE to the ISF (clause 6.5), for these streams alone: step 4 without 4.f and 4.g (200 part step
    /// 1.b), with this `a=setup`. `offered` has the streams at the session's places. Gives the new leg.
    pub(super) fn invite_isf(
        &mut self,
        cx: &mut Context<'_>,
        streams: &[usize],
        offered: &Sdp,
        setup: SetupAttr,
    ) -> Option<LegNo> {
        let sent = self.interworking.sent.clone()?;
        let iwfs = self.legs.iter().filter(|leg| leg.iwf).count();
        let (hop, routes) = to_isf(cx).filter(|_| iwfs < MAX_IWFS)?;
        let header = |name| sent.headers.get(name).unwrap_or_default();
        let (call_id, tag) = (cx.call_id(), cx.tag());
        let (from, to) = (with_tag(header("From"), None), with_tag(header("To"), None));
        let mut dialog = Dialog::outgoing(call_id, from, tag, to, sent.uri.clone(), routes, None);
        let (mut request, _) = dialog.request(Method::Invite);
        request.uri.clone_from(&sent.uri);
        request.headers.set("Max-Forwards", header("Max-Forwards"));
        let own = |name: &str| OWN.iter().any(|own| own.eq_ignore_ascii_case(name));
        for field in sent.headers.0.iter().filter(|field| !own(&field.name)) {
            request.headers.push(field.name.as_str(), field.value.as_str());
        }

        let name = self.invitation.destination.clone();
        let mut leg = Leg::new(LegRole::Far, name, String::new(), dialog, header("Contact").to_owned());
        leg.iwf = true;
        leg.sdp_session = cx.sdp_session();
        leg.places = Some(streams.iter().map(|stream| Some(*stream)).collect());
        let no = self.legs.len();
        self.legs.push(leg);
        for stream in streams {
            self.release_far_line(cx, *stream);
        }
        let others: Vec<usize> = (0..offered.line_count()).filter(|index| !streams.contains(index)).collect();
        let offered = offered.clone().rejecting(&others);
        self.plan_lines(cx, no, &offered, |_| Session::far_session_id());
        let origin = self.legs[no].origin(self.media_host(cx, no));
        let offer = sdp::offer(&offered, &self.legs[no].local_lines(|_| setup), &origin);
        let offer = self.legs[no].outward(&offer).write();
        self.legs[no].ours = offer.to_vec();
        self.open_lines(cx, no);
        // The list of recipients goes along (step 4.a).
        let body = Bytes::from(sent.body.clone());
        let parts = sdp::split_body(sent.headers.get("Content-Type"), &body).map(|body| body.others);
        let boundary = cx.entropy.token(20);
        let (content_type, body) = sdp::join_body(&offer, &parts.unwrap_or_default(), &boundary);
        request.headers.push("Content-Type", content_type);
        request.body = body;
        self.send_invite(cx, no, request, hop, 0, 0, cx.now + RINGING);
        Some(no)
    }

    /// A stream leaves the leg of the other side that it was offered on.
    pub(super) fn release_far_line(&mut self, cx: &mut Context<'_>, stream: usize) {
        let far = self.far_of(stream).unwrap_or(F);
        let line = self.legs[far].lines.get_mut(stream).and_then(Option::take);
        if let Some(line) = line.filter(|line| line.open) {
            cx.media(MediaCommand::CloseLeg { leg: line.key });
        }
    }

    /// The ISF is the operator's own node: it gets what stays within the trust domain, also where the far end that
    /// was asked before did not (RFC 3325 section 5).
    fn trust_isf(&mut self, cx: &Context<'_>, headers: &mut Headers) {
        if !headers.has("P-Asserted-Identity") {
            for identity in &self.invitation.asserted {
                headers.push("P-Asserted-Identity", identity.as_str());
            }
        }
        let trusted = cx.config.trusted.contains(&self.invitation.from.addr.ip());
        if trusted && !self.invitation.in_trust_domain {
            self.invitation.in_trust_domain = true;
            for name in IN_TRUST_DOMAIN {
                headers.copy(&self.invitation.headers, name);
            }
        }
    }

    /// Error part, step 3, after the ISF has failed too: the better one of the two refusals, by RFC 3261
    /// section 16.7 step 6; the ISF's where they are alike.
    pub(super) fn best_refusal(&mut self, response: &Response) -> Response {
        let Some(first) = self.interworking.refused.take() else { return response.clone() };
        let answered = |headers: &Headers| headers.has("CSeq");
        let rank = |status: u16, headers: &Headers| match status / 100 {
            6 => 0,
            _ if !answered(headers) => 6,
            class => class,
        };
        if rank(response.status, &response.headers) <= rank(first.status, &first.headers) {
            return response.clone();
        }
        let Refusal { status, reason, headers } = first;
        Response { status, reason, headers, body: Bytes::new() }
    }
}
