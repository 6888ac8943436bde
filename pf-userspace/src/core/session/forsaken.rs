//! Clause 8.2.2.5: a re-INVITE or UPDATE whose asker has left while the session goes on, because the client is lost
//! and a device stays (8.2.2.3 step 4) or one of several IWFs says BYE (step 3.a).
//!
//! Who was asked still answers, and nobody waits for that. A late 2xx belongs to a living dialog: it is acknowledged,
//! and what it says is taken; then the peer gets back what was agreed before.

use super::{
    Client, Session, TRANSACTION, Work,
    context::Context,
    leg::{A, Close, LegNo, OwedAck},
    modification::Change,
};
use crate::core::{
    event::{ClientTx, LegRole, SipCommand},
    sip::Response,
};

impl Session {
    /// The asker of a change leaves, and who was asked does not: the answer is to come yet.
    pub(super) fn forsake_change(&mut self, tx: ClientTx, asked: Client, change: Box<Change>) {
        self.clients.insert(tx, Client { work: Work::Forsaken { change, cancelled: false }, ..asked });
    }

    /// Cancels re-INVITEs that nobody waits for, where the session goes on; after every event.
    pub(super) fn cancel_forsaken(&mut self, cx: &mut Context<'_>) {
        if self.ending {
            return;
        }
        for (tx, client) in &mut self.clients {
            if let Work::Forsaken { change, cancelled } = &mut client.work
                && change.invite
                && !std::mem::replace(cancelled, true)
            {
                client.until = cx.now + TRANSACTION;
                cx.sip(SipCommand::Cancel { tx: *tx, reason: None });
            }
        }
    }

    /// The answer after all.
    pub(super) fn forsaken_answered(
        &mut self,
        cx: &mut Context<'_>,
        tx: ClientTx,
        no: LegNo,
        change: Change,
        response: &Response,
    ) {
        if !response.is_success() {
            if let Some(plan) = change.plan {
                self.legs[no].places = plan.places_before(self.legs[no].places.take());
            }
            if !matches!(response.status, 408 | 481) {
                return;
            }
            // The dialog is gone (RFC 3261 section 12.2.1.2).
            return match self.legs[no].role {
                LegRole::Far if self.legs[no].iwf => self.iwf_lost(cx, no, None, Close::Unanswered),
                _ => self.end(cx, None, Close::Unanswered),
            };
        }
        let leg = &mut self.legs[no];
        if change.invite {
            leg.owed_ack = response.cseq().map(|(number, _)| OwedAck { tx, number });
        }
        leg.change_agreed(&change.ours, response, cx.now);
        self.ack_owed(cx, no);
        self.refreshed_answer(cx, no, response);
        if no != A {
            self.interworking.undescribed.insert(no);
        }
    }
}
