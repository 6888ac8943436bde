//! Clause 8.2.2.7.1: where no policy decides on long-lived group sessions, a re-join reaches the controlling function
//! only when the client has something to say. Until then the client has its answer from us (AMB-28), and the INVITE is
//! held. The message that sets it free waits in the client's connection, with all that follow it, until the
//! controlling function has answered.

use super::{
    RINGING, Session,
    context::Context,
    invitation::SentInvite,
    leg::{A, Close, F, LegState, OwedAck},
    media::read_answer,
    rejoin::unanswered_contact,
    timer,
};
use crate::core::{
    event::{ClientTx, Hop, ServerTx},
    sip::{Method, Request, Response, message::reason_phrase},
};

impl Session {
    /// Answers the client in the controlling function's place, and holds the INVITE for it.
    pub(super) fn hold(
        &mut self,
        cx: &mut Context<'_>,
        asked: ServerTx,
        (request, hop, interval): (Request, Hop, u32),
    ) {
        let Request { uri, headers, body, .. } = request;
        let sent = SentInvite { headers, body: body.to_vec(), hop, uri, interval, tries: 0, change: None };
        self.held = Some(Box::new(sent));
        let Some(offered) = self.offered() else { return };
        let contact = unanswered_contact(&self.invitation.destination);
        let mut answer = Response::new(200).with("Contact", contact);
        for name in ["Conversation-ID", "Contribution-ID", "InReplyTo-Contribution-ID"] {
            answer.headers.copy(&self.invitation.headers, name);
        }
        self.answer_originator(cx, asked, &offered, &answer);
    }

    /// The client has something to say: the INVITE goes out.
    pub(super) fn client_speaks(&mut self, cx: &mut Context<'_>) {
        let Some(sent) = self.held.take().filter(|_| !self.ending) else { return };
        self.open_lines(cx, F);
        let mut request = Request::new(Method::Invite, sent.uri.as_str());
        request.headers = sent.headers;
        request.body = sent.body.into();
        self.send_invite(cx, F, request, sent.hop, sent.interval, 0, cx.now + RINGING);
    }

    /// Has the client had its answer before the controlling function was asked?
    pub(super) fn is_answered_before(&self) -> bool {
        self.legs[A].asked.is_none() && self.legs[A].is_established() && !self.ending
    }

    /// The controlling function's final response, to an INVITE whose client has had its answer.
    pub(super) fn held_answered(
        &mut self,
        cx: &mut Context<'_>,
        tx: ClientTx,
        sent: &SentInvite,
        response: &Response,
    ) {
        if !response.is_success() {
            if self.invite_again(cx, F, sent, response, cx.now + RINGING) {
                return;
            }
            let why = if response.headers.has("CSeq") {
                Close::Refused(response.status)
            } else {
                Close::Unanswered
            };
            return self.held_failed(cx, response.status, why);
        }
        self.legs[F].dialog.establish(response);
        self.legs[F].learn(&response.headers);
        self.legs[F].owed_ack = response.cseq().map(|(number, _)| OwedAck { tx, number });
        self.legs[F].state = LegState::Established;
        self.ack_owed(cx, F);
        let answered = read_answer(response.headers.get("Content-Type"), &response.body);
        // The client has been promised all its streams.
        let complete = answered.filter(|(sdp, _)| self.is_complete(sdp));
        let Some((answered, octets)) = complete else {
            let reason = format!("SIP;cause=488;text=\"{}\"", reason_phrase(488));
            return self.end(cx, Some(&reason), Close::Incompatible);
        };
        self.legs[F].theirs = octets.to_vec();
        self.legs[F].timer = Some(timer::agreed(&response.headers, sent.interval, cx.now));
        // The other devices first: they are to get what the client has said since it is back.
        self.deliver_directly(cx);
        self.connect_fars(cx, &answered);
    }

    /// Leg F will not be: the client's dialog ends with the reason why.
    pub(super) fn held_failed(&mut self, cx: &mut Context<'_>, status: u16, why: Close) {
        self.close_leg(cx, F, why);
        let reason = format!("SIP;cause={status};text=\"{}\"", reason_phrase(status));
        self.end(cx, Some(&reason), Close::Ended);
    }

    /// Does a description accept every stream of the session?
    fn is_complete(&self, answered: &crate::core::sdp::Sdp) -> bool {
        let lines = answered.msrp_lines();
        let there = |index: usize| lines.iter().any(|line| line.index == index && !line.is_rejected());
        self.streams.iter().enumerate().filter(|(_, stream)| stream.is_some()).all(|(index, _)| there(index))
    }
}
