//! The task that owns the core: one event in, all its commands carried out, then the next event.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use tokio::sync::{mpsc, oneshot};

use crate::{
    core::{
        Command, Event, Time,
        config::User,
        event::{LegCounters, LegDown, LegKey, MediaCommand, MediaEvent, SipEvent},
        policy::{
            Policy,
            retrieval::{Retrieved, XdmsCounters},
        },
        shard::Shard,
        store::{Outcome, StoreCounters},
        view::{DeviceView, GroupView, SessionView},
    },
    msrp::Relay,
    sip::SipShell,
    store::Store,
    xdm::Xdms,
};

/// What the admin socket wants to know of the core, which does nothing else while it answers: no more than is shown.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// How many sessions at most.
    pub(super) sessions: usize,
    /// How many devices at most.
    pub(super) devices: usize,
    /// How many ended group sessions at most.
    pub(super) groups: usize,
    /// MSRP legs whose sessions are wanted.
    pub(super) legs: Vec<LegKey>,
}

/// A question to the core.
#[derive(Debug)]
pub(super) struct CoreQuery {
    /// The question.
    pub(super) wanted: Wanted,
    /// Where the answer goes.
    pub(super) reply: oneshot::Sender<CoreAnswer>,
}

/// Policy and users that count from now on.
#[derive(Debug)]
pub(super) struct Reload {
    /// Operator policy.
    pub(super) policy: Policy,
    /// Users of the users file.
    pub(super) users: Vec<User>,
    /// Told when the core has them.
    pub(super) done: oneshot::Sender<()>,
}

/// What the core answers.
#[derive(Debug, Default)]
pub(super) struct CoreAnswer {
    /// As many sessions as were asked for, the oldest first.
    pub(super) sessions: Vec<SessionView>,
    /// How many there are.
    pub(super) session_total: usize,
    /// How many of them are proxied.
    pub(super) session_proxied: usize,
    /// As many devices as were asked for.
    pub(super) devices: Vec<DeviceView>,
    /// How many there are.
    pub(super) device_total: usize,
    /// As many ended group sessions as were asked for, the last one first.
    pub(super) groups: Vec<GroupView>,
    /// How many are remembered.
    pub(super) group_total: usize,
    /// How the store has done.
    pub(super) store: StoreCounters,
    /// How the XDMS has done, where there is one.
    pub(super) xdms: Option<XdmsCounters>,
    /// Session and name of those legs asked for that the core still knows.
    pub(super) owners: HashMap<LegKey, (u64, String)>,
    /// What past MSRP legs have carried.
    pub(super) past: Past,
}

/// What is left of MSRP legs that are gone.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    /// What they have carried together.
    pub(super) carried: LegCounters,
    /// Those that went down by themselves, by reason.
    pub(super) down: BTreeMap<LegDown, u64>,
}

impl Past {
    fn note(&mut self, event: &MediaEvent) {
        match event {
            MediaEvent::LegClosed { counters, .. } => self.carried.add(counters),
            MediaEvent::LegDown { reason, counters, .. } => {
                self.carried.add(counters);
                *self.down.entry(*reason).or_default() += 1;
            }
            _ => {}
        }
    }
}

/// The shells that carry out commands.
#[derive(Clone)]
pub(super) struct Shells {
    /// The SIP shell.
    pub(super) sip: SipShell,
    /// The MSRP relay.
    pub(super) relay: Arc<Relay>,
    /// The message store, where there is one.
    pub(super) store: Option<Store>,
    /// The XDMS, where there is one.
    pub(super) xdms: Option<Xdms>,
}

/// Where events come from.
pub(super) struct Inputs {
    /// From the SIP shell.
    pub(super) sip: mpsc::Receiver<SipEvent>,
    /// From the media workers.
    pub(super) media: mpsc::UnboundedReceiver<MediaEvent>,
    /// From the message store.
    pub(super) store: mpsc::UnboundedReceiver<Outcome>,
    /// From the XDMS.
    pub(super) preferences: mpsc::UnboundedReceiver<Retrieved>,
    /// From the admin socket.
    pub(super) queries: mpsc::Receiver<CoreQuery>,
    /// Changes of the configuration.
    pub(super) reloads: mpsc::Receiver<Reload>,
    /// Comes when all sessions shall end.
    pub(super) shut_down: oneshot::Receiver<()>,
}

/// Runs until it was told to end and all sessions have ended. A shell that ends, which it does not do by itself,
/// ends it too.
pub(super) async fn run(mut shard: Shard, shells: Shells, mut inputs: Inputs, start: Instant) {
    let mut past = Past::default();
    let mut ending = false;
    while !ending || shard.has_sessions() {
        let deadline = shard.deadline().map(|at| tokio::time::Instant::from_std(start + at.since_start()));
        let event = tokio::select! {
            event = inputs.sip.recv() => match event {
                Some(event) => Event::Sip(event),
                None => return,
            },
            event = inputs.media.recv() => match event {
                Some(event) => {
                    past.note(&event);
                    Event::Media(event)
                }
                None => return,
            },
            Some(outcome) = inputs.store.recv() => Event::Store(outcome),
            Some(answer) = inputs.preferences.recv() => Event::Preferences(answer),
            () = sleep_until(deadline) => Event::Tick,
            _ = &mut inputs.shut_down, if !ending => {
                ending = true;
                let commands = shard.shut_down(now(start));
                carry_out(&shells, commands);
                continue;
            }
            Some(Reload { policy, users, done }) = inputs.reloads.recv() => {
                shard.reload(policy, users);
                // Who does not wait for it needs no word.
                let _ = done.send(());
                continue;
            }
            Some(query) = inputs.queries.recv() => {
                answer(&shard, query, now(start), &past);
                continue;
            }
        };
        carry_out(&shells, shard.handle(now(start), event));
    }
}

