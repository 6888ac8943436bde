//! Each reason for which a message, a leg or a source is not fast, that takes more than one frame to show. Over addresses
//! that are not of this host: what the programs send on the way reaches nobody.

use std::{thread, time::Duration};

use pf::fastpath::Way;
use pf_common::{
    maps::{Count, Op, RecordKind, Total},
    splice::{Arm, CAP_SEGMENTS, Cause, JOURNAL, LegMode, PeerVerdict, STALL, SourceMode},
};

use super::{
    frames::{ACK, RST},
    lab::{self, Lab, run},
    message::{in_block, out_block, send},
    shown::Shown,
    stage::{self, DROP, NEXT, REDIRECT, Scene, Stage, hello},
};

pub(crate) const SCENES: &[Scene] = &[
    Scene {
        what: "userspace asks for a source and a leg",
        stage: Stage::armed,
        play: requested,
        shows: &[Shown::State(Cause::Requested), Shown::peer(PeerVerdict::PassSlow)],
    },
    Scene {
        what: "a message longer than the legs' MSS",
        stage: Stage::armed,
        play: too_long,
        shows: &[
            Shown::cause(Cause::LegTooLong),
            Shown::State(Cause::LegTooLong),
            Shown::total(Total::Missed),
        ],
    },
    Scene {
        what: "more in flight than ten segments",
        stage: Stage::armed,
        play: in_flight,
        shows: &[Shown::cause(Cause::LegCap), Shown::State(Cause::LegCap)],
    },
    Scene {
        what: "a peer without a window",
        stage: Stage::armed,
        play: no_window,
        shows: &[Shown::cause(Cause::LegWindow), Shown::State(Cause::LegWindow)],
    },
    Scene {
        what: "more messages in flight than the journal has places",
        stage: Stage::armed,
        play: full_journal,
        shows: &[Shown::cause(Cause::LegJournal), Shown::State(Cause::LegJournal)],
    },
    Scene {
        what: "three duplicate ACKs",
        stage: Stage::armed,
        play: duplicates,
        shows: &[Shown::State(Cause::Lost), Shown::arm(Arm::NotSlow)],
    },
    Scene {
        what: "silence",
        stage: Stage::armed,
        play: silence,
        shows: &[Shown::cause(Cause::Stalled), Shown::State(Cause::Stalled), Shown::total(Total::BareAck)],
    },
    Scene {
        what: "a kernel socket that sends on a fast leg",
        stage: Stage::armed,
        play: kernel_speaks,
        shows: &[Shown::State(Cause::KernelSpoke)],
    },
    Scene {
        what: "a kernel socket that resets",
        stage: Stage::armed,
        play: kernel_resets,
        shows: &[Shown::State(Cause::Closed), Shown::arm(Arm::Shut)],
    },
    Scene {
        what: "a connection that is given up",
        stage: Stage::armed,
        play: given_up,
        shows: &[Shown::State(Cause::Closed)],
    },
    Scene {
        what: "a message while another one is in work",
        stage: Stage::armed,
        play: in_work,
        shows: &[Shown::cause(Cause::InWork), Shown::State(Cause::InWork), Shown::arm(Arm::Busy)],
    },
    Scene {
        what: "a copy that no interface takes",
        stage: Stage::armed,
        play: no_way_out,
        shows: &[
            Shown::cause(Cause::CloneFailed),
            Shown::State(Cause::CloneFailed),
            Shown::total(Total::CloneFailed),
        ],
    },
    Scene {
        what: "a target whose number another connection has",
        stage: Stage::armed,
        play: stale,
        shows: &[Shown::total(Total::Stale), Shown::total(Total::Missed)],
    },
    Scene {
        what: "a full ring",
        stage: Stage::with_a_tiny_log,
        play: full_ring,
        shows: &[Shown::cause(Cause::LogFull), Shown::State(Cause::LogFull), Shown::total(Total::LogFull)],
    },
];

#[test]
fn each_reason_is_given() {
    stage::play(lab::v4, SCENES);
}

#[test]
fn each_reason_is_given_over_ipv6() {
    stage::play(lab::v6, SCENES);
}

/// A good message from the originator: what the program answers, and what is counted.
fn says(lab: &Lab, stage: &mut Stage, octets: &[u8]) -> (i32, Vec<Count>) {
    let frame = stage.peer(0).payload(octets);
    let (action, counted, _) = lab.in_relay(|| stage.judge(Way::In, &frame));
    (action, counted)
}

/// How a leg is, and why.
fn leg(stage: &Stage, n: usize) -> (LegMode, Cause) {
    let leg = stage.slot(n).connection.leg;
    (leg.mode, leg.cause)
}

fn source(stage: &Stage, n: usize) -> (SourceMode, Cause) {
    let source = stage.slot(n).connection.source;
    (source.mode, source.cause)
}

