//! The model test: one sender and up to four legs, each a TCP connection between a peer and a kernel socket of the
//! relay, with the program and userspace between them. Links lose, double and reorder packets, the host drops some
//! as well, copies fail, readers pause, userspace meddles with the modes, and everyone can be interrupted between any
//! two critical sections. Whatever happens, every message must arrive at every leg exactly once and in order, each
//! wire position must carry one octet only, and when the noise ends every connection must close cleanly.
//!
//! `PF_MODEL_RUNS=100000` runs longer, `PF_MODEL_FROM=1000000` starts at another seed, `PF_MODEL_SEED=7` repeats one
//! run and `PF_MODEL_TRACE=1` tells what happens in it.

extern crate std;

mod program;
mod relay;
mod settings;
mod stream;
mod tcp;
mod world;

use self::settings::Settings;
use self::std::eprintln;
use self::std::format;
use self::std::string::String;
use self::std::vec::Vec;
use self::world::World;
use crate::splice::mutant::{Mutant, set};
use crate::splice::{Arm, Cause, KernelVerdict, PeerVerdict, Segment};

/// A TCP segment with its octets.
#[derive(Clone, Debug)]
struct Seg {
    seq: u32,
    ack: u32,
    window: u32,
    flags: u8,
    data: Vec<u8>,
}

impl Seg {
    fn header(&self) -> Segment {
        let (seq, ack, window) = (self.seq, self.ack, self.window);
        Segment { seq, ack, window, len: self.data.len() as u32, flags: self.flags }
    }

    fn space(&self) -> u32 {
        self.header().space()
    }

    fn end(&self) -> u32 {
        self.header().end()
    }
}

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.next() % n }
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What happened in a run, to show that the runs reach what they should.
#[derive(Default)]
struct Stats {
    events: u64,
    lost: u64,
    injected: u64,
    repaired: u64,
    rolled_back: u64,
    source_armed: u64,
    peer: [u64; PeerVerdict::ALL.len()],
    kernel: [u64; KernelVerdict::ALL.len()],
    cause: [u64; Cause::ALL.len()],
    arm: [u64; Arm::ALL.len()],
}

impl Stats {
    fn add(&mut self, other: &Stats) {
        fn sum(into: &mut [u64], from: &[u64]) {
            into.iter_mut().zip(from).for_each(|(a, b)| *a += b);
        }
        self.events += other.events;
        self.lost += other.lost;
        self.injected += other.injected;
        self.repaired += other.repaired;
        self.rolled_back += other.rolled_back;
        self.source_armed += other.source_armed;
        sum(&mut self.peer, &other.peer);
        sum(&mut self.kernel, &other.kernel);
        sum(&mut self.cause, &other.cause);
        sum(&mut self.arm, &other.arm);
    }

    /// The runs must reach what they are there to test.
    fn reach(&self) {
        for verdict in PeerVerdict::ALL.iter().filter(|v| **v != PeerVerdict::DropBadAck) {
            assert_ne!(self.peer[verdict.index()], 0, "no packet: {}", verdict.name());
        }
        for verdict in [KernelVerdict::Send, KernelVerdict::SendControl, KernelVerdict::Probe] {
            assert_ne!(self.kernel[verdict.index()], 0, "no packet: {}", verdict.name());
        }
        let causes = [
            (Cause::Requested, Cause::Fin),
            (Cause::OutOfOrder, Cause::Content),
            (Cause::LogFull, Cause::InWork),
            (Cause::LegSlow, Cause::LegTooLong),
            (Cause::LegCap, Cause::Flags),
            (Cause::LegWindow, Cause::CloneFailed),
            (Cause::Lost, Cause::Stalled),
        ];
        for cause in causes.iter().flat_map(|(a, b)| [a, b]) {
            assert_ne!(self.cause[cause.index()], 0, "never left the fast path because: {}", cause.name());
        }
        for arm in Arm::ALL {
            assert_ne!(self.arm[arm.index()], 0, "no answer to arming: {}", arm.name());
        }
    }

