//! Packets of kernel sockets, on their way to peers.

use aya_ebpf::{bindings::tcx_action_base, helpers::bpf_ktime_get_ns};
use pf_common::{
    maps::{Count, LINK_STAMPS, Slot, Total},
    splice::{FromKernel, Header, KernelVerdict, LegMode, seq},
};

use super::{
    begins_anew,
    count::{add_at, total},
    lock::locked,
    log,
    maps::{CONNECTIONS, FLOWS},
    packet,
    rewrite::pass_out,
    scratch::{self, Scratch},
    send,
    skb::Skb,
};

const NEXT: i32 = tcx_action_base::TCX_NEXT;
const DROP: i32 = tcx_action_base::TCX_DROP;

/// Decides about a packet of a kernel socket.
#[inline(always)]
pub fn egress(skb: Skb) -> i32 {
    if skb.is_ours() {
        skb.mark(false);
        return NEXT;
    }
    let Some(scratch) = scratch::get() else { return NEXT };
    if !packet::read(skb, scratch, false) {
        return NEXT;
    }
    let Some(flow) = FLOWS.get_ptr(&scratch.packet.key) else { return NEXT };
    // SAFETY: a whole value, freed only when we are done.
    let connection = unsafe { (*flow).connection };
    let Some(slot) = CONNECTIONS.get_ptr_mut(connection) else { return NEXT };
    if begins_anew(scratch, slot) {
        return NEXT;
    }
    // SAFETY: does not change while the connection has its number.
    let scale = unsafe { (&raw const (*slot).link.our_scale).read_volatile() };
    scratch.segment = scratch.packet.segment(scale);
    scratch.work.left = 0;
    scratch.work.connection = connection;
    // SAFETY: no preconditions.
    scratch.work.now = (unsafe { bpf_ktime_get_ns() } / 1_000_000) as u32;
    let Some(out) = decide(skb.interface(), scratch, slot) else { return NEXT };
    add_at(Count::Kernel(KernelVerdict::Send).index().wrapping_add(out.verdict as u32), 1);
    if scratch.work.left != 0 {
        log::notice(scratch);
    }
    let done = match out.verdict {
        KernelVerdict::Send => pass_out(skb, scratch, out.seq, out.ack),
        KernelVerdict::SendControl => pass_out(skb, scratch, out.seq, out.ack),
        KernelVerdict::SendReset => pass_out(skb, scratch, out.seq, out.ack),
        KernelVerdict::Probe => probe(skb, scratch, &out),
        KernelVerdict::DropAcross => return DROP,
    };
    if done {
        return NEXT;
    }
    total(Total::HelperFailed, 1);
    DROP
}

/// The critical section: the decision, and what the packet teaches about the link. Nothing: nobody has the connection.
#[inline(never)]
fn decide(interface: u32, scratch: &mut Scratch, slot: *mut Slot) -> Option<FromKernel> {
    let (segment, now) = (scratch.segment, scratch.work.now);
    let packet = &scratch.packet;
    locked(slot, |slot| {
        if slot.generation == 0 {
            return None;
        }
        let was_fast = slot.connection.leg.mode == LegMode::Fast;
        let out = slot.connection.from_kernel(&segment);
        if was_fast && slot.connection.leg.mode != LegMode::Fast {
            scratch.work.left = 1;
            scratch.work.left_cause = slot.connection.leg.cause as u32;
            scratch.work.left_connection = scratch.work.connection;
        }
        scratch.moved = slot.connection.receive.delta;
        let link = &mut slot.link;
        // The kernel socket has not seen the timestamps of what was consumed.
        let newer = link.back != 0 && seq::after(link.stamp_recent, packet.stamp[1]);
        scratch.echo = if newer { link.stamp_recent } else { packet.stamp[1] };
        (link.ethernet, link.class, link.hops) = (packet.ethernet, packet.class, packet.hops);
        link.interface = interface;
        if packet.stamped {
            let offset = packet.stamp[0].wrapping_sub(now);
            if link.out == 0 || seq::after(offset, link.stamp_offset) {
                link.stamp_offset = offset;
            }
        }
        if packet.stamped || link.options & LINK_STAMPS == 0 {
            link.out = 1;
        }
        scratch.link = *link;
        Some(out)
    })
}

/// Makes a probe of the packet: its head alone, at a place that the peer answers.
#[inline(never)]
fn probe(skb: Skb, scratch: &mut Scratch, out: &FromKernel) -> bool {
    if !scratch.packet.plain {
        return false;
    }
    let Some(device) = skb.left_to_device(scratch.packet.tcp + 16) else { return false };
    scratch.work.device = device as u32;
    let window = scratch.segment.window;
    scratch.header = Header { seq: out.seq, ack: out.ack, window };
    send::ack_for_peer(skb, scratch).is_some()
}
