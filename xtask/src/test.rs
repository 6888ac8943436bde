//! All tests.

use anyhow::Result;

use crate::{ebpf, setup, shell, toolchain};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    setup::ensure(&[setup::IP, setup::SIPP, setup::KAMAILIO, setup::TCPDUMP])?;
    // Tests load every kernel program, so they have to be in the binary.
    toolchain::install()?;
    ebpf::run(true)?;
    // Tests from outside start the programs themselves.
    shell::run(shell::cargo().args(["build", "--workspace", "--bins"]))?;
    shell::run(
        shell::cargo()
            .args(["test", "--workspace", "--no-fail-fast"])
            .args(arguments)
            .env("PF_BIN", shell::target("debug", "pf"))
            // A test that misses a right or a program fails instead of standing aside.
            .env("PF_LAB_REQUIRED", "1"),
    )
}
