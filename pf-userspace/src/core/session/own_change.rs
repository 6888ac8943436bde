//! re-INVITEs of our own that concern one leg only. Clause 8.2.2.5 step 6: the connected devices get a change too, each
//! in its own dialog; and IWFs hear what has become of their streams.
//!
//! Where another offer is on its way in that dialog, or the peer says `491` because it has just made one, the leg is
//! asked again a random time later (RFC 3261 section 14.1).

use super::{
    Session, Work,
    context::Context,
    leg::{A, Close, LegNo, OwedAck},
    media::read_answer,
    timer::glare_wait,
};
use crate::core::{
    Time,
    event::{ClientTx, LegRole},
    sdp::{self, Sdp, SetupAttr},
    sip::{Method, Response},
};

impl Session {
    /// Step 6: the connected devices get the change too.
    pub(super) fn change_devices(&mut self, cx: &mut Context<'_>) {
        for no in 0..self.legs.len() {
            if self.legs[no].role == LegRole::Device && self.legs[no].is_established() {
                self.change_device(cx, no);
            }
        }
    }

    /// The connected device on leg `no` is told what is agreed now.
    fn change_device(&mut self, cx: &mut Context<'_>, no: LegNo) {
        let Ok(agreed) = Sdp::parse(&self.legs[A].ours) else { return };
        if self.is_offering(no) {
            return self.ask_again(cx, no);
        }
        let carried = self.without_dropped(&agreed);
        self.plan_lines(cx, no, &carried, |_| Session::device_session_id());
        let leg = &mut self.legs[no];
        leg.ask_again = None;
        leg.sdp_version += 1;
        let origin = self.legs[no].origin(self.media_host(cx, no));
        let lines = self.legs[no].local_lines(|_| SetupAttr::Actpass);
        let offer = sdp::device_offer(&carried, &lines, &origin).write();
        self.open_lines(cx, no);
        self.legs[no].ours = offer.to_vec();
        let request = self.offer_in_dialog(cx, no, Method::Invite, offer.to_vec());
        self.send(cx, no, Work::Own, request);
    }

    /// Leg `no` can take no offer just now.
    fn ask_again(&mut self, cx: &mut Context<'_>, no: LegNo) {
        self.legs[no].ask_again = Some(cx.now + glare_wait(cx, no));
    }

    /// When the next leg is to be asked again.
    pub(super) fn ask_again_at(&self) -> Option<Time> {
        let legs = self.legs.iter().filter(|leg| leg.is_established() && !self.ending);
        legs.filter_map(|leg| leg.ask_again).min()
    }

    /// Asks leg `no` again if the time has come.
    pub(super) fn ask_again_due(&mut self, cx: &mut Context<'_>, no: LegNo) {
        let leg = &mut self.legs[no];
        if !leg.is_established() || self.ending || leg.ask_again.take_if(|at| *at <= cx.now).is_none() {
            return;
        }
        match leg.role {
            LegRole::Device => self.change_device(cx, no),
            LegRole::Far => _ = self.interworking.undescribed.insert(no),
            LegRole::Originator => {}
        }
    }

    /// The answer to a re-INVITE of our own: who has no such dialog leaves, who is about to change something itself is
    /// asked again, another failure leaves things as they are (AMB-21).
    pub(super) fn own_change_answered(
        &mut self,
        cx: &mut Context<'_>,
        tx: ClientTx,
        no: LegNo,
        response: &Response,
    ) {
        if response.is_success() {
            self.legs[no].owed_ack = response.cseq().map(|(number, _)| OwedAck { tx, number });
            self.ack_owed(cx, no);
            self.refreshed_answer(cx, no, response);
        } else if response.status == 491 {
            self.ask_again(cx, no);
        } else if matches!(response.status, 408 | 481) {
            match self.legs[no].role {
                LegRole::Far => self.iwf_lost(cx, no, None, Close::Unanswered),
                LegRole::Device | LegRole::Originator => self.hang_up(cx, no, None, Close::Unanswered),
            }
        }
    }

    /// The session description in a 2xx to a re-INVITE of our own.
    pub(super) fn refreshed_answer(&mut self, cx: &mut Context<'_>, no: LegNo, response: &Response) {
        let answered = read_answer(response.headers.get("Content-Type"), &response.body);
        let Some((answered, octets)) = answered else { return };
        if octets[..] == self.legs[no].theirs[..] || !self.legs[no].is_established() {
            return;
        }
        self.legs[no].theirs = octets.to_vec();
        let answered = self.legs[no].inward(&answered);
        self.close_refused_lines(cx, no, &answered);
        self.connect_lines(cx, no, &answered, |_| SetupAttr::Actpass);
    }
}
