//! The one critical section of a packet from the peer.

use pf_common::{
    maps::Slot,
    splice::{Cause, LegMode, Offer, PeerVerdict, seq},
    whole::Content,
};

use super::{lock::locked, scratch::Scratch};

/// Has the state machine decide; the answer is in `scratch.out`. False: nobody has the connection any more.
#[inline(never)]
pub fn claim(scratch: &mut Scratch, slot: *mut Slot, offer: u32) -> bool {
    let offer = match offer {
        0 => Offer::Message,
        1 => Offer::NoLog,
        _ => Offer::Other,
    };
    let segment = scratch.segment;
    let now = scratch.work.now;
    let absorb = scratch.work.content == Content::Absorb as u32;
    let generation = scratch.work.generation;
    let messages = scratch.work.messages as u64;
    let stamped = scratch.packet.stamped;
    let stamp = scratch.packet.stamp[0];
    locked(slot, |slot| {
        if slot.generation != generation {
            return false;
        }
        let was_fast = slot.connection.leg.mode == LegMode::Fast;
        let ordered = !seq::after(segment.seq, slot.connection.receive.next);
        scratch.out = slot.connection.from_peer(&segment, offer, now);
        if stamped && (slot.link.back == 0 || ordered && seq::after(stamp, slot.link.stamp_recent)) {
            slot.link.stamp_recent = stamp;
        }
        slot.link.back = 1;
        if scratch.out.verdict == PeerVerdict::Consume {
            scratch.work.urgent = slot.connection.source.has_filled_half(segment.len) as u32;
            slot.counts.consumed += messages;
            slot.counts.consumed_octets += segment.len as u64;
            if absorb {
                slot.connection.finish(segment.seq, 0);
                slot.connection.release(segment.len);
            }
        }
        if was_fast && slot.connection.leg.mode != LegMode::Fast {
            scratch.work.left = 1;
            scratch.work.left_cause = slot.connection.leg.cause as u32;
            scratch.work.left_connection = scratch.work.connection;
        }
        let transmit = &slot.connection.transmit;
        scratch.moved = transmit.below | transmit.above;
        true
    })
}

/// Ends the work on the message that was claimed.
#[inline(never)]
pub fn finish(scratch: &Scratch, slot: *mut Slot) {
    let (at, missed, generation) = (scratch.segment.seq, scratch.work.missed, scratch.work.generation);
    locked(slot, |slot| {
        if slot.generation == generation {
            slot.connection.finish(at, missed);
        }
    });
}

/// The header of an ACK without octets, and how the peer is reached.
#[inline(never)]
pub fn bare_ack(scratch: &mut Scratch, slot: *mut Slot) {
    locked(slot, |slot| {
        scratch.header = slot.connection.bare_ack();
        scratch.link = slot.link;
    });
}

/// Notes that a reserved copy could not be sent.
#[inline(never)]
pub fn clone_failed(scratch: &mut Scratch, slot: *mut Slot, connection: u32) {
    locked(slot, |slot| slot.connection.clone_failed());
    scratch.work.left = 1;
    scratch.work.left_cause = Cause::CloneFailed as u32;
    scratch.work.left_connection = connection;
}
