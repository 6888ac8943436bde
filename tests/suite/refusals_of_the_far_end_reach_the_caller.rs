//! The far end says no, or UE-A changes its mind.

use anyhow::Result;
use lab::{
    actor::Scene,
    wait::{QUIET, SOON},
};

// Rows: RSP-01, RSP-04
#[tokio::test]
async fn refusals_of_the_far_end_reach_the_caller() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B"]).await?;
    for code in [404, 408, 480, 486, 488, 503, 603, 606] {
        let calling = scene.a().invite(Scene::BOB).await?;
        let invited = scene.far.invited(SOON).await?;
        invited.refuse(code, "No").await?;
        assert_eq!(calling.refused(SOON).await?.code(), code);
        invited.request.acked(SOON).await?;
    }
    scene.device(1).agent.no_request(QUIET).await?;
    scene.verify()
}

// Rows: AMB-36
#[tokio::test]
async fn ringing_is_passed_on_and_a_cancel_too() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B"]).await?;
    let mut calling = scene.a().invite(Scene::BOB).await?;
    let invited = scene.far.invited(SOON).await?;
    invited.request.respond(invited.request.reply(180, "Ringing")).await?;
    loop {
        match calling.tx.response(SOON).await?.code() {
            100 => {}
            180 => break,
            code => panic!("{code} instead of 180"),
        }
    }
    assert_eq!(calling.tx.cancel(None).await?.last(SOON).await?.code(), 200);
    invited.request.cancelled(SOON).await?;
    assert_eq!(calling.refused(SOON).await?.code(), 487);
    scene.device(1).agent.no_request(QUIET).await?;
    scene.verify()
}

crate::over_tcp::the_same_over_tcp!(
    refusals_of_the_far_end_reach_the_caller,
    ringing_is_passed_on_and_a_cancel_too
);
