//! The datapath: forwards and duplicates messages in front of the kernel sockets (`docs/datapath.md`). What is decided
//! is in `pf_common::splice`; here is what it takes to ask and to obey.

mod claim;
mod control;
mod copies;
mod count;
mod egress;
mod ingress;
mod lock;
mod log;
mod long;
mod maps;
mod packet;
mod parse;
mod reader;
mod rewrite;
mod scratch;
mod send;
mod skb;

pub use control::control;
pub use egress::egress;
pub use ingress::ingress;
pub use skb::Skb;

use pf_common::{maps::Slot, splice::flags};

use maps::FLOWS;
use scratch::Scratch;

/// Whether the packet opens a new connection between the ports of one that was given up: then the flow ends here.
#[inline(always)]
fn begins_anew(scratch: &Scratch, slot: *const Slot) -> bool {
    if scratch.packet.flags & (flags::SYN | flags::RST) != flags::SYN {
        return false;
    }
    // SAFETY: a word that changes once.
    if unsafe { (&raw const (*slot).closing).read_volatile() } == 0 {
        return false;
    }
    let _ = FLOWS.remove(&scratch.packet.key);
    true
}
