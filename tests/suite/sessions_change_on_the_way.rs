//! re-INVITE inside a session (clause 8.2.2.5).

use anyhow::{Context, Result};
use lab::{
    actor::{Call, Scene, SceneOptions},
    msrp::Outgoing,
    sip::{Message, Sdp, ServerRequest, Start},
    store::Journal,
    wait::{QUIET, SOON},
};

use super::storing_comes_before_the_end::recording;

/// A description that says something more in accept-wrapped-types, with the next version.
pub(crate) fn changed(body: &[u8]) -> Result<Vec<u8>> {
    let text = std::str::from_utf8(body)?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for line in &mut lines {
        if line.starts_with("a=accept-wrapped-types:") {
            line.push_str(" text/html");
        } else if line.starts_with("o=") {
            let mut parts: Vec<&str> = line.split(' ').collect();
            let next = (parts[2].parse::<u64>()? + 1).to_string();
            parts[2] = &next;
            *line = parts.join(" ");
        }
    }
    Ok((lines.join("\r\n") + "\r\n").into_bytes())
}

/// The next re-INVITE of a call with this offer.
pub(crate) fn re_invite(call: &mut Call, body: Vec<u8>) -> Message {
    let mut request = call.dialog.request("INVITE").with("Contact", call.party.contact());
    for name in ["Accept-Contact", "User-Agent", "Supported", "P-Preferred-Service"] {
        request = request.with(name, call.invite.header(name).unwrap_or_default());
    }
    request.set_body("application/sdp", body);
    request
}

pub(crate) async fn accept(call: &Call, request: &ServerRequest, body: Vec<u8>) -> Result<()> {
    let mut answer = request.reply(200, "OK").with("Contact", call.party.contact());
    answer.set_body("application/sdp", body);
    request.respond(answer).await
}

/// A message of UE-A reaches everybody.
pub(crate) async fn talk(a: &Call, others: &mut [&mut Call], text: &str) -> Result<()> {
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, text).await?;
    for call in others {
        let got = call.media.message(SOON).await.with_context(|| format!("{text}: {}", call.party.name))?;
        assert_eq!(got.body, sent.body, "{}", call.party.name);
    }
    Ok(())
}

// Rows: MOD-02, MOD-03, MOD-07, MOD-08, MOD-09, MOD-15, MOD-16
#[tokio::test]
async fn a_change_of_the_originator_reaches_the_far_end_and_the_devices() -> Result<()> {
    let scene = recording(&["UE-A", "UE-B", "UE-C"]).await?;
    let journal = Journal::of(&scene.pf);
    let (mut a, mut far, mut others) = scene.full_call().await?;
    let (b, c) = others.split_at_mut(1);
    let (b, c) = (&mut b[0], &mut c[0]);
    talk(&a, &mut [&mut far, b, c], "before").await?;

    let offer = changed(&a.invite.body)?;
    let request = re_invite(&mut a, offer);
    let number = request.cseq();
    let mut tx = a.dialog.send(request).await?;
    let at_far = far.dialog.expect("INVITE", SOON).await?;
    let message = &at_far.message;
    assert_eq!(message.header("Call-ID"), far.invite.header("Call-ID"), "in the dialog");
    assert_eq!(message.cseq(), far.invite.cseq() + 1);
    assert_eq!(message.header("Contact"), far.invite.header("Contact"));
    let (before, now) = (Sdp::parse(&far.invite.body)?, Sdp::parse(&message.body)?);
    assert_eq!(now.msrp()?.path()?, before.msrp()?.path()?, "pf's own path, as before");
    let types = now.msrp()?.attribute("accept-wrapped-types").unwrap_or_default().to_owned();
    assert!(types.contains("text/html"), "{types}");
    for device in [&mut *b, &mut *c] {
        device
            .dialog
            .next_request(QUIET / 4)
            .await
            .err()
            .context("a device heard before FAR had answered")?;
    }
    accept(&far, &at_far, changed(&far.answer.body)?).await?;

    let answer = tx.last(SOON).await?;
    assert_eq!(answer.code(), 200);
    assert!(answer.required("Server")?.starts_with("CPM-serv/OMA2.2"));
    assert_eq!(answer.header("Contact"), a.answer.header("Contact"));
    let line = Sdp::parse(&answer.body)?.msrp()?.clone();
    assert_eq!(line.path()?, a.peer_sdp.msrp()?.path()?);
    assert_eq!(line.attribute("setup"), Some("passive"));
    let types = line.attribute("accept-wrapped-types").unwrap_or_default();
    assert!(types.contains("text/html"), "FAR's answer comes back: {types}");
    a.dialog.ack(number, None).await?;
    assert_eq!(at_far.acked(SOON).await?.cseq(), message.cseq());

    for device in [&mut *b, &mut *c] {
        let offered = device.dialog.expect("INVITE", SOON).await?;
        assert_eq!(offered.message.header("Call-ID"), device.invite.header("Call-ID"));
        let (before, now) = (Sdp::parse(&device.invite.body)?, Sdp::parse(&offered.message.body)?);
        assert_eq!(now.msrp()?.path()?, before.msrp()?.path()?, "the device's own leg");
        let types = now.msrp()?.attribute("accept-wrapped-types").unwrap_or_default().to_owned();
        assert!(types.contains("text/html"), "{types}");
        accept(device, &offered, changed(&device.answer.body)?).await?;
        offered.acked(SOON).await?;
    }

    talk(&a, &mut [&mut far, b, c], "after").await?;
    for device in [1, 2] {
        scene.device(device).agent.no_request(QUIET / 4).await.context("no second leg to a device")?;
    }
    let infos = journal.kinds()?.iter().filter(|kind| *kind == "session-info").count();
    assert_eq!(infos, 1, "the session is recorded once");
    scene.verify()
}