/// Octets of a leg that its peer has not acknowledged.
fn open(stage: &Stage, n: usize) -> u32 {
    let transmit = stage.slot(n).connection.transmit;
    transmit.highest.wrapping_sub(transmit.acked)
}

/// The legs that missed the messages of the log, and the notices in it: whose, and why.
fn log(stage: &mut Stage) -> (Vec<u32>, Vec<(u32, u32)>) {
    let (mut missed, mut notices) = (Vec::new(), Vec::new());
    stage.datapath.read_log(&mut |header, _| {
        if header.kind == RecordKind::Notice as u32 {
            notices.push((header.connection, header.cause));
        } else {
            missed.push(header.missed);
        }
    });
    (missed, notices)
}

fn requested(lab: &Lab, stage: &mut Stage) {
    stage.ask(Op::LeaveSource, 0, 0, 0);
    stage.ask(Op::Take, 1, 0, 0);
    assert_eq!(source(stage, 0), (SourceMode::Slow, Cause::Requested));
    assert_eq!(leg(stage, 1), (LegMode::Slow, Cause::Requested));
    assert_eq!(says(lab, stage, &hello()).0, NEXT);
}

fn too_long(lab: &Lab, stage: &mut Stage) {
    let message = send(1, 1600, &in_block(0));
    assert!(message.len() > stage.slot(1).connection.transmit.mss as usize);
    let (action, counted) = says(lab, stage, &message);
    assert!(action == DROP && counted.contains(&Count::Peer(PeerVerdict::Consume)), "{counted:?}");
    assert_eq!(log(stage).0, [0b11], "both legs missed it");
    assert_eq!([1, 2].map(|n| leg(stage, n)), [(LegMode::Leaving, Cause::LegTooLong); 2]);
}

fn in_flight(lab: &Lab, stage: &mut Stage) {
    let message = send(1, 1000, &in_block(0));
    let fit = |n: usize| {
        let cap = CAP_SEGMENTS * stage.slot(n).connection.transmit.mss;
        cap as usize / send(1, 1000, &out_block(n)).len()
    };
    let fit = fit(1).min(fit(2));
    for _ in 0..fit {
        let (action, counted) = says(lab, stage, &message);
        assert!(action != NEXT && !counted.contains(&Count::Total(Total::Missed)), "{counted:?}");
    }
    while !says(lab, stage, &message).1.contains(&Count::Cause(Cause::LegCap)) {
        assert!([1, 2].iter().all(|n| leg(stage, *n).0 == LegMode::Fast));
    }
    let full = [1, 2].into_iter().find(|n| leg(stage, *n) == (LegMode::Leaving, Cause::LegCap)).unwrap();
    let len = send(1, 1000, &out_block(full)).len() as u32;
    assert!(open(stage, full) + len > CAP_SEGMENTS * stage.slot(full).connection.transmit.mss);
}

fn no_window(lab: &Lab, stage: &mut Stage) {
    let frame = stage.peer(1).flags(ACK).window(0);
    lab.in_relay(|| stage.judge(Way::In, &frame));
    assert_eq!(says(lab, stage, &hello()).0, REDIRECT, "the other leg gets it");
    assert_eq!(leg(stage, 1), (LegMode::Leaving, Cause::LegWindow));
    assert_eq!((leg(stage, 2).0, open(stage, 1)), (LegMode::Fast, 0));
    assert_eq!(log(stage).0, [0b01]);
}

fn full_journal(lab: &Lab, stage: &mut Stage) {
    for n in [1, 2] {
        stage.ask(Op::Cap, n, 100, 0);
    }
    for _ in 0..JOURNAL {
        let (_, counted) = says(lab, stage, &hello());
        assert!(!counted.contains(&Count::Total(Total::Missed)), "{counted:?}");
    }
    says(lab, stage, &hello());
    assert_eq!([1, 2].map(|n| leg(stage, n)), [(LegMode::Leaving, Cause::LegJournal); 2]);
    // An acknowledgement of the first makes room again: for the next one that takes the leg.
    let taken = stage.ask(Op::Take, 2, 0, 0);
    assert_eq!(taken.taken_octets as usize, JOURNAL * send(1, 50, &out_block(2)).len());
}

fn duplicates(lab: &Lab, stage: &mut Stage) {
    says(lab, stage, &hello());
    let len = send(1, 50, &out_block(2)).len() as i32;
    let again = stage.peer(2).flags(ACK).ack(-len);
    for so_far in 0..3 {
        assert_eq!(leg(stage, 2).0, LegMode::Fast, "{so_far} duplicates");
        let (action, counted, _) = lab.in_relay(|| stage.judge(Way::In, &again));
        assert!(action == DROP && counted.contains(&Count::Peer(PeerVerdict::AbsorbAck)), "{counted:?}");
    }
    assert_eq!(leg(stage, 2), (LegMode::Leaving, Cause::Lost));
    assert_eq!(log(stage).1, [(stage.connections[2], Cause::Lost as u32)]);
    // On its way out: userspace takes it first.
    assert_eq!(stage.wish_leg(2), Arm::NotSlow as u32);
    assert_eq!(stage.ask(Op::Take, 2, 0, 0).taken_octets, len as u32);
}

