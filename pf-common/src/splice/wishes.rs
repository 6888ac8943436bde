//! The answers to wishes for the fast path that depend on the mode, and which of several answers comes first.

use super::tests::{OURS, PEERS, connection, fast, inject, segment};
use super::*;

#[test]
fn what_is_fast_is_not_armed_again() {
    let mut c = fast();
    assert_eq!((c.arm_source(PEERS), c.arm_leg(OURS, 0)), (Arm::NotSlow, Arm::NotSlow));
    // Nor by somebody who is behind.
    assert_eq!((c.arm_source(PEERS - 1), c.arm_leg(OURS - 1, 1)), (Arm::NotSlow, Arm::NotSlow));
    assert_eq!((c.source.mode, c.leg.mode), (SourceMode::Fast, LegMode::Fast));
}

#[test]
fn a_leg_on_its_way_out_is_taken_first() {
    let mut c = fast();
    inject(&mut c, 100);
    c.clone_failed();
    assert_eq!((c.leg.mode, c.arm_leg(OURS, 0)), (LegMode::Leaving, Arm::NotSlow));
    assert_eq!((c.take().octets, c.arm_leg(OURS, 0)), (100, Arm::Behind));
}

#[test]
fn a_source_with_a_message_in_work_is_busy() {
    let mut c = fast();
    assert_eq!(c.from_peer(&segment(PEERS, 100, OURS), Offer::Message, 0).verdict, PeerVerdict::Consume);
    // Fast, and only then busy.
    assert_eq!(c.arm_source(PEERS), Arm::NotSlow);
    let out = c.from_peer(&segment(PEERS + 100, 100, OURS), Offer::Message, 0);
    assert_eq!((out.verdict, out.cause), (PeerVerdict::PassLeft, Cause::InWork));
    // Whatever was parsed: what is in work comes before it.
    assert_eq!((c.arm_source(PEERS), c.arm_source(PEERS + 100)), (Arm::Busy, Arm::Busy));
    assert_eq!(c.source.mode, SourceMode::Slow);
    c.finish(PEERS, 0);
    assert_eq!((c.arm_source(PEERS), c.arm_source(PEERS + 100)), (Arm::Behind, Arm::Armed));
}

#[test]
fn a_stream_that_has_ended_is_shut_whatever_its_mode() {
    let mut c = connection();
    c.from_kernel(&Segment { flags: flags::ACK | flags::FIN, ..segment(OURS, 0, PEERS) });
    c.from_peer(&Segment { flags: flags::ACK | flags::FIN, ..segment(PEERS, 0, OURS) }, Offer::Other, 0);
    assert_eq!((c.arm_leg(OURS + 1, 0), c.arm_source(PEERS + 1)), (Arm::Shut, Arm::Shut));
}
