//! What the tables cost.

use pf_common::maps::{
    Count, Flow, FlowKey, LegEntry, SessionKey, Shared, Slot, SourceKey, SourceState, names,
};

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

/// An array's head.
const ARRAY: u64 = 320;

/// What the kernel keeps for an entry that it makes when it is written, beside the rest.
const LIST: u64 = 8;

/// A page.
const PAGE: u64 = 4096;

/// Pages of a ring beside its octets.
const RING: u64 = 3;

/// The programs' working memory of a processor, in octets. It is theirs alone: no more is known of it here.
const WORK: u64 = 16 << 10;

/// Octets of kernel memory that each map of the fast path takes, once its tables are full.
pub fn datapath(connections: u32, log: u32) -> Vec<(&'static str, u64)> {
    let (entries, processors) = (u64::from(connections), processors());
    let hash = |key: usize, value: usize| {
        let entry = ENTRY + LIST + rounded(key, 8) + rounded(value, 8);
        TABLE + entries * entry + entries.next_power_of_two() * BUCKET
    };
    let array = |value: usize| ARRAY + entries * rounded(value, 8);
    let each = |values: u64, value: u64| ARRAY + values * 8 + values * value * processors;
    vec![
        (names::FLOWS, hash(size_of::<FlowKey>(), size_of::<Flow>())),
        (names::CONNECTIONS, array(size_of::<Slot>())),
        (names::SESSIONS, hash(size_of::<SessionKey>(), size_of::<u32>())),
        (names::LEGS, array(size_of::<LegEntry>())),
        (names::LOG, u64::from(log) + RING * PAGE),
        (names::CONTROL, PAGE + rounded(size_of::<Shared>(), PAGE)),
        (names::SPLICE_COUNTS, each(Count::LEN as u64, 8)),
        (names::SCRATCH, each(1, WORK)),
    ]
}

fn rounded(octets: usize, to: u64) -> u64 {
    (octets as u64).next_multiple_of(to)
}

/// Processors that the kernel keeps memory for: `0-3` are four.
fn processors() -> u64 {
    let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = possible.trim().rsplit([',', '-']).next().and_then(|last| last.parse::<u64>().ok());
    last.map_or(1, |last| last + 1)
}
