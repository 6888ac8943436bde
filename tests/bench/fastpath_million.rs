//! `pf-bench fastpath-million`: so many messages through the in-kernel path, each octet of each copy verified, nothing
//! missing, twice or out of order, and hardly any through userspace.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    contender::Contender as _,
    crew::Crew,
    ground,
    load::Run,
    pf::{self, Pf},
};

/// What to run.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Options {
    /// Messages in all
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
    /// Sessions beside each other
    #[arg(long, default_value_t = 64)]
    sessions: usize,
    /// Legs that each message is copied to: the far end and the devices
    #[arg(long, default_value_t = 4)]
    legs: usize,
    /// Body in octets
    #[arg(long, default_value_t = 100)]
    body: usize,
    /// Least share of them that must not leave the kernel, in percent
    #[arg(long, default_value_t = 99.0)]
    in_kernel: f64,
    /// The pf binary; absent: PF_BIN, else target/release/pf
    #[arg(long)]
    pf: Option<PathBuf>,
    /// Directory for logs
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

/// An error if a message was lost, changed, doubled or refused, or if too many left the kernel.
pub(crate) fn run(options: &Options) -> Result<()> {
    ground::route().context("the namespaces of the benchmark (needs root)")?;
    let pf = Pf { name: "pf", binary: pf::binary(options.pf.as_deref()), fast_path: "required" };
    let started = pf.start(options.sessions, options.legs, &options.out.join("run"))?;
    let hits = started.hits.context("no counters")?;
    let mut crew = Crew::new(started.lanes, 1)?;
    let window = Duration::from_secs(2);
    let run = Run {
        lanes: options.sessions,
        depth: 1,
        per_second: 0,
        body: options.body,
        warm_up: Duration::ZERO,
        window,
    };
    let (begin, mut messages) = (Instant::now(), 0);
    while messages < options.messages {
        messages += crew.run(&run, &started.pids)?.transactions;
    }
    let [kernel, user] = hits()?;
    // What was on its way when a window ended came, too.
    ensure!(kernel + user >= messages, "{messages} messages, but pf counts {kernel} and {user}");
    let share = 100.0 * kernel as f64 / (kernel + user) as f64;
    println!(
        "{messages} messages of {} octets in {} sessions, {} copies of each, verified in {:.1} s; {share:.3} % stayed in the kernel",
        options.body,
        options.sessions,
        options.legs,
        begin.elapsed().as_secs_f64()
    );
    ensure!(share > options.in_kernel, "{user} messages left the kernel");
    Ok(())
}
