//! Packets that the programs write.

use aya_ebpf::helpers::{bpf_clone_redirect, bpf_redirect};
use pf_common::{
    frame::{Frame, HEAD, OCTETS, Payload, head_len, join, write},
    maps::{FlowKey, LINK_STAMPS, LegEntry},
    splice::flags,
    whole::WHOLE_MAX,
};

use super::{
    scratch::{PLACES, Scratch},
    skb::{Skb, within},
};

/// A frame for the peer of `scratch.link`, with the positions of `scratch.header`.
#[inline(always)]
fn toward_peer(scratch: &mut Scratch, flags: u8) {
    let (link, header) = (&scratch.link, &scratch.header);
    let window = header.window >> (link.our_scale & 15);
    scratch.frame = Frame {
        key: link.key,
        stamps: link.options & LINK_STAMPS,
        flags,
        hops: link.hops,
        zero: 0,
        class: link.class,
        ethernet: link.ethernet,
        seq: header.seq,
        ack: header.ack,
        window: if window > 0xffff { 0xffff } else { window },
        stamp: link.stamp_offset.wrapping_add(scratch.work.now),
        echo: link.stamp_recent,
    };
}

/// A frame for the kernel socket: the packet that came, with the positions of `scratch.out`.
#[inline(always)]
fn toward_kernel(scratch: &mut Scratch, scale: u8) {
    let (packet, out) = (&scratch.packet, &scratch.out);
    let window = out.window >> (scale & 15);
    scratch.frame = Frame {
        key: FlowKey {
            family: packet.key.family,
            zero: [0; 3],
            local_port: packet.key.remote_port,
            remote_port: packet.key.local_port,
            local: packet.key.remote,
            remote: packet.key.local,
        },
        stamps: packet.stamped as u8,
        flags: flags::ACK,
        hops: packet.hops,
        zero: 0,
        class: packet.class,
        ethernet: packet.ethernet,
        seq: out.seq,
        ack: out.ack,
        window: if window > 0xffff { 0xffff } else { window },
        stamp: packet.stamp[0],
        echo: packet.stamp[1],
    };
}

/// Writes the head of `scratch.frame` into the packet.
#[inline(never)]
fn head(skb: Skb, scratch: &mut Scratch, len: u32, sum: u32) -> bool {
    let payload = if scratch.work.device != 0 { Payload::Device } else { Payload::Sum(sum) };
    let written = within::<127>(write(&mut scratch.head, &scratch.frame, len, payload));
    if written == 0 || written > HEAD as u32 {
        return false;
    }
    // SAFETY: at most 96 octets, of 96.
    unsafe { skb.store_from(0, scratch.head.as_ptr(), written) }.is_some()
}

/// Makes of the packet one without payload.
#[inline(always)]
fn bare(skb: Skb, scratch: &mut Scratch) -> Option<()> {
    let len = head_len(scratch.frame.key.family, scratch.frame.stamps != 0);
    // A head alone has another place for the payload, and none of the block.
    scratch.work.now_payload = 0;
    skb.resize(len)?;
    head(skb, scratch, 0, 0).then_some(())
}

/// Makes of the packet an ACK for the peer: `scratch.link`, `scratch.header`.
#[inline(never)]
pub fn ack_for_peer(skb: Skb, scratch: &mut Scratch) -> Option<()> {
    toward_peer(scratch, flags::ACK);
    bare(skb, scratch)
}

/// Makes of the packet one without payload for the kernel socket.
#[inline(never)]
pub fn ack_for_kernel(skb: Skb, scratch: &mut Scratch, scale: u8) -> Option<()> {
    toward_kernel(scratch, scale);
    bare(skb, scratch)
}

/// Makes of the packet the copy for a leg: `scratch.link`, `scratch.header`. Only what differs from the packet as it is
/// now is written.
#[inline(never)]
pub fn copy_for(skb: Skb, scratch: &mut Scratch, leg: &LegEntry) -> Option<()> {
    toward_peer(scratch, OCTETS);
    let at = head_len(scratch.frame.key.family, scratch.frame.stamps != 0);
    let block = within::<511>(leg.out_block_len);
    let start = within::<63>(scratch.work.start_len);
    let rest = within::<4095>(scratch.work.rest_len);
    if block == 0 || block > leg.out_block.len() as u32 || start == 0 {
        return None;
    }
    if scratch.work.long != 0 {
        return long_copy(skb, scratch, leg, at, start, block);
    }
    if rest == 0 || rest > WHOLE_MAX {
        return None;
    }
    let (now_payload, now_block) = (scratch.work.now_payload, scratch.work.now_block);
    scratch.work.now_payload = 0;
    let len = start + block + rest;
    skb.resize(at + len)?;
    let payload = scratch.payload.as_ptr();
    // SAFETY: at most 63 octets, 384, and 2047 + 2048, of memory with 5120 and 384.
    unsafe {
        if now_payload != at {
            skb.store_from(at, payload, start)?;
        }
        if now_payload != at || now_block != block {
            let from = within::<PLACES>(scratch.work.rest_at) as usize;
            skb.store_from(at + start + block, payload.add(from), rest)?;
        }
        skb.store_from(at + start, leg.out_block.as_ptr(), block)?;
    }
    let work = &scratch.work;
    let sum =
        if work.device != 0 { 0 } else { join([work.start_sum, leg.out_sum, work.rest_sum], start, block) };
    if !head(skb, scratch, len, sum) {
        return None;
    }
    scratch.work.now_payload = at;
    scratch.work.now_block = block;
    Some(())
}

/// The same for a message longer than a segment: the packet keeps its length, and the device makes the sum.
#[inline(always)]
fn long_copy(skb: Skb, scratch: &mut Scratch, leg: &LegEntry, at: u32, start: u32, block: u32) -> Option<()> {
    let len = scratch.work.len;
    if scratch.work.now_payload != at || scratch.work.now_block != block || skb.len() != at + len {
        return None;
    }
    // SAFETY: at most 384 octets, of 384.
    unsafe { skb.store_from(at + start, leg.out_block.as_ptr(), block)? };
    head(skb, scratch, len, 0).then_some(())
}

/// Sends a clone of the packet.
#[inline(always)]
pub fn send_clone(skb: Skb, interface: u32) -> bool {
    skb.mark(true);
    // SAFETY: no pointers into the packet are held.
    let sent = unsafe { bpf_clone_redirect(skb.0, interface, 0) };
    skb.mark(false);
    sent == 0
}

/// Sends the packet itself when the program ends with the returned action.
#[inline(always)]
pub fn send_itself(skb: Skb, interface: u32) -> i32 {
    skb.mark(true);
    // SAFETY: plain.
    unsafe { bpf_redirect(interface, 0) as i32 }
}
