//! What the guard of the MSRP ports decides about a packet, as pure functions.
//!
//! The XDP program calls them in this order: [`read`] finds out whether the packet is a TCP segment at all, the program
//! asks its map of listeners whether it is for one of ours, [`check`] drops what no TCP ever sends, and [`Rate`]
//! tells whether its source still may. Whatever is not understood passes: the host's own stack judges it.

mod packet;
mod rate;
mod verdict;

pub use packet::{Found, Kind, Octets, Segment, check, read};
pub use rate::Rate;
pub use verdict::Verdict;
