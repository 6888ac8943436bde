//! Clause 8.2.2.5: re-INVITE and UPDATE inside a session. Refreshes are answered here; changes are passed on.
//!
//! | step | what | where |
//! |---|---|---|
//! | 1 | the checks of an INVITE again | [`Session::admit_change`], by `invitation::check_again` |
//! | 2.a | B2BUA: a re-INVITE of our own | [`Session::change`] |
//! | 2.b | its Contact | [`Session::offer_in_dialog`] |
//! | 3 | proxy: on, without our Route | `core::proxy` |
//! | 4 | with IWFs, one after the other | `iwf_change` |
//! | 5 | otherwise to the other side; its answer back | [`Session::change`], [`Session::change_answered`] |
//! | 6 | to every connected device | `own_change` |
//! | final response | as for an INVITE | [`Session::change_answered`], [`Session::accept_change`] |
//! | 488 of all IWFs | a new session for a new stream, or 488 | `iwf_change` |
//! | ACK | to who accepted | `answer` |

use serde::{Deserialize, Serialize};

use super::{
    RINGING, Session, TRANSACTION, Work,
    context::Context,
    invitation::check_again,
    iwf_change::Plan,
    leg::{A, Close, LegNo, LegState, OwedAck, Unacked},
    media::read_answer,
    offer::parse_offer,
    timer::{self, SessionTimer},
};
use crate::core::{
    event::{ClientTx, LegRole, ServerTx, SipCommand},
    sdp::{self, Body, Sdp, SetupAttr},
    sip::{Method, Request, Response},
};

/// A change that one side asked for and the other has not answered yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Change {
    /// Who asked.
    pub(super) asker: LegNo,
    pub(super) tx: ServerTx,
    /// It asked with INVITE, so its ACK will come; CSeq number of that INVITE.
    pub(super) number: Option<u32>,
    /// The session description it asked with.
    pub(super) offered: Vec<u8>,
    /// Ours for the other side, made from it.
    pub(super) ours: Vec<u8>,
    /// We passed it on with INVITE, so an ACK is due.
    pub(super) invite: bool,
    /// The asker's session timer, if the change goes through.
    pub(super) timer: SessionTimer,
    /// In a session with IWFs: what is left to do.
    pub(super) plan: Option<Box<Plan>>,
}

impl Session {
    /// A re-INVITE or UPDATE on leg `no`.
    pub(super) fn modification_received(
        &mut self,
        cx: &mut Context<'_>,
        no: LegNo,
        tx: ServerTx,
        request: &Request,
    ) {
        match self.legs[no].state {
            LegState::Established if !self.ending && self.legs[A].state != LegState::Inviting => {}
            LegState::Inviting | LegState::Established if !self.ending => {
                return self.early_modification(cx, no, tx, request);
            }
            _ => return cx.refuse(tx, request, 481),
        }
        let body = match self.admit_change(cx, no, request) {
            Ok(body) => body,
            Err(refusal) => return cx.respond(tx, *refusal),
        };
        let timer = match timer::propose(&request.headers, &cx.config.policy, cx.now) {
            Ok(timer) => timer,
            Err(min) => {
                let refusal = cx.refusal(request, 422).with("Min-SE", min.to_string());
                return cx.respond(tx, refusal);
            }
        };
        let invite = request.method == Method::Invite;
        if invite {
            self.imply_ack(cx, no);
        }
        let leg = &self.legs[no];
        let says_offer = invite || body.sdp.is_some();
        if says_offer && self.is_offering(no) {
            // Two offers at once (RFC 3261 section 14.2).
            return cx.refuse(tx, request, 491);
        }
        let number = invite.then(|| request.cseq().unwrap_or_default());
        match body.sdp {
            None => self.accept_refresh(cx, no, tx, number, timer, invite),
            Some(sdp) if same_description(&sdp, &leg.theirs) => {
                self.accept_refresh(cx, no, tx, number, timer, true);
            }
            Some(sdp) => {
                let offered = match parse_offer(&sdp) {
                    Ok(offered) => offered,
                    Err(bad) => {
                        let refusal = bad.response(cx, request);
                        return cx.respond(tx, refusal);
                    }
                };
                let change = Change {
                    asker: no,
                    tx,
                    number,
                    offered: sdp.to_vec(),
                    ours: Vec::new(),
                    invite: false,
                    timer,
                    plan: None,
                };
                self.change(cx, change, &offered);
            }
        }
    }

