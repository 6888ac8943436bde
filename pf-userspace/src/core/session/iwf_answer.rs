//! Clause 8.2.2.1, 200 part step 1: what IWFs accept, a second session for what they reject, and one answer to the
//! originating device from all of it.
//!
//! One INVITE to the ISF may be answered by several IWFs (forks with To tags of their own), each for some of the
//! streams. The originating device is answered when every stream is accepted, or nobody is waited for any longer.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    Session, Work,
    context::Context,
    interworking::MAX_IWFS,
    invitation::SentInvite,
    leg::{A, Close, Leg, LegNo, LegState, OwedAck},
    media::read_answer,
    modification::Change,
    timer,
};
use crate::core::{
    Time,
    event::{ClientTx, LegRole},
    sdp::{self, SetupAttr},
    sip::{Dialog, Headers, Method, Response},
};

/// An IWF has accepted, the originating device is not answered yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Gathering {
    /// Of the first 200: they go into the originating device's.
    reason: String,
    headers: Headers,
    /// Further answers are waited for till then.
    pub(super) until: Time,
    /// The leg of the second session, if there was an attempt.
    second: Option<LegNo>,
}

impl Session {
    /// The first IWF of the session's INVITE said 200; its leg is established.
    pub(super) fn iwf_accepted(&mut self, cx: &mut Context<'_>, sent: &SentInvite, response: &Response) {
        let until = cx.now + cx.config.policy.interworking_wait();
        self.interworking.sent = Some(sent.clone());
        let (reason, headers) = (response.reason.clone(), response.headers.clone());
        self.interworking.gathering = Some(Gathering { reason, headers, until, second: None });
        self.gather(cx);
    }

    /// Step 1: are all offered streams accepted? If not: a. does policy allow a second session, b. for the rejected
    /// ones? Otherwise steps 2 to 8.
    pub(super) fn gather(&mut self, cx: &mut Context<'_>) {
        let Some(gathering) = self.interworking.gathering.as_ref().filter(|_| !self.ending) else { return };
        let waits = cx.now < gathering.until;
        let (second, rejected) = (gathering.second, self.rejected_streams());
        if rejected.is_empty() || self.connected_fars().is_empty() {
            return self.answer_gathered(cx);
        }
        if second.map_or(waits, |no| waits && self.legs[no].is_alive()) {
            return;
        }
        let policy = &cx.config.policy;
        if second.is_none() && policy.interworking_rejected_streams {
            let (setup, until) =
                (policy.interworking_rejected_setup.into(), cx.now + policy.interworking_wait());
            let invited = self.offered().and_then(|offered| self.invite_isf(cx, &rejected, &offered, setup));
            if let (Some(no), Some(gathering)) = (invited, &mut self.interworking.gathering) {
                (gathering.second, gathering.until) = (Some(no), until);
                return;
            }
        }
        self.answer_gathered(cx);
    }

    /// Steps 2 to 8, with what has been accepted.
    fn answer_gathered(&mut self, cx: &mut Context<'_>) {
        let Some(Gathering { reason, headers, second, .. }) = self.interworking.gathering.take() else {
            return;
        };
        if let Some(no) = second.filter(|no| self.legs[*no].state == LegState::Inviting) {
            self.cancel_invite(cx, no, None, Close::Unanswered);
        }
        let (Some(asked), Some(answered)) = (self.legs[A].asked, self.far_description()) else {
            return self.abandon(cx, 480, None, Close::Ended);
        };
        let response = Response { status: 200, reason, headers, body: Bytes::new() };
        self.answer_originator(cx, asked, &answered, &response);
        self.deliver_directly(cx);
    }

    /// Another IWF said 200 to the INVITE that made leg `no`. `false` if nobody wants it: none of its streams is
    /// still to be had.
    pub(super) fn iwf_forked(
        &mut self,
        cx: &mut Context<'_>,
        tx: ClientTx,
        no: LegNo,
        response: &Response,
    ) -> bool {
        let first = &self.legs[no];
        let tag = response.to_tag();
        let known = |leg: &Leg| leg.dialog.call_id == first.dialog.call_id && leg.dialog.remote_tag == tag;
        if self.legs.iter().any(known) {
            return true;
        }
        let iwfs = self.legs.iter().filter(|leg| leg.iwf).count();
        if !first.iwf || self.ending || self.interworking.gathering.is_none() || iwfs >= MAX_IWFS {
            return false;
        }
        let answered = read_answer(response.headers.get("Content-Type"), &response.body);
        let (Some((answered, octets)), Some(mut dialog)) = (answered, Dialog::from_answer(response)) else {
            return false;
        };
        let lines = first.inward(&answered).msrp_lines();
        let accepted: Vec<usize> = lines.iter().filter(|l| !l.is_rejected()).map(|l| l.index).collect();
        let mut free = self.rejected_streams();
        free.retain(|stream| accepted.contains(stream));
        if free.is_empty() {
            return false;
        }
        dialog.flow = first.dialog.flow;
        dialog = self.counted_on(tx, response, dialog);
        let name = dialog.target.clone();
        let mut leg = Leg::new(LegRole::Far, name, String::new(), dialog, first.contact.clone());
        leg.iwf = true;
        leg.state = LegState::Established;
        leg.places.clone_from(&first.places);
        leg.ours.clone_from(&first.ours);
        (leg.sdp_session, leg.sdp_version) = (first.sdp_session, first.sdp_version);
        leg.theirs = octets.to_vec();
        leg.timer = first.timer.as_ref().map(|t| timer::agreed(&response.headers, t.interval, cx.now));
        leg.owed_ack = response.cseq().map(|(number, _)| OwedAck { tx, number });
        leg.learn(&response.headers);
        let fork = self.legs.len();
        self.legs.push(leg);
        for stream in &free {
            self.hand_over(*stream, fork);
        }
        if accepted.len() > free.len() {
            // Some of what it accepted belongs to an IWF that was faster: it is told so when it has its ACK.
            self.interworking.undescribed.insert(fork);
        }
        self.gather(cx);
        true
    }

