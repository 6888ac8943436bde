//! The response context of a request that was passed on (RFC 3261 sections 16.7 to 16.10): which of the responses go
//! upstream and when, timer C, and CANCEL.

use std::time::Duration;

use super::{forwarding::take_via_off, trust};
use crate::core::{
    Time,
    event::{ClientTx, Forward, NoAnswer, ServerTx, SipCommand},
    session::Context,
    sip::{Method, Request, Response, message::rank},
};

/// Timer C (section 16.6 step 11): more than three minutes.
const TIMER_C: Duration = Duration::from_secs(181);
/// 64*T1 and a little: the shell's own timers always come first.
const TRANSACTION: Duration = Duration::from_secs(37);

/// A request that was passed on, with what has come back.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    /// The request's server transaction.
    pub(super) tx: ServerTx,
    /// The request, for responses of our own.
    pub(super) request: Request,
    /// It came from a node of the core.
    pub(super) trusted: bool,
    branches: Vec<Branch>,
    /// Who sent it does not want it any more.
    cancelled: bool,
    /// We are about to end.
    closing: bool,
    /// A final response has gone upstream.
    answered: bool,
}

/// One place that the request went to.
#[derive(Clone, Debug)]
struct Branch {
    tx: ClientTx,
    /// When it is given up.
    until: Time,
    /// Timer C has fired, or it was cancelled: no second time.
    cancelled: bool,
    outcome: Outcome,
}

#[derive(Clone, Debug)]
enum Outcome {
    Open,
    /// A 2xx has gone upstream; more may come (forks, repetitions).
    Accepted,
    /// A final response; to an INVITE other than 2xx.
    Final(Box<Response>),
    /// None came: this status stands for it.
    Silent(u16),
}

impl Pending {
    pub(crate) fn new(
        now: Time,
        tx: ServerTx,
        request: &Request,
        trusted: bool,
        branches: &[ClientTx],
    ) -> Pending {
        let wait = if request.method == Method::Invite { TIMER_C } else { TRANSACTION };
        // Of the request, responses need the header fields.
        let mut request = request.clone();
        request.body = bytes::Bytes::new();
        let branch =
            |tx: &ClientTx| Branch { tx: *tx, until: now + wait, cancelled: false, outcome: Outcome::Open };
        Pending {
            tx,
            request,
            trusted,
            branches: branches.iter().map(branch).collect(),
            cancelled: false,
            closing: false,
            answered: false,
        }
    }

    pub(super) fn clients(&self) -> impl Iterator<Item = ClientTx> {
        self.branches.iter().map(|branch| branch.tx)
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let waiting = |b: &&Branch| matches!(b.outcome, Outcome::Open | Outcome::Accepted);
        self.branches.iter().filter(waiting).map(|branch| branch.until).min()
    }

    /// Nothing more is to come, or to be said.
    pub(crate) fn is_over(&self) -> bool {
        self.deadline().is_none()
    }

    pub(super) fn is_invite(&self) -> bool {
        self.request.method == Method::Invite
    }

    /// Waits for a final response to an INVITE.
    pub(super) fn is_ringing(&self) -> bool {
        self.is_invite() && self.branches.iter().any(|branch| matches!(branch.outcome, Outcome::Open))
    }

    /// A response has come.
    pub(crate) fn response(&mut self, cx: &mut Context<'_>, tx: ClientTx, mut response: Response) {
        let (invite, trusted) = (self.is_invite(), self.trusted);
        // Step 1 and 3: it is ours, and there is somebody behind us that it is for.
        let Some(branch) = self.branches.iter_mut().find(|branch| branch.tx == tx) else { return };
        let known = take_via_off(&mut response.headers);
        if !trusted {
            trust::tell(&mut response);
        }
        match response.status {
            100 => {}
            101..=199 => {
                // Step 2: timer C begins again.
                if invite && !branch.cancelled {
                    branch.until = cx.now + TIMER_C;
                }
                if known && matches!(branch.outcome, Outcome::Open) && !self.answered {
                    self.forward(cx, response);
                }
            }
            200..=299 if invite && known => {
                if matches!(branch.outcome, Outcome::Open) {
                    branch.outcome = Outcome::Accepted;
                    branch.until = cx.now + TRANSACTION;
                }
                self.answered = true;
                // Step 5: at once, and every one of them.
                self.forward(cx, response);
                self.cancel_branches(cx, None);
            }
            200..=299 if known && !self.answered => {
                branch.outcome = Outcome::Final(Box::new(response.clone()));
                self.answered = true;
                self.forward(cx, response);
            }
            _ => {
                if !matches!(branch.outcome, Outcome::Open) {
                    return;
                }
                let all = response.status >= 600;
                branch.outcome = match known {
                    true => Outcome::Final(Box::new(response)),
                    // It has lost the way back, so that nobody can be told what it says.
                    false => Outcome::Silent(500),
                };
                if all {
                    self.cancel_branches(cx, None);
                }
                self.choose(cx);
            }
        }
    }

