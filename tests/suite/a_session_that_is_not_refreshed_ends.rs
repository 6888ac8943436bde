//! RFC 4028: the client promised to refresh, and does not; the far end knows nothing of the session any more; and an
//! interval that is too short.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::{
    actor::{Scene, SceneOptions},
    sip::{SdpOptions, Transport},
    wait::{QUIET, SOON, never},
};

// Rows: TMR-01, TMR-02, TMR-07, TMR-08
#[tokio::test]
async fn a_session_that_is_not_refreshed_ends() -> Result<()> {
    // It takes a minute, so both at once.
    let (udp, tcp) = tokio::join!(ends(Transport::Udp), ends(Transport::Tcp));
    udp.and(tcp)
}

async fn ends(transport: Transport) -> Result<()> {
    let options =
        SceneOptions { devices: vec!["UE-A", "UE-B"], transport, core: transport, ..SceneOptions::default() };
    let scene = Scene::start(options).await?;
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
    let b_bye = b.dialog.expect("BYE", SOON).await?;
    // Media stays until the BYEs are answered, of each leg until its own is.
    never(QUIET, "the end of UE-A's media", a.media.closed(SOON)).await?;
    assert!(far.media.is_up() && b.media.is_up());
    b_bye.answer(200, "OK").await?;
    b.media.closed(SOON).await?;
    a_bye.answer(200, "OK").await?;
    a.media.closed(SOON).await?;
    assert!(far.media.is_up());
    far_bye.answer(200, "OK").await?;
    far.media.closed(SOON).await?;
    scene.verify()
}

// Rows: TMR-01
#[tokio::test]
async fn a_far_end_that_has_lost_the_session_ends_it_for_all() -> Result<()> {
    let policy = "session_expires = 90".into();
    let scene =
        Scene::start(SceneOptions { devices: vec!["UE-A"], policy, ..SceneOptions::default() }).await?;
    // UE-A refreshes its own leg, much later.
    let calling = scene
        .a()
        .invite_with(Scene::BOB, &SdpOptions::setup("active"), |invite| {
            invite.headers.push(("Session-Expires".into(), "1800;refresher=uac".into()));
        })
        .await?;
    let mut far = scene.far.invited(SOON).await?.accept().await?;
    let mut a = calling.answered(SOON).await?;
    // At half the interval `pf` refreshes the far end's; the lab's takes no UPDATE.
    let refresh = far.dialog.expect("INVITE", Duration::from_secs(60)).await?;
    ensure!(refresh.message.required("Session-Expires")?.starts_with("90"), "{:?}", refresh.message);
    refresh.answer(481, "Call/Transaction Does Not Exist").await?;
    a.hung_up().await?;
    a.media.closed(SOON).await?;
    scene.verify()
}

#[tokio::test]
async fn too_short_an_interval_is_refused_with_the_least_one() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let calling = scene
        .a()
        .invite_with(Scene::BOB, &SdpOptions::setup("active"), |invite| {
            invite.headers.push(("Session-Expires".into(), "60;refresher=uac".into()));
        })
        .await?;
    let refusal = calling.refused(SOON).await?;
    assert_eq!((refusal.code(), refusal.header("Min-SE")), (422, Some("90")));
    scene.far.agent.no_request(QUIET).await?;
    scene.verify()
}

crate::over_tcp::the_same_over_tcp!(too_short_an_interval_is_refused_with_the_least_one);
