//! Frames that no interface received (BPF_PROG_TEST_RUN), and what becomes of each: every verdict and every reason.

use std::{collections::BTreeSet, net::TcpStream, os::fd::AsFd};

use pf::fastpath::{Datapath, DatapathCounts, DatapathSettings, LegPlan, Way};
use pf_common::{
    maps::{ControlRow, Count, Op, Slot, Total},
    splice::{Cause, KernelVerdict, PeerVerdict},
    whole::Content,
};

use super::{
    datapath_with,
    frames::{ACK, FIN, Frame, RST, SYN, Seen, URG},
    lab::{self, Lab},
    message::{in_block, ok, out_block, send, session},
};

const NEXT: i32 = -1;
const DROP: i32 = 2;
const REDIRECT: i32 = 7;

/// An originator (0), a far end (1), a device (2): registered, learned, and armed.
struct Stage {
    datapath: Datapath,
    ours: Vec<TcpStream>,
    _peers: Vec<TcpStream>,
    connections: Vec<u32>,
}

impl Stage {
    fn new(lab: &Lab) -> Option<Stage> {
        let settings = DatapathSettings { connections: 64, legs: 64, ..DatapathSettings::default() };
        let datapath = datapath_with(&settings)?;
        let (peers, ours): (Vec<_>, Vec<_>) = lab.connect(3).into_iter().unzip();
        lab.in_relay(move || {
            let mut stage = Stage { datapath, ours, _peers: peers, connections: Vec::new() };
            for ours in &stage.ours {
                let registered = stage.datapath.register(ours.as_fd()).unwrap();
                stage.connections.push(registered.connection);
            }
            let legs: Vec<u32> = (0..3).map(|_| stage.datapath.new_leg().unwrap()).collect();
            for n in 0..3 {
                let plan = LegPlan {
                    connection: stage.connections[n],
                    session: session(n).into_bytes(),
                    in_block: in_block(n),
                    out_block: out_block(n),
                    any_type: false,
                    answer_to: (n < 2).then(|| legs[1 - n]),
                    targets: if n == 0 { vec![legs[1], legs[2]] } else { Vec::new() },
                };
                stage.datapath.set_leg(legs[n], &plan).unwrap();
                // A packet each way teaches how the peer is reached.
                let frame = Frame::of_kernel(&stage.ours[n], &stage.slot(n));
                stage.judge(Way::Out, &frame);
                let frame = Frame::from_peer(&stage.ours[n], &stage.slot(n));
                stage.judge(Way::In, &frame);
            }
            Some(stage)
        })
    }

    /// Everything armed.
    fn armed(lab: &Lab) -> Option<Stage> {
        let mut stage = Stage::new(lab)?;
        for n in 0..3 {
            assert!(stage.arm_leg(n) && stage.arm_source(n));
        }
        Some(stage)
    }

    fn slot(&self, n: usize) -> Slot {
        self.datapath.slot(self.connections[n]).unwrap()
    }

    fn ask(&mut self, op: Op, n: usize, a: u32, b: u32) -> ControlRow {
        let mut rows = [ControlRow::new(op, self.connections[n], a, b)];
        self.datapath.batch(&mut rows).unwrap();
        rows[0]
    }

    fn arm_leg(&mut self, n: usize) -> bool {
        let written = self.slot(n).connection.transmit.kernel_next;
        let misses = self.slot(n).connection.leg.misses;
        self.ask(Op::ArmLeg, n, written, misses).armed()
    }

    fn arm_source(&mut self, n: usize) -> bool {
        let receive = self.slot(n).connection.receive;
        self.ask(Op::ArmSource, n, receive.next.wrapping_sub(receive.delta), 0).armed()
    }

    fn peer(&self, n: usize) -> Frame {
        Frame::from_peer(&self.ours[n], &self.slot(n))
    }

    fn kernel(&self, n: usize) -> Frame {
        Frame::of_kernel(&self.ours[n], &self.slot(n))
    }

    /// What the program answers, what it counted, and the frame if it goes on.
    fn judge(&mut self, way: Way, frame: &Frame) -> (i32, Vec<Count>, Option<Seen>) {
        let before = self.datapath.counts().unwrap();
        let (action, octets) = self.datapath.judge(way, &frame.octets()).unwrap();
        let after = self.datapath.counts().unwrap();
        let seen = (action != DROP && !frame.spoilt).then(|| Seen::read(&octets));
        (action, counted(&before, &after), seen)
    }
}

fn every_count() -> Vec<Count> {
    let mut all: Vec<Count> = PeerVerdict::ALL.iter().map(|v| Count::Peer(*v)).collect();
    all.extend(KernelVerdict::ALL.iter().map(|v| Count::Kernel(*v)));
    all.extend(Cause::ALL.iter().map(|v| Count::Cause(*v)));
    all.extend(Content::ALL.iter().map(|v| Count::Content(*v)));
    all.extend(Total::ALL.iter().map(|v| Count::Total(*v)));
    all
}

