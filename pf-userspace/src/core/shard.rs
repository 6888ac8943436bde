//! A shard: the devices and sessions of some users, and which event is for which of them. A shard shares nothing with
//! another one.

mod rejoin;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use self::rejoin::Rejoin;

use super::{
    Command, Entropy, Event, Time,
    config::{CoreConfig, User},
    event::{ClientTx, Hop, LegKey, MediaEvent, Peer, ServerTx, SipCommand, SipEvent},
    groups::EndedGroups,
    last_notifications::LastNotifications,
    policy::{
        Policy,
        media_path::media_path,
        preferences::PreferenceTable,
        retrieval::{Retrieved, XdmsCounters},
    },
    proxy::{self, Proxy},
    registry::Registry,
    room::give_back,
    session::{self, Context, Ids, Keys, Session},
    sip::{Dialog, Method, Request, Response},
    store::{OrderId, StoreCounters},
    view::{DeviceView, GroupView, SessionView},
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

/// Who an event is for. A function of the sessions: made anew from [`Session::keys`] after every event.
#[derive(Default)]
struct Index {
    /// By Call-ID and our tag.
    dialogs: HashMap<(String, String), u64>,
    clients: HashMap<ClientTx, u64>,
    servers: HashMap<ServerTx, u64>,
    media: HashMap<LegKey, u64>,
    orders: HashMap<OrderId, u64>,
    users: HashMap<String, BTreeSet<u64>>,
    deadlines: BTreeSet<(Time, u64)>,
    entries: HashMap<u64, (Keys, Option<Time>)>,
}

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

    /// The sessions, oldest first.
    pub fn sessions(&self, now: Time) -> Vec<SessionView> {
        self.session_views(now).collect()
    }

    /// As [`Shard::sessions`], made one by one as they are taken: of a large table, take no more than needed.
    pub fn session_views(&self, now: Time) -> impl Iterator<Item = SessionView> {
        let mut ours = self.sessions.values().peekable();
        let mut proxied = self.proxy.views(now).peekable();
        std::iter::from_fn(move || match (ours.peek(), proxied.peek()) {
            (Some(session), Some(other)) if other.id < session.id() => proxied.next(),
            (None, _) => proxied.next(),
            (Some(_), _) => ours.next().map(|session| session.view(now)),
        })
    }

    /// How many sessions there are, proxied ones included.
    pub fn session_count(&self) -> usize {
        self.sessions.len() + self.proxy.len()
    }

    /// How many of them are proxied.
    pub fn proxied_count(&self) -> usize {
        self.proxy.len()
    }

    /// The registered devices.
    pub fn devices(&self, now: Time) -> Vec<DeviceView> {
        self.registry.view(now)
    }

    /// As [`Shard::devices`], made one by one as they are taken: of a large table, take no more than needed.
    pub fn device_views(&self, now: Time) -> impl Iterator<Item = DeviceView> {
        self.registry.views(now)
    }

    /// How many devices are registered.
    pub fn device_count(&self) -> usize {
        self.registry.count()
    }

    /// How the message store has done.
    pub fn store_counters(&self) -> StoreCounters {
        self.counters
    }

    /// How the XDMS has done, where there is one.
    pub fn xdms_counters(&self) -> Option<XdmsCounters> {
        self.preferences.xdms_counters()
    }

    /// Group sessions that have ended, the last one first, made one by one as they are taken.
    pub fn group_views(&self, now: Time) -> impl Iterator<Item = GroupView> {
        self.groups.views(now)
    }

    /// How many of them are remembered.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// The session that an MSRP leg belongs to, and the name of its side: device name, instance or URI.
    pub fn leg_owner(&self, leg: LegKey) -> Option<(u64, &str)> {
        let session = self.sessions.get(self.index.media.get(&leg)?)?;
        Some((session.id(), session.leg_name(leg)?))
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

    /// A request that belongs to no dialog of ours.
    fn request(&mut self, now: Time, tx: ServerTx, from: &Peer, request: &Request) -> Vec<Command> {
        if matches!(request.method, Method::Other(_)) {
            // The method is looked at before anything else (RFC 3261 section 8.2.1).
            return self.answer(now, |cx| {
                let response = cx.refusal(request, 501).with("Allow", Method::known());
                cx.respond(tx, response);
            });
        }
        if request.to_tag().is_some() {
            let last = request.method == Method::Notify && self.last_notifications.takes(now, request);
            return self.answer(now, |cx| cx.refuse(tx, request, if last { 200 } else { 481 }));
        }
        match request.method {
            Method::Invite => self.invite(now, tx, from, request),
            Method::Options => self.answer(now, |cx| session::options(cx, tx, request)),
            Method::Register => self.register(now, tx, from, request),
            // They belong into a dialog.
            Method::Ack
            | Method::Bye
            | Method::Cancel
            | Method::Notify
            | Method::Other(_)
            | Method::Prack
            | Method::Update => self.answer(now, |cx| cx.refuse(tx, request, 481)),
            Method::Info | Method::Message | Method::Publish | Method::Refer | Method::Subscribe => self
                .answer(now, |cx| {
                    let response = cx.refusal(request, 405).with("Allow", ALLOW);
                    cx.respond(tx, response);
                }),
        }
    }

    fn invite(&mut self, now: Time, tx: ServerTx, from: &Peer, request: &Request) -> Vec<Command> {
        // A proxy may forget a session: it goes on all the same.
        let full = self.session_count() >= self.limits.sessions && !self.proxy.forget_one();
        if self.closing || full {
            return self.answer(now, |cx| {
                let response = cx.refusal(request, 503).with("Retry-After", "10");
                cx.respond(tx, response);
            });
        }
        let mut cx = context!(self, now);
        let originator = match session::admit(&mut cx, from, request) {
            Ok(originator) => originator,
            Err(mut refusal) => {
                cx.tagged(request, &mut refusal);
                cx.respond(tx, *refusal);
                return cx.commands;
            }
        };
        let (hold, mut commands) = match self.rejoin(now, tx, from, request, &originator) {
            Rejoin::Done(commands) => return commands,
            Rejoin::Go { hold, commands } => (hold, commands),
            Rejoin::None => (false, Vec::new()),
        };
        let mut cx = context!(self, now);
        let preferences = cx.wishes(&originator.user, &request.uri);
        let unsure = cx.preferences.may_want_more(&originator.user);
        let wanted = originator.wants_media_path(&cx);
        let needed = unsure || media_path(&cx.config.policy, &preferences, wanted).is_some();
        if !hold && !needed {
            // For the next session: of this one nothing is stored.
            cx.ask_wishes(&originator.user);
            self.proxy.invite(&mut cx, tx, from, request, originator);
            commands.extend(cx.commands);
            return commands;
        }
        let session = session::invite(&mut cx, tx, from, request, originator, hold);
        commands.extend(cx.commands);
        if let Some(session) = session {
            let id = session.id();
            self.sessions.insert(id, session);
            self.index_anew(id);
        }
        commands
    }

    /// Every session of the user may have waited for it.
    fn preferences_retrieved(&mut self, now: Time, answer: Retrieved) -> Vec<Command> {
        let sessions = self.index.users.get(&answer.user).cloned().unwrap_or_default();
        self.preferences.take(answer);
        sessions.into_iter().flat_map(|id| self.with_session(now, id, Session::wishes_known)).collect()
    }

    fn register(&mut self, now: Time, tx: ServerTx, from: &Peer, request: &Request) -> Vec<Command> {
        let response = self.registry.register(now, self.entropy.as_mut(), request, from);
        let registered = response.is_success();
        let mut commands = vec![Command::Sip(SipCommand::Respond { tx, response })];
        if registered && self.config.policy.late_devices && !self.closing {
            commands.extend(self.invite_late(now, request));
        }
        commands
    }

    /// A device of a user may be new: sessions of that user invite it (policy `late_devices`).
    fn invite_late(&mut self, now: Time, request: &Request) -> Vec<Command> {
        let to = request.headers.get("To").and_then(|to| super::sip::NameAddr::parse(to).ok());
        let user = to.and_then(|to| self.registry.known_user(&to.uri).or(Some(to.uri)));
        let sessions = user.and_then(|user| self.index.users.get(&user).cloned()).unwrap_or_default();
        let mut commands = Vec::new();
        for id in sessions {
            commands.extend(self.with_session(now, id, Session::deliver_directly));
        }
        commands
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

/// Methods that we take outside of a dialog.
const ALLOW: &str = "ACK, CANCEL, INVITE, OPTIONS, REGISTER";

impl Index {
    /// The session of a request inside a dialog: the To tag is ours.
    fn dialog(&self, request: &Request) -> Option<u64> {
        self.dialogs.get(&(request.call_id().to_owned(), request.to_tag()?)).copied()
    }

    /// A session is gone: tables that were large may get smaller.
    fn give_back(&mut self) {
        give_back(&mut self.dialogs);
        give_back(&mut self.clients);
        give_back(&mut self.servers);
        give_back(&mut self.media);
        give_back(&mut self.orders);
        give_back(&mut self.users);
        give_back(&mut self.entries);
    }

    /// Puts a session's keys in the place of those it had; without an entry it is gone.
    fn replace(&mut self, id: u64, entry: Option<(Keys, Option<Time>)>) {
        if self.entries.get(&id) == entry.as_ref() {
            return;
        }
        if let Some((keys, deadline)) = self.entries.remove(&id) {
            keys.dialogs.iter().for_each(|key| {
                self.dialogs.remove(key);
            });
            keys.clients.iter().for_each(|key| {
                self.clients.remove(key);
            });
            keys.servers.iter().for_each(|key| {
                self.servers.remove(key);
            });
            keys.media.iter().for_each(|key| {
                self.media.remove(key);
            });
            keys.orders.iter().for_each(|key| {
                self.orders.remove(key);
            });
            if let Some(time) = deadline {
                self.deadlines.remove(&(time, id));
            }
            if let Some(sessions) = self.users.get_mut(&keys.user) {
                sessions.remove(&id);
                if sessions.is_empty() {
                    self.users.remove(&keys.user);
                }
            }
        }
        let Some((keys, deadline)) = entry else { return self.give_back() };
        self.dialogs.extend(keys.dialogs.iter().map(|key| (key.clone(), id)));
        self.clients.extend(keys.clients.iter().map(|key| (*key, id)));
        self.servers.extend(keys.servers.iter().map(|key| (*key, id)));
        self.media.extend(keys.media.iter().map(|key| (*key, id)));
        self.orders.extend(keys.orders.iter().map(|key| (*key, id)));
        self.users.entry(keys.user.clone()).or_default().insert(id);
        self.deadlines.extend(deadline.map(|time| (time, id)));
        self.entries.insert(id, (keys, deadline));
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
