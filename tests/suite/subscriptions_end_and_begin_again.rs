//! Clause 8.2.2.6 with RFC 6665 and RFC 4575: what becomes of the subscription to a group session's participants.

use std::time::Duration;

use anyhow::{Context, Result};
use lab::{
    actor::{Call, ICSI_GROUP, Scene, SceneOptions},
    msrp::Cpim,
    sip::{Dialog, Message, SdpOptions, ServerRequest, uri},
    store::Journal,
    wait::{QUIET, SOON, never, until},
};

use super::{
    a_lost_client_comes_back::{LOST, group, lose, rejoin},
    participants_are_asked_of_the_focus::notify,
    storing_comes_before_the_end::group_call,
};

const RETRY: &str = "subscription_retry_seconds = 3";
const CARL: &str = "sip:carl@far.example.net";
const DORA: &str = "sip:dora@far.example.net";

/// A group session whose client is lost, and the SUBSCRIBE of `pf`.
async fn asked() -> Result<(Scene, Call, ServerRequest, String)> {
    let (scene, mut a, far, identity) = group("allow_defer = true", RETRY, &["UE-A"]).await?;
    lose(&scene, &mut a).await?;
    let subscribe = subscribe(&scene, SOON).await?;
    Ok((scene, far, subscribe, identity))
}

/// The next SUBSCRIBE outside of any dialog.
async fn subscribe(scene: &Scene, limit: Duration) -> Result<ServerRequest> {
    let request = scene.far.agent.next_request(limit).await?;
    assert_eq!(request.message.method(), "SUBSCRIBE", "{}", request.message.summary());
    assert_eq!(request.message.uri(), scene.far.agent.contact_uri("bob"));
    Ok(request)
}

async fn accept(scene: &Scene, far: &Call, subscribe: &ServerRequest) -> Result<Dialog> {
    let dialog = Dialog::callee(&scene.far.agent, subscribe)?;
    let ok = subscribe.reply(200, "OK").with("Contact", far.party.contact()).with("Expires", "3600");
    subscribe.respond(ok).await?;
    Ok(dialog)
}

/// A group session whose client is lost, and the subscription of `pf`.
async fn subscribed() -> Result<(Scene, Call, Dialog, String)> {
    let (scene, far, subscribe, identity) = asked().await?;
    let dialog = accept(&scene, &far, &subscribe).await?;
    Ok((scene, far, dialog, identity))
}

/// A NOTIFY with this part of a document, and its answer.
async fn partial(dialog: &mut Dialog, far: &Call, version: u32, users: &str) -> Result<Message> {
    let mut message = notify(dialog, far, version, "active;expires=3600", &[]);
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><conference-info \
         xmlns=\"urn:ietf:params:xml:ns:conference-info\" entity=\"{}\" state=\"partial\" version=\"{version}\">\
         <users state=\"partial\">{users}</users></conference-info>",
        Scene::BOB
    );
    message.set_body("application/conference-info+xml", body.into_bytes());
    dialog.send(message).await?.last(SOON).await
}

async fn full(dialog: &mut Dialog, far: &Call, version: u32, state: &str, users: &[&str]) -> Result<()> {
    let message = notify(dialog, far, version, state, users);
    assert_eq!(dialog.send(message).await?.last(SOON).await?.code(), 200);
    Ok(())
}

/// Ends the session and gives the participants that were stored with its state.
async fn stored(scene: &Scene, far: &mut Call) -> Result<serde_json::Value> {
    assert_eq!(far.dialog.bye(None).await?.code(), 200);
    let records = Journal::of(&scene.pf).grown_to(1).await?;
    assert_eq!(records[0]["object"], "group-state");
    Ok(records[0]["participants"].clone())
}

// Rows: PART-08
#[tokio::test]
async fn the_operator_says_whether_the_core_trusts_pf() -> Result<()> {
    for (option, header, other) in [
        ("", "P-Asserted-Service", "P-Preferred-Service"),
        ("outside_trust_domain = false", "P-Asserted-Service", "P-Preferred-Service"),
        ("outside_trust_domain = true", "P-Preferred-Service", "P-Asserted-Service"),
    ] {
        let scene = Scene::start(SceneOptions {
            devices: vec!["UE-A"],
            policy: "restart_group_sessions = true".into(),
            sip: option.into(),
            ..SceneOptions::default()
        })
        .await?;
        let (mut a, _far) = group_call(&scene).await?;
        assert_eq!(a.dialog.bye(Some(LOST)).await?.code(), 200);
        let subscribe = subscribe(&scene, SOON).await?;
        assert_eq!(subscribe.message.all(header), [ICSI_GROUP], "{option}");
        assert_eq!(subscribe.message.header(other), None, "{option}");
        subscribe.answer(403, "Forbidden").await?;
    }
    Ok(())
}

