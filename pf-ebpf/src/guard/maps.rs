//! The maps of the guard. Userspace sets the size of the table of sources before it loads the programs.

use aya_ebpf::{
    btf_maps::{Array, HashMap, LruHashMap, PerCpuArray},
    macros::btf_map,
};
use pf_common::{
    guard::Verdict,
    maps::{DEFAULT_SOURCES, GuardSettings, ListenKey, MAX_LISTEN, SourceKey, SourceState},
};

#[btf_map]
pub static GUARD_SETTINGS: Array<GuardSettings, 1> = Array::new();

#[btf_map]
pub static GUARD_LISTEN: HashMap<ListenKey, u8, { MAX_LISTEN as usize }> = HashMap::new();

#[btf_map]
pub static GUARD_SOURCES: LruHashMap<SourceKey, SourceState, { DEFAULT_SOURCES as usize }> =
    LruHashMap::new();

#[btf_map]
pub static GUARD_COUNTS: PerCpuArray<u64, { Verdict::ALL.len() }> = PerCpuArray::new();
