//! A million messages through the in-kernel path with four legs each: every octet of every copy is verified at its
//! receiver, none is missing, twice or out of order, and fewer than one in a hundred leaves the kernel.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use lab::{net::Network, pf::binary};

use crate::fast::fast;

#[tokio::test]
async fn a_million_messages_stay_in_the_kernel() -> Result<()> {
    // Where nobody may, or the kernel cannot, the scene says so.
    if Network::for_test()?.is_none() || fast(Default::default()).await?.is_none() {
        return Ok(());
    }
    let mut bench = Command::new(env!("CARGO_BIN_EXE_pf-bench"));
    let out = std::env::temp_dir().join(format!("pf-million-{}", std::process::id()));
    bench.arg("fastpath-million").arg("--out").arg(&out).arg("--pf").arg(binary()?);
    let output = bench.output().context("pf-bench");
    let _ = std::fs::remove_dir_all(&out);
    let output = output?;
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    eprint!("{said}");
    ensure!(output.status.success(), "{said}{wrong}");
    ensure!(said.contains("4 copies of each, verified"), "{said}");
    Ok(())
}
