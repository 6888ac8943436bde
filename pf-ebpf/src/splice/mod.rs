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