    /// Step 1, and what else a re-INVITE or UPDATE has to be: its body, or the refusal. The session lives on then.
    pub(super) fn admit_change(
        &self,
        cx: &mut Context<'_>,
        no: LegNo,
        request: &Request,
    ) -> Result<Body, Box<Response>> {
        if no == A {
            // The checks of 8.2.2.1 again.
            check_again(cx, request, &self.invitation.user, &self.invitation.asserted)?;
        }
        // A recipient list is for new sessions only (RFC 5366 section 5). Provisional responses end here.
        let unsupported = unsupported(request);
        if !unsupported.is_empty() {
            return Err(Box::new(cx.refusal(request, 420).with("Unsupported", unsupported.join(", "))));
        }
        sdp::split_body(request.headers.get("Content-Type"), &request.body)
            .map_err(|_| Box::new(cx.refusal(request, 400)))
    }

    /// Is an offer on its way on leg `no`, whoever made it (RFC 3261 section 14)?
    pub(super) fn is_offering(&self, no: LegNo) -> bool {
        let leg = &self.legs[no];
        let concerns = |client: &super::Client| match &client.work {
            Work::Change(change) => client.leg == no || change.asker == no,
            Work::Forsaken { .. } | Work::GiveUp(_) | Work::Own | Work::Refresh { invite: true } => {
                client.leg == no
            }
            Work::Invite(sent) => sent.change.as_ref().is_some_and(|change| change.asker == no),
            Work::Answered
            | Work::Bye
            | Work::Pass(_)
            | Work::Prack
            | Work::Refresh { invite: false }
            | Work::Subscribe => false,
        };
        leg.asked.is_some() || leg.unacked.is_some() || self.clients.values().any(concerns)
    }

    /// A refresh: nothing changes, so the same description answers it.
    fn accept_refresh(
        &mut self,
        cx: &mut Context<'_>,
        no: LegNo,
        tx: ServerTx,
        number: Option<u32>,
        timer: SessionTimer,
        describe: bool,
    ) {
        let ours = if describe { self.legs[no].ours.clone() } else { Vec::new() };
        self.accept(cx, no, tx, number, timer, ours);
    }

    /// A 2xx of ours inside the dialog, with this session description if there is one.
    fn accept(
        &mut self,
        cx: &mut Context<'_>,
        no: LegNo,
        tx: ServerTx,
        number: Option<u32>,
        timer: SessionTimer,
        description: Vec<u8>,
    ) {
        let leg = &mut self.legs[no];
        let mut ok = leg.response(200, &cx.config.product);
        ok.headers.push("Contact", leg.contact.as_str());
        ok.headers.push("Allow", super::ALLOW);
        timer::accept(&mut ok.headers, &timer);
        if !description.is_empty() {
            ok.headers.push("Content-Type", "application/sdp");
            ok.body = description.into();
        }
        leg.asked = None;
        leg.timer = Some(timer);
        if let Some(number) = number {
            // An answer in the ACK can only say again what is agreed: it is not waited for.
            leg.unacked = Some(Unacked { tx, number, offered: false, until: cx.now + TRANSACTION });
        }
        cx.respond(tx, ok);
    }

    /// A change: steps 2 and 5 between A and F; a device's concerns its own leg only.
    fn change(&mut self, cx: &mut Context<'_>, mut change: Change, offered: &Sdp) {
        let (asker, to) = (change.asker, self.other(change.asker));
        if self.legs[asker].role == LegRole::Device || !self.legs[to].is_established() {
            let Ok(ours) = Sdp::parse(&self.legs[asker].ours) else { return };
            return self.accept_change(cx, &change, offered, &ours);
        }
        if self.legs[to].iwf {
            return self.change_iwfs(cx, change, offered);
        }
        let whole = self.as_whole(asker, offered);
        let offered = &whole;
        if self.is_offering(to) {
            let busy = self.legs[asker].response(491, &cx.config.product);
            return cx.respond(change.tx, busy);
        }
        self.plan_lines(cx, to, offered, |_| Session::device_session_id());
        for stream in self.streams.iter_mut().flatten().filter(|stream| !stream.open && to == A) {
            stream.far = asker;
        }
        self.legs[to].sdp_version += 1;
        let origin = self.legs[to].origin(self.media_host(cx, to));
        let lines = self.legs[to].local_lines(|_| SetupAttr::Actpass);
        change.ours = sdp::offer(offered, &lines, &origin).write().to_vec();
        self.open_lines(cx, to);
        // a. A re-INVITE (an UPDATE for an UPDATE, where the other side takes it).
        change.invite = change.number.is_some() || !self.legs[to].allows_update;
        let method = if change.invite { Method::Invite } else { Method::Update };
        let body = change.ours.clone();
        let request = self.offer_in_dialog(cx, to, method, body);
        if change.number.is_some() {
            self.legs[asker].asked = Some(change.tx);
        }
        let invite = change.invite;
        let tx = self.send(cx, to, Work::Change(Box::new(change)), request);
        if let Some(client) = self.clients.get_mut(&tx).filter(|_| invite) {
            client.until = cx.now + RINGING;
        }
    }

