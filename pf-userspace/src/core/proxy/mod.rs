//! Sessions of a served user that we do not stay in the media path of (clause 8.2.2.1 step 5): a stateful SIP proxy
//! (RFC 3261 section 16) on the path of their signalling. It changes no body, makes no BYE, and knows nothing of media.
//!
//! - `forwarding`: what is looked at before a request is passed on, and what changes (sections 16.3, 16.6)
//! - `route`: Record-Route and Route (16.4)
//! - `responses`: what comes back, timer C, CANCEL (16.7 to 16.10)
//! - `trust`: what does not cross the edge of the core's trust domain
//! - `session`: what is remembered of a session
//!
//! Requests inside a dialog pass by what their Route says: that a session was forgotten, or the process started again,
//! disturbs nobody.

mod forwarding;
pub(crate) mod responses;
mod route;
mod session;
mod trust;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use self::{forwarding::Onward, responses::Pending, route::Side, session::Proxied};
use super::{
    Time,
    config::CoreConfig,
    event::{ClientTx, FlowId, Forward, NoAnswer, Peer, ServerTx, SipCommand},
    identity::said_identities,
    room::give_back,
    session::{Context, Originator, check_again},
    sip::{Method, Request, Response},
    view::SessionView,
};

/// All that is passed on at present.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxy {
    pending: BTreeMap<ServerTx, Passing>,
    clients: HashMap<ClientTx, ServerTx>,
    sessions: BTreeMap<u64, Proxied>,
    /// By Call-ID and the caller's tag.
    dialogs: HashMap<(String, String), u64>,
    /// Sessions that may be forgotten, the one longest unused first.
    established: BTreeSet<(Time, u64)>,
    deadlines: BTreeSet<(Time, Due)>,
    /// What `established` and `deadlines` hold of each session.
    armed: HashMap<u64, (Option<Time>, Option<Time>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Pending(ServerTx),
    Session(u64),
}

/// A request with what it means for a session of ours.
#[derive(Clone, Debug)]
struct Passing {
    responses: Pending,
    session: Option<u64>,
    /// The INVITE that makes the session's dialogs.
    first: bool,
    /// The tag of the one who answered, for a request inside the dialog.
    dialog: Option<String>,
    /// Tags whose 2xx the session has heard of: a repeated one says nothing new.
    told: Vec<String>,
    armed: Option<Time>,
}

/// 2xx of different tags to one request that count for its session.
const MAX_TOLD: usize = 16;

/// Is this a request (or ACK) inside a dialog that we are on the path of as a proxy?
pub(crate) fn is_inside(config: &CoreConfig, request: &Request) -> bool {
    route::recorded(&config.secret, request).is_some()
}

impl Proxy {
    /// Clause 8.2.2.1 step 5: the INVITE that begins a session is passed on.
    pub(crate) fn invite(
        &mut self,
        cx: &mut Context<'_>,
        tx: ServerTx,
        from: &Peer,
        request: &Request,
        originator: Originator,
    ) {
        let onward = match forwarding::first(cx, from, request, &originator.asserted) {
            Ok(onward) => onward,
            Err(refusal) => return cx.respond(tx, *refusal),
        };
        let id = cx.ids.session();
        let Originator { user, asserted } = originator;
        let session = Proxied::new(cx.now, id, &user, &asserted, request, from.flow);
        self.dialogs.insert((session.call_id.clone(), session.caller_tag.clone()), id);
        self.sessions.insert(id, session);
        self.pass(cx, tx, from, request, onward, (Some(id), true, None));
        self.settle(id);
    }

    /// A request inside a dialog (clause 8.2.2.3 for a BYE, 8.2.2.5 for a re-INVITE).
    pub(crate) fn request(&mut self, cx: &mut Context<'_>, tx: ServerTx, from: &Peer, request: &Request) {
        let Some(side) = route::recorded(&cx.config.secret, request) else {
            return cx.refuse(tx, request, 481);
        };
        let (session, dialog) = self.session_of(request, side);
        // Clause 8.2.2.5 step 1: the checks of 8.2.2.1 again.
        if request.method == Method::Invite && side == Side::Caller {
            let checked = match session.and_then(|id| self.sessions.get(&id)) {
                Some(session) => check_again(cx, request, &session.user, &session.asserted),
                // It was forgotten: what the request says of its sender is looked at.
                None => said_identities(cx.config, request, from)
                    .iter()
                    .try_for_each(|address| check_again(cx, request, address, &[])),
            };
            if let Err(refusal) = checked {
                return cx.respond(tx, *refusal);
            }
        }
        let onward = match forwarding::inside(cx, from, request, side, self.flow(session)) {
            Ok(onward) => onward,
            Err(refusal) => return cx.respond(tx, *refusal),
        };
        if let Some(session) = session.and_then(|id| self.sessions.get_mut(&id)) {
            session.used = cx.now;
        }
        self.pass(cx, tx, from, request, onward, (session, false, Some(dialog)));
        session.into_iter().for_each(|id| self.settle(id));
    }

