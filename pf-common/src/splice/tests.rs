//! What the model reaches rarely or never: wraps of the sequence space, dying owners, full tables, exact values.

use super::relay::{Row, SourceDuty};
use super::seq::HORIZON;
use super::*;

pub(super) const OURS: u32 = 1_000;
pub(super) const PEERS: u32 = 50_000;

pub(super) fn connection() -> Connection {
    let handshake = Handshake {
        our_isn: OURS - 1,
        peer_isn: PEERS - 1,
        our_window: 60_000,
        peer_window: 60_000,
        mss: 1_000,
    };
    Connection::new(&handshake, u32::MAX)
}

/// A connection that is fast in both roles.
pub(super) fn fast() -> Connection {
    let mut c = connection();
    assert_eq!((c.arm_source(PEERS), c.arm_leg(OURS, 0)), (Arm::Armed, Arm::Armed));
    c
}

pub(super) fn segment(seq: u32, len: u32, ack: u32) -> Segment {
    Segment { seq, ack, window: 60_000, len, flags: flags::ACK }
}

pub(super) fn message(len: u32) -> Injected {
    Injected { source: 0, position: 0, taken: len, len, wire: 0 }
}

pub(super) fn inject(c: &mut Connection, len: u32) -> u32 {
    let reserved = c.reserve(&message(len), len, 0);
    assert_eq!(reserved.cause, Cause::Clear);
    reserved.header.seq
}

#[test]
fn the_state_has_no_padding() {
    let words = 9 + 14 + (6 + MAX_LEGS + 4) + 4 + (5 * JOURNAL + 2);
    assert_eq!(size_of::<Connection>(), words * 4);
    assert_eq!(align_of::<Connection>(), 4);
}

#[test]
fn injected_octets_shift_what_the_kernel_socket_sends_next() {
    let mut c = fast();
    assert_eq!((inject(&mut c, 100), inject(&mut c, 50)), (OURS, OURS + 100));
    // Acknowledged inside the injected octets: nothing new for the kernel socket.
    let out = c.from_peer(&segment(PEERS, 0, OURS + 120), Offer::Other, 1);
    assert_eq!(out.verdict, PeerVerdict::AbsorbAck);
    let taken = c.take();
    assert_eq!((taken.broken, taken.from, taken.octets), (false, OURS + 120, 30));
    assert_eq!(c.journal.len(), 1);
    assert_eq!(c.journal.get(0).map(|entry| (entry.wire, entry.len)), Some((OURS + 100, 50)));
    // The first octet of the kernel socket goes where the first lost one was.
    let out = c.from_kernel(&segment(OURS, 30, PEERS));
    assert_eq!((out.verdict, out.seq), (KernelVerdict::Send, OURS + 120));
    // A late acknowledgement of all that was injected, before the kernel socket has repeated all of it.
    assert_eq!(c.violated(), None);
}

#[test]
fn late_acknowledgements_after_a_roll_back_are_accepted_and_clamped() {
    let mut c = fast();
    inject(&mut c, 100);
    c.take();
    c.from_kernel(&segment(OURS, 40, PEERS));
    let out = c.from_peer(&segment(PEERS, 0, OURS + 100), Offer::Other, 1);
    assert_eq!((out.verdict, out.ack), (PeerVerdict::PassControl, OURS + 40));
    // The window's right edge stays where the peer put it.
    assert_eq!(out.window, 60_000 + 60);
    // Not armed again before everything rolled back has been written again.
    assert_eq!(c.arm_leg(OURS + 40, 0), Arm::Behind);
    c.from_kernel(&segment(OURS + 40, 60, PEERS));
    assert_eq!(c.arm_leg(OURS + 100, 0), Arm::Armed);
    assert_eq!(inject(&mut c, 10), OURS + 100);
}

#[test]
fn an_owner_that_dies_cannot_make_octets_change_places() {
    let mut c = fast();
    inject(&mut c, 100);
    let fin = Segment { flags: flags::ACK | flags::FIN, ..segment(OURS, 20, PEERS) };
    let out = c.from_kernel(&fin);
    assert_eq!((out.verdict, out.seq), (KernelVerdict::Send, OURS + 100));
    assert_eq!((c.leg.mode, c.leg.cause), (LegMode::Leaving, Cause::KernelSpoke));
    assert!(c.take().broken, "the injected octets can no longer be rolled back");
    // Inside the injected octets the kernel socket hears its boundary and no more; behind them, its own octets.
    let out = c.from_peer(&segment(PEERS, 0, OURS + 60), Offer::Other, 1);
    assert_eq!((out.verdict, out.ack), (PeerVerdict::PassControl, OURS));
    let out = c.from_peer(&segment(PEERS, 0, OURS + 110), Offer::Other, 1);
    assert_eq!((out.verdict, out.ack), (PeerVerdict::PassControl, OURS + 10));
    assert!(!c.take().broken, "all injected octets have arrived");
    assert_eq!(c.arm_leg(OURS + 21, 0), Arm::Shut);
}

