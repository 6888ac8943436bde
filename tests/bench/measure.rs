//! CPU time, memory and latency, as the kernel counts them.

use std::{collections::BTreeMap, fs, time::Duration};

/// Scheduler run time of the processes, in nanoseconds: that of all their threads, the ended ones included, with the
/// softirq work that was done inside them.
pub(crate) fn run_time(pids: &[u32]) -> u64 {
    pids.iter().filter_map(|pid| process_run_time(*pid)).sum()
}

fn process_run_time(pid: u32) -> Option<u64> {
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `clock` and `time` live through the calls; a process that is gone gives an error.
    let ok = unsafe {
        libc::clock_getcpuclockid(pid.cast_signed(), &mut clock) == 0
            && libc::clock_gettime(clock, &mut time) == 0
    };
    ok.then(|| time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

/// `pid` and every process below it.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if let Some(parent) = parent(child) {
            children.entry(parent).or_default().push(child);
        }
    }
    let mut all = vec![pid];
    let mut at = 0;
    while let Some(pid) = all.get(at) {
        let below = children.remove(pid).unwrap_or_default();
        all.extend(below);
        at += 1;
    }
    all
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name may hold spaces and parentheses: the fields begin after the last one.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Processors of the machine, whether or not this process may use them.
pub(crate) fn processors() -> usize {
    // SAFETY: no pointers.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }).unwrap_or(1).max(1)
}

/// Lets every thread of `pids` run on processor `cpu` only, or on all of them.
pub(crate) fn place(pids: &[u32], cpu: Option<usize>) {
    let set = set_of(cpu);
    for task in
        pids.iter().flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten())
    {
        if let Some(task) = task.file_name().to_str().and_then(|name| name.parse().ok()) {
            // SAFETY: `set` lives through the call. A thread that just ended gives an error that does not matter.
            unsafe { libc::sched_setaffinity(task, size_of::<libc::cpu_set_t>(), &set) };
        }
    }
}

/// Lets the thread that calls run on processor `cpu` only.
pub(crate) fn stay_on(cpu: usize) {
    // SAFETY: the set lives through the call; 0 is the thread that calls.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set_of(Some(cpu))) };
}

/// This processor, or all.
fn set_of(cpu: Option<usize>) -> libc::cpu_set_t {
    // SAFETY: `cpu_set_t` is plain bits, all zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for at in 0..libc::CPU_SETSIZE as usize {
        if cpu.is_none_or(|cpu| cpu == at) {
            // SAFETY: `set` lives through the call and `at` is below its size.
            unsafe { libc::CPU_SET(at, &mut set) };
        }
    }
    set
}

/// Kernel threads that do network work outside the processes.
pub(crate) fn softirq_threads() -> Vec<u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("ksoftirqd/"))
        })
        .collect()
}

/// Resident memory in KiB, `VmRSS` of `/proc/PID/status`.
pub(crate) fn resident_kib(pids: &[u32]) -> u64 {
    pids.iter()
        .filter_map(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            status
                .lines()
                .find_map(|line| line.strip_prefix("VmRSS:"))?
                .split_whitespace()
                .next()?
                .parse::<u64>()
                .ok()
        })
        .sum()
}

/// Busy and all CPU ticks of the machine since its start.
pub(crate) fn machine_ticks() -> (u64, u64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<u64> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal: guest time is inside user time.
    let all: u64 = fields.iter().take(8).sum();
    let idle: u64 = fields.iter().skip(3).take(2).sum();
    (all - idle, all)
}

/// Latencies, in buckets 1/64 apart.
#[derive(Clone)]
pub(crate) struct Histogram {
    buckets: Vec<u32>,
    count: u64,
}

impl Histogram {
    pub(crate) fn new() -> Histogram {
        Histogram { buckets: vec![0; 64 * 40], count: 0 }
    }

    pub(crate) fn add(&mut self, latency: Duration) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        let at = Histogram::index(ns).min(self.buckets.len() - 1);
        self.buckets[at] += 1;
        self.count += 1;
    }

    fn index(ns: u64) -> usize {
        let bits = 64 - ns.leading_zeros() as usize;
        if bits <= 6 { ns as usize } else { ((bits - 6) << 6) + ((ns >> (bits - 7)) as usize & 63) }
    }

    pub(crate) fn merge(&mut self, other: &Histogram) {
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(mine, other)| *mine += other);
        self.count += other.count;
    }

    /// Lower edge of the bucket that holds the share `q` of the latencies, in microseconds; 0 when empty.
    pub(crate) fn quantile_us(&self, q: f64) -> f64 {
        let wanted = (self.count as f64 * q).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (at, n) in self.buckets.iter().enumerate() {
            seen += u64::from(*n);
            if seen >= wanted {
                let (octave, step) = (at >> 6, (at & 63) as u64);
                let ns = if octave == 0 { step } else { (64 + step) << (octave - 1) };
                return ns as f64 / 1000.0;
            }
        }
        0.0
    }
}

/// Middle value; of an even number the mean of the two. NaN when empty.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// Smallest and largest value; NaN when empty.
pub(crate) fn range(values: &[f64]) -> (f64, f64) {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    (finite().fold(f64::NAN, f64::min), finite().fold(f64::NAN, f64::max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_two_percent() {
        let mut histogram = Histogram::new();
        for us in 1..=1000 {
            histogram.add(Duration::from_micros(us));
        }
        for (q, us) in [(0.5, 500.0), (0.99, 990.0), (0.01, 10.0)] {
            let found = histogram.quantile_us(q);
            assert!((found - us).abs() <= us * 0.02, "{q}: {found}");
        }
    }

    #[test]
    fn every_latency_has_a_bucket_in_order() {
        let mut last = 0;
        for ns in [0, 1, 63, 64, 65, 127, 128, 1_000, 1_000_000, 10_000_000_000] {
            let index = Histogram::index(ns);
            assert!(index >= last, "{ns}");
            last = index;
        }
    }

    #[test]
    fn counts_this_process_and_its_family() {
        let me = std::process::id();
        let before = run_time(&[me]);
        let mut sum = 0u64;
        for n in 0..3_000_000u64 {
            sum = std::hint::black_box(sum.wrapping_mul(31) ^ n);
        }
        assert!(run_time(&[me]) > before, "{sum}");
        assert!(resident_kib(&[me]) > 100);
        let mut child = std::process::Command::new("sleep").arg("5").spawn().unwrap();
        assert!(family(me).contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn median_ignores_missing_values() {
        assert_eq!(median(&[3.0, f64::NAN, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[1.0, 2.0]), 1.5);
        assert!(median(&[]).is_nan());
        assert_eq!(range(&[2.0, f64::NAN, 1.0]), (1.0, 2.0));
    }
}
