//! Loads at work together, each on a thread of its own, measured as one.

use std::{
    sync::{Barrier, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    load::{Counted, Lane, Load, Run},
    measure,
};

/// What a run measured.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Sample {
    /// Complete transactions in the window.
    pub(crate) transactions: u64,
    /// Transactions per second.
    pub(crate) rate: f64,
    /// CPU of the contender's processes per transaction, in microseconds.
    pub(crate) relay_us: f64,
    /// CPU of contender, load generator and softirq threads per transaction, in microseconds.
    pub(crate) total_us: f64,
    /// SEND written until the transaction is complete, in microseconds.
    pub(crate) p50_us: f64,
    /// The same, 99 of 100.
    pub(crate) p99_us: f64,
    /// SEND written until checked at sink 0, in microseconds.
    pub(crate) one_way_p50_us: f64,
    /// Share of the machine's CPU that others used in the window, in percent.
    pub(crate) foreign_percent: f64,
    /// Share of the machine's CPU that contender and generator used, in percent.
    pub(crate) busy_percent: f64,
    /// SENDs of the run, warm-up included, that never left the kernel, in percent, where the contender tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) in_kernel_percent: Option<f64>,
}

/// The loads of one contender.
pub(crate) struct Crew(Vec<Load>);

/// The clocks that are read at both ends of a measurement.
struct Reading {
    /// Relay, generators, softirq threads, in nanoseconds.
    cpu: [u64; 3],
    ticks: (u64, u64),
    at: Instant,
}

impl Reading {
    fn take(relay: &[u32]) -> Reading {
        let cpu = [relay, &[std::process::id()], &measure::softirq_threads()].map(measure::run_time);
        Reading { cpu, ticks: measure::machine_ticks(), at: Instant::now() }
    }
}

impl Crew {
    /// Takes the sockets over, for so many generators. With several, each has a processor of its own.
    pub(crate) fn new(lanes: Vec<Lane>, generators: usize) -> Result<Crew> {
        let mut hands: Vec<Vec<Lane>> = (0..generators.max(1)).map(|_| Vec::new()).collect();
        let count = hands.len();
        lanes.into_iter().enumerate().for_each(|(at, lane)| hands[at % count].push(lane));
        Ok(Crew(hands.into_iter().map(Load::new).collect::<Result<_>>()?))
    }

    /// Runs the load once. After an error the sessions are of no more use.
    pub(crate) fn run(&mut self, run: &Run, relay: &[u32]) -> Result<Sample> {
        let count = self.0.len();
        let (stage, readings) = (Barrier::new(count), Mutex::new(Vec::new()));
        let take = || readings.lock().unwrap_or_else(PoisonError::into_inner).push(Reading::take(relay));
        let parts: Vec<Result<Counted>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (self.0.iter_mut().enumerate())
                .map(|(nth, load)| {
                    let (stage, take) = (&stage, &take);
                    scope.spawn(move || {
                        if count > 1 {
                            measure::stay_on(nth % measure::processors());
                        }
                        one(load, &share(run, nth, count), stage, take)
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| anyhow::bail!("a load panicked")))
                .collect()
        });
        let mut counted = Counted::new();
        for part in parts {
            counted.add(&part?);
        }
        let readings = readings.into_inner().unwrap_or_else(PoisonError::into_inner);
        let [before, after] = &readings[..] else { anyhow::bail!("{} readings", readings.len()) };
        sample(&counted, before, after, run.window)
    }
}

/// The part of a run that falls to one of several loads.
fn share(run: &Run, nth: usize, count: usize) -> Run {
    let lanes = run.lanes / count + usize::from(nth < run.lanes % count);
    Run { lanes, per_second: run.per_second / u32::try_from(count).unwrap_or(1), ..*run }
}

/// One load's part; whatever happens, it comes to both ends of the measurement, where the others wait for it.
fn one(load: &mut Load, run: &Run, stage: &Barrier, take: &(dyn Fn() + Sync)) -> Result<Counted> {
    let warm = load.begin(run).and_then(|()| load.go_on(run.warm_up));
    if stage.wait().is_leader() {
        take();
    }
    load.clear();
    let measured = warm.and_then(|()| load.go_on(run.window));
    let counted = load.counted();
    if stage.wait().is_leader() {
        take();
    }
    measured?;
    load.drain()?;
    Ok(counted)
}

fn sample(counted: &Counted, before: &Reading, after: &Reading, window: Duration) -> Result<Sample> {
    let transactions = counted.transactions;
    ensure!(transactions > 0, "no transaction completed in {window:?}");
    let elapsed = after.at - before.at;
    let mut spent = [0.0; 3];
    for (at, spent) in spent.iter_mut().enumerate() {
        *spent = after.cpu[at].saturating_sub(before.cpu[at]) as f64;
    }
    let all: f64 = spent.iter().sum();
    let busy = 100.0 * all / (elapsed.as_nanos() as f64 * measure::processors() as f64);
    let ticks = [after.ticks.0.checked_sub(before.ticks.0), after.ticks.1.checked_sub(before.ticks.1)];
    let [Some(used), Some(passed)] = ticks else {
        return Err(anyhow::anyhow!("/proc/stat")).context("ticks");
    };
    let machine = 100.0 * used as f64 / passed.max(1) as f64;
    Ok(Sample {
        transactions,
        rate: transactions as f64 / elapsed.as_secs_f64(),
        relay_us: spent[0] / 1000.0 / transactions as f64,
        total_us: all / 1000.0 / transactions as f64,
        p50_us: counted.complete.quantile_us(0.50),
        p99_us: counted.complete.quantile_us(0.99),
        one_way_p50_us: counted.one_way.quantile_us(0.50),
        foreign_percent: (machine - busy).max(0.0),
        busy_percent: busy,
        in_kernel_percent: None,
    })
}