fn silence(lab: &Lab, stage: &mut Stage) {
    says(lab, stage, &hello());
    assert_eq!(stage.ask(Op::Tick, 2, 0, 0).answer, 0, "not yet");
    thread::sleep(Duration::from_millis(u64::from(STALL) + 50));
    assert_eq!(stage.ask(Op::Tick, 2, 0, 0).answer, 1);
    assert_eq!(leg(stage, 2), (LegMode::Leaving, Cause::Stalled));
    assert_eq!(stage.ask(Op::Tick, 2, 0, 0).answer, 0, "it has left already");
    // The originator waits for an ACK.
    assert_eq!(stage.slot(0).connection.receive.ack_owed, 1);
    lab.in_relay(|| stage.ask(Op::Tick, 0, 0, 0));
    assert_eq!(stage.slot(0).connection.receive.ack_owed, 0);
}

fn kernel_speaks(lab: &Lab, stage: &mut Stage) {
    let frame = stage.kernel(2).payload(b"abc");
    let (action, ..) = lab.in_relay(|| stage.judge(Way::Out, &frame));
    assert_eq!((action, leg(stage, 2)), (NEXT, (LegMode::Leaving, Cause::KernelSpoke)));
    assert_eq!(log(stage).1, [(stage.connections[2], Cause::KernelSpoke as u32)]);
}

fn kernel_resets(lab: &Lab, stage: &mut Stage) {
    let frame = stage.kernel(2).flags(RST | ACK);
    lab.in_relay(|| stage.judge(Way::Out, &frame));
    assert_eq!(leg(stage, 2), (LegMode::Leaving, Cause::Closed));
    assert_eq!(source(stage, 2), (SourceMode::Slow, Cause::Closed));
    assert_eq!(log(stage).1, [(stage.connections[2], Cause::Closed as u32)]);
    assert_eq!([stage.wish_leg(2), stage.wish_source(2)], [Arm::Shut as u32; 2]);
}

fn given_up(_: &Lab, stage: &mut Stage) {
    stage.datapath.forget(stage.connections[2]);
    let row = stage.ask(Op::View, 2, 0, 0);
    assert!(row.leg_is_slow() && row.ready_for_slow());
    assert_eq!(row.source_cause, Cause::Closed as u32);
}

fn in_work(lab: &Lab, stage: &mut Stage) {
    // What another processor makes of it for a microsecond.
    stage.change(0, |slot| slot.connection.source.in_work = 1);
    let (action, counted) = says(lab, stage, &hello());
    assert!(action == NEXT && counted.contains(&Count::Peer(PeerVerdict::PassLeft)), "{counted:?}");
    assert_eq!(source(stage, 0), (SourceMode::Slow, Cause::InWork));
    assert_eq!(log(stage), (vec![], vec![]), "its record was given back");
    assert_eq!(stage.wish_source(0), Arm::Busy as u32);
    stage.change(0, |slot| slot.connection.source.in_work = 0);
    assert_eq!(stage.wish_source(0), Arm::Armed as u32);
}

fn no_way_out(lab: &Lab, stage: &mut Stage) {
    lab.in_relay(|| run("ip link set lo down"));
    let (action, _) = says(lab, stage, &hello());
    lab.in_relay(|| run("ip link set lo up"));
    // The last leg gets the packet itself, when the program has ended.
    assert_eq!((action, leg(stage, 2).0), (REDIRECT, LegMode::Fast));
    assert_eq!(leg(stage, 1), (LegMode::Leaving, Cause::CloneFailed));
    // Not missed: its octets have their place, and userspace writes them again.
    assert_eq!(log(stage), (vec![0], vec![(stage.connections[1], Cause::CloneFailed as u32)]));
    let taken = stage.ask(Op::Take, 1, 0, 0).taken_octets;
    assert_eq!(taken as usize, send(1, 50, &out_block(1)).len());
}

fn stale(lab: &Lab, stage: &mut Stage) {
    stage.change(1, |slot| slot.generation += 1);
    let before = stage.slot(1).connection.transmit.highest;
    assert_eq!(says(lab, stage, &hello()).0, REDIRECT);
    assert_eq!((log(stage).0, stage.slot(1).connection.transmit.highest), (vec![0b01], before));
}

fn full_ring(lab: &Lab, stage: &mut Stage) {
    let mut consumed = 0;
    while !says(lab, stage, &hello()).1.contains(&Count::Total(Total::LogFull)) {
        consumed += 1;
        assert!(consumed * hello().len() < 4096);
    }
    assert_eq!(source(stage, 0), (SourceMode::Slow, Cause::LogFull));
    assert_eq!(log(stage).0.len(), consumed, "all that were consumed are there");
}
