//! `pf-lab`: demo, probe and load, for people and for `cargo xtask`.
fn main() {}
