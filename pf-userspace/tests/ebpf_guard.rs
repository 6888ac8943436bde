//! The guard in the kernel: the programs are loaded and judge frames that no interface received (BPF_PROG_TEST_RUN).
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test program: nobody reads its documentation, and what fails shall fail"
)]

#[path = "../../pf-common/tests/frames/mod.rs"]
mod frames;

use std::{
    collections::BTreeSet,
    io::{self, Write},
    time::{Duration, Instant},
};

use frames::Frame;
use pf::{
    config::model,
    fastpath::{self, Guard, GuardError},
};
use pf_common::{
    guard::Verdict,
    maps::{GuardSettings, SCHEMA},
};

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// The verifier gives up at a million instructions. What is near to that has no room for the next feature, and other
/// kernels count differently.
const MOST_VERIFIED: u32 = 600_000;

/// A loaded guard, or nothing with a printed reason. With `PF_EBPF_REQUIRED=1` that is a failure.
fn guard(limits: (u32, u32), sources: u32) -> Option<Guard> {
    let config = model::Guard {
        connections_per_second: limits.0,
        packets_per_second: limits.1,
        sources,
        ..model::Guard::default()
    };
    match Guard::load(&config) {
        Ok(mut guard) => {
            guard.listen(&frames::listeners()).unwrap();
            Some(guard)
        }
        Err(error @ (GuardError::NotBuilt | GuardError::Capability(_) | GuardError::OldKernel(..))) => {
            let required = std::env::var_os("PF_EBPF_REQUIRED").is_some_and(|value| value == "1");
            assert!(!required, "{error}");
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn count(guard: &Guard, verdict: Verdict) -> u64 {
    guard.counts().unwrap()[verdict.index()].1
}

fn fresh() -> Option<Guard> {
    guard((1000, 1000), 1024)
}

#[test]
fn every_program_leaves_the_verifier_room() {
    let Some(guard) = fresh() else { return };
    let programs = guard.programs().unwrap();
    assert!(!programs.is_empty());
    for program in programs {
        // Written past the test's captured output: it is to be read when all is well.
        let _ = writeln!(
            io::stderr(),
            "{}: {} instructions verified",
            program.name,
            program.verified_instructions
        );
        assert!(
            program.verified_instructions <= MOST_VERIFIED,
            "{}: {} of at most {MOST_VERIFIED}",
            program.name,
            program.verified_instructions
        );
    }
}

#[test]
fn each_frame_of_the_table_gets_its_verdict_in_the_kernel() {
    let Some(mut guard) = fresh() else { return };
    for (what, frame, wanted) in frames::table() {
        guard.clear().unwrap();
        let (verdict, action, _) = guard.judge(&frame.octets(), 1).unwrap();
        assert_eq!(verdict, Some(wanted), "{what}");
        assert_eq!(action, if wanted.passes() { XDP_PASS } else { XDP_DROP }, "{what}");
        let counted: u64 = guard.counts().unwrap().iter().map(|(_, count)| count).sum();
        assert_eq!(counted, 1, "{what}: a packet has one verdict");
    }
}

#[test]
fn the_tests_of_this_file_meet_every_verdict() {
    let table: BTreeSet<_> = frames::table().iter().map(|(_, _, verdict)| verdict.index()).collect();
    let elsewhere = [Verdict::PassNotSet, Verdict::DropConnectRate, Verdict::DropPacketRate];
    // The kernel always finds a place by forgetting somebody; only a failure to do that would show it.
    let unreachable = [Verdict::PassUntracked];
    for verdict in Verdict::ALL {
        let met = table.contains(&verdict.index()) || elsewhere.contains(verdict);
        assert!(met || unreachable.contains(verdict), "no packet shows {}", verdict.name());
    }
}

/// Sends `times` and gives how many passed, and how long that took.
fn send(guard: &mut Guard, frame: &Frame, times: u32) -> (u32, Duration) {
    let octets = frame.octets();
    let begin = Instant::now();
    let passed = (0..times).filter(|_| guard.judge(&octets, 1).unwrap().1 == XDP_PASS).count();
    (u32::try_from(passed).unwrap(), begin.elapsed())
}

/// At least the burst, at most that and what flowed in meanwhile.
fn within(passed: u32, rate: u32, took: Duration) {
    let most = f64::from(rate) * (1.0 + took.as_secs_f64()) + 1.0;
    assert!(passed >= rate && f64::from(passed) <= most, "{passed} at {rate} a second in {took:?}");
}

#[test]
fn connections_are_limited_for_each_source() {
    let Some(mut guard) = guard((5, 100_000), 1024) else { return };
    let flood = Frame::syn("192.0.2.1");
    let (passed, took) = send(&mut guard, &flood, 50);
    within(passed, 5, took);
    assert_eq!(count(&guard, Verdict::DropConnectRate), u64::from(50 - passed));
    assert_eq!(count(&guard, Verdict::PassConnect), u64::from(passed));
    // What it has goes on, and others are not touched: not its neighbour, not the same octets as IPv6.
    assert_eq!(send(&mut guard, &Frame::data("192.0.2.1"), 20).0, 20);
    for other in ["192.0.2.2", "c000:201::1", "2001:db8::1"] {
        assert_eq!(send(&mut guard, &Frame::syn(other), 5).0, 5, "{other}");
    }
    // An IPv6 source cannot get more by changing its address within its network.
    let begin = Instant::now();
    let passed: u32 =
        (2..40).map(|host| send(&mut guard, &Frame::syn(&format!("2001:db8::{host:x}")), 1).0).sum();
    assert!(f64::from(passed) <= 5.0 * begin.elapsed().as_secs_f64() + 2.0, "{passed}");
    // Tokens come back one by one.
    std::thread::sleep(Duration::from_millis(450));
    let (passed, took) = send(&mut guard, &flood, 50);
    assert!(passed >= 2 && f64::from(passed) <= 5.0 * (1.5 + took.as_secs_f64()), "{passed}");
    let rows = guard.sources().unwrap();
    let row = rows.iter().find(|row| row.source == "192.0.2.1").unwrap();
    assert!(row.dropped_connections >= 80 && row.passed >= 25 && row.dropped_packets == 0, "{row:?}");
    assert!(row.connections_left <= 2 && row.packets_left > 90_000, "{row:?}");
    assert_eq!(rows.iter().filter(|row| row.source == "2001:db8::/64").count(), 1, "{rows:?}");
}

#[test]
fn packets_are_limited_for_each_source() {
    let Some(mut guard) = guard((1000, 100), 1024) else { return };
    let (passed, took) = send(&mut guard, &Frame::data("192.0.2.1"), 1000);
    within(passed, 100, took);
    assert_eq!(count(&guard, Verdict::DropPacketRate), u64::from(1000 - passed));
    assert_eq!(send(&mut guard, &Frame::data("192.0.2.2"), 50).0, 50);
    // For other ports nothing is limited.
    assert_eq!(send(&mut guard, &Frame::data("192.0.2.1").to("10.9.0.1", 5060), 300).0, 300);
}

#[test]
fn a_changed_limit_counts_at_once() {
    let Some(mut guard) = guard((5, 100_000), 1024) else { return };
    let (passed, took) = send(&mut guard, &Frame::syn("192.0.2.1"), 20);
    within(passed, 5, took);
    guard.set_limits(500, 100_000).unwrap();
    let (passed, took) = send(&mut guard, &Frame::syn("192.0.2.2"), 600);
    within(passed, 500, took);
    assert_eq!(guard.limits(), (500, 100_000));
}

#[test]
fn settings_of_another_version_are_not_used() {
    let Some(mut guard) = fresh() else { return };
    let other = GuardSettings { schema: SCHEMA + 1, ..GuardSettings::new(1, 1) };
    guard.write_settings(other).unwrap();
    for frame in [Frame::syn("192.0.2.1"), Frame::syn("192.0.2.1").flags(0)] {
        let (verdict, action, _) = guard.judge(&frame.octets(), 1).unwrap();
        assert_eq!((verdict, action), (Some(Verdict::PassNotSet), XDP_PASS));
    }
}

#[test]
fn a_full_table_forgets_and_lets_pass() {
    let Some(mut guard) = fresh() else { return };
    for number in 0..4000u32 {
        let [.., high, low] = number.to_be_bytes();
        let frame = Frame::syn(&format!("198.51.{high}.{low}")).octets();
        assert_eq!(guard.judge(&frame, 1).unwrap().1, XDP_PASS, "source {number}");
    }
    let known = guard.sources().unwrap().len();
    assert!(known > 256 && known <= 1024, "{known}");
    assert_eq!(count(&guard, Verdict::PassConnect), 4000);
}

#[test]
fn tables_cost_what_the_check_says() {
    for sources in [1024, 65_536, 200_000] {
        let Some(guard) = guard((10, 1000), sources) else { return };
        let maps = guard.tables().unwrap().list(None).unwrap();
        let map = maps.iter().find(|map| map.name == "GUARD_SOURCES").unwrap();
        assert_eq!((map.max_entries, map.kind.as_str()), (sources, "lru-hash"));
        let told = fastpath::table(sources);
        let difference = map.memory_octets.abs_diff(told);
        eprintln!("{sources} sources: {told} octets told, {} taken", map.memory_octets);
        assert!(difference * 100 <= map.memory_octets, "{told} told, {} taken", map.memory_octets);
    }
}

/// Not a limit: other machines have other times. It shows that the guard costs well below a microsecond.
#[test]
fn a_packet_costs_little() {
    let Some(mut guard) = guard((1_000_000, 10_000_000), 65_536) else { return };
    let (v4, v6) = ("192.0.2.1", "2001:db8::1");
    for (what, frame) in [
        ("another port", Frame::data(v4).to("10.9.0.1", 5060)),
        ("octets", Frame::data(v4)),
        ("octets over IPv6", Frame::data(v6)),
        ("dropped", Frame::syn(v4).flags(0)),
    ] {
        let (_, _, took) = guard.judge(&frame.octets(), 200_000).unwrap();
        eprintln!("{what}: {took:?} a packet");
        assert!(took < Duration::from_micros(20), "{what}: {took:?}");
    }
}
