//! Messages longer than a segment, in one packet that the interface will cut. Their copies keep the packet's length, so
//! that it stays one packet: only its head and the path block are written.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::bpf_dynptr,
    helpers::{bpf_dynptr_write, bpf_loop},
};
use pf_common::{
    frame::head_len,
    maps::LOG_HEADER,
    whole::{Content, FRONT, LONG_MAX, TAIL, TAIL_AT, WHOLE_MAX, body_in_piece},
};

use super::{
    reader::Payload,
    scratch::Scratch,
    skb::{Skb, within},
};

/// Where a piece of the message is in working memory: behind the two ends.
const PIECE_AT: usize = 2048;

/// Copies both ends of the payload into working memory.
#[inline(always)]
pub fn load_ends(skb: Skb, scratch: &mut Scratch, segment: u32) -> Result<(), Content> {
    let (packet, len) = (&scratch.packet, scratch.work.len);
    if len < FRONT || len > LONG_MAX || !packet.plain {
        return Err(Content::Long);
    }
    let at = packet.payload();
    if at != head_len(packet.key.family, packet.stamped) {
        return Err(Content::Long);
    }
    scratch.work.segment = segment;
    let to = scratch.payload.as_mut_ptr();
    // SAFETY: 1024 octets, and 48 from 1088 on, of memory with 5120.
    unsafe {
        skb.load_into(at, to, FRONT).ok_or(Content::Unread)?;
        skb.load_into(at + len - TAIL, to.add(TAIL_AT as usize), TAIL).ok_or(Content::Unread)
    }
}

#[repr(C)]
struct Pieces {
    skb: Skb,
    scratch: *mut Scratch,
    record: *mut bpf_dynptr,
    found: u32,
}

/// Copies the whole message into its record of the log, and looks at the body on the way. What is wrong with it by its
/// index, or `u32::MAX`.
#[inline(never)]
pub fn log(skb: Skb, scratch: &mut Scratch, record: *mut bpf_dynptr) -> u32 {
    let mut pieces = Pieces { skb, scratch, record, found: u32::MAX };
    // SAFETY: the callback takes what it is given here; it ends with this call.
    unsafe {
        bpf_loop(LONG_MAX / WHOLE_MAX, one as *mut c_void, (&raw mut pieces).cast(), 0);
    }
    pieces.found
}

const _: unsafe extern "C" fn(u32, *mut Pieces) -> i64 = one;

unsafe extern "C" fn one(number: u32, pieces: *mut Pieces) -> i64 {
    // SAFETY: what `log` passed.
    let (skb, scratch, record) = unsafe { ((*pieces).skb, &mut *(*pieces).scratch, (*pieces).record) };
    match piece(skb, scratch, record, number) {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(content) => {
            // SAFETY: as above.
            unsafe { (*pieces).found = content as u32 };
            1
        }
    }
}

/// One piece; whether another one is left.
#[inline(always)]
fn piece(skb: Skb, scratch: &mut Scratch, record: *mut bpf_dynptr, number: u32) -> Result<bool, Content> {
    let at = number.wrapping_mul(WHOLE_MAX);
    let left = scratch.work.len.wrapping_sub(at);
    let len = within::<4095>(if left > WHOLE_MAX { WHOLE_MAX } else { left });
    if at >= LONG_MAX || len == 0 || len > WHOLE_MAX {
        return Err(Content::Unread);
    }
    let from = scratch.packet.payload();
    // SAFETY: at most 2048 octets from 2048 on, of memory with 5120.
    let to = unsafe { scratch.payload.as_mut_ptr().add(PIECE_AT) };
    unsafe {
        skb.load_into(from + at, to, len).ok_or(Content::Unread)?;
        bpf_dynptr_write(record, LOG_HEADER as u32 + at, to.cast(), len, 0);
    }
    body_in_piece(&Payload(to), scratch.work.body, at, len, &mut scratch.scan)?;
    Ok(left > WHOLE_MAX)
}
