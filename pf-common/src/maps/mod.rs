//! Keys and values of the maps that the kernel programs and userspace share.
//!
//! Every type is `repr(C)` without padding, its size asserted. Addresses and ports are octets in network order, so
//! that nobody has to know the byte order of a key.

mod control;
mod counts;
mod guard;
mod splice;

pub use control::*;
pub use counts::*;
pub use guard::*;
pub use splice::*;

/// Version of these files. It rises with every change of a key, a value or a meaning; programs do nothing with
/// settings of another version.
pub const SCHEMA: u32 = 4;

/// Names of the maps, as the object has them.
pub mod names {
    /// One [`super::GuardSettings`].
    pub const GUARD_SETTINGS: &str = "GUARD_SETTINGS";
    /// [`super::ListenKey`] to one octet.
    pub const GUARD_LISTEN: &str = "GUARD_LISTEN";
    /// [`super::SourceKey`] to [`super::SourceState`], the least recently used ones forgotten.
    pub const GUARD_SOURCES: &str = "GUARD_SOURCES";
    /// A `u64` for each [`crate::guard::Verdict`] and processor.
    pub const GUARD_COUNTS: &str = "GUARD_COUNTS";
    /// [`super::FlowKey`] to [`super::Flow`].
    pub const FLOWS: &str = "FLOWS";
    /// A [`super::Slot`] for each connection number.
    pub const CONNECTIONS: &str = "CONNECTIONS";
    /// A [`super::LegEntry`] for each leg number.
    pub const LEGS: &str = "LEGS";
    /// [`super::SessionKey`] to a leg number.
    pub const SESSIONS: &str = "SESSIONS";
    /// The ring of [`super::LogHeader`]s with their messages.
    pub const LOG: &str = "LOG";
    /// One [`super::Shared`], memory-mapped by userspace.
    pub const CONTROL: &str = "CONTROL";
    /// A `u64` for each [`super::Count`] and processor.
    pub const SPLICE_COUNTS: &str = "SPLICE_COUNTS";
    /// A processor's working memory.
    pub const SCRATCH: &str = "SCRATCH";
}
