//! Rows of frames (BPF_PROG_TEST_RUN): what the programs write into packets, and what one frame means to the next.

use pf::fastpath::{DatapathSettings, Way};
use pf_common::{
    maps::{Count, Op, Total},
    splice::{Arm, Cause, KernelVerdict, PeerVerdict},
};

use super::{
    frames::{ACK, FIN, PSH, SYN, Seen},
    lab::{self, Lab},
    message::{in_block, ok, out_block, send},
    shown::Shown,
    stage::{self, DROP, NEXT, REDIRECT, Scene, Stage, hello},
};

/// Those that show what no single frame does.
pub(crate) const SCENES: &[Scene] = &[
    Scene {
        what: "a copy is the message with the leg's paths and positions",
        stage: Stage::armed,
        play: a_copy_is_the_message_with_the_legs_paths_and_positions,
        shows: &[Shown::peer(PeerVerdict::PassSlow), Shown::peer(PeerVerdict::PassRepeat)],
    },
    Scene {
        what: "SACK blocks are blanked while positions differ",
        stage: Stage::armed,
        play: sack_blocks_are_blanked_while_positions_differ,
        shows: &[Shown::total(Total::Sack)],
    },
    Scene {
        what: "a second message is answered by an ACK",
        stage: Stage::armed,
        play: a_second_message_is_answered_by_an_ack,
        shows: &[Shown::total(Total::BareAck)],
    },
    Scene {
        what: "the kernel socket hears of its own octets",
        stage: Stage::new,
        play: the_kernel_socket_hears_of_its_own_octets,
        shows: &[Shown::total(Total::ShowAck)],
    },
    Scene {
        what: "a kernel socket that repeats gets a probe",
        stage: Stage::new,
        play: a_kernel_socket_that_repeats_gets_a_probe,
        shows: &[Shown::kernel(KernelVerdict::Probe), Shown::kernel(KernelVerdict::DropAcross)],
    },
    Scene {
        what: "a leg that cannot take a copy misses it alone",
        stage: Stage::armed,
        play: a_leg_that_cannot_take_a_copy_misses_it_alone,
        shows: &[
            Shown::total(Total::Missed),
            Shown::cause(Cause::LegSlow),
            Shown::arm(Arm::MissesOpen),
            Shown::arm(Arm::Armed),
        ],
    },
    Scene {
        what: "a full share of the log passes the message up",
        stage: Stage::armed,
        play: a_full_log_passes_the_message_up,
        shows: &[Shown::cause(Cause::LogFull)],
    },
];

#[test]
fn each_scene_shows_what_it_promises() {
    stage::play(lab::loopback, SCENES);
}

fn a_copy_is_the_message_with_the_legs_paths_and_positions(lab: &Lab, stage: &mut Stage) {
    let before = [stage.slot(0), stage.slot(1), stage.slot(2)];
    let frame = stage.peer(0).payload(&hello());
    let (action, _, seen) = lab.in_relay(|| stage.judge(Way::In, &frame));
    // The last leg gets the packet itself.
    let seen = seen.unwrap();
    assert_eq!(action, REDIRECT);
    assert_eq!(seen.payload, send(1, 50, &out_block(2)));
    assert_eq!(seen.to, stage.ours[2].peer_addr().unwrap());
    assert_eq!(seen.from, stage.ours[2].local_addr().unwrap());
    assert_eq!(seen.seq, before[2].connection.transmit.highest);
    assert_eq!(seen.ack, before[2].connection.receive.next);
    assert_eq!(seen.options[..4], [1, 1, 8, 10]);
    assert_eq!(seen.options[8..], 1000_u32.to_be_bytes());
    assert_eq!(seen.flags, ACK | PSH);
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

fn sack_blocks_are_blanked_while_positions_differ(lab: &Lab, stage: &mut Stage) {
    let sack = |stage: &Stage| stage.peer(1).flags(ACK).window(50).sack(5, 9);
    let frame = sack(stage);
    let (_, _, seen) = lab.in_relay(|| stage.judge(Way::In, &frame));
    assert_eq!(seen.unwrap().options[12..16], [1, 1, 5, 10]);
    let frame = stage.peer(0).payload(&hello());
    lab.in_relay(|| stage.judge(Way::In, &frame));
    let frame = sack(stage).window(500);
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

fn a_second_message_is_answered_by_an_ack(lab: &Lab, stage: &mut Stage) {
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

fn the_kernel_socket_hears_of_its_own_octets(lab: &Lab, stage: &mut Stage) {
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

fn a_kernel_socket_that_repeats_gets_a_probe(lab: &Lab, stage: &mut Stage) {
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

fn a_leg_that_cannot_take_a_copy_misses_it_alone(lab: &Lab, stage: &mut Stage) {
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

fn a_full_log_passes_the_message_up(lab: &Lab, stage: &mut Stage) {
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