    /// The answer to the INVITE of a second session, or of a new one for a change.
    pub(super) fn iwf_answered(
        &mut self,
        cx: &mut Context<'_>,
        tx: ClientTx,
        no: LegNo,
        sent: SentInvite,
        response: &Response,
    ) {
        let before = self.legs[no].state;
        if !response.is_success() {
            // Its failure is nothing to the first session.
            let why = match before {
                LegState::Cancelling(why) => why,
                _ if !response.headers.has("CSeq") => Close::Unanswered,
                _ => Close::Refused(response.status),
            };
            self.close_leg(cx, no, why);
            if let Some(change) = sent.change {
                self.new_session_failed(cx, *change, 488);
            }
            return self.gather(cx);
        }
        let leg = &mut self.legs[no];
        leg.dialog.establish(response);
        leg.learn(&response.headers);
        leg.state = LegState::Established;
        leg.owed_ack = response.cseq().map(|(number, _)| OwedAck { tx, number });
        let answered = read_answer(response.headers.get("Content-Type"), &response.body)
            .filter(|(sdp, _)| sdp.msrp_lines().iter().any(|line| !line.is_rejected()));
        let wanted = self.interworking.gathering.is_some() || sent.change.is_some();
        let octets = match (before, answered) {
            (LegState::Inviting, Some((_, octets))) if wanted && !self.ending => octets,
            (before, answered) => {
                let why = match before {
                    LegState::Cancelling(why) => why,
                    _ if answered.is_none() => Close::Incompatible,
                    _ => Close::Ended,
                };
                self.close_lines(cx, no);
                self.hang_up(cx, no, None, why);
                if let Some(change) = sent.change {
                    self.new_session_failed(cx, *change, 488);
                }
                return self.gather(cx);
            }
        };
        let leg = &mut self.legs[no];
        leg.name.clone_from(&leg.dialog.target);
        leg.theirs = octets.to_vec();
        // Without a Session-Expires of its own this session lives as long as the first one (AMB-42).
        let timed = response.headers.has("Session-Expires");
        leg.timer = timed.then(|| timer::agreed(&response.headers, cx.config.policy.session_expires, cx.now));
        match sent.change {
            Some(change) => self.new_session_begun(cx, &change),
            None => self.gather(cx),
        }
    }

    /// The INVITE of a second or new session has waited long enough.
    pub(super) fn iwf_given_up(&mut self, cx: &mut Context<'_>, no: LegNo) {
        let invite = self.clients.values_mut().filter(|client| client.leg == no);
        let change = invite.filter_map(|client| match &mut client.work {
            Work::Invite(sent) => sent.change.take(),
            _ => None,
        });
        let changes: Vec<Box<Change>> = change.collect();
        self.cancel_invite(cx, no, None, Close::Unanswered);
        for change in changes {
            self.new_session_failed(cx, *change, 488);
        }
        self.gather(cx);
    }

    /// Tells IWFs which streams are theirs, where they have accepted more than that.
    pub(super) fn describe_iwfs(&mut self, cx: &mut Context<'_>) {
        let Some(whole) = self.offered() else { return };
        for no in std::mem::take(&mut self.interworking.undescribed) {
            if !self.legs[no].is_established() {
                continue;
            }
            if self.legs[no].owed_ack.is_some() || self.is_offering(no) {
                self.interworking.undescribed.insert(no);
                continue;
            }
            let own = self.without_foreign(no, &self.without_dropped(&whole));
            self.legs[no].sdp_version += 1;
            let origin = self.legs[no].origin(self.media_host(cx, no));
            let lines = self.legs[no].local_lines(|_| SetupAttr::Actpass);
            let offer = self.legs[no].outward(&sdp::offer(&own, &lines, &origin)).write();
            self.legs[no].ours = offer.to_vec();
            let request = self.offer_in_dialog(cx, no, Method::Invite, offer.to_vec());
            self.send(cx, no, Work::Own, request);
        }
    }
}