    /// No final response will come.
    pub(crate) fn unanswered(&mut self, cx: &mut Context<'_>, tx: ClientTx, reason: &NoAnswer) {
        let status = match reason {
            NoAnswer::TimedOut => 408,
            // Section 16.9: as a 503.
            NoAnswer::Unreachable(_) => 503,
        };
        self.give_up(cx, tx, status);
    }

    fn give_up(&mut self, cx: &mut Context<'_>, tx: ClientTx, status: u16) {
        let open = |b: &&mut Branch| b.tx == tx && matches!(b.outcome, Outcome::Open);
        if let Some(branch) = self.branches.iter_mut().find(open) {
            branch.outcome = Outcome::Silent(status);
            self.choose(cx);
        }
    }

    /// Section 16.10: the shell has answered the CANCEL; every branch gets one of ours.
    pub(crate) fn cancelled(&mut self, cx: &mut Context<'_>, cancel: &Request) {
        self.cancelled = true;
        self.cancel_branches(cx, cancel.headers.get("Reason").map(str::to_owned));
    }

    /// The process is about to end: what rings is cancelled.
    pub(super) fn shut_down(&mut self, cx: &mut Context<'_>) {
        if self.is_ringing() {
            self.closing = true;
            self.cancel_branches(cx, None);
        }
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, cx: &mut Context<'_>) {
        let invite = self.is_invite();
        let now = cx.now;
        let due: Vec<ClientTx> =
            self.branches.iter().filter(|branch| branch.until <= now).map(|branch| branch.tx).collect();
        for tx in due {
            let Some(branch) = self.branches.iter_mut().find(|branch| branch.tx == tx) else { continue };
            match branch.outcome {
                Outcome::Open if invite && !branch.cancelled => {
                    // Section 16.8: timer C. What comes of the CANCEL is waited for.
                    branch.cancelled = true;
                    branch.until = now + 2 * TRANSACTION;
                    cx.sip(SipCommand::Cancel { tx, reason: None });
                }
                Outcome::Open => self.give_up(cx, tx, 408),
                Outcome::Accepted => branch.outcome = Outcome::Silent(0),
                Outcome::Final(_) | Outcome::Silent(_) => {}
            }
        }
    }

    fn cancel_branches(&mut self, cx: &mut Context<'_>, reason: Option<String>) {
        let invite = self.is_invite();
        let open = |b: &&mut Branch| matches!(b.outcome, Outcome::Open) && !b.cancelled;
        for branch in self.branches.iter_mut().filter(open).filter(|_| invite) {
            branch.cancelled = true;
            branch.until = cx.now + 2 * TRANSACTION;
            cx.sip(SipCommand::Cancel { tx: branch.tx, reason: reason.clone() });
        }
    }

    /// Step 6: when all branches have ended, the best of their responses goes upstream.
    fn choose(&mut self, cx: &mut Context<'_>) {
        let open = self.branches.iter().any(|branch| matches!(branch.outcome, Outcome::Open));
        if self.answered || open {
            return;
        }
        self.answered = true;
        let rank = |branch: &Branch| match &branch.outcome {
            Outcome::Final(response) => Some(rank(response.status)),
            // RFC 4320 section 4.1: silence is no answer to anything but an INVITE.
            Outcome::Silent(408) if !self.is_invite() => None,
            Outcome::Silent(status) => Some(rank(*status)),
            Outcome::Open | Outcome::Accepted => None,
        };
        let best = self.branches.iter().filter_map(|b| Some((rank(b)?, b))).min_by_key(|(rank, _)| *rank);
        let Some((_, best)) = best else { return };
        let (status, response) = match &best.outcome {
            Outcome::Final(response) => (response.status, Some(response.as_ref().clone())),
            Outcome::Silent(status) => (*status, None),
            Outcome::Open | Outcome::Accepted => return,
        };
        match (status, response) {
            // Who has sent the CANCEL waits for this one.
            (_, None) if self.cancelled => cx.refuse(self.tx, &self.request, 487),
            (487, _) | (_, None) if self.closing && !self.cancelled => {
                let busy = cx.refusal(&self.request, 503).with("Retry-After", "10");
                cx.respond(self.tx, busy);
            }
            // 503 would mean that we are out of service ourselves.
            (503, _) => cx.refuse(self.tx, &self.request, 500),
            (status, None) => cx.refuse(self.tx, &self.request, status),
            (401 | 407, Some(mut response)) => {
                self.add_challenges(&mut response);
                self.forward(cx, response);
            }
            (_, Some(response)) => self.forward(cx, response),
        }
    }

    /// Step 7: the challenges of all branches together.
    fn add_challenges(&self, best: &mut Response) {
        for branch in &self.branches {
            let Outcome::Final(other) = &branch.outcome else { continue };
            if !matches!(other.status, 401 | 407) {
                continue;
            }
            for header in &other.headers.0 {
                let challenge = header.is("WWW-Authenticate") || header.is("Proxy-Authenticate");
                if challenge && !best.headers.0.contains(header) {
                    best.headers.0.push(header.clone());
                }
            }
        }
    }

    fn forward(&self, cx: &mut Context<'_>, response: Response) {
        cx.sip(SipCommand::Forward(Forward::Response { tx: self.tx, response }));
    }
}
