//! Clause 8.2.2.2 in the reading of RFC 3261 section 9: CANCEL on leg A cancels what is pending.

use super::{
    Session, TRANSACTION, Work,
    context::Context,
    leg::{A, Close, F, LegNo, LegState},
};
use crate::core::{
    event::{LegRole, ServerTx, SipCommand},
    sip::Request,
};

impl Session {
    /// A CANCEL for an INVITE that we have not answered yet. The shell has answered the CANCEL itself.
    pub(super) fn cancel_received(&mut self, cx: &mut Context<'_>, tx: ServerTx, request: &Request) {
        let Some(no) = self.legs.iter().position(|leg| leg.asked == Some(tx)) else { return };
        let reason = request.headers.get("Reason");
        if no == A && self.legs[A].state == LegState::Inviting {
            self.abandon(cx, 487, reason, Close::Cancelled);
        } else {
            self.cancel_change(cx, no, reason);
        }
    }

    /// Ends the session before the far end has answered: a final answer to the originating device, CANCEL to the far
    /// end.
    pub(super) fn abandon(&mut self, cx: &mut Context<'_>, status: u16, reason: Option<&str>, why: Close) {
        self.ending = true;
        if let Some(asked) = self.legs[A].asked.take() {
            let answer = self.legs[A].response(status, &cx.config.product);
            cx.respond(asked, answer);
        }
        self.close_leg(cx, A, why);
        for no in self.fars_of_any_state() {
            self.hang_up(cx, no, reason, Close::Cancelled);
        }
    }

    /// The INVITE of leg `no` has waited long enough.
    pub(super) fn give_up_invite(&mut self, cx: &mut Context<'_>, no: LegNo) {
        if no == F && self.is_answered_before() {
            self.cancel_invite(cx, F, None, Close::Unanswered);
            self.end(cx, Some("SIP;cause=408;text=\"Request Timeout\""), Close::Ended);
        } else if no == F {
            self.abandon(cx, 408, None, Close::Unanswered);
        } else if self.legs[no].role == LegRole::Far {
            self.iwf_given_up(cx, no);
        } else {
            self.cancel_invite(cx, no, None, Close::Unanswered);
        }
    }

    /// Cancels the pending INVITE of leg `no`. The leg is over when that INVITE has its final answer, whichever:
    /// a 2xx that was faster gets ACK and BYE.
    pub(super) fn cancel_invite(
        &mut self,
        cx: &mut Context<'_>,
        no: LegNo,
        reason: Option<&str>,
        why: Close,
    ) {
        let pending = self
            .clients
            .iter_mut()
            .find(|(_, client)| client.leg == no && matches!(client.work, Work::Invite(_)));
        let Some((tx, client)) = pending else { return self.close_leg(cx, no, why) };
        client.until = cx.now + TRANSACTION;
        let tx = *tx;
        let change = match &mut client.work {
            Work::Invite(sent) => sent.change.take(),
            _ => None,
        };
        self.legs[no].state = LegState::Cancelling(why);
        self.close_lines(cx, no);
        cx.sip(SipCommand::Cancel { tx, reason: reason.map(str::to_owned) });
        if let Some(change) = change {
            self.new_session_failed(cx, *change, 487);
        }
    }
}