/// SUBSCRIBE is answered like this; does another one follow, in a new dialog?
async fn answered(code: Option<u16>, again: bool) -> Result<()> {
    let (scene, mut far, first, _) = asked().await?;
    let call_id = first.message.required("Call-ID")?.to_owned();
    // Without an answer timer F has to pass.
    if let Some(code) = code {
        first.answer(code, "Answer").await?;
    }
    if again {
        let second = subscribe(&scene, Duration::from_secs(45)).await.with_context(|| format!("{code:?}"))?;
        assert_ne!(second.message.required("Call-ID")?, call_id, "{code:?}");
        let mut dialog = accept(&scene, &far, &second).await?;
        full(&mut dialog, &far, 1, "active;expires=3600", &[Scene::BOB]).await?;
        assert_eq!(stored(&scene, &mut far).await?, serde_json::json!([Scene::BOB]));
    } else {
        let wait = Duration::from_secs(4);
        never(wait, &format!("a SUBSCRIBE after {code:?}"), scene.far.agent.next_request(wait * 2)).await?;
        assert!(far.media.is_up(), "the session goes on");
        assert_eq!(stored(&scene, &mut far).await?, serde_json::json!([]));
    }
    scene.verify()
}

// Rows: PART-13
#[tokio::test]
async fn an_answer_decides_whether_there_is_another_try() -> Result<()> {
    tokio::try_join!(
        answered(Some(403), false),
        answered(Some(489), false),
        answered(Some(481), true),
        answered(Some(503), true),
        answered(None, true),
    )?;
    // 200 keeps the subscription: it brings the participants.
    let (scene, mut far, mut dialog, _) = subscribed().await?;
    full(&mut dialog, &far, 1, "active;expires=3600", &[Scene::BOB, CARL]).await?;
    assert_eq!(stored(&scene, &mut far).await?, serde_json::json!([Scene::BOB, CARL]));
    scene.verify()
}

// Rows: PART-14
#[tokio::test]
async fn it_is_ended_when_it_is_of_no_use_any_more_and_its_last_word_is_heard() -> Result<()> {
    for client_returns in [true, false] {
        let (scene, mut far, mut dialog, identity) = subscribed().await?;
        full(&mut dialog, &far, 1, "active;expires=3600", &[Scene::BOB]).await?;
        let ending = async {
            let ended = dialog.expect("SUBSCRIBE", SOON).await?;
            assert_eq!(ended.message.required("Expires")?, "0");
            ended.answer(200, "OK").await
        };
        let _back = if client_returns {
            let back = rejoin(scene.a(), &identity).await?.answered(SOON).await?;
            ending.await?;
            Some(back)
        } else {
            let (bye, ended) = tokio::join!(far.dialog.bye(None), ending);
            assert_eq!(bye?.code(), 200);
            ended?;
            until(SOON, "no session to be left", || {
                scene.pf.cli_json("sessions").is_ok_and(|list| list.as_array().is_some_and(Vec::is_empty))
            })
            .await?;
            None
        };
        full(&mut dialog, &far, 2, "terminated;reason=timeout", &[Scene::BOB]).await?;
        // That was the last one.
        let late = notify(&mut dialog, &far, 3, "terminated;reason=timeout", &[Scene::BOB]);
        assert_eq!(dialog.send(late).await?.last(SOON).await?.code(), 481);
        scene.verify()?;
    }
    Ok(())
}

// Rows: BYE-46, PART-15
#[tokio::test]
async fn a_client_that_is_back_gets_the_last_participants_first() -> Result<()> {
    let (scene, far, mut dialog, identity) = subscribed().await?;
    full(&mut dialog, &far, 1, "active;expires=3600", &[Scene::BOB, CARL]).await?;
    full(&mut dialog, &far, 2, "active;expires=3600", &[Scene::BOB, DORA]).await?;
    let missed = far.media.chat(Scene::BOB, Scene::ALICE, "Dora is here").await?;
    let offer = SdpOptions {
        accept_wrapped_types: "text/plain application/conference-info+xml".into(),
        ..SdpOptions::setup("active")
    };
    let calling = scene
        .a()
        .invite_with(&identity, &offer, |invite| invite.set("P-Preferred-Service", ICSI_GROUP))
        .await?;
    let mut back = calling.answered(SOON).await?;
    let list = back.media.message(SOON).await?;
    let cpim = Cpim::parse(&list.body)?;
    let document = String::from_utf8(cpim.content.clone())?;
    assert!(document.contains("<conference-info"), "{document}");
    for (user, there) in [(Scene::BOB, true), (DORA, true), (CARL, false)] {
        assert_eq!(document.contains(&format!("<user entity=\"{user}\"")), there, "{user}: {document}");
    }
    assert_eq!(back.media.message(SOON).await?.body, missed.body);
    // What a client has not answered when it is lost comes again.
    back.media.quiet(QUIET).await?;
    // Whoever does not take such a message gets none.
    lose(&scene, &mut back).await?;
    let mut back = rejoin(scene.a(), &identity).await?.answered(SOON).await?;
    back.media.ready(SOON).await?;
    back.media.quiet(QUIET).await?;
    assert_eq!(uri(back.answer.required("Contact")?), identity);
    scene.verify()
}

