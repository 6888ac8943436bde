//! `Privacy: id` passes where the operator allows anonymity, and only there.

use anyhow::Result;
use lab::{
    actor::{Scene, SceneOptions},
    sip::{Message, SdpOptions},
    wait::{QUIET, SOON},
};

fn privately(invite: &mut Message) {
    invite.headers.push(("Privacy".into(), "id".into()));
}

// Rows: INV-06
#[tokio::test]
async fn anonymity_not_allowed_is_403_119() -> Result<()> {
    let policy = "allow_anonymity = false".to_owned();
    let scene =
        Scene::start(SceneOptions { policy, devices: vec!["UE-A"], ..SceneOptions::default() }).await?;
    let offer = SdpOptions::setup("active");
    let refusal = scene.a().invite_with(Scene::BOB, &offer, privately).await?.refused(SOON).await?;
    assert_eq!(refusal.code(), 403);
    let warning = refusal.required("Warning")?;
    assert!(warning.ends_with(" \"119 Anonymity not allowed\""), "{warning}");
    scene.far.agent.no_request(QUIET).await?;
    // The same user without Privacy gets through.
    let _session = scene.call().await?;
    Ok(())
}

// Rows: INV-06
#[tokio::test]
async fn anonymity_passes_where_it_is_allowed() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let offer = SdpOptions::setup("active");
    let calling = scene.a().invite_with(Scene::BOB, &offer, privately).await?;
    let invited = scene.far.invited(SOON).await?;
    assert_eq!(invited.request.message.header("Privacy"), Some("id"));
    let _far = invited.accept().await?;
    let _a = calling.answered(SOON).await?;
    Ok(())
}

// Rows: INV-01
#[tokio::test]
async fn the_first_of_several_faults_is_named() -> Result<()> {
    let barred = format!("barred = [\"{}\"]\n", Scene::ALICE);
    let version = "client_version = { minimum = \"9.9\" }\n";
    let privacy = "allow_anonymity = false\n";
    for (policy, text) in [
        (format!("{barred}{version}{privacy}"), "127 Service not authorised"),
        (format!("{version}{privacy}"), "132 Version not supported"),
    ] {
        let options = SceneOptions { policy, devices: vec!["UE-A"], ..SceneOptions::default() };
        let scene = Scene::start(options).await?;
        let offer = SdpOptions::setup("active");
        let refusal = scene.a().invite_with(Scene::BOB, &offer, privately).await?.refused(SOON).await?;
        assert_eq!(refusal.code(), 403);
        let warning = refusal.required("Warning")?;
        assert!(warning.contains(text), "{warning}");
        scene.far.agent.no_request(QUIET / 4).await?;
    }
    Ok(())
}

crate::over_tcp::the_same_over_tcp!(
    anonymity_not_allowed_is_403_119,
    anonymity_passes_where_it_is_allowed,
    the_first_of_several_faults_is_named
);
