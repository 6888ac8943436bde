//! RFC 3261 on the wire, for sessions that `pf` is in the media path of: forks, repeated and merged requests, spent
//! ones, dead dialogs, OPTIONS.

use anyhow::Result;
use lab::{
    actor::{Interworking, Party, Scene},
    net::Place,
    sip::{Dialog, Message, SdpOptions, Start, Transport},
    wait::{QUIET, SOON, until},
};

use crate::{
    an_invitation_can_be_cancelled_at_any_time::{cancelled_between_iwfs, progress},
    reliable_progress_is_acknowledged::early,
    sessions_change_on_the_way::{accept, changed},
};

#[tokio::test]
async fn of_several_answers_of_the_far_end_the_first_counts_and_the_others_get_ack_and_bye() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let other = Party::start("FORK", &Place::loopback(8), Transport::usual(), "sip:bob@x", &scene.trace)?;
    let calling = scene.a().invite(Scene::BOB).await?;
    let invited = scene.far.invited(SOON).await?;
    let fork = invited.request.fork(&other.agent);
    let mut second = Dialog::callee(&other.agent, &fork)?;
    let mut far = invited.accept().await?;
    let a = calling.answered(SOON).await?;
    let mut late = fork.reply(200, "OK").with("Contact", other.contact());
    late.set_body("application/sdp", far.answer.body.clone());
    fork.respond(late).await?;
    fork.acked(SOON).await?;
    second.expect("BYE", SOON).await?.answer(200, "OK").await?;
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "still there").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
    assert!(scene.trace.sip("pf", "FAR", "BYE").is_empty());
    scene.verify()
}

#[tokio::test]
async fn repeated_requests_and_answers_are_taken_once_and_answered_again() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let pf = scene.at;
    let mut calling = scene.a().invite(Scene::BOB).await?;
    let invited = scene.far.invited(SOON).await?;
    invited.request.answer(180, "Ringing").await?;
    progress(&mut calling).await?;
    // The INVITE again: the last provisional response again.
    scene.a().agent.send_raw(calling.invite(), pf).await?;
    assert_eq!(progress(&mut calling).await?.code(), 180);
    // The same by another way (section 8.2.2.2).
    let mut merged = calling.invite().clone();
    merged.remove("Via");
    assert_eq!(scene.a().agent.send(merged, pf).await?.last(SOON).await?.code(), 482);
    scene.far.agent.no_request(QUIET).await?;

    let request = invited.request.clone();
    let mut far = invited.accept().await?;
    let mut a = calling.answered(SOON).await?;
    request.acked(SOON).await?;
    // The far end's 200 again: the ACK again.
    let acks = || scene.trace.sip("pf", "FAR", "ACK").len();
    let before = acks();
    request.respond(far.answer.clone()).await?;
    until(SOON, "another ACK", || acks() > before).await?;
    let (bye, ends) = tokio::join!(a.hang_up(), far.hung_up());
    bye?;
    ends?;
    scene.verify()
}

#[tokio::test]
async fn spent_requests_and_dead_dialogs_are_refused() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let options = SdpOptions::setup("active");
    let spend = |invite: &mut Message| invite.set("Max-Forwards", "0");
    let spent = scene.a().invite_with(Scene::BOB, &options, spend).await?;
    assert_eq!(spent.refused(SOON).await?.code(), 483);
    scene.far.agent.no_request(QUIET).await?;

    let (mut a, mut far) = scene.call().await?;
    let mut spent = a.dialog.request("INFO");
    spent.set("Max-Forwards", "0");
    assert_eq!(a.dialog.send(spent).await?.last(SOON).await?.code(), 483);
    let (bye, ends) = tokio::join!(a.hang_up(), far.hung_up());
    bye?;
    ends?;
    for call in [&mut a, &mut far] {
        for method in ["BYE", "INFO", "INVITE", "OPTIONS", "PRACK", "UPDATE"] {
            let request = call.dialog.request(method).with("Contact", call.party.contact());
            let answer = call.dialog.send(request).await?.last(SOON).await?;
            assert_eq!(answer.code(), 481, "{method} of {}", call.party.name);
        }
    }
    scene.verify()
}

#[tokio::test]
async fn options_are_answered_in_and_out_of_a_dialog() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let pf = scene.at;
    let (mut a, mut far) = scene.call().await?;
    let outside = Message::request("OPTIONS", &format!("sip:{pf}"))
        .with("From", format!("<{}>;tag=1", Scene::ALICE))
        .with("To", format!("<sip:{pf}>"))
        .with("Call-ID", lab::token(12))
        .with("CSeq", "1 OPTIONS");
    let mut answers = vec![scene.a().agent.send(outside, pf).await?.last(SOON).await?];
    for call in [&mut a, &mut far] {
        let options = call.dialog.request("OPTIONS");
        answers.push(call.dialog.send(options).await?.last(SOON).await?);
    }
    for answer in answers {
        assert_eq!(answer.code(), 200);
        for (name, value) in [("Allow", "INVITE"), ("Allow", "PRACK"), ("Accept", "application/sdp")] {
            assert!(answer.required(name)?.contains(value), "{name}: {value}");
        }
        let supported = answer.required("Supported")?;
        assert!(supported.contains("timer") && supported.contains("100rel"), "{supported}");
    }
    assert!(scene.trace.sip("pf", "FAR", "OPTIONS sip:").is_empty(), "pf answers itself");
    scene.verify()
}

