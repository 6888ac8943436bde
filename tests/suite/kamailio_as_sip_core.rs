//! Kamailio as the SIP core between `pf` and the far end. `pf`'s INVITE is longer than 1300 octets and so comes over TCP
//! (RFC 3261 section 18.1.1); the far end is on UDP: Kamailio record-routes twice, once per transport.

use std::process::Command;

use anyhow::{Result, ensure};
use lab::{
    actor::{Call, Device, Party, Scene, Ue},
    net::Place,
    pf::{Pf, PfOptions},
    sip::{SdpOptions, Transport},
    trace::Trace,
    wait::SOON,
};

use crate::{
    neighbours::{Directory, Neighbour, free_address, tool},
    sessions_nobody_needs_pf_for_are_proxied::PROXY,
};

/// Everything, with a session that goes through Kamailio.
struct Core {
    _directory: Directory,
    kamailio: Neighbour,
    core: Place,
    pf: Pf,
    here: Call,
    there: Call,
}

/// Starts it all and establishes a session; `None` where Kamailio is not installed.
async fn session(policy: &str) -> Result<Option<Core>> {
    let Some(program) = tool("kamailio", "kamailio")? else { return Ok(None) };
    let (home, core, trace) = (Place::loopback(1), Place::loopback(25), Trace::default());
    let directory = Directory::new("kamailio")?;
    let far = Party::start("FAR", &Place::loopback(9), Transport::Udp, Scene::BOB, &trace)?;
    let address = free_address(&core)?;
    let config = include_str!("../neighbours/kamailio_core.cfg")
        .replace("HOST", &core.ip.to_string())
        .replace("CORE", &address.to_string())
        .replace("FAR", &far.agent.local().to_string());
    let mut command = Command::new(program);
    command.args(["-DD", "-E", "-m", "64", "-M", "8", "-f"]).arg(directory.file("core.cfg", &config)?);
    command.arg("-Y").arg(&directory.0).arg("-P").arg(directory.0.join("pid"));
    let kamailio = Neighbour::start("kamailio", command, &directory)?;
    lab::wait::until(SOON, "Kamailio listens", || std::net::TcpStream::connect(address).is_ok()).await?;

    let mut options = PfOptions::new(&home);
    options.core = Some(address);
    options.trusted = vec![core.ip];
    options.policy = policy.to_owned();
    let pf = Pf::start(&options)?;
    let proxy = pf.sip_address(Transport::Udp, home.ip)?;
    let mut ue = Ue::start("UE-A", &Place::loopback(11), Device::of_alice("A"), proxy, &trace)?;
    ue.register().await?;
    let calling = ue.invite(Scene::BOB).await?;
    let invited = far.invited(SOON).await?;
    ensure!(invited.request.peer.addr.ip() == core.ip, "the INVITE came from {}", invited.request.peer.addr);
    let there = invited.accept_with(&SdpOptions::setup("passive"), |_| {}).await?;
    let here = calling.answered(SOON).await?;
    here.media.ready(SOON).await?;
    there.media.ready(SOON).await?;
    Ok(Some(Core { _directory: directory, kamailio, core, pf, here, there }))
}

