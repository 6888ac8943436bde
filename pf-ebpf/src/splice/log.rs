//! The log, and what wakes its reader.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_ringbuf_output, bpf_ringbuf_query};
use pf_common::maps::{LOG_HEADER, LogHeader, RecordKind};

use super::{
    maps::{CONTROL, LOG},
    scratch::Scratch,
};

/// A record that its reader will find by himself.
pub const NO_WAKE_UP: u64 = 1;
const WAKE_UP: u64 = 2;

const WAITING: u64 = 0;
const SIZE: u64 = 1;

/// The map, as helpers take it.
#[inline(always)]
pub fn map() -> *mut c_void {
    (&raw const LOG).cast_mut().cast()
}

/// Whether a record must wake its reader: it is urgent, the reader sleeps, or the ring is more than half full.
#[inline(always)]
pub fn wake(urgent: bool) -> u64 {
    let Some(shared) = CONTROL.get_ptr_mut(0) else { return WAKE_UP };
    // SAFETY: a word of a map value, which userspace changes as a whole.
    let asleep = unsafe { (&raw const (*shared).asleep).read_volatile() };
    if asleep != 0 {
        unsafe { (&raw mut (*shared).asleep).write_volatile(0) };
        return WAKE_UP;
    }
    // SAFETY: asks only.
    let (waiting, size) = unsafe { (bpf_ringbuf_query(map(), WAITING), bpf_ringbuf_query(map(), SIZE)) };
    if urgent || waiting > size / 2 { WAKE_UP } else { NO_WAKE_UP }
}

/// Wakes a reader who went to sleep between [`wake`] and the end of the record.
#[inline(always)]
pub fn rouse() {
    let Some(shared) = CONTROL.get_ptr_mut(0) else { return };
    // SAFETY: a word of a map value, which userspace changes as a whole.
    if unsafe { (&raw const (*shared).asleep).read_volatile() } != 0 {
        unsafe { (&raw mut (*shared).asleep).write_volatile(0) };
        say(u32::MAX, 0);
    }
}

/// Tells userspace that a leg left the fast path.
#[inline(never)]
pub fn notice(scratch: &Scratch) {
    say(scratch.work.left_connection, scratch.work.left_cause);
}

#[inline(always)]
fn say(connection: u32, cause: u32) {
    let mut header = LogHeader {
        kind: RecordKind::Notice as u32,
        connection,
        leg: u32::MAX,
        position: 0,
        len: 0,
        missed: 0,
        tid_len: 0,
        flags: 0,
        cause,
    };
    // SAFETY: a whole header. A full ring loses it: nothing depends on it.
    unsafe { bpf_ringbuf_output(map(), (&raw mut header).cast(), LOG_HEADER as u64, WAKE_UP) };
}
