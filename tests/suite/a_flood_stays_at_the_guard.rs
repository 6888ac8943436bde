//! The guard of the MSRP ports, on the interfaces of real hosts: a flood stays outside, everybody else does not notice.

use std::{
    io::{self, Write},
    net::SocketAddr,
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use lab::{
    actor::{Call, Device, Party, Scene, Ue},
    net::{Host, Network, Place},
    pf::{Pf, PfOptions},
    sip::Transport,
    trace::Trace,
    wait::{SOON, until},
};
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the flood tries to open.
const FLOOD: usize = 300;

/// What a source may open in a second.
const LIMIT: u64 = 20;

/// `pf` on the host, guarding its interface; `None` with a printed reason where this build has no kernel programs.
fn start(home: &Host, far: &Party, mode: &str) -> Result<Option<Pf>> {
    let mut options = PfOptions::new(&home.v4);
    options.core = Some(far.agent.local());
    options.also = vec![home.v6.ip];
    options.more = format!(
        "[guard]\ninterfaces = [\"eth0\"]\nmode = \"{mode}\"\nconnections_per_second = {LIMIT}\nsources = 2048\n"
    );
    match Pf::start(&options) {
        Ok(pf) => Ok(Some(pf)),
        Err(error)
            if ["no kernel programs", "too old for the guard"]
                .iter()
                .any(|why| format!("{error:#}").contains(why))
                && std::env::var_os("PF_EBPF_REQUIRED").is_none_or(|value| value != "1") =>
        {
            let _ = writeln!(io::stderr(), "SKIPPED: {error:#}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Begins as many connections at once; those that are established are told by [`established`].
fn connections(from: &Place, to: SocketAddr, count: usize) -> Result<Vec<Socket>> {
    from.run(|| {
        let connect = |_| {
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_nonblocking(true)?;
            match socket.connect(&to.into()) {
                Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
                _ => Ok(socket),
            }
        };
        (0..count).map(connect).collect::<io::Result<Vec<Socket>>>()
    })?
    .context("connecting")
}

fn established(sockets: &[Socket]) -> u64 {
    sockets.iter().filter(|socket| socket.peer_addr().is_ok()).count() as u64
}

fn counter(pf: &Pf, name: &str) -> Result<u64> {
    pf.cli_json("stats")?["guard"]["packets"][name].as_u64().with_context(|| format!("no counter {name}"))
}

/// Whether an XDP program is on the host's interface, and in what mode, as the system says it.
fn program(host: &Host) -> Result<String> {
    let shown = host.v4.run(|| Command::new("ip").args(["link", "show", "dev", "eth0"]).output())??;
    let text = String::from_utf8(shown.stdout)?;
    Ok(text.split_whitespace().find(|word| word.starts_with("xdp")).unwrap_or_default().to_owned())
}

async fn chat(from: &Call, to: &mut Call, times: usize) -> Result<()> {
    for number in 0..times {
        let sent = from.media.chat(Scene::ALICE, Scene::BOB, &format!("message {number}")).await?;
        ensure!(to.media.message(SOON).await?.body == sent.body);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_stays_at_the_guard() -> Result<()> {
    let Some(mut network) = Network::for_test()? else { return Ok(()) };
    let trace = Trace::default();
    let home = network.host("pf")?;
    let far_host = network.host("far")?.v4;
    let ue_host = network.host("UE-A")?.v4;
    let flood = network.host("flood")?;
    let far = Party::start("FAR", &far_host, Transport::Udp, Scene::BOB, &trace)?;
    let Some(pf) = start(&home, &far, "auto")? else { return Ok(()) };
    assert_eq!(pf.cli_json("stats")?["guard"]["interfaces"][0]["mode"], "driver");
    assert_eq!(program(&home)?, "xdp");

    let proxy = pf.sip_address(Transport::Udp, home.v4.ip)?;
    let mut ue = Ue::start("UE-A", &ue_host, Device::of_alice("UE-A"), proxy, &trace)?;
    ue.register().await?;
    let calling = ue.invite(Scene::BOB).await?;
    let mut there = far.invited(SOON).await?.accept().await?;
    let here = calling.answered(SOON).await?;
    chat(&here, &mut there, 5).await?;

    // Both families of the flood, and the session goes on.
    for place in [&flood.v4, &flood.v6] {
        let to = pf.msrp.iter().find(|a| a.is_ipv4() == place.ip.is_ipv4()).context("no such listener")?;
        let before = counter(&pf, "drop-connect-rate")?;
        let begin = Instant::now();
        let sockets = connections(place, *to, FLOOD)?;
        chat(&here, &mut there, 50).await?;
        until(SOON, "connections of the flood", || established(&sockets) >= LIMIT).await?;
        let (through, took) = (established(&sockets), begin.elapsed().as_secs());
        assert!(through <= LIMIT * (2 + took), "{through} connections in {took} s");
        assert!(counter(&pf, "drop-connect-rate")? - before >= FLOOD as u64 - LIMIT * (2 + took));
    }
    let table: serde_json::Value = serde_json::from_str(&pf.cli(&["maps", "dump", "guard", "--json"])?)?;
    let row = |source: &str| {
        let rows = table.as_array().into_iter().flatten();
        rows.clone()
            .find(|row| row["source"] == source)
            .cloned()
            .with_context(|| format!("{source} in {table}"))
    };
    for source in [flood.v4.ip.to_string(), "fd77::/64".to_owned()] {
        assert!(row(&source)?["dropped_connections"].as_u64() > Some(100), "{table}");
    }
    let innocent = row(&ue_host.ip.to_string())?;
    assert!(innocent["passed"].as_u64() > Some(50) && innocent["dropped_connections"] == 0, "{innocent}");

    // The operator lets more in, without a restart; what the option could not have is refused.
    let refused = pf.cli(&["maps", "set", "guard.connections_per_second", "0"]).unwrap_err().to_string();
    assert!(refused.contains("0 is not within 1 to 1000000"), "{refused}");
    let done = pf.cli(&["maps", "set", "guard.connections_per_second", "5000"])?;
    assert!(done.contains("guard.connections_per_second: 20 -> 5000"), "{done}");
    let to = pf.msrp.iter().find(|a| a.is_ipv4()).context("no IPv4 listener")?;
    let sockets = connections(&flood.v4, *to, FLOOD)?;
    until(SOON, "all connections", || established(&sockets) == FLOOD as u64).await?;
    assert!(pf.cli(&["maps"])?.contains("GUARD_SOURCES"));
    chat(&here, &mut there, 5).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_guard_stays_behind() -> Result<()> {
    let Some(mut network) = Network::for_test()? else { return Ok(()) };
    let home = network.host("pf")?;
    let far = Party::start("FAR", &network.host("far")?.v4, Transport::Udp, Scene::BOB, &Trace::default())?;
    for (mode, shown, signal) in [
        ("driver", "xdp", libc::SIGKILL),
        ("skb", "xdpgeneric", libc::SIGKILL),
        ("auto", "xdp", libc::SIGTERM),
    ] {
        let Some(pf) = start(&home, &far, mode)? else { return Ok(()) };
        assert_eq!(program(&home)?, shown, "{mode}");
        // A second one does not take its place.
        let second = start(&home, &far, mode).err().map(|error| format!("{error:#}")).unwrap_or_default();
        assert!(second.contains("`eth0` has another XDP program"), "{second}");
        assert_eq!(program(&home)?, shown, "{mode}");
        let pid = pf.pid().context("it runs")?.cast_signed();
        // SAFETY: the process is a child of this one that nobody has waited for.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
        until(SOON, "the program to be gone", || program(&home).is_ok_and(|word| word.is_empty())).await?;
    }
    Ok(())
}