/// Carries out a batch in order, but legs are opened first: the relay knows them all, and what is recorded, before
/// anyone is told that messages may be sent.
fn carry_out(shells: &Shells, commands: Vec<Command>) {
    use MediaCommand::{BeginRecording, ConnectLeg, EndRecording, OpenLeg, OpenStream};
    let (first, then): (Vec<_>, Vec<_>) = commands.into_iter().partition(|command| {
        let Command::Media(command) = command else { return false };
        matches!(command, BeginRecording { .. } | OpenStream { .. } | OpenLeg { .. } | ConnectLeg { .. })
    });
    // What is ordered behind the end of a recording comes after what was recorded.
    let mut ended = None;
    for command in first.into_iter().chain(then) {
        if let Command::Media(EndRecording { stream }) = &command {
            ended = Some(*stream);
        }
        match command {
            Command::Media(command) => shells.relay.command(command),
            Command::Preferences(question) => {
                if let Some(xdms) = &shells.xdms {
                    xdms.ask(question);
                }
            }
            Command::Sip(command) => shells.sip.command(command),
            Command::Store(order) => match (&shells.store, ended) {
                (Some(_), Some(stream)) => shells.relay.order_behind(stream, order),
                (Some(store), None) => store.order(order),
                (None, _) => {}
            },
        }
    }
}

fn now(start: Instant) -> Time {
    Time::from_start(start.elapsed())
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn answer(shard: &Shard, query: CoreQuery, now: Time, past: &Past) {
    // A client that is gone needs no answer.
    let _ = query.reply.send(look_up(shard, &query.wanted, now, past));
}

fn look_up(shard: &Shard, wanted: &Wanted, now: Time, past: &Past) -> CoreAnswer {
    let owner =
        |leg: &LegKey| shard.leg_owner(*leg).map(|(session, name)| (*leg, (session, name.to_owned())));
    CoreAnswer {
        sessions: shard.session_views(now).take(wanted.sessions).collect(),
        session_total: shard.session_count(),
        session_proxied: shard.proxied_count(),
        devices: shard.device_views(now).take(wanted.devices).collect(),
        device_total: shard.device_count(),
        groups: shard.group_views(now).take(wanted.groups).collect(),
        group_total: shard.group_count(),
        store: shard.store_counters(),
        xdms: shard.xdms_counters(),
        owners: wanted.legs.iter().filter_map(owner).collect(),
        past: past.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        config::{CoreConfig, DigestAlgorithm},
        entropy::SeededEntropy,
        event::{Peer, ServerTx, Transport},
        policy::Policy,
        sip::{Method, Request},
    };

    /// A core that a registrar has told of so many users with one device each.
    fn with_devices(users: u64) -> Shard {
        let registrar = Peer {
            transport: Transport::Udp,
            addr: "10.0.0.5:5060".parse().unwrap(),
            local: "10.0.0.1:5060".parse().unwrap(),
            flow: None,
        };
        let config = CoreConfig {
            registrars: vec![registrar.addr.ip()],
            policy: Policy::default(),
            domains: vec!["example.org".to_owned()],
            sip: Vec::new(),
            msrp: Vec::new(),
            trusted: vec![registrar.addr.ip()],
            core_route: None,
            isf_route: None,
            product: "CPM-serv/OMA2.2 pf/0".to_owned(),
            secret: [1; 32],
            users: Vec::new(),
            digest: DigestAlgorithm::ALL.to_vec(),
            own_uri: None,
            outside_trust_domain: false,
            store: None,
            xdms: None,
        };
        let mut shard = Shard::new(config, Box::new(SeededEntropy(1)));
        for user in 0..users {
            let address = format!("<sip:u{user}@example.org>");
            let mut request = Request::new(Method::Register, "sip:10.0.0.1:5060");
            for (name, value) in [
                ("From", "<sip:scscf.example.org>;tag=s"),
                ("To", &address),
                ("Call-ID", "third"),
                ("CSeq", "1 REGISTER"),
                ("Content-Type", "message/sip"),
            ] {
                request.headers.push(name, value);
            }
            request.body = format!(
                "REGISTER sip:example.org SIP/2.0\r\nFrom: {address};tag=r\r\nTo: {address}\r\n\
                 Call-ID: first\r\nCSeq: 1 REGISTER\r\nContact: <sip:u{user}@192.0.2.1>\r\n\r\n"
            )
            .into();
            let event = SipEvent::Request { tx: ServerTx(user), from: registrar, request };
            shard.handle(Time::ZERO, Event::Sip(event));
        }
        shard
    }

    #[test]
    fn no_more_rows_are_made_than_are_wanted_and_all_are_counted() {
        let shard = with_devices(20);
        let ask = |devices| {
            let wanted = Wanted { devices, ..Wanted::default() };
            look_up(&shard, &wanted, Time::ZERO, &Past::default())
        };
        for (wanted, got) in [(0, 0), (3, 3), (20, 20), (1000, 20)] {
            let answer = ask(wanted);
            assert_eq!((answer.devices.len(), answer.device_total), (got, 20));
            assert_eq!((answer.sessions.len(), answer.session_total), (0, 0));
        }
        assert_eq!(ask(3).devices, shard.devices(Time::ZERO)[..3], "the first ones");
    }
}
