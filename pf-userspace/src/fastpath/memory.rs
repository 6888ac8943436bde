//! What the tables cost.

use pf_common::maps::{SourceKey, SourceState};

/// What the kernel keeps for an entry of an LRU hash table beside its key and value (Linux 6.18, 64 bits).
const ENTRY: u64 = 48;

/// The table itself.
const TABLE: u64 = 896;

/// One bucket; there are as many as entries, rounded up to a power of two.
const BUCKET: u64 = 16;

/// Octets of kernel memory that a table of so many sources takes. All of it is taken at the start.
pub const fn table(sources: u32) -> u64 {
    let entry = ENTRY + size_of::<SourceKey>() as u64 + size_of::<SourceState>() as u64;
    TABLE + sources as u64 * entry + (sources as u64).next_power_of_two() * BUCKET
}
