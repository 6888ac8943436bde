//! Frames that no interface received (BPF_PROG_TEST_RUN), and what becomes of each: every verdict and every reason.

use std::collections::BTreeSet;

use pf::fastpath::Way;
use pf_common::{
    maps::{Count, Total},
    splice::{Cause, KernelVerdict, PeerVerdict},
    whole::Content,
};

use super::{
    frames::{ACK, FIN, Frame, RST, SYN, Seen, URG},
    lab::{self, Lab},
    message::{in_block, ok, send},
    stage::{DROP, NEXT, REDIRECT, Stage, every_count, hello, text},
};

type Make = fn(&Stage) -> Frame;

/// What, the frame on an armed stage, its action, and what must be counted.
type Case = (&'static str, Way, Make, i32, &'static [Count]);

fn table() -> Vec<Case> {
    use Count::{Content as C, Kernel as K, Peer as P, Total as T};
    use Way::{In, Out};
    const LEFT: Count = P(PeerVerdict::PassLeft);
    const CONTENT: Count = Count::Cause(Cause::Content);
    vec![
        (
            "a SEND for two legs",
            In,
            |s| s.peer(0).payload(&hello()),
            REDIRECT,
            &[P(PeerVerdict::Consume), C(Content::Send), T(Total::Injected)],
        ),
        (
            "a SEND without a timestamp",
            In,
            |s| s.peer(0).no_stamp().payload(&hello()),
            REDIRECT,
            &[P(PeerVerdict::Consume)],
        ),
        (
            "the far end's 200",
            In,
            |s| s.peer(1).payload(&ok(1, &in_block(1))),
            REDIRECT,
            &[P(PeerVerdict::Consume), C(Content::Answer), T(Total::Injected)],
        ),
        (
            "a device's 200",
            In,
            |s| s.peer(2).payload(&ok(1, &in_block(2))),
            DROP,
            &[P(PeerVerdict::Consume), C(Content::Absorb), T(Total::Absorbed)],
        ),
        (
            "several of a device",
            In,
            |s| s.peer(2).payload(&[ok(1, &in_block(2)), ok(2, &in_block(2)), ok(7, &in_block(2))].concat()),
            DROP,
            &[P(PeerVerdict::Consume), C(Content::Absorb)],
        ),
        (
            "several of the far end",
            In,
            |s| s.peer(1).payload(&[ok(1, &in_block(1)), ok(2, &in_block(1))].concat()),
            NEXT,
            &[LEFT, C(Content::End)],
        ),
        ("a stranger", In, |s| s.peer(0).of_stranger().payload(&hello()), NEXT, &[]),
        (
            "a SEND with FIN",
            In,
            |s| s.peer(0).payload(&hello()).flags(ACK | FIN),
            NEXT,
            &[LEFT, Count::Cause(Cause::Fin)],
        ),
        (
            "a SEND with URG",
            In,
            |s| s.peer(0).payload(&hello()).flags(ACK | URG),
            NEXT,
            &[LEFT, Count::Cause(Cause::Flags)],
        ),
        ("a reset", In, |s| s.peer(0).flags(RST | ACK), NEXT, &[LEFT, Count::Cause(Cause::Flags)]),
        ("a SYN on a living connection", In, |s| s.peer(0).flags(SYN).seq(5), NEXT, &[LEFT]),
        ("a gap", In, |s| s.peer(0).payload(&hello()).seq(7), NEXT, &[LEFT, Count::Cause(Cause::OutOfOrder)]),
        (
            "an overlap",
            In,
            |s| s.peer(0).payload(&hello()).seq(-7),
            NEXT,
            &[LEFT, Count::Cause(Cause::Overlap)],
        ),
        (
            "octets from before the beginning",
            In,
            |s| s.peer(0).payload(b"x").seq(-7),
            REDIRECT,
            &[P(PeerVerdict::DropRepeat)],
        ),
        ("an ACK of what was never sent", In, |s| s.peer(0).ack(99), DROP, &[P(PeerVerdict::DropBadAck)]),
        ("an ACK of nothing new", In, |s| s.peer(0).flags(ACK), DROP, &[P(PeerVerdict::AbsorbAck)]),
        (
            "a window that halves",
            In,
            |s| s.peer(0).flags(ACK).window(50),
            NEXT,
            &[P(PeerVerdict::PassControl)],
        ),
        ("a keep-alive", In, |s| s.peer(0).flags(ACK).seq(-1), NEXT, &[P(PeerVerdict::PassControl)]),
        (
            "a long message",
            In,
            |s| s.peer(0).payload(&send(1, 2000, &in_block(0))),
            NEXT,
            &[LEFT, CONTENT, C(Content::Long)],
        ),
        ("half a line", In, |s| s.peer(0).payload(b"MSRP"), NEXT, &[LEFT, CONTENT, C(Content::Short)]),
        (
            "another protocol",
            In,
            |s| s.peer(0).payload(&[b'x'; 100]),
            NEXT,
            &[LEFT, CONTENT, C(Content::NoStart)],
        ),
        (
            "a REPORT",
            In,
            |s| s.peer(0).payload(text(&hello()).replace("SEND", "REPORT").as_bytes()),
            NEXT,
            &[LEFT, C(Content::Method)],
        ),
        (
            "another session",
            In,
            |s| s.peer(0).payload(&send(1, 9, &in_block(2))),
            NEXT,
            &[LEFT, C(Content::NoSession)],
        ),
        (
            "another peer's path",
            In,
            |s| s.peer(0).payload(text(&hello()).replace("pppp", "qqqq").as_bytes()),
            NEXT,
            &[LEFT, C(Content::Path)],
        ),
        (
            "a SEND of a device",
            In,
            |s| s.peer(2).payload(&send(1, 9, &in_block(2))),
            NEXT,
            &[LEFT, C(Content::NoTarget)],
        ),
        (
            "a bad header",
            In,
            |s| s.peer(0).payload(text(&hello()).replace("Message-ID:", "Message-ID").as_bytes()),
            NEXT,
            &[LEFT, C(Content::Header)],
        ),
        (
            "a header that goes on",
            In,
            |s| s.peer(0).payload(text(&hello()).split_at(180).0.as_bytes()),
            NEXT,
            &[LEFT, C(Content::NoBody)],
        ),
        (
            "a chunk",
            In,
            |s| s.peer(0).payload(text(&hello()).replace("50/50", "50/90").as_bytes()),
            NEXT,
            &[LEFT, C(Content::Range)],
        ),
        (
            "no failure reports",
            In,
            |s| {
                s.peer(0)
                    .payload(text(&hello()).replace("Message-ID: mt0000001", "Failure-Report: no").as_bytes())
            },
            NEXT,
            &[LEFT, C(Content::Report)],
        ),
        (
            "plain text",
            In,
            |s| s.peer(0).payload(text(&hello()).replace("message/cpim", "text/plain").as_bytes()),
            NEXT,
            &[LEFT, C(Content::Type)],
        ),
        (
            "two messages",
            In,
            |s| s.peer(0).payload(&[hello(), hello()].concat()),
            NEXT,
            &[LEFT, C(Content::End)],
        ),
        (
            "dashes",
            In,
            |s| s.peer(0).payload(text(&hello()).replace("abcdefgh", "--------").as_bytes()),
            NEXT,
            &[LEFT, C(Content::Dashes)],
        ),
        (
            "a wrong checksum",
            In,
            |s| s.peer(0).payload(&hello()).spoilt(),
            NEXT,
            &[LEFT, C(Content::Checksum)],
        ),
        (
            "options of IP",
            In,
            |s| s.peer(0).payload(&hello()).ip_options(),
            NEXT,
            &[LEFT, C(Content::Unread)],
        ),
        ("an ACK of the kernel", Out, |s| s.kernel(0), NEXT, &[K(KernelVerdict::SendControl)]),
        (
            "octets of the kernel on a fast leg",
            Out,
            |s| s.kernel(0).payload(b"abc"),
            NEXT,
            &[K(KernelVerdict::Send)],
        ),
        (
            "a reset of the kernel",
            Out,
            |s| s.kernel(0).flags(RST | ACK),
            NEXT,
            &[K(KernelVerdict::SendReset)],
        ),
        ("a stranger's packet", Out, |s| s.peer(0), NEXT, &[]),
    ]
}

