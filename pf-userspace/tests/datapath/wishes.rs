//! Each answer to a wish to be fast.

use pf::fastpath::Way;
use pf_common::{
    maps::{NO_CONNECTION, NOT_LEARNED, Op},
    splice::{Arm, Cause},
};

use super::{
    frames::{ACK, FIN, Frame},
    lab::{self, Lab},
    shown::Shown,
    stage::{self, Scene, Stage, hello},
};

const ARMED: u32 = Arm::Armed as u32;

pub(crate) const SCENES: &[Scene] = &[
    Scene {
        what: "wishes for a connection that has not been learned, and for none",
        stage: Stage::unlearned,
        play: unlearned,
        shows: &[Shown::Answer(NOT_LEARNED), Shown::Answer(NO_CONNECTION), Shown::arm(Arm::Armed)],
    },
    Scene {
        what: "wishes for what is fast already",
        stage: Stage::armed,
        play: fast_already,
        shows: &[Shown::arm(Arm::NotSlow)],
    },
    Scene {
        what: "wishes of somebody who is behind",
        stage: Stage::new,
        play: behind,
        shows: &[Shown::arm(Arm::Behind), Shown::arm(Arm::Armed)],
    },
    Scene {
        what: "a wish for a source with a gap",
        stage: Stage::new,
        play: gap,
        shows: &[Shown::arm(Arm::Gap), Shown::arm(Arm::Armed)],
    },
    Scene {
        what: "a wish for a leg with misses",
        stage: Stage::armed,
        play: misses_open,
        shows: &[Shown::arm(Arm::MissesOpen), Shown::arm(Arm::Armed)],
    },
    Scene {
        what: "wishes for streams that have ended",
        stage: Stage::armed,
        play: shut,
        shows: &[Shown::cause(Cause::Fin), Shown::arm(Arm::Shut)],
    },
];

#[test]
fn each_wish_gets_its_answer() {
    stage::play(lab::v4, SCENES);
}

/// A packet from or for a peer.
fn goes(lab: &Lab, stage: &mut Stage, way: Way, frame: &Frame) {
    lab.in_relay(|| stage.judge(way, frame));
}

fn unlearned(lab: &Lab, stage: &mut Stage) {
    let wishes = |stage: &mut Stage| [stage.wish_leg(0), stage.wish_source(0)];
    assert_eq!(wishes(stage), [NOT_LEARNED; 2]);
    let frame = stage.kernel(0);
    goes(lab, stage, Way::Out, &frame);
    assert_eq!(wishes(stage), [NOT_LEARNED; 2]);
    let frame = stage.peer(0);
    goes(lab, stage, Way::In, &frame);
    assert_eq!(wishes(stage), [ARMED; 2]);
    // One that nobody has, and one beyond all.
    for connection in [63, 64] {
        for op in [Op::ArmLeg, Op::ArmSource] {
            assert_eq!(stage.ask_of(connection, op, 0, 0).answer, NO_CONNECTION);
        }
    }
}

fn fast_already(_: &Lab, stage: &mut Stage) {
    assert_eq!([stage.wish_leg(0), stage.wish_source(0)], [Arm::NotSlow as u32; 2]);
}

fn behind(lab: &Lab, stage: &mut Stage) {
    let before = stage.slot(0).connection;
    let (written, parsed) = (before.transmit.kernel_next, before.receive.next);
    let frame = stage.kernel(0).payload(b"abc");
    goes(lab, stage, Way::Out, &frame);
    let frame = stage.peer(0).payload(b"defgh");
    goes(lab, stage, Way::In, &frame);
    assert_eq!(stage.ask(Op::ArmLeg, 0, written, 0).answer, Arm::Behind as u32);
    assert_eq!(stage.ask(Op::ArmSource, 0, parsed, 0).answer, Arm::Behind as u32);
    assert_eq!(stage.ask(Op::ArmLeg, 0, written.wrapping_add(3), 0).answer, ARMED);
    assert_eq!(stage.ask(Op::ArmSource, 0, parsed.wrapping_add(5), 0).answer, ARMED);
    // What was rolled back has to be written again first.
    assert_eq!(stage.wish_leg(1), ARMED);
    let frame = stage.peer(0).payload(&hello());
    goes(lab, stage, Way::In, &frame);
    assert!(stage.ask(Op::Take, 1, 0, 0).taken_octets > 0);
    assert_eq!(stage.wish_leg(1), Arm::Behind as u32);
}

fn gap(lab: &Lab, stage: &mut Stage) {
    let frame = stage.peer(0).payload(b"later").seq(7);
    goes(lab, stage, Way::In, &frame);
    assert_eq!(stage.wish_source(0), Arm::Gap as u32);
    let frame = stage.peer(0).payload(b"earlier and later").seq(-5);
    goes(lab, stage, Way::In, &frame);
    assert_eq!(stage.wish_source(0), ARMED);
}

fn misses_open(lab: &Lab, stage: &mut Stage) {
    let frame = stage.peer(1).flags(ACK).window(0);
    goes(lab, stage, Way::In, &frame);
    let frame = stage.peer(0).payload(&hello());
    goes(lab, stage, Way::In, &frame);
    assert_eq!(stage.slot(1).connection.leg.misses, 1);
    stage.ask(Op::Take, 1, 0, 0);
    let written = stage.slot(1).connection.transmit.kernel_next;
    assert_eq!(stage.ask(Op::ArmLeg, 1, written, 0).answer, Arm::MissesOpen as u32);
    assert_eq!(stage.ask(Op::ArmLeg, 1, written, 1).answer, ARMED);
}

fn shut(lab: &Lab, stage: &mut Stage) {
    let frame = stage.peer(0).flags(ACK | FIN);
    goes(lab, stage, Way::In, &frame);
    let frame = stage.kernel(1).flags(ACK | FIN);
    goes(lab, stage, Way::Out, &frame);
    assert_eq!([stage.wish_source(0), stage.wish_leg(1)], [Arm::Shut as u32; 2]);
    // The other halves go on.
    stage.ask(Op::Take, 0, 0, 0);
    stage.ask(Op::LeaveSource, 1, 0, 0);
    assert_eq!([stage.wish_leg(0), stage.wish_source(1)], [ARMED; 2]);
}