// Rows: INV-29, INV-14
#[tokio::test]
async fn a_session_through_the_core_carries_messages_and_ends_along_the_route_set() -> Result<()> {
    let Some(mut s) = session("").await? else { return Ok(()) };
    ensure!(s.there.invite.header("P-Visited-Network-ID") == Some("lab-core"), "not through the core");
    ensure!(s.there.dialog.routes.len() == 2, "Record-Route of both transports: {:?}", s.there.dialog.routes);
    let sent = s.here.media.chat(Scene::ALICE, Scene::BOB, "hello").await?;
    ensure!(s.there.media.message(SOON).await?.body == sent.body, "message towards the far end");
    let sent = s.there.media.chat(Scene::BOB, Scene::ALICE, "hello yourself").await?;
    ensure!(s.here.media.message(SOON).await?.body == sent.body, "message towards the device");
    s.kamailio.says("lab: ACK along the route set", SOON).await?;

    let core = s.core.ip;
    let far = async {
        let bye = s.there.dialog.expect("BYE", SOON).await?;
        ensure!(bye.peer.addr.ip() == core, "the BYE came from {}", bye.peer.addr);
        bye.answer(200, "OK").await
    };
    let (far, near) = tokio::join!(far, s.here.dialog.bye(Some("SIP;cause=200;text=\"Call completed\"")));
    far?;
    let near = near?;
    ensure!(near.code() == 200, "the BYE was answered {}\n{}", near.code(), s.pf.log());
    s.kamailio.says("lab: BYE along the route set", SOON).await?;
    ensure!(!s.kamailio.output().contains("outside the route set"), "{}", s.kamailio.output());
    Ok(())
}

// Rows: INV-26
#[tokio::test]
async fn what_the_far_end_sends_comes_through_the_core_to_pf() -> Result<()> {
    let Some(mut s) = session("").await? else { return Ok(()) };
    // The far end's BYE follows the Record-Routes of pf's INVITE to the Contact that pf put in.
    let near = async {
        let bye = s.here.dialog.expect("BYE", SOON).await?;
        bye.answer(200, "OK").await
    };
    let (near, far) = tokio::join!(near, s.there.dialog.bye(Some("SIP;cause=200")));
    near?;
    let far = far?;
    ensure!(far.code() == 200, "the BYE was answered {}\n{}", far.code(), s.pf.log());
    s.kamailio.says("lab: BYE along the route set", SOON).await?;
    ensure!(!s.kamailio.output().contains("outside the route set"), "{}", s.kamailio.output());
    Ok(())
}

// Rows: PRX-02, PRX-04
#[tokio::test]
async fn as_a_proxy_pf_is_one_hop_of_the_route_set_among_others() -> Result<()> {
    let Some(mut s) = session(PROXY).await? else { return Ok(()) };
    ensure!(s.there.invite.header("P-Visited-Network-ID") == Some("lab-core"), "not through the core");
    ensure!(s.here.dialog.call_id == s.there.dialog.call_id, "two dialogs");
    let ours = s.there.dialog.routes.last().cloned().unwrap_or_default();
    ensure!(ours.contains(&s.pf.sip_address(Transport::Udp, Place::loopback(1).ip)?.to_string()), "{ours}");
    ensure!(s.here.dialog.routes.first() == Some(&ours), "{:?}", s.here.dialog.routes);
    let sent = s.here.media.chat(Scene::ALICE, Scene::BOB, "hello").await?;
    ensure!(s.there.media.message(SOON).await?.body == sent.body, "message");
    s.kamailio.says("lab: ACK along the route set", SOON).await?;

    // A request of each side, then the BYE of the far end.
    let info = s.here.dialog.request("INFO");
    let mut tx = s.here.dialog.send(info).await?;
    s.there.dialog.expect("INFO", SOON).await?.answer(200, "OK").await?;
    ensure!(tx.last(SOON).await?.code() == 200, "INFO\n{}", s.pf.log());
    let near = async {
        let bye = s.here.dialog.expect("BYE", SOON).await?;
        ensure!(bye.peer.addr.ip() == Place::loopback(1).ip, "the BYE came from {}", bye.peer.addr);
        bye.answer(200, "OK").await
    };
    let (near, far) = tokio::join!(near, s.there.dialog.bye(Some("SIP;cause=200")));
    near?;
    let far = far?;
    ensure!(far.code() == 200, "the BYE was answered {}\n{}", far.code(), s.pf.log());
    for what in ["INFO", "BYE"] {
        s.kamailio.says(&format!("lab: {what} along the route set"), SOON).await?;
    }
    ensure!(!s.kamailio.output().contains("outside the route set"), "{}", s.kamailio.output());
    Ok(())
}
