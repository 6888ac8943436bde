//! What the kernel programs and userspace must agree on.
//!
//! No allocation, no standard library: the same grammar is fuzzed on the host and verified in the kernel.
#![no_std]
#![forbid(unsafe_code)]

#[macro_use]
mod counted;

pub mod frame;
pub mod guard;
pub mod maps;
pub mod msrp;
pub mod splice;
pub mod whole;