#[test]
fn octets_from_both_sides_of_unacknowledged_ones_are_not_sent() {
    let mut c = connection();
    c.from_kernel(&segment(OURS, 30, PEERS));
    assert_eq!(c.arm_leg(OURS + 30, 0), Arm::Armed);
    assert_eq!(inject(&mut c, 100), OURS + 30);
    // Repeated from below the boundary: its own place, exactly.
    let out = c.from_kernel(&segment(OURS + 10, 20, PEERS));
    assert_eq!((out.verdict, out.seq), (KernelVerdict::Send, OURS + 10));
    let out = c.from_kernel(&segment(OURS + 10, 40, PEERS));
    assert_eq!(out.verdict, KernelVerdict::DropAcross);
    assert_eq!(c.leg.cause, Cause::KernelSpoke);
    c.from_peer(&segment(PEERS, 0, OURS + 130), Offer::Other, 1);
    let out = c.from_kernel(&segment(OURS + 10, 40, PEERS));
    assert_eq!((out.verdict, out.seq), (KernelVerdict::Probe, OURS + 129));
}

#[test]
fn a_roll_back_below_unacknowledged_kernel_octets_keeps_their_places() {
    let mut c = connection();
    c.from_kernel(&segment(OURS, 30, PEERS));
    assert_eq!(c.arm_leg(OURS + 30, 0), Arm::Armed);
    inject(&mut c, 100);
    let taken = c.take();
    assert_eq!((taken.from, taken.octets), (OURS + 30, 100));
    let out = c.from_kernel(&segment(OURS + 10, 60, PEERS));
    assert_eq!((out.verdict, out.seq), (KernelVerdict::Send, OURS + 10));
}

#[test]
fn a_reset_ends_both_roles() {
    let mut c = fast();
    inject(&mut c, 100);
    let out = c.from_kernel(&Segment { flags: flags::RST | flags::ACK, ..segment(OURS, 0, PEERS) });
    assert_eq!((out.verdict, out.seq), (KernelVerdict::SendReset, OURS + 100));
    assert_eq!((c.leg.cause, c.source.cause), (Cause::Closed, Cause::Closed));
    assert_eq!((c.arm_source(PEERS), c.arm_leg(OURS, 0)), (Arm::Shut, Arm::Shut));

    let mut c = fast();
    let out = c.from_peer(&Segment { flags: flags::RST, ..segment(PEERS, 0, 0) }, Offer::Other, 0);
    assert_eq!((out.verdict, out.cause), (PeerVerdict::PassLeft, Cause::Flags));
    assert_eq!(c.source.mode, SourceMode::Slow);
}

#[test]
fn an_acknowledgement_of_nothing_sent_changes_nothing() {
    let mut c = fast();
    inject(&mut c, 100);
    let before = (c.transmit.acked, c.transmit.edge);
    let out = c.from_peer(&segment(PEERS, 10, OURS + 101), Offer::Message, 0);
    assert_eq!(out.verdict, PeerVerdict::DropBadAck);
    assert_eq!((before, c.receive.next), ((c.transmit.acked, c.transmit.edge), PEERS));
}

#[test]
fn the_peer_is_acknowledged_by_the_second_message_or_after_a_delay() {
    let mut c = fast();
    assert!(!c.from_peer(&segment(PEERS, 100, OURS), Offer::Message, 10).answer);
    c.finish(PEERS, 0);
    assert!(!c.tick(10 + ACK_DELAY - 1).answer && c.tick(10 + ACK_DELAY).answer);
    assert!(c.from_peer(&segment(PEERS + 100, 100, OURS), Offer::Message, 11).answer);
    c.finish(PEERS + 100, 0);
    let header = c.bare_ack();
    assert_eq!((header.seq, header.ack), (OURS, PEERS + 200));
    assert!(!c.tick(1_000).answer);
    // Anything else that is sent carries the acknowledgement as well.
    c.from_peer(&segment(PEERS + 200, 100, OURS), Offer::Message, 2_000);
    c.finish(PEERS + 200, 0);
    assert_eq!(c.reserve(&message(10), 10, 2_000).header.ack, PEERS + 300);
    assert!(!c.tick(3_000).answer);
    c.from_peer(&segment(PEERS + 300, 100, OURS), Offer::Message, 4_000);
    c.finish(PEERS + 300, 0);
    assert_eq!(c.from_kernel(&segment(OURS, 0, PEERS)).ack, PEERS + 400);
    assert!(!c.tick(5_000).answer);
}