    /// A request with an offer inside the dialog. b. Contact is the one of the first INVITE.
    pub(super) fn offer_in_dialog(
        &mut self,
        cx: &Context<'_>,
        no: LegNo,
        method: Method,
        body: Vec<u8>,
    ) -> (Request, crate::core::event::Hop) {
        let leg = &mut self.legs[no];
        let (mut request, hop) = leg.request(method, &cx.config.product);
        request.headers.push("Contact", leg.contact.as_str());
        request.headers.push("Supported", "timer");
        request.headers.push("Allow", super::ALLOW);
        if let Some(timer) = &leg.timer {
            timer::write(&mut request.headers, timer.interval, 0);
        }
        request.headers.push("Content-Type", "application/sdp");
        request.body = body.into();
        (request, hop)
    }

    /// The other side's answer to a change.
    pub(super) fn change_answered(
        &mut self,
        cx: &mut Context<'_>,
        tx: ClientTx,
        no: LegNo,
        change: Change,
        response: &Response,
    ) {
        if change.plan.is_some() {
            return self.iwf_change_answered(cx, tx, no, change, response);
        }
        if !response.is_success() {
            return self.change_refused(cx, no, &change, response);
        }
        if change.invite {
            self.legs[no].owed_ack = response.cseq().map(|(number, _)| OwedAck { tx, number });
        }
        let answered = read_answer(response.headers.get("Content-Type"), &response.body);
        let (Some((answered, octets)), Ok(offered)) = (answered, parse_offer(&change.offered)) else {
            self.ack_owed(cx, no);
            return self.change_refused(cx, no, &change, &Response::new(500));
        };
        let leg = &mut self.legs[no];
        leg.change_agreed(&change.ours, response, cx.now);
        leg.theirs = octets.to_vec();
        self.drop_rejected(cx, &answered);
        self.connect_lines(cx, no, &answered, |_| SetupAttr::Actpass);
        let before = self.legs[A].ours.clone();
        self.accept_change(cx, &change, &offered, &answered);
        if change.number.is_none() {
            // No ACK will come that ours could follow.
            self.ack_owed(cx, no);
        }
        let agreed = if change.asker == A { &self.legs[A].ours } else { &change.ours };
        if terms(agreed) != terms(&before) {
            self.change_devices(cx);
        }
    }

    /// Our answer to who asked for the change.
    pub(super) fn accept_change(
        &mut self,
        cx: &mut Context<'_>,
        change: &Change,
        offered: &Sdp,
        answered: &Sdp,
    ) {
        let no = change.asker;
        if self.shares(no) {
            self.legs[no].keep_places(offered.line_count());
        }
        let offered = self.without_foreign(no, &self.legs[no].inward(offered));
        let carried = self.without_dropped(&offered);
        self.plan_lines(cx, no, &carried, |_| Session::device_session_id());
        let setups = self.answer_setups(no, &offered);
        let setup = |index: usize| setups.get(index).copied().unwrap_or(SetupAttr::Passive);
        self.legs[no].sdp_version += 1;
        let origin = self.legs[no].origin(self.media_host(cx, no));
        let ours = sdp::answer(&offered, answered, &self.legs[no].local_lines(setup), &origin);
        let ours = self.legs[no].outward(&ours).write();
        self.open_lines(cx, no);
        self.connect_lines(cx, no, &offered, setup);
        self.legs[no].ours = ours.to_vec();
        self.legs[no].theirs.clone_from(&change.offered);
        self.accept(cx, no, change.tx, change.number, change.timer.clone(), ours.to_vec());
    }

    /// The other side refused: so do we, and everything stays as it was.
    fn change_refused(&mut self, cx: &mut Context<'_>, no: LegNo, change: &Change, response: &Response) {
        self.refuse_change(cx, change, response);
        if matches!(response.status, 408 | 481) {
            // The dialog is gone (RFC 3261 section 12.2.1.2).
            self.end(cx, None, Close::Unanswered);
        } else if self.legs[no].timer.is_none() {
            self.legs[no].timer = Some(SessionTimer::new(cx.config.policy.session_expires, true, cx.now));
        }
    }

