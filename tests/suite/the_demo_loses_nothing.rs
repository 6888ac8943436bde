//! The demo, as `cargo xtask demo` runs it, with fewer messages.

use std::process::Command;

use anyhow::{Context, Result, ensure};

// Rows: DD-04, DD-06, MED-18, MED-26
#[test]
fn the_demo_loses_nothing() -> Result<()> {
    let ladder = std::env::temp_dir().join(format!("pf-demo-{}.svg", std::process::id()));
    let mut demo = Command::new(env!("CARGO_BIN_EXE_pf-lab"));
    demo.args(["demo", "--json", "--messages", "400", "--chat", "400", "--svg"]).arg(&ladder);
    let out = demo.output().context("pf-lab does not start")?;
    let said = String::from_utf8_lossy(&out.stderr);
    if said.contains("root") && std::env::var_os("PF_LAB_REQUIRED").is_none() {
        eprintln!("skipped: {said}");
        return Ok(());
    }
    ensure!(out.status.success(), "{}\n{said}", out.status);
    let reports: serde_json::Value = serde_json::from_slice(&out.stdout).context("its report")?;
    let reports = reports.as_array().context("its reports")?;
    ensure!(reports.len() == 2 && reports[0]["fast_path"] == "off" && reports[1]["fast_path"] == "auto");
    for report in reports {
        check(report)?;
    }
    let required = std::env::var_os("PF_EBPF_REQUIRED").is_some_and(|value| value == "1");
    for device in ["FAR", "UE-B"] {
        let share = |report: &serde_json::Value| {
            let lines = report["devices"].as_array().into_iter().flatten();
            let mut line = lines.filter(|line| line["device"] == device);
            line.next().and_then(|line| line["chat_in_kernel_percent"].as_f64()).unwrap_or_default()
        };
        ensure!(share(&reports[0]) == 0.0, "{:#}", reports[0]);
        ensure!(!required || share(&reports[1]) > 80.0, "{:#}", reports[1]);
    }
    let drawing = std::fs::read_to_string(&ladder).context("the ladder diagram")?;
    std::fs::remove_file(&ladder)?;
    ensure!(drawing.starts_with("<svg") && drawing.contains("INVITE"), "no ladder diagram");
    Ok(())
}

/// Everything that has to arrive has arrived.
fn check(report: &serde_json::Value) -> Result<()> {
    let devices = report["devices"].as_array().context("devices in its report")?;
    let verified = |name: &str| {
        devices.iter().find(|line| line["device"] == name).and_then(|line| line["verified"].as_u64())
    };
    ensure!(verified("FAR") == Some(800) && verified("UE-B") == Some(800), "{report:#}");
    ensure!(verified("UE-C").is_some_and(|n| (600..800).contains(&n)), "{report:#}");
    ensure!(verified("UE-D") == Some(0), "{report:#}");
    Ok(())
}
