//! Server transactions: INVITE (RFC 3261 section 17.2.1 with RFC 6026 section 7.1) and the others (17.2.2).

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{Engine, Owner, Way, ack::AckKey, stamp, tag_of, timers::Deadlines};
use crate::{
    core::{
        event::{Peer, ServerTx, SipEvent},
        room::give_back,
        sip::{Headers, Method, Request, Response},
    },
    sip::{via::Via, write},
};

/// 2xx of one INVITE: more than one only where the core forwards those of a fork.
const MAX_SUCCESSES: usize = 16;

/// What makes two requests the same (RFC 3261 section 17.2.3): branch, sent-by and method, and also Call-ID and
/// CSeq number, so that a peer that uses a branch twice is served, and one of RFC 2543 too.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ServerKey(Box<str>);

impl ServerKey {
    fn of(request: &Request, via: &Via) -> ServerKey {
        let method = match request.method {
            Method::Ack | Method::Cancel => Method::Invite,
            method => method,
        };
        let number = request.cseq().unwrap_or_default();
        let call_id = request.call_id();
        let (branch, host, port) = (via.branch(), &via.host, via.port.unwrap_or(0));
        let from = if branch.starts_with("z9hG4bK") { None } else { request.from_tag() };
        let from = from.unwrap_or_default();
        ServerKey(format!("{method} {number} {branch} {host}:{port} {from} {call_id}").into())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing answered yet.
    Trying,
    /// A 1xx sent.
    Proceeding,
    /// A final response sent, for an INVITE other than 2xx.
    Completed,
    /// The ACK for it has come.
    Confirmed,
    /// A 2xx for an INVITE sent.
    Accepted,
}

/// A 2xx for an INVITE, until its ACK.
#[derive(Debug)]
pub(super) struct Success {
    pub(super) key: AckKey,
    pub(super) acked: bool,
    octets: Bytes,
}

/// One server transaction.
#[derive(Debug)]
pub(super) struct Server {
    key: ServerKey,
    merge_key: Option<Box<str>>,
    /// The source, where it is not trusted.
    source: Option<IpAddr>,
    pub(super) invite: bool,
    pub(super) state: State,
    /// The core has sent a 1xx.
    pub(super) progress: bool,
    pub(super) reply: Way,
    pub(super) stamp: Headers,
    /// Tag for our To where the core gives none.
    tag: String,
    /// The response to send again.
    pub(super) last: Option<Bytes>,
    pub(super) successes: Vec<Success>,
    interval: Duration,
    cancelled: bool,
    pub(super) deadlines: Deadlines,
}

impl Engine {
    /// A request from the network, its Via already stamped. `room`: may a new transaction begin?
    pub(crate) fn request(
        &mut self,
        now: Instant,
        request: Request,
        via: &Via,
        from: Peer,
        reply: Way,
        room: bool,
    ) {
        self.counters.requests_in.add();
        let key = ServerKey::of(&request, via);
        let known = self.server_keys.get(&key).copied();
        match (request.method, known) {
            (Method::Ack, known) => self.ack(now, known, request, from),
            (Method::Cancel, known) => self.cancelled(known, request, reply),
            (_, Some(tx)) => self.request_again(tx, reply),
            (_, None) => self.begin(now, key, request, from, reply, room),
        }
    }

