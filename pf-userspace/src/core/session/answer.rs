//! Clause 8.2.2.1, response part: the far end's answer becomes the answer to the originating device; its ACK becomes
//! ours.
//!
//! | part | step | where |
//! |---|---|---|
//! | 200 | 1 | [`Session::far_answered`]; of IWFs: `iwf_answer` |
//! | 200 | 2 to 6 | [`Session::answer_originator`] |
//! | 200 | 7 | `storing` |
//! | 200 | 8 | `delivery` |
//! | error | 1, 2 | `interworking` |
//! | error | 3 | [`Session::far_refused`] |
//! | ACK | | [`Session::ack_received`] |
//!
//! The request part is in `invitation`.

use super::{
    Session, TRANSACTION,
    context::Context,
    invitation::SentInvite,
    leg::{A, Close, F, LegNo, LegState, OwedAck, Unacked},
    media::{Reach, own_uri, read_answer},
    offer::{CHAT_OFFER, parse_offer},
    provisional::cseq,
    timer::{self, SessionTimer},
};
use crate::core::{
    event::{ClientTx, LegRole, ServerTx, SipCommand},
    mapped_contact,
    sdp::{self, Sdp, SetupAttr},
    sip::{Dialog, Headers, Method, NameAddr, Request, Response},
};

/// Header fields of the far end's responses that the originating device shall see.
const PASSED_ON: [&str; 11] = [
    "Conversation-ID",
    "Contribution-ID",
    "InReplyTo-Contribution-ID",
    "Accept-Language",
    "Error-Info",
    "Privacy",
    "Proxy-Authenticate",
    "Reason",
    "Retry-After",
    "Warning",
    "WWW-Authenticate",
];

impl Session {
    /// A provisional response: passed on without session description, in the dialog of leg A.
    pub(super) fn far_progress(&mut self, cx: &mut Context<'_>, response: &Response) {
        let Some(tx) = self.legs[A].asked else { return };
        let mut progress = self.to_originator(cx, response);
        let contact = self.contact_for_originator(cx, &response.headers);
        progress.headers.push("Contact", contact);
        self.progress(cx, tx, progress);
    }

    /// The final response to the INVITE on leg F.
    pub(super) fn far_answered(
        &mut self,
        cx: &mut Context<'_>,
        tx: ClientTx,
        sent: SentInvite,
        response: &Response,
    ) {
        let waiting = self.legs[F].state == LegState::Inviting;
        if waiting && self.is_answered_before() {
            return self.held_answered(cx, tx, &sent, response);
        }
        if !response.is_success() {
            let again = waiting
                && (self.invite_again(cx, F, &sent, response, cx.now + super::RINGING)
                    || self.interwork(cx, &sent, response));
            if !again {
                let best = self.best_refusal(response);
                self.far_refused(cx, waiting, &best);
            }
            return;
        }
        self.legs[F].dialog.establish(response);
        self.legs[F].owed_ack = response.cseq().map(|(number, _)| OwedAck { tx, number });
        let Some(asked) = self.legs[A].asked.filter(|_| waiting && !self.ending) else {
            // Too late: cancelled before (RFC 3261 section 9.1).
            return self.far_unwanted(cx, Close::Cancelled);
        };
        self.legs[F].learn(&response.headers);
        let answered = read_answer(response.headers.get("Content-Type"), &response.body);
        let Some((answered, octets)) = answered else {
            let failed = self.legs[A].response(502, &cx.config.product);
            cx.respond(asked, failed);
            self.legs[A].asked = None;
            self.close_leg(cx, A, Close::Refused(502));
            return self.far_unwanted(cx, Close::Incompatible);
        };
        self.legs[F].theirs = octets.to_vec();
        self.legs[F].timer = Some(timer::agreed(&response.headers, sent.interval, cx.now));
        self.legs[F].state = LegState::Established;
        if self.legs[F].iwf {
            return self.iwf_accepted(cx, &sent, response);
        }
        self.answer_originator(cx, asked, &answered, response);
        // Step 8, after the 200 was sent and not before.
        self.deliver_directly(cx);
    }

