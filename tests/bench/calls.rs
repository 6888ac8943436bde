//! `pf-bench sip`: CPM sessions set up and ended through `pf` at a fixed rate, offered and taken by SIPp.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::{
    ground, measure,
    pf::{self, Setting},
    process::{self, Process},
};

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Options {
    /// Calls per second
    #[arg(long, default_value_t = 1000)]
    rate: u64,
    /// Seconds of load
    #[arg(long)]
    seconds: Option<u64>,
    /// Short run: shows that everything works, not how fast it is
    #[arg(long)]
    quick: bool,
    /// Transports
    #[arg(long, value_delimiter = ',', default_value = "udp,tcp")]
    transports: Vec<String>,
    /// The pf binary; absent: PF_BIN, else target/release/pf
    #[arg(long)]
    pf: Option<PathBuf>,
    /// Directory for JSON and logs
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

/// One run.
#[derive(Debug, Serialize)]
struct Row {
    way: &'static str,
    transport: String,
    offered_per_second: u64,
    calls: u64,
    failed: u64,
    seconds: f64,
    completed_per_second: f64,
    /// CPU of pf per call, in microseconds.
    pf_us: f64,
    /// Resident memory of pf at the end, in KiB.
    pf_resident_kib: u64,
}

/// Runs SIPp against SIPp, then through `pf`; an error if a call failed.
pub(crate) fn run(options: &Options) -> Result<()> {
    let sipp = process::find("sipp").context("sipp is not installed (Debian package sip-tester)")?;
    let seconds = options.seconds.unwrap_or(if options.quick { 2 } else { 10 });
    let rate = if options.quick { options.rate.min(200) } else { options.rate };
    println!(
        "SIP bench: {rate} calls/s for {seconds} s, each INVITE, 200, ACK, 100 ms, BYE, 200; loopback, both ends SIPp"
    );
    println!(
        "| way | transport | calls | failed | calls/s done | pf CPU us/call | pf RSS MiB |\n|---|---|---|---|---|---|---|"
    );
    let mut rows = Vec::new();
    for transport in &options.transports {
        ensure!(transport == "udp" || transport == "tcp", "transport is udp or tcp");
        for way in ["direct", "pf"] {
            let row = one(&sipp, way, transport, rate, seconds, options)?;
            println!(
                "| {} | {} | {} | {} | {:.0} | {:.0} | {:.1} |",
                row.way,
                row.transport,
                row.calls,
                row.failed,
                row.completed_per_second,
                row.pf_us,
                row.pf_resident_kib as f64 / 1024.0
            );
            rows.push(row);
        }
    }
    fs::create_dir_all(&options.out)?;
    fs::write(options.out.join("sip.json"), serde_json::to_string_pretty(&rows)?)?;
    let failed: u64 = rows.iter().filter(|row| row.way == "pf").map(|row| row.failed).sum();
    ensure!(
        failed == 0,
        "{failed} calls through pf failed; SIPp's reasons are in {}/run",
        options.out.display()
    );
    Ok(())
}

fn one(
    sipp: &Path,
    way: &'static str,
    transport: &str,
    rate: u64,
    seconds: u64,
    options: &Options,
) -> Result<Row> {
    let dir = &options.out.join("run");
    fs::create_dir_all(dir)?;
    let dir = &dir.canonicalize()?;
    let (uac_port, uas_port) = (ground::free_port()?, ground::free_port()?);
    let far = SocketAddr::from(([127, 0, 0, 1], uas_port));
    let scenario = |name: &str, text: &str| -> Result<PathBuf> {
        let path = dir.join(format!("{name}.xml"));
        fs::write(&path, text)?;
        Ok(path)
    };
    let calls = rate * seconds;
    let socket = if transport == "udp" { "u1" } else { "t1" };
    let common = |command: &mut Command, port: u16| {
        command.args([
            "-i",
            "127.0.0.1",
            "-t",
            socket,
            "-nostdin",
            "-skip_rlimit",
            "-trace_err",
            "-p",
            &port.to_string(),
        ]);
        command.args(["-buff_size", "4194304"]).current_dir(dir);
    };
    let mut uas = Command::new(sipp);
    uas.arg("-sf").arg(scenario("uas", include_str!("sipp/uas.xml"))?);
    common(&mut uas, uas_port);
    let mut uas = Process::start("sipp-uas", uas, dir, false)?;
    if transport == "tcp" {
        uas.wait_port(far)?;
    } else {
        std::thread::sleep(Duration::from_millis(300));
    }

    let running = if way == "pf" {
        let core = format!("sip:{far};transport={transport}");
        let setting = Setting { core, users: 1, fast_path: "off", trusted: true };
        Some(pf::start(&pf::binary(options.pf.as_deref()), &setting, &dir.join("pf-sip"))?)
    } else {
        None
    };
    let target = match (&running, transport) {
        (Some(running), "udp") => running.udp,
        (Some(running), _) => running.tcp,
        (None, _) => far,
    };
    let pids = running.as_ref().map(|running| running.process.pids()).unwrap_or_default();
    let statistics = dir.join(format!("sipp-{way}-{transport}.csv"));
    fs::remove_file(&statistics).ok();
    let mut uac = Command::new(sipp);
    uac.arg("-sf").arg(scenario("uac", include_str!("sipp/uac.xml"))?).arg(target.to_string());
    uac.args(["-r", &rate.to_string(), "-m", &calls.to_string(), "-l", "20000", "-recv_timeout", "10000"]);
    uac.args(["-trace_stat", "-fd", "1", "-stf"]).arg(&statistics);
    common(&mut uac, uac_port);
    let (before, begin) = (measure::run_time(&pids), Instant::now());
    let mut uac = Process::start("sipp-uac", uac, dir, false)?;
    uac.wait(Duration::from_secs(seconds + 60)).context("SIPp UAC")?;
    let (elapsed, after) = (begin.elapsed().as_secs_f64(), measure::run_time(&pids));
    let (good, failed) = outcome(&fs::read_to_string(&statistics)?).context("SIPp's statistics")?;
    Ok(Row {
        way,
        transport: transport.to_owned(),
        offered_per_second: rate,
        calls,
        failed: failed.max(calls.saturating_sub(good)),
        seconds: elapsed,
        completed_per_second: good as f64 / elapsed,
        pf_us: after.saturating_sub(before) as f64 / 1000.0 / calls as f64,
        pf_resident_kib: measure::resident_kib(&pids),
    })
}

/// Successful and failed calls, from the last line of SIPp's statistics.
fn outcome(csv: &str) -> Option<(u64, u64)> {
    let mut lines = csv.lines();
    let header: Vec<&str> = lines.next()?.split(';').collect();
    let last: Vec<&str> = lines.next_back()?.split(';').collect();
    let field = |name: &str| last.get(header.iter().position(|column| *column == name)?)?.parse().ok();
    Some((field("SuccessfulCall(C)")?, field("FailedCall(C)")?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_the_last_line_of_the_statistics() {
        let csv = "StartTime;SuccessfulCall(P);SuccessfulCall(C);FailedCall(P);FailedCall(C);\na;1;2;0;0;\nb;3;5;1;1;\n";
        assert_eq!(super::outcome(csv), Some((5, 1)));
        assert_eq!(super::outcome("a;b\n"), None);
    }
}
