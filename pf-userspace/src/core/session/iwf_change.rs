//! Clause 8.2.2.5 step 4 and its end: a change of the originating device in a session with IWFs. What is changed or
//! removed goes to the IWF that has the stream; what is new goes from one IWF to the next until one takes it, and
//! then, where policy allows it, into a new session with the ISF.

use serde::{Deserialize, Serialize};

use super::{
    RINGING, Session, Work,
    context::Context,
    leg::{A, Close, F, LegNo, OwedAck},
    media::read_answer,
    modification::Change,
    offer::parse_offer,
};
use crate::core::{
    event::ClientTx,
    sdp::{self, Sdp, SetupAttr},
    sip::{Method, Response},
};

/// What is left to do of a change in a session with IWFs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// IWFs whose streams are changed or removed, and that are still to be asked.
    changed: Vec<LegNo>,
    /// The new streams, until somebody has taken them.
    new: Vec<usize>,
    /// IWFs that are still to be asked for these.
    candidates: Vec<LegNo>,
    /// IWFs that have accepted their part.
    accepted: Vec<LegNo>,
    /// The one that is being asked is asked for the new streams.
    growing: bool,
    /// Its places of m-lines before it was.
    places: Option<Vec<Option<usize>>>,
    /// The refusal of the new streams that counts so far; 488 where all were.
    refused: Option<u16>,
    /// The originating device has cancelled it.
    pub(super) cancelled: bool,
}

impl Plan {
    /// The places of m-lines that the IWF which is being asked had before, if it is asked for new ones; `now`
    /// otherwise.
    pub(super) fn places_before(self, now: Option<Vec<Option<usize>>>) -> Option<Vec<Option<usize>>> {
        if self.growing { self.places } else { now }
    }
}

impl Session {
    /// Step 4: whom does the change concern? One re-INVITE in each dialog, the next after a final answer (AMB-22).
    pub(super) fn change_iwfs(&mut self, cx: &mut Context<'_>, mut change: Change, offered: &Sdp) {
        let fars = self.connected_fars();
        if fars.iter().any(|no| self.legs[*no].owed_ack.is_some() || self.is_offering(*no)) {
            return self.refuse_change(cx, &change, &Response::new(491));
        }
        let Some(before) = self.offered().filter(|_| offered.line_count() >= self.streams.len()) else {
            // m-lines never become fewer (RFC 3264 section 8).
            return self.refuse_change(cx, &change, &Response::new(488));
        };
        let mut plan = Plan::default();
        for line in offered.msrp_lines() {
            match self.far_of(line.index) {
                Some(far) if !before.same_line(offered, line.index) => plan.changed.push(far),
                None if !line.is_rejected() => plan.new.push(line.index),
                _ => {}
            }
        }
        plan.changed.sort_unstable();
        plan.changed.dedup();
        plan.candidates = fars;
        if change.number.is_some() {
            self.legs[A].asked = Some(change.tx);
        }
        change.plan = Some(Box::new(plan));
        self.go_on(cx, change, offered);
    }

    /// The next IWF, or the end.
    fn go_on(&mut self, cx: &mut Context<'_>, mut change: Change, offered: &Sdp) {
        let Some(plan) = change.plan.as_mut() else { return };
        if plan.cancelled && !(plan.changed.is_empty() && plan.new.is_empty()) {
            return self.abort(cx, change);
        }
        if !plan.changed.is_empty() {
            // a. The IWF involved in that stream.
            let no = plan.changed.remove(0);
            return self.ask_iwf(cx, change, no, offered);
        }
        if plan.new.is_empty() {
            return self.conclude(cx, &change, offered);
        }
        if !plan.candidates.is_empty() {
            // b. One after the other.
            let no = plan.candidates.remove(0);
            plan.growing = true;
            return self.ask_iwf(cx, change, no, offered);
        }
        let (new, refused) = (plan.new.clone(), plan.refused.unwrap_or(488));
        if refused == 488 && cx.config.policy.interworking_new_streams {
            // All IWFs refuse it: a new session with the ISF for it, and for nothing else.
            let invited = self.invite_isf(cx, &new, offered, SetupAttr::Actpass);
            let client = self.clients.values_mut().find(|client| Some(client.leg) == invited);
            if let Some(Work::Invite(sent)) = client.map(|client| &mut client.work) {
                sent.change = Some(Box::new(change));
                return;
            }
        }
        self.nobody_takes(cx, change, offered);
    }