    fn begin(&mut self, now: Instant, key: ServerKey, request: Request, from: Peer, reply: Way, room: bool) {
        let source = Some(from.addr.ip()).filter(|ip| !self.settings.trusted.contains(ip));
        let held = source.and_then(|ip| self.per_source.get(&ip)).copied().unwrap_or_default();
        let full = self.len_all() >= self.settings.max_transactions
            || held >= self.settings.max_transactions_per_source;
        if !room || full {
            self.counters.overloaded.add();
            return self.answer(&request, reply, Response::new(503).with("Retry-After", "5"));
        }
        let merge_key: Option<Box<str>> = request.to_tag().is_none().then(|| {
            let from = request.from_tag().unwrap_or_default();
            let number = request.cseq().unwrap_or_default();
            format!("{} {number} {from} {} {}", request.method, request.uri, request.call_id()).into()
        });
        if merge_key.as_ref().is_some_and(|key| self.merge_keys.contains_key(key)) {
            return self.answer(&request, reply, Response::new(482));
        }
        self.next += 1;
        let tx = ServerTx(self.next);
        let invite = request.method == Method::Invite;
        let (again, end) = match invite {
            true => (Some(now + self.settings.trying_after), now + self.settings.invite_timeout),
            false => (None, now + self.settings.t64()),
        };
        let mut server = Server {
            key: key.clone(),
            merge_key: merge_key.clone(),
            source,
            invite,
            state: State::Trying,
            progress: false,
            reply,
            stamp: stamp(&request.headers),
            tag: self.random.hex(8),
            last: None,
            successes: Vec::new(),
            interval: self.settings.t1,
            cancelled: false,
            deadlines: Deadlines::new(again, end),
        };
        self.timers.arm(Owner::Server(tx), &mut server.deadlines);
        if let Some(ip) = source {
            *self.per_source.entry(ip).or_default() += 1;
        }
        self.servers.insert(tx, server);
        self.server_keys.insert(key, tx);
        if let Some(key) = merge_key {
            self.merge_keys.insert(key, tx);
        }
        self.events.push(SipEvent::Request { tx, from, request });
    }

    fn request_again(&mut self, tx: ServerTx, reply: Way) {
        self.counters.retransmissions_in.add();
        let Some(server) = self.servers.get_mut(&tx) else { return };
        server.reply = reply;
        // In Accepted the 2xx has its own timer; in Confirmed there is nothing to say (RFC 6026 section 7.1).
        if matches!(server.state, State::Proceeding | State::Completed)
            && let Some(last) = server.last.clone()
        {
            self.send_again(reply, last, None);
        }
    }

    fn ack(&mut self, now: Instant, known: Option<ServerTx>, request: Request, from: Peer) {
        let Some((tx, server)) = known.and_then(|tx| Some((tx, self.servers.get_mut(&tx)?))) else {
            return self.ack_for_success(request, from);
        };
        match server.state {
            State::Completed => {
                if server.reply.is_reliable() {
                    return self.remove_server(tx);
                }
                server.state = State::Confirmed;
                server.deadlines.again = None;
                server.deadlines.end = Some(now + self.settings.t4);
                server.last = None;
                self.timers.arm(Owner::Server(tx), &mut server.deadlines);
            }
            State::Confirmed => self.counters.retransmissions_in.add(),
            // A peer that takes the INVITE's branch for the ACK of a 2xx.
            State::Accepted => self.ack_for_success(request, from),
            State::Trying | State::Proceeding => {}
        }
    }

    fn cancelled(&mut self, known: Option<ServerTx>, request: Request, reply: Way) {
        let Some((tx, server)) = known.and_then(|tx| Some((tx, self.servers.get_mut(&tx)?))) else {
            return self.answer(&request, reply, Response::new(481));
        };
        // A CANCEL takes the same tag as the INVITE's responses (RFC 3261 section 9.2).
        let mut response = Response::new(200);
        response.headers = stamp(&request.headers);
        if request.to_tag().is_none()
            && let Some(to) = request.headers.get("To")
        {
            response.headers.set("To", format!("{to};tag={}", server.tag));
        }
        let pending = matches!(server.state, State::Trying | State::Proceeding);
        let first = !std::mem::replace(&mut server.cancelled, true);
        let octets = self.stateless(response);
        self.send(reply, octets, None);
        match (pending, first) {
            (true, true) => self.events.push(SipEvent::Cancelled { tx, request }),
            (_, false) => self.counters.retransmissions_in.add(),
            (false, true) => {}
        }
    }

