//! What has to hold before a change is looked at.

use std::fs;

use anyhow::{Result, bail};

use crate::{conformance, shell};

pub(crate) fn run() -> Result<()> {
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))?;
    shell::run(shell::cargo().args(["fmt", "--manifest-path", "pf-ebpf/Cargo.toml", "--check"]))?;
    shell::run(shell::cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    reference()?;
    conformance::run(true)?;
    eprintln!("lint: nothing to complain about");
    Ok(())
}

fn reference() -> Result<()> {
    let page = "docs/configuration.md";
    let made =
        shell::output(shell::cargo().args(["run", "--quiet", "-p", "pf", "--", "config", "--reference"]))?;
    if fs::read_to_string(shell::root().join(page)).unwrap_or_default() != made {
        bail!("{page} is stale: cargo run -p pf -- config --reference > {page}");
    }
    Ok(())
}
