//! `pf-bench fastpath-soak`: conversations of every kind come and go. Their messages have random lengths, some come in
//! chunks; devices connect late, and leave in the middle. Each receiver knows which octets are due.

mod talk;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use talk::{Dice, Shape, Sink};

use crate::{
    ground::{self, Side},
    measure,
    pf::{self, Setting},
    sip_client::{self, Network},
};

/// How often it says how things are.
const PROGRESS: Duration = Duration::from_secs(10);

/// A device that joins late, or reads slowly on a busy machine, keeps its leg and misses nothing.
const QUEUES: &str = "device_queue = 268435456\ndevice_backlog = 268435456";

/// What to run.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Options {
    /// Length in minutes
    #[arg(long, default_value_t = 60.0)]
    minutes: f64,
    /// Conversations beside each other
    #[arg(long, default_value_t = 12)]
    sessions: usize,
    /// Most legs of a conversation: the far end and the devices
    #[arg(long, default_value_t = 4)]
    legs: usize,
    /// Seed of all dice
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The pf binary; absent: PF_BIN, else target/release/pf
    #[arg(long)]
    pf: Option<PathBuf>,
    /// Directory for logs
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

/// What has happened so far.
#[derive(Default)]
struct Tally {
    conversations: AtomicU64,
    messages: AtomicU64,
    copies: AtomicU64,
    octets: AtomicU64,
    late: AtomicU64,
    left: AtomicU64,
}

/// What all conversations share.
struct Soak<'a> {
    options: &'a Options,
    network: Mutex<Network>,
    tally: Tally,
    stop: AtomicBool,
}

/// An error if any octet was lost, changed, doubled or out of order.
pub(crate) fn run(options: &Options) -> Result<()> {
    ground::route().context("the namespaces of the benchmark (needs root)")?;
    let binary = pf::binary(options.pf.as_deref());
    let dir = options.out.join("run/pf-fastpath-soak");
    let mut network = Network::new()?;
    let core = format!("sip:{};transport=tcp", network.far());
    let setting = Setting { core, users: options.legs, fast_path: "required", trusted: false, msrp: QUEUES };
    let running = pf::start(&binary, &setting, &dir)?;
    network.connect(running.tcp, 1)?;
    // Each user has a device more than the one before: all of them are invited.
    for user in 0..options.legs {
        for device in 0..=user {
            network.register(user, device)?;
        }
    }
    let socket = dir.join("pf.sock").canonicalize()?;
    let network = Mutex::new(network);
    let soak = Soak { options, network, tally: Tally::default(), stop: AtomicBool::new(false) };
    let length = Duration::from_secs_f64(options.minutes * 60.0);
    let begin = Instant::now();
    let outcome = thread::scope(|scope| {
        let lanes: Vec<_> = (0..options.sessions)
            .map(|lane| {
                let soak = &soak;
                scope.spawn(move || {
                    let outcome = soak.lane(lane as u64);
                    // One mistake is enough.
                    soak.stop.store(true, Ordering::Relaxed);
                    outcome
                })
            })
            .collect();
        let served = soak.serve(begin, length, || progress(&soak.tally, begin, &binary, &socket, &running));
        soak.stop.store(true, Ordering::Relaxed);
        let mut outcome = served;
        for lane in lanes {
            let done = lane.join().unwrap_or_else(|_| bail!("a conversation panicked"));
            outcome = outcome.and(done);
        }
        outcome
    });
    progress(&soak.tally, begin, &binary, &socket, &running)?;
    outcome?;
    println!("soak: {:.1} minutes, every octet as it was sent", begin.elapsed().as_secs_f64() / 60.0);
    Ok(())
}