    /// Answers a request without keeping a transaction.
    fn answer(&mut self, request: &Request, reply: Way, mut response: Response) {
        let headers = std::mem::replace(&mut response.headers, stamp(&request.headers));
        response.headers.0.extend(headers.0);
        let octets = self.stateless(response);
        self.send(reply, octets, None);
    }

    /// The core answers.
    pub(crate) fn respond(&mut self, now: Instant, tx: ServerTx, response: Response) {
        let Some(server) = self.servers.get_mut(&tx) else {
            return self.counters.late_responses.add();
        };
        let late = match server.state {
            State::Trying | State::Proceeding => false,
            State::Accepted => !response.is_success() || server.successes.len() >= MAX_SUCCESSES,
            State::Completed | State::Confirmed => true,
        };
        if late {
            return self.counters.late_responses.add();
        }
        if server.invite && !server.progress && matches!(response.status, 401 | 407) {
            return self.challenge(tx, response);
        }
        let response = server.complete(response);
        let octets = write::response(&response);
        let tag = tag_of(response.headers.get("To"));
        if !tag.is_empty() {
            server.tag = tag.into();
        }
        let t1 = self.settings.t1;
        let t64 = self.settings.t64();
        match (server.invite, response.status) {
            (_, 100..=199) => {
                server.state = State::Proceeding;
                server.progress = true;
                server.deadlines.again = None;
                server.last = Some(octets.clone());
            }
            (true, 200..=299) => {
                let key = AckKey::of(&response.headers);
                if server.successes.iter().any(|s| s.key == key) {
                    // The core repeats a 2xx: the timer does that already.
                    return self.counters.late_responses.add();
                }
                server.state = State::Accepted;
                server.last = None;
                server.interval = t1;
                server.deadlines.again = Some(now + t1);
                server.deadlines.end = Some(now + t64);
                server.successes.push(Success { key: key.clone(), acked: false, octets: octets.clone() });
                self.acks.insert(key, tx);
            }
            _ => return self.last_response(now, tx, octets),
        }
        self.timers.arm(Owner::Server(tx), &mut server.deadlines);
        let way = server.reply;
        self.send(way, octets, None);
    }

    /// Sends a final response, for an INVITE other than 2xx.
    pub(super) fn last_response(&mut self, now: Instant, tx: ServerTx, octets: Bytes) {
        let Some(server) = self.servers.get_mut(&tx) else { return };
        let way = server.reply;
        if server.invite {
            // A stranger who has heard nothing yet repeats the INVITE and so asks again for a lost response.
            // Repeating it unasked would multiply what a forged source address costs its owner.
            let asks_again = server.source.is_some() && server.state == State::Trying;
            server.interval = self.settings.t1;
            let again = !way.is_reliable() && !asks_again;
            server.deadlines.again = again.then(|| now + server.interval);
        } else if way.is_reliable() {
            // Nothing comes again that would have to be absorbed (timer J is zero).
            self.remove_server(tx);
            return self.send(way, octets, None);
        } else {
            server.deadlines.again = None;
        }
        server.state = State::Completed;
        server.deadlines.end = Some(now + self.settings.t64());
        server.last = Some(octets.clone());
        server.stamp = Headers::default();
        self.timers.arm(Owner::Server(tx), &mut server.deadlines);
        self.send(way, octets, None);
    }

    /// A challenge to an INVITE goes out once, and the transaction with it (RFC 3261 section 26.3.2.4). Where it is
    /// lost, the INVITE comes again and gets another. The To tag makes its ACK known as one that nobody waits for.
    fn challenge(&mut self, tx: ServerTx, mut response: Response) {
        let tag = self.stateless_tag.clone();
        let Some(server) = self.servers.get_mut(&tx) else { return };
        server.tag = tag;
        response.headers.remove("To");
        let (way, octets) = (server.reply, write::response(&server.complete(response)));
        self.remove_server(tx);
        self.send(way, octets, None);
    }

