//! All tests.

use std::{fs, path::Path};

use anyhow::Result;

use crate::{ebpf, setup, shell, toolchain};

pub(crate) fn run(ladder: Option<&Path>, arguments: &[String]) -> Result<()> {
    setup::ensure(&[setup::IP, setup::SIPP, setup::KAMAILIO, setup::TCPDUMP])?;
    let kernel_programs = kernel_programs()?;
    // Tests from outside start the programs themselves.
    shell::run(shell::cargo().args(["build", "--workspace", "--bins"]))?;
    let mut tests = shell::cargo();
    tests
        .args(["test", "--workspace", "--no-fail-fast"])
        .args(arguments)
        .env("PF_BIN", shell::target("debug", "pf"))
        // A test that misses a right or a program fails instead of standing aside.
        .env("PF_LAB_REQUIRED", "1")
        .env("PF_EBPF_REQUIRED", if kernel_programs { "1" } else { "0" });
    if let Some(directory) = ladder {
        // Tests run in the directory of their package.
        fs::create_dir_all(directory)?;
        tests.env("PF_LADDER", directory.canonicalize()?);
        eprintln!("test: ladder diagrams go to {}", directory.display());
    }
    shell::run(&mut tests)
}

/// Tests load every kernel program, so they have to be in the binary. Must their tests run? In CI always; on other
/// hosts where the programs can be built and the kernel can load them.
fn kernel_programs() -> Result<bool> {
    if std::env::var_os("CI").is_some() {
        toolchain::install()?;
        ebpf::run(true)?;
        return Ok(true);
    }
    if let Err(why) = toolchain::install().and_then(|()| ebpf::run(false)) {
        eprintln!("test: kernel programs are left out, their tests stand aside: {why:#}");
        return Ok(false);
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    let kernel = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    if kernel < OLDEST_KERNEL {
        eprintln!(
            "test: this kernel ({}) is too old for the kernel programs, their tests stand aside",
            release.trim()
        );
    }
    Ok(kernel >= OLDEST_KERNEL)
}

/// The oldest kernel that `pf` loads its programs into.
const OLDEST_KERNEL: (u32, u32) = (6, 8);
