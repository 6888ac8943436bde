//! `pf-bench relay`: all contenders over the same load, in interleaved rounds.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io::Write,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use serde::Serialize;

use crate::{
    contender::{Contender, Direct, Haproxy, Hits, Minimal},
    crew::{Crew, Sample},
    ground,
    kamailio::Kamailio,
    load::Run,
    measure,
    pf::{self, Pf},
    report,
};

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Options {
    /// Contenders, by name; absent: all that are installed
    #[arg(long, value_delimiter = ',')]
    contenders: Vec<String>,
    /// Whom the ratios compare with everyone else; absent: pf if it takes part, else minimal
    #[arg(long)]
    subject: Option<String>,
    /// Bodies in octets
    #[arg(long, value_delimiter = ',')]
    bodies: Vec<usize>,
    /// Legs that each SEND is copied to: the far end and the devices
    #[arg(long, value_delimiter = ',')]
    fanouts: Vec<usize>,
    /// Connections x SENDs outstanding on each, as 1x1,64x1,8x4; or connections at messages per second, as 64@3000; with
    /// /2 from two generators, one on each processor: 64x1/2
    #[arg(long, value_delimiter = ',')]
    modes: Vec<Mode>,
    /// Interleaved rounds
    #[arg(long)]
    rounds: Option<usize>,
    /// Milliseconds of each measurement
    #[arg(long)]
    window: Option<u64>,
    /// Milliseconds of load before it
    #[arg(long)]
    warm_up: Option<u64>,
    /// On which processors load generator and contender run
    #[arg(long, value_enum, default_value_t = Placement::Auto)]
    placement: Placement,
    /// Few, short rounds: shows that everything works, not how fast it is
    #[arg(long)]
    quick: bool,
    /// The pf binary; absent: PF_BIN, else target/release/pf
    #[arg(long)]
    pub(crate) pf: Option<PathBuf>,
    /// Directory for table, JSON, plot and logs
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

/// On which processors load generator and contender run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Placement {
    /// Together where one SEND is in flight, so that two processors never have anything to do at once; else apart. The
    /// scheduler's choice alone makes the same run two or three times as cheap or dear.
    Auto,
    /// Wherever the scheduler puts them.
    Free,
    /// All on the first processor.
    Together,
    /// The generator on the first processor, the contender on the second.
    Apart,
}

impl Placement {
    /// Processor of the generator and of the contender.
    pub(crate) fn of(self, mode: Mode) -> [Option<usize>; 2] {
        let second = usize::from(measure::processors() > 1);
        match self {
            _ if mode.generators > 1 => [None, None],
            Placement::Auto if mode.connections * mode.depth == 1 => [Some(0), Some(0)],
            Placement::Auto | Placement::Apart => [Some(0), Some(second)],
            Placement::Free => [None, None],
            Placement::Together => [Some(0), Some(0)],
        }
    }
}

/// Connections and depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Mode {
    /// Connections that send.
    pub(crate) connections: usize,
    /// SENDs outstanding on each.
    pub(crate) depth: usize,
    /// SENDs per second over all of them; 0: as fast as it goes.
    pub(crate) per_second: u32,
    /// Load generators: one, whose processor the contender may or may not share, or one on each processor, and the
    /// contender wherever the scheduler puts it: then msgs/s are what the whole machine can do.
    pub(crate) generators: usize,
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.per_second {
            0 => write!(f, "{} connection(s) x {} in flight", self.connections, self.depth)?,
            rate => write!(f, "{} connection(s), {rate} messages/s", self.connections)?,
        }
        match self.generators {
            1 => Ok(()),
            count => write!(f, ", {count} generators"),
        }
    }
}

impl std::str::FromStr for Mode {
    type Err = String;
    fn from_str(text: &str) -> Result<Mode, String> {
        let wrong =
            || "write it like 8x4, 64@3000 for 3000 messages a second, 64x1/2 for two generators".to_owned();
        let number = |text: &str| text.parse().ok().filter(|n| *n > 0).ok_or_else(wrong);
        let (text, generators) = match text.split_once('/') {
            Some((text, count)) => (text, number(count)?),
            None => (text, 1),
        };
        if let Some((connections, rate)) = text.split_once('@') {
            let per_second = u32::try_from(number(rate)?).map_err(|_| wrong())?;
            return Ok(Mode { connections: number(connections)?, depth: 1, per_second, generators });
        }
        let (connections, depth) = text.split_once('x').ok_or_else(wrong)?;
        Ok(Mode { connections: number(connections)?, depth: number(depth)?, per_second: 0, generators })
    }
}

/// One point of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Case {
    /// Legs that get each SEND.
    pub(crate) fanout: usize,
    /// Connections and depth.
    pub(crate) mode: Mode,
    /// Body in octets.
    pub(crate) body: usize,
}