    /// All 2xx sent so far may be acknowledged now.
    pub(super) fn server_acked(&mut self, tx: ServerTx) {
        let Some(server) = self.servers.get_mut(&tx) else { return };
        if server.successes.iter().all(|s| s.acked) {
            server.deadlines.again = None;
            self.timers.arm(Owner::Server(tx), &mut server.deadlines);
        }
    }

    pub(super) fn server_timer(&mut self, now: Instant, tx: ServerTx) {
        let Some(server) = self.servers.get_mut(&tx) else { return };
        if server.deadlines.end.is_some_and(|end| end <= now) {
            return self.server_end(now, tx);
        }
        let way = server.reply;
        let mut trying = None;
        let mut again: Vec<Bytes> = Vec::new();
        server.deadlines.again = match server.state {
            State::Trying if server.invite => {
                let octets = write::response(&server.complete(Response::new(100)));
                server.state = State::Proceeding;
                server.last = Some(octets.clone());
                trying = Some(octets);
                None
            }
            State::Completed => {
                again.extend(server.last.clone());
                server.interval = (server.interval * 2).min(self.settings.t2);
                Some(now + server.interval)
            }
            State::Accepted => {
                again.extend(server.successes.iter().filter(|s| !s.acked).map(|s| s.octets.clone()));
                server.interval = (server.interval * 2).min(self.settings.t2);
                Some(now + server.interval)
            }
            _ => None,
        };
        self.timers.arm(Owner::Server(tx), &mut server.deadlines);
        if let Some(octets) = trying {
            self.send(way, octets, None);
        }
        for octets in again {
            self.send_again(way, octets, None);
        }
    }

    fn server_end(&mut self, now: Instant, tx: ServerTx) {
        let Some(server) = self.servers.get_mut(&tx) else { return };
        match server.state {
            State::Trying | State::Proceeding => {
                self.counters.unanswered.add();
                if server.invite {
                    // The core has let an INVITE lie: the peer shall not wait for ever.
                    return self.respond(now, tx, Response::new(408));
                }
            }
            State::Accepted if server.successes.iter().any(|s| !s.acked) => {
                self.counters.acks_missing.add();
                self.events.push(SipEvent::AckMissing { tx });
            }
            _ => {}
        }
        self.remove_server(tx);
    }

    fn remove_server(&mut self, tx: ServerTx) {
        let Some(server) = self.servers.remove(&tx) else { return };
        self.timers.disarm(Owner::Server(tx), &server.deadlines);
        self.server_keys.remove(&server.key);
        if let Some(ip) = server.source
            && let Some(held) = self.per_source.get_mut(&ip)
        {
            *held = held.saturating_sub(1);
            if *held == 0 {
                self.per_source.remove(&ip);
            }
        }
        if let Some(key) = &server.merge_key {
            self.merge_keys.remove(key);
        }
        for success in &server.successes {
            self.acks.remove(&success.key);
        }
        give_back(&mut self.servers);
        give_back(&mut self.server_keys);
        give_back(&mut self.merge_keys);
        give_back(&mut self.acks);
    }
}

impl Server {
    /// Puts the request's Via, From, To, Call-ID and CSeq before the response's own headers.
    fn complete(&self, response: Response) -> Response {
        let Response { status, reason, headers: own, body } = response;
        let mut headers = Headers::default();
        headers.copy(&self.stamp, "Via");
        headers.copy(&self.stamp, "From");
        match own.get("To") {
            Some(to) => headers.push("To", to),
            None => {
                let to = self.stamp.get("To").unwrap_or_default();
                match tag_of(Some(to)).is_empty() && status > 100 {
                    true => headers.push("To", format!("{to};tag={}", self.tag)),
                    false => headers.push("To", to),
                }
            }
        }
        headers.copy(&self.stamp, "Call-ID");
        headers.copy(&self.stamp, "CSeq");
        let taken = ["Via", "From", "To", "Call-ID", "CSeq"];
        headers.0.extend(own.0.into_iter().filter(|h| !taken.iter().any(|name| h.is(name))));
        Response { status, reason, headers, body }
    }
}
