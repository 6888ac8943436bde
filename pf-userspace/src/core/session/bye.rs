//! Clause 8.2.2.3: who said BYE, why, and who hears of it.
//!
//! | step | who says BYE | where |
//! |---|---|---|
//! | 1 | the served client | [`Session::client_left`], [`Session::say_farewell`]; what is stored before its 200: `storing` |
//! | 2 | the other CPM entity | [`Session::other_entity_left`], [`Session::devices_leave`]; what is stored first: `storing` |
//! | 3 | an IWF | `iwf_bye` |
//! | 4 | the core, for a client that it has lost | `connection_loss`; its return: `rejoin` |

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    Session, Work,
    context::Context,
    groups::GroupEnd,
    leg::{A, Close, LegNo, LegState},
    storing::Then,
};
use crate::core::{
    Time,
    event::{LegRole, ServerTx},
    sip::{
        Method, Request,
        fields::{parse_params, split_list},
    },
};

/// How long a BYE waits at most for the answer of the leg it was passed on to. Who sent it gives up after 64*T1,
/// 32 s (timer F, RFC 3261 section 17.1.2.2), counted from before it reached us, and our own timer F on the other
/// leg starts later still: so we answer 2 s before that, which leaves room for the way and for a lost 200.
pub(super) const FAREWELL: Duration = Duration::from_secs(30);

/// Why all sessions end with the process: for the peers we are a node of the core that fails (clause 8.2.2.3).
const SHUTTING_DOWN: &str = "SIP;cause=503;text=\"Service Unavailable\"";

/// A BYE that is answered when the leg it was passed on to has answered (steps 1.e, 2.d), or will not in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Farewell {
    pub(super) tx: ServerTx,
    pub(super) from: LegNo,
    pub(super) until: Time,
}

impl Farewell {
    /// When it is answered in any case.
    pub(super) fn until(&self) -> Time {
        self.until
    }
}

/// Which of the clause's steps a BYE leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    /// Step 1: the served client, by the user's explicit leave.
    Client,
    /// A device that takes part by direct delivery: its leg alone ends.
    Device,
    /// Step 3: an IWF.
    Iwf,
    /// Step 2: the other CPM entity.
    OtherEntity,
    /// Step 4: a node of the core; the served client may be lost.
    CoreNode,
}

/// The leg tells who sent it, the Reason tells why (AMB-13, AMB-14).
fn sender(role: LegRole, iwf: bool, reason: Option<&str>) -> Sender {
    match (role, reason.and_then(sip_cause)) {
        (LegRole::Device, _) => Sender::Device,
        (LegRole::Far, _) if iwf => Sender::Iwf,
        (LegRole::Far, _) => Sender::OtherEntity,
        (LegRole::Originator, Some(200)) => Sender::Client,
        (LegRole::Originator, None) if reason.is_none() => Sender::Client,
        (LegRole::Originator, _) => Sender::CoreNode,
    }
}

/// The cause of the `SIP` value of a Reason header (RFC 3326); other protocols say nothing here.
fn sip_cause(reason: &str) -> Option<u16> {
    split_list(reason).find_map(|value| {
        let (protocol, params) = value.split_once(';')?;
        if !protocol.trim().eq_ignore_ascii_case("SIP") {
            return None;
        }
        let cause = parse_params(params).into_iter().find(|(name, _)| name.eq_ignore_ascii_case("cause"));
        cause?.1?.trim().parse().ok()
    })
}

impl Session {
    /// A BYE in one of our dialogs.
    pub(super) fn bye_received(&mut self, cx: &mut Context<'_>, no: LegNo, tx: ServerTx, request: &Request) {
        // A 2xx whose ACK waits for the other side's: this is the last word in the dialog.
        self.ack_owed(cx, no);
        self.answer_waiting(cx, no);
        let reason: Vec<&str> = request.headers.all("Reason").collect();
        let reason = (!reason.is_empty()).then(|| reason.join(", "));
        let reason = reason.as_deref();
        match self.legs[no].state {
            LegState::Established if !self.ending => {}
            // UE-A may end an early dialog with BYE (RFC 3261 section 15).
            LegState::Inviting if no == A => {
                self.answer_bye(cx, no, tx);
                return self.abandon(cx, 487, reason, Close::Left);
            }
            // The session ends, and its BYE for this leg waits for the store: it needs none any more.
            LegState::Established => {
                self.answer_bye(cx, no, tx);
                return self.close_leg(cx, no, Close::Left);
            }
            // Both sides said BYE, or the session ends for another reason.
            _ => return self.answer_bye(cx, no, tx),
        }
        match sender(self.legs[no].role, self.legs[no].iwf, reason) {
            Sender::Client => self.client_left(cx, tx, GroupEnd::Left, reason),
            Sender::Device => {
                self.answer_bye(cx, no, tx);
                self.close_leg(cx, no, Close::Left);
            }
            Sender::Iwf => self.iwf_left(cx, no, tx, reason),
            Sender::OtherEntity => self.other_entity_left(cx, no, tx, reason),
            Sender::CoreNode => self.client_lost(cx, tx, reason),
        }
    }

