//! A CPM session of a served user that we stay in the media path of (clause 8.2.2): a B2BUA between the device
//! that originated it (leg A), the other CPM entity (leg F) and the user's other devices (legs B, C ...).
//!
//! One file per clause:
//!
//! - `invitation`: 8.2.2.1, from the INVITE received to the INVITE sent; with `service` (step 4.h), `routing`
//!   (step 4.k) and `offer` (5.2.1.2)
//! - `answer`: 8.2.2.1, from the far end's response to ours, and the ACK
//! - `provisional` and `early`: provisional responses and their PRACKs (RFC 3262), on leg A and on the others
//! - `delivery`: 8.2.2.1 step 8 with 8.3.2.1, direct delivery to the user's other devices
//! - `interworking`: 8.2.2.1, error part, and 6.5, the way to the ISF; with `iwf_answer` (200 part step 1),
//!   `iwf_bye` (8.2.2.3 step 3), `iwf_change` (8.2.2.5 step 4) and `legs` (which stream belongs to which IWF)
//! - `cancel`: 8.2.2.2 (RFC 3261 section 9)
//! - `bye`: 8.2.2.3; `connection_loss`: its step 4
//! - `storing`: 8.5, the record of the session in the message store; `groups`: what is left of a group session
//! - `timer`: 8.2.2.4 and RFC 4028
//! - `modification`: 8.2.2.5; `early_update`: before there is a session; `forsaken`: whose asker has left
//! - `participants`: 8.2.2.6
//! - `rejoin`: 8.2.2.7; with `missed`, what a client that is back gets first, and `held`, a re-join that waits until
//!   its client says something
//! - `passing`: other requests inside the dialog
//!
//! A session is plain data. It does not know how it is found: the shard derives its indexes from [`Session::keys`].

mod answer;
mod bye;
mod cancel;
mod connection_loss;
mod context;
mod delivery;
mod early;
mod early_update;
mod forsaken;
mod groups;
mod held;
mod interworking;
mod invitation;
mod iwf_answer;
mod iwf_bye;
mod iwf_change;
mod leg;
mod legs;
mod media;
mod missed;
mod modification;
mod offer;
mod options;
mod own_change;
mod participants;
mod passing;
mod provisional;
mod recording;
mod rejoin;
mod routing;
mod service;
mod storing;
#[cfg(test)]
mod tests;
mod timer;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

pub use context::{Context, Ids};
pub use groups::GroupEnd;
pub(crate) use invitation::{
    FROM_TRUSTED, IN_TRUST_DOMAIN, NOT_AUTHORISED, Originator, admit, check_again, invite,
};
pub(crate) use media::{Reach, own_uri};
pub(crate) use options::options;
pub(crate) use rejoin::{Standing, focus};
pub(crate) use routing::{destination, next_hop};

use self::{
    bye::Farewell,
    connection_loss::Lost,
    early::Early,
    interworking::Interworking,
    invitation::{Invitation, SentInvite},
    iwf_bye::GivingUp,
    leg::{Close, F, Leg, LegNo, LegState},
    media::Stream,
    missed::Missed,
    modification::Change,
    participants::Subscription,
    passing::{Pass, PassMethod, Several},
    provisional::Reliable,
    storing::Storing,
};
use super::{
    Event, Time,
    event::{ClientTx, LegKey, LegRole, MediaEvent, NoAnswer, ServerTx, SipEvent},
    groups::EndedGroup,
    sip::{DialogError, Headers, Method, Request, Response},
    store::OrderId,
    view::{SessionMode, SessionView},
};

