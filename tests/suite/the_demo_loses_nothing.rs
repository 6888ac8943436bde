//! The demo, as `cargo xtask demo` runs it, with fewer messages.

use std::process::Command;

use anyhow::{Context, Result, ensure};

// Rows: DD-04, DD-06, MED-18, MED-26
#[test]
fn the_demo_loses_nothing() -> Result<()> {
    let ladder = std::env::temp_dir().join(format!("pf-demo-{}.svg", std::process::id()));
    let mut demo = Command::new(env!("CARGO_BIN_EXE_pf-lab"));
    demo.args(["demo", "--json", "--messages", "400", "--svg"]).arg(&ladder);
    let out = demo.output().context("pf-lab does not start")?;
    let said = String::from_utf8_lossy(&out.stderr);
    if said.contains("root") && std::env::var_os("PF_LAB_REQUIRED").is_none() {
        eprintln!("skipped: {said}");
        return Ok(());
    }
    ensure!(out.status.success(), "{}\n{said}", out.status);
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).context("its report")?;
    let devices = report["devices"].as_array().context("devices in its report")?;
    let verified = |name: &str| {
        devices.iter().find(|line| line["device"] == name).and_then(|line| line["verified"].as_u64())
    };
    ensure!(verified("FAR") == Some(400) && verified("UE-B") == Some(400), "{report:#}");
    ensure!(verified("UE-C").is_some_and(|n| (200..400).contains(&n)), "{report:#}");
    ensure!(verified("UE-D") == Some(0), "{report:#}");
    let drawing = std::fs::read_to_string(&ladder).context("the ladder diagram")?;
    std::fs::remove_file(&ladder)?;
    ensure!(drawing.starts_with("<svg") && drawing.contains("INVITE"), "no ladder diagram");
    Ok(())
}