#[test]
fn the_kernel_socket_hears_an_acknowledgement_that_a_consumed_packet_carries() {
    let mut c = connection();
    c.from_kernel(&segment(OURS, 30, PEERS));
    assert_eq!(c.arm_source(PEERS), Arm::Armed);
    let out = c.from_peer(&segment(PEERS, 100, OURS + 30), Offer::Message, 0);
    assert_eq!((out.verdict, out.show_ack, out.seq, out.ack), (PeerVerdict::Consume, true, PEERS, OURS + 30));
    c.finish(PEERS, 0);
    assert_eq!(c.arm_leg(OURS + 30, 0), Arm::Armed);
    let out = c.from_peer(&segment(PEERS + 100, 100, OURS + 30), Offer::Message, 0);
    assert_eq!((out.verdict, out.show_ack), (PeerVerdict::Consume, false));
}

#[test]
fn a_repetition_of_consumed_octets_is_answered_and_not_passed_up() {
    let mut c = fast();
    c.from_peer(&segment(PEERS, 100, OURS), Offer::Message, 0);
    c.finish(PEERS, 0);
    let out = c.from_peer(&segment(PEERS, 100, OURS), Offer::Message, 0);
    assert_eq!((out.verdict, out.answer), (PeerVerdict::DropRepeat, true));
    // Old and new octets in one packet go up, at their kernel place: the kernel socket trims what it has.
    let out = c.from_peer(&segment(PEERS + 50, 80, OURS), Offer::Message, 0);
    assert_eq!((out.verdict, out.cause, out.seq), (PeerVerdict::PassLeft, Cause::Overlap, PEERS - 50));
    assert_eq!(c.receive.next, PEERS + 130);
}

#[test]
fn a_packet_from_beyond_every_window_does_not_close_the_fast_path() {
    let mut c = connection();
    c.from_peer(&segment(PEERS + HORIZON, 100, OURS), Offer::Other, 0);
    assert_eq!(c.arm_source(PEERS), Arm::Armed);
    c.from_peer(&segment(PEERS + 1_000, 100, OURS), Offer::Other, 0);
    assert_eq!(c.arm_source(PEERS), Arm::Gap);
    // The gap closes: the kernel socket's acknowledgement says how far.
    c.from_peer(&segment(PEERS, 1_000, OURS), Offer::Other, 0);
    assert_eq!(c.arm_source(PEERS + 1_000), Arm::Gap);
    c.from_kernel(&segment(OURS, 0, PEERS + 1_100));
    assert_eq!(c.arm_source(PEERS + 1_100), Arm::Armed);
}

#[test]
fn a_leg_takes_no_more_than_cap_window_and_journal_allow() {
    let mut c = fast();
    assert_eq!(c.reserve(&message(1_001), 1_001, 0).cause, Cause::LegTooLong);
    assert_eq!((c.leg.mode, c.leg.misses), (LegMode::Leaving, 1));
    assert_eq!(c.reserve(&message(1), 1, 0).cause, Cause::LegSlow);
    c.take();
    assert_eq!((c.arm_leg(OURS, 1), c.arm_leg(OURS, 2)), (Arm::MissesOpen, Arm::Armed));

    for _ in 0..CAP_SEGMENTS {
        inject(&mut c, 1_000);
    }
    assert_eq!(c.reserve(&message(1), 1, 0).cause, Cause::LegCap);

    let mut c = fast();
    c.from_peer(&Segment { window: 150, ..segment(PEERS, 0, OURS) }, Offer::Other, 0);
    inject(&mut c, 100);
    assert_eq!(c.reserve(&message(51), 51, 0).cause, Cause::LegWindow);

    let mut c = fast();
    for _ in 0..JOURNAL {
        inject(&mut c, 1);
    }
    assert_eq!(c.reserve(&message(1), 1, 0).cause, Cause::LegJournal);
    assert_eq!(c.take().octets, JOURNAL as u32);
}

