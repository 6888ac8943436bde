//! Provisional responses to the originating device: passed on as they come, and reliably where its INVITE requires
//! that (RFC 3262 section 3): with RSeq, repeated until PRACK, one after the other.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    Session,
    context::Context,
    leg::{A, Close, LegState},
};
use crate::core::{
    Time,
    event::ServerTx,
    sip::{Headers, Request, Response},
};

/// T1 of RFC 3261: the first repetition.
const T1: Duration = Duration::from_millis(500);
/// 64*T1: without PRACK till then, the INVITE is refused.
const PATIENCE: Duration = Duration::from_secs(32);

/// The reliable provisional responses to one INVITE.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reliable {
    /// RSeq of the last one; before the first, one less than it will have.
    number: u32,
    /// The last one, while its PRACK has not come.
    sent: Option<Sent>,
    /// The progress since then: it is sent when that PRACK has come.
    next: Option<Progress>,
}

/// A provisional response as it can be written down.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Progress {
    status: u16,
    reason: String,
    headers: Headers,
}

/// One that waits for its PRACK.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sent {
    progress: Progress,
    /// When it is repeated, and how long after the time before.
    again: Time,
    interval: Duration,
    /// Nobody waits longer.
    until: Time,
}

impl Reliable {
    pub(super) fn deadline(&self) -> Option<Time> {
        self.sent.as_ref().map(|sent| sent.again.min(sent.until))
    }
}

impl Progress {
    fn response(&self) -> Response {
        let mut response = Response::new(self.status);
        response.reason.clone_from(&self.reason);
        response.headers.clone_from(&self.headers);
        response
    }
}

impl Session {
    /// Sends a provisional response to the originating device.
    pub(super) fn progress(&mut self, cx: &mut Context<'_>, tx: ServerTx, response: Response) {
        if !self.invitation.headers.has_token("Require", "100rel") {
            return cx.respond(tx, response);
        }
        if self.invitation.offerless {
            // Its first reliable response would have to make the offer (RFC 3262 section 5); ours is in the 2xx.
            return;
        }
        let Response { status, reason, headers, .. } = response;
        let progress = Progress { status, reason, headers };
        let reliable = match &mut self.reliable {
            Some(reliable) => reliable,
            none => {
                let mut random = [0; 4];
                cx.entropy.fill(&mut random);
                // The first one is between 1 and 2^31 - 1.
                let number = u32::from_le_bytes(random) >> 2;
                none.insert(Reliable { number, sent: None, next: None })
            }
        };
        reliable.next = Some(progress);
        self.send_progress(cx, tx);
    }

    /// The next one, if it is its turn.
    fn send_progress(&mut self, cx: &mut Context<'_>, tx: ServerTx) {
        let Some(reliable) = self.reliable.as_mut().filter(|reliable| reliable.sent.is_none()) else {
            return;
        };
        let Some(mut progress) = reliable.next.take() else { return };
        reliable.number = reliable.number.saturating_add(1);
        progress.headers.push("Require", "100rel");
        progress.headers.push("RSeq", reliable.number.to_string());
        cx.respond(tx, progress.response());
        let (again, until) = (cx.now + T1, cx.now + PATIENCE);
        reliable.sent = Some(Sent { progress, again, interval: T1, until });
    }

    /// A PRACK of the originating device.
    pub(super) fn prack_received(
        &mut self,
        cx: &mut Context<'_>,
        no: usize,
        tx: ServerTx,
        request: &Request,
    ) {
        let number = self.reliable.as_ref().filter(|r| no == A && r.sent.is_some()).map(|r| r.number);
        let expected = number.zip(cseq(&self.invitation.headers));
        if expected.is_none_or(|expected| Some(expected) != rack(&request.headers)) {
            return cx.refuse(tx, request, 481);
        }
        let ok = self.legs[A].response(200, &cx.config.product);
        cx.respond(tx, ok);
        if let Some(reliable) = &mut self.reliable {
            reliable.sent = None;
        }
        if let Some(asked) = self.legs[A].asked.filter(|_| self.legs[A].state == LegState::Inviting) {
            self.send_progress(cx, asked);
        }
    }

    /// What is due about them.
    pub(super) fn progress_due(&mut self, cx: &mut Context<'_>) {
        let Some(reliable) = &mut self.reliable else { return };
        let Some(sent) = &mut reliable.sent else { return };
        if self.legs[A].state != LegState::Inviting {
            // After the final response nothing is repeated (RFC 3262 section 3).
            if sent.until <= cx.now {
                reliable.sent = None;
            } else {
                sent.again = sent.until;
            }
            return;
        }
        if sent.until <= cx.now {
            self.abandon(cx, 504, None, Close::Unanswered);
        } else if sent.again <= cx.now {
            sent.interval = sent.interval.saturating_mul(2);
            sent.again = cx.now + sent.interval;
            let response = sent.progress.response();
            if let Some(asked) = self.legs[A].asked {
                cx.respond(asked, response);
            }
        }
    }
}

/// The number in CSeq.
pub(super) fn cseq(headers: &Headers) -> Option<u32> {
    headers.get("CSeq")?.split_ascii_whitespace().next()?.parse().ok()
}

/// RAck of an INVITE: the response's number and the request's (RFC 3262 section 7.2).
fn rack(headers: &Headers) -> Option<(u32, u32)> {
    let mut parts = headers.get("RAck")?.split_ascii_whitespace();
    let numbers = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    (parts.next()? == "INVITE").then_some(numbers)
}
