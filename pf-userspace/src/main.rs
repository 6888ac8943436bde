//! The `pf` binary.
fn main() {}
