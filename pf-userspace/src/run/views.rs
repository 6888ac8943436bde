//! What the admin socket shows: the core's views with what the relay and the SIP shell know.

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use tokio::sync::{mpsc, oneshot};

use super::{
    guarded::Guarded,
    shard::{CoreAnswer, CoreQuery, Shells, add},
};
use crate::{
    admin::{
        Answer, Query, Request, Source,
        protocol::{FastPathStats, LegRow, Stats, UserspaceReason},
    },
    config::model::FastPath,
    core::{
        event::{LegCounters, LegKey},
        view::SessionView,
    },
    msrp::{LegSnapshot, LegState},
};

/// Answers the admin socket.
pub(super) struct Views {
    /// To the task that owns the core.
    pub(super) core: mpsc::Sender<CoreQuery>,
    /// The shells.
    pub(super) shells: Shells,
    /// When the process started.
    pub(super) start: Instant,
    /// As configured.
    pub(super) fast_path: FastPath,
    /// The guard, where there is one.
    pub(super) guard: Guarded,
}

impl Source for Views {
    async fn answer(&self, request: Request) -> Answer {
        let rows = request.rows();
        match request.query {
            Query::Devices => match self.core(false, true).await {
                Some(mut core) => {
                    let total = core.devices.len();
                    core.devices.truncate(rows);
                    Answer::Devices { total, devices: core.devices }
                }
                None => stopping(),
            },
            Query::Guard | Query::Maps | Query::Set => self.guard.answer(request).await,
            Query::Legs => match self.core(true, false).await {
                Some(core) => {
                    let mut legs = legs(&core.sessions, self.shells.relay.snapshot().await);
                    let total = legs.len();
                    legs.truncate(rows);
                    Answer::Legs { total, legs }
                }
                None => stopping(),
            },
            Query::Sessions => match self.core(true, false).await {
                Some(mut core) => {
                    let total = core.sessions.len();
                    core.sessions.truncate(rows);
                    let carried: HashMap<LegKey, LegCounters> = self
                        .shells
                        .relay
                        .snapshot()
                        .await
                        .iter()
                        .map(|leg| (leg.leg, leg.counters))
                        .collect();
                    refresh(&mut core.sessions, &carried);
                    Answer::Sessions { total, sessions: core.sessions }
                }
                None => stopping(),
            },
            Query::Stats => match self.core(true, true).await {
                Some(core) => Answer::Stats { stats: Box::new(self.stats(core).await) },
                None => stopping(),
            },
        }
    }
}

impl Views {
    async fn core(&self, sessions: bool, devices: bool) -> Option<CoreAnswer> {
        let (reply, answer) = oneshot::channel();
        self.core.send(CoreQuery { sessions, devices, reply }).await.ok()?;
        answer.await.ok()
    }

    async fn stats(&self, core: CoreAnswer) -> Stats {
        let living = self.shells.relay.snapshot().await;
        let mut media = core.past.carried;
        for leg in &living {
            add(&mut media, &leg.counters);
        }
        let reason = match self.fast_path {
            FastPath::Off => UserspaceReason::SwitchedOff,
            FastPath::Auto | FastPath::Required => UserspaceReason::NotBuilt,
        };
        Stats {
            pf_version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: self.start.elapsed().as_secs(),
            sessions: core.sessions.len(),
            devices: core.devices.len(),
            legs: living.len(),
            media,
            legs_down: core.past.down,
            fast_path: FastPathStats {
                mode: self.fast_path.to_string(),
                available: false,
                sends_in_kernel: 0,
                sends_in_userspace: BTreeMap::from([(reason, media.sends_in)]),
            },
            guard: self.guard.stats(),
            sip: serde_json::to_value(self.shells.sip.stats()).unwrap_or_default(),
        }
    }
}

fn stopping() -> Answer {
    Answer::Error { message: "pf is stopping".to_owned() }
}

/// The core hears of a leg's counters when the leg ends: until then the relay's are put in.
fn refresh(sessions: &mut [SessionView], carried: &HashMap<LegKey, LegCounters>) {
    for leg in sessions.iter_mut().flat_map(|session| &mut session.legs) {
        let living: Vec<_> = leg.media.iter().filter_map(|key| carried.get(key)).collect();
        if !living.is_empty() {
            leg.counters = LegCounters::default();
            living.into_iter().for_each(|counters| add(&mut leg.counters, counters));
        }
    }
}

/// The relay's legs with the sessions they belong to, in the order of their keys.
fn legs(sessions: &[SessionView], snapshot: Vec<LegSnapshot>) -> Vec<LegRow> {
    let mut owners: HashMap<LegKey, (u64, &str)> = HashMap::new();
    for session in sessions {
        for leg in &session.legs {
            owners.extend(leg.media.iter().map(|key| (*key, (session.id, leg.name.as_str()))));
        }
    }
    let mut rows: Vec<LegRow> = snapshot
        .into_iter()
        .map(|leg| {
            let owner = owners.get(&leg.leg);
            LegRow {
                leg: leg.leg,
                stream: leg.stream,
                session: owner.map(|(session, _)| *session),
                role: leg.role,
                name: owner.map(|(_, name)| (*name).to_owned()).unwrap_or_default(),
                state: state(leg.state).to_owned(),
                peer: leg.peer.map(|peer| peer.to_string()),
                queued_octets: leg.queued,
                counters: leg.counters,
            }
        })
        .collect();
    rows.sort_by_key(|row| row.leg);
    rows
}

fn state(state: LegState) -> &'static str {
    match state {
        LegState::Connecting => "connecting",
        LegState::Opened => "opened",
        LegState::Up => "up",
        LegState::Waiting => "waiting",
    }
}
