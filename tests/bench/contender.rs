//! Who is measured: no relay, a TCP proxy, and the minimal relay.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    ground::{self, Side},
    load::{End, Lane},
    minimal_relay::Names,
    process::{self, Process},
};

/// Something that carries messages from senders to sinks.
pub(crate) trait Contender {
    /// Name in tables.
    fn name(&self) -> &'static str;
    /// What it is, with its version; or why it cannot run here.
    fn about(&self) -> Result<String>;
    /// Largest body it carries, in octets.
    fn largest_body(&self) -> usize {
        usize::MAX
    }
    /// Whether it copies one SEND to several sinks.
    fn fans_out(&self) -> bool {
        false
    }
    /// Starts it and sets `lanes` sessions with `fanout` sinks each up. `dir` is for its files.
    fn start(&self, lanes: usize, fanout: usize, dir: &Path) -> Result<Started>;
}

/// A running contender with its sessions.
pub(crate) struct Started {
    /// Sockets of the sessions.
    pub(crate) lanes: Vec<Lane>,
    /// Processes whose CPU counts; none for the direct connection.
    pub(crate) pids: Vec<u32>,
    /// SENDs carried in the kernel and in userspace, where it has both.
    pub(crate) hits: Option<Hits>,
    /// What must live as long as the sessions.
    pub(crate) keep: Vec<Box<dyn std::any::Any>>,
}

/// Asks a contender how many SENDs it has carried in the kernel and in userspace.
pub(crate) type Hits = Box<dyn Fn() -> Result<[u64; 2]>>;

/// Sender and sink connected to each other.
pub(crate) struct Direct;

impl Contender for Direct {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn about(&self) -> Result<String> {
        Ok("no relay: what the load generator itself costs".into())
    }

    fn start(&self, lanes: usize, _fanout: usize, _dir: &Path) -> Result<Started> {
        let listener = ground::listen(Side::Far)?;
        let lanes = transparent(listener.local_addr()?, &listener, lanes)?;
        Ok(Started { lanes, pids: Vec::new(), hits: None, keep: Vec::new() })
    }
}

/// HAProxy in TCP mode: forwards octets, knows nothing of MSRP.
pub(crate) struct Haproxy;

impl Contender for Haproxy {
    fn name(&self) -> &'static str {
        "haproxy-tcp"
    }

    fn about(&self) -> Result<String> {
        let program = process::find("haproxy").context("haproxy is not installed")?;
        Ok(format!("{}, TCP mode, 1 thread, does not parse MSRP", process::version(&program, "-v")))
    }

    fn start(&self, lanes: usize, _fanout: usize, dir: &Path) -> Result<Started> {
        let program = process::find("haproxy").context("haproxy is not installed")?;
        let listener = ground::listen(Side::Far)?;
        let (front, back) = (ground::free_port()?, listener.local_addr()?);
        let front = SocketAddr::new(ground::relay(Side::Near), front);
        fs::create_dir_all(dir)?;
        let config = dir.join("haproxy.cfg");
        fs::write(
            &config,
            format!(
                "global\n  nbthread 1\n  maxconn 4000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  \
                 timeout server 1h\nlisten bench\n  bind {front}\n  server sinks {back}\n"
            ),
        )?;
        let mut command = Command::new(program);
        command.arg("-db").arg("-f").arg(&config);
        let mut process = Process::start("haproxy", command, dir, false)?;
        process.wait_port(front)?;
        // The probe of `wait_port` reached the sinks' listener too.
        listener.accept()?;
        let lanes = transparent(front, &listener, lanes)?;
        Ok(Started { lanes, pids: process.pids(), hits: None, keep: vec![Box::new(process)] })
    }
}

/// Lanes through something that forwards octets as they are.
fn transparent(to: SocketAddr, sinks: &TcpListener, lanes: usize) -> Result<Vec<Lane>> {
    let at = sinks.local_addr()?;
    (0..lanes)
        .map(|lane| {
            let sender = ground::connect(Side::Near, to)?;
            let (sink, _) = sinks.accept()?;
            let uri = format!("msrp://{at}/s{lane:06};tcp");
            let own = format!("msrp://127.0.0.1:9/ua{lane:06};tcp");
            Ok(Lane {
                sender: End { stream: sender, to_path: uri.clone(), own: own.clone() },
                sinks: vec![End { stream: sink, to_path: own, own: uri }],
            })
        })
        .collect()
}

/// `minimal_relay.rs` in a process of its own.
pub(crate) struct Minimal;

impl Contender for Minimal {
    fn name(&self) -> &'static str {
        "minimal"
    }

    fn about(&self) -> Result<String> {
        Ok("minimal single-thread epoll relay of this bench: parses, matches, rewrites, fans out".into())
    }

    fn fans_out(&self) -> bool {
        true
    }

    fn start(&self, lanes: usize, fanout: usize, dir: &Path) -> Result<Started> {
        let listener = ground::listen(Side::Far)?;
        let sinks = listener.local_addr()?;
        let mut command = Command::new(std::env::current_exe()?);
        let listen = ground::relay(Side::Near).to_string();
        command.args(["minimal-relay", "--listen", &listen, "--sinks", &sinks.to_string()]);
        command.args(["--fanout", &fanout.to_string()]);
        let mut process = Process::start("minimal", command, dir, true)?;
        let ready = process.wait_line("ready ", Duration::from_secs(5))?;
        let relay: SocketAddr = ready.trim_start_matches("ready ").trim().parse()?;
        let lanes = (0..lanes)
            .map(|lane| {
                let sender = ground::connect(Side::Near, relay)?;
                let names = Names::new(relay, lane);
                let sinks = (0..fanout)
                    .map(|leg| {
                        let (stream, _) = listener.accept()?;
                        Ok(End { stream, to_path: String::new(), own: Names::sink(sinks, lane, leg) })
                    })
                    .collect::<Result<_>>()?;
                Ok(Lane { sender: End { stream: sender, to_path: names.relay_a, own: names.sender }, sinks })
            })
            .collect::<Result<_>>()?;
        Ok(Started { lanes, pids: process.pids(), hits: None, keep: vec![Box::new(process)] })
    }
}
