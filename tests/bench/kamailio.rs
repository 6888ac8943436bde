//! Kamailio's `msrp` module as RFC 4976 relay: what a distribution gives today.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{
    contender::{Contender, Started},
    frame::{self, Kind},
    ground::{self, Side},
    load::{End, Lane},
    process::{self, Process},
};

/// The relay; sender and sink both bind to it with AUTH, without digest.
pub(crate) struct Kamailio;

/// TCP workers.
const CHILDREN: usize = 2;

impl Contender for Kamailio {
    fn name(&self) -> &'static str {
        "kamailio-msrp"
    }

    fn about(&self) -> Result<String> {
        let program = process::find("kamailio").context("kamailio is not installed")?;
        let version = process::version(&program, "-v");
        Ok(format!(
            "{version}, RFC 4976 relay, {CHILDREN} TCP workers, answers hop by hop, frames up to 10 KB"
        ))
    }

    fn largest_body(&self) -> usize {
        // Compiled in: 10,240 octets of body, 11,240 for the frame.
        10_240
    }

    fn start(&self, lanes: usize, _fanout: usize, dir: &Path) -> Result<Started> {
        let program = process::find("kamailio").context("kamailio is not installed")?;
        let relay = SocketAddr::new(ground::relay(Side::Near), ground::free_port()?);
        fs::create_dir_all(dir)?;
        let dir = &dir.canonicalize()?;
        let config = dir.join("kamailio.cfg");
        fs::write(&config, configuration(relay))?;
        let mut command = Command::new(program);
        command.args(["-DD", "-E", "-m", "256", "-M", "16", "-f"]).arg(&config);
        command.arg("-Y").arg(dir).arg("-P").arg(dir.join("kamailio.pid"));
        let mut process = Process::start("kamailio", command, dir, false)?;
        process.wait_port(relay)?;
        let lanes = (0..lanes)
            .map(|lane| {
                let (sender_own, sink_own) = (own_uri(lane, "ua"), own_uri(lane, "s"));
                let (sender, _) = bind(Side::Near, relay, &sender_own).context("AUTH of a sender")?;
                let (sink, sink_relay) = bind(Side::Far, relay, &sink_own).context("AUTH of a sink")?;
                // With the sender's relay URI before it, the relay would send every message to itself first. This is the
                // one hop that is cheapest for it.
                let to_path = format!("{sink_relay} {sink_own}");
                Ok(Lane {
                    sender: End { stream: sender, to_path, own: sender_own },
                    sinks: vec![End { stream: sink, to_path: String::new(), own: sink_own }],
                })
            })
            .collect::<Result<_>>()?;
        Ok(Started { lanes, pids: process.pids(), hits: None, keep: vec![Box::new(process)] })
    }
}

fn own_uri(lane: usize, role: &str) -> String {
    format!("msrp://127.0.0.1:9/{role}{lane:06};tcp")
}

/// Connects, sends AUTH and returns the connection with the Use-Path of the answer.
fn bind(side: Side, relay: SocketAddr, own: &str) -> Result<(TcpStream, String)> {
    let mut stream = ground::connect(side, relay)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let tid = format!("auth{:08x}", stream.local_addr()?.port());
    let auth =
        format!("MSRP {tid} AUTH\r\nTo-Path: msrp://{relay};tcp\r\nFrom-Path: {own}\r\n-------{tid}$\r\n");
    stream.write_all(auth.as_bytes())?;
    let mut answer = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let n = stream.read(&mut piece)?;
        ensure!(n > 0, "connection closed");
        answer.extend_from_slice(&piece[..n]);
        if let Some(frame) = frame::parse(&answer)? {
            ensure!(frame.kind == Kind::Response(200), "answered {:?}", frame.kind);
            ensure!(!frame.use_path.is_empty(), "no Use-Path");
            return Ok((stream, String::from_utf8(frame.use_path.to_vec())?));
        }
    }
}

/// The relay script: AUTH saves the connection, SEND is answered and passed on to the saved connection.
fn configuration(relay: SocketAddr) -> String {
    format!(
        r#"#!KAMAILIO
debug=0
log_stderror=yes
fork=yes
children=1
tcp_children={CHILDREN}
auto_aliases=no
listen=tcp:{relay}
tcp_accept_no_cl=yes
tcp_rd_buf_size=65536
tcp_conn_wq_max=1048576
tcp_wq_max=67108864
tcp_max_connections=4096
tcp_connection_lifetime=3700
loadmodule "kex.so"
loadmodule "corex.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "xlog.so"
loadmodule "cfgutils.so"
loadmodule "auth.so"
loadmodule "msrp.so"
modparam("msrp", "cmap_size", 10)
modparam("msrp", "use_path_addr", "{relay}")
request_route {{
    drop;
}}
event_route[msrp:frame-in] {{
    msrp_reply_flags("1");
    if (msrp_is_reply()) {{
        msrp_relay();
    }} else if ($msrp(method) == "AUTH") {{
        msrp_cmap_save();
    }} else if ($msrp(method) == "SEND" || $msrp(method) == "REPORT") {{
        if (msrp_cmap_lookup()) {{
            if ($msrp(method) == "SEND") msrp_reply("200", "OK");
            msrp_relay();
        }} else {{
            msrp_reply("481", "Session-does-not-exist");
        }}
    }} else {{
        msrp_reply("501", "Request-method-not-understood");
    }}
}}
"#
    )
}
