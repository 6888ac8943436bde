//! Client transactions: INVITE (RFC 3261 section 17.1.1 with RFC 6026 section 7.2) and the others (17.1.2).

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{Engine, Forwarded, Opened, Owner, Route, Way, tag_of, timers::Deadlines};
use crate::{
    core::{
        event::{ClientTx, NoAnswer, Peer, SipEvent},
        room::give_back,
        sip::{Method, Request, Response},
    },
    sip::{via::Via, write},
};

/// Dialogs that one INVITE may make by forking; further 2xx are dropped.
pub(super) const MAX_FORKS: usize = 16;

/// A client transaction inside the engine; a CANCEL has one that the core does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ClientId(pub(super) u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The hop is being resolved: nothing sent yet.
    Resolving,
    /// Sent, nothing heard.
    Calling,
    /// A 1xx has come.
    Proceeding,
    /// A final response has come, for an INVITE other than 2xx.
    Completed,
    /// A 2xx for the INVITE has come.
    Accepted,
}

/// The wish of the core to cancel.
#[derive(Debug)]
pub(super) enum Cancel {
    No,
    /// As soon as a provisional response is here, with this Reason.
    Wanted(Option<String>),
    Sent,
}

/// The ACK of one dialog's 2xx.
#[derive(Debug)]
pub(super) struct StoredAck {
    pub(super) to_tag: Box<str>,
    pub(super) way: Way,
    pub(super) octets: Bytes,
}

/// One client transaction.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) tx: Option<ClientTx>,
    pub(super) method: Method,
    /// It is passed on for somebody else.
    pub(super) forwarded: Option<Forwarded>,
    pub(super) state: State,
    pub(super) request: Request,
    pub(super) routes: VecDeque<Route>,
    /// The present route, where it is an old connection that the peer may just have closed.
    pub(super) retry: Option<Route>,
    pub(super) way: Option<Way>,
    pub(super) branch: Box<str>,
    pub(super) via: String,
    pub(super) octets: Bytes,
    pub(super) interval: Duration,
    pub(super) cancel: Cancel,
    /// To tags of the 2xx reported.
    pub(super) forks: Vec<Box<str>>,
    pub(super) acks: Vec<StoredAck>,
    /// The ACK for a final response other than 2xx.
    pub(super) ack: Option<Bytes>,
    pub(super) deadlines: Deadlines,
}

impl Client {
    fn is_reliable(&self) -> bool {
        self.way.is_some_and(|way| way.is_reliable())
    }
}

impl Engine {
    /// The core wants a request sent. [`Engine::routes`] follows when the hop is known.
    pub(crate) fn start(&mut self, now: Instant, tx: ClientTx, request: Request) -> ClientId {
        self.next += 1;
        let id = ClientId(self.next);
        // A quarter more than peers may use, so that a flood of theirs cannot stop what has begun.
        let full = self.len_all() >= self.settings.max_transactions + self.settings.max_transactions / 4;
        if full || self.client_txs.contains_key(&tx) {
            let reason = if full { "too many transactions" } else { "the name is taken" };
            self.counters.unreachable.add();
            self.events.push(SipEvent::Unanswered { tx, reason: NoAnswer::Unreachable(reason.to_owned()) });
            return id;
        }
        let mut client = Client::new(Some(tx), request, self.settings.t1);
        client.deadlines.end = Some(now + self.settings.t64());
        self.timers.arm(Owner::Client(id), &mut client.deadlines);
        self.client_txs.insert(tx, id);
        self.clients.insert(id, client);
        id
    }

