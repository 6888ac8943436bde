//! The task that owns the core: one event in, all its commands carried out, then the next event.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use tokio::sync::{mpsc, oneshot};

use crate::{
    core::{
        Command, Event, Time,
        event::{LegCounters, LegDown, MediaCommand, MediaEvent, SipEvent},
        shard::Shard,
        view::{DeviceView, SessionView},
    },
    msrp::Relay,
    sip::SipShell,
};

/// What the admin socket wants to know of the core.
#[derive(Debug)]
pub(super) struct CoreQuery {
    /// The sessions?
    pub(super) sessions: bool,
    /// The devices?
    pub(super) devices: bool,
    /// Where the answer goes.
    pub(super) reply: oneshot::Sender<CoreAnswer>,
}

/// What the core answers.
#[derive(Debug, Default)]
pub(super) struct CoreAnswer {
    /// All sessions, if asked for.
    pub(super) sessions: Vec<SessionView>,
    /// All devices, if asked for.
    pub(super) devices: Vec<DeviceView>,
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
            MediaEvent::LegClosed { counters, .. } => add(&mut self.carried, counters),
            MediaEvent::LegDown { reason, counters, .. } => {
                add(&mut self.carried, counters);
                *self.down.entry(*reason).or_default() += 1;
            }
            _ => {}
        }
    }
}

/// Adds the counters of one leg to a sum.
pub(super) fn add(sum: &mut LegCounters, leg: &LegCounters) {
    let LegCounters {
        sends_in,
        sends_out,
        octets_in,
        octets_out,
        ok,
        errors,
        timeouts,
        reports,
        unacceptable,
        missed,
    } = leg;
    sum.sends_in += sends_in;
    sum.sends_out += sends_out;
    sum.octets_in += octets_in;
    sum.octets_out += octets_out;
    sum.ok += ok;
    sum.errors += errors;
    sum.timeouts += timeouts;
    sum.reports += reports;
    sum.unacceptable += unacceptable;
    sum.missed += missed;
}

/// The shells that carry out commands.
#[derive(Clone)]
pub(super) struct Shells {
    /// The SIP shell.
    pub(super) sip: SipShell,
    /// The MSRP relay.
    pub(super) relay: Arc<Relay>,
}

/// Where events come from.
pub(super) struct Inputs {
    /// From the SIP shell.
    pub(super) sip: mpsc::Receiver<SipEvent>,
    /// From the media workers.
    pub(super) media: mpsc::UnboundedReceiver<MediaEvent>,
    /// From the admin socket.
    pub(super) queries: mpsc::Receiver<CoreQuery>,
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
            () = sleep_until(deadline) => Event::Tick,
            _ = &mut inputs.shut_down, if !ending => {
                ending = true;
                let commands = shard.shut_down(now(start));
                carry_out(&shells, commands);
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

/// Carries out a batch in order, but legs are opened first: the relay knows them all before anyone is told that
/// messages may be sent.
fn carry_out(shells: &Shells, commands: Vec<Command>) {
    use MediaCommand::{ConnectLeg, OpenLeg, OpenStream};
    let (first, then): (Vec<_>, Vec<_>) = commands.into_iter().partition(|command| {
        matches!(command, Command::Media(OpenStream { .. } | OpenLeg { .. } | ConnectLeg { .. }))
    });
    for command in first.into_iter().chain(then) {
        match command {
            Command::Media(command) => shells.relay.command(command),
            Command::Sip(command) => shells.sip.command(command),
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
    let answer = CoreAnswer {
        sessions: if query.sessions { shard.sessions(now) } else { Vec::new() },
        devices: if query.devices { shard.devices(now) } else { Vec::new() },
        past: past.clone(),
    };
    // A client that is gone needs no answer.
    let _ = query.reply.send(answer);
}