#[tokio::test]
async fn provisional_responses_pass_with_or_without_description() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let mut calling = scene.a().invite(Scene::BOB).await?;
    let invited = scene.far.invited(SOON).await?;
    let request = invited.request.clone();
    request.answer(180, "Ringing").await?;
    let ringing = progress(&mut calling).await?;
    let mut described = request.reply(183, "Session Progress").with("Contact", scene.far.contact());
    described.set_body("application/sdp", request.message.body.clone());
    request.respond(described).await?;
    let seen = progress(&mut calling).await?;
    for (response, code) in [(&ringing, 180), (&seen, 183)] {
        assert_eq!(response.code(), code);
        // pf's own dialog, and no path past it.
        assert!(response.required("Contact")?.contains("127.0.0.1"), "{response:?}");
        assert_eq!((response.body.len(), response.header("RSeq")), (0, None));
    }
    assert_eq!(ringing.header("To"), seen.header("To"));
    let mut far = invited.accept().await?;
    let a = calling.answered(SOON).await?;
    assert_eq!(a.answer.header("To"), ringing.header("To"));
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "hello").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
    scene.verify()
}

// Rows: INV-14, AMB-36
#[tokio::test]
async fn what_surrounds_the_procedures_in_one_session() -> Result<()> {
    let lab = Interworking::start(&["UE-A"], "interworking_rejected_streams = true").await?;
    let scene = &lab.scene;
    let pf = scene.at;
    let options = SdpOptions::setup("active");
    let require = |invite: &mut Message| invite.set("Require", "100rel");
    let mut calling = scene.a().invite_with(Scene::BOB, &options, require).await?;
    let invited = scene.far.invited(SOON).await?;
    let request = invited.request.clone();
    // Provisional responses and PRACK, on both legs.
    let ringing = |answer: &mut Message| {
        answer.start = Start::Response { code: 180, reason: "Ringing".to_owned() };
        answer.set("Require", "100rel");
        answer.set("RSeq", "1");
    };
    let mut far = invited.accept_with(&SdpOptions::setup("passive"), ringing).await?;
    far.dialog.expect("PRACK", SOON).await?.answer(200, "OK").await?;
    let first = progress(&mut calling).await?;
    let rack = format!("{} 1 INVITE", first.required("RSeq")?);
    let prack = early(calling.invite(), &first, "PRACK", 2)?.with("RAck", rack);
    assert_eq!(scene.a().agent.send(prack, pf).await?.last(SOON).await?.code(), 200);
    let ok = request.reply(200, "OK").with("Contact", far.party.contact()).with("Allow", "UPDATE");
    request.respond(ok).await?;
    let mut a = calling.answered(SOON).await?;
    request.acked(SOON).await?;
    // That number is taken.
    a.dialog.request("PRACK");
    // UPDATE changes the session, and is one for the far end too.
    let mut update = a.dialog.request("UPDATE").with("Contact", a.party.contact());
    update.set_body("application/sdp", changed(&a.invite.body)?);
    let mut tx = a.dialog.send(update).await?;
    let at_far = far.dialog.expect("UPDATE", SOON).await?;
    assert!(String::from_utf8_lossy(&at_far.message.body).contains("text/html"));
    accept(&far, &at_far, changed(&far.answer.body)?).await?;
    let answer = tx.last(SOON).await?;
    assert_eq!((answer.code(), answer.body.is_empty()), (200, false));
    // OPTIONS is answered by pf, REFER by the other side.
    let options = a.dialog.request("OPTIONS");
    assert_eq!(a.dialog.send(options).await?.last(SOON).await?.code(), 200);
    let refer = a.dialog.request("REFER").with("Contact", a.party.contact());
    let mut tx = a.dialog.send(refer.with("Refer-To", "<sip:carol@far.example.net>")).await?;
    let at_far = far.dialog.expect("REFER", SOON).await?;
    assert_eq!(at_far.message.header("Refer-To"), Some("<sip:carol@far.example.net>"));
    at_far.answer(202, "Accepted").await?;
    assert_eq!(tx.last(SOON).await?.code(), 202);
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "after all that").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);

    // CANCEL on leg A, with IWFs.
    cancelled_between_iwfs(&lab).await?;
    lab.verify()
}

crate::over_tcp::the_same_over_tcp!(
    of_several_answers_of_the_far_end_the_first_counts_and_the_others_get_ack_and_bye,
    repeated_requests_and_answers_are_taken_once_and_answered_again,
    spent_requests_and_dead_dialogs_are_refused,
    options_are_answered_in_and_out_of_a_dialog,
    provisional_responses_pass_with_or_without_description,
    what_surrounds_the_procedures_in_one_session
);
