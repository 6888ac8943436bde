//! `pf`: a CPM Participating Function with an MSRP relay.
//!
//! [`core`] holds the procedures (sans-IO); everything else is shell around it.

pub mod core;
pub mod msrp;
