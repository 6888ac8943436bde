//! Counters.

use pf_common::maps::{Count, Total};

use super::maps::SPLICE_COUNTS;

/// Counts one.
#[inline(always)]
pub fn count(what: Count) {
    add_at(what.index(), 1);
}

/// Adds to a sum.
#[inline(always)]
pub fn total(what: Total, amount: u64) {
    add_at(Count::Total(what).index(), amount);
}

/// Counts a variant that is known by its index only, in a row of counters that begins at `first`.
#[inline(always)]
pub fn add_at(index: u32, amount: u64) {
    if let Some(counter) = SPLICE_COUNTS.get_ptr_mut(index) {
        // SAFETY: a slot of this processor, which runs one such program at a time.
        unsafe { *counter += amount };
    }
}
