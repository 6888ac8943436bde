//! re-INVITE and UPDATE in a session that is not there yet (RFC 3261 section 14.2, RFC 3311 section 5.2).
//!
//! Without an offer an UPDATE says where its sender is now, and is answered. One with an offer changes the session for
//! both sides, and nothing can be said to the originating device about its own offer but in the answer to its INVITE: so
//! the change has to wait, and which refusal says so depends on whose offer is open in that dialog.

use super::{
    ALLOW, Session,
    context::Context,
    leg::{A, LegNo, LegState},
    modification::same_description,
};
use crate::core::{
    event::ServerTx,
    sip::{Method, Request, Response},
};

/// The longest Retry-After, in seconds: both sections want a random value from 0 to this.
const RETRY: u8 = 10;

impl Session {
    /// A re-INVITE or UPDATE on leg `no`, whose INVITE has no final answer yet, or in a session whose first one has not.
    pub(super) fn early_modification(
        &mut self,
        cx: &mut Context<'_>,
        no: LegNo,
        tx: ServerTx,
        request: &Request,
    ) {
        if request.method == Method::Invite {
            return self.retry_later(cx, no, tx);
        }
        let body = match self.admit_change(cx, no, request) {
            Ok(body) => body,
            Err(refusal) => return cx.respond(tx, *refusal),
        };
        let Some(offered) = body.sdp else { return self.accept_early(cx, no, tx, Vec::new()) };
        let theirs = match (no, self.legs[no].state) {
            // Its own offer, in the INVITE, waits for our answer.
            (A, _) => return self.retry_later(cx, no, tx),
            (_, LegState::Inviting) => {
                self.early_answer(no, &request.from_tag().unwrap_or_default()).map(<[u8]>::to_vec)
            }
            _ => Some(self.legs[no].theirs.clone()),
        };
        match theirs {
            // Our offer, in the INVITE, waits for the peer's answer.
            None => {
                let refusal = self.legs[no].response(491, &cx.config.product);
                cx.respond(tx, refusal);
            }
            Some(theirs) if same_description(&offered, &theirs) => {
                let ours = self.legs[no].ours.clone();
                self.accept_early(cx, no, tx, ours);
            }
            // In this dialog it is the peer's turn, but the originating device's offer is still open.
            Some(_) => self.retry_later(cx, no, tx),
        }
    }

    fn accept_early(&mut self, cx: &mut Context<'_>, no: LegNo, tx: ServerTx, description: Vec<u8>) {
        let leg = &self.legs[no];
        let mut ok: Response = leg.response(200, &cx.config.product);
        ok.headers.push("Contact", leg.contact.as_str());
        ok.headers.push("Allow", ALLOW);
        if !description.is_empty() {
            ok.headers.push("Content-Type", "application/sdp");
            ok.body = description.into();
        }
        cx.respond(tx, ok);
    }

    fn retry_later(&mut self, cx: &mut Context<'_>, no: LegNo, tx: ServerTx) {
        let mut random = [0];
        cx.entropy.fill(&mut random);
        let seconds = random[0] % (RETRY + 1);
        let refusal = self.legs[no].response(500, &cx.config.product);
        cx.respond(tx, refusal.with("Retry-After", seconds.to_string()));
    }
}
