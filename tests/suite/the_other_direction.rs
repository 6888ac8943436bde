//! What the far end and the other devices say.

use anyhow::Result;
use lab::{
    actor::{Scene, SceneOptions},
    msrp::Outgoing,
    wait::{QUIET, SOON},
};

// Rows: AMB-34
#[tokio::test]
async fn what_the_far_end_says_reaches_every_device() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B", "UE-C"]).await?;
    let (mut a, far, mut others) = scene.full_call().await?;
    for text in ["hello Alice", &"y".repeat(50_000)] {
        let sent = far.media.chat(Scene::BOB, Scene::ALICE, text).await?;
        for call in [&mut a].into_iter().chain(&mut others) {
            let got = call.media.message(SOON).await?;
            assert_eq!((got.message_id, got.body), (sent.message_id.clone(), sent.body.clone()));
        }
    }
    Ok(())
}

// Rows: AMB-34
#[tokio::test]
async fn what_the_far_end_says_stays_with_the_originator_by_policy() -> Result<()> {
    let policy = "copy_far = false".to_owned();
    let scene = Scene::start(SceneOptions { policy, ..SceneOptions::default() }).await?;
    let (mut a, far, mut others) = scene.full_call().await?;
    let sent = far.media.chat(Scene::BOB, Scene::ALICE, "for you alone").await?;
    assert_eq!(a.media.message(SOON).await?.body, sent.body);
    others[0].media.quiet(QUIET).await
}

// Rows: AMB-34
#[tokio::test]
async fn another_device_may_speak_too() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B", "UE-C"]).await?;
    let (mut a, mut far, mut others) = scene.full_call().await?;
    let message = Outgoing::chat(Scene::ALICE, Scene::BOB, "from my other device");
    others[0].media.send(&message).await?.accepted(SOON).await?;
    assert_eq!(far.media.message(SOON).await?.body, message.body);
    assert_eq!(a.media.message(SOON).await?.body, message.body);
    assert_eq!(others[1].media.message(SOON).await?.body, message.body);
    others[0].media.quiet(QUIET / 4).await
}
