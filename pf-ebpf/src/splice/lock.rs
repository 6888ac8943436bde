//! The lock of a connection.

use aya_ebpf::helpers::{bpf_spin_lock, bpf_spin_unlock};
use pf_common::maps::Slot;

/// Runs one critical section on a slot. No helper may be called inside.
#[inline(always)]
pub fn locked<R>(slot: *mut Slot, section: impl FnOnce(&mut Slot) -> R) -> R {
    // SAFETY: `slot` is a whole value of the map, locked for as long as it is borrowed.
    unsafe {
        let lock = (&raw mut (*slot).lock).cast();
        bpf_spin_lock(lock);
        let result = section(&mut *slot);
        bpf_spin_unlock(lock);
        result
    }
}