    /// Step 1: the served client left.
    pub(super) fn client_left(
        &mut self,
        cx: &mut Context<'_>,
        tx: ServerTx,
        end: GroupEnd,
        reason: Option<&str>,
    ) {
        self.ending = true;
        self.legs[A].state = LegState::Ending(Close::Left);
        // a. Media towards the client.
        self.close_lines(cx, A);
        // b. Media and BYE to each connected device.
        self.devices_leave(cx, reason);
        // c. BYE to each IWF, d. or to the other CPM entity; e. their answers are waited for; f. then all media.
        let until = cx.now + FAREWELL;
        let until = if self.may_order_at_its_end(cx) { until.before(cx.store_wait()) } else { until };
        self.farewell = Some(Farewell { tx, from: A, until });
        self.storing.leaves(end, reason);
        for far in self.fars_of_any_state() {
            self.hang_up(cx, far, reason, Close::Ended);
        }
    }

    /// Step 2: the other CPM entity ended the session.
    fn other_entity_left(&mut self, cx: &mut Context<'_>, no: LegNo, tx: ServerTx, reason: Option<&str>) {
        self.ending = true;
        self.legs[no].state = LegState::Ending(Close::Left);
        // d. The client's answer is waited for; e. then all media goes.
        self.farewell = Some(Farewell { tx, from: no, until: cx.now + FAREWELL });
        // b. The record; a., c. BYE to the served client, and (AMB-15) to the connected devices.
        let end = GroupEnd::from_cause(reason.and_then(sip_cause));
        let then = Then::HangUp { reason: reason.map(str::to_owned) };
        self.store_before(cx, end, reason, then);
    }

    /// Step 1.b: media and BYE to each connected device; those that were only invited are cancelled.
    pub(super) fn devices_leave(&mut self, cx: &mut Context<'_>, reason: Option<&str>) {
        for no in 0..self.legs.len() {
            if self.legs[no].role != LegRole::Device {
                continue;
            }
            self.close_lines(cx, no);
            self.hang_up(cx, no, reason, Close::Ended);
        }
    }

    /// Ends the session from our side: all that is pending is cancelled, all that is established gets a BYE.
    pub(super) fn end(&mut self, cx: &mut Context<'_>, reason: Option<&str>, why: Close) {
        self.ending = true;
        self.complete_record(cx, GroupEnd::Other, reason);
        for no in 0..self.legs.len() {
            self.hang_up(cx, no, reason, why);
        }
    }

    /// The process ends: nobody shall be left with a session that leads nowhere.
    pub(crate) fn shut_down(&mut self, cx: &mut Context<'_>) {
        if self.ending {
            return;
        }
        if self.legs[A].state == LegState::Inviting {
            self.abandon(cx, 503, Some(SHUTTING_DOWN), Close::Ended);
        } else {
            self.end(cx, Some(SHUTTING_DOWN), Close::Ended);
        }
        self.settle(cx);
    }

    /// Ends one leg, whatever its state: CANCEL, or BYE as soon as RFC 3261 section 15 allows it.
    pub(super) fn hang_up(&mut self, cx: &mut Context<'_>, no: LegNo, reason: Option<&str>, why: Close) {
        match self.legs[no].state {
            LegState::Inviting => match self.legs[no].role {
                LegRole::Originator => {
                    if let Some(asked) = self.legs[no].asked.take() {
                        let answer = self.legs[no].response(487, &cx.config.product);
                        cx.respond(asked, answer);
                    }
                    self.close_leg(cx, no, why);
                }
                LegRole::Device | LegRole::Far => self.cancel_invite(cx, no, reason, why),
            },
            LegState::Established => {
                self.answer_waiting(cx, no);
                self.legs[no].state = LegState::Ending(why);
                if self.legs[no].unacked.is_some() {
                    self.legs[no].bye_after_ack = Some(reason.map(str::to_owned));
                } else {
                    self.send_bye(cx, no, reason);
                }
            }
            LegState::Cancelling(_) | LegState::Closed(_) | LegState::Ending(_) => {}
        }
    }