    /// Steps 2 to 6 of the 200 part: our 200 to the originating device.
    pub(super) fn answer_originator(
        &mut self,
        cx: &mut Context<'_>,
        asked: ServerTx,
        answered: &Sdp,
        response: &Response,
    ) {
        let offerless = self.invitation.offerless;
        let Some(offered) = self.offered() else { return };
        self.drop_rejected(cx, answered);
        self.connect_fars(cx, answered);
        // Step 4: the answer, with a=setup:passive. An offer of ours must not be passive (RFC 6135 section 4.2.2).
        let lengths: Vec<usize> = (0..offered.line_count())
            .map(|index| self.session_id_length(&offered, answered, index))
            .collect();
        let carried = self.without_dropped(&offered);
        self.plan_lines(cx, A, &carried, |index| lengths.get(index).copied().unwrap_or(16));
        let setups = if offerless {
            vec![SetupAttr::Actpass; offered.line_count()]
        } else {
            self.answer_setups(A, &offered)
        };
        let setup = |index: usize| setups.get(index).copied().unwrap_or(SetupAttr::Passive);
        let origin = self.legs[A].origin(self.media_host(cx, A));
        let ours = sdp::answer(&offered, answered, &self.legs[A].local_lines(setup), &origin).write();
        self.open_lines(cx, A);
        if !offerless {
            self.connect_lines(cx, A, &offered, setup);
        }
        self.legs[A].ours = ours.to_vec();
        // Step 2: a 200; step 3: Server.
        let mut ok = self.to_originator(cx, response);
        // Step 5: a Contact that resolves back to the one received.
        let contact = self.contact_for_originator(cx, &response.headers);
        self.legs[A].contact.clone_from(&contact);
        ok.headers.push("Contact", contact);
        ok.headers.push("Allow", super::ALLOW);
        if let Some(timer) = self.legs[A].timer.take() {
            let timer = SessionTimer::new(timer.interval, timer.we_refresh, cx.now);
            timer::accept(&mut ok.headers, &timer);
            self.legs[A].timer = Some(timer);
        }
        ok.headers.push("Content-Type", "application/sdp");
        ok.body = ours;
        // Step 6.
        let leg = &mut self.legs[A];
        leg.asked = None;
        leg.state = LegState::Established;
        // Requests in the early dialog may have come since.
        let number = cseq(&self.invitation.headers).unwrap_or_default();
        let until = cx.now + TRANSACTION;
        leg.unacked = Some(Unacked { tx: asked, number, offered: offerless, until });
        cx.respond(asked, ok);
        // Step 7.
        self.begin_record(cx);
    }

    /// What the originating device has said last, or we in its place.
    pub(super) fn offered(&self) -> Option<Sdp> {
        let said = &self.legs[A].theirs;
        let text = if said.is_empty() { CHAT_OFFER } else { said.as_slice() };
        // It was read once when it came.
        parse_offer(text).ok()
    }

    /// Error part, step 3: the far end's error goes to the originating device.
    pub(super) fn far_refused(&mut self, cx: &mut Context<'_>, waiting: bool, response: &Response) {
        if let Some(asked) = self.legs[A].asked.take().filter(|_| waiting) {
            let mut refusal = self.to_originator(cx, response);
            if (300..400).contains(&response.status) {
                refusal.headers.copy(&response.headers, "Contact");
            }
            cx.respond(asked, refusal);
            self.close_leg(cx, A, Close::Refused(response.status));
        }
        let why = match (self.legs[F].state, response.status) {
            (LegState::Cancelling(why), _) => why,
            (_, 408) if !response.headers.has("CSeq") => Close::Unanswered,
            (_, status) => Close::Refused(status),
        };
        self.ending = true;
        self.close_leg(cx, F, why);
    }

    /// The far end said yes to what nobody wants any more: ACK and BYE.
    fn far_unwanted(&mut self, cx: &mut Context<'_>, why: Close) {
        self.ending = true;
        self.legs[F].state = LegState::Established;
        self.hang_up(cx, F, None, why);
    }

    /// A response for the originating device, from one of the far end: status, reason phrase and what goes from end
    /// to end. Server is ours, the far end's does not leak. What establishes a dialog brings back the Record-Route of
    /// the INVITE, by which the device's requests find their way (RFC 3261 section 12.1.1).
    fn to_originator(&self, cx: &Context<'_>, response: &Response) -> Response {
        let mut ours = self.legs[A].response(response.status, &cx.config.product);
        ours.reason.clone_from(&response.reason);
        for name in PASSED_ON {
            ours.headers.copy(&response.headers, name);
        }
        if self.invitation.in_trust_domain {
            ours.headers.copy(&response.headers, "P-Charging-Vector");
        }
        if (101..300).contains(&ours.status) {
            for route in &self.legs[A].dialog.routes {
                ours.headers.push("Record-Route", route.as_str());
            }
        }
        ours
    }

    /// Our Contact for leg A, in whatever makes or keeps its dialog (RFC 3261 section 12.1.1).
    fn contact_for_originator(&self, cx: &Context<'_>, headers: &Headers) -> String {
        self.mapped_contact(cx, headers)
            .unwrap_or_else(|| format!("<{}>", own_uri(cx.config, "pf", Reach::Peer(&self.invitation.from))))
    }

    /// Step 5 of the 200 part: our Contact for leg A. Its user part holds the far end's URI, its parameters are the
    /// far end's (`isfocus` and the like).
    pub(super) fn mapped_contact(&self, cx: &Context<'_>, headers: &Headers) -> Option<String> {
        let mut contact = headers.list("Contact").next().and_then(|c| NameAddr::parse(c).ok())?;
        contact.params.retain(|(name, _)| !name.eq_ignore_ascii_case("expires"));
        let user = mapped_contact::encode(&cx.config.secret, &contact.uri);
        let uri = own_uri(cx.config, &user, Reach::Peer(&self.invitation.from));
        Some(format!("<{uri}>{}", contact.params_text()))
    }

