//! Clause 8.2.2.3 step 3: an IWF says BYE. The whole session ends, or the IWF's streams alone.

use serde::{Deserialize, Serialize};

use super::{
    Session, Work,
    bye::{FAREWELL, Farewell},
    context::Context,
    groups::GroupEnd,
    leg::{A, Close, LegNo, LegState, OwedAck},
    media::read_answer,
    storing::Then,
    timer::glare_wait,
};
use crate::core::{
    Time,
    event::{ClientTx, ServerTx},
    policy::IwfLeaves,
    sdp::{self, Sdp, SetupAttr},
    sip::{Method, Response},
};

/// An IWF that has left, and whose streams the originating device still has.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Leaving {
    leg: LegNo,
    /// Its BYE, which is not answered yet, and when it is in any case.
    bye: Option<(ServerTx, Time)>,
    /// Not to be tried again before.
    retry: Option<Time>,
}

impl Leaving {
    pub(super) fn deadline(&self) -> Option<Time> {
        self.bye.map(|(_, until)| until).into_iter().chain(self.retry).min()
    }
}

/// A re-INVITE of the originating device without the streams of IWFs that have left.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct GivingUp {
    legs: Vec<LegNo>,
    ours: Vec<u8>,
}

impl Session {
    /// Step 3: the IWF of leg `no` said BYE.
    pub(super) fn iwf_left(&mut self, cx: &mut Context<'_>, no: LegNo, tx: ServerTx, reason: Option<&str>) {
        let mut others = self.connected_fars();
        others.retain(|other| *other != no);
        if self.legs[A].state == LegState::Inviting {
            // Before the originating device has its answer: the IWF is one less to answer it.
            self.answer_bye(cx, no, tx);
            self.close_leg(cx, no, Close::Left);
            return if others.is_empty() {
                self.abandon(cx, 480, reason, Close::Ended)
            } else {
                self.gather(cx)
            };
        }
        self.legs[no].state = LegState::Ending(Close::Left);
        if !others.is_empty() && cx.config.policy.interworking_leave == IwfLeaves::Streams {
            // a. Several IWFs, and only the streams of this one are to be closed.
            let bye = Some((tx, cx.now + FAREWELL));
            return self.interworking.leaving.push(Leaving { leg: no, bye, retry: None });
        }
        // b. The entire session, or a single IWF.
        self.ending = true;
        // iv. The client's answer is waited for; c. then all media goes.
        self.farewell = Some(Farewell { tx, from: no, until: cx.now + FAREWELL });
        for other in self.fars_of_any_state().into_iter().filter(|other| *other != no) {
            self.hang_up(cx, other, reason, Close::Ended);
        }
        // ii. The record; i., iii. BYE to the served client, and (AMB-15) to the connected devices.
        let then = Then::HangUp { reason: reason.map(str::to_owned) };
        self.store_before(cx, GroupEnd::Other, reason, then);
    }

    /// The dialog or the media path of an IWF is lost, or it has given up all its streams: as if it had said BYE.
    pub(super) fn iwf_lost(&mut self, cx: &mut Context<'_>, no: LegNo, reason: Option<&str>, why: Close) {
        self.hang_up(cx, no, reason, why);
        let others = !self.connected_fars().is_empty();
        if others
            && self.legs[A].state != LegState::Inviting
            && cx.config.policy.interworking_leave == IwfLeaves::Streams
        {
            self.interworking.leaving.push(Leaving { leg: no, bye: None, retry: None });
        } else {
            self.end(cx, reason, Close::Ended);
        }
    }

    /// What is due about IWFs; after every event.
    pub(super) fn settle_iwfs(&mut self, cx: &mut Context<'_>) {
        if self.ending {
            // Everybody leaves: nobody is asked any more.
            self.interworking.gathering = None;
            self.interworking.undescribed.clear();
            let all = self.interworking.leaving.iter().map(|leaving| leaving.leg).collect();
            return self.let_go(cx, all);
        }
        let mut late = Vec::new();
        for leaving in &mut self.interworking.leaving {
            leaving.retry.take_if(|at| *at <= cx.now);
            late.extend(leaving.bye.take_if(|(_, until)| *until <= cx.now).map(|bye| (leaving.leg, bye)));
        }
        for (leg, bye) in late {
            self.part(cx, leg, Some(bye));
        }
        self.give_up_streams(cx);
        self.describe_iwfs(cx);
        let answered = self.legs[A].state != LegState::Inviting;
        if answered && !self.ending && self.fars().next().is_none() {
            self.end(cx, None, Close::Ended);
        }
    }

