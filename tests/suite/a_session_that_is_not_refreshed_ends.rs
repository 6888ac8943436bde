//! RFC 4028 on leg A: the client promised to refresh, and does not.

use std::time::Duration;

use anyhow::Result;
use lab::{actor::Scene, sip::SdpOptions, wait::SOON};

// Rows: TMR-01, TMR-02, TMR-07, TMR-08
#[tokio::test]
async fn a_session_that_is_not_refreshed_ends() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B"]).await?;
    let calling = scene
        .a()
        .invite_with(Scene::BOB, &SdpOptions::setup("active"), |invite| {
            invite.headers.push(("Session-Expires".into(), "90;refresher=uac".into()));
        })
        .await?;
    let mut far = scene.far.invited(SOON).await?.accept().await?;
    let mut a = calling.answered(SOON).await?;
    assert!(a.answer.required("Session-Expires")?.starts_with("90"));
    let mut b = scene.device(1).invited(SOON).await?.accept().await?;
    let limit = Duration::from_secs(95);
    let a_bye = a.dialog.expect("BYE", limit).await?;
    let far_bye = far.dialog.expect("BYE", SOON).await?;
    b.hung_up().await?;
    // Media stays until the BYEs are answered.
    assert!(far.media.is_up());
    a_bye.answer(200, "OK").await?;
    far_bye.answer(200, "OK").await?;
    far.media.closed(SOON).await?;
    scene.verify()
}
