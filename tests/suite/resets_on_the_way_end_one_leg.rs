//! With the fast path, a connection that is reset in the middle ends alone, or ends its session cleanly: what everybody
//! else has heard is whole, and nothing of it twice.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{
    actor::{Call, Scene, SceneOptions},
    msrp::{Incoming, Outgoing},
    net::Network,
    path::Way,
    wait::SOON,
};

use crate::fast::{Hogs, PAUSE, diagnosis, fast_on, open_minded, rounds, shares};

fn hello(number: usize) -> Outgoing {
    let text = format!("message {number} {}", "x".repeat(number * 53 % 700));
    Outgoing { explicit_end: true, ..Outgoing::chat(Scene::ALICE, Scene::BOB, &text) }
}

async fn says(a: &Call, numbers: std::ops::Range<usize>) -> Result<Vec<Outgoing>> {
    let mut sent = Vec::new();
    for number in numbers {
        let message = hello(number);
        a.media.send(&message).await?.accepted(SOON).await.with_context(|| format!("message {number}"))?;
        sent.push(message);
    }
    Ok(sent)
}

async fn running() -> Result<Option<(Scene, Call, Call, Vec<Call>, Vec<Outgoing>)>> {
    let Some(mut network) = Network::for_test()? else { return Ok(None) };
    for name in ["FAR", "UE-A", "UE-B", "UE-C"] {
        network.put_behind(name, 1);
    }
    let Some(scene) = fast_on(network, SceneOptions::default()).await? else { return Ok(None) };
    let (a, far, others) = scene.full_call_with(&open_minded()).await?;
    let sent = in_the_kernel(&scene, &a, 0).await?;
    Ok(Some((scene, a, far, others, sent)))
}

/// Talks until the kernel carries most of it.
async fn in_the_kernel(scene: &Scene, a: &Call, from: usize) -> Result<Vec<Outgoing>> {
    let mut sent = Vec::new();
    for _ in rounds() {
        let (before, _) = shares(scene)?;
        let number = from + sent.len();
        sent.extend(says(a, number..number + 40).await?);
        let (after, _) = shares(scene)?;
        if after - before >= 32 {
            return Ok(sent);
        }
        tokio::time::sleep(PAUSE).await;
    }
    anyhow::bail!("not in the kernel\n{}", diagnosis(scene))
}

/// How much it has heard until its connection ended or nothing more came: a beginning of what was said, octet by octet.
async fn heard(call: &mut Call, sent: &[Outgoing], ended: bool) -> Result<usize> {
    let name = call.party.name.clone();
    for (number, message) in sent.iter().enumerate() {
        let got = match call.media.next(if ended { SOON / 5 } else { SOON }).await {
            Ok(Incoming::Message(got)) => got,
            Ok(Incoming::Closed(_)) if ended => return Ok(number),
            Err(_) if ended => return Ok(number),
            other => anyhow::bail!("{name}: {other:?} instead of message {number}"),
        };
        ensure!(got.message_id == message.message_id, "{name}: another message than {number}");
        ensure!(got.body == message.body, "{name}: message {number} altered");
    }
    call.media.verify()?;
    Ok(sent.len())
}

async fn a_devices_reset(way: Way, busy: bool) -> Result<()> {
    let Some((scene, a, mut far, mut others, mut sent)) = running().await? else { return Ok(()) };
    let hogs = busy.then(Hogs::start);
    scene.network()?.path("UE-B")?.reset_next(way);
    let begin = sent.len();
    sent.extend(says(&a, begin..begin + 160).await.with_context(|| diagnosis(&scene))?);
    ensure!(scene.network()?.path("UE-B")?.counts(way).reset == 1, "no reset");
    // Nobody else notices.
    heard(&mut far, &sent, false).await?;
    heard(&mut others[1], &sent, false).await?;
    let count = heard(&mut others[0], &sent, true).await?;
    ensure!((begin - 1..sent.len()).contains(&count), "UE-B heard {count}");
    in_the_kernel(&scene, &a, sent.len()).await?;
    drop(hogs);
    for name in ["FAR", "UE-A", "UE-B", "UE-C"] {
        scene.network()?.path(name)?.verify().context(name)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_device_whose_connection_is_reset_takes_nobody_with_it() -> Result<()> {
    a_devices_reset(Way::In, false).await
}

#[tokio::test]
async fn a_reset_of_a_devices_answer_takes_nobody_with_it() -> Result<()> {
    a_devices_reset(Way::Out, false).await
}

#[tokio::test]
async fn a_reset_device_takes_nobody_with_it_on_a_busy_machine() -> Result<()> {
    a_devices_reset(Way::In, true).await
}

/// A reset of one end of the session: everybody gets a clean beginning of it and a clean end.
async fn an_ends_reset(who: &'static str, way: Way) -> Result<()> {
    let Some((scene, a, mut far, mut others, mut sent)) = running().await? else { return Ok(()) };
    scene.network()?.path(who)?.reset_next(way);
    // Until one is not answered.
    let begin = sent.len();
    let talking = async {
        for number in begin..begin + 160 {
            let message = hello(number);
            sent.push(message.clone());
            let Ok(sending) = a.media.send(&message).await else { return };
            if sending.accepted(Duration::from_secs(3)).await.is_err() {
                return;
            }
        }
    };
    talking.await;
    ensure!(scene.network()?.path(who)?.counts(way).reset == 1, "no reset");
    ensure!(sent.len() < begin + 160, "nobody noticed");
    let mut counts = Vec::new();
    for call in [&mut far].into_iter().chain(&mut others) {
        let count = heard(call, &sent, true).await.with_context(|| diagnosis(&scene))?;
        ensure!(count + 1 >= sent.len() - 1, "{}: {count} of {}", call.party.name, sent.len());
        counts.push(count);
    }
    eprintln!("{who} {way:?}: {counts:?} of {}", sent.len());
    for name in ["FAR", "UE-A", "UE-B", "UE-C"] {
        scene.network()?.path(name)?.verify().context(name)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_reset_of_the_far_end_spoils_no_message() -> Result<()> {
    an_ends_reset("FAR", Way::In).await
}

#[tokio::test]
async fn a_reset_of_the_originator_spoils_no_message() -> Result<()> {
    an_ends_reset("UE-A", Way::Out).await
}
