//! Clause 8.2.2.7: a client of the user comes back to a group session. Which INVITE asks for that, and how a client is
//! joined to a session that went on without it; what policy says is in [`crate::core::policy::rejoin`], and which of
//! the user's sessions is meant the shard finds out.

use super::{
    Session,
    context::Context,
    groups::GroupEnd,
    invitation::{Arrived, Originator, arrive},
    leg::{A, Close, F},
    routing::destination,
};
use crate::core::{
    event::{LegRole, Peer, ServerTx},
    sdp::{self, Sdp},
    sip::{NameAddr, Request, Response},
};

/// Header fields of the re-join INVITE that count in the place of those of the session's first INVITE: they speak of
/// the client and of its wishes. What names the session stays.
const OF_THE_CLIENT: [&str; 7] =
    ["Accept-Contact", "Contact", "CSeq", "Reject-Contact", "Request-Disposition", "Require", "User-Agent"];

/// The group session that an INVITE may ask to re-join (clause 8.2.2.7.1): its Request-URI, a Contact of ours resolved
/// (AMB-26). `None` with a list of participants: that is a new group session. Whether there is such a session, and
/// whether it is this user's (AMB-27), is not known here.
pub(crate) fn focus(cx: &Context<'_>, request: &Request) -> Option<String> {
    let body = sdp::split_body(request.headers.get("Content-Type"), &request.body).ok()?;
    let lists = |part: &sdp::Part| part.media_type().eq_ignore_ascii_case("application/resource-lists+xml");
    if body.others.iter().any(lists) {
        return None;
    }
    destination(cx, request).ok()
}

/// How a session stands for a client that wants to join it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It goes on, and we are connected in it without a client of its own.
    Connected,
    /// It goes on with a client.
    Attended,
    /// It goes on, but the controlling function says that it is inactive.
    Inactive,
}

impl Session {
    /// How it stands, if it is the live group session with this identity.
    pub(crate) fn standing(&self, focus: &str) -> Option<Standing> {
        let same = self.invitation.group && !self.ending && self.legs[F].is_established();
        if !same || self.legs[F].dialog.target != focus {
            return None;
        }
        Some(match () {
            () if !self.legs[A].is_closed() && !self.is_lost() => Standing::Attended,
            () if self.inactive => Standing::Inactive,
            () => Standing::Connected,
        })
    }

    /// Clause 8.2.2.7.2, active 1: joins the client to the ongoing session. The controlling function sees nothing of it.
    pub(crate) fn rejoin(
        &mut self,
        cx: &mut Context<'_>,
        tx: ServerTx,
        from: &Peer,
        request: &Request,
        originator: Originator,
    ) {
        if let Err(mut refusal) = self.join(cx, tx, from, request, originator) {
            cx.tagged(request, &mut refusal);
            cx.respond(tx, *refusal);
        }
        self.settle(cx);
    }

    fn join(
        &mut self,
        cx: &mut Context<'_>,
        tx: ServerTx,
        from: &Peer,
        request: &Request,
        originator: Originator,
    ) -> Result<(), Box<Response>> {
        let Arrived { mut leg, offered, .. } = arrive(cx, tx, from, request, &originator.user)?;
        let Some(agreed) = self.far_description().filter(|_| self.is_offered(&offered.sdp)) else {
            return Err(Box::new(cx.warning(request, 488, "The media of the session have to be offered")));
        };
        let contact = self.focus_contact();
        // The client may have been in the session as one of the other devices.
        let same = |other: &super::Leg| other.role == LegRole::Device && other.device == leg.device;
        let before: Vec<usize> = (0..self.legs.len()).filter(|no| same(&self.legs[*no])).collect();
        for no in before {
            self.close_lines(cx, no);
            self.hang_up(cx, no, None, Close::Ended);
        }
        leg.counters = self.legs[A].counters;
        self.clients.retain(|_, client| client.leg != A);
        self.legs[A] = leg;
        for name in OF_THE_CLIENT {
            self.invitation.headers.remove(name);
            self.invitation.headers.copy(&request.headers, name);
        }
        self.invitation.from = *from;
        self.invitation.asserted = originator.asserted;
        self.invitation.offerless = offered.offerless;
        // As if the controlling function had answered.
        let mut answer = Response::new(200).with("Contact", contact);
        for name in ["Conversation-ID", "Contribution-ID", "InReplyTo-Contribution-ID"] {
            answer.headers.copy(&self.invitation.headers, name);
        }
        self.answer_originator(cx, tx, &agreed, &answer);
        self.client_is_back(cx);
        self.deliver_directly(cx);
        Ok(())
    }

    /// Does a description have every stream of the session, in its place?
    fn is_offered(&self, offered: &Sdp) -> bool {
        let lines = offered.msrp_lines();
        let there = |index: usize| lines.iter().any(|line| line.index == index && !line.is_rejected());
        self.streams.iter().enumerate().filter(|(_, stream)| stream.is_some()).all(|(index, _)| there(index))
    }

    /// The controlling function's Contact, with the parameters that it had in its 200.
    fn focus_contact(&self) -> String {
        let before = NameAddr::parse(&self.legs[A].contact);
        let params = before.map(|contact| contact.params_text()).unwrap_or_default();
        format!("<{}>{params}", self.legs[F].dialog.target)
    }

    /// The session is inactive, and its user starts it again: what is left of this one ends.
    pub(crate) fn give_way(&mut self, cx: &mut Context<'_>) {
        self.complete_record(cx, GroupEnd::Inactive, None);
        self.end(cx, None, Close::Ended);
        self.settle(cx);
    }
}

/// Our own Contact that stands for a controlling function which has not answered yet (AMB-28).
pub(super) fn unanswered_contact(focus: &str) -> String {
    format!("<{focus}>;isfocus")
}