    /// Sends the BYE of a leg that is ending.
    pub(super) fn send_bye(&mut self, cx: &mut Context<'_>, no: LegNo, reason: Option<&str>) {
        self.ack_owed(cx, no);
        let (mut request, hop) = self.legs[no].request(Method::Bye, &cx.config.product);
        if let Some(reason) = reason {
            request.headers.push("Reason", reason);
        }
        // Clause 8.2.2.4 step 2.b: to the clients, not to the other CPM entity.
        if let Some(uid) = self.storing.message_uid.filter(|_| self.legs[no].role != LegRole::Far) {
            request.headers.push("Message-UID", uid.to_string());
        }
        self.send(cx, no, Work::Bye, (request, hop));
    }

    /// A leg is over: its media goes, and whoever waited for it hears of it.
    pub(super) fn close_leg(&mut self, cx: &mut Context<'_>, no: LegNo, why: Close) {
        if self.legs[no].is_closed() {
            return;
        }
        if !self.is_awaited(no) {
            self.close_lines(cx, no);
        }
        self.answer_waiting(cx, no);
        let leg = &mut self.legs[no];
        leg.state = LegState::Closed(why);
        leg.timer = None;
        leg.unacked = None;
        leg.bye_after_ack = None;
        self.clients.retain(|_, client| client.leg != no || matches!(client.work, Work::Answered));
        self.say_farewell(cx);
    }

    /// Steps 1.e, 2.d: the 200 to the BYE, once the other side has answered ours or is too late (AMB-39);
    /// steps 1.f, 2.e: all media.
    pub(super) fn say_farewell(&mut self, cx: &mut Context<'_>) {
        let Some(Farewell { tx, from, until }) = self.farewell else { return };
        let waits = (0..self.legs.len()).any(|no| self.is_awaited(no) && !self.legs[no].is_closed());
        if waits && cx.now < until {
            return;
        }
        // Step 1.e.ii: the record comes before the 200.
        if from == A && self.answer_waits_for_store(cx) {
            return;
        }
        self.farewell = None;
        self.answer_bye(cx, from, tx);
        self.close_streams(cx);
        self.close_leg(cx, from, Close::Left);
    }

    /// Does the answer to a BYE wait for the end of leg `no`: of the whole other side's, seen from who said it?
    fn is_awaited(&self, no: LegNo) -> bool {
        self.farewell.is_some_and(|farewell| match self.legs[farewell.from].role {
            LegRole::Originator => self.legs[no].role == LegRole::Far,
            LegRole::Far | LegRole::Device => no == A,
        })
    }

    pub(super) fn answer_bye(&mut self, cx: &mut Context<'_>, no: LegNo, tx: ServerTx) {
        let ok = self.legs[no].response(200, &cx.config.product);
        cx.respond(tx, ok);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Rows: BYE-03, BYE-04, BYE-05, BYE-06, BYE-07, BYE-10
    #[test]
    fn the_leg_tells_who_and_the_reason_tells_why() {
        use LegRole::{Device, Far, Originator};
        assert_eq!(sender(Far, true, Some("SIP;cause=200")), Sender::Iwf);
        for (role, reason, expected) in [
            (Originator, None, Sender::Client),
            (Originator, Some("SIP;cause=200"), Sender::Client),
            (Originator, Some("SIP ; cause=200 ;text=\"Call completed\""), Sender::Client),
            (Originator, Some("Q.850;cause=16;text=\"a, b\", sip;cause=200"), Sender::Client),
            (Originator, Some("SIP;cause=503;text=\"Service Unavailable\""), Sender::CoreNode),
            (Originator, Some("Q.850;cause=16"), Sender::CoreNode),
            (Originator, Some("nonsense"), Sender::CoreNode),
            (Far, None, Sender::OtherEntity),
            (Far, Some("SIP;cause=200"), Sender::OtherEntity),
            (Far, Some("SIP;cause=410;text=\"Gone\""), Sender::OtherEntity),
            (Far, Some("SIP;cause=480;text=\"Bearer unavailable\""), Sender::OtherEntity),
            (Device, None, Sender::Device),
            (Device, Some("SIP;cause=503"), Sender::Device),
        ] {
            assert_eq!(sender(role, false, reason), expected, "{role:?} {reason:?}");
        }
    }
}