#[test]
fn each_frame_of_the_table_gets_its_verdict() {
    let Some(lab) = Lab::new(lab::loopback) else { return };
    for (what, way, make, action, counts) in table() {
        let Some(mut stage) = Stage::armed(&lab) else { return };
        let frame = make(&stage);
        let (got, counted, seen) = lab.in_relay(|| stage.judge(way, &frame));
        assert_eq!(got, action, "{what}: {counted:?} {seen:?}");
        for count in counts {
            assert!(counted.contains(count), "{what}: {counted:?} without {count:?}");
        }
        let verdicts = counted.iter().filter(|c| matches!(c, Count::Peer(_) | Count::Kernel(_))).count();
        assert_eq!(
            verdicts,
            usize::from(!counts.is_empty()),
            "{what}: a packet has one verdict: {counted:?}"
        );
        if counts.is_empty() {
            assert!(counted.is_empty() && seen == Some(Seen::read(&frame.octets())), "{what}: left alone");
        }
    }
}

#[test]
fn the_tests_of_this_file_meet_every_verdict_and_reason() {
    let table: BTreeSet<u32> =
        table().iter().flat_map(|(.., counts)| counts.iter().map(|count| count.index())).collect();
    let elsewhere = [
        Count::Peer(PeerVerdict::PassSlow),
        Count::Peer(PeerVerdict::PassRepeat),
        Count::Kernel(KernelVerdict::Probe),
        Count::Kernel(KernelVerdict::DropAcross),
    ];
    for count in every_count() {
        let wanted = matches!(count, Count::Peer(_) | Count::Kernel(_) | Count::Content(_));
        assert!(
            !wanted || table.contains(&count.index()) || elsewhere.contains(&count),
            "no frame shows {count:?}"
        );
    }
}
