//! The guard of the MSRP ports: reads, asks the maps, counts.

mod maps;
mod source;

use aya_ebpf::programs::XdpContext;
use pf_common::{
    guard::{Found, Kind, Segment, Verdict, check, read},
    maps::SCHEMA,
};

use crate::frame::Frame;
use maps::{GUARD_COUNTS, GUARD_LISTEN, GUARD_SETTINGS};

/// What becomes of a frame.
#[inline(always)]
pub fn judge(context: &XdpContext) -> Verdict {
    let frame = Frame(context);
    let segment = match read(&frame) {
        Found::Other(verdict) => return verdict,
        Found::Tcp(segment) => segment,
    };
    let Some(settings) = GUARD_SETTINGS.get(0) else { return Verdict::PassNotSet };
    if settings.schema != SCHEMA {
        return Verdict::PassNotSet;
    }
    if !guarded(&segment) {
        return Verdict::PassOtherPort;
    }
    let kind: Kind = match check(&frame, &segment) {
        Ok(kind) => kind,
        Err(verdict) => return verdict,
    };
    source::judge(&segment.source, kind, settings)
}

/// Whether somebody of ours listens there.
#[inline(always)]
fn guarded(segment: &Segment) -> bool {
    GUARD_LISTEN.get_ptr(&segment.to).is_some() || GUARD_LISTEN.get_ptr(segment.to.any()).is_some()
}

/// Counts a verdict.
#[inline(always)]
pub fn count(verdict: Verdict) {
    if let Some(counter) = GUARD_COUNTS.get_ptr_mut(verdict.index() as u32) {
        // SAFETY: a slot of this processor, which runs one such program at a time.
        unsafe { *counter += 1 };
    }
}