fn counted(before: &DatapathCounts, after: &DatapathCounts) -> Vec<Count> {
    every_count().into_iter().filter(|count| after.get(*count) > before.get(*count)).collect()
}

/// A good SEND of the originator.
fn hello() -> Vec<u8> {
    send(1, 50, &in_block(0))
}

fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}

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

#[test]
fn a_copy_is_the_message_with_the_legs_paths_and_positions() {
    let Some(lab) = Lab::new(lab::loopback) else { return };
    let Some(mut stage) = Stage::armed(&lab) else { return };
    let before = [stage.slot(0), stage.slot(1), stage.slot(2)];
    let frame = stage.peer(0).payload(&hello());
    let (action, _, seen) = lab.in_relay(|| stage.judge(Way::In, &frame));
    // The last leg gets the packet itself.
    let seen = seen.unwrap();
    assert_eq!(action, REDIRECT);
    assert_eq!(seen.payload, send(1, 50, &out_block(2)));
    assert_eq!(seen.to, stage.ours[2].peer_addr().unwrap().port());
    assert_eq!(seen.from, stage.ours[2].local_addr().unwrap().port());
    assert_eq!(seen.seq, before[2].connection.transmit.highest);
    assert_eq!(seen.ack, before[2].connection.receive.next);
    assert_eq!(seen.options[..4], [1, 1, 8, 10]);
    assert_eq!(seen.options[8..], 1000_u32.to_be_bytes());
    assert_eq!(seen.flags, ACK | super::frames::PSH);
    for n in [1, 2] {
        let len = send(1, 50, &out_block(n)).len() as u32;
        let transmit = stage.slot(n).connection.transmit;
        assert_eq!(transmit.highest, before[n].connection.transmit.highest.wrapping_add(len));
    }
    let source = stage.slot(0).connection;
    assert_eq!((source.receive.delta, source.source.in_work), (hello().len() as u32, 0));
    // What comes next is the kernel socket's next octet.
    let frame = stage.peer(0).payload(b"something else");
    let (action, counted, seen) = lab.in_relay(|| stage.judge(Way::In, &frame));
    let seen = seen.unwrap();
    assert_eq!((action, seen.seq), (NEXT, before[0].connection.receive.next));
    assert!(counted.contains(&Count::Peer(PeerVerdict::PassLeft)));
    assert_eq!(seen.payload, b"something else");
    // And now it is userspace's; what the kernel socket has, it answers again.
    let frame = stage.peer(0).payload(&hello());
    let (action, counted, _) = lab.in_relay(|| stage.judge(Way::In, &frame));
    assert!(action == NEXT && counted.contains(&Count::Peer(PeerVerdict::PassSlow)));
    let frame = stage.peer(0).payload(b"y").seq(-1);
    let (action, counted, _) = lab.in_relay(|| stage.judge(Way::In, &frame));
    assert!(action == NEXT && counted.contains(&Count::Peer(PeerVerdict::PassRepeat)));
    // The log has what was consumed, and how far it came.
    let mut records = Vec::new();
    stage.datapath.read_log(&mut |header, message| records.push((*header, message.to_vec())));
    assert_eq!(records.len(), 1);
    let (header, message) = &records[0];
    assert_eq!((message, header.missed, header.tid_len), (&hello(), 0, 8));
    assert_eq!(header.position, before[0].connection.receive.next);
}

#[test]
fn sack_blocks_are_blanked_while_positions_differ() {
    let Some(lab) = Lab::new(lab::loopback) else { return };
    let Some(mut stage) = Stage::armed(&lab) else { return };
    let sack = |stage: &Stage| stage.peer(1).flags(ACK).window(50).sack(5, 9);
    let frame = sack(&stage);
    let (_, _, seen) = lab.in_relay(|| stage.judge(Way::In, &frame));
    assert_eq!(seen.unwrap().options[12..16], [1, 1, 5, 10]);
    let frame = stage.peer(0).payload(&hello());
    lab.in_relay(|| stage.judge(Way::In, &frame));
    let frame = sack(&stage).window(500);
    let (action, counted, seen) = lab.in_relay(|| stage.judge(Way::In, &frame));
    assert_eq!((action, &seen.unwrap().options[12..]), (NEXT, &[1; 12][..]), "{counted:?}");
    assert!(counted.contains(&Count::Total(Total::Sack)));
    // The kernel socket's own, towards the peer whose octets were consumed.
    let frame = stage.kernel(0).flags(ACK).sack(5, 9);
    let (_, _, seen) = lab.in_relay(|| stage.judge(Way::Out, &frame));
    assert_eq!(seen.unwrap().options[12..], [1; 12]);
}

