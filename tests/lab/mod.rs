//! The lab: actors and networks that test `pf` from outside.
//!
//! Nothing here uses pf's own code: SIP and MSRP are written once more, straight and strict, so that a mistake in
//! pf's framing cannot hide behind the same mistake in the test.

pub mod actor;
pub mod demo;
pub mod ladder;
pub mod msrp;
pub mod net;
pub mod offload;
pub mod path;
pub mod pf;
pub mod probe;
pub mod sip;
pub mod store;
mod table;
pub mod trace;
pub mod wait;
pub mod xdms;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex; one that a panicking test poisoned still holds what it held.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A fresh random token of `octets` octets in hexadecimal digits.
pub fn token(octets: usize) -> String {
    let mut bytes = vec![0; octets];
    // Without randomness no identifier is unique: nothing sensible can follow.
    if getrandom::fill(&mut bytes).is_err() {
        std::process::abort();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
