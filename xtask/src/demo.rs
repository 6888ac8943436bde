//! The demo: real processes and sockets, everything that is said shown as it happens.

use std::process::Command;

use anyhow::Result;

use crate::{setup, shell};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    setup::ensure(&[setup::IP])?;
    shell::build_release()?;
    shell::run(
        Command::new(shell::target("release", "pf-lab"))
            .arg("demo")
            .args(arguments)
            .env("PF_BIN", shell::target("release", "pf")),
    )
}