// Rows: PART-17
#[tokio::test]
async fn what_changes_is_told_in_parts() -> Result<()> {
    let (scene, mut far, mut dialog, _) = subscribed().await?;
    full(&mut dialog, &far, 3, "active;expires=3600", &[Scene::BOB, CARL]).await?;
    let change = format!("<user entity=\"{CARL}\" state=\"deleted\"/><user entity=\"{DORA}\"/>");
    assert_eq!(partial(&mut dialog, &far, 4, &change).await?.code(), 200);
    // What is older than that says nothing.
    full(&mut dialog, &far, 3, "active;expires=3600", &["sip:eve@far.example.net"]).await?;
    assert_eq!(stored(&scene, &mut far).await?, serde_json::json!([Scene::BOB, DORA]));
    scene.verify()
}

// Rows: PART-17
#[tokio::test]
async fn where_a_part_is_missing_the_whole_is_asked_for() -> Result<()> {
    let (scene, mut far, mut dialog, _) = subscribed().await?;
    full(&mut dialog, &far, 1, "active;expires=3600", &[Scene::BOB]).await?;
    let change = format!("<user entity=\"{CARL}\"/>");
    assert_eq!(partial(&mut dialog, &far, 3, &change).await?.code(), 200);
    let refresh = dialog.expect("SUBSCRIBE", SOON).await?;
    assert!(refresh.message.required("Expires")?.parse::<u32>()? > 0);
    let ok = refresh.reply(200, "OK").with("Contact", far.party.contact()).with("Expires", "3600");
    refresh.respond(ok).await?;
    full(&mut dialog, &far, 4, "active;expires=3600", &[Scene::BOB, CARL, DORA]).await?;
    assert_eq!(stored(&scene, &mut far).await?, serde_json::json!([Scene::BOB, CARL, DORA]));
    scene.verify()
}

/// The controlling function ends the subscription like this. Another SUBSCRIBE follows at once, after a while or never.
async fn terminated(reason: &str, again: Option<(Duration, Duration)>) -> Result<()> {
    let (scene, mut far, mut dialog, _) = subscribed().await?;
    full(&mut dialog, &far, 1, &format!("terminated;reason={reason}"), &[Scene::BOB]).await?;
    match again {
        Some((not_before, at_last)) => {
            if !not_before.is_zero() {
                let early = scene.far.agent.next_request(at_last);
                never(not_before, &format!("a SUBSCRIBE soon after {reason}"), early).await?;
            }
            let anew = subscribe(&scene, at_last).await.with_context(|| reason.to_owned())?;
            let mut dialog = accept(&scene, &far, &anew).await?;
            full(&mut dialog, &far, 1, "active;expires=3600", &[DORA]).await?;
        }
        None => {
            let wait = Duration::from_secs(4);
            let another = scene.far.agent.next_request(wait * 2);
            never(wait, &format!("a SUBSCRIBE after {reason}"), another).await?;
        }
    }
    assert!(Journal::of(&scene.pf).records()?.is_empty(), "no state of the group for {reason}");
    let participants = stored(&scene, &mut far).await?;
    let expected = if again.is_some() { DORA } else { Scene::BOB };
    assert_eq!(participants, serde_json::json!([expected]), "{reason}");
    scene.verify()
}

// Rows: PART-21
#[tokio::test]
async fn the_reason_why_it_ended_says_what_follows() -> Result<()> {
    let at_once = (Duration::ZERO, Duration::from_millis(2500));
    let later = (Duration::from_secs(1), SOON);
    tokio::try_join!(
        terminated("deactivated", Some(at_once)),
        terminated("timeout", Some(at_once)),
        terminated("rejected", None),
        terminated("probation;retry-after=2", Some(later)),
        terminated("probation", Some(later)),
        terminated("giveup;retry-after=2", Some(later)),
        terminated("giveup", Some(later)),
    )?;
    Ok(())
}

crate::over_tcp::the_same_over_tcp!(
    the_operator_says_whether_the_core_trusts_pf,
    it_is_ended_when_it_is_of_no_use_any_more_and_its_last_word_is_heard,
    a_client_that_is_back_gets_the_last_participants_first,
    what_changes_is_told_in_parts,
    where_a_part_is_missing_the_whole_is_asked_for
);
