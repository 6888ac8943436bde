//! Whatever the interfaces do for the kernel, every packet that the kernel programs send has right checksums: each is
//! looked at behind the receiver's end of the wire, where hardware would have completed it.

use anyhow::{Context, Result, ensure};
use lab::{
    actor::{Scene, SceneOptions},
    msrp::Outgoing,
    net::Network,
    offload::Offload,
    path::Way,
    wait::SOON,
};

use crate::fast::{PAUSE, diagnosis, fast_on, open_minded, rounds, shares};

const MESSAGES: u64 = 120;

/// A chat whose originator and whose `pf` have these offloads on or off; with `wire`, what the originator sends comes
/// from a wire: its checksums are complete, and nobody has verified them.
async fn chat(ipv6: bool, sender: bool, pf: bool, wire: bool) -> Result<()> {
    let Some(mut network) = Network::for_test()? else { return Ok(()) };
    let receivers = ["FAR", "UE-B", "UE-C"];
    receivers.iter().for_each(|name| network.put_behind(name, 1));
    if wire {
        network.put_behind("UE-A", 1);
    }
    let Some(scene) = fast_on(network, SceneOptions { ipv6, ..SceneOptions::default() }).await? else {
        return Ok(());
    };
    let network = scene.network()?;
    for (name, on) in [("UE-A", sender), ("pf", pf)] {
        // A link that is a wire has none.
        let has = !wire || name == "pf";
        if has && !on {
            for what in Offload::ALL {
                network.offload(name, what, false)?;
            }
        }
    }
    let about = format!("IPv6 {ipv6}, offloads of sender {sender}, of pf {pf}, from a wire {wire}");
    let (mut a, mut far, mut others) = scene.full_call_with(&open_minded()).await?;
    for _ in rounds() {
        let before = shares(&scene)?.0;
        for number in 0..20 {
            a.media.chat(Scene::ALICE, Scene::BOB, &format!("warming up {number}")).await?;
            far.media.message(SOON).await?;
        }
        for other in &mut others {
            for _ in 0..20 {
                other.media.message(SOON).await?;
            }
        }
        if shares(&scene)?.0 - before > 15 {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    let packets =
        || -> Result<u64> { receivers.iter().map(|name| Ok(network.path(name)?.counts(Way::In).data)).sum() };
    let (before, (kernel, _)) = (packets()?, shares(&scene)?);
    for number in 0..MESSAGES {
        // Odd and even lengths, from a few octets to whole packets; from both ends.
        let text = format!("{number} {}", "-wonderland".repeat(number as usize * 7 % 60))
            + &"x".repeat(number as usize % 5);
        let message = Outgoing { explicit_end: true, ..Outgoing::chat(Scene::ALICE, Scene::BOB, &text) };
        let (from, to) = if number % 3 == 0 { (&far, &mut a) } else { (&a, &mut far) };
        let sending = from.media.send(&message).await?;
        sending.accepted(SOON).await.with_context(|| format!("{about}: {number}\n{}", diagnosis(&scene)))?;
        ensure!(to.media.message(SOON).await?.body == message.body, "{about}: {number} altered");
        for other in &mut others {
            ensure!(other.media.message(SOON).await?.body == message.body, "{about}: {number} altered");
        }
    }
    let kernel = shares(&scene)?.0 - kernel;
    ensure!(kernel * 2 > MESSAGES, "{about}: {kernel} in the kernel\n{}", diagnosis(&scene));
    // Each of them as a packet to each receiver, the far end's own to two.
    ensure!(packets()? - before >= kernel * 2, "{about}: the packets were not looked at");
    for name in receivers.iter().chain(wire.then_some(&"UE-A")) {
        network.path(name)?.verify().with_context(|| format!("{about}: {name}"))?;
    }
    Ok(())
}

async fn every_way(ipv6: bool) -> Result<()> {
    for (sender, pf, wire) in [
        (true, true, false),
        (false, true, false),
        (true, false, false),
        (false, false, false),
        (true, true, true),
        (true, false, true),
    ] {
        chat(ipv6, sender, pf, wire).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_fast_path_sends_right_checksums() -> Result<()> {
    every_way(false).await
}

#[tokio::test]
async fn the_fast_path_sends_right_checksums_over_ipv6() -> Result<()> {
    every_way(true).await
}