impl Soak<'_> {
    fn network(&self) -> std::sync::MutexGuard<'_, Network> {
        self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Answers SIP requests, and tells how things are, until the end.
    fn serve(&self, begin: Instant, length: Duration, tell: impl Fn() -> Result<()>) -> Result<()> {
        let mut next = begin + PROGRESS;
        while begin.elapsed() < length && !self.over() {
            self.network().serve_pending()?;
            thread::sleep(Duration::from_millis(2));
            if Instant::now() >= next {
                tell()?;
                next += PROGRESS;
            }
        }
        Ok(())
    }

    /// One conversation after the other.
    fn lane(&self, lane: u64) -> Result<()> {
        let mut dice = Dice::new(self.options.seed, lane);
        let mut number = 0;
        while !self.over() {
            let salt = dice.next();
            self.conversation(&mut dice, salt).with_context(|| {
                format!("seed {}, conversation {number} of lane {lane}", self.options.seed)
            })?;
            number += 1;
            self.tally.conversations.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn conversation(&self, dice: &mut Dice, salt: u64) -> Result<()> {
        let devices = dice.below(self.options.legs as u64) as usize;
        let session = self.network().invite(devices, devices)?;
        let shape = Shape { salt, long: [20, 200, u64::MAX][dice.below(3) as usize] };
        // How many messages the sender has written; the sinks of those that stay must see as many.
        let (sent, ended, absent) = (AtomicU64::new(0), AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            let (sender, _) = sip_client::bind(Side::Near, &session.sender.path, &session.sender.own)?;
            let mut sinks = Vec::new();
            for (nth, invited) in session.sinks.iter().enumerate() {
                let late = nth > 0 && dice.below(4) == 0;
                let leaves = nth > 0 && dice.below(4) == 0;
                let wait = Duration::from_millis(if late { dice.below(600) } else { 0 });
                let leaves_at = leaves.then(|| dice.below(3_000));
                self.tally.late.fetch_add(late.into(), Ordering::Relaxed);
                self.tally.left.fetch_add(leaves.into(), Ordering::Relaxed);
                let (sent, ended, absent) = (&sent, &ended, &absent);
                absent.fetch_add(late.into(), Ordering::Relaxed);
                let bind = || sip_client::bind(Side::Far, &invited.path, &invited.own);
                // Who is in time is there before the first message.
                let bound = if late { None } else { Some(bind()?) };
                sinks.push(scope.spawn(move || -> Result<Option<Sink>> {
                    thread::sleep(wait);
                    let (end, early) = bound.map_or_else(|| bind(), Ok)?;
                    absent.fetch_sub(late.into(), Ordering::Relaxed);
                    let mut sink = Sink::new(end, early, shape, leaves_at);
                    let outcome = sink.run(sent, ended).with_context(|| format!("receiver {nth}"));
                    self.tally.copies.fetch_add(sink.messages, Ordering::Relaxed);
                    self.tally.octets.fetch_add(sink.octets, Ordering::Relaxed);
                    // Who leaves takes its connection along.
                    outcome.map(|()| (!leaves).then_some(sink))
                }));
            }
            let life = Duration::from_millis(500 + dice.below(8_000));
            let over = || self.stop.load(Ordering::Relaxed);
            let depth = [1, 1, 2, 3][dice.below(4) as usize];
            let talked = talk::talk(sender, shape, dice, depth, life, [&sent, &absent], over);
            self.tally.messages.fetch_add(sent.load(Ordering::Relaxed), Ordering::Relaxed);
            ended.store(true, Ordering::Release);
            // All connections live until everybody has everything and the session has ended.
            let stay: Result<Vec<Option<Sink>>> = sinks
                .into_iter()
                .map(|sink| sink.join().unwrap_or_else(|_| bail!("a receiver panicked")))
                .collect();
            let (_sender, _stay) = (talked?, stay?);
            self.network().end(&session)
        })
    }
}

/// How things are, in a line.
fn progress(
    tally: &Tally,
    begin: Instant,
    binary: &Path,
    socket: &Path,
    running: &pf::Running,
) -> Result<()> {
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let seconds = begin.elapsed().as_secs_f64();
    let [kernel, user] = pf::hits(binary, socket)?;
    let output = Command::new(binary).args(["stats", "--json", "--socket"]).arg(socket).output()?;
    let stats: serde_json::Value = serde_json::from_slice(&output.stdout).context("pf stats --json")?;
    ensure!(stats["fast_path"]["available"] == true, "the fast path is gone");
    println!(
        "{seconds:>6.0} s: {} messages, {} copies and {} octets verified, {} conversations, {} joined late, \
         {} left early; pf: {} SENDs, {:.1} % in the kernel, {} sessions, {:.1} MiB; in userspace: {}; left: {}",
        of(&tally.messages),
        of(&tally.copies),
        of(&tally.octets),
        of(&tally.conversations),
        of(&tally.late),
        of(&tally.left),
        kernel + user,
        100.0 * kernel as f64 / (kernel + user).max(1) as f64,
        stats["sessions"],
        measure::resident_kib(&running.process.pids()) as f64 / 1024.0,
        stats["fast_path"]["sends_in_userspace"],
        stats["fast_path"]["left"],
    );
    Ok(())
}