    /// The ACK of a 2xx goes from end to end.
    pub(crate) fn ack(&mut self, cx: &mut Context<'_>, from: &Peer, request: &Request) {
        let Some(side) = route::recorded(&cx.config.secret, request) else { return };
        let (session, _) = self.session_of(request, side);
        if let Some(Onward { request, hop, mark, .. }) =
            forwarding::ack(cx, from, request, side, self.flow(session))
        {
            cx.sip(SipCommand::Forward(Forward::Ack { request, hop, mark }));
        }
    }

    /// A response to what was passed on.
    pub(crate) fn response(&mut self, cx: &mut Context<'_>, client: ClientTx, response: Response) {
        let Some(tx) = self.clients.get(&client).copied() else { return };
        let Some(passing) = self.pending.get_mut(&tx) else { return };
        let session = passing.session.and_then(|id| self.sessions.get_mut(&id));
        if let Some(session) = session.filter(|_| !response.is_provisional()) {
            passing.tell(cx.now, session, &response);
        }
        passing.responses.response(cx, client, response);
        self.settle_passing(tx);
    }

    /// No final response will come.
    pub(crate) fn unanswered(&mut self, cx: &mut Context<'_>, client: ClientTx, reason: &NoAnswer) {
        let Some(tx) = self.clients.get(&client).copied() else { return };
        let Some(passing) = self.pending.get_mut(&tx) else { return };
        let session = passing.session.and_then(|id| self.sessions.get_mut(&id));
        if let Some(session) = session {
            passing.tell(cx.now, session, &Response::new(408));
        }
        passing.responses.unanswered(cx, client, reason);
        self.settle_passing(tx);
    }

    /// A CANCEL for an INVITE that was passed on.
    pub(crate) fn cancelled(&mut self, cx: &mut Context<'_>, tx: ServerTx, cancel: &Request) {
        if let Some(passing) = self.pending.get_mut(&tx) {
            passing.responses.cancelled(cx, cancel);
            self.settle_passing(tx);
        }
    }

    /// The process is about to end.
    pub(crate) fn shut_down(&mut self, cx: &mut Context<'_>) {
        let all: Vec<ServerTx> = self.pending.keys().copied().collect();
        for tx in all {
            if let Some(passing) = self.pending.get_mut(&tx) {
                passing.responses.shut_down(cx);
                self.settle_passing(tx);
            }
        }
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, cx: &mut Context<'_>) {
        while let Some((_, due)) = self.deadlines.first().copied().filter(|(at, _)| *at <= cx.now) {
            match due {
                Due::Pending(tx) => {
                    if let Some(passing) = self.pending.get_mut(&tx) {
                        passing.responses.tick(cx);
                    }
                    self.settle_passing(tx);
                }
                Due::Session(id) => {
                    if let Some(session) = self.sessions.get_mut(&id) {
                        session.tick(cx.now);
                    }
                    self.settle(id);
                }
            }
        }
    }

    /// When to come back.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Makes room: the established session that was longest unused is forgotten. `false`: there is none.
    pub(crate) fn forget_one(&mut self) -> bool {
        let Some((_, id)) = self.established.first().copied() else { return false };
        self.forget(id);
        true
    }

    pub(crate) fn has_client(&self, tx: ClientTx) -> bool {
        self.clients.contains_key(&tx)
    }

    pub(crate) fn has_server(&self, tx: ServerTx) -> bool {
        self.pending.contains_key(&tx)
    }

    /// Does an INVITE wait for its final response?
    pub(crate) fn is_busy(&self) -> bool {
        self.pending.values().any(|passing| passing.responses.is_ringing())
    }

    /// Sessions that are known.
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn views(&self, now: Time) -> impl Iterator<Item = SessionView> {
        self.sessions.values().map(move |session| session.view(now))
    }

    /// Sends a request on, and remembers what may come back.
    fn pass(
        &mut self,
        cx: &mut Context<'_>,
        tx: ServerTx,
        from: &Peer,
        received: &Request,
        Onward { request, hop, mark, recorded }: Onward,
        (session, first, dialog): (Option<u64>, bool, Option<String>),
    ) {
        let client = cx.ids.client();
        let trusted = cx.config.trusted.contains(&from.addr.ip());
        let responses = Pending::new(cx.now, tx, received, trusted, &[client]);
        self.clients.insert(client, tx);
        self.pending.insert(tx, Passing { responses, session, first, dialog, told: Vec::new(), armed: None });
        cx.sip(SipCommand::Forward(Forward::Request { tx: client, request, hop, mark, recorded }));
        self.settle_passing(tx);
    }

