//! Atomic changes of map values: the instructions of `target-cpu=v3` (Linux 5.12).

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd};

/// Replaces `old` by `new`; whether it was still there.
///
/// # Safety
/// `value` points into a map value, aligned to 8 octets.
#[inline(always)]
pub unsafe fn replace(value: *mut u64, old: u64, new: u64) -> bool {
    // SAFETY: as the caller says.
    let (_, done) = unsafe {
        atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(value, old, new)
    };
    done
}

/// Adds one.
///
/// # Safety
/// `value` points into a map value, aligned to 8 octets.
#[inline(always)]
pub unsafe fn increment(value: *mut u64) {
    // SAFETY: as the caller says.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(value, 1) };
}
