//! A shard: the devices and sessions of some users, and which event is for which of them. A shard shares nothing with
//! another one.

// It stands above the modules that use it.
/// The surroundings of an event, borrowed field by field: the sessions stay free.
macro_rules! context {
    ($shard:ident, $now:expr) => {
        Context {
            now: $now,
            config: &$shard.config,
            registry: &mut $shard.registry,
            preferences: &mut $shard.preferences,
            counters: &mut $shard.counters,
            entropy: $shard.entropy.as_mut(),
            ids: &mut $shard.ids,
            commands: Vec::new(),
        }
    };
}

mod index;
mod outside;
mod rejoin;
mod views;

use std::collections::BTreeMap;

use self::{index::Index, rejoin::Rejoin};
use super::{
    Command, Entropy, Event, Time,
    config::{CoreConfig, User},
    event::{ClientTx, Hop, MediaEvent, SipCommand, SipEvent},
    groups::EndedGroups,
    last_notifications::LastNotifications,
    policy::{Policy, preferences::PreferenceTable, retrieval::Retrieved},
    proxy::{self, Proxy},
    registry::Registry,
    session::{Context, Ids, Session},
    sip::{Dialog, Method, Request, Response},
    store::StoreCounters,
};

/// Routes events to the registrar and to the sessions; see the contract in [`super`].
pub struct Shard {
    config: CoreConfig,
    entropy: Box<dyn Entropy>,
    registry: Registry,
    preferences: PreferenceTable,
    counters: StoreCounters,
    groups: EndedGroups,
    last_notifications: LastNotifications,
    ids: Ids,
    limits: Limits,
    sessions: BTreeMap<u64, Session>,
    /// The sessions that we are a proxy for.
    proxy: Proxy,
    index: Index,
    /// It takes no new sessions any more.
    closing: bool,
}

/// What a shard takes at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at a time; a further INVITE is answered `503`.
    pub sessions: usize,
    /// Group sessions that have ended and are remembered; for a further one the oldest is forgotten.
    pub ended_groups: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { sessions: 100_000, ended_groups: 10_000 }
    }
}

impl Shard {
    /// An empty shard.
    pub fn new(config: CoreConfig, entropy: Box<dyn Entropy>) -> Shard {
        Shard::with_limits(config, entropy, Limits::default())
    }

    /// An empty shard that takes no more than this.
    pub fn with_limits(config: CoreConfig, entropy: Box<dyn Entropy>, limits: Limits) -> Shard {
        let registry = Registry::new(&config);
        let preferences = PreferenceTable::new(&config.policy, &config.users, config.xdms);
        Shard {
            config,
            entropy,
            registry,
            preferences,
            counters: StoreCounters::default(),
            groups: EndedGroups::new(limits.ended_groups),
            last_notifications: LastNotifications::default(),
            ids: Ids::default(),
            limits,
            sessions: BTreeMap::new(),
            proxy: Proxy::default(),
            index: Index::default(),
            closing: false,
        }
    }

    /// Takes one event; the commands are to be carried out, in order, before the next one.
    pub fn handle(&mut self, now: Time, event: Event) -> Vec<Command> {
        self.registry.expire(now);
        match event {
            Event::Tick => self.tick(now),
            Event::Media(event) => {
                let (MediaEvent::Delivered { leg, .. }
                | MediaEvent::Intercepted { leg, .. }
                | MediaEvent::LegClosed { leg, .. }
                | MediaEvent::LegDown { leg, .. }
                | MediaEvent::LegUp { leg }
                | MediaEvent::Resumed { leg }
                | MediaEvent::Waiting { leg }) = &event;
                let session = self.index.media.get(leg).copied();
                self.give(now, session, Event::Media(event))
            }
            Event::Preferences(answer) => self.preferences_retrieved(now, answer),
            Event::Sip(event) => self.sip(now, event),
            Event::Store(outcome) => {
                self.counters.note(&outcome.stored);
                let session = self.index.orders.get(&outcome.id).copied();
                self.give(now, session, Event::Store(outcome))
            }
        }
    }

