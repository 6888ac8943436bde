//! `pf`: a CPM Participating Function with an MSRP relay.
//!
//! [`core`] holds the procedures (sans-IO); everything else is shell around it.

pub mod admin;
pub mod cli;
pub mod config;
pub mod core;
pub mod fastpath;
pub mod msrp;
pub mod run;
mod seldom;
pub mod sip;
pub mod store;
pub mod xdm;
