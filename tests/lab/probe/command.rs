//! `pf-lab probe HOST:PORT`.

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use super::{CHECKS, PathsTarget, RelayTarget, Settings, SipTarget, Target, Verdict, check};
use crate::{
    actor::{Device, Party, Ue},
    net::Place,
    sip::{Credentials, Transport},
    table::table,
    trace::Trace,
};

/// Asks a running MSRP relay what it does with unkind octets. The exit code is the number of failed checks.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Where the relay listens for MSRP, IP address and port
    target: SocketAddr,
    /// How to get a session through it; default: `pf` with `--sip`, `paths` with `--sender-path`, else `rfc4976`
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// `pf`: its SIP address
    #[arg(long)]
    sip: Option<SocketAddr>,
    /// `pf`: the user's address
    #[arg(long, default_value = "sip:alice@example.org")]
    user: String,
    /// User name for digest authentication; default: the user part of `--user`
    #[arg(long)]
    username: Option<String>,
    /// Password for digest authentication
    #[arg(long, default_value = "")]
    password: String,
    /// `pf`: SIP over TCP instead of UDP
    #[arg(long)]
    tcp: bool,
    /// `pf`: port where the probe's far end listens for SIP, if `pf` sends everything to a fixed core
    #[arg(long, default_value_t = 0)]
    far_port: u16,
    /// `rfc4976`: host in the URI that AUTH goes to, if it is not HOST:PORT
    #[arg(long)]
    domain: Option<String>,
    /// `rfc4976`: only the receiver authenticates, the sender sends to its Use-Path
    #[arg(long)]
    plain_sender: bool,
    /// `paths`: the relay's path for the sender, URIs separated by blanks
    #[arg(long)]
    sender_path: Option<String>,
    /// `paths`: the sender's own path URI, as the relay knows it
    #[arg(long)]
    sender_uri: Option<String>,
    /// `paths`: the relay's path for the receiver
    #[arg(long)]
    receiver_path: Option<String>,
    /// `paths`: the receiver's own path URI, as the relay knows it
    #[arg(long)]
    receiver_uri: Option<String>,
    /// The probe's own address; default: the one that the route to the relay has
    #[arg(long)]
    own: Option<IpAddr>,
    /// Megabytes of the large frame
    #[arg(long, default_value_t = 200)]
    large: u64,
    /// The relay's process id, to watch its memory during the large frame
    #[arg(long)]
    pid: Option<u32>,
    /// Run these checks only (names, separated by commas)
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// A CPM Participating Function: register, invite
    Pf,
    /// A relay of RFC 4976: AUTH, then Use-Path
    Rfc4976,
    /// Two path URIs that exist already
    Paths,
}

/// Runs the probe. Returns the number of failed checks.
pub async fn run(arguments: Arguments, out: &mut dyn Write) -> Result<usize> {
    let checks = match arguments.only.as_slice() {
        [] => CHECKS.iter().collect(),
        names => names
            .iter()
            .map(|name| check(name).with_context(|| format!("there is no check `{name}`")))
            .collect::<Result<Vec<_>>>()?,
    };
    let settings = Settings { large: arguments.large << 20, pid: arguments.pid };
    let mut target = target(&arguments).await?;
    let mut verdicts: Vec<Verdict> = Vec::new();
    for check in checks {
        let verdict = check.run(target.as_mut(), &settings).await;
        if !arguments.json {
            writeln!(out, "{:<4} {:<16} {}", verdict.result(), verdict.check, verdict.what)?;
            out.flush()?;
        }
        verdicts.push(verdict);
    }
    let asked = verdicts.iter().filter(|verdict| verdict.asked).count();
    let failed = verdicts.iter().filter(|verdict| verdict.asked && !verdict.passed).count();
    if arguments.json {
        serde_json::to_writer_pretty(&mut *out, &verdicts)?;
        writeln!(out)?;
    } else {
        let rows: Vec<Vec<String>> = verdicts
            .iter()
            .map(|v| {
                vec![v.check.to_owned(), v.result().to_owned(), v.milliseconds.to_string(), v.note.clone()]
            })
            .collect();
        write!(out, "\n{}", table(&["check", "result", "ms", "note"], &rows))?;
        let others = match verdicts.len() - asked {
            0 => String::new(),
            n => format!(", {n} not asked"),
        };
        writeln!(out, "\n{} of {asked} checks passed{others}", asked - failed)?;
    }
    Ok(failed)
}

async fn target(arguments: &Arguments) -> Result<Box<dyn Target>> {
    let own = match arguments.own {
        Some(own) => own,
        None => route_to(arguments.target)?,
    };
    let place = Place::here(own);
    let trace = Trace::new(0);
    let user_part = arguments.user.trim_start_matches("sip:").split('@').next().unwrap_or_default();
    let credentials = Credentials {
        username: arguments.username.clone().unwrap_or_else(|| user_part.to_owned()),
        password: arguments.password.clone(),
    };
    let mode = match arguments {
        Arguments { mode: Some(mode), .. } => *mode,
        Arguments { sip: Some(_), .. } => Mode::Pf,
        Arguments { sender_path: Some(_), .. } => Mode::Paths,
        _ => Mode::Rfc4976,
    };
    match mode {
        Mode::Pf => {
            let sip = arguments.sip.context("mode pf needs --sip HOST:PORT")?;
            let transport = if arguments.tcp { Transport::Tcp } else { Transport::Udp };
            let device = Device {
                address: arguments.user.clone(),
                credentials,
                transport,
                ..Device::of_alice("pf-lab probe")
            };
            let mut ue = Ue::start("sender", &place, device, sip, &trace)?;
            ue.register().await.context("registering the probe's device")?;
            let far =
                Party::start_at("receiver", &place, arguments.far_port, transport, "sip:probe@far", &trace)?;
            let target = far.agent.contact_uri("probe");
            Ok(Box::new(SipTarget::new(arguments.target, ue, far, &target)))
        }
        Mode::Rfc4976 => Ok(Box::new(RelayTarget::new(
            arguments.target,
            place,
            credentials,
            arguments.domain.clone(),
            !arguments.plain_sender,
            trace,
        ))),
        Mode::Paths => {
            let Arguments { sender_path, sender_uri, receiver_path, receiver_uri, .. } = arguments;
            let (Some(sp), Some(su), Some(rp), Some(ru)) =
                (sender_path, sender_uri, receiver_path, receiver_uri)
            else {
                bail!("mode paths needs --sender-path, --sender-uri, --receiver-path and --receiver-uri");
            };
            let (sender, receiver) = ((sp.clone(), su.clone()), (rp.clone(), ru.clone()));
            Ok(Box::new(PathsTarget::new(place, sender, receiver, trace)?))
        }
    }
}

/// The source address of packets to `target`: a connected UDP socket knows it without sending any.
fn route_to(target: SocketAddr) -> Result<IpAddr> {
    let any: IpAddr =
        if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(target).with_context(|| format!("no route to {target}"))?;
    Ok(socket.local_addr()?.ip())
}
