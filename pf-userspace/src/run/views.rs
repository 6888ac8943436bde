//! What the admin socket shows: the core's views with what the relay and the SIP shell know.

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use tokio::sync::{mpsc, oneshot};

use super::{
    fast::FastPath,
    guarded::Guarded,
    maps::{Maps, only},
    reload::Reloader,
    settings::Settings,
    shard::{CoreAnswer, CoreQuery, Shells, Wanted},
};
use crate::{
    admin::{
        Answer, Query, Request, Source,
        protocol::{Change, FastPathStats, LegRow, ProgramStats, Setting, Stats},
    },
    config::model,
    core::{
        event::{LegCounters, LegKey},
        view::SessionView,
    },
    fastpath::{ProgramInfo, TableName},
    msrp::{ConnectionRow, LegSnapshot, LegState, PathView},
    store::Store,
};

/// Answers the admin socket.
pub(super) struct Views {
    /// To the task that owns the core.
    pub(super) core: mpsc::Sender<CoreQuery>,
    /// The shells.
    pub(super) shells: Shells,
    /// When the process started.
    pub(super) start: Instant,
    /// What became of the wish for the in-kernel path.
    pub(super) fast_path: FastPath,
    /// The guard, where there is one.
    pub(super) guard: Guarded,
    /// The maps of the kernel programs.
    pub(super) maps: Maps,
    /// What can be changed.
    pub(super) settings: Settings,
    /// Reads the configuration again.
    pub(super) reloader: Reloader,
}

impl Source for Views {
    async fn answer(&self, request: Request) -> Answer {
        let rows = request.rows();
        match request.query {
            Query::Devices => match self.core(Wanted { devices: rows, ..Wanted::default() }).await {
                Some(core) => Answer::Devices { total: core.device_total, devices: core.devices },
                None => stopping(),
            },
            Query::Groups => match self.core(Wanted { groups: rows, ..Wanted::default() }).await {
                Some(core) => Answer::Groups { total: core.group_total, groups: core.groups },
                None => stopping(),
            },
            Query::Connections => {
                let mut connections = self.shells.relay.connections().await;
                let key = |row: &ConnectionRow| {
                    [Some(row.connection.to_string()), row.peer.clone()].into_iter().flatten().collect()
                };
                let map = TableName::Connections.map();
                if let Err(none) = only(&mut connections, map, request.key.as_deref(), key) {
                    return none;
                }
                let total = connections.len();
                connections.truncate(rows);
                Answer::Connections { total, connections }
            }
            Query::Guard => self.guard.answer(request).await,
            Query::Dump | Query::Maps => self.maps.answer(request).await,
            Query::Set => match request.set {
                Some(Change { key: Setting::GuardConnections | Setting::GuardPackets, .. }) => {
                    self.guard.answer(request).await
                }
                Some(_) if !self.fast_path.loaded() => Answer::Error {
                    message: "there is no fast path to be changed: `pf stats` says why".to_owned(),
                },
                Some(change) => self.settings.set(&self.shells.relay, change).await,
                None => Answer::Error { message: "the question does not say what to set".to_owned() },
            },
            Query::Legs => {
                let mut living = self.shells.relay.snapshot().await;
                let total = living.len();
                living.sort_by_key(|leg| leg.leg);
                living.truncate(rows);
                let keys = living.iter().map(|leg| leg.leg).collect();
                match self.core(Wanted { legs: keys, ..Wanted::default() }).await {
                    Some(core) => Answer::Legs { total, legs: legs(core.owners, living) },
                    None => stopping(),
                }
            }
            Query::Reload => self.reloader.answer().await,
            Query::Sessions => match self.core(Wanted { sessions: rows, ..Wanted::default() }).await {
                Some(mut core) => {
                    let carried: HashMap<LegKey, LegCounters> = self
                        .shells
                        .relay
                        .snapshot()
                        .await
                        .iter()
                        .map(|leg| (leg.leg, leg.counters))
                        .collect();
                    refresh(&mut core.sessions, &carried);
                    Answer::Sessions { total: core.session_total, sessions: core.sessions }
                }
                None => stopping(),
            },
            Query::Stats => match self.core(Wanted::default()).await {
                Some(core) => Answer::Stats { stats: Box::new(self.stats(core).await) },
                None => stopping(),
            },
            Query::Store => match &self.shells.store {
                Some(store) => {
                    let (objects, total) = store.rows(rows);
                    Answer::Store { total, objects }
                }
                None => {
                    Answer::Error { message: "there is no store: `kind` under [store] is none".to_owned() }
                }
            },
        }
    }
}

impl Views {
    async fn core(&self, wanted: Wanted) -> Option<CoreAnswer> {
        let (reply, answer) = oneshot::channel();
        self.core.send(CoreQuery { wanted, reply }).await.ok()?;
        answer.await.ok()
    }

