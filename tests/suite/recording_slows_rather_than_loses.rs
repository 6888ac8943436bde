//! A store that cannot follow slows those whose session is recorded, and nobody else; nothing is lost.

use anyhow::{Context, Result};
use lab::{
    actor::{Scene, SceneOptions},
    msrp::Outgoing,
    store::Journal,
    wait::{self, QUIET, SOON},
};

use crate::{
    a_recorded_session_is_stored_word_by_word::{compare, recorded},
    fast::{diagnosis, fast, open_minded},
};

const MESSAGES: usize = 400;

async fn slows(scene: &Scene) -> Result<()> {
    let journal = Journal::of(&scene.pf);
    let (mut a, mut far, _others) = scene.full_call_with(&open_minded()).await?;
    journal.grown_to(1).await?;
    let mut said = Vec::new();
    for number in 0..10 {
        said.push(a.media.chat(Scene::ALICE, Scene::BOB, &format!("message {number}")).await?);
    }
    let held = journal.hold()?;
    let message = |number: usize| {
        let text = format!("message {number} {}", "y".repeat(900));
        Outgoing { explicit_end: true, ..Outgoing::chat(Scene::ALICE, Scene::BOB, &text) }
    };
    let mut sendings = Vec::new();
    for number in 10..MESSAGES {
        let message = message(number);
        sendings.push(a.media.send(&message).await?);
        said.push(message);
    }
    let recording = || scene.pf.cli_json("stats").map(|stats| stats["recording"].clone()).unwrap_or_default();
    wait::until(SOON, "recording is held up", || recording()["holding"] == true).await?;
    // The bound holds, but for what one turn brings in at once; nothing is stored, and nothing lost.
    tokio::time::sleep(QUIET).await;
    let now = recording();
    assert!(now["waiting_octets"].as_u64().is_some_and(|waiting| waiting < 700_000), "{now}");
    assert_eq!((&now["lost"], &now["held"]), (&0.into(), &1.into()));
    assert!(scene.pf.log().contains("cannot follow"), "{}", scene.pf.log());
    drop(held);
    let begin = std::time::Instant::now();
    for (number, sending) in sendings.into_iter().enumerate() {
        sending.accepted(SOON).await.with_context(|| format!("{number} {}", diagnosis(scene)))?;
    }
    assert!(begin.elapsed() < SOON / 2, "they go on at once: {:?}", begin.elapsed());
    let (bye, ends) = tokio::join!(a.dialog.bye(None), far.hung_up());
    assert_eq!(bye?.code(), 200);
    ends?;
    compare(&journal, "sent", &said, &a)?;
    assert_eq!(recording()["holding"], false);
    scene.verify()
}

#[tokio::test]
async fn recording_slows_rather_than_loses() -> Result<()> {
    let scene =
        Scene::start(SceneOptions { fast_path: "off", ..recorded("recording_octets = 20000") }).await?;
    slows(&scene).await
}

#[tokio::test]
async fn recording_slows_the_fast_path_too() -> Result<()> {
    match fast(recorded("recording_octets = 20000")).await? {
        Some(scene) => slows(&scene).await,
        None => Ok(()),
    }
}
