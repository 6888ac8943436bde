//! The limits of one source.

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::bpf_ktime_get_ns};
use pf_common::{
    guard::{Kind, Rate, Verdict},
    maps::{GuardSettings, SourceKey, SourceState},
};

use super::maps::GUARD_SOURCES;
use crate::atomic;

/// How often a bucket is tried again after another processor changed it meanwhile.
const TRIES: usize = 4;

/// Whether this source may send what it sent.
#[inline(always)]
pub fn judge(source: &SourceKey, kind: Kind, settings: &GuardSettings) -> Verdict {
    let Some(state) = state(source) else { return Verdict::PassUntracked };
    // SAFETY: bpf_ktime_get_ns has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: here and below, `state` is what the lookup gave: a whole value. It may be another source's by now, if
    // the table is full; then that one is counted a packet too many.
    let (packets, connections) =
        unsafe { (&raw mut (*state).packets_full_at, &raw mut (*state).connections_full_at) };
    if !take(packets, &settings.packets, now) {
        unsafe { atomic::increment(&raw mut (*state).dropped_packets) };
        return Verdict::DropPacketRate;
    }
    let verdict = match kind {
        Kind::Segment => Verdict::PassSegment,
        Kind::Connect => {
            if !take(connections, &settings.connections, now) {
                unsafe { atomic::increment(&raw mut (*state).dropped_connections) };
                return Verdict::DropConnectRate;
            }
            Verdict::PassConnect
        }
    };
    unsafe { atomic::increment(&raw mut (*state).passed) };
    verdict
}

/// The source's place in the table, made if it has none.
#[inline(always)]
fn state(source: &SourceKey) -> Option<*mut SourceState> {
    if let Some(state) = GUARD_SOURCES.get_ptr_mut(source) {
        return Some(state);
    }
    let fresh = SourceState {
        connections_full_at: 0,
        packets_full_at: 0,
        passed: 0,
        dropped_connections: 0,
        dropped_packets: 0,
    };
    // Another processor may have been faster: its state counts.
    let _ = GUARD_SOURCES.insert(source, &fresh, BPF_NOEXIST as u64);
    GUARD_SOURCES.get_ptr_mut(source)
}

/// Takes a token. A bucket that others keep changing is not waited for: the packet passes.
#[inline(always)]
fn take(bucket: *mut u64, rate: &Rate, now: u64) -> bool {
    for _ in 0..TRIES {
        // SAFETY: part of a map value; volatile, because other processors write it.
        let full_at = unsafe { bucket.read_volatile() };
        let Some(next) = rate.admit(full_at, now) else { return false };
        // SAFETY: a field of a map value, aligned to 8 octets.
        if unsafe { atomic::replace(bucket, full_at, next) } {
            return true;
        }
    }
    true
}
