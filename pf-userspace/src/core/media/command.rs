//! What the core orders: streams and legs come and go.

use pf_common::msrp::{Flag, Uri};

use super::{
    Action, ConnId, LegId, Switch, accept,
    connection::Connection,
    frame::end_line,
    leg::{Gone, Leg, Stream, path_lines},
    live::{AnswerTo, Sent},
};
use crate::core::{
    event::{
        LegCounters, LegDown, LegKey, LegRole, MediaCommand, MediaEvent, RemoteLeg, Setup, StreamKey,
        StreamPolicy,
    },
    time::Time,
};

impl Switch {
    /// Carries out a command.
    pub fn command(&mut self, now: Time, command: MediaCommand) {
        self.now = now;
        match command {
            MediaCommand::BeginRecording { stream, place, undecided } => {
                self.begin_recording(stream, place, undecided);
            }
            MediaCommand::DecideRecording { stream, wanted } => self.decide_recording(stream, wanted),
            MediaCommand::EndRecording { stream } => {
                if let Some(id) = self.stream_keys.get(&stream).copied() {
                    self.end_recording(now, id);
                }
            }
            MediaCommand::OpenStream { stream, policy } => self.open_stream(stream, policy),
            MediaCommand::OpenLeg { leg, stream, role, local } => {
                self.open_leg(now, leg, stream, role, local)
            }
            MediaCommand::ConnectLeg { leg, remote } => self.connect_leg(now, leg, remote),
            MediaCommand::CloseLeg { leg } => {
                if let Some(id) = self.leg_keys.get(&leg).copied() {
                    self.remove_leg(now, id, Gone::Closed);
                }
            }
            MediaCommand::CloseStream { stream } => self.close_stream(now, stream),
            MediaCommand::Intercept { stream, keep } => self.begin_interception(stream, keep),
            MediaCommand::ConfirmIntercepted { stream, number, kept } => {
                self.confirm_intercepted(stream, number, kept);
            }
            MediaCommand::Deliver { stream, number, message } => self.catch_up_with(stream, number, *message),
            MediaCommand::Resume { stream } => self.resume(stream),
        }
        self.welcome(now);
        self.close_answered(now);
    }

    fn open_stream(&mut self, key: StreamKey, policy: StreamPolicy) {
        if self.stream_keys.contains_key(&key) {
            return;
        }
        let stream = self.streams.insert(Stream {
            policy,
            originator: None,
            far: None,
            devices: Vec::new(),
            originator_gone: None,
            far_gone: None,
            chunked: Default::default(),
            waiters: Vec::new(),
            backlog: Default::default(),
            interception: None,
            recording: None,
            far_wanted: false,
        });
        self.stream_keys.insert(key, stream);
    }

    fn close_stream(&mut self, now: Time, key: StreamKey) {
        let Some(id) = self.stream_keys.remove(&key) else { return };
        let Some(stream) = self.streams.get(id) else { return };
        let legs: Vec<LegId> =
            stream.originator.into_iter().chain(stream.far).chain(stream.devices.iter().copied()).collect();
        for leg in legs {
            self.remove_leg(now, leg, Gone::Closed);
        }
        self.wake_stream(id);
        self.end_recording(now, id);
        self.plan_changed(id);
        self.streams.remove(id);
    }

    fn open_leg(&mut self, now: Time, key: LegKey, stream_key: StreamKey, role: LegRole, local: String) {
        let session = Uri::parse(local.as_bytes()).map(|uri| uri.session.to_vec()).unwrap_or_default();
        let stream = self.stream_keys.get(&stream_key).copied();
        let free = !session.is_empty() && !self.sessions.contains_key(session.as_slice());
        let (Some(stream), true) = (stream, free && !self.leg_keys.contains_key(&key)) else {
            // No such stream, or a path that names no session of its own.
            let event = MediaEvent::LegDown {
                leg: key,
                reason: LegDown::Malformed,
                counters: LegCounters::default(),
            };
            self.actions.push_back(Action::Event(event));
            return;
        };
        let id = self.legs.insert(Leg {
            key,
            stream,
            stream_key,
            role,
            local,
            remote: None,
            request_lines: Vec::new(),
            sender: Vec::new(),
            response_lines: Vec::new(),
            conn: None,
            rebind: false,
            waiting: now,
            counters: LegCounters::default(),
            accepts_all: false,
            accepted: accept::Accepted::default(),
            block: None,
            relearned: 0,
            kernel: super::KernelCounters::default(),
            asked: None,
        });
        self.plan_changed(stream);
        self.leg_keys.insert(key, id);
        self.sessions.insert(session.into(), id);
        if let Some(stream) = self.streams.get_mut(stream) {
            match role {
                LegRole::Device => stream.devices.push(id),
                LegRole::Far => (stream.far, stream.far_gone) = (Some(id), None),
                LegRole::Originator => (stream.originator, stream.originator_gone) = (Some(id), None),
            }
        }
    }