    /// A re-INVITE (or UPDATE) to an IWF: its own streams as they are offered now, and the new ones if they are what
    /// it is asked for.
    fn ask_iwf(&mut self, cx: &mut Context<'_>, mut change: Change, no: LegNo, offered: &Sdp) {
        let Some(plan) = change.plan.as_mut() else { return };
        if !self.legs[no].is_established() || self.is_offering(no) {
            return self.iwf_refuses(cx, no, change, offered, &Response::new(491));
        }
        // It is asked a second time: its first 2xx cannot wait for the client's ACK (RFC 3261 section 14.1).
        self.ack_owed(cx, no);
        let mut streams = self.streams_of(no);
        let leg = &mut self.legs[no];
        plan.places.clone_from(&leg.places);
        if plan.growing {
            streams.extend(&plan.new);
            if let Some(places) = &mut leg.places {
                let mut new: Vec<Option<usize>> = plan.new.iter().copied().map(Some).collect();
                new.retain(|new| !places.contains(new));
                places.extend(new);
            }
        }
        let offered = offered.clone().rejecting(&self.lines_of_others(no, offered, &streams));
        self.plan_lines(cx, no, &offered, |_| Session::far_session_id());
        self.legs[no].sdp_version += 1;
        let origin = self.legs[no].origin(self.media_host(cx, no));
        let ours = sdp::offer(&offered, &self.legs[no].local_lines(|_| SetupAttr::Actpass), &origin);
        change.ours = self.legs[no].outward(&ours).write().to_vec();
        self.open_lines(cx, no);
        change.invite = change.number.is_some() || !self.legs[no].allows_update;
        let invite = change.invite;
        let method = if invite { Method::Invite } else { Method::Update };
        let body = change.ours.clone();
        let request = self.offer_in_dialog(cx, no, method, body);
        let tx = self.send(cx, no, Work::Change(Box::new(change)), request);
        if let Some(client) = self.clients.get_mut(&tx).filter(|_| invite) {
            client.until = cx.now + RINGING;
        }
    }

    /// The m-lines that are nothing to an IWF with these streams. Lines that we do not carry are the first leg's.
    fn lines_of_others(&self, no: LegNo, offered: &Sdp, streams: &[usize]) -> Vec<usize> {
        let carried: Vec<usize> = offered.msrp_lines().iter().map(|line| line.index).collect();
        let own = |index: &usize| if carried.contains(index) { streams.contains(index) } else { no == F };
        (0..offered.line_count()).filter(|index| !own(index)).collect()
    }

    /// The answer of the IWF that is being asked.
    pub(super) fn iwf_change_answered(
        &mut self,
        cx: &mut Context<'_>,
        tx: ClientTx,
        no: LegNo,
        mut change: Change,
        response: &Response,
    ) {
        let Ok(offered) = parse_offer(&change.offered) else {
            return self.refuse_change(cx, &change, &Response::new(500));
        };
        if !response.is_success() {
            return self.iwf_refuses(cx, no, change, &offered, response);
        }
        if change.invite {
            self.legs[no].owed_ack = response.cseq().map(|(number, _)| OwedAck { tx, number });
        }
        let answered = read_answer(response.headers.get("Content-Type"), &response.body);
        let (Some((answered, octets)), Some(plan)) = (answered, change.plan.as_mut()) else {
            self.ack_owed(cx, no);
            return self.iwf_refuses(cx, no, change, &offered, &Response::new(500));
        };
        let leg = &mut self.legs[no];
        leg.change_agreed(&change.ours, response, cx.now);
        leg.theirs = octets.to_vec();
        if std::mem::take(&mut plan.growing) {
            let lines = leg.inward(&answered).msrp_lines();
            let takes = |new: &usize| lines.iter().any(|line| line.index == *new && !line.is_rejected());
            if !plan.new.iter().any(takes) {
                // 200, but not for what it was asked: as good as 488. The m-lines stay in its dialog.
                plan.refused = Some(plan.refused.unwrap_or(488));
                let new = plan.new.clone();
                self.ack_owed(cx, no);
                self.release_new(cx, &new);
                return self.go_on(cx, change, &offered);
            }
            plan.new.clear();
        }
        plan.accepted.push(no);
        self.go_on(cx, change, &offered);
    }

    /// The IWF that is being asked says no.
    fn iwf_refuses(
        &mut self,
        cx: &mut Context<'_>,
        no: LegNo,
        mut change: Change,
        offered: &Sdp,
        response: &Response,
    ) {
        let Some(plan) = change.plan.as_mut() else { return };
        let gone = matches!(response.status, 408 | 481);
        let growing = std::mem::take(&mut plan.growing);
        if growing {
            self.legs[no].places = plan.places.take();
            let new = plan.new.clone();
            self.release_new(cx, &new);
        }
        if growing && !plan.cancelled {
            // Whatever is not 488 speaks against a new session: the best of these goes back.
            let worse = response.status != 488 && plan.refused.is_none_or(|refused| refused == 488);
            plan.refused = if worse { Some(response.status) } else { plan.refused.or(Some(488)) };
            self.go_on(cx, change, offered);
        } else {
            self.undo(cx, &change);
            // What is said of the IWF's dialog is nothing to the client's own.
            let unavailable = Response::new(480);
            self.refuse_change(cx, &change, if gone { &unavailable } else { response });
        }
        if gone && self.legs[no].is_established() {
            // The dialog is gone (RFC 3261 section 12.2.1.2).
            self.iwf_lost(cx, no, None, Close::Unanswered);
        }
    }