#[test]
fn the_kernel_socket_gets_the_answer_to_a_probe() {
    let mut c = fast();
    inject(&mut c, 100);
    let answer = segment(PEERS, 0, OURS + 100);
    assert_eq!(c.from_peer(&answer, Offer::Other, 0).verdict, PeerVerdict::AbsorbAck);
    // A keep-alive: below what the peer expects, or it would not answer.
    assert_eq!(c.from_kernel(&segment(OURS - 1, 0, PEERS)).seq, OURS - 1);
    let out = c.from_peer(&answer, Offer::Other, 0);
    assert_eq!((out.verdict, out.ack), (PeerVerdict::PassControl, OURS));
    assert_eq!(c.from_peer(&answer, Offer::Other, 0).verdict, PeerVerdict::AbsorbAck);
    c.take();
    assert_eq!(c.from_kernel(&segment(OURS - 1, 0, PEERS)).seq, OURS + 99);
    // An acknowledgement is acceptable wherever the stream stands.
    assert_eq!(c.from_kernel(&segment(OURS, 0, PEERS)).seq, OURS + 100);
}

#[test]
fn loss_and_silence_end_injection() {
    let mut c = fast();
    inject(&mut c, 100);
    for _ in 0..2 {
        c.from_peer(&segment(PEERS, 0, OURS), Offer::Other, 0);
        assert_eq!(c.leg.mode, LegMode::Fast);
    }
    c.from_peer(&segment(PEERS, 0, OURS), Offer::Other, 0);
    assert_eq!((c.leg.mode, c.leg.cause), (LegMode::Leaving, Cause::Lost));

    let mut c = fast();
    inject(&mut c, 100);
    assert!(!c.tick(STALL - 1).left);
    assert!(c.tick(STALL).left);
    assert_eq!((c.leg.mode, c.leg.cause), (LegMode::Leaving, Cause::Stalled));
}

#[test]
fn positions_hold_while_the_sequence_space_wraps_more_than_once() {
    let mut c = fast();
    let (mut at, step) = (PEERS, 60_000_u32);
    let consume = |c: &mut Connection, at: &mut u32| {
        let out = c.from_peer(&segment(*at, step, c.transmit.acked), Offer::Message, 0);
        assert_eq!(out.verdict, PeerVerdict::Consume, "{:?}", out.cause);
        c.finish(*at, 1);
        c.release(step);
        *at = at.wrapping_add(step);
    };
    let mut duty = SourceDuty::new(PEERS);
    for round in 0..150_000_u32 {
        let from = at;
        consume(&mut c, &mut at);
        // A leg that misses everything for longer than the sequence space is still owed exactly the last message.
        assert_eq!(duty.owed(&c.source, 0), Some(Row { from, to: at }), "{round}");
        duty.settle(&c.source);
    }
    // As much again through the kernel socket: neither taken for a repetition nor for a gap.
    c.leave_source(Cause::Requested);
    for _ in 0..150_000 {
        let out = c.from_peer(&segment(at, step, OURS), Offer::Message, 0);
        assert_eq!((out.verdict, out.cause), (PeerVerdict::PassSlow, Cause::SourceSlow));
        at = at.wrapping_add(step);
        let kernel = at.wrapping_sub(c.receive.delta);
        assert_eq!(c.from_kernel(&segment(OURS, 0, kernel)).ack, at);
    }
    assert_eq!(c.arm_source(at.wrapping_sub(c.receive.delta)), Arm::Armed);
    consume(&mut c, &mut at);
}

#[test]
fn what_is_sent_holds_while_the_sequence_space_wraps_more_than_once() {
    let mut c = fast();
    let mut wire = OURS;
    let acknowledge = |c: &mut Connection, wire: u32| {
        let out = c.from_peer(&segment(PEERS, 0, wire), Offer::Other, 0);
        assert_ne!(out.verdict, PeerVerdict::DropBadAck);
    };
    for _ in 0..5_000_000 {
        assert_eq!(inject(&mut c, 1_000), wire);
        wire = wire.wrapping_add(1_000);
        acknowledge(&mut c, wire);
    }
    c.take();
    let mut kernel = OURS;
    for _ in 0..150_000 {
        let out = c.from_kernel(&segment(kernel, 60_000, PEERS));
        assert_eq!((out.verdict, out.seq), (KernelVerdict::Send, wire));
        (kernel, wire) = (kernel.wrapping_add(60_000), wire.wrapping_add(60_000));
        acknowledge(&mut c, wire);
    }
    assert_eq!(c.arm_leg(kernel, 0), Arm::Armed);
    assert_eq!(inject(&mut c, 10), wire);
    assert_eq!(c.violated(), None);
}
