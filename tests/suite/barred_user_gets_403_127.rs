//! A user who may not start sessions is refused with the words that clients look for.

use anyhow::Result;
use lab::{
    actor::{Scene, SceneOptions},
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
