//! `pf-bench soak`: a hundred thousand sessions come and go; then every table of `pf` is empty and its memory is back.
//!
//! They come in blocks. After each, when nothing is remembered any more, resident memory is read. The first block fills
//! tables and the allocator's own store; from then on memory stays, or something is kept of each session.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::{calls::Rig, measure, pf};

/// Until transactions are forgotten: 32 s after their end (RFC 3261 section 17), and what the machine is late.
const FORGET: Duration = Duration::from_secs(120);
/// How long memory may take to go back once nothing is remembered: an allocator gives pages back with a delay.
const SETTLE: Duration = Duration::from_secs(10);
/// What the last block may have more than the first, in per cent.
const GROWTH: u64 = 5;

/// What to run.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Options {
    /// Sessions in all
    #[arg(long, default_value_t = 100_000)]
    sessions: u64,
    /// Sessions of a block
    #[arg(long, default_value_t = 25_000)]
    block: u64,
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

/// What was there after a block.
#[derive(Debug, Serialize)]
struct Row {
    sessions: u64,
    /// From the first INVITE to the last answer.
    seconds: f64,
    /// CPU of pf per session, in microseconds.
    pf_us: f64,
    /// Resident memory of pf when the last session had just ended, in KiB.
    busy_kib: u64,
    /// The same when nothing was remembered any more.
    idle_kib: u64,
}

/// An error if a session failed, a table is not empty, or memory has grown.
pub(crate) fn run(options: &Options) -> Result<()> {
    let binary = pf::binary(options.pf.as_deref());
    let transport = if options.transport == "tcp" { "tcp" } else { "udp" };
    let rig = Rig::start(&options.way, transport, &binary, &options.out)?;
    let running = rig.pf.as_ref().context("pf")?;
    let socket = options.out.join("run/pf-sip/pf.sock").canonicalize()?;
    let resident = || measure::resident_kib(&running.process.pids());
    let size = options.block.max(1);
    let blocks = options.sessions.div_ceil(size);
    println!(
        "soak: {blocks} blocks of {size} sessions after one to warm up, {}/s, through {} over {transport}",
        options.rate, options.way
    );
    println!("| block | sessions so far | s | pf CPU us/session | RSS MiB at its end | RSS MiB idle |");
    println!("|---|---|---|---|---|---|");
    let mut rows: Vec<Row> = Vec::new();
    for block in 0..=blocks {
        let begin = Instant::now();
        let outcome = rig.load(size, options.rate, Duration::from_secs(120))?;
        ensure!(outcome.failed == 0, "{} of {size} sessions failed", outcome.failed);
        let (seconds, busy_kib) = (begin.elapsed().as_secs_f64(), resident());
        empty(&binary, &socket)?;
        std::thread::sleep(SETTLE);
        let row = Row {
            sessions: size * (block + 1),
            seconds,
            pf_us: outcome.pf_us,
            busy_kib,
            idle_kib: resident(),
        };
        println!(
            "| {} | {} | {:.0} | {:.0} | {:.1} | {:.1} |",
            if block == 0 { "warm-up".to_owned() } else { block.to_string() },
            row.sessions,
            row.seconds,
            row.pf_us,
            row.busy_kib as f64 / 1024.0,
            row.idle_kib as f64 / 1024.0
        );
        rows.push(row);
    }
    std::fs::write(options.out.join("soak.json"), serde_json::to_string_pretty(&rows)?)?;
    let idle: Vec<u64> = rows.iter().map(|row| row.idle_kib).collect();
    ensure!(is_back(&idle), "memory has grown by more than {GROWTH} % since the warm-up: {idle:?} KiB");
    println!("memory is back, every table is empty, no session failed");
    Ok(())
}

/// Is resident memory after the last block what it was after the first, but for [`GROWTH`]?
fn is_back(idle: &[u64]) -> bool {
    match (idle.first(), idle.last()) {
        (Some(first), Some(last)) => *last * 100 <= *first * (100 + GROWTH),
        _ => false,
    }
}

/// Waits until `pf` remembers nothing: no session, no leg, no transaction.
fn empty(binary: &Path, socket: &Path) -> Result<()> {
    let end = Instant::now() + FORGET;
    loop {
        let output = Command::new(binary).args(["stats", "--json", "--socket"]).arg(socket).output()?;
        let stats: serde_json::Value = serde_json::from_slice(&output.stdout).context("pf stats --json")?;
        let mut left = Vec::new();
        for name in ["/sessions", "/legs", "/sip/server_transactions", "/sip/client_transactions"] {
            let count = stats.pointer(name).and_then(serde_json::Value::as_u64);
            left.push((name, count.with_context(|| format!("no {name} in pf stats"))?));
        }
        if left.iter().all(|(_, count)| *count == 0) {
            return Ok(());
        }
        ensure!(Instant::now() < end, "not empty after {FORGET:?}: {left:?}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[cfg(test)]
mod tests {
    use super::is_back;

    #[test]
    fn memory_is_back_within_five_per_cent_of_the_warm_up() {
        assert!(is_back(&[100_000, 140_000, 105_000]));
        assert!(is_back(&[100_000, 90_000]));
        assert!(!is_back(&[100_000, 100_000, 105_001]));
        assert!(!is_back(&[]));
    }
}
