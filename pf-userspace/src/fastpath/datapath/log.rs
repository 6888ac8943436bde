//! The log: a ring that the programs write and the relay reads.

use aya::maps::{MapData, RingBuf};
use pf_common::maps::{LOG_HEADER, LogHeader};

/// Gives all records that are there.
pub(super) fn read(ring: &mut RingBuf<MapData>, each: &mut dyn FnMut(&LogHeader, &[u8])) {
    while let Some(record) = ring.next() {
        let Some((header, message)) = record.split_first_chunk::<LOG_HEADER>() else { continue };
        // SAFETY: repr(C) of integers without padding: any octets are a value, and the sizes agree.
        let header = unsafe { header.as_ptr().cast::<LogHeader>().read_unaligned() };
        let len = usize::try_from(header.len).unwrap_or(usize::MAX);
        each(&header, message.get(..len).unwrap_or(message));
    }
}
