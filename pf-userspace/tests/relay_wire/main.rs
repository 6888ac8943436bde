//! The MSRP relay over real TCP connections on loopback.

// Helpers outside of test functions fail the test as well.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod binding;
mod copies;
mod errors;
mod framing;
mod peer;
mod sharing;
mod stage;
mod switching;
