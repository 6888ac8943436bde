//! SIPp as the core on Alice's side and as the far end: both check the headers that `pf` makes.

use std::{net::SocketAddr, path::Path, process::Command, time::Duration};

use anyhow::{Result, ensure};
use lab::{
    net::Place,
    pf::{Pf, PfOptions},
    sip::Transport,
};

use crate::neighbours::{Directory, Neighbour, free_address, tool};

const LIMIT: Duration = Duration::from_secs(30);

/// A SIPp with one of our scenarios, for one call.
fn sipp(program: &Path, scenario: &Path, local: SocketAddr, transport: Transport) -> Command {
    let mut command = Command::new(program);
    command.arg("-sf").arg(scenario).args(["-i", &local.ip().to_string(), "-p", &local.port().to_string()]);
    command.args([
        "-t",
        if transport == Transport::Tcp { "t1" } else { "u1" },
        "-m",
        "1",
        "-nostdin",
        "-trace_err",
    ]);
    command.args(["-recv_timeout", "15000", "-timeout", "25", "-timeout_error", "-skip_rlimit"]);
    command.args(["-error_file", &format!("{}.errors", scenario.display()), "-trace_msg", "-message_file"]);
    command.arg(format!("{}.messages", scenario.display()));
    command
}

/// What SIPp wrote about a run, for the message of a failed test.
fn story(directory: &Directory) -> String {
    ["uac.xml.errors", "uas.xml.errors", "uac.xml.messages", "uas.xml.messages"]
        .iter()
        .map(|name| {
            let text = std::fs::read_to_string(directory.0.join(name)).unwrap_or_default();
            format!("--- {name}\n{text}\n")
        })
        .collect()
}

/// One registration and one session. Over UDP the configured core is the next hop; over TCP there is none, and the
/// Request-URI decides.
async fn call(transport: Transport) -> Result<()> {
    let Some(program) = tool("sipp", "sip-tester")? else { return Ok(()) };
    let (home, near, there) = (Place::loopback(1), Place::loopback(21), Place::loopback(29));
    let directory = Directory::new("sipp")?;
    let (uac, uas) = (free_address(&near)?, free_address(&there)?);
    let mut options = PfOptions::new(&home);
    options.trusted = vec![near.ip, there.ip];
    options.registrars = vec![near.ip];
    let target = match transport {
        Transport::Udp => {
            options.core = Some(uas);
            "sip:bob@far.example.net".to_owned()
        }
        Transport::Tcp => format!("sip:bob@{uas};transport=tcp"),
    };
    let pf = Pf::start(&options)?;

    let scenario = |name: &str, text: &str| {
        let host = |place: &Place| place.ip.to_string().replace('.', "\\.");
        let text = text.replace("TARGET", &target).replace("PF_HOST", &host(&home));
        directory.file(name, &text.replace("NEAR_HOST", &host(&near)).replace("FAR_HOST", &host(&there)))
    };
    let uas_file = scenario("uas.xml", include_str!("../neighbours/sipp_uas.xml"))?;
    let uac_file = scenario("uac.xml", include_str!("../neighbours/sipp_uac.xml"))?;
    let mut uas = Neighbour::start("uas", sipp(&program, &uas_file, uas, transport), &directory)?;
    tokio::time::sleep(Duration::from_millis(300)).await; // SIPp does not say when it listens
    let mut command = sipp(&program, &uac_file, uac, transport);
    command.arg(pf.sip_address(transport, home.ip)?.to_string());
    let mut uac = Neighbour::start("uac", command, &directory)?;

    let near_end = uac.ended(LIMIT).await?;
    ensure!(near_end.success(), "the near end's SIPp: {near_end}\n{}\n{}", story(&directory), pf.log());
    let far_end = uas.ended(LIMIT).await?;
    ensure!(far_end.success(), "the far end's SIPp: {far_end}\n{}\n{}", story(&directory), pf.log());
    let devices = pf.cli_json("devices")?;
    ensure!(devices.to_string().contains("00000000-0000-4000-8000-00000000a11c"), "devices: {devices}");
    Ok(())
}

// Rows: REG-01, INV-09, INV-10, INV-11, INV-14, INV-15, INV-16, INV-17, INV-18, INV-19, INV-21, INV-22, INV-26, INV-27, INV-29, ANS-09, ANS-10, ANS-11, RSP-06, BYE-18
#[tokio::test]
async fn sipp_registers_and_calls_over_udp() -> Result<()> {
    call(Transport::Udp).await
}

// Rows: INV-09, INV-29
#[tokio::test]
async fn sipp_registers_and_calls_over_tcp() -> Result<()> {
    call(Transport::Tcp).await
}
