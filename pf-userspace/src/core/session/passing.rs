//! Requests inside the dialog that change nothing in the session, passed on between the originating device and the
//! far end: INFO, MESSAGE, REFER and the NOTIFYs that follow it (AMB-36). Where several IWFs are the far end, INFO and
//! MESSAGE go to all of them, a REFER from one to the next until one takes it.

use serde::{Deserialize, Serialize};

use super::{
    Session, Work,
    context::Context,
    leg::{A, LegNo},
};
use crate::core::{
    event::{LegRole, ServerTx},
    sip::{Headers, Method, Request, Response, message::rank},
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

/// Methods that are passed on inside a dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PassMethod {
    Info,
    Message,
    Notify,
    Refer,
}

/// A request that one peer is asked on behalf of another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Pass {
    /// Who asks.
    pub(super) asker: LegNo,
    pub(super) tx: ServerTx,
    method: PassMethod,
    /// One of those in [`Session`]'s `passing`.
    pub(super) several: bool,
}

/// What is passed on of a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Passed {
    hops: u32,
    headers: Headers,
    body: Vec<u8>,
}

/// A request of the originating device that several IWFs are asked: they are one far end to it, and it gets one answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Several {
    passed: Passed,
    /// Answers that are still to come.
    open: usize,
    /// IWFs that are asked if the one before refuses.
    rest: Vec<LegNo>,
    /// The best refusal so far, as it would be sent.
    refusal: Option<Refusal>,
}

/// A response as it can be written down.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Refusal {
    status: u16,
    reason: String,
    headers: Headers,
    body: Vec<u8>,
}

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
        if self.legs[no].role == LegRole::Device {
            let refusal = self.legs[no].response(405, &cx.config.product);
            return cx.respond(tx, refusal.with("Allow", "ACK, BYE, CANCEL, INVITE, OPTIONS, UPDATE"));
        }
        let referrer = self.referrer.filter(|_| no == A && method == PassMethod::Notify);
        let to = referrer.filter(|to| self.legs[*to].is_established()).unwrap_or(self.other(no));
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
        let mut passed = Passed { hops, headers: Headers::default(), body: request.body.to_vec() };
        for name in REQUEST {
            passed.headers.copy(&request.headers, name);
        }
        let mut pass = Pass { asker: no, tx, method, several: false };
        let fars = self.connected_fars();
        if no != A || fars.len() < 2 || method == PassMethod::Notify {
            return self.ask(cx, to, pass, &passed);
        }
        // Several IWFs: what is said is said to all of them; what is to be done is done by one.
        pass.several = true;
        let (now, rest) = fars.split_at(if method == PassMethod::Refer { 1 } else { fars.len() });
        let several = Several { passed: passed.clone(), open: now.len(), rest: rest.to_vec(), refusal: None };
        self.passing.insert(tx, several);
        for to in now {
            self.ask(cx, *to, pass.clone(), &passed);
        }
    }

    fn ask(&mut self, cx: &mut Context<'_>, to: LegNo, pass: Pass, passed: &Passed) {
        let contact = self.legs[to].contact.clone();
        let (mut ours, hop) = self.legs[to].request(pass.method.method(), &cx.config.product);
        ours.headers.set("Max-Forwards", passed.hops.to_string());
        ours.headers.0.extend_from_slice(&passed.headers.0);
        if pass.method.refreshes() {
            ours.headers.push("Contact", contact);
        }
        ours.body = passed.body.clone().into();
        self.send(cx, to, Work::Pass(pass), (ours, hop));
    }

    /// The other side's answer.
    pub(super) fn passed_answered(&mut self, cx: &mut Context<'_>, pass: &Pass, response: &Response) {
        let asker = &self.legs[pass.asker];
        let mut ours = asker.response(response.status, &cx.config.product);
        ours.reason.clone_from(&response.reason);
        for name in RESPONSE {
            ours.headers.copy(&response.headers, name);
        }
        if response.is_success() && pass.method.refreshes() {
            ours.headers.push("Contact", asker.contact.as_str());
        }
        ours.body = response.body.clone();
        if response.is_success() && pass.method == PassMethod::Refer && pass.asker != A {
            self.referrer = Some(pass.asker);
        }
        if !pass.several {
            return cx.respond(pass.tx, ours);
        }
        if response.is_success() {
            // The first that takes it answers for all.
            if self.passing.remove(&pass.tx).is_some() {
                cx.respond(pass.tx, ours);
            }
            return;
        }
        let Some(several) = self.passing.get_mut(&pass.tx) else { return };
        several.open = several.open.saturating_sub(1);
        let better = |known: &Refusal| rank(ours.status) < rank(known.status);
        if several.refusal.as_ref().is_none_or(better) {
            let Response { status, reason, headers, body } = ours;
            several.refusal = Some(Refusal { status, reason, headers, body: body.to_vec() });
        }
        while several.open == 0 && !several.rest.is_empty() {
            let next = several.rest.remove(0);
            if self.legs[next].is_established() && !self.ending {
                several.open = 1;
                let passed = several.passed.clone();
                return self.ask(cx, next, pass.clone(), &passed);
            }
        }
        if several.open == 0
            && let Some(refusal) = self.passing.remove(&pass.tx).and_then(|several| several.refusal)
        {
            let Refusal { status, reason, headers, body } = refusal;
            cx.respond(pass.tx, Response { status, reason, headers, body: body.into() });
        }
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
