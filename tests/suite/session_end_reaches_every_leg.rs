//! BYE from either side.

use std::time::Duration;

use anyhow::Result;
use lab::{
    actor::{Party, Scene, SceneOptions},
    net::Place,
    sip::Transport,
    wait::{QUIET, SOON, never, until},
};

const COMPLETED: &str = "SIP;cause=200;text=\"Call completed\"";

// Rows: BYE-07, BYE-11, BYE-12, BYE-13, BYE-14, BYE-18, BYE-19, BYE-21, BYE-22
#[tokio::test]
async fn the_originators_bye_ends_everything_and_is_answered_last() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B", "UE-C"]).await?;
    let (mut a, mut far, mut others) = scene.full_call().await?;
    let mut bye = a.dialog.start_bye(Some(COMPLETED)).await?;
    let far_bye = far.dialog.expect("BYE", SOON).await?;
    assert_eq!(far_bye.message.header("Reason"), Some(COMPLETED));
    // UE-A's media goes at once, the far end's answer is still to come.
    a.media.closed(SOON).await?;
    for call in &mut others {
        call.hung_up().await?;
        call.media.closed(SOON).await?;
    }
    never(QUIET, "the 200 to UE-A's BYE", bye.last(SOON)).await?;
    far_bye.answer(200, "OK").await?;
    assert_eq!(bye.last(SOON).await?.code(), 200);
    far.media.closed(SOON).await?;
    until(SOON, "no session to be left", || {
        scene.pf.cli_json("sessions").is_ok_and(|list| list.as_array().is_some_and(Vec::is_empty))
    })
    .await?;
    // Exactly one 200.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(scene.trace.sip("pf", "UE-A", "200 OK (BYE)").len(), 1);
    scene.verify()
}

// Rows: BYE-03, BYE-04
#[tokio::test]
async fn a_bye_without_reason_ends_the_session_too() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B"]).await?;
    let (mut a, mut far, mut others) = scene.full_call().await?;
    let ends = async {
        far.hung_up().await?;
        others[0].hung_up().await
    };
    let (bye, ends) = tokio::join!(a.dialog.bye(None), ends);
    ends?;
    assert_eq!(bye?.code(), 200);
    Ok(())
}

// Rows: BYE-15
#[tokio::test]
async fn a_device_that_does_not_answer_its_bye_holds_nobody_up() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B"]).await?;
    let (mut a, mut far, mut others) = scene.full_call().await?;
    let (bye, ends) = tokio::join!(a.dialog.bye(Some(COMPLETED)), far.hung_up());
    ends?;
    assert_eq!(bye?.code(), 200);
    let unanswered = others[0].dialog.expect("BYE", SOON).await?;
    assert_eq!(unanswered.message.method(), "BYE");
    Ok(())
}

// Rows: BYE-05, BYE-24, BYE-26, BYE-27, BYE-28
#[tokio::test]
async fn the_far_ends_bye_is_answered_after_the_originators() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B", "UE-C"]).await?;
    let (mut a, mut far, mut others) = scene.full_call().await?;
    let mut bye = far.dialog.start_bye(None).await?;
    let a_bye = a.dialog.expect("BYE", SOON).await?;
    for call in &mut others {
        call.hung_up().await?;
    }
    never(QUIET, "the 200 to the far end's BYE", bye.last(SOON)).await?;
    assert!(a.media.is_up() && far.media.is_up(), "media stays till then");
    a_bye.answer(200, "OK").await?;
    assert_eq!(bye.last(SOON).await?.code(), 200);
    for call in [&mut a, &mut far].into_iter().chain(&mut others) {
        call.media.closed(SOON).await?;
    }
    until(SOON, "no session to be left", || {
        scene.pf.cli_json("sessions").is_ok_and(|list| list.as_array().is_some_and(Vec::is_empty))
    })
    .await?;
    scene.verify()
}

// Rows: BYE-06, BYE-29
#[tokio::test]
async fn the_far_ends_reason_reaches_every_device() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B", "UE-C"]).await?;
    for reason in ["SIP;cause=410;text=\"Gone\"", "SIP ; cause=480 ; text=\"Bearer unavailable\""] {
        let (mut a, mut far, mut others) = scene.full_call().await?;
        let ends = async {
            let first = a.hung_up().await?;
            let second = others[0].hung_up().await?;
            let third = others[1].hung_up().await?;
            anyhow::Ok([first, second, third])
        };
        let (bye, ends) = tokio::join!(far.dialog.bye(Some(reason)), ends);
        assert_eq!(bye?.code(), 200);
        for message in ends? {
            assert_eq!(message.header("Reason"), Some(reason));
        }
    }
    Ok(())
}

// Rows: BYE-17
#[tokio::test]
async fn the_bye_goes_where_the_session_went_and_nowhere_else() -> Result<()> {
    let trace = lab::trace::Trace::default();
    let isf = Party::start("ISF", &Place::loopback(8), Transport::usual(), "sip:isf@x", &trace)?;
    let options =
        SceneOptions { devices: vec!["UE-A"], isf: Some(isf.agent.local()), ..SceneOptions::default() };
    let scene = Scene::start(options).await?;
    for (target, there, elsewhere) in
        [(Scene::BOB, &scene.far, &isf), ("mailto:carol@mail.example", &isf, &scene.far)]
    {
        let calling = scene.a().invite(target).await?;
        let mut far = there.invited(SOON).await?.accept().await?;
        let mut a = calling.answered(SOON).await?;
        let (bye, done) = tokio::join!(far.hung_up(), a.hang_up());
        bye?;
        done?;
        elsewhere.agent.no_request(QUIET).await?;
    }
    scene.verify()
}

crate::over_tcp::the_same_over_tcp!(
    the_originators_bye_ends_everything_and_is_answered_last,
    a_bye_without_reason_ends_the_session_too,
    a_device_that_does_not_answer_its_bye_holds_nobody_up,
    the_far_ends_bye_is_answered_after_the_originators,
    the_far_ends_reason_reaches_every_device,
    the_bye_goes_where_the_session_went_and_nowhere_else
);
