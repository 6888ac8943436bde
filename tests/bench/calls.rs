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
    pf::{self, Running, Setting},
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

/// Runs SIPp against SIPp, then through `pf`, then through `pf` with Kamailio on both its sides; an error if a call
/// failed.
pub(crate) fn run(options: &Options) -> Result<()> {
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
        let known = ["udp", "tcp"].into_iter().find(|known| known == transport);
        let transport = known.context("transport is udp or tcp")?;
        for way in ["direct", "pf", "kamailio"] {
            let row = one(way, transport, rate, seconds, options)?;
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
    let failed: u64 = rows.iter().filter(|row| row.way != "direct").map(|row| row.failed).sum();
    ensure!(
        failed == 0,
        "{failed} calls through pf failed; SIPp's reasons are in {}/run",
        options.out.display()
    );
    Ok(())
}

/// What the calls go through: `direct`, `pf`, or `kamailio`, which is `pf` with a SIP core around it.
pub(crate) struct Rig {
    sipp: PathBuf,
    dir: PathBuf,
    transport: &'static str,
    target: SocketAddr,
    pub(crate) pf: Option<Running>,
    _core: Option<Process>,
    _uas: Process,
}

/// What SIPp saw of a load, and what it cost `pf`.
pub(crate) struct Outcome {
    pub(crate) good: u64,
    pub(crate) failed: u64,
    pub(crate) elapsed: Duration,
    /// CPU of pf per call, in microseconds.
    pub(crate) pf_us: f64,
}

impl Rig {
    /// Starts everything but the callers.
    pub(crate) fn start(way: &str, transport: &'static str, binary: &Path, out: &Path) -> Result<Rig> {
        let sipp = process::find("sipp").context("sipp is not installed (Debian package sip-tester)")?;
        let dir = out.join("run");
        fs::create_dir_all(&dir)?;
        let dir = dir.canonicalize()?;
        let far = SocketAddr::from(([127, 0, 0, 1], ground::free_port()?));
        let mut uas = Command::new(&sipp);
        uas.arg("-sf").arg(scenario(&dir, "uas", include_str!("sipp/uas.xml"))?);
        common(&mut uas, far.port(), transport, &dir);
        let mut uas = Process::start("sipp-uas", uas, &dir, false)?;
        if transport == "tcp" {
            uas.wait_port(far)?;
        } else {
            std::thread::sleep(Duration::from_millis(300));
        }
        // The core's ports towards the callers and towards the far end.
        let core =
            (way == "kamailio").then(|| Ok::<_, anyhow::Error>([ground::free_port()?, ground::free_port()?]));
        let core = core.transpose()?.map(|ports| ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port))));
        let next = core.map_or(far, |[_, next]| next);
        let pf = match way {
            "direct" => None,
            _ => {
                let core = format!("sip:{next};transport={transport}");
                let setting = Setting { core, users: 1, fast_path: "off", trusted: true, msrp: "" };
                Some(pf::start(binary, &setting, &dir.join("pf-sip"))?)
            }
        };
        let to_pf = match (&pf, transport) {
            (Some(running), "udp") => running.udp,
            (Some(running), _) => running.tcp,
            (None, _) => far,
        };
        let (target, core) = match core {
            None => (to_pf, None),
            Some([edge, next]) => {
                let config = include_str!("sipp/core.cfg")
                    .replace("TRANSPORT", transport)
                    .replace("EDGE_PORT", &edge.port().to_string())
                    .replace("EDGE", &edge.to_string())
                    .replace("NEXT", &next.to_string())
                    .replace("PF", &to_pf.to_string())
                    .replace("FAR", &far.to_string());
                fs::write(dir.join("core.cfg"), config)?;
                let program = process::find("kamailio").context("kamailio is not installed")?;
                let mut command = Command::new(program);
                command.args(["-DD", "-E", "-m", "512", "-M", "16", "-f"]).arg(dir.join("core.cfg"));
                command.arg("-Y").arg(&dir).arg("-P").arg(dir.join("kamailio.pid"));
                let mut core = Process::start("kamailio", command, &dir, false)?;
                core.wait_port(edge)?;
                (edge, Some(core))
            }
        };
        Ok(Rig { sipp, dir, transport, target, pf, _core: core, _uas: uas })
    }

    /// So many calls at this rate.
    pub(crate) fn load(&self, calls: u64, rate: u64, patience: Duration) -> Result<Outcome> {
        let pids = self.pf.as_ref().map(|running| running.process.pids()).unwrap_or_default();
        let statistics = self.dir.join("sipp-uac.csv");
        fs::remove_file(&statistics).ok();
        let mut uac = Command::new(&self.sipp);
        uac.arg("-sf")
            .arg(scenario(&self.dir, "uac", include_str!("sipp/uac.xml"))?)
            .arg(self.target.to_string());
        uac.args([
            "-r",
            &rate.to_string(),
            "-m",
            &calls.to_string(),
            "-l",
            "20000",
            "-recv_timeout",
            "10000",
        ]);
        uac.args(["-trace_stat", "-fd", "1", "-stf"]).arg(&statistics);
        common(&mut uac, ground::free_port()?, self.transport, &self.dir);
        let (before, begin) = (measure::run_time(&pids), Instant::now());
        let mut uac = Process::start("sipp-uac", uac, &self.dir, false)?;
        uac.wait(Duration::from_secs(calls / rate) + patience).context("SIPp UAC")?;
        let (elapsed, after) = (begin.elapsed(), measure::run_time(&pids));
        let (good, failed) = outcome(&fs::read_to_string(&statistics)?).context("SIPp's statistics")?;
        let failed = failed.max(calls.saturating_sub(good));
        let pf_us = after.saturating_sub(before) as f64 / 1000.0 / calls as f64;
        Ok(Outcome { good, failed, elapsed, pf_us })
    }
}

fn scenario(dir: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = dir.join(format!("{name}.xml"));
    fs::write(&path, text)?;
    Ok(path)
}

fn common(command: &mut Command, port: u16, transport: &str, dir: &Path) {
    let socket = if transport == "udp" { "u1" } else { "t1" };
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
}

fn one(
    way: &'static str,
    transport: &'static str,
    rate: u64,
    seconds: u64,
    options: &Options,
) -> Result<Row> {
    let rig = Rig::start(way, transport, &pf::binary(options.pf.as_deref()), &options.out)?;
    let calls = rate * seconds;
    let outcome = rig.load(calls, rate, Duration::from_secs(60))?;
    Ok(Row {
        way,
        transport: transport.to_owned(),
        offered_per_second: rate,
        calls,
        failed: outcome.failed,
        seconds: outcome.elapsed.as_secs_f64(),
        completed_per_second: outcome.good as f64 / outcome.elapsed.as_secs_f64(),
        pf_us: outcome.pf_us,
        pf_resident_kib: rig
            .pf
            .as_ref()
            .map(|pf| measure::resident_kib(&pf.process.pids()))
            .unwrap_or_default(),
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
