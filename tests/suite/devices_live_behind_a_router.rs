//! With the fast path, two devices behind one router: two legs with one next hop, each with its own copies.

use anyhow::{Context, Result, ensure};
use lab::{
    actor::{Scene, SceneOptions},
    msrp::Outgoing,
    net::Network,
    wait::SOON,
};

use crate::fast::{PAUSE, diagnosis, fast_on, got, left, open_minded, rounds, shares};

fn hello(number: usize) -> Outgoing {
    let text = format!("message {number} {}", "x".repeat(number * 53 % 900));
    Outgoing { explicit_end: true, ..Outgoing::chat(Scene::ALICE, Scene::BOB, &text) }
}

async fn routed(ipv6: bool) -> Result<()> {
    let Some(mut network) = Network::for_test()? else { return Ok(()) };
    network.put_behind_router(&["UE-B", "UE-C"])?;
    let options = SceneOptions { ipv6, ..SceneOptions::default() };
    let Some(scene) = fast_on(network, options).await? else { return Ok(()) };
    let (mut a, mut far, mut others) = scene.full_call_with(&open_minded()).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in rounds() {
        let before = shares(&scene)?;
        for number in 0..100 {
            let message = hello(round * 100 + number);
            let (from, said) = if number % 2 == 0 { (&a, &mut ours) } else { (&far, &mut theirs) };
            let sending = from.media.send(&message).await?.accepted(SOON).await;
            sending.with_context(|| format!("message {number}\n{}", diagnosis(&scene)))?;
            said.push(message);
        }
        let now = shares(&scene)?;
        if now.0 - before.0 >= 90 {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    let (kernel, passed) = shares(&scene)?;
    ensure!(kernel >= 90, "{kernel} in the kernel, {passed} not\n{}", diagnosis(&scene));
    eprintln!("{kernel} in the kernel, {passed} not, left {:?}", left(&scene)?);
    got(&scene, &mut far, &ours).await?;
    got(&scene, &mut a, &theirs).await?;
    // One after the other, as everything waits for its answer.
    let mut all = Vec::new();
    for (ours, theirs) in ours.into_iter().zip(theirs) {
        all.extend([ours, theirs]);
    }
    for other in &mut others {
        got(&scene, other, &all).await?;
    }
    scene.verify()
}

#[tokio::test]
async fn devices_live_behind_a_router() -> Result<()> {
    routed(false).await
}

#[tokio::test]
async fn devices_live_behind_a_router_of_ipv6() -> Result<()> {
    routed(true).await
}
