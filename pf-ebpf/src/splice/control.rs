//! What userspace asks of connections. It runs here, so that nobody who can be pre-empted ever holds a lock.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_loop};
use pf_common::{
    maps::{ControlRow, Count, NO_CONNECTION, NOT_LEARNED, Op, ROWS, SCHEMA, Shared, Slot, Total},
    splice::{Cause, Connection},
};

use super::{
    claim,
    count::{count, total},
    lock::locked,
    maps::{CONNECTIONS, CONTROL},
    scratch::{self, Scratch},
    send,
    skb::Skb,
};

#[repr(C)]
struct Batch {
    skb: Skb,
    scratch: *mut Scratch,
    shared: *mut Shared,
}

/// Works on the rows.
#[inline(always)]
pub fn control(skb: Skb) -> i32 {
    let Some(shared) = CONTROL.get_ptr_mut(0) else { return 0 };
    let Some(scratch) = scratch::get() else { return 0 };
    // SAFETY: no preconditions.
    scratch.work.now = (unsafe { bpf_ktime_get_ns() } / 1_000_000) as u32;
    // Made from octets that userspace gave: nobody computes their checksum.
    scratch.work.device = 0;
    // SAFETY: a whole value; userspace looks at it only when this has ended.
    unsafe {
        (&raw mut (*shared).schema).write_volatile(SCHEMA);
        (&raw mut (*shared).slot).write_volatile(size_of::<Slot>() as u32);
        let rows = (&raw const (*shared).rows).read_volatile();
        let mut batch = Batch { skb, scratch, shared };
        bpf_loop(rows, row as *mut c_void, (&raw mut batch).cast(), 0);
    }
    1
}

const _: unsafe extern "C" fn(u32, *mut Batch) -> i64 = row;

unsafe extern "C" fn row(number: u32, batch: *mut Batch) -> i64 {
    if number >= ROWS as u32 {
        return 1;
    }
    // SAFETY: what `control` passed.
    let (skb, scratch, row) = unsafe {
        let batch = &mut *batch;
        let row = &raw mut (*batch.shared).row;
        (batch.skb, &mut *batch.scratch, &mut *row.cast::<ControlRow>().add(number as usize & (ROWS - 1)))
    };
    let Some(slot) = CONNECTIONS.get_ptr_mut(row.connection) else {
        row.answer = NO_CONNECTION;
        return 0;
    };
    if work(scratch, slot, row) {
        claim::bare_ack(scratch, slot);
        total(Total::BareAck, 1);
        let interface = scratch.link.interface;
        if interface == 0 || send::ack_for_peer(skb, scratch).is_none() || !send::send_clone(skb, interface) {
            total(Total::HelperFailed, 1);
        }
    }
    0
}

/// The critical section of a row; whether the peer waits for an ACK.
#[inline(never)]
fn work(scratch: &Scratch, slot: *mut Slot, row: &mut ControlRow) -> bool {
    let (op, a, b, now) = (row.op, row.a, row.b, scratch.work.now);
    let mut left = false;
    let answer = locked(slot, |slot| {
        if slot.generation == 0 {
            row.answer = NO_CONNECTION;
            return false;
        }
        row.learned = (slot.link.out & slot.link.back) as u32;
        let learned = row.learned != 0;
        let connection: &mut Connection = &mut slot.connection;
        row.answer = 0;
        let mut answer = false;
        if op == Op::ArmSource as u32 {
            row.answer = if learned { connection.arm_source(a) as u32 } else { NOT_LEARNED };
        } else if op == Op::ArmLeg as u32 {
            row.answer = if learned { connection.arm_leg(a, b) as u32 } else { NOT_LEARNED };
        } else if op == Op::LeaveSource as u32 {
            connection.leave_source(Cause::Requested);
        } else if op == Op::Take as u32 {
            let taken = connection.take();
            row.taken_broken = taken.broken as u32;
            row.taken_from = taken.from;
            row.taken_octets = taken.octets;
        } else if op == Op::Release as u32 {
            connection.release(a);
        } else if op == Op::Tick as u32 {
            let tick = connection.tick(now);
            row.answer = tick.left as u32;
            left = tick.left;
            answer = tick.answer;
        } else if op == Op::Close as u32 {
            connection.leave_source(Cause::Closed);
            connection.take();
            slot.closing = 1;
        } else if op == Op::Cap as u32 {
            connection.transmit.cap_segments = a;
        }
        row.view(&slot.connection);
        answer
    });
    if left {
        count(Count::Cause(Cause::Stalled));
    }
    answer
}
