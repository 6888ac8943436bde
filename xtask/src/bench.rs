//! Benchmarks against what one would use instead.

use std::process::Command;

use anyhow::Result;

use crate::{setup, shell};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    setup::ensure(&[setup::KAMAILIO, setup::HAPROXY, setup::SIPP])?;
    shell::build_release()?;
    shell::run(
        Command::new(shell::target("release", "pf-bench"))
            .args(arguments)
            .env("PF_BIN", shell::target("release", "pf")),
    )
}
