//! Behaviour of `pf` over real sockets, one file each.

mod the_lab_itself_works;

#[path = "../neighbours/mod.rs"]
mod neighbours;

mod kamailio_as_sip_core;
mod sipp_calls_through_pf;