    /// When to come back with [`Event::Tick`] if nothing else happens.
    pub fn deadline(&self) -> Option<Time> {
        let sessions = self.index.deadlines.first().map(|(time, _)| *time);
        sessions.into_iter().chain(self.proxy.deadline()).chain(self.registry.deadline()).min()
    }

    /// Ends all sessions, because the process is about to end: a BYE on every leg, `503` to who still waits for an
    /// answer. Sessions that are proxied go on without us, but what rings is cancelled. From now on an INVITE is answered `503` too. What the peers answer is to be handed in as before;
    /// all is said when [`Shard::has_sessions`] is false.
    pub fn shut_down(&mut self, now: Time) -> Vec<Command> {
        self.closing = true;
        let ids: Vec<u64> = self.sessions.keys().copied().collect();
        let mut commands = Vec::new();
        for id in ids {
            commands.extend(self.with_session(now, id, Session::shut_down));
        }
        commands.extend(self.proxied(now, Proxy::shut_down));
        commands
    }

    /// Policy and users are these from now on: for new sessions, for registrations, and for the next step of each
    /// session that asks for them. No session ends because of it.
    pub fn reload(&mut self, policy: Policy, users: Vec<User>) {
        self.config.policy = policy;
        self.config.users = users;
        self.registry.reload(&self.config);
        self.preferences.reload(&self.config.policy, &self.config.users);
    }

    /// Is there a session, be it one that is ending?
    pub fn has_sessions(&self) -> bool {
        !self.sessions.is_empty() || self.proxy.is_busy()
    }

    fn sip(&mut self, now: Time, event: SipEvent) -> Vec<Command> {
        let event = match self.forwarded(now, event) {
            Ok(commands) => return commands,
            Err(event) => *event,
        };
        let session = match &event {
            SipEvent::Ack { tx, request, .. } => {
                let by_tx = tx.and_then(|tx| self.index.servers.get(&tx).copied());
                by_tx.or_else(|| self.index.dialog(request))
            }
            SipEvent::AckMissing { tx } | SipEvent::Cancelled { tx, .. } => {
                self.index.servers.get(tx).copied()
            }
            SipEvent::FlowClosed { flow } => {
                self.registry.flow_closed(*flow);
                None
            }
            SipEvent::Request { request, .. } => self.index.dialog(request),
            SipEvent::Response { tx, response, .. } => {
                let session = self.index.clients.get(tx).copied();
                if session.is_none() {
                    return self.orphan(*tx, response);
                }
                session
            }
            SipEvent::Unanswered { tx, .. } => self.index.clients.get(tx).copied(),
        };
        match (session, &event) {
            (None, SipEvent::Request { tx, from, request }) => self.request(now, *tx, from, request),
            _ => self.give(now, session, Event::Sip(event)),
        }
    }

    /// What belongs to a request or a dialog that we are a proxy for is handled, anything else given back.
    fn forwarded(&mut self, now: Time, event: SipEvent) -> Result<Vec<Command>, Box<SipEvent>> {
        match event {
            SipEvent::Ack { tx: None, from, request }
                if self.index.dialog(&request).is_none() && proxy::is_inside(&self.config, &request) =>
            {
                Ok(self.proxied(now, |proxy, cx| proxy.ack(cx, &from, &request)))
            }
            SipEvent::Cancelled { tx, request } if self.proxy.has_server(tx) => {
                Ok(self.proxied(now, |proxy, cx| proxy.cancelled(cx, tx, &request)))
            }
            SipEvent::Request { tx, from, request }
                if self.index.dialog(&request).is_none() && proxy::is_inside(&self.config, &request) =>
            {
                Ok(self.proxied(now, |proxy, cx| proxy.request(cx, tx, &from, &request)))
            }
            SipEvent::Response { tx, response, .. } if self.proxy.has_client(tx) => {
                Ok(self.proxied(now, |proxy, cx| proxy.response(cx, tx, response)))
            }
            SipEvent::Unanswered { tx, reason } if self.proxy.has_client(tx) => {
                Ok(self.proxied(now, |proxy, cx| proxy.unanswered(cx, tx, &reason)))
            }
            other => Err(Box::new(other)),
        }
    }

