//! CANCEL of UE-A's INVITE (RFC 3261 section 9): before the far end has said anything, while it rings, and too late.

use anyhow::Result;
use lab::{
    actor::{Calling, Interworking, Scene},
    sip::{Message, SdpOptions},
    wait::{QUIET, SOON, until},
};

/// The next provisional response but 100.
pub(crate) async fn progress(calling: &mut Calling) -> Result<Message> {
    loop {
        let response = calling.tx.response(SOON).await?;
        if response.code() != 100 {
            return Ok(response);
        }
    }
}

async fn nothing_is_left(scene: &Scene) -> Result<()> {
    until(SOON, "no session to be left", || {
        scene.pf.cli_json("sessions").is_ok_and(|list| list.as_array().is_some_and(Vec::is_empty))
    })
    .await?;
    // No other device has heard of it.
    scene.device(1).agent.no_request(QUIET).await?;
    scene.verify()
}

#[tokio::test]
async fn before_the_far_end_has_said_anything() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B"]).await?;
    let calling = scene.a().invite(Scene::BOB).await?;
    let invited = scene.far.invited(SOON).await?;
    assert_eq!(calling.tx.cancel(None).await?.last(SOON).await?.code(), 200);
    assert_eq!(calling.refused(SOON).await?.code(), 487);
    // A CANCEL goes out when there is an answer that shows that the INVITE has arrived (section 9.1).
    assert!(scene.trace.sip("pf", "FAR", "CANCEL").is_empty());
    invited.request.answer(180, "Ringing").await?;
    let cancel = invited.request.cancelled(SOON).await?;
    assert_eq!(cancel.branch(), invited.request.message.branch());
    invited.request.acked(SOON).await?;
    nothing_is_left(&scene).await
}

#[tokio::test]
async fn while_it_rings() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B"]).await?;
    let mut calling = scene.a().invite(Scene::BOB).await?;
    let invited = scene.far.invited(SOON).await?;
    invited.request.answer(180, "Ringing").await?;
    assert_eq!(progress(&mut calling).await?.code(), 180);
    let reason = "SIP;cause=200;text=\"Call completed elsewhere\"";
    assert_eq!(calling.tx.cancel(Some(reason)).await?.last(SOON).await?.code(), 200);
    assert_eq!(calling.refused(SOON).await?.code(), 487);
    assert_eq!(invited.request.cancelled(SOON).await?.header("Reason"), Some(reason));
    invited.request.acked(SOON).await?;
    nothing_is_left(&scene).await
}

#[tokio::test]
async fn a_yes_that_crosses_it_gets_ack_and_bye() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B"]).await?;
    let calling = scene.a().invite(Scene::BOB).await?;
    let invited = scene.far.invited(SOON).await?;
    assert_eq!(calling.tx.cancel(None).await?.last(SOON).await?.code(), 200);
    assert_eq!(calling.refused(SOON).await?.code(), 487);
    let request = invited.request.clone();
    let offer = invited.offer()?;
    let mut far = invited.negotiate(offer, &SdpOptions::setup("passive"), |_| {}).await?;
    request.acked(SOON).await?;
    far.hung_up().await?;
    nothing_is_left(&scene).await
}

#[tokio::test]
async fn while_one_iwf_has_answered_and_another_is_asked() -> Result<()> {
    let policy = "interworking_wait_seconds = 1\ninterworking_rejected_streams = true";
    let lab = Interworking::start(&["UE-A", "UE-B"], policy).await?;
    cancelled_between_iwfs(&lab).await?;
    nothing_is_left(&lab.scene).await
}

/// UE-A gives up when one IWF has answered and another one rings: whatever is pending is cancelled, what has been
/// answered gets a BYE.
pub(crate) async fn cancelled_between_iwfs(lab: &Interworking) -> Result<()> {
    let (calling, invited) = lab.invite(|_| {}).await?;
    let mut first = invited.accept_for(&lab.iwfs[0], &[0], "passive").await?;
    let second = lab.isf.invited(SOON).await?;
    second.request.answer(180, "Ringing").await?;
    assert_eq!(calling.calling.tx.cancel(None).await?.last(SOON).await?.code(), 200);
    assert_eq!(calling.calling.refused(SOON).await?.code(), 487);
    second.request.cancelled(SOON).await?;
    second.request.acked(SOON).await?;
    first.hung_up().await?;
    Ok(())
}

#[tokio::test]
async fn after_the_answer_it_changes_nothing() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let mut calling = scene.a().invite(Scene::BOB).await?;
    let far = scene.far.invited(SOON).await?.accept().await?;
    let answer = calling.last(SOON).await?;
    assert_eq!(calling.tx.cancel(None).await?.last(SOON).await?.code(), 200);
    let a = calling.acknowledge(answer).await?;
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "too late").await?;
    let mut far = far;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
    assert!(scene.trace.sip("pf", "FAR", "CANCEL").is_empty());
    scene.verify()
}

crate::over_tcp::the_same_over_tcp!(
    before_the_far_end_has_said_anything,
    while_it_rings,
    a_yes_that_crosses_it_gets_ack_and_bye,
    while_one_iwf_has_answered_and_another_is_asked,
    after_the_answer_it_changes_nothing
);