    /// Nobody takes the new streams: `488` (or what else was said), unless the change was more than that.
    pub(super) fn nobody_takes(&mut self, cx: &mut Context<'_>, mut change: Change, offered: &Sdp) {
        let Some(plan) = change.plan.as_mut() else { return };
        let (new, refused) = (std::mem::take(&mut plan.new), plan.refused.unwrap_or(488));
        for stream in new {
            self.drop_stream(cx, stream);
        }
        if plan.accepted.is_empty() {
            // What was said of an IWF's dialog is nothing to the client's own.
            let status = if matches!(refused, 408 | 481) { 480 } else { refused };
            return self.refuse_change(cx, &change, &Response::new(status));
        }
        self.conclude(cx, &change, offered);
    }

    /// All have answered: so do we.
    pub(super) fn conclude(&mut self, cx: &mut Context<'_>, change: &Change, offered: &Sdp) {
        self.drop_rejected(cx, offered);
        let Some(answered) = self.far_description() else {
            return self.refuse_change(cx, change, &Response::new(480));
        };
        self.drop_rejected(cx, &answered);
        self.connect_fars(cx, &answered);
        let before = self.legs[A].ours.clone();
        self.accept_change(cx, change, offered, &answered);
        if change.number.is_none() {
            // No ACK will come that ours could follow.
            self.ack_fars(cx);
        }
        // An IWF without streams has nothing more to do.
        let (idle, busy): (Vec<LegNo>, Vec<LegNo>) =
            self.connected_fars().into_iter().partition(|no| self.streams_of(*no).is_empty());
        if !busy.is_empty() {
            for no in idle {
                self.hang_up(cx, no, None, Close::Ended);
            }
        }
        if super::modification::terms(&self.legs[A].ours) != super::modification::terms(&before) {
            self.change_devices(cx);
        }
    }

    /// The new session for the new streams is there.
    pub(super) fn new_session_begun(&mut self, cx: &mut Context<'_>, change: &Change) {
        if let Ok(offered) = parse_offer(&change.offered) {
            self.conclude(cx, change, &offered);
        }
    }

    /// There is no new session for the new streams: `488`, and the old one lives. `487` if nobody wants it any more.
    pub(super) fn new_session_failed(&mut self, cx: &mut Context<'_>, change: Change, status: u16) {
        let Ok(offered) = parse_offer(&change.offered) else { return };
        match status {
            487 => self.abort(cx, change),
            _ => self.nobody_takes(cx, change, &offered),
        }
    }

    /// The originating device wants the change no more.
    fn abort(&mut self, cx: &mut Context<'_>, mut change: Change) {
        self.undo(cx, &change);
        let new = change.plan.as_mut().map(|plan| std::mem::take(&mut plan.new)).unwrap_or_default();
        for stream in new {
            self.drop_stream(cx, stream);
        }
        self.refuse_change(cx, &change, &Response::new(487));
    }

    /// Cancels the new session that a change of leg `asker` waits for, if there is one.
    pub(super) fn cancel_new_session(&mut self, cx: &mut Context<'_>, asker: LegNo, reason: Option<&str>) {
        let waits = |work: &Work| match work {
            Work::Invite(sent) => sent.change.as_ref().is_some_and(|change| change.asker == asker),
            _ => false,
        };
        let leg = self.clients.values().find(|client| waits(&client.work)).map(|client| client.leg);
        if let Some(no) = leg {
            self.cancel_invite(cx, no, reason, Close::Cancelled);
        }
    }

    /// The change does not go through: IWFs that have accepted their part get back what was agreed before.
    pub(super) fn undo(&mut self, cx: &mut Context<'_>, change: &Change) {
        for no in change.plan.iter().flat_map(|plan| plan.accepted.iter().copied()) {
            self.ack_owed(cx, no);
            self.interworking.undescribed.insert(no);
        }
    }

    /// The new streams have nobody again.
    fn release_new(&mut self, cx: &mut Context<'_>, new: &[usize]) {
        for stream in new {
            self.release_far_line(cx, *stream);
        }
    }
}
