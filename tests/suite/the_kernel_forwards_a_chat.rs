//! With the fast path, an ordinary chat passes the process of `pf` by, and every leg gets what it would get without.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{
    actor::{Call, Scene, SceneOptions},
    msrp::Outgoing,
    wait::{QUIET, SOON},
};

use crate::fast::{diagnosis, fast, open_minded, rounds, shares};

/// Of up to 700 characters, or of up to 12,000 where they may be long.
fn hello(from: &str, to: &str, number: usize, long: bool) -> Outgoing {
    let length = if long { number * 7919 % 12_000 } else { number * 37 % 700 };
    let text = format!("message {number} {}", "x".repeat(length));
    Outgoing { explicit_end: true, chunk: 20_000, ..Outgoing::chat(from, to, &text) }
}

async fn everybody_got(calls: &mut [&mut Call], sent: &[Outgoing]) -> Result<()> {
    for call in calls {
        for (number, message) in sent.iter().enumerate() {
            let name = &call.party.name;
            let got = call.media.message(SOON).await.with_context(|| format!("{name}: message {number}"))?;
            ensure!(got.message_id == message.message_id, "{name}: another message than number {number}");
            ensure!(got.body == message.body && got.content_type == message.content_type, "{name}: altered");
        }
        call.media.quiet(QUIET / 4).await?;
        call.media.verify()?;
    }
    Ok(())
}

/// So often, 400 messages are said.
const TRIES: usize = 5;

async fn chat(scene: &Scene, long: bool, least: u64) -> Result<()> {
    let (mut a, mut far, others) = scene.full_call_with(&open_minded()).await?;
    let mut others = others;
    // From both sides, so that every leg is known.
    let mut warm = Vec::new();
    for number in 0..6 {
        let (from, to) = [(&a, Scene::BOB), (&far, Scene::ALICE)][number % 2];
        let message = hello(Scene::ALICE, to, number, long);
        from.media.send(&message).await?.accepted(SOON).await.context("warming up")?;
        warm.push(message);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut sent = Vec::new();
    for _ in rounds() {
        let (kernel, passed) = shares(scene)?;
        for number in 0..400 {
            let message = hello(Scene::ALICE, Scene::BOB, number, long);
            let sending = a.media.send(&message).await?;
            sending
                .accepted(SOON)
                .await
                .with_context(|| format!("message {number}\n{}", diagnosis(scene)))?;
            sent.push(message);
        }
        let (kernel_now, passed_now) = shares(scene)?;
        let (kernel, passed) = (kernel_now - kernel, passed_now - passed);
        let outcome = || format!("{kernel} in the kernel, {passed} in userspace\n{}", diagnosis(scene));
        ensure!(kernel + passed == 400, "{}", outcome());
        if kernel * 100 > 400 * least {
            break;
        }
        // Once the machine may be busy with something else.
        ensure!(sent.len() < 400 * TRIES, "{}", outcome());
    }
    let ours: Vec<Outgoing> = warm.iter().step_by(2).cloned().collect();
    let theirs: Vec<Outgoing> = warm.iter().skip(1).step_by(2).cloned().collect();
    everybody_got(&mut [&mut far], &[ours, sent.clone()].concat()).await?;
    everybody_got(&mut [&mut a], &theirs).await?;
    let all = [warm, sent].concat();
    everybody_got(&mut others.iter_mut().collect::<Vec<_>>(), &all).await?;
    scene.verify()
}

/// At least so many of a hundred messages stay in the kernel. A long one may come in two parts, or fill its share of the
/// log where the machine is busy.
async fn chat_in(options: SceneOptions, long: bool) -> Result<()> {
    let least = match (long, options.datapath.is_empty()) {
        (false, _) => 99,
        (true, true) => 75,
        // A share of a few messages.
        (true, false) => 15,
    };
    match fast(options).await? {
        Some(scene) => chat(&scene, long, least).await,
        None => Ok(()),
    }
}

#[tokio::test]
async fn the_kernel_forwards_a_chat() -> Result<()> {
    chat_in(SceneOptions::default(), false).await
}

/// A message longer than a segment is one packet for the programs where interfaces take such packets.
#[tokio::test]
async fn the_kernel_forwards_long_messages() -> Result<()> {
    chat_in(SceneOptions::default(), true).await
}

#[tokio::test]
async fn the_kernel_forwards_long_messages_over_ipv6() -> Result<()> {
    chat_in(SceneOptions { ipv6: true, ..SceneOptions::default() }, true).await
}

#[tokio::test]
async fn the_kernel_forwards_a_chat_over_ipv6() -> Result<()> {
    chat_in(SceneOptions { ipv6: true, ..SceneOptions::default() }, false).await
}

#[tokio::test]
async fn the_kernel_forwards_a_chat_on_one_host() -> Result<()> {
    chat_in(SceneOptions { one_host: true, ..SceneOptions::default() }, false).await
}

/// A sender whose share of the log is full waits for a moment, not for ever.
#[tokio::test]
async fn a_full_share_of_the_log_is_soon_given_back() -> Result<()> {
    chat_in(SceneOptions { datapath: "log_per_connection = 65536".into(), ..SceneOptions::default() }, true)
        .await
}
