//! Devices that refuse, or never answer, cost their own leg only.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::{
    actor::{Scene, SceneOptions},
    wait::SOON,
};

/// Times of different sockets may differ by that much from the order in which things were sent.
const SLACK: Duration = Duration::from_millis(250);

// Rows: DD-06
#[tokio::test]
async fn a_rude_device_delays_nobody() -> Result<()> {
    let scene = Scene::start(SceneOptions {
        devices: vec!["UE-A", "UE-B", "UE-C", "UE-D"],
        ..SceneOptions::default()
    })
    .await?;
    let begin = Instant::now();
    let calling = scene.a().invite(Scene::BOB).await?;
    let invited = scene.far.invited(SOON).await?;
    // Who were invited without waiting for this answer would be so by far.
    tokio::time::sleep(2 * SLACK).await;
    let (far, a) = tokio::join!(invited.accept(), calling.answered(SOON));
    let (mut far, a) = (far?, a?);
    let busy = scene.device(1).invited(SOON).await?;
    busy.refuse(486, "Busy Here").await?;
    // UE-C never answers.
    let _silent = scene.device(2).invited(SOON).await?;
    let mut willing = scene.device(3).invited(SOON).await?.accept().await?;
    willing.media.ready(SOON).await?;
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "hello").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
    assert_eq!(willing.media.message(SOON).await?.body, sent.body);
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    busy.request.acked(SOON).await?;
    // Devices are asked after UE-A has its 200, never before.
    let trace = scene.trace.entries();
    let at = |from: &str, to: &str, what: &str| {
        trace.iter().find(|e| e.from == from && e.to == to && e.summary.starts_with(what)).map(|e| e.at)
    };
    let answered = at("pf", "UE-A", "200 OK (INVITE)").context("no 200")?;
    for device in ["UE-B", "UE-C", "UE-D"] {
        let invited = at("pf", device, "INVITE").context("not invited")?;
        assert!(invited + SLACK > answered, "{device} was invited first");
    }
    scene.verify()
}

// Rows: DD-06
#[tokio::test]
async fn a_device_that_never_answers_is_cancelled() -> Result<()> {
    let policy = "device_answer_seconds = 1".to_owned();
    let scene =
        Scene::start(SceneOptions { policy, devices: vec!["UE-A", "UE-B"], ..SceneOptions::default() })
            .await?;
    let (a, mut far) = scene.call().await?;
    let silent = scene.device(1).invited(SOON).await?;
    silent.request.respond(silent.request.reply(180, "Ringing")).await?;
    silent.request.cancelled(SOON).await?;
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "hello").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
    scene.verify()
}
