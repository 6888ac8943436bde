//! Payloads that are exactly one message which the kernel programs may carry.

mod content;

pub use content::Content;
