//! The SIP shell over real sockets on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it cannot go on")]

mod basic;
mod lab;
mod limits;
mod loss;
mod streams;
mod traps;
