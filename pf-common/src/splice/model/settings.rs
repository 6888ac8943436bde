//! How rough the world of a run is.

use super::Rng;

/// What a seed chooses before the run: times in microseconds, rates per mille while there is noise.
pub(super) struct Settings {
    pub(super) legs: usize,
    pub(super) messages: u32,
    pub(super) loss: u64,
    pub(super) duplicate: u64,
    pub(super) reorder: u64,
    pub(super) clone_failure: u64,
    pub(super) preempt: u64,
    pub(super) host_loss: u64,
    pub(super) meddle: u64,
    pub(super) lazy_reader: u64,
    pub(super) pace: u64,
    pub(super) latency: u64,
    pub(super) log_capacity: u32,
    pub(super) large: u64,
    pub(super) odd: u64,
    pub(super) both_answer: bool,
    pub(super) eager: bool,
    pub(super) patient: bool,
    pub(super) small_mss: bool,
    pub(super) abort: u64,
    pub(super) quiet_at: u64,
}

impl Settings {
    pub(super) fn draw(rng: &mut Rng) -> Settings {
        let rough = rng.chance(75);
        let mut rate = |most: u64| if rough && rng.chance(60) { rng.below(most + 1) } else { 0 };
        let (loss, duplicate, reorder, clone_failure) = (rate(120), rate(60), rate(150), rate(60));
        let (preempt, host_loss, meddle, lazy_reader) = (rate(300), rate(50), rate(60), rate(150));
        let (large, odd) = (rate(60), rate(100));
        let most = [20, 120][rng.below(2) as usize];
        let messages = 5 + rng.below(most) as u32;
        let pace = [20, 200, 2_000, 10_000, 50_000][rng.below(5) as usize];
        Settings {
            legs: 1 + rng.below(4) as usize,
            messages,
            loss,
            duplicate,
            reorder,
            clone_failure,
            preempt,
            host_loss,
            meddle,
            lazy_reader,
            pace,
            latency: [100, 2_000, 20_000][rng.below(3) as usize],
            log_capacity: [1_500, 6_000, 60_000][rng.below(3) as usize],
            large,
            odd,
            both_answer: rng.chance(50),
            eager: rng.chance(60),
            patient: rng.chance(50),
            small_mss: true,
            abort: if rng.chance(20) { 5 } else { 0 },
            quiet_at: 400_000 + rng.below(2_600_000) + rng.below(2) * pace * messages as u64,
        }
    }

    /// Chat between machines in good health: `odd` messages in a thousand need userspace.
    pub(super) fn calm(legs: usize, odd: u64) -> Settings {
        Settings {
            legs,
            messages: 200,
            loss: 0,
            duplicate: 0,
            reorder: 0,
            clone_failure: 0,
            preempt: 0,
            host_loss: 0,
            meddle: 0,
            lazy_reader: 0,
            pace: 100_000,
            latency: 2_000,
            log_capacity: 60_000,
            large: 0,
            odd,
            both_answer: false,
            eager: true,
            patient: true,
            small_mss: false,
            abort: 0,
            quiet_at: 60_000_000,
        }
    }
}