/// One measurement or failure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Record {
    pub(crate) contender: &'static str,
    #[serde(flatten)]
    pub(crate) case: Case,
    pub(crate) round: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sample: Option<Sample>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// The settings as they are printed and stored.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Settings {
    pub(crate) kernel: String,
    pub(crate) cores: usize,
    pub(crate) rounds: usize,
    pub(crate) window_ms: u64,
    pub(crate) warm_up_ms: u64,
    pub(crate) placement: Placement,
    pub(crate) subject: &'static str,
    /// Whether tables show what is left above the cost of no relay at all.
    pub(crate) floor: bool,
    /// Name and description of each contender.
    pub(crate) contenders: Vec<(&'static str, String)>,
    /// Those that cannot run here, and why.
    pub(crate) missing: Vec<(&'static str, String)>,
}

/// A contender that is running.
struct Active {
    crew: Crew,
    pids: Vec<u32>,
    hits: Option<Hits>,
    _keep: Vec<Box<dyn std::any::Any>>,
}

fn or<T: Clone>(given: &[T], quick: bool, short: &[T], full: &[T]) -> Vec<T> {
    match (given.is_empty(), quick) {
        (false, _) => given.to_vec(),
        (true, true) => short.to_vec(),
        (true, false) => full.to_vec(),
    }
}

/// What a benchmark measures unless told otherwise: in a short run, in a full one.
pub(crate) struct Plan {
    /// Name of its files.
    pub(crate) name: &'static str,
    pub(crate) bodies: [&'static [usize]; 2],
    pub(crate) fanouts: [&'static [usize]; 2],
    pub(crate) modes: [&'static [Mode]; 2],
    /// Show what is left above the cost of no relay at all.
    pub(crate) floor: bool,
}

/// A closed loop.
pub(crate) const fn mode(connections: usize, depth: usize) -> Mode {
    Mode { connections, depth, per_second: 0, generators: 1 }
}

/// Relays over loopback; an error if any message was lost, changed or refused.
pub(crate) fn run(options: &Options) -> Result<()> {
    let binary = pf::binary(options.pf.as_deref());
    let all: Vec<Box<dyn Contender>> = vec![
        Box::new(Direct),
        Box::new(Haproxy),
        Box::new(Kamailio),
        Box::new(Minimal),
        Box::new(Pf { name: "pf", binary, fast_path: "off" }),
    ];
    let plan = Plan {
        name: "relay",
        bodies: [&[100, 10_240], &[100, 1_024, 10_240, 65_536]],
        fanouts: [&[1, 4], &[1, 2, 4, 8]],
        modes: [&const { [mode(1, 1), mode(8, 4)] }, &const { [mode(1, 1), mode(64, 1), mode(8, 4)] }],
        floor: false,
    };
    matrix(options, all, &plan)
}

/// Runs the matrix; an error if any message was lost, changed or refused.
pub(crate) fn matrix(options: &Options, mut all: Vec<Box<dyn Contender>>, plan: &Plan) -> Result<()> {
    let quick = options.quick;
    let bodies = or(&options.bodies, quick, plan.bodies[0], plan.bodies[1]);
    let fanouts = or(&options.fanouts, quick, plan.fanouts[0], plan.fanouts[1]);
    let modes = or(&options.modes, quick, plan.modes[0], plan.modes[1]);
    let rounds = options.rounds.unwrap_or(if quick { 2 } else { 5 });
    let window = Duration::from_millis(options.window.unwrap_or(if quick { 300 } else { 1500 }));
    let warm_up = Duration::from_millis(options.warm_up.unwrap_or(if quick { 100 } else { 300 }));

    let (mut described, mut missing) = (Vec::new(), Vec::new());
    for name in &options.contenders {
        ensure!(all.iter().any(|one| one.name() == name), "there is no contender `{name}`");
    }
    all.retain(|one| {
        options.contenders.is_empty() || options.contenders.iter().any(|name| name == one.name())
    });
    all.retain(|one| match one.about() {
        Ok(about) => {
            described.push((one.name(), about));
            true
        }
        Err(error) => {
            missing.push((one.name(), format!("{error:#}")));
            false
        }
    });
    ensure!(options.contenders.is_empty() || missing.is_empty(), "cannot run here: {missing:?}");
    let named = |name: &str| all.iter().map(|one| one.name()).find(|one| *one == name);
    let subject = match &options.subject {
        Some(name) => named(name),
        None => named("pf").or_else(|| named("minimal")).or_else(|| all.first().map(|one| one.name())),
    };
    let Some(subject) = subject else { bail!("the subject of the ratios does not take part") };
    let settings = Settings {
        kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().into(),
        cores: measure::processors(),
        rounds,
        window_ms: window.as_millis() as u64,
        warm_up_ms: warm_up.as_millis() as u64,
        placement: options.placement,
        subject,
        floor: plan.floor,
        contenders: described,
        missing,
    };
    report::print_settings(&settings);

    let mut records = Vec::new();
    let most = modes.iter().map(|mode| mode.connections).max().unwrap_or(1);
    for fanout in fanouts {
        let contenders: Vec<&dyn Contender> =
            all.iter().map(|one| one.as_ref()).filter(|one| fanout == 1 || one.fans_out()).collect();
        let mut active: BTreeMap<(&str, usize), Active> = BTreeMap::new();
        for round in 0..rounds {
            for mode in &modes {
                for body in &bodies {
                    let case = Case { fanout, mode: *mode, body: *body };
                    for turn in 0..contenders.len() {
                        let contender = contenders[(turn + round) % contenders.len()];
                        if *body > contender.largest_body() {
                            continue;
                        }
                        let Mode { connections: lanes, depth, per_second, .. } = *mode;
                        let run = Run { lanes, depth, per_second, body: *body, warm_up, window };
                        let result = measure_one(contender, &mut active, most, &case, &run, options);
                        let (sample, error) = match result {
                            Ok(sample) => (Some(sample), None),
                            Err(error) => (None, Some(format!("{error:#}"))),
                        };
                        progress(contender.name(), &case, round, sample.as_ref(), error.as_deref());
                        records.push(Record { contender: contender.name(), case, round, sample, error });
                    }
                }
            }
        }
    }
    report::write(plan.name, &settings, &records, &options.out)?;
    let failed: Vec<&Record> = records.iter().filter(|record| record.error.is_some()).collect();
    for record in &failed {
        let error = record.error.as_deref().unwrap_or_default();
        println!("FAILED {} {:?} round {}: {error}", record.contender, record.case, record.round);
    }
    ensure!(failed.is_empty(), "{} of {} measurements failed", failed.len(), records.len());
    Ok(())
}

/// One measurement; starts the contender if it does not run. After an error it is ended.
fn measure_one<'a>(
    contender: &'a dyn Contender,
    active: &mut BTreeMap<(&'a str, usize), Active>,
    lanes: usize,
    Case { fanout, mode, .. }: &Case,
    run: &Run,
    options: &Options,
) -> Result<Sample> {
    let name = contender.name();
    let key = (name, mode.generators);
    if let Entry::Vacant(place) = active.entry(key) {
        let begin = Instant::now();
        let run = options.out.join("run").join(mode.generators.to_string());
        let started = contender.start(lanes, *fanout, &run)?;
        let crew = Crew::new(started.lanes, mode.generators)?;
        place.insert(Active { crew, pids: started.pids, hits: started.hits, _keep: started.keep });
        eprintln!("{name}: {lanes} sessions x {fanout} in {:.1} s", begin.elapsed().as_secs_f64());
    }
    let Some(running) = active.get_mut(&key) else { bail!("not started") };
    let (me, [generator, contender]) = ([std::process::id()], options.placement.of(*mode));
    measure::place(&me, generator);
    measure::place(&running.pids, contender);
    ground::steer(generator, contender)?;
    let before = contender_hits(name, &running.hits);
    let mut result = running.crew.run(run, &running.pids);
    if let (Ok(sample), Some(before), Some(after)) =
        (&mut result, before, contender_hits(name, &running.hits))
    {
        let [kernel, user] = [after[0].saturating_sub(before[0]), after[1].saturating_sub(before[1])];
        sample.in_kernel_percent = Some(100.0 * kernel as f64 / (kernel + user).max(1) as f64);
    }
    measure::place(&me, None);
    measure::place(&running.pids, None);
    if result.is_err() {
        active.remove(&key);
    }
    result
}

/// SENDs carried in the kernel and in userspace so far.
fn contender_hits(name: &str, hits: &Option<Hits>) -> Option<[u64; 2]> {
    let hits = hits.as_ref()?;
    match hits() {
        Ok(counts) => Some(counts),
        Err(error) => {
            eprintln!("{name}: no hit ratio: {error:#}");
            None
        }
    }
}

fn progress(name: &str, case: &Case, round: usize, sample: Option<&Sample>, error: Option<&str>) {
    let Case { fanout, mode, body } = case;
    let head = format!("{round} 1->{fanout} {mode}, {body:>6} {name:<14}");
    let line = match (sample, error) {
        (Some(s), _) => format!(
            "{:>9.0}/s relay {:>6.2} us total {:>6.2} us p50 {:>7.1} us p99 {:>8.1} us others {:>3.0} %{}",
            s.rate,
            s.relay_us,
            s.total_us,
            s.p50_us,
            s.p99_us,
            s.foreign_percent,
            s.in_kernel_percent.map(|hit| format!(" in kernel {hit:.1} %")).unwrap_or_default()
        ),
        (None, error) => format!("FAILED {}", error.unwrap_or_default()),
    };
    writeln!(std::io::stderr(), "{head} {line}").ok();
}
