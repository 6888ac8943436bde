//! Asks an MSRP relay, ours or another, what it does with unkind octets.

use std::process::Command;

use anyhow::Result;

use crate::shell;

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    shell::run(shell::cargo().args(["build", "--quiet", "-p", "pf-tests", "--bin", "pf-lab"]))?;
    shell::run(Command::new(shell::target("debug", "pf-lab")).arg("probe").args(arguments))
}