    /// Another 2xx to an INVITE that has been answered: a fork. Nobody wants that dialog (RFC 3261 section 13.2.2.4).
    pub(super) fn fork_answered(
        &mut self,
        cx: &mut Context<'_>,
        tx: ClientTx,
        no: LegNo,
        response: &Response,
    ) {
        if !response.is_success() || response.to_tag() == self.legs[no].dialog.remote_tag {
            return;
        }
        if self.iwf_forked(cx, tx, no, response) {
            return;
        }
        let Some(mut stray) = Dialog::from_answer(response) else { return };
        stray.flow = self.legs[no].dialog.flow;
        let (ack, hop) = stray.ack(stray.local_cseq);
        cx.sip(SipCommand::Ack { tx, request: ack, hop });
        stray = self.counted_on(tx, response, stray);
        // Whatever it answers: nothing here depends on it.
        let (bye, hop) = stray.request(Method::Bye);
        let tx = cx.ids.client();
        cx.request(tx, bye, hop);
    }

    /// An ACK for a 2xx of ours.
    pub(super) fn ack_received(&mut self, cx: &mut Context<'_>, tx: Option<ServerTx>, request: &Request) {
        let by_tx = |tx| self.legs.iter().position(|leg| leg.unacked.is_some_and(|u| Some(u.tx) == tx));
        let by_dialog = || {
            let no = self.leg_of(request)?;
            self.legs[no].unacked.filter(|u| Some(u.number) == request.cseq()).map(|_| no)
        };
        let Some(no) = tx.and_then(|tx| by_tx(Some(tx))).or_else(by_dialog) else { return };
        let Some(unacked) = self.legs[no].unacked.take() else { return };
        self.acknowledged(cx, no);
        if let Some(reason) = self.legs[no].bye_after_ack.take() {
            return self.send_bye(cx, no, reason.as_deref());
        }
        if unacked.offered && !self.answer_in_ack(cx, no, request) {
            self.end(cx, None, Close::Incompatible);
        }
    }

    /// A new INVITE has come in the dialog: our 2xx to the one before has arrived, and its ACK was lost on the way. Only
    /// where that 2xx offered something, the ACK is waited for: it has the answer.
    pub(super) fn imply_ack(&mut self, cx: &mut Context<'_>, no: LegNo) {
        let leg = &mut self.legs[no];
        if leg.bye_after_ack.is_some() || leg.unacked.is_none_or(|unacked| unacked.offered) {
            return;
        }
        leg.unacked = None;
        self.acknowledged(cx, no);
    }

    /// The ACK on the other leg follows the one on leg `no`.
    fn acknowledged(&mut self, cx: &mut Context<'_>, no: LegNo) {
        match self.legs[no].role {
            LegRole::Originator => self.ack_fars(cx),
            LegRole::Far => self.ack_owed(cx, A),
            LegRole::Device => {}
        }
    }

    /// The peer's answer to the offer in our 2xx.
    fn answer_in_ack(&mut self, cx: &mut Context<'_>, no: LegNo, request: &Request) -> bool {
        let answered = read_answer(request.headers.get("Content-Type"), &request.body);
        let Some((answered, octets)) = answered else { return false };
        self.legs[no].theirs = octets.to_vec();
        let setups = self.legs[no].our_setups();
        self.connect_lines(cx, no, &answered, |i| setups.get(i).copied().unwrap_or(SetupAttr::Actpass));
        true
    }

    /// A 2xx of ours was never acknowledged: the dialog is there, and ends (RFC 3261 section 13.3.1.4).
    pub(super) fn ack_missing(&mut self, cx: &mut Context<'_>, tx: ServerTx) {
        let leg = self.legs.iter().position(|leg| leg.unacked.is_some_and(|u| u.tx == tx));
        let Some(no) = leg else { return };
        self.legs[no].unacked = None;
        if let Some(reason) = self.legs[no].bye_after_ack.take() {
            return self.send_bye(cx, no, reason.as_deref());
        }
        if self.legs[no].role == LegRole::Device {
            self.hang_up(cx, no, None, Close::Unanswered);
        } else if no != A || !self.client_lost_again(cx, None, Close::Unanswered) {
            self.end(cx, None, Close::Unanswered);
        }
    }

    /// The description without the lines that we do not carry (rejected by the other side).
    pub(super) fn without_dropped(&self, sdp: &Sdp) -> Sdp {
        let lines = sdp.msrp_lines();
        let dropped = lines.iter().filter(|l| self.streams.get(l.index).is_none_or(Option::is_none));
        let dropped: Vec<usize> = dropped.map(|line| line.index).collect();
        sdp.clone().rejecting(&dropped)
    }
}
