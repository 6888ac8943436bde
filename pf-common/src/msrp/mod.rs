//! MSRP framing (RFC 4975 section 9): bounded, allocation-free, never panics.
//!
//! The body of a frame is octets: it may hold anything but its own end-line. Everything here works on a
//! slice that begins where nothing has been consumed yet; what is not decided stays unconsumed, so that a
//! frame split at any octet reads like one that came whole.

pub mod byte_range;
pub mod end_line;
pub mod head;
pub mod ident;
pub mod scan;
pub mod uri;

pub use byte_range::ByteRange;
pub use end_line::{Flag, Search, find_end};
pub use head::{Ending, FailureReport, Fault, Head, Method, Parsed, Start};
pub use ident::Ident;
pub use uri::{Uri, UriError};

/// Shortest transaction id or Message-ID (RFC 4975 section 9, `ident`).
pub const IDENT_MIN: usize = 4;
/// Longest transaction id or Message-ID.
pub const IDENT_MAX: usize = 32;
/// Longest head that is read: start line and header lines with the blank line. The grammar has no bound.
pub const HEAD_MAX: usize = 16 * 1024;
/// Longest body of a request other than SEND (RFC 4975 section 7.1).
pub const OTHER_BODY_MAX: usize = 10_240;
/// Bodies above this must be interruptible (RFC 4975 section 7.1.1).
pub const INTERRUPTIBLE_ABOVE: u64 = 2048;
/// The dashes that begin an end-line.
pub const DASHES: &[u8] = b"-------";
/// Longest end-line together with the CRLF before it: CRLF, dashes, transaction id, flag, CRLF.
pub const END_LINE_MAX: usize = 2 + DASHES.len() + IDENT_MAX + 1 + 2;
