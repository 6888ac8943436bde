//! Frames that no interface received (BPF_PROG_TEST_RUN), and what becomes of each, over both families, and both on fresh
//! connections and on such where the kernel sockets' positions differ from those on the wire. What takes more than one
//! frame to show is in `scenes` and `reasons`; `shown` counts all of it.

use Count::{Content as C, Kernel as K, Peer as P, Total as T};
use End::{Ack, Copy, Dropped, GoesOn, LeftAlone};
use Way::{In, Out};
use pf::fastpath::Way;
use pf_common::{
    maps::{Count, Total},
    splice::{Cause, KernelVerdict, PeerVerdict},
    whole::Content,
};

use super::{
    case::End,
    frames::{ACK, FIN, Frame, RST, SYN, URG},
    lab::{self, Lab},
    message::{in_block, ok, out_block, send},
    shown::Shown,
    stage::{Stage, hello, text},
};

type Make = fn(&Stage) -> Frame;

/// What, the frame on a stage, what it ends as, and what must be counted.
type Case = (&'static str, Way, Make, End, &'static [Count]);

const LEFT: Count = P(PeerVerdict::PassLeft);
const CONTENT: Count = Count::Cause(Cause::Content);

fn table() -> Vec<Case> {
    vec![
        (
            "a SEND for two legs",
            In,
            |s| s.peer(0).payload(&hello()),
            Copy(2, || send(1, 50, &out_block(2))),
            &[
                P(PeerVerdict::Consume),
                C(Content::Send),
                T(Total::Consumed),
                T(Total::ConsumedOctets),
                T(Total::Injected),
                T(Total::InjectedOctets),
            ],
        ),
        (
            "a SEND without a timestamp",
            In,
            |s| s.peer(0).no_stamp().payload(&hello()),
            Copy(2, || send(1, 50, &out_block(2))),
            &[P(PeerVerdict::Consume)],
        ),
        (
            "the far end's 200",
            In,
            |s| s.peer(1).payload(&ok(1, &in_block(1))),
            Copy(0, || ok(1, &out_block(0))),
            &[P(PeerVerdict::Consume), C(Content::Answer), T(Total::Injected)],
        ),
        (
            "a device's 200",
            In,
            |s| s.peer(2).payload(&ok(1, &in_block(2))),
            Dropped,
            &[P(PeerVerdict::Consume), C(Content::Absorb), T(Total::Absorbed), T(Total::AbsorbedOctets)],
        ),
        (
            "several of a device",
            In,
            |s| s.peer(2).payload(&[ok(1, &in_block(2)), ok(2, &in_block(2)), ok(7, &in_block(2))].concat()),
            Dropped,
            &[P(PeerVerdict::Consume), C(Content::Absorb)],
        ),
        (
            "several of the far end",
            In,
            |s| s.peer(1).payload(&[ok(1, &in_block(1)), ok(2, &in_block(1))].concat()),
            GoesOn,
            &[LEFT, C(Content::End)],
        ),
        ("a stranger", In, |s| s.peer(0).of_stranger().payload(&hello()), LeftAlone, &[]),
        (
            "a SEND with FIN",
            In,
            |s| s.peer(0).payload(&hello()).flags(ACK | FIN),
            GoesOn,
            &[LEFT, Count::Cause(Cause::Fin)],
        ),
        (
            "a SEND with URG",
            In,
            |s| s.peer(0).payload(&hello()).flags(ACK | URG),
            GoesOn,
            &[LEFT, Count::Cause(Cause::Flags)],
        ),
        ("a reset", In, |s| s.peer(0).flags(RST | ACK), GoesOn, &[LEFT, Count::Cause(Cause::Flags)]),
        ("a SYN on a living connection", In, |s| s.peer(0).flags(SYN).seq(5), GoesOn, &[LEFT]),
        (
            "a gap",
            In,
            |s| s.peer(0).payload(&hello()).seq(7),
            GoesOn,
            &[LEFT, Count::Cause(Cause::OutOfOrder)],
        ),
        (
            "an overlap",
            In,
            |s| s.peer(0).payload(&hello()).seq(-7),
            GoesOn,
            &[LEFT, Count::Cause(Cause::Overlap)],
        ),
        (
            "octets from before the beginning",
            In,
            |s| s.peer(0).payload(b"x").seq(-7),
            Ack(0),
            &[P(PeerVerdict::DropRepeat)],
        ),
        ("an ACK of what was never sent", In, |s| s.peer(0).ack(99), Dropped, &[P(PeerVerdict::DropBadAck)]),
        ("an ACK of nothing new", In, |s| s.peer(0).flags(ACK), Dropped, &[P(PeerVerdict::AbsorbAck)]),
        (
            "a window that halves",
            In,
            |s| s.peer(0).flags(ACK).window(50),
            GoesOn,
            &[P(PeerVerdict::PassControl)],
        ),
        ("a keep-alive", In, |s| s.peer(0).flags(ACK).seq(-1), GoesOn, &[P(PeerVerdict::PassControl)]),
        (
            "a long message",
            In,
            |s| s.peer(0).payload(&send(1, 2000, &in_block(0))),
            GoesOn,
            &[LEFT, CONTENT, C(Content::Long)],
        ),
        ("half a line", In, |s| s.peer(0).payload(b"MSRP"), GoesOn, &[LEFT, CONTENT, C(Content::Short)]),
        (
            "another protocol",
            In,
            |s| s.peer(0).payload(&[b'x'; 100]),
            GoesOn,
            &[LEFT, CONTENT, C(Content::NoStart)],
        ),
        (
            "a REPORT",
            In,
            |s| s.peer(0).payload(text(&hello()).replace("SEND", "REPORT").as_bytes()),
            GoesOn,
            &[LEFT, C(Content::Method)],
        ),
        (
            "another session",
            In,
            |s| s.peer(0).payload(&send(1, 9, &in_block(2))),
            GoesOn,
            &[LEFT, C(Content::NoSession)],
        ),
        (
            "another peer's path",
            In,
            |s| s.peer(0).payload(text(&hello()).replace("pppp", "qqqq").as_bytes()),
            GoesOn,
            &[LEFT, C(Content::Path)],
        ),
        (
            "a SEND of a device",
            In,
            |s| s.peer(2).payload(&send(1, 9, &in_block(2))),
            GoesOn,
            &[LEFT, C(Content::NoTarget)],
        ),
        (
            "a bad header",
            In,
            |s| s.peer(0).payload(text(&hello()).replace("Message-ID:", "Message-ID").as_bytes()),
            GoesOn,
            &[LEFT, C(Content::Header)],
        ),
        (
            "a header that goes on",
            In,
            |s| s.peer(0).payload(text(&hello()).split_at(180).0.as_bytes()),
            GoesOn,
            &[LEFT, C(Content::NoBody)],
        ),
        (
            "a chunk",
            In,
            |s| s.peer(0).payload(text(&hello()).replace("50/50", "50/90").as_bytes()),
            GoesOn,
            &[LEFT, C(Content::Range)],
        ),
        (
            "no failure reports",
            In,
            |s| {
                s.peer(0)
                    .payload(text(&hello()).replace("Message-ID: mt0000001", "Failure-Report: no").as_bytes())
            },
            GoesOn,
            &[LEFT, C(Content::Report)],
        ),
        (
            "plain text",
            In,
            |s| s.peer(0).payload(text(&hello()).replace("message/cpim", "text/plain").as_bytes()),
            GoesOn,
            &[LEFT, C(Content::Type)],
        ),
        (
            "two messages",
            In,
            |s| s.peer(0).payload(&[hello(), hello()].concat()),
            GoesOn,
            &[LEFT, C(Content::End)],
        ),
        (
            "dashes",
            In,
            |s| s.peer(0).payload(text(&hello()).replace("abcdefgh", "--------").as_bytes()),
            GoesOn,
            &[LEFT, C(Content::Dashes)],
        ),
        (
            "a body that is somewhere else",
            In,
            |s| s.peer(0).payload(text(&hello()).replace("abcdefghijklm", "External-Body").as_bytes()),
            GoesOn,
            &[LEFT, C(Content::External)],
        ),
        (
            "a wrong checksum",
            In,
            |s| s.peer(0).payload(&hello()).spoilt(),
            GoesOn,
            &[LEFT, C(Content::Checksum)],
        ),
        ("an ACK of the kernel", Out, |s| s.kernel(0), GoesOn, &[K(KernelVerdict::SendControl)]),
        (
            "octets of the kernel on a fast leg",
            Out,
            |s| s.kernel(0).payload(b"abc"),
            GoesOn,
            &[K(KernelVerdict::Send)],
        ),
        (
            "a reset of the kernel",
            Out,
            |s| s.kernel(0).flags(RST | ACK),
            GoesOn,
            &[K(KernelVerdict::SendReset)],
        ),
        ("a stranger's packet", Out, |s| s.peer(0), LeftAlone, &[]),
    ]
}

