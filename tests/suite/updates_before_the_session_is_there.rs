//! RFC 3311 section 5.2 on both sides of `pf`: UPDATE while the INVITE still waits for its final answer.

use anyhow::{Result, ensure};
use lab::{
    actor::Scene,
    sip::{Dialog, Message, SdpOptions, Start},
    wait::SOON,
};

use crate::{
    an_invitation_can_be_cancelled_at_any_time::progress,
    reliable_progress_is_acknowledged::early,
    sessions_change_on_the_way::{accept, changed},
};

/// Refused for now: 500 with a Retry-After of 0 to 10 s.
fn later(answer: &Message) -> Result<()> {
    let after: u32 = answer.required("Retry-After")?.parse()?;
    ensure!(answer.code() == 500 && after <= 10, "{} {after}", answer.summary());
    Ok(())
}

#[tokio::test]
async fn an_offer_of_the_far_end_waits_until_the_client_has_its_answer() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let calling = scene.a().invite(Scene::BOB).await?;
    let invited = scene.far.invited(SOON).await?;
    let request = invited.request.clone();
    request.answer(180, "Ringing").await?;
    let offer = invited.request.message.body.clone();
    let mut dialog = Dialog::callee(&scene.far.agent, &invited.request)?;
    // Without an offer it is answered at once.
    let update = dialog.request("UPDATE").with("Contact", scene.far.contact());
    let answer = dialog.send(update).await?.last(SOON).await?;
    assert_eq!((answer.code(), answer.body.is_empty()), (200, true));
    ensure!(answer.required("Contact")?.contains("127.0.0.1"));
    // pf's own offer waits for its answer.
    let mut update = dialog.request("UPDATE").with("Contact", scene.far.contact());
    update.set_body("application/sdp", offer.clone());
    assert_eq!(dialog.send(update).await?.last(SOON).await?.code(), 491);

    // It answers before the 200, in a reliable response: then it may offer, but UE-A's offer is still open.
    let reliable = |answer: &mut Message| {
        answer.start = Start::Response { code: 183, reason: "Session Progress".to_owned() };
        answer.set("Require", "100rel");
        answer.set("RSeq", "1");
    };
    let mut far = invited.accept_with(&SdpOptions::setup("passive"), reliable).await?;
    far.dialog.expect("PRACK", SOON).await?.answer(200, "OK").await?;
    // The same dialog: its numbers go on.
    far.dialog.request("UPDATE");
    far.dialog.request("UPDATE");
    let mut update = far.dialog.request("UPDATE").with("Contact", scene.far.contact());
    update.set_body("application/sdp", changed(&far.answer.body)?);
    later(&far.dialog.send(update).await?.last(SOON).await?)?;
    // What it has said already changes nothing.
    let mut update = far.dialog.request("UPDATE").with("Contact", scene.far.contact());
    update.set_body("application/sdp", far.answer.body.clone());
    let answer = far.dialog.send(update).await?.last(SOON).await?;
    assert_eq!((answer.code(), &answer.body), (200, &request.message.body));
    assert!(
        scene.trace.sip("pf", "UE-A", "UPDATE").is_empty()
            && scene.trace.sip("pf", "UE-A", "INVITE sip:").is_empty()
    );

    // After the answer to UE-A the same change goes through.
    request.respond(request.reply(200, "OK").with("Contact", far.party.contact())).await?;
    let mut a = calling.answered(SOON).await?;
    request.acked(SOON).await?;
    let mut update = far.dialog.request("UPDATE").with("Contact", scene.far.contact());
    update.set_body("application/sdp", changed(&far.answer.body)?);
    let mut tx = far.dialog.send(update).await?;
    let at_a = a.dialog.expect("INVITE", SOON).await?;
    ensure!(String::from_utf8_lossy(&at_a.message.body).contains("text/html"));
    accept(&a, &at_a, changed(&a.invite.body)?).await?;
    assert_eq!(tx.last(SOON).await?.code(), 200);
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "hello").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
    let (bye, done) = tokio::join!(far.hung_up(), a.hang_up());
    bye?;
    done?;
    scene.verify()
}

#[tokio::test]
async fn the_clients_own_offer_waits_for_the_answer_to_its_first() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let pf = scene.at;
    let mut calling = scene.a().invite(Scene::BOB).await?;
    let invited = scene.far.invited(SOON).await?;
    invited.request.answer(180, "Ringing").await?;
    let ringing = progress(&mut calling).await?;
    let update = |cseq| early(calling.invite(), &ringing, "UPDATE", cseq);
    let contact = scene.a().contact();
    let plain = update(2)?.with("Contact", contact.clone());
    let answer = scene.a().agent.send(plain, pf).await?.last(SOON).await?;
    assert_eq!((answer.code(), answer.body.is_empty()), (200, true));
    let mut offer = update(3)?.with("Contact", contact);
    offer.set_body("application/sdp", changed(&calling.invite().body)?);
    later(&scene.a().agent.send(offer, pf).await?.last(SOON).await?)?;
    assert!(scene.trace.sip("pf", "FAR", "UPDATE").is_empty());
    let mut far = invited.accept().await?;
    let a = calling.answered(SOON).await?;
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "hello").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
    scene.verify()
}

crate::over_tcp::the_same_over_tcp!(
    an_offer_of_the_far_end_waits_until_the_client_has_its_answer,
    the_clients_own_offer_waits_for_the_answer_to_its_first
);
