//! `pf-bench sessions`: many sessions live at once, each with several devices, and what they cost in memory.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::{
    crew::Crew,
    load::Run,
    measure,
    pf::{self, Setting},
    sip_client::Network,
};

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Options {
    /// Sessions, each of a user of its own
    #[arg(long)]
    sessions: Option<usize>,
    /// Devices of each user beside the one that sends
    #[arg(long, default_value_t = 4)]
    devices: usize,
    /// Users whose devices share one SIP connection, as behind an access gateway
    #[arg(long, default_value_t = 20)]
    users_per_connection: usize,
    /// Body in octets of the messages sent in all sessions at once
    #[arg(long, default_value_t = 1024)]
    body: usize,
    /// 100 sessions instead of 2,000
    #[arg(long)]
    quick: bool,
    /// The pf binary; absent: PF_BIN, else target/release/pf
    #[arg(long)]
    pf: Option<PathBuf>,
    /// Directory for JSON and logs
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

#[derive(Debug, Serialize)]
struct Outcome {
    sessions: usize,
    devices: usize,
    msrp_connections: usize,
    /// Resident memory of pf, in KiB: just started, all devices registered, all sessions live, after the messages.
    resident_kib: [u64; 4],
    session_kib: f64,
    device_kib: f64,
    set_up_per_second: f64,
    /// CPU of pf per session set up, its legs included, in microseconds.
    set_up_us: f64,
    messages: crate::crew::Sample,
}

/// Registers, sets up and sends; an error if a session or message failed.
pub(crate) fn run(options: &Options) -> Result<()> {
    let sessions = options.sessions.unwrap_or(if options.quick { 100 } else { 2000 });
    let devices = options.devices;
    let connections = sessions * (devices + 2);
    ensure!(sessions > 0, "at least one session");
    let limit = raise_descriptors()?;
    ensure!(
        (connections as u64) + 100 < limit,
        "{connections} MSRP connections in one process need more than the {limit} descriptors allowed here"
    );
    let mut network = Network::new()?;
    let core = format!("sip:{};transport=tcp", network.far());
    let setting = Setting { core, users: sessions, fast_path: "off", trusted: false, msrp: "" };
    let running =
        pf::start(&pf::binary(options.pf.as_deref()), &setting, &options.out.join("run/pf-sessions"))?;
    let pids = running.process.pids();
    let started = measure::resident_kib(&pids);
    network.connect(running.tcp, sessions.div_ceil(options.users_per_connection.max(1)))?;
    for user in 0..sessions {
        for device in 0..=devices {
            network.register(user, device)?;
        }
    }
    let registered = measure::resident_kib(&pids);
    let (begin, cpu) = (Instant::now(), measure::run_time(&pids));
    let lanes = (0..sessions).map(|user| network.session(user, devices)).collect::<Result<Vec<_>>>()?;
    let (took, cpu) = (begin.elapsed().as_secs_f64(), measure::run_time(&pids).saturating_sub(cpu));
    let live = measure::resident_kib(&pids);
    let mut crew = Crew::new(lanes, 1)?;
    let (warm_up, window) =
        (Duration::from_millis(500), Duration::from_secs(if options.quick { 1 } else { 5 }));
    let run = Run { lanes: sessions, depth: 1, per_second: 0, body: options.body, warm_up, window };
    let messages = crew.run(&run, &pids)?;
    let after = measure::resident_kib(&pids);
    let outcome = Outcome {
        sessions,
        devices,
        msrp_connections: connections,
        resident_kib: [started, registered, live, after],
        session_kib: live.saturating_sub(registered) as f64 / sessions as f64,
        device_kib: registered.saturating_sub(started) as f64 / (sessions * (devices + 1)) as f64,
        set_up_per_second: sessions as f64 / took,
        set_up_us: cpu as f64 / 1000.0 / sessions as f64,
        messages,
    };
    let mib = |kib: u64| kib as f64 / 1024.0;
    println!(
        "{sessions} sessions, each with the far end and {devices} devices beside the sender: {connections} MSRP connections"
    );
    println!(
        "pf RSS: {:.1} MiB started, {:.1} MiB with {} devices registered ({:.2} KiB each), {:.1} MiB with all sessions live \
        ({:.1} KiB each), {:.1} MiB after the messages",
        mib(started),
        mib(registered),
        sessions * (devices + 1),
        outcome.device_kib,
        mib(live),
        outcome.session_kib,
        mib(after)
    );
    println!(
        "{} users share a SIP connection; set-up, one at a time: {:.0} sessions/s, {:.0} us of pf's CPU each",
        options.users_per_connection, outcome.set_up_per_second, outcome.set_up_us
    );
    println!(
        "one {} B SEND in flight in every session, copied to {} legs: {:.0} SEND/s, {:.1} us of pf's CPU each, p50 {:.0} us",
        options.body,
        devices + 1,
        outcome.messages.rate,
        outcome.messages.relay_us,
        outcome.messages.p50_us
    );
    fs::create_dir_all(&options.out)?;
    fs::write(options.out.join("sessions.json"), serde_json::to_string_pretty(&outcome)?)?;
    Ok(())
}

/// Raises the number of descriptors to what is allowed, for this process and those it starts.
fn raise_descriptors() -> Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` lives through both calls.
    let result = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit)
    };
    ensure!(result == 0, "setrlimit: {}", std::io::Error::last_os_error());
    Ok(limit.rlim_cur)
}
