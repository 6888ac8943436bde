//! A user who may not start sessions is refused with the words that clients look for.

use anyhow::Result;
use lab::{
    actor::{Scene, SceneOptions},
    sip::{Message, SdpOptions},
    wait::{QUIET, SOON},
};

// Rows: INV-03
#[tokio::test]
async fn barred_user_gets_403_127() -> Result<()> {
    let policy = format!("barred = [\"{}\"]", Scene::ALICE);
    let scene = Scene::start(SceneOptions { policy, ..SceneOptions::default() }).await?;
    let refusal = scene.a().invite(Scene::BOB).await?.refused(SOON).await?;
    assert_eq!(refusal.code(), 403);
    let warning = refusal.required("Warning")?;
    assert!(warning.starts_with("399 "), "{warning}");
    assert!(warning.ends_with(" \"127 Service not authorised\""), "{warning}");
    scene.far.agent.no_request(QUIET).await?;
    scene.device(1).agent.no_request(QUIET / 4).await?;
    scene.verify()
}

// Rows: INV-02, INV-03
#[tokio::test]
async fn whom_the_core_asserts_must_be_a_user_and_only_the_core_asserts() -> Result<()> {
    let scene = Scene::unregistered(SceneOptions::default()).await?;
    let offer = SdpOptions::setup("active");
    let asserting =
        |value: &'static str| move |invite: &mut Message| invite.set("P-Asserted-Identity", value);
    // FAR is the core here, which is trusted.
    let mut core = scene.far.clone();
    core.proxy = scene.a().proxy;
    let refusal = core.invite_with(Scene::BOB, &offer, asserting("<sip:eve@elsewhere.example>")).await?;
    let refusal = refusal.refused(SOON).await?;
    assert_eq!(refusal.code(), 403);
    let warning = refusal.required("Warning")?;
    assert!(warning.ends_with(" \"127 Service not authorised\""), "{warning}");
    scene.far.agent.no_request(QUIET).await?;
    let _calling = core.invite_with(Scene::BOB, &offer, asserting("<sip:alice@example.org>")).await?;
    let invited = scene.far.invited(SOON).await?;
    assert_eq!(invited.request.message.header("P-Asserted-Identity"), Some("<sip:alice@example.org>"));

    // A device is not: what it asserts proves nothing.
    let mut stranger = scene.a().party.clone();
    stranger.credentials = None;
    let refusal = stranger.invite_with(Scene::BOB, &offer, asserting("<sip:alice@example.org>")).await?;
    assert_eq!(refusal.refused(SOON).await?.code(), 407);
    scene.far.agent.no_request(QUIET).await
}

// Rows: INV-02
#[tokio::test]
async fn somebody_unknown_does_not_get_through() -> Result<()> {
    let scene = Scene::unregistered(SceneOptions::default()).await?;
    // Not registered, and with the wrong password.
    let mut stranger = scene.a().party.clone();
    if let Some(credentials) = &mut stranger.credentials {
        credentials.password = "guess".to_owned();
    }
    let refusal = stranger.invite(Scene::BOB).await?.refused(SOON).await?;
    assert!(matches!(refusal.code(), 403 | 407), "{}", refusal.summary());
    scene.far.agent.no_request(QUIET).await
}

crate::over_tcp::the_same_over_tcp!(
    barred_user_gets_403_127,
    whom_the_core_asserts_must_be_a_user_and_only_the_core_asserts,
    somebody_unknown_does_not_get_through
);
