//! The maps of the datapath. Userspace sets the sizes of most before it loads the programs.

use aya_ebpf::{
    btf_maps::{Array, HashMap, PerCpuArray, RingBuf},
    macros::btf_map,
};
use pf_common::maps::{Count, Flow, FlowKey, LegEntry, SessionKey, Shared, Slot};

use super::scratch::Scratch;

/// Entries are made when they are written and freed only when nobody can look at them any more.
const NO_PREALLOC: usize = 1;
const MMAPABLE: usize = 1024;

#[btf_map]
pub static FLOWS: HashMap<FlowKey, Flow, 1, NO_PREALLOC> = HashMap::new();

#[btf_map]
pub static CONNECTIONS: Array<Slot, 1> = Array::new();

#[btf_map]
pub static LEGS: Array<LegEntry, 1> = Array::new();

#[btf_map]
pub static SESSIONS: HashMap<SessionKey, u32, 1, NO_PREALLOC> = HashMap::new();

#[btf_map]
pub static LOG: RingBuf<u8, 65536> = RingBuf::new();

#[btf_map]
pub static CONTROL: Array<Shared, 1, MMAPABLE> = Array::new();

#[btf_map]
pub static SPLICE_COUNTS: PerCpuArray<u64, { Count::LEN }> = PerCpuArray::new();

#[btf_map]
pub static SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();