/// One CPM session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Session {
    id: u64,
    started: Time,
    /// What the originating device asked for.
    invitation: Invitation,
    /// Leg A, leg F, and then one per device ever invited and per further IWF, as they came.
    legs: Vec<Leg>,
    /// By m-line index; `None` where we do not carry the line.
    streams: Vec<Option<Stream>>,
    /// Our requests that have no final response yet, and INVITEs that a fork may still answer.
    clients: BTreeMap<ClientTx, Client>,
    /// What is known of its interworking.
    interworking: Interworking,
    /// A BYE that waits for the other side's answer.
    farewell: Option<Farewell>,
    /// It is being ended: nothing new begins.
    ending: bool,
    /// What the message store has to do with it.
    storing: Storing,
    /// It goes on for a client that is lost.
    lost: Option<Lost>,
    /// What that client is to get when it is back.
    missed: Missed,
    /// The controlling function says that the group session is inactive.
    inactive: bool,
    /// The INVITE for the far end, until the client says something.
    held: Option<Box<SentInvite>>,
    /// Who takes part in it, as the controlling function tells us.
    subscription: Option<Subscription>,
    /// Call-ID and our tag of subscriptions that have ended, until the shard has taken note of them.
    unsubscribed: Vec<(String, String)>,
    /// Reliable provisional responses to the originating device.
    reliable: Option<Reliable>,
    /// Early dialogs of INVITEs of ours.
    early: Vec<Early>,
    /// Requests of the originating device that several IWFs are asked.
    passing: BTreeMap<ServerTx, Several>,
    /// Whose REFER the originating device has taken last: its NOTIFYs go there.
    referrer: Option<LegNo>,
    /// Its end as a group session, until the shard has taken note of it.
    ended_group: Option<EndedGroup>,
}

/// A request of ours.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Client {
    leg: LegNo,
    work: Work,
    /// Without an answer till then, the shell's word is not waited for any longer.
    until: Time,
}

/// What a request of ours is for.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Work {
    /// An INVITE that was answered 2xx; forks may answer it too.
    Answered,
    /// BYE for the leg.
    Bye,
    /// re-INVITE or UPDATE on behalf of the other side (clause 8.2.2.5).
    Change(Box<Change>),
    /// re-INVITE of our own that concerns this leg only: of a device after a change (clause 8.2.2.5 step 6), of an
    /// IWF whose streams are settled.
    Own,
    /// A change whose asker has left; is it cancelled?
    Forsaken { change: Box<Change>, cancelled: bool },
    /// The INVITE that makes the leg.
    Invite(Box<SentInvite>),
    /// re-INVITE of the originating device without the streams of IWFs that have left (clause 8.2.2.3 step 3.a).
    GiveUp(Box<GivingUp>),
    /// A request inside the dialog on behalf of the other side.
    Pass(Pass),
    /// PRACK for a provisional response.
    Prack,
    /// Session refresh (RFC 4028).
    Refresh { invite: bool },
    /// SUBSCRIBE for the participants.
    Subscribe,
}

/// What a session is found by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keys {
    /// The user's address of record.
    pub(crate) user: String,
    /// Call-ID and our tag of each dialog, with its leg.
    pub(crate) dialogs: Vec<(String, String)>,
    pub(crate) clients: Vec<ClientTx>,
    pub(crate) servers: Vec<ServerTx>,
    pub(crate) media: Vec<LegKey>,
    pub(crate) orders: Vec<OrderId>,
}

/// 64*T1 of RFC 3261 and a little: the shell's own timers always come first.
const TRANSACTION: Duration = Duration::from_secs(37);
/// How long an INVITE to the far end may ring (timer C, RFC 3261 section 16.6 step 11).
const RINGING: Duration = Duration::from_secs(181);