    /// The session of a request inside a dialog, if it is still known, and the tag of who had answered.
    fn session_of(&self, request: &Request, side: Side) -> (Option<u64>, String) {
        let (from, to) = (request.from_tag().unwrap_or_default(), request.to_tag().unwrap_or_default());
        let (caller, callee) = match side {
            Side::Caller => (from, to),
            Side::Callee => (to, from),
        };
        (self.dialogs.get(&(request.call_id().to_owned(), caller)).copied(), callee)
    }

    fn flow(&self, session: Option<u64>) -> Option<FlowId> {
        self.sessions.get(&session?)?.flow
    }

    /// Brings deadline and indexes in line with a request after something has happened to it.
    fn settle_passing(&mut self, tx: ServerTx) {
        let Some(passing) = self.pending.get_mut(&tx) else { return };
        let deadline = passing.responses.deadline();
        if passing.armed != deadline {
            if let Some(at) = passing.armed {
                self.deadlines.remove(&(at, Due::Pending(tx)));
            }
            self.deadlines.extend(deadline.map(|at| (at, Due::Pending(tx))));
            passing.armed = deadline;
        }
        let session = passing.session;
        let over = passing.responses.is_over();
        if let Some(session) = session.and_then(|id| self.sessions.get_mut(&id))
            && passing.first
            && !passing.responses.is_ringing()
        {
            passing.first = false;
            session.inviting = false;
        }
        if over && let Some(passing) = self.pending.remove(&tx) {
            passing.responses.clients().for_each(|client| {
                self.clients.remove(&client);
            });
            give_back(&mut self.clients);
        }
        session.into_iter().for_each(|id| self.settle(id));
    }

    /// The same for a session.
    fn settle(&mut self, id: u64) {
        let Some(session) = self.sessions.get(&id) else { return };
        if session.is_over() {
            return self.forget(id);
        }
        let deadline = session.deadline();
        let used = (session.is_established() && !session.inviting).then_some(session.used);
        self.arm(id, deadline, used);
    }

    fn forget(&mut self, id: u64) {
        self.arm(id, None, None);
        self.armed.remove(&id);
        if let Some(session) = self.sessions.remove(&id) {
            let key = (session.call_id, session.caller_tag);
            if self.dialogs.get(&key) == Some(&id) {
                self.dialogs.remove(&key);
            }
        }
        give_back(&mut self.armed);
        give_back(&mut self.dialogs);
    }

    fn arm(&mut self, id: u64, deadline: Option<Time>, used: Option<Time>) {
        let armed = self.armed.insert(id, (deadline, used)).unwrap_or_default();
        if let (Some(at), _) = armed {
            self.deadlines.remove(&(at, Due::Session(id)));
        }
        if let (_, Some(at)) = armed {
            self.established.remove(&(at, id));
        }
        self.deadlines.extend(deadline.map(|at| (at, Due::Session(id))));
        self.established.extend(used.map(|at| (at, id)));
    }
}

impl Passing {
    /// What a final response means for the session.
    fn tell(&mut self, now: Time, session: &mut Proxied, response: &Response) {
        let method = self.responses.request.method;
        if response.is_success() {
            let tag = response.to_tag().unwrap_or_default();
            if self.told.len() >= MAX_TOLD || self.told.contains(&tag) {
                return;
            }
            self.told.push(tag);
        }
        match (method, &self.dialog) {
            (Method::Invite, None) if response.is_success() => {
                session.confirmed(now, &response.to_tag().unwrap_or_default(), response);
            }
            (Method::Invite | Method::Update, Some(tag)) if response.is_success() => {
                session.refreshed(now, tag, response);
            }
            // The dialog is over, whoever says so (RFC 3261 sections 12.2.1.2 and 15.1.1).
            (Method::Bye, Some(tag)) if response.is_success() || matches!(response.status, 408 | 481) => {
                session.ended(tag);
            }
            (Method::Invite | Method::Update, Some(tag)) if response.status == 481 => session.ended(tag),
            _ => {}
        }
    }
}

#[cfg(test)]
impl Proxy {
    /// Nothing is remembered, and nothing points to anything.
    pub(crate) fn is_idle(&self) -> bool {
        let Proxy { pending, clients, sessions, dialogs, established, deadlines, armed } = self;
        pending.is_empty()
            && clients.is_empty()
            && sessions.is_empty()
            && dialogs.is_empty()
            && established.is_empty()
            && deadlines.is_empty()
            && armed.is_empty()
    }
}
