//! Everything over IPv6, each actor on a host of its own.

use anyhow::Result;
use lab::{
    actor::{Device, Party, Scene, Ue},
    net::Network,
    pf::{Pf, PfOptions},
    sip::Transport,
    trace::Trace,
    wait::SOON,
};

// Rows: MED-17, MED-18
#[tokio::test]
async fn ipv6_legs() -> Result<()> {
    let Some(mut network) = Network::for_test()? else { return Ok(()) };
    let trace = Trace::default();
    let home = network.host("pf")?.v6;
    let far_host = network.host("far")?.v6;
    let far = Party::start("FAR", &far_host, Transport::Udp, Scene::BOB, &trace)?;
    let mut options = PfOptions::new(&home);
    options.core = Some(far.agent.local());
    let pf = Pf::start(&options)?;
    let proxy = pf.sip_address(Transport::Udp, home.ip)?;
    let mut devices = Vec::new();
    for name in ["UE-A", "UE-B"] {
        let host = network.host(name)?.v6;
        let mut ue = Ue::start(name, &host, Device::of_alice(name), proxy, &trace)?;
        ue.register().await?;
        devices.push(ue);
    }
    let calling = devices[0].invite(Scene::BOB).await?;
    let mut there = far.invited(SOON).await?.accept().await?;
    let here = calling.answered(SOON).await?;
    let mut b = devices[1].invited(SOON).await?.accept().await?;
    b.media.ready(SOON).await?;
    there.media.ready(SOON).await?;
    let sent = here.media.chat(Scene::ALICE, Scene::BOB, "hello").await?;
    assert_eq!(there.media.message(SOON).await?.body, sent.body);
    assert_eq!(b.media.message(SOON).await?.body, sent.body);
    Ok(())
}
