//! One copy of a message for each leg.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_loop;
use pf_common::{
    maps::{Count, LINK_STAMPS, Slot, Total},
    splice::{Cause, Injected, MAX_LEGS},
    whole::Content,
};

use super::{
    claim,
    count::{count, total},
    lock::locked,
    maps::{CONNECTIONS, LEGS},
    scratch::Scratch,
    send,
    skb::Skb,
};

#[repr(C)]
struct Copies {
    skb: Skb,
    scratch: *mut Scratch,
}

/// Offers the message to each leg, one after the other. Those that got none are in `work.missed`. The last leg may get
/// the packet itself: `work.redirect`.
#[inline(always)]
pub fn offer_to_all(skb: Skb, scratch: &mut Scratch) {
    let targets = scratch.work.targets;
    let mut copies = Copies { skb, scratch };
    // SAFETY: the callback takes what it is given here; it ends with this call.
    unsafe {
        bpf_loop(targets, one as *mut c_void, (&raw mut copies).cast(), 0);
    }
}

const _: unsafe extern "C" fn(u32, *mut Copies) -> i64 = one;

unsafe extern "C" fn one(number: u32, copies: *mut Copies) -> i64 {
    // SAFETY: what `offer_to_all` passed.
    let (skb, scratch) = unsafe { ((*copies).skb, &mut *(*copies).scratch) };
    if number >= MAX_LEGS as u32 {
        return 1;
    }
    if !deliver(skb, scratch, number) {
        scratch.work.missed |= 1 << (number & (MAX_LEGS as u32 - 1));
        total(Total::Missed, 1);
    }
    0
}

/// A copy for target `number`; false if it missed the message.
#[inline(always)]
fn deliver(skb: Skb, scratch: &mut Scratch, number: u32) -> bool {
    let Some(from) = LEGS.get(scratch.work.leg) else { return false };
    let to = if scratch.work.content == Content::Answer as u32 {
        from.answer_to
    } else {
        from.target[(number & (MAX_LEGS as u32 - 1)) as usize]
    };
    let Some(leg) = LEGS.get(to) else { return false };
    let Some(slot) = CONNECTIONS.get_ptr_mut(leg.connection) else { return false };
    let work = &scratch.work;
    let len = work.start_len.wrapping_add(leg.out_block_len).wrapping_add(work.rest_len);
    let message =
        Injected { source: work.connection, position: scratch.segment.seq, taken: work.len, len, wire: 0 };
    let cause = reserve(scratch, slot, message, leg.generation);
    if cause != Cause::Clear as u32 {
        return false;
    }
    let interface = scratch.link.interface;
    let last = number + 1 == scratch.work.targets && scratch.work.keep == 0;
    let sent = send::copy_for(skb, scratch, leg).is_some() && (last || send::send_clone(skb, interface));
    if sent {
        total(Total::Injected, 1);
        total(Total::InjectedOctets, len as u64);
        if last {
            scratch.work.redirect = interface;
        }
    } else {
        total(Total::CloneFailed, 1);
        count(Count::Cause(Cause::CloneFailed));
        claim::clone_failed(scratch, slot, leg.connection);
    }
    // Not a miss: the octets have their place, and come again when the leg is taken.
    true
}

/// The critical section of a leg. With `Clear`, `scratch.link` and `scratch.header` are the copy's. The cause by index.
#[inline(never)]
fn reserve(scratch: &mut Scratch, slot: *mut Slot, message: Injected, generation: u32) -> u32 {
    let now = scratch.work.now;
    let (family, stamped) = (scratch.packet.key.family, scratch.packet.stamped);
    let is_long = scratch.work.long != 0;
    let segment = if is_long { scratch.work.segment } else { message.len };
    let cause = locked(slot, |slot| {
        if slot.generation != generation {
            return u32::MAX;
        }
        let mut segment = segment;
        let resized = message.len != message.taken || (slot.link.options & LINK_STAMPS != 0) != stamped;
        // No copy crosses address families, and a long one keeps its length.
        if slot.link.key.family != family || is_long && resized {
            segment = u32::MAX;
        }
        let reserved = slot.connection.reserve(&message, segment, now);
        if reserved.cause == Cause::Clear {
            slot.counts.injected += 1;
            slot.counts.injected_octets += message.len as u64;
            scratch.link = slot.link;
            scratch.header = reserved.header;
        }
        reserved.cause as u32
    });
    if cause == u32::MAX {
        total(Total::Stale, 1);
    } else if cause != Cause::Clear as u32 {
        super::count::add_at(Count::Cause(Cause::Clear).index().wrapping_add(cause), 1);
    }
    cause
}