/// What only one family has.
fn family(is_v6: bool) -> Vec<Case> {
    if is_v6 {
        return vec![(
            "an extension header",
            In,
            |s| s.peer(0).payload(&hello()).ip_options(),
            LeftAlone,
            &[],
        )];
    }
    vec![
        (
            "options of IP",
            In,
            |s| s.peer(0).payload(&hello()).ip_options(),
            GoesOn,
            &[LEFT, C(Content::Unread)],
        ),
        (
            "a repetition with options of IP, which cannot become its answer",
            In,
            |s| s.peer(0).payload(b"x").seq(-7).ip_options(),
            Dropped,
            &[P(PeerVerdict::DropRepeat), T(Total::HelperFailed)],
        ),
    ]
}

/// What the rows promise.
pub(crate) fn shows() -> Vec<Shown> {
    let rows = table().into_iter().chain(family(false)).chain(family(true));
    rows.flat_map(|(.., counts)| counts.iter().map(|count| Shown::Count(*count))).collect()
}

/// Plays each row on this stage, which is as it was before each.
fn play(lab: &Lab, on: &str, mut stage: Stage, is_v6: bool) {
    let before = stage.slots();
    for (what, way, make, end, counts) in table().into_iter().chain(family(is_v6)) {
        let what = format!("{what} ({on})");
        stage.restore(&before);
        let frame = make(&stage);
        let (action, counted, seen) = lab.in_relay(|| stage.judge(way, &frame));
        assert_eq!(action, end.action(), "{what}: {counted:?} {seen:?}");
        for count in counts {
            assert!(counted.contains(count), "{what}: {counted:?} without {count:?}");
        }
        let verdicts = counted.iter().filter(|c| matches!(c, P(_) | K(_))).count();
        assert_eq!(
            verdicts,
            usize::from(!counts.is_empty()),
            "{what}: a packet has one verdict: {counted:?}"
        );
        assert!(!counts.is_empty() || counted.is_empty(), "{what}: left alone: {counted:?}");
        end.check(&what, &stage, &before, way, &frame, seen);
    }
}

fn play_all(hosts: fn(usize) -> String, is_v6: bool) {
    let Some(lab) = Lab::new(hosts) else { return };
    let Some(stage) = Stage::armed(&lab) else { return };
    play(&lab, "fresh", stage, is_v6);
    let Some(stage) = Stage::moved(&lab) else { return };
    play(&lab, "moved", stage, is_v6);
}

#[test]
fn each_frame_of_the_table_gets_its_verdict() {
    play_all(lab::v4, false);
}

#[test]
fn each_frame_of_the_table_gets_its_verdict_over_ipv6() {
    play_all(lab::v6, true);
}