    fn connect_leg(&mut self, now: Time, key: LegKey, remote: RemoteLeg) {
        let Some(id) = self.leg_keys.get(&key).copied() else { return };
        let whole = remote.path.iter().all(|uri| uri.bytes().all(|o| (0x21..0x7f).contains(&o)));
        if let Some(stream) = self.legs.get(id).map(|leg| leg.stream) {
            self.plan_changed(stream);
        }
        let Some(leg) = self.legs.get_mut(id) else { return };
        if remote.path.is_empty() || !whole {
            // A path that would not stay within its header.
            self.down(now, id, LegDown::Malformed);
            return;
        }
        path_lines(&mut leg.request_lines, remote.path.join(" ").as_bytes(), leg.local.as_bytes());
        if leg.sender.is_empty()
            && let Some(uri) = remote.path.first()
        {
            leg.answer_to(uri.as_bytes());
        }
        leg.accepts_all = accept::accepts_all(&remote);
        leg.accepted = accept::Accepted::default();
        (leg.block, leg.relearned) = (None, 0);
        let before = leg.remote.replace(remote.clone());
        let (bound, stream) = (leg.conn, leg.stream);
        self.arrived.push(id);
        let same_place =
            before.as_ref().is_none_or(|b| b.connect_to == remote.connect_to && b.setup == remote.setup);
        let same_path = before.as_ref().is_none_or(|b| b.path == remote.path);
        match (bound, remote.setup) {
            (Some(_), _) if same_place && same_path => self.wake_stream(stream),
            (Some(old), Setup::Active) if !same_place => {
                leg.conn = None;
                self.unbind(now, id, old);
                self.connect(now, id, &remote.connect_to);
            }
            (Some(_), Setup::Active) => self.wake_stream(stream),
            (Some(_), Setup::Passive) => {
                // The peer's side is another one: it will open a connection of its own, unless it goes on
                // with the one it has.
                leg.rebind = true;
                self.wake_stream(stream);
            }
            (None, Setup::Active) => self.connect(now, id, &remote.connect_to),
            (None, Setup::Passive) => {
                leg.waiting = now;
                self.alarm_at(now + self.limits.silent);
            }
        }
    }

    /// We are the active side: an existing connection of ours to the same place (MED-11), or a new one.
    ///
    /// The rule of reuse: a connection that we opened ourselves, for another leg, to the same `host:port` text,
    /// from the same local address and port, carries further legs as well.
    fn connect(&mut self, now: Time, id: LegId, to: &str) {
        let from = self.legs.get(id).and_then(Leg::local_address);
        let existing = self.conns.iter().find(|(_, conn)| {
            let local = conn.legs.first().and_then(|leg| self.legs.get(*leg)).and_then(Leg::local_address);
            self.limits.reuse_connections && conn.target.as_deref() == Some(to) && local == from
        });
        let existing = existing.map(|(id, _)| id);
        let conn = existing.unwrap_or_else(|| {
            let conn = self.conns.insert(Connection::new(now, None, Some(to.to_owned())));
            self.actions.push_back(Action::Connect { conn, to: to.to_owned(), from });
            conn
        });
        self.bind(now, id, conn);
        self.alarm_at(now + self.limits.connect);
        if self.conns.get(conn).is_some_and(|c| c.up) {
            self.greet(now, id, conn);
        }
    }

    /// A connection of ours is established.
    pub fn connected(&mut self, now: Time, id: ConnId, peer: Option<std::net::SocketAddr>) {
        self.now = now;
        let Some(conn) = self.conns.get_mut(id) else { return };
        (conn.up, conn.peer, conn.progress) = (true, peer, now);
        for leg in conn.legs.clone() {
            self.greet(now, leg, id);
            self.leg_up(now, leg);
        }
        self.welcome(now);
    }

    /// An unbound connection leaves this switch: another one owns the session that it names.
    pub fn withdraw(&mut self, id: ConnId) {
        if !self.is_bound(id) {
            self.conns.remove(id);
        }
    }

    /// Too many connections that name no session: this one goes, if it is one of them. Gives whether it was.
    pub fn evict(&mut self, now: Time, id: ConnId) -> bool {
        let unbound = self.conns.get(id).is_some_and(|c| c.up && c.legs.is_empty());
        if unbound {
            self.lose(now, id, LegDown::Silent);
        }
        unbound
    }

    /// The bodiless SEND that the active side sends at once (RFC 4975 section 5.4).
    fn greet(&mut self, now: Time, id: LegId, to: ConnId) {
        let (transaction, message) = (self.transaction(), self.transaction());
        let (Some(leg), Some(conn)) = (self.legs.get_mut(id), self.conns.get_mut(to)) else { return };
        conn.live.push(Sent { transaction, leg: id, at: Some(now), answer: AnswerTo::Ourselves });
        conn.dirty(to, &mut self.dirty, &mut self.spare);
        let out = if conn.open.is_some() { &mut conn.control } else { conn.outbox.octets() };
        let before = out.len();
        out.extend_from_slice(b"MSRP ");
        out.extend_from_slice(transaction.as_bytes());
        out.extend_from_slice(b" SEND\r\n");
        out.extend_from_slice(&leg.request_lines);
        out.extend_from_slice(b"Message-ID: ");
        out.extend_from_slice(message.as_bytes());
        out.extend_from_slice(b"\r\nByte-Range: 1-0/0\r\n");
        end_line(out, &transaction, Flag::Last);
        leg.counters.octets_out += (out.len() - before) as u64;
        self.interrupt(to);
        self.alarm_at(now + self.limits.silent);
    }
}
