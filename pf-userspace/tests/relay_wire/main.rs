//! The MSRP relay over real TCP connections on loopback.

mod peer;
mod stage;
mod switching;