    /// The refusal of a change, made from this one.
    pub(super) fn refuse_change(&mut self, cx: &mut Context<'_>, change: &Change, response: &Response) {
        self.drop_unused(cx);
        let mut refusal = self.legs[change.asker].response(response.status, &cx.config.product);
        refusal.reason.clone_from(&response.reason);
        for name in ["Warning", "Retry-After", "Reason", "Min-SE"] {
            refusal.headers.copy(&response.headers, name);
        }
        self.legs[change.asker].asked = None;
        cx.respond(change.tx, refusal);
    }

    /// Gives up streams that came with a change and that no peer knows.
    fn drop_unused(&mut self, cx: &mut Context<'_>) {
        for index in 0..self.streams.len() {
            let lines = self.legs.iter().filter_map(|leg| leg.lines.get(index)?.as_ref());
            if self.streams[index].is_some() && lines.clone().all(|line| line.remote.is_none()) {
                self.drop_stream(cx, index);
            }
        }
    }

    /// A CANCEL for a re-INVITE: passed on. Its answer is whatever the other side says in the end.
    pub(super) fn cancel_change(&mut self, cx: &mut Context<'_>, no: LegNo, reason: Option<&str>) {
        let pending = self.clients.iter_mut().find(
            |(_, client)| matches!(&client.work, Work::Change(change) if change.asker == no && change.invite),
        );
        let Some((tx, client)) = pending else { return self.cancel_new_session(cx, no, reason) };
        client.until = cx.now + TRANSACTION;
        if let Work::Change(change) = &mut client.work
            && let Some(plan) = &mut change.plan
        {
            plan.cancelled = true;
        }
        cx.sip(SipCommand::Cancel { tx: *tx, reason: reason.map(str::to_owned) });
    }

    /// A leg ends: what the other side waits for from it, or it from the other side, is answered now.
    pub(super) fn answer_waiting(&mut self, cx: &mut Context<'_>, no: LegNo) {
        let concerns = |leg: LegNo, work: &Work| match work {
            Work::Change(change) => leg == no || change.asker == no,
            Work::Pass(pass) => leg == no || pass.asker == no,
            Work::Forsaken { .. } | Work::GiveUp(_) | Work::Own | Work::Refresh { .. } => leg == no,
            Work::Answered | Work::Bye | Work::Invite(_) | Work::Prack | Work::Subscribe => false,
        };
        let waiting: Vec<ClientTx> =
            self.clients.iter().filter(|(_, c)| concerns(c.leg, &c.work)).map(|(tx, _)| *tx).collect();
        for tx in waiting {
            let Some(client) = self.clients.remove(&tx) else { continue };
            let stays = client.leg != no && self.legs[client.leg].is_established();
            let (asker, server) = match &client.work {
                Work::Change(change) => {
                    let change = change.clone();
                    let answer_to = (change.asker, change.tx);
                    if change.plan.is_some() {
                        self.undo(cx, &change);
                        self.drop_unused(cx);
                    }
                    self.legs[change.asker].asked = None;
                    if stays {
                        self.forsake_change(tx, client, change);
                    }
                    answer_to
                }
                Work::Pass(pass) if pass.several && pass.asker != no => {
                    // The others may still take it.
                    self.passed_answered(cx, &pass.clone(), &Response::new(480));
                    continue;
                }
                Work::Pass(pass) if pass.several && self.passing.remove(&pass.tx).is_none() => continue,
                Work::Pass(pass) => (pass.asker, pass.tx),
                _ => continue,
            };
            let answer = self.legs[asker].response(487, &cx.config.product);
            cx.respond(server, answer);
        }
        self.cancel_new_session(cx, no, None);
    }
}

/// Option tags that a request inside the dialog requires and that mean nothing there.
fn unsupported(request: &Request) -> Vec<&str> {
    let known = |tag: &str| ["timer", "100rel"].iter().any(|known| known.eq_ignore_ascii_case(tag));
    request.headers.list("Require").filter(|tag| !known(tag)).collect()
}

/// Do these two say the same: octet for octet, or by the version in `o=` (RFC 3264 section 8)?
pub(super) fn same_description(new: &[u8], old: &[u8]) -> bool {
    let origin = |sdp: &[u8]| {
        let mut lines = sdp.split(|octet| *octet == b'\n');
        lines.find(|line| line.starts_with(b"o=")).map(|line| line.trim_ascii_end().to_vec())
    };
    new == old || (origin(new).is_some() && origin(new) == origin(old))
}

/// A description without its version: what is agreed.
pub(super) fn terms(sdp: &[u8]) -> Vec<&[u8]> {
    sdp.split(|octet| *octet == b'\n').filter(|line| !line.starts_with(b"o=")).collect()
}