// Rows: MOD-02, MOD-07, MOD-09
#[tokio::test]
async fn a_change_that_the_far_end_refuses_leaves_the_session_as_it_was() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B"]).await?;
    let (mut a, mut far, mut others) = scene.full_call().await?;
    let offer = changed(&a.invite.body)?;
    let request = re_invite(&mut a, offer);
    let mut tx = a.dialog.send(request).await?;
    far.dialog.expect("INVITE", SOON).await?.answer(488, "Not Acceptable Here").await?;
    assert_eq!(tx.last(SOON).await?.code(), 488);
    talk(&a, &mut [&mut far, &mut others[0]], "as before").await?;
    others[0].dialog.next_request(QUIET / 4).await.err().context("B heard of it")?;
    scene.verify()
}

#[tokio::test]
async fn the_checks_apply_to_a_change_too_and_the_session_lives_on() -> Result<()> {
    let policy = "allow_anonymity = false".to_owned();
    let scene = Scene::start(SceneOptions { policy, ..SceneOptions::default() }).await?;
    let (mut a, mut far, mut others) = scene.full_call().await?;
    let offer = changed(&a.invite.body)?;
    let request = re_invite(&mut a, offer).with("Privacy", "id");
    let refusal = a.dialog.send(request).await?.last(SOON).await?;
    assert_eq!(refusal.code(), 403);
    let warning = refusal.required("Warning")?;
    assert!(warning.ends_with(" \"119 Anonymity not allowed\""), "{warning}");
    far.dialog.next_request(QUIET).await.err().context("FAR heard of it")?;
    let (b, c) = others.split_at_mut(1);
    talk(&a, &mut [&mut far, &mut b[0], &mut c[0]], "as before").await?;
    scene.verify()
}

// Rows: MOD-17
#[tokio::test]
async fn a_refresh_changes_nothing_and_disturbs_no_message() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B"]).await?;
    let (a, far, mut others) = scene.full_call().await?;
    let mut calls = [a, far, others.remove(0)];
    // Of UE-A, of the far end, of the other device; each with INVITE and with UPDATE.
    for (no, method) in
        [(0, "INVITE"), (1, "INVITE"), (2, "INVITE"), (0, "UPDATE"), (1, "UPDATE"), (2, "UPDATE")]
    {
        let message = Outgoing::chat(Scene::ALICE, Scene::BOB, &"x".repeat(500_000)).chunked(10_000);
        let sending = calls[0].media.send(&message).await?;
        let call = &mut calls[no];
        let name = format!("{method} of {}", call.party.name);
        // UE-A has offered and pf has answered; of the others it is the other way round.
        let (ours, theirs) =
            if no == 0 { (&call.invite, &call.answer) } else { (&call.answer, &call.invite) };
        let (ours, theirs) = (ours.body.clone(), theirs.body.clone());
        let mut request = re_invite(call, ours);
        if method == "UPDATE" {
            request = as_update(request);
        }
        let number = request.cseq();
        let answer = call.dialog.send(request).await?.last(SOON).await?;
        assert_eq!(answer.code(), 200, "{name}");
        assert!(answer.body == theirs, "{name}: o= and all else as before");
        if method == "INVITE" {
            call.dialog.ack(number, None).await?;
        }
        sending.accepted(SOON).await?;
        for (other, call) in calls.iter_mut().enumerate() {
            if other > 0 {
                assert!(call.media.message(SOON).await?.body == message.body, "{name}");
            }
            call.dialog.next_request(QUIET / 4).await.err().context("a refresh is of its leg alone")?;
        }
    }
    scene.verify()
}

/// The same as UPDATE.
fn as_update(mut request: Message) -> Message {
    request.start = Start::Request { method: "UPDATE".to_owned(), uri: request.uri().to_owned() };
    request.set("CSeq", format!("{} UPDATE", request.cseq()));
    request
}

crate::over_tcp::the_same_over_tcp!(
    a_change_of_the_originator_reaches_the_far_end_and_the_devices,
    a_change_that_the_far_end_refuses_leaves_the_session_as_it_was,
    the_checks_apply_to_a_change_too_and_the_session_lives_on,
    a_refresh_changes_nothing_and_disturbs_no_message
);
