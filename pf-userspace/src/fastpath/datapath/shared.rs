//! The value that userspace and the programs share without system calls.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
};

use aya::{Ebpf, maps::Map};
use pf_common::maps::{ControlRow, Shared, names};

use super::{FastPathError, load::absent};

/// The value that we and the programs share without system calls.
pub(super) struct SharedMap {
    value: NonNull<Shared>,
    // Keeps the map alive as long as the mapping.
    _map: OwnedFd,
}

// SAFETY: the mapping belongs to this value alone on this side.
unsafe impl Send for SharedMap {}

impl SharedMap {
    pub(super) fn new(ebpf: &Ebpf) -> Result<SharedMap, FastPathError> {
        let Some(Map::Array(data)) = ebpf.map(names::CONTROL) else { return Err(absent(names::CONTROL)) };
        let map = data.fd().as_fd().try_clone_to_owned();
        let map = map.map_err(|error| FastPathError::System("dup", error))?;
        // SAFETY: a new mapping of a map that was made to be mapped; the kernel rounds its size up to pages.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<Shared>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        let value = NonNull::new(at.cast::<Shared>()).filter(|_| at != libc::MAP_FAILED);
        let value = value.ok_or_else(|| FastPathError::System("mmap", io::Error::last_os_error()))?;
        Ok(SharedMap { value, _map: map })
    }

    /// Writes the rows of a run.
    pub(super) fn put(&mut self, rows: &[ControlRow]) {
        // SAFETY: within the mapping, and the control program runs only when we call it.
        unsafe {
            let to = &raw mut (*self.value.as_ptr()).row;
            for (at, row) in rows.iter().enumerate().take((*to).len()) {
                to.cast::<ControlRow>().add(at).write_volatile(*row);
            }
            (&raw mut (*self.value.as_ptr()).rows).write_volatile(u32::try_from(rows.len()).unwrap_or(0));
        }
    }

    /// Reads the rows of a run.
    pub(super) fn get(&self, rows: &mut [ControlRow]) {
        // SAFETY: as in `put`.
        unsafe {
            let from = &raw const (*self.value.as_ptr()).row;
            for (at, row) in rows.iter_mut().enumerate().take((*from).len()) {
                *row = from.cast::<ControlRow>().add(at).read_volatile();
            }
        }
    }

    /// Schema and size of a slot, as the control program wrote them.
    pub(super) fn layout(&self) -> (u32, u32) {
        // SAFETY: as in `put`.
        unsafe {
            let shared = self.value.as_ptr();
            ((&raw const (*shared).schema).read_volatile(), (&raw const (*shared).slot).read_volatile())
        }
    }

    pub(super) fn set_asleep(&mut self, asleep: bool) {
        // SAFETY: aligned, and both sides change it as a whole word.
        let word = unsafe { AtomicU32::from_ptr(&raw mut (*self.value.as_ptr()).asleep) };
        word.store(u32::from(asleep), Ordering::SeqCst);
    }
}

impl Drop for SharedMap {
    fn drop(&mut self) {
        // SAFETY: our mapping, used no more.
        unsafe { libc::munmap(self.value.as_ptr().cast(), size_of::<Shared>()) };
    }
}