#[test]
fn the_latest_timestamp_is_echoed() {
    let Some(lab) = Lab::new(lab::loopback) else { return };
    let Some(mut stage) = Stage::armed(&lab) else { return };
    let frame = stage.peer(0).payload(&hello()).stamp(1500, 1000);
    lab.in_relay(|| stage.judge(Way::In, &frame));
    // The kernel socket never saw that one.
    let frame = stage.kernel(0).flags(ACK).stamp(1600, 1000);
    let (_, _, seen) = lab.in_relay(|| stage.judge(Way::Out, &frame));
    assert_eq!(seen.unwrap().options[4..], [1600_u32.to_be_bytes(), 1500_u32.to_be_bytes()].concat());
    // An old one of a repeated packet counts no more.
    let frame = stage.peer(0).payload(b"x").seq(-9).stamp(1400, 1000);
    lab.in_relay(|| stage.judge(Way::In, &frame));
    assert_eq!(stage.slot(0).link.stamp_recent, 1500);
}

#[test]
fn a_second_message_is_answered_by_an_ack() {
    let Some(lab) = Lab::new(lab::loopback) else { return };
    let Some(mut stage) = Stage::armed(&lab) else { return };
    for (number, wanted) in [(1, DROP), (2, REDIRECT)] {
        let frame = stage.peer(2).payload(&ok(number, &in_block(2)));
        let (action, counted, seen) = lab.in_relay(|| stage.judge(Way::In, &frame));
        assert_eq!(action, wanted, "{counted:?}");
        if let Some(seen) = seen {
            assert_eq!((seen.ack, seen.flags), (stage.slot(2).connection.receive.next, ACK));
            assert_eq!(seen.seq, stage.slot(2).connection.transmit.highest);
            assert!(seen.payload.is_empty() && counted.contains(&Count::Total(Total::BareAck)));
        }
    }
    // A repetition of consumed octets is answered too.
    let frame = stage.peer(2).payload(&ok(2, &in_block(2))).seq(-(ok(2, &in_block(2)).len() as i32));
    let (action, counted, seen) = lab.in_relay(|| stage.judge(Way::In, &frame));
    assert!(action == REDIRECT && counted.contains(&Count::Peer(PeerVerdict::DropRepeat)), "{counted:?}");
    assert_eq!(seen.unwrap().ack, stage.slot(2).connection.receive.next);
}

#[test]
fn the_kernel_socket_hears_of_its_own_octets() {
    let Some(lab) = Lab::new(lab::loopback) else { return };
    let Some(mut stage) = Stage::new(&lab) else { return };
    // It sent three octets; their acknowledgement rides on a message.
    let frame = stage.kernel(0).payload(b"abc");
    lab.in_relay(|| stage.judge(Way::Out, &frame));
    for n in 0..3 {
        assert!(stage.arm_leg(n) && stage.arm_source(n));
    }
    let before = stage.slot(0).connection;
    let frame = stage.peer(0).payload(&hello());
    let (action, counted, seen) = lab.in_relay(|| stage.judge(Way::In, &frame));
    let seen = seen.unwrap();
    assert_eq!(action, NEXT);
    assert!(counted.contains(&Count::Peer(PeerVerdict::Consume)));
    assert!(counted.contains(&Count::Total(Total::ShowAck)));
    assert!(seen.payload.is_empty());
    assert_eq!(seen.ack, before.transmit.kernel_next);
    assert_eq!(seen.seq, before.receive.next, "the octet that the kernel socket waits for");
    assert_eq!(seen.options[4..8], 1000_u32.to_be_bytes());
}

#[test]
fn a_kernel_socket_that_repeats_gets_a_probe() {
    let Some(lab) = Lab::new(lab::loopback) else { return };
    let Some(mut stage) = Stage::new(&lab) else { return };
    let frame = stage.kernel(1).payload(b"abcdef");
    lab.in_relay(|| stage.judge(Way::Out, &frame));
    for n in 0..3 {
        assert!(stage.arm_leg(n) && stage.arm_source(n));
    }
    let message = stage.peer(0).payload(&hello());
    lab.in_relay(|| stage.judge(Way::In, &message));
    // From both sides of injected octets, which nobody has acknowledged.
    let across = frame.clone().payload(b"abcdefgh");
    let (action, counted, _) = lab.in_relay(|| stage.judge(Way::Out, &across));
    assert!(action == DROP && counted.contains(&Count::Kernel(KernelVerdict::DropAcross)), "{counted:?}");
    // All is acknowledged, but the kernel socket has not heard of it.
    let acked = stage.peer(1).flags(ACK);
    lab.in_relay(|| stage.judge(Way::In, &acked));
    let (action, counted, seen) = lab.in_relay(|| stage.judge(Way::Out, &across));
    let seen = seen.unwrap();
    assert!(action == NEXT && counted.contains(&Count::Kernel(KernelVerdict::Probe)), "{counted:?}");
    assert!(seen.payload.is_empty());
    assert_eq!(seen.seq, stage.slot(1).connection.transmit.acked.wrapping_sub(1));
}

