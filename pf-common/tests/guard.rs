//! The guard's decisions on the host: the table of frames, frames of random octets, and the arithmetic of rates.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test program")]

mod frames;

use pf_common::guard::{Found, Kind, Rate, Verdict, check, read};
use proptest::prelude::*;

/// What the program does, but for the table of sources.
fn judge(frame: &[u8]) -> Verdict {
    let segment = match read(frame) {
        Found::Other(verdict) => return verdict,
        Found::Tcp(segment) => segment,
    };
    let listeners = frames::listeners();
    if !listeners.contains(&segment.to) && !listeners.contains(&segment.to.any()) {
        return Verdict::PassOtherPort;
    }
    match check(frame, &segment) {
        Ok(Kind::Connect) => Verdict::PassConnect,
        Ok(Kind::Segment) => Verdict::PassSegment,
        Err(verdict) => verdict,
    }
}

#[test]
fn each_frame_of_the_table_gets_its_verdict() {
    for (what, frame, verdict) in frames::table() {
        assert_eq!(judge(&frame.octets()), verdict, "{what}");
    }
}

#[test]
fn names_are_unique_and_tell_what_happens() {
    for (at, verdict) in Verdict::ALL.iter().enumerate() {
        assert_eq!(verdict.index(), at);
        assert!(Verdict::ALL[..at].iter().all(|other| other.name() != verdict.name()));
        assert_eq!(verdict.name().starts_with("pass-"), verdict.passes(), "{}", verdict.name());
        assert_eq!(verdict.name().starts_with("drop-"), !verdict.passes(), "{}", verdict.name());
    }
}

#[test]
fn sources_of_one_ipv6_network_are_one_source() {
    let source = |from: &str| match read(frames::Frame::syn(from).octets().as_slice()) {
        Found::Tcp(segment) => segment.source,
        Found::Other(verdict) => panic!("{from}: {verdict:?}"),
    };
    assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff:ffff:ffff:ffff"));
    assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
    assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
    // An IPv4 address is not an IPv6 prefix with the same octets.
    assert_ne!(source("32.1.13.184"), source("2001:db8::1"));
}

#[test]
fn a_burst_of_one_second_s_worth_is_admitted_and_no_more() {
    for count in [1, 2, 3, 7, 100, 65_537, 1_000_000] {
        let rate = Rate::per_second(count);
        let now = 5_000_000_000_000;
        let mut state = 0;
        let mut admitted = 0;
        while let Some(next) = rate.admit(state, now) {
            (state, admitted) = (next, admitted + 1);
        }
        assert_eq!(admitted, count);
        assert_eq!(rate.tokens(state, now), 0);
        assert_eq!(rate.tokens(0, now), count.into());
        assert!(rate.admit(state, now + rate.interval - 1).is_none());
        assert!(rate.admit(state, now + rate.interval).is_some());
    }
}

#[test]
fn limits_out_of_range_become_the_nearest_ones() {
    assert_eq!(Rate::per_second(0), Rate::per_second(1));
    assert_eq!(Rate::per_second(u32::MAX), Rate::per_second(Rate::MAX));
    assert!(Rate::per_second(Rate::MAX).interval > 0);
}

proptest! {
    /// No arrival pattern gets more through in a span of time than the burst and what flows in meanwhile.
    #[test]
    fn no_pattern_beats_the_rate(count in 1u32..5000, gaps in prop::collection::vec(0u64..20_000_000, 1..400)) {
        let rate = Rate::per_second(count);
        let (mut now, mut state, mut admitted) = (1_000_000_000_000u64, 0, Vec::new());
        for gap in gaps {
            now += gap;
            if let Some(next) = rate.admit(state, now) {
                prop_assert!(next > now && next - now <= rate.burst);
                state = next;
                admitted.push(now);
            } else {
                prop_assert!(rate.tokens(state, now) == 0);
            }
        }
        for (first, from) in admitted.iter().enumerate() {
            for (last, to) in admitted.iter().enumerate().skip(first) {
                let most = u64::from(count) + (to - from) / rate.interval + 1;
                prop_assert!((last - first + 1) as u64 <= most);
            }
        }
    }

    /// A source that stays below the rate loses nothing.
    #[test]
    fn a_steady_source_is_never_refused(count in 1u32..100_000, extra in prop::collection::vec(0u64..1000, 1..200)) {
        let rate = Rate::per_second(count);
        let (mut now, mut state) = (7_000_000_000u64, 0);
        for gap in extra {
            now += rate.interval + gap;
            state = rate.admit(state, now).unwrap();
        }
    }

    /// A state that another limit made is overcome within a second.
    #[test]
    fn a_changed_limit_counts_after_a_second(old in 1u32..10_000_000, new in 1u32..10_000_000) {
        let now = 1_000_000_000_000u64;
        let (old, new) = (Rate::per_second(old), Rate::per_second(new));
        let emptied = now + old.burst;
        prop_assert!(new.admit(emptied, now + 1_000_000_000).is_some());
    }

    /// Nothing panics, and only what is for a guarded port is ever dropped.
    #[test]
    fn any_octets_are_judged(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        let verdict = judge(&octets);
        prop_assert!(verdict.passes() || matches!(read(octets.as_slice()), Found::Tcp(_)));
    }

    /// A good frame with an octet changed, or cut, is judged too; whatever is dropped is for a guarded port.
    #[test]
    fn a_damaged_frame_is_judged(
        case in 0..frames::table().len(), at in 0usize..120, octet: u8, keep in 0usize..200,
    ) {
        let mut octets = frames::table()[case].1.octets();
        if let Some(place) = octets.get_mut(at) {
            *place = octet;
        }
        octets.truncate(keep);
        if !judge(&octets).passes() {
            let Found::Tcp(segment) = read(octets.as_slice()) else { panic!("dropped, and not TCP") };
            let listeners = frames::listeners();
            prop_assert!(listeners.contains(&segment.to) || listeners.contains(&segment.to.any()));
        }
    }
}
