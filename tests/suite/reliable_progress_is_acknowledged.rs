//! RFC 3262 on both sides of `pf`: a caller that requires reliable provisional responses, and a far end that sends
//! them.

use anyhow::{Context, Result};
use lab::{
    actor::Scene,
    sip::{Message, SdpOptions, Start, uri},
    wait::{QUIET, SOON},
};

use crate::an_invitation_can_be_cancelled_at_any_time::progress;

/// A request of the caller in the early dialog that `response` has made.
pub(crate) fn early(invite: &Message, response: &Message, method: &str, cseq: u32) -> Result<Message> {
    Ok(Message::request(method, uri(response.required("Contact")?))
        .with("From", invite.required("From")?)
        .with("To", response.required("To")?)
        .with("Call-ID", invite.required("Call-ID")?)
        .with("CSeq", format!("{cseq} {method}")))
}

#[tokio::test]
async fn a_caller_that_requires_it_gets_it_repeated_until_its_prack() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let options = SdpOptions::setup("active");
    let require = |invite: &mut Message| invite.set("Require", "100rel");
    let mut calling = scene.a().invite_with(Scene::BOB, &options, require).await?;
    let invited = scene.far.invited(SOON).await?;
    assert_eq!(invited.request.message.header("Require"), None, "each side has its own");
    invited.request.answer(180, "Ringing").await?;
    let first = progress(&mut calling).await?;
    let again = progress(&mut calling).await?;
    assert_eq!((first.code(), first.header("Require")), (180, Some("100rel")));
    let number = first.required("RSeq")?.to_owned();
    assert_eq!(again.header("RSeq"), Some(number.as_str()), "the same once more");
    let to = scene.at;
    for (rack, code) in [("1 1 INVITE".to_owned(), 481), (format!("{number} 1 INVITE"), 200)] {
        let cseq = if code == 200 { 3 } else { 2 };
        let prack = early(calling.invite(), &first, "PRACK", cseq)?.with("RAck", rack);
        assert_eq!(scene.a().agent.send(prack, to).await?.last(SOON).await?.code(), code);
    }
    assert!(scene.trace.sip("pf", "FAR", "PRACK").is_empty(), "the far end's was not reliable");
    let mut far = invited.accept().await?;
    let a = calling.answered(SOON).await?;
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "hello").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
    scene.verify()
}

#[tokio::test]
async fn the_far_ends_gets_its_prack_and_may_bring_the_answer() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let options = SdpOptions::setup("active");
    let mut calling = scene
        .a()
        .invite_with(Scene::BOB, &options, |invite| invite.set("Supported", "timer, 100rel"))
        .await?;
    let invited = scene.far.invited(SOON).await?;
    let request = invited.request.clone();
    assert!(request.message.required("Supported")?.contains("100rel"));
    let reliable = |answer: &mut Message| {
        answer.start = Start::Response { code: 183, reason: "Session Progress".to_owned() };
        answer.set("Require", "100rel");
        answer.set("RSeq", "4711");
    };
    let mut far = invited.accept_with(&SdpOptions::setup("passive"), reliable).await?;
    let prack = far.dialog.expect("PRACK", SOON).await?;
    assert_eq!(
        prack.message.header("RAck"),
        Some(format!("4711 {} INVITE", request.message.cseq()).as_str())
    );
    assert_eq!(prack.message.cseq(), request.message.cseq() + 1);
    prack.answer(200, "OK").await?;
    let seen = progress(&mut calling).await?;
    assert_eq!((seen.code(), seen.header("RSeq"), seen.body.len()), (183, None, 0));
    // Its repetition is no news, neither for the far end nor for the caller.
    request.respond(far.answer.clone()).await?;
    far.dialog.next_request(QUIET).await.err().context("another PRACK")?;
    let ok = request.reply(200, "OK").with("Contact", far.party.contact());
    request.respond(ok).await?;
    let a = calling.answered(SOON).await?;
    request.acked(SOON).await?;
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "hello").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
    scene.verify()
}

crate::over_tcp::the_same_over_tcp!(
    a_caller_that_requires_it_gets_it_repeated_until_its_prack,
    the_far_ends_gets_its_prack_and_may_bring_the_answer
);
