//! Messages above a segment, in one packet (GSO), of which the programs leave the connection to userspace. A frame that no
//! interface received has its checksum, as no packet of several segments ever has: those that are carried are shown by
//! real connections (`chat`, and the suite's long messages).

use pf::fastpath::Way;
use pf_common::{
    maps::Count,
    splice::{Cause, PeerVerdict},
    whole::Content,
};

use super::{
    frames::Frame,
    lab::{self, Lab},
    message::{alike_in_block, in_block, ok, send},
    shown::Shown,
    stage::{NEXT, Stage, text},
};

const SEGMENT: u32 = 1400;

fn long(size: usize) -> Vec<u8> {
    send(1, size, &alike_in_block(0))
}

/// With this octet instead, so far from the end.
fn with(mut octets: Vec<u8>, from_end: usize, text: &[u8]) -> Vec<u8> {
    let at = octets.len() - from_end;
    octets[at..at + text.len()].copy_from_slice(text);
    octets
}

/// What, the frame, its action, and what must be counted.
type Case = (&'static str, fn(&Stage) -> Frame, i32, &'static [Count]);

fn table() -> Vec<Case> {
    use Count::{Content as C, Peer as P};
    const LEFT: Count = P(PeerVerdict::PassLeft);
    vec![
        (
            "one with its checksum",
            |s| s.peer(0).segment(SEGMENT).payload(&long(2300)),
            NEXT,
            &[LEFT, Count::Cause(Cause::Content), C(Content::Long)],
        ),
        (
            "another session",
            |s| s.peer(0).segment(SEGMENT).payload(&send(1, 2300, &alike_in_block(1))),
            NEXT,
            &[LEFT, C(Content::NoSession)],
        ),
        (
            "another peer's path",
            |s| s.peer(0).segment(SEGMENT).payload(text(&long(2300)).replace("pppp", "qqqq").as_bytes()),
            NEXT,
            &[LEFT, C(Content::Path)],
        ),
        (
            "no type that all take",
            |s| s.peer(0).segment(SEGMENT).payload(text(&long(2300)).replace("/cpim", "/abcd").as_bytes()),
            NEXT,
            &[LEFT, C(Content::Type)],
        ),
        (
            "a body that is somewhere else",
            |s| {
                s.peer(0)
                    .segment(SEGMENT)
                    .payload(text(&long(2300)).replace("message/cpim", "message/external-body").as_bytes())
            },
            NEXT,
            &[LEFT, C(Content::External)],
        ),
        (
            "another end-line",
            |s| s.peer(0).segment(SEGMENT).payload(&with(long(2300), 11, b"9")),
            NEXT,
            &[LEFT, C(Content::End)],
        ),
        (
            "a first chunk",
            |s| s.peer(0).segment(SEGMENT).payload(&with(long(2300), 3, b"+")),
            NEXT,
            &[LEFT, C(Content::End)],
        ),
        (
            "IP options",
            |s| s.peer(0).ip_options().segment(SEGMENT).payload(&long(2300)),
            NEXT,
            &[LEFT, C(Content::Long)],
        ),
        (
            "a gap",
            |s| s.peer(0).seq(7).segment(SEGMENT).payload(&long(2300)),
            NEXT,
            &[LEFT, Count::Cause(Cause::OutOfOrder)],
        ),
        (
            "responses in one packet of several segments",
            |s| {
                let answers: Vec<u8> = (1..20).flat_map(|n| ok(n, &alike_in_block(2))).collect();
                s.peer(2).segment(SEGMENT).payload(&answers)
            },
            NEXT,
            &[LEFT, C(Content::Long)],
        ),
    ]
}

/// What the rows promise.
pub(crate) fn shows() -> Vec<Shown> {
    table().iter().flat_map(|(.., counts)| counts.iter().map(|count| Shown::Count(*count))).collect()
}

#[test]
fn each_long_message_gets_its_verdict() {
    let Some(lab) = Lab::new(lab::loopback) else { return };
    for (what, make, action, counts) in table() {
        let Some(mut stage) = Stage::armed_for_long(&lab) else { return };
        let frame = make(&stage);
        let (got, counted, seen) = lab.in_relay(|| stage.judge(Way::In, &frame));
        assert_eq!(got, action, "{what}: {counted:?}");
        for count in counts {
            assert!(counted.contains(count), "{what}: {counted:?} without {count:?}");
        }
        assert_eq!(text(&seen.unwrap().payload), frame.text(), "{what}: it goes up as it came");
    }
}

#[test]
fn a_long_message_without_equal_paths_is_userspaces() {
    let Some(lab) = Lab::new(lab::loopback) else { return };
    let Some(mut stage) = Stage::armed(&lab) else { return };
    let octets = send(1, 2300, &in_block(0));
    let frame = stage.peer(0).segment(SEGMENT).payload(&octets);
    let (action, counted, seen) = lab.in_relay(|| stage.judge(Way::In, &frame));
    assert!(action == NEXT && counted.contains(&Count::Content(Content::Long)), "{counted:?}");
    assert_eq!(seen.unwrap().payload, octets);
}
