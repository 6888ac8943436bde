//! Packets that keep their payload and get other positions. The checksum is told of each change, whoever makes it.

use aya_ebpf::helpers::bpf_csum_diff;
use pf_common::maps::Total;

use super::{
    count::total,
    scratch::Scratch,
    skb::{Skb, within},
};

/// No operation: fills the place of a TCP option.
const NOP: u8 = 1;

/// Gives the packet the positions that the kernel socket understands.
#[inline(never)]
pub fn pass_up(skb: Skb, scratch: &mut Scratch, scale: u8) -> bool {
    let told = scratch.out.window >> (scale & 15);
    let told = if told > 0xffff { 0xffff } else { told };
    let (seq, ack, moved) = (scratch.out.seq, scratch.out.ack, scratch.moved != 0);
    positions(skb, scratch, seq, ack).is_some()
        && window(skb, scratch, told).is_some()
        && (!moved || blank_sack(skb, scratch).is_some())
}

/// Gives the packet the positions on the wire; `moved`: what the peer sends stands elsewhere for the kernel socket.
#[inline(never)]
pub fn pass_out(skb: Skb, scratch: &mut Scratch, seq: u32, ack: u32) -> bool {
    let moved = scratch.moved != 0;
    positions(skb, scratch, seq, ack).is_some()
        && echo(skb, scratch).is_some()
        && (!moved || blank_sack(skb, scratch).is_some())
}

/// Has the packet echo the latest timestamp: an old one would look like a long way to the peer.
#[inline(always)]
fn echo(skb: Skb, scratch: &Scratch) -> Option<()> {
    let (packet, echo) = (&scratch.packet, scratch.echo);
    if packet.stamped && packet.stamp[1] != echo {
        skb.sum4(packet.tcp + 16, packet.stamp[1].to_be_bytes(), echo.to_be_bytes())?;
        skb.store(packet.tcp + 28, &echo.to_be_bytes())?;
    }
    Some(())
}

#[inline(always)]
fn positions(skb: Skb, scratch: &Scratch, seq: u32, ack: u32) -> Option<()> {
    let packet = &scratch.packet;
    if packet.seq != seq {
        skb.sum4(packet.tcp + 16, packet.seq.to_be_bytes(), seq.to_be_bytes())?;
        skb.store(packet.tcp + 4, &seq.to_be_bytes())?;
    }
    if packet.ack != ack {
        skb.sum4(packet.tcp + 16, packet.ack.to_be_bytes(), ack.to_be_bytes())?;
        skb.store(packet.tcp + 8, &ack.to_be_bytes())?;
    }
    Some(())
}

#[inline(always)]
fn window(skb: Skb, scratch: &Scratch, told: u32) -> Option<()> {
    let packet = &scratch.packet;
    if packet.window != told {
        let (from, to) = ((packet.window as u16).to_be_bytes(), (told as u16).to_be_bytes());
        skb.sum2(packet.tcp + 16, from, to)?;
        skb.store(packet.tcp + 14, &to)?;
    }
    Some(())
}

/// Blanks all options but the timestamp: SACK blocks name positions that mean something else on the other side.
#[inline(always)]
fn blank_sack(skb: Skb, scratch: &mut Scratch) -> Option<()> {
    let packet = &scratch.packet;
    let kept = if packet.stamped { 32 } else { 20 };
    if packet.tcp_len <= kept {
        return Some(());
    }
    let len = within::<63>(packet.tcp_len.wrapping_sub(kept));
    if len == 0 || len > 40 {
        return None;
    }
    let (sum, at) = (packet.tcp + 16, packet.tcp + kept);
    let nops = [NOP; 40];
    // SAFETY: at most 40 octets, of 40.
    unsafe {
        skb.load_into(at, scratch.options.as_mut_ptr(), len)?;
        let (from, to) = (scratch.options.as_mut_ptr().cast(), nops.as_ptr().cast_mut().cast());
        let difference = bpf_csum_diff(from, len, to, len, 0);
        skb.sum_difference(sum, difference as u32)?;
        let done = aya_ebpf::helpers::bpf_skb_store_bytes(skb.0, at, nops.as_ptr().cast(), len, 0);
        total(Total::Sack, 1);
        (done == 0).then_some(())
    }
}
