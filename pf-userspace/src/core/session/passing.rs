//! Requests inside the dialog that change nothing in the session, passed on between the originating device and the
//! far end: INFO, MESSAGE, REFER and the NOTIFYs that follow it (AMB-36).

use super::{PassMethod, Session, Work, context::Context, leg::LegNo};
use crate::core::{
    event::{LegRole, ServerTx},
    sip::{Method, Request, Response},
};

/// Header fields of such requests that the other side shall see.
const REQUEST: [&str; 20] = [
    "Accept",
    "Accept-Contact",
    "Content-Disposition",
    "Content-Language",
    "Content-Type",
    "Conversation-ID",
    "Contribution-ID",
    "Date",
    "Event",
    "Expires",
    "In-Reply-To",
    "Info-Package",
    "Privacy",
    "Reason",
    "Refer-Sub",
    "Refer-To",
    "Referred-By",
    "Subject",
    "Subscription-State",
    "Target-Dialog",
];

/// Header fields of the responses to them.
const RESPONSE: [&str; 10] = [
    "Accept",
    "Content-Disposition",
    "Content-Language",
    "Content-Type",
    "Expires",
    "Reason",
    "Recv-Info",
    "Refer-Sub",
    "Retry-After",
    "Warning",
];

/// The most requests of ours that a session may have open before it takes no more from its peers.
const MAX_PENDING: usize = 128;

impl Session {
    /// Passes a request on to the other side; its answer is waited for.
    pub(super) fn pass(
        &mut self,
        cx: &mut Context<'_>,
        no: LegNo,
        tx: ServerTx,
        request: &Request,
        method: PassMethod,
    ) {
        let to = self.other(no);
        if self.legs[no].role == LegRole::Device {
            let refusal = self.legs[no].response(405, &cx.config.product);
            return cx.respond(tx, refusal.with("Allow", "ACK, BYE, CANCEL, INVITE, OPTIONS, UPDATE"));
        }
        if self.ending || !self.legs[no].is_established() || !self.legs[to].is_established() {
            return cx.refuse(tx, request, 481);
        }
        if self.clients.len() >= MAX_PENDING {
            let busy = cx.refusal(request, 503).with("Retry-After", "5");
            return cx.respond(tx, busy);
        }
        let hops = request.headers.get("Max-Forwards").and_then(|v| v.trim().parse::<u32>().ok());
        let Some(hops) = hops.unwrap_or(70).min(255).checked_sub(1) else {
            return cx.refuse(tx, request, 483);
        };
        let contact = self.legs[to].contact.clone();
        let (mut ours, hop) = self.legs[to].request(method.method(), &cx.config.product);
        ours.headers.set("Max-Forwards", hops.to_string());
        for name in REQUEST {
            ours.headers.copy(&request.headers, name);
        }
        if method.refreshes() {
            ours.headers.push("Contact", contact);
        }
        ours.body = request.body.clone();
        self.send(cx, to, Work::Pass { asker: no, tx, method }, (ours, hop));
    }

    /// The other side's answer.
    pub(super) fn passed_answered(
        &mut self,
        cx: &mut Context<'_>,
        asker: LegNo,
        tx: ServerTx,
        method: PassMethod,
        response: &Response,
    ) {
        let mut ours = self.legs[asker].response(response.status, &cx.config.product);
        ours.reason.clone_from(&response.reason);
        for name in RESPONSE {
            ours.headers.copy(&response.headers, name);
        }
        if response.is_success() && method.refreshes() {
            ours.headers.push("Contact", self.legs[asker].contact.as_str());
        }
        ours.body = response.body.clone();
        cx.respond(tx, ours);
    }
}

impl PassMethod {
    fn method(self) -> Method {
        match self {
            PassMethod::Info => Method::Info,
            PassMethod::Message => Method::Message,
            PassMethod::Notify => Method::Notify,
            PassMethod::Refer => Method::Refer,
        }
    }

    /// Does it carry a Contact (RFC 3515, RFC 6665)?
    fn refreshes(self) -> bool {
        matches!(self, PassMethod::Notify | PassMethod::Refer)
    }
}