#[test]
fn a_leg_that_cannot_take_a_copy_misses_it_alone() {
    let Some(lab) = Lab::new(lab::loopback) else { return };
    let Some(mut stage) = Stage::armed(&lab) else { return };
    stage.ask(Op::Take, 1, 0, 0);
    let frame = stage.peer(0).payload(&hello());
    let (action, counted, _) = lab.in_relay(|| stage.judge(Way::In, &frame));
    assert_eq!(action, REDIRECT);
    assert!(
        counted.contains(&Count::Total(Total::Missed)) && counted.contains(&Count::Cause(Cause::LegSlow))
    );
    let mut missed = Vec::new();
    stage.datapath.read_log(&mut |header, _| missed.push(header.missed));
    assert_eq!(missed, [1]);
    assert_eq!(stage.slot(1).connection.leg.misses, 1);
    // Only one who has handled the miss may arm it.
    let written = stage.slot(1).connection.transmit.kernel_next;
    assert!(!stage.ask(Op::ArmLeg, 1, written, 0).armed());
    assert!(stage.ask(Op::ArmLeg, 1, written, 1).armed());
}

#[test]
fn a_full_log_passes_the_message_up() {
    let Some(lab) = Lab::new(lab::loopback) else { return };
    let Some(mut stage) = Stage::armed(&lab) else { return };
    let size = u64::from(DatapathSettings::default().source_octets);
    let most = size / hello().len() as u64;
    let mut consumed = 0;
    for _ in 0..most + 1 {
        // Legs must not be the reason.
        for n in [1, 2] {
            let frame = stage.peer(n).flags(ACK);
            lab.in_relay(|| stage.judge(Way::In, &frame));
        }
        let frame = stage.peer(0).payload(&hello());
        let (_, counted, _) = lab.in_relay(|| stage.judge(Way::In, &frame));
        if counted.contains(&Count::Cause(Cause::LogFull)) {
            break;
        }
        assert!(counted.contains(&Count::Peer(PeerVerdict::Consume)), "{counted:?}");
        consumed += 1;
    }
    assert_eq!(consumed, most);
}

#[test]
fn a_flow_that_was_given_up_ends_with_a_syn() {
    let Some(lab) = Lab::new(lab::loopback) else { return };
    let Some(mut stage) = Stage::armed(&lab) else { return };
    let frame = stage.peer(0).payload(&hello());
    lab.in_relay(|| stage.judge(Way::In, &frame));
    let connection = stage.connections[0];
    let next = stage.peer(0);
    stage.datapath.forget(connection);
    // Still translated.
    let fin = next.clone().flags(ACK | FIN);
    let (_, counted, seen) = lab.in_relay(|| stage.judge(Way::In, &fin));
    assert!(counted.contains(&Count::Peer(PeerVerdict::PassSlow)));
    assert_ne!(seen.unwrap(), Seen::read(&fin.octets()));
    for flags in [SYN, ACK] {
        let frame = next.clone().flags(flags);
        let (action, counted, seen) = lab.in_relay(|| stage.judge(Way::In, &frame));
        assert_eq!((action, counted, seen), (NEXT, vec![], Some(Seen::read(&frame.octets()))));
    }
}

#[test]
fn a_record_wakes_a_reader_who_sleeps() {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    let Some(lab) = Lab::new(lab::loopback) else { return };
    let Some(mut stage) = Stage::armed(&lab) else { return };
    // Told of wake-ups only, not of what is there.
    let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: 0 };
    // SAFETY: plain system calls on descriptors that live here.
    let epoll = unsafe { OwnedFd::from_raw_fd(libc::epoll_create1(0)) };
    let log = stage.datapath.log_fd();
    let done = unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, log, &mut event) };
    assert_eq!(done, 0);
    for asleep in [false, true, false, true] {
        stage.datapath.set_asleep(asleep);
        let frame = stage.peer(0).payload(&hello());
        lab.in_relay(|| stage.judge(Way::In, &frame));
        let wait = if asleep { 2000 } else { 100 };
        // SAFETY: as above.
        let woken = unsafe { libc::epoll_wait(epoll.as_raw_fd(), &mut event, 1, wait) };
        assert_eq!(woken, i32::from(asleep));
        let mut records = 0;
        stage.datapath.read_log(&mut |_, _| records += 1);
        assert_eq!(records, 1);
    }
}