    fn proxied(&mut self, now: Time, work: impl FnOnce(&mut Proxy, &mut Context<'_>)) -> Vec<Command> {
        let mut cx = context!(self, now);
        work(&mut self.proxy, &mut cx);
        cx.commands
    }

    /// Every session of the user may have waited for it.
    fn preferences_retrieved(&mut self, now: Time, answer: Retrieved) -> Vec<Command> {
        let sessions = self.index.users.get(&answer.user).cloned().unwrap_or_default();
        self.preferences.take(answer);
        sessions.into_iter().flat_map(|id| self.with_session(now, id, Session::wishes_known)).collect()
    }

    fn tick(&mut self, now: Time) -> Vec<Command> {
        let mut commands = Vec::new();
        let due: Vec<u64> =
            self.index.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect();
        for id in due {
            commands.extend(self.give(now, Some(id), Event::Tick));
        }
        if self.proxy.deadline().is_some_and(|at| at <= now) {
            commands.extend(self.proxied(now, Proxy::tick));
        }
        commands
    }

    fn give(&mut self, now: Time, session: Option<u64>, event: Event) -> Vec<Command> {
        match session {
            Some(id) => self.with_session(now, id, |session, cx| session.handle(cx, event)),
            None => Vec::new(),
        }
    }

    fn with_session(
        &mut self,
        now: Time,
        id: u64,
        work: impl FnOnce(&mut Session, &mut Context<'_>),
    ) -> Vec<Command> {
        let Some(session) = self.sessions.get_mut(&id) else { return Vec::new() };
        let mut cx = context!(self, now);
        work(session, &mut cx);
        let commands = cx.commands;
        if let Some(ended) = session.take_ended_group() {
            self.groups.note(ended);
        }
        for subscription in session.take_unsubscribed() {
            self.last_notifications.expect(now, subscription);
        }
        self.index_anew(id);
        commands
    }

    fn index_anew(&mut self, id: u64) {
        if self.sessions.get(&id).is_some_and(Session::is_over) {
            self.sessions.remove(&id);
        }
        let entry = self.sessions.get(&id).map(|session| (session.keys(), session.deadline()));
        self.index.replace(id, entry);
    }

    /// Answers something that belongs to no session.
    fn answer(&mut self, now: Time, work: impl FnOnce(&mut Context<'_>)) -> Vec<Command> {
        let mut cx = context!(self, now);
        work(&mut cx);
        cx.commands
    }

    /// A 2xx to an INVITE of a session that is no more (a fork, or later than we waited): ACK and BYE
    /// (RFC 3261 section 13.2.2.4).
    fn orphan(&mut self, tx: ClientTx, response: &Response) -> Vec<Command> {
        // With a second Via it is not for us (section 8.1.3.3) but for who is behind us: theirs to acknowledge and end.
        if response.headers.list("Via").nth(1).is_some() {
            return Vec::new();
        }
        let invite = response.cseq().is_some_and(|(_, method)| method == Method::Invite);
        let dialog = Dialog::from_answer(response).filter(|_| invite && response.is_success());
        let Some(mut dialog) = dialog else { return Vec::new() };
        let (request, hop) = dialog.ack(dialog.local_cseq);
        let ack = SipCommand::Ack { tx, request, hop };
        let (request, hop): (Request, Hop) = dialog.request(Method::Bye);
        let bye = SipCommand::Request { tx: self.ids.client(), request, hop };
        vec![Command::Sip(ack), Command::Sip(bye)]
    }
}

#[cfg(test)]
impl Shard {
    pub(crate) fn all(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values()
    }

    /// Does something in the surroundings of an event.
    pub(crate) fn with_context(&mut self, now: Time, work: impl FnOnce(&mut Context<'_>)) -> Vec<Command> {
        self.answer(now, work)
    }

    pub(crate) fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// No session, and nothing that points to one.
    pub(crate) fn is_idle(&self) -> bool {
        let Index { dialogs, clients, servers, media, orders, users, deadlines, entries } = &self.index;
        self.sessions.is_empty()
            && self.proxy.is_idle()
            && dialogs.is_empty()
            && clients.is_empty()
            && servers.is_empty()
            && media.is_empty()
            && orders.is_empty()
            && users.is_empty()
            && deadlines.is_empty()
            && entries.is_empty()
    }
}
