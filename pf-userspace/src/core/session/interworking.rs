//! Clause 8.2.2.1, error part, and clause 6.5: an INVITE that the far end refuses goes to the Interworking Selection
//! Function, if the operator wants that.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    RINGING, Session,
    context::Context,
    invitation::{IN_TRUST_DOMAIN, SentInvite},
    leg::{A, F, LegState},
    routing::to_isf,
};
use crate::core::sip::{Headers, Method, Request, Response};

/// What a session knows of its interworking.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Interworking {
    /// The far end's refusal, while the ISF is asked.
    refused: Option<Refusal>,
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
        self.trust_isf(cx, &mut request.headers);
        request.body = Bytes::from(sent.body.clone());
        self.send_invite(cx, F, request, hop, sent.interval, 0, cx.now + RINGING);
        true
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