    /// Step 3.a: re-INVITE of the originating device without the streams of who has left.
    fn give_up_streams(&mut self, cx: &mut Context<'_>) {
        let leaving = &self.interworking.leaving;
        let asked = self.clients.values().any(|client| matches!(client.work, Work::GiveUp(_)));
        if leaving.is_empty() || asked || leaving.iter().filter_map(|l| l.retry).any(|at| at > cx.now) {
            return;
        }
        let legs: Vec<LegNo> = leaving.iter().map(|leaving| leaving.leg).collect();
        let streams: Vec<usize> = legs.iter().flat_map(|leg| self.streams_of(*leg)).collect();
        let Some(agreed) = Sdp::parse(&self.legs[A].ours).ok().filter(|_| !streams.is_empty()) else {
            return self.let_go(cx, legs);
        };
        if self.legs[A].is_established() && self.is_offering(A) {
            // Another offer is on its way (RFC 3261 section 14.1).
            return;
        }
        let kept = agreed.rejecting(&streams);
        self.legs[A].sdp_version += 1;
        let origin = self.legs[A].origin(self.media_host(cx, A));
        let lines = self.legs[A].local_lines(|_| SetupAttr::Actpass);
        let ours = sdp::offer(&kept, &lines, &origin).write().to_vec();
        if !self.legs[A].is_established() {
            // The session goes on without the originating device.
            self.legs[A].ours = ours;
            return self.let_go(cx, legs);
        }
        let request = self.offer_in_dialog(cx, A, Method::Invite, ours.clone());
        self.send(cx, A, Work::GiveUp(Box::new(GivingUp { legs, ours })), request);
    }

    /// The originating device's answer to that.
    pub(super) fn given_up(
        &mut self,
        cx: &mut Context<'_>,
        tx: ClientTx,
        no: LegNo,
        given: GivingUp,
        response: &Response,
    ) {
        if response.is_success() {
            let leg = &mut self.legs[no];
            leg.owed_ack = response.cseq().map(|(number, _)| OwedAck { tx, number });
            leg.change_agreed(&given.ours, response, cx.now);
            self.ack_owed(cx, no);
            let answered = read_answer(response.headers.get("Content-Type"), &response.body);
            if let Some((answered, octets)) = answered {
                self.legs[no].theirs = octets.to_vec();
                self.connect_lines(cx, no, &answered, |_| SetupAttr::Actpass);
            }
        } else if response.status == 491 {
            let retry = Some(cx.now + glare_wait(cx, no));
            let leaving = self.interworking.leaving.iter_mut();
            leaving.filter(|l| given.legs.contains(&l.leg)).for_each(|l| l.retry = retry);
            return;
        }
        // Whatever it said: the IWFs are gone, and their streams with them.
        self.let_go(cx, given.legs);
        if matches!(response.status, 408 | 481) {
            // The dialog is gone (RFC 3261 section 12.2.1.2).
            self.end(cx, None, Close::Unanswered);
        }
    }

    /// The originating device has given up the streams of these IWFs: their BYEs are answered, step 3.c media goes,
    /// and the other devices hear of it.
    fn let_go(&mut self, cx: &mut Context<'_>, legs: Vec<LegNo>) {
        let (gone, rest) = std::mem::take(&mut self.interworking.leaving)
            .into_iter()
            .partition::<Vec<_>, _>(|leaving| legs.contains(&leaving.leg));
        self.interworking.leaving = rest;
        let mut dropped = false;
        for leaving in gone {
            self.part(cx, leaving.leg, leaving.bye);
            for stream in self.streams_of(leaving.leg) {
                self.drop_stream(cx, stream);
                dropped = true;
            }
        }
        if dropped && !self.ending {
            self.change_devices(cx);
        }
    }

    /// Answers the BYE of an IWF, if that is still to be done: with that its leg is over.
    fn part(&mut self, cx: &mut Context<'_>, no: LegNo, bye: Option<(ServerTx, Time)>) {
        if let Some((tx, _)) = bye {
            self.answer_bye(cx, no, tx);
            self.close_leg(cx, no, Close::Left);
        }
    }
}