    /// Where a request may go, best first.
    pub(crate) fn routes(&mut self, now: Instant, id: ClientId, routes: Vec<Route>, why_none: &str) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.routes = routes.into();
            self.next_route(now, id, why_none);
        }
    }

    /// Sends the request to the next route that can be used.
    fn next_route(&mut self, now: Instant, id: ClientId, reason: &str) {
        let mut reason = reason.to_owned();
        loop {
            let Some(client) = self.clients.get_mut(&id) else { return };
            if matches!(client.cancel, Cancel::Wanted(_)) {
                return self.unreachable(id, "cancelled before it was sent".to_owned());
            }
            let Some(route) = client.routes.pop_front() else { return self.unreachable(id, reason) };
            match self.network.open(&route) {
                Ok(opened) => {
                    client.retry = (!opened.fresh && matches!(route, Route::To(..))).then_some(route);
                    return self.send_first(now, id, opened);
                }
                Err(why) => reason = why,
            }
        }
    }

    fn send_first(&mut self, now: Instant, id: ClientId, opened: Opened) {
        let mut branch = format!("z9hG4bK{}{:x}", self.random.hex(8), id.0);
        let Some(client) = self.clients.get_mut(&id) else { return };
        let mut switched = None;
        if let Some(forwarded) = &client.forwarded {
            branch.push('.');
            branch.push_str(&forwarded.mark);
            if let Some(recorded) = forwarded.recorded.as_ref().filter(|_| opened.way.is_reliable()) {
                recorded.switch(switched.insert(client.request.clone()));
            }
        }
        let branch: Box<str> = branch.into();
        self.branches.remove(&(std::mem::take(&mut client.branch), false));
        client.via = via(&opened, &branch);
        client.octets = write::request(switched.as_ref().unwrap_or(&client.request), &client.via);
        client.branch = branch.clone();
        client.way = Some(opened.way);
        client.state = State::Calling;
        client.interval = self.settings.t1;
        client.deadlines.again = (!opened.way.is_reliable()).then(|| now + client.interval);
        client.deadlines.end = Some(now + self.settings.t64());
        self.timers.arm(Owner::Client(id), &mut client.deadlines);
        let octets = client.octets.clone();
        self.branches.insert((branch, false), id);
        self.wait_on(opened.way, id);
        self.send(opened.way, octets, Some(id));
    }

    pub(super) fn wait_on(&mut self, way: Way, id: ClientId) {
        if let Way::Flow { flow, .. } = way {
            self.on_flow.entry(flow).or_default().push(id);
        }
    }

    /// The socket or the connection failed under a client transaction.
    pub(crate) fn send_failed(&mut self, now: Instant, id: ClientId, reason: &str) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        match (client.state, client.method) {
            // Nothing heard yet: the next route, or the same one over a new connection.
            (State::Calling, _) | (State::Proceeding, _) if client.tx.is_none() => self.remove_client(id),
            (State::Calling, _) => {
                if let Some(route) = client.retry.take() {
                    client.routes.push_front(route);
                }
                self.next_route(now, id, reason);
            }
            // The peer answers an INVITE over a new connection; anything else it has answered or forgotten.
            (State::Proceeding, method) if method != Method::Invite => {
                self.unreachable(id, reason.to_owned())
            }
            _ => {}
        }
    }

    fn unreachable(&mut self, id: ClientId, reason: String) {
        if let Some(tx) = self.clients.get(&id).and_then(|c| c.tx) {
            self.counters.unreachable.add();
            self.events.push(SipEvent::Unanswered { tx, reason: NoAnswer::Unreachable(reason) });
        }
        self.remove_client(id);
    }

    fn remove_client(&mut self, id: ClientId) {
        let Some(client) = self.clients.remove(&id) else { return };
        self.timers.disarm(Owner::Client(id), &client.deadlines);
        self.branches.remove(&(client.branch, client.method == Method::Cancel));
        if let Some(tx) = client.tx {
            self.client_txs.remove(&tx);
        }
        self.leave_flow(client.way, id);
        give_back(&mut self.clients);
        give_back(&mut self.client_txs);
        give_back(&mut self.branches);
    }

    fn leave_flow(&mut self, way: Option<Way>, id: ClientId) {
        if let Some(Way::Flow { flow, .. }) = way
            && let Some(waiting) = self.on_flow.get_mut(&flow)
        {
            waiting.retain(|other| *other != id);
            if waiting.is_empty() {
                self.on_flow.remove(&flow);
            }
        }
    }

    /// A response from the network.
    pub(crate) fn response(&mut self, now: Instant, response: Response, via: &Via, from: Peer) {
        self.counters.responses_in.add();
        let method = response.headers.get("CSeq").and_then(|v| v.split_ascii_whitespace().nth(1));
        let key = (Box::from(via.branch()), method == Some("CANCEL"));
        let found = self.branches.get(&key).copied();
        let Some((id, client)) = found.and_then(|id| Some((id, self.clients.get_mut(&id)?))) else {
            return self.counters.stray_responses.add();
        };
        if method != Some(client.method.as_str()) {
            return self.counters.stray_responses.add();
        }
        match (client.method, response.status) {
            (_, 100..=199) => self.provisional(now, id, response, from),
            (Method::Invite, 200..=299) => self.success(now, id, response, from),
            (Method::Invite, _) => self.failure(now, id, response, from),
            _ => self.other_final(now, id, response, from),
        }
    }

    fn provisional(&mut self, now: Instant, id: ClientId, response: Response, from: Peer) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if !matches!(client.state, State::Calling | State::Proceeding) {
            return self.counters.retransmissions_in.add();
        }
        let first = client.state == State::Calling;
        client.state = State::Proceeding;
        if client.method == Method::Invite {
            client.deadlines.again = None;
            if !matches!(client.cancel, Cancel::Sent) {
                client.deadlines.end = Some(now + self.settings.invite_timeout);
            }
            self.timers.arm(Owner::Client(id), &mut client.deadlines);
        } else if first {
            client.interval = self.settings.t2;
        }
        if let Some(tx) = client.tx {
            self.events.push(SipEvent::Response { tx, from, response });
        }
        self.cancel_now(now, id);
    }

    fn success(&mut self, now: Instant, id: ClientId, response: Response, from: Peer) {
        let to_tag = tag_of(response.headers.get("To"));
        let Some(client) = self.clients.get_mut(&id) else { return };
        match client.state {
            State::Calling | State::Proceeding => {
                client.state = State::Accepted;
                client.deadlines.again = None;
                client.deadlines.end = Some(now + self.settings.t64());
                self.timers.arm(Owner::Client(id), &mut client.deadlines);
                // Only To tags and ACKs are of use from here on.
                client.octets = Bytes::new();
                client.request = Request::new(Method::Invite, "");
                let way = client.way;
                self.leave_flow(way, id);
            }
            State::Accepted => {}
            State::Resolving | State::Completed => return self.counters.stray_responses.add(),
        }
        let Some(client) = self.clients.get_mut(&id) else { return };
        if let (Some(tx), Some(_)) = (client.tx, &client.forwarded) {
            // Who asked acknowledges them, each time (RFC 6026 section 7.2).
            return self.events.push(SipEvent::Response { tx, from, response });
        }
        if client.forks.contains(&to_tag) {
            self.counters.retransmissions_in.add();
            let stored = client.acks.iter().find(|a| a.to_tag == to_tag).map(|a| (a.way, a.octets.clone()));
            if let Some((way, octets)) = stored {
                self.send_again(way, octets, None);
            }
            return;
        }
        if client.forks.len() >= MAX_FORKS {
            return self.counters.stray_responses.add();
        }
        client.forks.push(to_tag);
        if let Some(tx) = client.tx {
            self.events.push(SipEvent::Response { tx, from, response });
        }
    }

    fn failure(&mut self, now: Instant, id: ClientId, response: Response, from: Peer) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let Some(way) = client.way else { return };
        match client.state {
            State::Calling | State::Proceeding => {}
            State::Completed => {
                self.counters.retransmissions_in.add();
                if let Some(ack) = client.ack.clone() {
                    self.send_again(way, ack, None);
                }
                return;
            }
            State::Accepted | State::Resolving => return self.counters.stray_responses.add(),
        }
        let ack = client.make(Method::Ack, response.headers.get("To"), None);
        let octets = write::request(&ack, &client.via);
        client.ack = Some(octets.clone());
        let tx = client.tx.take();
        let keep = if client.is_reliable() { Duration::ZERO } else { self.settings.t64() };
        self.complete(now, id, keep);
        self.send(way, octets, None);
        if let Some(tx) = tx {
            self.client_txs.remove(&tx);
            self.events.push(SipEvent::Response { tx, from, response });
        }
    }

    fn other_final(&mut self, now: Instant, id: ClientId, response: Response, from: Peer) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if !matches!(client.state, State::Calling | State::Proceeding) {
            return self.counters.retransmissions_in.add();
        }
        let tx = client.tx.take();
        let keep = if client.is_reliable() { Duration::ZERO } else { self.settings.t4 };
        self.complete(now, id, keep);
        if let Some(tx) = tx {
            self.client_txs.remove(&tx);
            self.events.push(SipEvent::Response { tx, from, response });
        }
    }

    /// Keeps what absorbs repeated final responses, and lets go of the rest.
    fn complete(&mut self, now: Instant, id: ClientId, keep: Duration) {
        if keep.is_zero() {
            return self.remove_client(id);
        }
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.state = State::Completed;
        client.octets = Bytes::new();
        client.request = Request::new(client.method, "");
        client.deadlines.again = None;
        client.deadlines.end = Some(now + keep);
        self.timers.arm(Owner::Client(id), &mut client.deadlines);
        let way = client.way;
        self.leave_flow(way, id);
    }

    pub(super) fn client_timer(&mut self, now: Instant, id: ClientId) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if client.deadlines.end.is_some_and(|end| end <= now) {
            return self.client_end(now, id);
        }
        let (Some(way), State::Calling | State::Proceeding) = (client.way, client.state) else { return };
        client.interval = match (client.method, client.state) {
            (Method::Invite, _) => client.interval * 2,
            (_, State::Proceeding) => self.settings.t2,
            _ => (client.interval * 2).min(self.settings.t2),
        };
        client.deadlines.again = Some(now + client.interval);
        self.timers.arm(Owner::Client(id), &mut client.deadlines);
        let octets = client.octets.clone();
        self.send_again(way, octets, Some(id));
    }

    fn client_end(&mut self, now: Instant, id: ClientId) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if matches!(client.state, State::Resolving | State::Calling | State::Proceeding) {
            let ringing = client.method == Method::Invite && client.state == State::Proceeding;
            if ringing && matches!(client.cancel, Cancel::No) {
                // It has rung for ever: cancel it, the 487 or the end of the CANCEL finishes it.
                client.cancel = Cancel::Wanted(None);
                return self.cancel_now(now, id);
            }
            if let Some(tx) = client.tx {
                self.counters.timeouts.add();
                self.events.push(SipEvent::Unanswered { tx, reason: NoAnswer::TimedOut });
            }
        }
        self.remove_client(id);
    }
}

impl Client {
    pub(super) fn new(tx: Option<ClientTx>, request: Request, t1: Duration) -> Client {
        Client {
            tx,
            method: request.method,
            forwarded: None,
            state: State::Resolving,
            request,
            routes: VecDeque::new(),
            retry: None,
            way: None,
            branch: Box::default(),
            via: String::new(),
            octets: Bytes::new(),
            interval: t1,
            cancel: Cancel::No,
            forks: Vec::new(),
            acks: Vec::new(),
            ack: None,
            deadlines: Deadlines::default(),
        }
    }
}

pub(super) fn via(opened: &Opened, branch: &str) -> String {
    let rport = if opened.way.is_reliable() { "" } else { ";rport" };
    format!("{};branch={branch}{rport}", opened.sent)
}
