//! Clause 8.2.2.3 step 4 for group sessions: the core lost the user's last device, and `pf` stays in its place.

use anyhow::Result;
use lab::{
    actor::{Call, Scene, SceneOptions},
    msrp::{Outgoing, cpim},
    store::Journal,
    wait::{QUIET, SOON, never, until},
};
use serde_json::Value;

use super::storing_comes_before_the_end::group_call;

const LOST: &str = "SIP;cause=503;text=\"Service Unavailable\"";

/// A group session of UE-A, whose user and operator have these settings.
pub(crate) async fn group(user: &str, policy: &str, devices: &[&'static str]) -> Result<(Scene, Call, Call)> {
    let scene = Scene::start(SceneOptions {
        devices: devices.to_vec(),
        user: user.into(),
        policy: policy.into(),
        store: "kind = \"journal\"\nwait_seconds = 15".into(),
        ..SceneOptions::default()
    })
    .await?;
    let (a, far) = group_call(&scene).await?;
    Ok((scene, a, far))
}

/// The core lost UE-A: its leg goes and the far end's stays.
async fn lose(scene: &Scene, a: &mut Call, far: &mut Call) -> Result<()> {
    assert_eq!(a.dialog.bye(Some(LOST)).await?.code(), 200);
    a.media.closed(SOON).await?;
    never(QUIET, "a request for the far end", far.dialog.next_request(SOON)).await?;
    assert!(far.media.is_up());
    assert_eq!(scene.pf.cli_json("sessions")?[0]["state"], "client lost");
    Ok(())
}

/// The messages in the journal.
fn kept(journal: &Journal) -> Result<Vec<Value>> {
    let records = journal.records()?;
    Ok(records.into_iter().filter(|record| record["object"] == "message").collect())
}

/// With this setting alone, the session goes on, and what is said there is kept or not.
async fn goes_on(user: &str, policy: &str, keeps: Option<(bool, bool)>) -> Result<()> {
    let (scene, mut a, mut far) = group(user, policy, &["UE-A"]).await?;
    lose(&scene, &mut a, &mut far).await?;
    let sent = far.media.chat(Scene::BOB, Scene::ALICE, "are you there?").await?;
    let chunked = Outgoing::chat(Scene::BOB, Scene::ALICE, &"long ".repeat(2000)).chunked(1000);
    far.media.send(&chunked).await?.accepted(SOON).await?;
    let messages = kept(&Journal::of(&scene.pf))?;
    match keeps {
        None => assert!(messages.is_empty(), "{messages:?}"),
        Some((record, deliver)) => {
            assert_eq!(messages.len(), 2);
            assert_eq!(messages[0]["content"], std::str::from_utf8(&sent.body)?);
            assert_eq!(
                (&messages[0]["for_record"], &messages[0]["for_delivery"]),
                (&record.into(), &deliver.into())
            );
        }
    }
    // It ends when the controlling function says so.
    let bye = far.dialog.bye(Some("SIP;cause=480;text=\"Bearer unavailable\"")).await?;
    assert_eq!(bye.code(), 200);
    far.media.closed(SOON).await?;
    until(SOON, "no session to be left", || {
        scene.pf.cli_json("sessions").is_ok_and(|list| list.as_array().is_some_and(Vec::is_empty))
    })
    .await?;
    assert_eq!(scene.pf.cli_json("groups")?[0]["restartable"], true);
    scene.verify()
}

// Rows: BYE-38, BYE-39, BYE-43, BYE-44
#[tokio::test]
async fn for_a_user_whose_history_is_recorded() -> Result<()> {
    goes_on("allow_offline_storage = true", "", Some((true, false))).await
}

// Rows: BYE-38, BYE-40, BYE-43, BYE-44
#[tokio::test]
async fn for_a_user_who_has_messages_stored() -> Result<()> {
    goes_on("allow_store = true", "", Some((true, false))).await
}

// Rows: BYE-38, BYE-41, BYE-43, BYE-44
#[tokio::test]
async fn for_a_user_who_has_messages_deferred() -> Result<()> {
    goes_on("allow_defer = true", "", Some((false, true))).await
}

// Rows: BYE-38, BYE-42, BYE-43, BYE-44
#[tokio::test]
async fn for_users_who_may_start_group_sessions_again_but_nothing_is_kept_for_that_alone() -> Result<()> {
    goes_on("", "restart_group_sessions = true", None).await
}

// Rows: BYE-49
#[tokio::test]
async fn without_any_of_these_the_bye_goes_on_to_the_far_end() -> Result<()> {
    let (scene, mut a, mut far) = group("", "", &["UE-A"]).await?;
    let (bye, ends) = tokio::join!(a.dialog.bye(Some(LOST)), far.hung_up());
    assert_eq!(bye?.code(), 200);
    assert_eq!(ends?.header("Reason"), Some(LOST));
    a.media.closed(SOON).await?;
    far.media.closed(SOON).await?;
    // Nor does it go on for one that is no group.
    let scene = {
        scene.verify()?;
        let options = SceneOptions {
            devices: vec!["UE-A"],
            policy: "restart_group_sessions = true\nallow_defer = true".into(),
            store: "kind = \"journal\"".into(),
            ..SceneOptions::default()
        };
        Scene::start(options).await?
    };
    let (mut a, mut far) = scene.call().await?;
    let (bye, ends) = tokio::join!(a.dialog.bye(Some(LOST)), far.hung_up());
    assert_eq!(bye?.code(), 200);
    assert_eq!(ends?.header("Reason"), Some(LOST));
    scene.verify()
}

// Rows: BYE-38, AMB-16
#[tokio::test]
async fn with_another_device_connected_that_one_takes_its_place() -> Result<()> {
    let (scene, mut a, mut far) = group("allow_defer = true", "", &["UE-A", "UE-B"]).await?;
    let mut b = scene.device(1).invited(SOON).await?.accept().await?;
    b.media.ready(SOON).await?;
    assert_eq!(a.dialog.bye(Some(LOST)).await?.code(), 200);
    a.media.closed(SOON).await?;
    let sent = far.media.chat(Scene::BOB, Scene::ALICE, "hello").await?;
    assert_eq!(b.media.message(SOON).await?.body, sent.body);
    assert!(kept(&Journal::of(&scene.pf))?.is_empty());
    let (bye, ends) = tokio::join!(far.dialog.bye(None), b.hung_up());
    ends?;
    assert_eq!(bye?.code(), 200);
    scene.verify()
}

// Rows: BYE-47
#[tokio::test]
async fn messages_and_notifications_are_kept_whole_in_order_and_before_they_are_answered() -> Result<()> {
    for setting in ["allow_offline_storage = true", "allow_store = true", "allow_defer = true"] {
        let (scene, mut a, mut far) = group(setting, "", &["UE-A"]).await?;
        let journal = Journal::of(&scene.pf);
        lose(&scene, &mut a, &mut far).await?;
        let imdn = cpim(
            Scene::BOB,
            Scene::ALICE,
            "imdn-1",
            "message/imdn+xml",
            b"<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\"><message-id>m1</message-id></imdn>",
        );
        let mut picture = Outgoing::new("image/png", vec![0x89, b'P', b'N', b'G', 0xFF]);
        picture.success_report = Some("yes".into());
        let messages = [
            Outgoing::chat(Scene::BOB, Scene::ALICE, "first"),
            Outgoing::new("message/cpim", imdn),
            Outgoing::chat(Scene::BOB, Scene::ALICE, &"in many chunks ".repeat(1000)).chunked(700),
            picture.clone(),
        ];
        // While the store does nothing, nothing is answered but chunks of what is not whole yet.
        let held = journal.hold()?;
        let mut sending = Vec::new();
        for message in &messages {
            sending.push(far.media.send(message).await?);
        }
        tokio::time::sleep(QUIET).await;
        let chunks = messages[2].body.len().div_ceil(700);
        assert_eq!(far.media.answered(200), chunks - 1);
        drop(held);
        for sending in sending {
            sending.accepted(SOON).await?;
        }
        let records = kept(&journal)?;
        assert_eq!(records.len(), messages.len(), "{setting}");
        for (record, message) in records.iter().zip(&messages[..3]) {
            assert_eq!(record["content"], std::str::from_utf8(&message.body)?);
            assert_eq!(record["content_type"], message.content_type);
            assert_eq!(record["message_id"], message.message_id);
            assert_eq!(record["session"], a.invite.required("Contribution-ID")?);
        }
        assert_eq!(records[3]["content_hex"], "89504e47ff");
        let report = far.media.report(SOON).await?;
        assert_eq!(report.head.header("Message-ID"), Some(picture.message_id.as_str()));
        assert_eq!(report.head.header("Status"), Some("000 200 OK"));
        assert_eq!(far.dialog.bye(None).await?.code(), 200);
        scene.verify()?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_more_than_is_kept_is_refused_and_the_rest_goes_on() -> Result<()> {
    let scene = Scene::start(SceneOptions {
        devices: vec!["UE-A"],
        user: "allow_defer = true".into(),
        store: "kind = \"journal\"\nheld_octets = 4096\nsession_octets = 8192".into(),
        ..SceneOptions::default()
    })
    .await?;
    let (mut a, mut far) = group_call(&scene).await?;
    lose(&scene, &mut a, &mut far).await?;
    let long = Outgoing::chat(Scene::BOB, Scene::ALICE, &"x".repeat(5000)).chunked(10_000);
    assert_eq!(far.media.send(&long).await?.answers(SOON).await?, [413]);
    let mut answers = Vec::new();
    for _ in 0..4 {
        let message = Outgoing::chat(Scene::BOB, Scene::ALICE, &"y".repeat(2500)).chunked(10_000);
        answers.extend(far.media.send(&message).await?.answers(SOON).await?);
    }
    assert_eq!(answers[..2], [200, 200]);
    assert_eq!(answers[3], 408);
    assert_eq!(
        scene.pf.cli_json("stats")?["store"]["refused"].as_u64(),
        Some(answers.iter().filter(|c| **c == 408).count() as u64)
    );
    assert_eq!(far.dialog.bye(None).await?.code(), 200);
    scene.verify()
}

crate::over_tcp::the_same_over_tcp!(
    for_a_user_whose_history_is_recorded,
    for_a_user_who_has_messages_stored,
    for_a_user_who_has_messages_deferred,
    for_users_who_may_start_group_sessions_again_but_nothing_is_kept_for_that_alone,
    without_any_of_these_the_bye_goes_on_to_the_far_end,
    with_another_device_connected_that_one_takes_its_place,
    messages_and_notifications_are_kept_whole_in_order_and_before_they_are_answered,
    what_is_more_than_is_kept_is_refused_and_the_rest_goes_on
);