    fn print(&self, runs: u64) {
        eprintln!(
            "{runs} runs: {} events, {} packets lost, {} injected, {} missed and repaired, {} roll-backs, {} times armed",
            self.events, self.lost, self.injected, self.repaired, self.rolled_back, self.source_armed
        );
        for (name, n) in PeerVerdict::ALL.iter().map(|v| (v.name(), self.peer[v.index()])) {
            eprintln!("  from the peer    {name:20} {n}");
        }
        for (name, n) in KernelVerdict::ALL.iter().map(|v| (v.name(), self.kernel[v.index()])) {
            eprintln!("  from the kernel  {name:20} {n}");
        }
        for (name, n) in Cause::ALL.iter().map(|v| (v.name(), self.cause[v.index()])) {
            eprintln!("  cause            {name:20} {n}");
        }
        for (name, n) in Arm::ALL.iter().map(|v| (v.name(), self.arm[v.index()])) {
            eprintln!("  arm              {name:20} {n}");
        }
    }
}

fn run(seed: u64, stats: &mut Stats) -> Result<(), String> {
    let mut world = World::new(seed);
    let result = world.run();
    stats.add(&world.stats);
    result
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

#[test]
fn every_message_arrives_once_and_in_order_whatever_happens() {
    let mut stats = Stats::default();
    if let Some(seed) = number("PF_MODEL_SEED") {
        let result = run(seed, &mut stats);
        stats.print(1);
        result.unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
        return;
    }
    let runs = number("PF_MODEL_RUNS").unwrap_or(3_000);
    let from = number("PF_MODEL_FROM").unwrap_or(0);
    for seed in from..from + runs {
        run(seed, &mut stats).unwrap_or_else(|fault| panic!("PF_MODEL_SEED={seed}: {fault}"));
    }
    stats.print(runs);
    if runs >= 1_000 {
        stats.reach();
    }
}

/// The share, in percent, of all messages that the program consumed, and the numbers behind it.
fn calm(legs: usize, odd: u64) -> (u64, Stats) {
    let mut stats = Stats::default();
    let mut messages = 0;
    for seed in 0..20 {
        let mut world = World::with(Settings::calm(legs, odd), seed, Rng::new(seed));
        world.run().unwrap_or_else(|fault| panic!("calm seed {seed}: {fault}"));
        messages += world.sent.iter().map(|sent| sent.len() as u64).sum::<u64>();
        stats.add(&world.stats);
    }
    (100 * stats.peer[PeerVerdict::Consume.index()] / messages, stats)
}

#[test]
fn in_good_health_nearly_everything_takes_the_fast_path() {
    for legs in 1..=4 {
        let (share, stats) = calm(legs, 0);
        assert!(share >= 98, "{legs} legs: {share} %");
        let unforced = [Cause::Lost, Cause::Stalled, Cause::LegCap, Cause::LegWindow, Cause::InWork];
        for cause in unforced {
            assert_eq!(stats.cause[cause.index()], 0, "{}", cause.name());
        }
        // One message in fifty for userspace must not drag its neighbours along.
        let (share, stats) = calm(legs, 20);
        let copies = 100 * stats.injected / (stats.injected + stats.cause[Cause::LegSlow.index()]);
        eprintln!(
            "{legs} legs, one message in fifty slow: {share} % consumed, {copies} % of copies injected"
        );
        assert!(share >= 95 && copies >= 95, "{legs} legs: {share} %, {copies} %");
    }
}

/// Each broken rule must be noticed within this many seeds.
const MUTANT_SEEDS: u64 = 3_000;

fn noticed(rule: Mutant) -> Result<(u64, String), String> {
    set(Some(rule));
    let mut stats = Stats::default();
    let found = (0..MUTANT_SEEDS).find_map(|seed| run(seed, &mut stats).err().map(|fault| (seed, fault)));
    set(None);
    found.ok_or_else(|| format!("{rule:?} went unnoticed"))
}

#[test]
fn a_broken_rule_does_not_go_unnoticed() {
    let mut unnoticed = Vec::new();
    for rule in Mutant::ALL {
        match noticed(*rule) {
            Ok((seed, fault)) => {
                eprintln!("{rule:?}: seed {seed}: {}", fault.lines().next().unwrap_or_default())
            }
            Err(fault) => unnoticed.push(fault),
        }
    }
    assert!(unnoticed.is_empty(), "{unnoticed:?}");
}