impl Session {
    /// Takes one event of this session, and gives out what to do about it.
    pub fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        match event {
            Event::Media(event) => self.media(cx, event),
            Event::Sip(SipEvent::Ack { tx, request, .. }) => self.ack_received(cx, tx, &request),
            Event::Sip(SipEvent::AckMissing { tx }) => self.ack_missing(cx, tx),
            Event::Sip(SipEvent::Cancelled { tx, request }) => self.cancel_received(cx, tx, &request),
            Event::Sip(SipEvent::FlowClosed { .. }) => {}
            Event::Sip(SipEvent::Request { tx, request, .. }) => self.request(cx, tx, &request),
            Event::Sip(SipEvent::Response { tx, response, .. }) => self.response(cx, tx, &response),
            Event::Sip(SipEvent::Unanswered { tx, reason }) => {
                let status = match reason {
                    NoAnswer::TimedOut => 408,
                    NoAnswer::Unreachable(_) => 503,
                };
                self.final_response(cx, tx, &Response::new(status));
            }
            Event::Preferences(_) => self.wishes_known(cx),
            Event::Store(outcome) => {
                self.stored(cx, &outcome);
                self.intercepted_stored(cx, &outcome);
            }
            Event::Tick => self.tick(cx),
        }
        self.settle(cx);
    }

    /// When to come back with [`Event::Tick`].
    pub fn deadline(&self) -> Option<Time> {
        let clients = self.clients.values().map(|client| client.until);
        let acks = self.legs.iter().filter_map(|leg| leg.unacked.map(|unacked| unacked.until));
        let timers = self.legs.iter().filter(|leg| leg.is_established() && !self.ending);
        let timers = timers.filter_map(|leg| leg.timer.as_ref().map(timer::SessionTimer::deadline));
        let store = self.storing.until();
        let subscription = self.subscription.as_ref().filter(|_| !self.ending);
        let subscription = subscription.and_then(Subscription::deadline);
        let lost = self.lost.as_ref().and_then(Lost::until);
        // While the store is waited for, the farewell is not looked at.
        let farewell = self.farewell.as_ref().map(Farewell::until).filter(|_| store.is_none());
        let interworking = self.interworking.deadline().filter(|_| !self.ending);
        let progress = self.reliable.as_ref().and_then(Reliable::deadline);
        let wishes = self.storing.asked_until();
        let again = self.ask_again_at();
        let waits = [store, lost, subscription, interworking, progress, wishes, again];
        clients.chain(acks).chain(timers).chain(farewell).chain(waits.into_iter().flatten()).min()
    }

    /// Is everything said and released?
    pub(crate) fn is_over(&self) -> bool {
        self.farewell.is_none()
            && self.legs.iter().all(Leg::is_closed)
            && self.clients.values().all(|client| matches!(client.work, Work::Answered))
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn keys(&self) -> Keys {
        let mut keys = Keys { user: self.invitation.user.clone(), ..Keys::default() };
        for leg in &self.legs {
            if !leg.is_closed() {
                keys.dialogs.push((leg.dialog.call_id.clone(), leg.dialog.local_tag.clone()));
            }
            keys.servers.extend(leg.asked.iter());
            keys.servers.extend(leg.unacked.iter().map(|unacked| unacked.tx));
            keys.media.extend(leg.lines.iter().flatten().map(|line| line.key));
        }
        keys.dialogs.extend(self.subscription.as_ref().and_then(Subscription::key));
        keys.clients.extend(self.clients.keys());
        keys.orders.extend(self.storing.orders());
        keys.orders.extend(self.lost.iter().flat_map(Lost::orders));
        keys
    }

    /// The name of the leg that carries this MSRP leg.
    pub(crate) fn leg_name(&self, media: LegKey) -> Option<&str> {
        let carries = |leg: &&Leg| leg.lines.iter().flatten().any(|line| line.key == media);
        self.legs.iter().find(carries).map(|leg| leg.name.as_str())
    }

    pub(crate) fn view(&self, now: Time) -> SessionView {
        let state = match () {
            () if self.ending => "ending",
            () if self.is_lost() => "client lost",
            () if self.held.is_some() => "waiting for a message",
            () if self.fars().any(|no| self.legs[no].is_established()) => "established",
            () => "inviting",
        };
        SessionView {
            id: self.id,
            mode: SessionMode::B2bua,
            originator: self.invitation.user.clone(),
            destination: self.invitation.destination.clone(),
            conversation_id: self.invitation.headers.get("Conversation-ID").map(str::to_owned),
            contribution_id: self.invitation.headers.get("Contribution-ID").map(str::to_owned),
            age_seconds: now.saturating_since(self.started).as_secs(),
            state: state.to_owned(),
            recorded: self.records_messages(),
            legs: self.legs.iter().map(Leg::view).collect(),
        }
    }

    /// The leg whose dialog a request belongs to: the To tag is ours.
    fn leg_of(&self, request: &Request) -> Option<LegNo> {
        let (call_id, tag) = (request.call_id(), request.to_tag()?);
        let ours =
            |leg: &Leg| leg.dialog.call_id == call_id && leg.dialog.local_tag == tag && !leg.is_closed();
        // Dialogs that come from one INVITE differ in the peer's tag alone.
        let peer = request.from_tag();
        let exact = self.legs.iter().position(|leg| ours(leg) && leg.dialog.remote_tag == peer);
        exact.or_else(|| self.legs.iter().position(ours))
    }

    /// A request inside one of our dialogs.
    fn request(&mut self, cx: &mut Context<'_>, tx: ServerTx, request: &Request) {
        if self.subscription.as_ref().is_some_and(|subscription| subscription.owns(request)) {
            return self.notified(cx, tx, request);
        }
        let Some(no) = self.leg_of(request) else { return cx.refuse(tx, request, 481) };
        if let Err(error) = self.receive_in_dialog(no, request) {
            let status = match error {
                DialogError::Contact | DialogError::Incomplete => 400,
                DialogError::Order => 500,
                DialogError::Tag => 481,
            };
            return cx.refuse(tx, request, status);
        }
        self.legs[no].learn(&request.headers);
        match request.method {
            Method::Bye => self.bye_received(cx, no, tx, request),
            Method::Invite | Method::Update => self.modification_received(cx, no, tx, request),
            Method::Info => self.pass(cx, no, tx, request, PassMethod::Info),
            Method::Message => self.pass(cx, no, tx, request, PassMethod::Message),
            Method::Notify => self.pass(cx, no, tx, request, PassMethod::Notify),
            Method::Refer => self.pass(cx, no, tx, request, PassMethod::Refer),
            Method::Options => cx.respond(tx, capabilities(self.legs[no].response(200, &cx.config.product))),
            Method::Prack => self.prack_received(cx, no, tx, request),
            Method::Other(_) => {
                // A user agent passes on nothing that it does not understand (RFC 3261 section 8.2.1).
                let response = self.legs[no].response(501, &cx.config.product).with("Allow", ALLOW);
                cx.respond(tx, response);
            }
            Method::Ack | Method::Cancel | Method::Publish | Method::Register | Method::Subscribe => {
                let response = self.legs[no].response(405, &cx.config.product).with("Allow", ALLOW);
                cx.respond(tx, response);
            }
        }
    }

    fn response(&mut self, cx: &mut Context<'_>, tx: ClientTx, response: &Response) {
        if !response.is_provisional() {
            return self.final_response(cx, tx, response);
        }
        let Some(client) = self.clients.get_mut(&tx) else { return };
        let no = client.leg;
        if response.status == 100 || !matches!(client.work, Work::Invite(_) | Work::Answered) {
            return;
        }
        let waits =
            no == F && !matches!(client.work, Work::Answered) && self.legs[F].state == LegState::Inviting;
        if waits {
            client.until = cx.now + RINGING;
        }
        if self.acknowledge_progress(cx, tx, no, response) && waits {
            self.far_progress(cx, response);
        }
    }

    /// A final response, or ours in the place of one that did not come.
    fn final_response(&mut self, cx: &mut Context<'_>, tx: ClientTx, response: &Response) {
        let Some(Client { leg, work, until }) = self.clients.remove(&tx) else { return };
        let response = &*self.with_early_answer(tx, response);
        match work {
            Work::Answered => {
                self.fork_answered(cx, tx, leg, response);
                self.clients.insert(tx, Client { leg, work, until });
            }
            Work::Bye => {
                if let LegState::Ending(why) = self.legs[leg].state {
                    self.close_leg(cx, leg, why);
                }
            }
            Work::Change(change) => self.change_answered(cx, tx, leg, *change, response),
            Work::Forsaken { change, .. } => self.forsaken_answered(cx, tx, leg, *change, response),
            Work::GiveUp(given) => self.given_up(cx, tx, leg, *given, response),
            Work::Invite(sent) => {
                if response.is_success() {
                    let dialog = self.legs[leg].dialog.clone();
                    self.legs[leg].dialog = self.counted_on(tx, response, dialog);
                    let until = cx.now + TRANSACTION;
                    self.clients.insert(tx, Client { leg, work: Work::Answered, until });
                }
                match self.legs[leg].role {
                    LegRole::Far if leg != F => self.iwf_answered(cx, tx, leg, *sent, response),
                    LegRole::Far | LegRole::Originator => self.far_answered(cx, tx, *sent, response),
                    LegRole::Device => self.device_answered(cx, tx, leg, *sent, response),
                }
            }
            Work::Own => self.own_change_answered(cx, tx, leg, response),
            Work::Pass(pass) => self.passed_answered(cx, &pass, response),
            // Whatever it says: the INVITE's own answer decides.
            Work::Prack => {}
            Work::Refresh { invite } => self.refresh_answered(cx, tx, leg, invite, response),
            Work::Subscribe => self.subscribe_answered(cx, response),
        }
    }

    fn tick(&mut self, cx: &mut Context<'_>) {
        self.store_due(cx);
        self.wishes_due(cx);
        self.intercepted_due(cx);
        self.subscription_due(cx);
        self.progress_due(cx);
        let due = |client: &Client| client.until <= cx.now;
        let late: Vec<ClientTx> = self.clients.iter().filter(|(_, c)| due(c)).map(|(tx, _)| *tx).collect();
        for tx in late {
            match self.clients.get(&tx).map(|client| (client.leg, &client.work)) {
                Some((leg, Work::Invite(_))) if self.legs[leg].state == LegState::Inviting => {
                    self.give_up_invite(cx, leg);
                }
                Some((_, Work::Answered)) => {
                    self.clients.remove(&tx);
                }
                Some(_) => self.final_response(cx, tx, &Response::new(408)),
                None => {}
            }
        }
        for no in 0..self.legs.len() {
            if let Some(unacked) = self.legs[no].unacked.filter(|unacked| unacked.until <= cx.now) {
                self.ack_missing(cx, unacked.tx);
            }
            self.timer_due(cx, no);
            self.ask_again_due(cx, no);
        }
        self.gather(cx);
    }

    fn media(&mut self, cx: &mut Context<'_>, event: MediaEvent) {
        match event {
            MediaEvent::Delivered { number, .. } => self.delivered(cx, number),
            MediaEvent::Intercepted { stream, number, message, .. } => {
                self.intercepted(cx, stream, number, *message);
            }
            MediaEvent::LegClosed { leg, counters } => {
                if let Some(no) = self.leg_with(leg) {
                    self.legs[no].counters.add(&counters);
                }
            }
            MediaEvent::LegDown { leg, reason, counters } => self.media_down(cx, leg, reason, &counters),
            MediaEvent::LegUp { .. } => {}
            MediaEvent::Resumed { leg } => self.resumed(leg),
            MediaEvent::Waiting { .. } => self.client_speaks(cx),
        }
    }

    /// Remembers a request of ours and sends it.
    fn send(
        &mut self,
        cx: &mut Context<'_>,
        leg: LegNo,
        work: Work,
        (request, hop): (Request, super::event::Hop),
    ) -> ClientTx {
        let tx = cx.ids.client();
        let until = cx.now + TRANSACTION;
        self.clients.insert(tx, Client { leg, work, until });
        cx.request(tx, request, hop);
        tx
    }

    /// Closes what has nothing left to wait for; after every event.
    fn settle(&mut self, cx: &mut Context<'_>) {
        self.cancel_forsaken(cx);
        self.forget_early();
        self.settle_iwfs(cx);
        self.say_farewell(cx);
        if self.ending {
            self.unsubscribe(cx);
        }
        let far = |leg: &&Leg| leg.role == LegRole::Far;
        let nobody = self.legs.iter().all(|leg| far(&leg) || !leg.is_alive());
        let far_left = self.legs.iter().filter(far).any(|leg| !leg.is_closed());
        if !self.ending && !self.is_lost() && nobody && far_left {
            self.end(cx, None, Close::Ended);
        }
        if self.legs.iter().all(Leg::is_closed) {
            self.close_streams(cx);
        }
    }
}

/// What we can do, for OPTIONS and 2xx.
pub(crate) fn capabilities(mut response: Response) -> Response {
    let headers: &mut Headers = &mut response.headers;
    headers.push("Allow", ALLOW);
    headers.push("Accept", "application/sdp, multipart/mixed, application/resource-lists+xml");
    headers.push("Supported", "timer, 100rel, recipient-list-invite");
    response
}

/// Methods that we take.
pub(crate) const ALLOW: &str =
    "ACK, BYE, CANCEL, INFO, INVITE, MESSAGE, NOTIFY, OPTIONS, PRACK, REFER, UPDATE";