    /// How much of `sends` the kernel carried, and why not the others.
    async fn path(&self, sends: u64) -> (FastPathStats, Vec<ProgramInfo>) {
        let mode = self.fast_path.wanted.to_string();
        if let Some(mut path) = self.shells.relay.path().await {
            let programs = std::mem::take(&mut path.programs);
            return (carried(mode, path), programs);
        }
        let reason = match self.fast_path.wanted {
            model::FastPath::Off => "switched-off",
            model::FastPath::Auto | model::FastPath::Required => "not-available",
        };
        let stats = FastPathStats {
            mode,
            missing: self.fast_path.missing.clone(),
            sends_in_userspace: BTreeMap::from([(reason.to_owned(), sends)]),
            ..FastPathStats::default()
        };
        (stats, Vec::new())
    }

    async fn stats(&self, core: CoreAnswer) -> Stats {
        let living = self.shells.relay.snapshot().await;
        let mut media = core.past.carried;
        for leg in &living {
            media.add(&leg.counters);
        }
        let (fast_path, mut programs) = self.path(media.sends_in).await;
        programs.extend(self.guard.programs());
        Stats {
            pf_version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: self.start.elapsed().as_secs(),
            sessions: core.session_total,
            sessions_proxied: core.session_proxied,
            devices: core.device_total,
            legs: living.len(),
            media,
            legs_down: core.past.down,
            fast_path,
            programs: programs.into_iter().map(program).collect(),
            programs_measured: self.settings.measures(),
            store: self.shells.store.is_some().then_some(core.store),
            recording: self.shells.store.as_ref().map(Store::recording),
            xdms: core.xdms,
            guard: self.guard.stats(),
            sip: serde_json::to_value(self.shells.sip.stats()).unwrap_or_default(),
        }
    }
}

fn program(info: ProgramInfo) -> ProgramStats {
    let (runs, time) = info.runs;
    let run_nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    ProgramStats {
        name: info.name,
        runs,
        run_nanoseconds,
        mean_nanoseconds: run_nanoseconds.checked_div(runs),
        verified_instructions: info.verified_instructions,
    }
}

/// The in-kernel path of a process that has one.
fn carried(mode: String, path: PathView) -> FastPathStats {
    let passed: u64 = path.sends_in_userspace.values().sum();
    let all = path.sends_in_kernel + passed;
    let named = path.sends_in_userspace.into_iter().map(|(why, count)| (why.name().to_owned(), count));
    FastPathStats {
        mode,
        available: true,
        missing: None,
        hit_ratio: (all > 0).then(|| path.sends_in_kernel as f64 / all as f64),
        sends_in_kernel: path.sends_in_kernel,
        sends_in_userspace: named.collect(),
        streams: path.streams,
        connections: path.connections,
        left: path.left,
        counts: path.counts,
    }
}

fn stopping() -> Answer {
    Answer::Error { message: "pf is stopping".to_owned() }
}

/// The core hears of an MSRP leg's counters when it ends: those of the living ones are added to what has ended.
fn refresh(sessions: &mut [SessionView], carried: &HashMap<LegKey, LegCounters>) {
    for leg in sessions.iter_mut().flat_map(|session| &mut session.legs) {
        leg.media.iter().filter_map(|key| carried.get(key)).for_each(|living| leg.counters.add(living));
    }
}

/// The relay's legs with the sessions they belong to.
fn legs(mut owners: HashMap<LegKey, (u64, String)>, snapshot: Vec<LegSnapshot>) -> Vec<LegRow> {
    let row = |leg: LegSnapshot| {
        let (session, name) = owners.remove(&leg.leg).unzip();
        LegRow {
            leg: leg.leg,
            stream: leg.stream,
            session,
            role: leg.role,
            name: name.unwrap_or_default(),
            state: state(leg.state).to_owned(),
            peer: leg.peer.map(|peer| peer.to_string()),
            queued_octets: leg.queued,
            counters: leg.counters,
            kernel: leg.kernel,
            path: leg.path,
            recorded: leg.recorded,
        }
    };
    snapshot.into_iter().map(row).collect()
}

fn state(state: LegState) -> &'static str {
    match state {
        LegState::Connecting => "connecting",
        LegState::Opened => "opened",
        LegState::Up => "up",
        LegState::Waiting => "waiting",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        event::LegRole,
        view::{LegView, SessionMode},
    };

    #[test]
    fn what_ended_lines_of_a_leg_have_carried_stays_in_its_sum() {
        let sends = |sends_in| LegCounters { sends_in, ..LegCounters::default() };
        let leg = LegView {
            role: LegRole::Far,
            name: String::new(),
            state: String::new(),
            call_id: String::new(),
            media: vec![LegKey(1), LegKey(2)],
            counters: sends(5),
        };
        let mut sessions = [SessionView {
            id: 1,
            mode: SessionMode::B2bua,
            originator: String::new(),
            destination: String::new(),
            conversation_id: None,
            contribution_id: None,
            age_seconds: 0,
            state: String::new(),
            recorded: false,
            legs: vec![leg],
        }];
        // Line 1 has ended with 5 SENDs, line 2 lives; line 3 is another leg's.
        refresh(&mut sessions, &HashMap::from([(LegKey(2), sends(7)), (LegKey(3), sends(100))]));
        assert_eq!(sessions[0].legs[0].counters, sends(12));
    }
}
