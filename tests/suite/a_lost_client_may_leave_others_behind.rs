//! A BYE that a core node sent because it lost the client (clause 8.2.2.3 step 4).

use anyhow::Result;
use lab::{
    actor::Scene,
    wait::{QUIET, SOON},
};

use crate::sessions_change_on_the_way::{accept, changed, re_invite};

const LOST: &str = "SIP;cause=503;text=\"Service Unavailable\"";

// Rows: BYE-10, BYE-49
#[tokio::test]
async fn without_another_device_the_bye_goes_on_to_the_far_end() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let (mut a, mut far) = scene.call().await?;
    let (bye, ends) = tokio::join!(a.dialog.bye(Some(LOST)), far.hung_up());
    assert_eq!(bye?.code(), 200);
    assert_eq!(ends?.header("Reason"), Some(LOST));
    far.media.closed(SOON).await?;
    scene.verify()
}

// Rows: BYE-10, AMB-16
#[tokio::test]
async fn with_another_device_the_session_goes_on_for_it() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B"]).await?;
    let (mut a, mut far, mut others) = scene.full_call().await?;
    assert_eq!(a.dialog.bye(Some(LOST)).await?.code(), 200);
    a.media.closed(SOON).await?;
    let b = &mut others[0];
    let sent = b.media.chat(Scene::ALICE, Scene::BOB, "on my tablet").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
    assert!(scene.trace.sip("pf", "FAR", "BYE").is_empty());
    b.media.quiet(QUIET / 4).await?;
    // The far end can still end it.
    let (bye, ends) = tokio::join!(far.dialog.bye(None), b.hung_up());
    assert_eq!(bye?.code(), 200);
    ends?;
    scene.verify()
}

// Rows: BYE-06
#[tokio::test]
async fn of_several_reasons_the_sip_cause_decides() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B"]).await?;
    let (mut a, mut far, mut others) = scene.full_call().await?;
    let lost = "Q.850;cause=16;text=\"SIP;cause=200, that is\", SIP ; cause=503";
    assert_eq!(a.dialog.bye(Some(lost)).await?.code(), 200);
    let sent = others[0].media.chat(Scene::ALICE, Scene::BOB, "on my tablet").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
    let (bye, ends) = tokio::join!(far.dialog.bye(None), others[0].hung_up());
    assert_eq!(bye?.code(), 200);
    ends?;

    let (mut a, mut far, mut others) = scene.full_call().await?;
    let left = "Q.850 ;cause=41, sip;text=\"cause=503\" ; cause=200";
    let ends = async {
        far.hung_up().await?;
        others[0].hung_up().await
    };
    let (bye, ends) = tokio::join!(a.dialog.bye(Some(left)), ends);
    assert_eq!(bye?.code(), 200);
    ends?;
    scene.verify()
}

// Rows: AMB-16
#[tokio::test]
async fn the_far_end_can_still_be_heard_by_the_device_that_is_left() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B"]).await?;
    let (mut a, far, mut others) = scene.full_call().await?;
    assert_eq!(a.dialog.bye(Some(LOST)).await?.code(), 200);
    a.media.closed(SOON).await?;
    let sent = far.media.chat(Scene::BOB, Scene::ALICE, "are you there?").await?;
    assert_eq!(others[0].media.message(SOON).await?.body, sent.body);
    Ok(())
}

// Rows: AMB-16
#[tokio::test]
async fn a_late_yes_to_the_lost_clients_re_invite_ends_nothing() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B"]).await?;
    let (mut a, mut far, mut others) = scene.full_call().await?;
    let offer = changed(&a.invite.body)?;
    let request = re_invite(&mut a, offer);
    let mut change = a.dialog.send(request).await?;
    let at_far = far.dialog.expect("INVITE", SOON).await?;
    assert_eq!(a.dialog.bye(Some(LOST)).await?.code(), 200);
    assert_eq!(change.last(SOON).await?.code(), 487);
    // No provisional response: there is nothing yet that a CANCEL could be sent for.
    accept(&far, &at_far, changed(&far.answer.body)?).await?;
    at_far.acked(SOON).await?;
    // The far end hears again what is agreed.
    let again = far.dialog.expect("INVITE", SOON).await?;
    accept(&far, &again, far.answer.body.clone()).await?;
    again.acked(SOON).await?;
    let b = &mut others[0];
    let sent = b.media.chat(Scene::ALICE, Scene::BOB, "on my tablet").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
    assert!(scene.trace.sip("pf", "FAR", "BYE").is_empty());
    let (bye, ends) = tokio::join!(far.dialog.bye(None), b.hung_up());
    assert_eq!(bye?.code(), 200);
    ends?;
    scene.verify()
}

// Rows: BYE-23
#[tokio::test]
async fn a_far_end_that_does_not_answer_its_bye_does_not_hold_the_originator_for_ever() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let (mut a, mut far) = scene.call().await?;
    let mut bye = a.dialog.start_bye(None).await?;
    let _unanswered = far.dialog.expect("BYE", SOON).await?;
    assert_eq!(bye.last(SOON * 4).await?.code(), 200);
    lab::wait::until(SOON, "no session to be left", || {
        scene.pf.cli_json("sessions").is_ok_and(|list| list.as_array().is_some_and(Vec::is_empty))
    })
    .await
}

crate::over_tcp::the_same_over_tcp!(
    without_another_device_the_bye_goes_on_to_the_far_end,
    with_another_device_the_session_goes_on_for_it,
    of_several_reasons_the_sip_cause_decides,
    the_far_end_can_still_be_heard_by_the_device_that_is_left,
    a_late_yes_to_the_lost_clients_re_invite_ends_nothing
);
