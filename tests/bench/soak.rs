//! `pf-bench soak`: a hundred thousand sessions come and go; then every table of `pf` is empty and its memory is back.

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{calls::Rig, measure, pf};

/// Transactions are remembered for 32 s after their end (RFC 3261 section 17).
const FORGET: Duration = Duration::from_secs(90);
/// Memory that may stay beyond what the first sessions have left behind: allocators keep some.
const SLACK_KIB: u64 = 16 * 1024;

/// What to run.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Options {
    /// Sessions in all
    #[arg(long, default_value_t = 100_000)]
    sessions: u64,
    /// Sessions set up per second
    #[arg(long, default_value_t = 700)]
    rate: u64,
    /// What they go through: pf, or kamailio for pf with a SIP core around it
    #[arg(long, default_value = "pf", value_parser = ["pf", "kamailio"])]
    way: String,
    /// udp or tcp
    #[arg(long, default_value = "udp", value_parser = ["udp", "tcp"])]
    transport: String,
    /// The pf binary; absent: PF_BIN, else target/release/pf
    #[arg(long)]
    pf: Option<PathBuf>,
    /// Directory for logs
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

/// An error if a session failed, a table is not empty, or memory has grown.
pub(crate) fn run(options: &Options) -> Result<()> {
    let binary = pf::binary(options.pf.as_deref());
    let transport = if options.transport == "tcp" { "tcp" } else { "udp" };
    let rig = Rig::start(&options.way, transport, &binary, &options.out)?;
    let running = rig.pf.as_ref().context("pf")?;
    let socket = options.out.join("run/pf-sip/pf.sock").canonicalize()?;
    let resident = || measure::resident_kib(&running.process.pids());
    let tables = || -> Result<Vec<(String, u64)>> {
        let output = Command::new(&binary).args(["stats", "--json", "--socket"]).arg(&socket).output()?;
        let stats: serde_json::Value = serde_json::from_slice(&output.stdout).context("pf stats --json")?;
        let of = |name: &str| stats.get(name).and_then(serde_json::Value::as_u64);
        ["sessions", "legs"]
            .into_iter()
            .map(|name| Ok((name.to_owned(), of(name).with_context(|| format!("no {name} in pf stats"))?)))
            .collect()
    };
    let rest = || -> Result<()> {
        let end = Instant::now() + FORGET;
        while tables()?.iter().any(|(_, count)| *count > 0) {
            ensure!(Instant::now() < end, "not empty after {FORGET:?}: {:?}", tables()?);
            std::thread::sleep(Duration::from_millis(500));
        }
        // Until transactions are forgotten, too.
        std::thread::sleep(Duration::from_secs(40));
        Ok(())
    };
    // Long enough that as many transactions are remembered at once as later on.
    let first = (options.sessions / 10).max(options.rate * 45);
    println!(
        "soak: {} sessions at {}/s through {} over {transport}",
        options.sessions, options.rate, options.way
    );
    let mut marks = Vec::new();
    for (what, count) in [("warm-up", first), ("soak", options.sessions)] {
        let begin = Instant::now();
        let outcome = rig.load(count, options.rate, Duration::from_secs(120))?;
        ensure!(outcome.failed == 0, "{} of {count} sessions failed", outcome.failed);
        rest()?;
        let now = resident();
        println!(
            "{what}: {count} sessions, none failed, {:.0} s, pf CPU {:.0} us each; tables empty, {:.1} MiB resident",
            begin.elapsed().as_secs_f64(),
            outcome.pf_us,
            now as f64 / 1024.0
        );
        marks.push(now);
    }
    let (before, after) = (marks[0], marks[1]);
    ensure!(after <= before + SLACK_KIB, "memory has grown from {before} to {after} KiB");
    println!(
        "memory is back: {before} KiB after {first} sessions, {after} KiB after {} more",
        options.sessions
    );
    Ok(())
}
