//! `pf run`: starts everything, wires it together, and stops it.
//!
//! Threads: the SIP shell, the core's task and the admin socket share one tokio runtime; the relay brings its own
//! workers. The core is owned by one task; what it commands is handed to the shells without waiting.

mod address;
mod descriptors;
mod fast;
mod guarded;
mod logging;
mod maps;
mod reload;
mod settings;
mod shard;
mod state;
mod views;

use std::{
    io::{self, Write as _},
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    admin::AdminServer,
    cli,
    config::{
        self, Config,
        model::{StoreKind, transport_name},
    },
    core::{
        config::{CoreConfig, User},
        entropy::OsEntropy,
        policy::retrieval::XdmsConfig,
        shard::Shard,
        store::StoreConfig,
    },
    fastpath::Datapath,
    msrp::{Limits, Relay, RelayConfig},
    sip::{SipConfig, SipShell},
    store::{Store, StoreOptions},
    xdm::{Xdms, XdmsOptions},
};

/// Questions of the admin socket that may wait for the core.
const QUERIES: usize = 16;

/// How long the peers may take to answer our last BYEs: most answer within a round trip, and no process manager
/// loses patience that soon.
const FAREWELL: Duration = Duration::from_secs(2);

/// Reads the configuration and serves until SIGTERM or SIGINT; SIGHUP reads it again.
pub fn run(file: &Path) -> anyhow::Result<()> {
    let checked = config::load(file);
    let Some(config) = checked.config.clone() else {
        bail!("the configuration has faults\n{}", cli::check::report(file, &checked).trim_end());
    };
    logging::start(&config.log)?;
    for finding in &checked.findings {
        tracing::warn!(file = %finding.file.display(), line = finding.line, option = finding.key, "{}", finding.message);
    }
    let fast_path = fast::load(&config)?;
    descriptors::raise();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("pf")
        .build()
        .context("cannot start threads")?;
    let served = runtime.block_on(serve(file, &config, checked.users, fast_path));
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

async fn serve(
    file: &Path,
    config: &Config,
    users: Vec<User>,
    (path, fast_path): (Option<Datapath>, fast::FastPath),
) -> anyhow::Result<()> {
    // Signals first: one that comes while the rest starts must not be lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let hang_up = signal(SignalKind::hangup())?;
    let (reloads, reloaded) = mpsc::channel(1);
    let reloader = reload::Reloader::new(file, config, &users, reloads);
    let secret = state::contact_key(&config.state_dir, &mut OsEntropy)?;

    let sip_config = sip_config(config);
    let (sip_events, sip) = mpsc::channel(sip_config.max_events);
    let sip_shell = SipShell::start(sip_config, sip_events).await.context("SIP")?;
    let start = Instant::now();
    let (store_outcomes, stored) = mpsc::unbounded_channel();
    let store = store_options(config).map(|options| Store::start(options, store_outcomes));
    let store = store.transpose().context("store.path")?;
    let (media_events, media) = mpsc::unbounded_channel();
    let mut tables = path.as_ref().map(Datapath::tables).transpose()?.unwrap_or_default();
    let recorder = store.as_ref().map(|store| store.recorder(start));
    let relay = Relay::start_with(relay_config(config), path, recorder, media_events).context("MSRP")?;
    let relay = Arc::new(relay);
    // The ports are known now, and no peer knows them yet.
    let guard = guarded::Guarded::start(&config.guard, &relay.local())?;
    tables.join(guard.tables()?);
    let settings = settings::Settings::new(&config.datapath, !tables.is_empty());
    let maps = maps::Maps::new(&config.datapath, tables);
    let (preferences, retrieved) = mpsc::unbounded_channel();
    // Without a store nobody wants to know what users want stored.
    let xdms =
        xdms_options(config).filter(|_| store.is_some()).map(|options| Xdms::start(options, preferences));
    let xdms = xdms.transpose().context("xdms.root")?;
    let shells = shard::Shells { sip: sip_shell, relay, store: store.clone(), xdms };

    let core_config = CoreConfig {
        policy: config.policy.clone(),
        domains: config.registrar.domains.iter().map(|d| d.to_ascii_lowercase()).collect(),
        sip: address::sip(config, &shells.sip.local()),
        msrp: address::msrp(config, &shells.relay.local()),
        trusted: config.sip.trusted.clone(),
        registrars: config.sip.registrars.clone(),
        core_route: config.sip.core.clone(),
        isf_route: config.sip.isf.clone(),
        product: config.sip.product.clone(),
        secret,
        users,
        digest: config.registrar.digest.clone(),
        own_uri: config.sip.own_uri.clone(),
        outside_trust_domain: config.sip.outside_trust_domain,
        store: store.is_some().then(|| StoreConfig {
            wait: seconds(config.store.wait_seconds),
            held_octets: config.store.held_octets,
            deferred_octets: config.store.deferred_octets,
            session_octets: config.store.session_octets,
        }),
        xdms: shells.xdms.is_some().then(|| XdmsConfig {
            wait: seconds(config.xdms.wait_seconds),
            epoch: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        }),
    };
    let core = Shard::new(core_config, Box::new(OsEntropy));
    let (queries, asked) = mpsc::channel(QUERIES);
    let (shut_down, told) = oneshot::channel();
    let inputs = shard::Inputs {
        sip,
        media,
        store: stored,
        preferences: retrieved,
        queries: asked,
        reloads: reloaded,
        shut_down: told,
    };
    let mut core = tokio::spawn(shard::run(core, shells.clone(), inputs, start));
    let on_signal = tokio::spawn(reloader.clone().on(hang_up));
    let views = views::Views {
        core: queries,
        shells: shells.clone(),
        start,
        fast_path,
        guard,
        maps,
        settings,
        reloader,
    };
    let admin = AdminServer::start(&config.admin.socket, views).context("admin.socket")?;

    ready(config, &shells)?;
    let ended = tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
        ended = &mut core => match ended {
            Ok(()) => Err(anyhow::anyhow!("a shell has ended")),
            Err(error) => Err(anyhow::anyhow!("the core has failed: {error}")),
        },
        reason = shells.relay.failed() => Err(anyhow::anyhow!("{reason}: its sessions are lost")),
    };
    drop(admin);
    on_signal.abort();
    if ended.is_ok() && shut_down.send(()).is_ok() {
        // All sessions end; a second signal, or peers that are silent, cut that short.
        tokio::select! {
            late = timeout(FAREWELL, &mut core) => if late.is_err() {
                tracing::warn!("some peers have not answered their BYE");
            },
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
    core.abort();
    if timeout(FAREWELL, shells.relay.recorded()).await.is_err() {
        tracing::warn!("the relay has not handed over everything that was recorded");
    }
    drop(shells);
    if let Some(store) = store {
        // What was ordered last is still to be written.
        let written = tokio::task::spawn_blocking(move || store.finish(FAREWELL)).await;
        if !written.is_ok_and(|written| written) {
            tracing::warn!("the store has not written everything");
        }
    }
    tracing::info!(signal = ended.as_ref().ok(), "stopped");
    ended.map(drop)
}

/// One line on standard output, for people and for programs that wait for it.
fn ready(config: &Config, shells: &shard::Shells) -> anyhow::Result<()> {
    let sip: Vec<String> =
        shells.sip.local().iter().map(|(t, addr)| format!("{}:{addr}", transport_name(*t))).collect();
    let msrp: Vec<String> = shells.relay.local().iter().map(ToString::to_string).collect();
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "pf ready: sip {} msrp {} admin {}",
        sip.join(" "),
        msrp.join(" "),
        config.admin.socket.display()
    )?;
    out.flush()?;
    Ok(())
}

fn sip_config(config: &Config) -> SipConfig {
    let sip = &config.sip;
    SipConfig {
        listen: sip.listen.iter().map(|l| (l.transport, l.addr)).collect(),
        advertise: sip.advertise.clone(),
        product: sip.product.clone(),
        max_connections: size(sip.connections),
        max_connections_per_peer: size(sip.connections_per_peer),
        max_transactions: size(sip.transactions),
        max_transactions_per_source: size(sip.transactions_per_source.unwrap_or(sip.transactions / 4)),
        trusted: sip.trusted.iter().chain(&sip.registrars).copied().collect(),
        idle_timeout: seconds(sip.idle_seconds),
        ..SipConfig::default()
    }
}

fn store_options(config: &Config) -> Option<StoreOptions> {
    let path = || config.store.path.clone().unwrap_or_else(|| config.state_dir.join("store.jsonl"));
    (config.store.kind == StoreKind::Journal).then(|| StoreOptions {
        path: path(),
        max_octets: config.store.max_octets,
        epoch: SystemTime::now(),
        recording_octets: config.store.recording_octets,
    })
}

fn xdms_options(config: &Config) -> Option<XdmsOptions> {
    Some(XdmsOptions {
        root: config.xdms.root.clone()?,
        identity_header: config.xdms.identity_header.clone(),
        patience: seconds(config.xdms.wait_seconds),
        product: config.sip.product.clone(),
    })
}

fn relay_config(config: &Config) -> RelayConfig {
    let msrp = &config.msrp;
    RelayConfig {
        listen: msrp.listen.clone(),
        workers: size(msrp.workers),
        connections: size(msrp.connections),
        unbound_connections: size(msrp.unbound_connections),
        unbound_per_peer: size(msrp.unbound_connections_per_peer),
        connect_from_path_port: msrp.connect_from_path_port,
        limits: Limits {
            high_water: size(msrp.queue),
            low_water: size(msrp.queue / 4),
            device_queue: size(msrp.device_queue),
            device_backlog: size(msrp.device_backlog),
            guard: seconds(msrp.answer_seconds),
            silent: seconds(msrp.silent_seconds),
            connect: seconds(msrp.connect_seconds),
            reuse_connections: msrp.reuse_connections,
            recorded_octets: config.store.recorded_octets,
            ..Limits::default()
        },
        tunables: settings::tunables(&config.datapath),
    }
}

fn size(value: impl TryInto<usize>) -> usize {
    value.try_into().unwrap_or(usize::MAX)
}

fn seconds(value: u32) -> Duration {
    Duration::from_secs(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_s_defaults_are_those_of_the_shells() {
        let config = Config::default();
        let (sip, relay) = (sip_config(&config), relay_config(&config));
        let own = SipConfig::default();
        assert_eq!(
            (sip.max_connections, sip.max_connections_per_peer, sip.max_transactions, sip.idle_timeout),
            (own.max_connections, own.max_connections_per_peer, own.max_transactions, own.idle_timeout)
        );
        assert_eq!(sip.max_transactions_per_source, own.max_transactions_per_source);
        assert_eq!(relay, RelayConfig { listen: config.msrp.listen.clone(), ..RelayConfig::default() });
    }
}
