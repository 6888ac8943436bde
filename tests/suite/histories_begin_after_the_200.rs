//! Clause 8.2.2.1, 200 OK step 7: whose history is recorded, and when that begins.

use anyhow::{Context, Result};
use lab::{
    actor::{Scene, SceneOptions},
    store::Journal,
    wait::{QUIET, SOON},
};

#[tokio::test]
async fn the_user_s_own_setting_decides_and_else_the_operator_s() -> Result<()> {
    for (user, policy, recorded) in [
        ("allow_offline_storage = true", "", true),
        ("allow_offline_storage = false", "", false),
        ("", "", false),
        ("", "allow_offline_storage = true", true),
        ("allow_offline_storage = false", "allow_offline_storage = true", false),
        ("allow_store = true\nallow_defer = true", "", false),
    ] {
        let scene = Scene::start(SceneOptions {
            devices: vec!["UE-A"],
            user: user.into(),
            policy: policy.into(),
            store: "kind = \"journal\"".into(),
            ..SceneOptions::default()
        })
        .await?;
        let journal = Journal::of(&scene.pf);
        let (mut a, mut far) = scene.call().await?;
        // The end is stored after the beginning.
        let (bye, ends) = tokio::join!(a.dialog.bye(None), far.hung_up());
        assert_eq!(bye?.code(), 200);
        ends?;
        let expected: &[&str] = if recorded { &["session-info", "session-end"] } else { &[] };
        assert_eq!(journal.kinds()?, expected, "user `{user}` policy `{policy}`");
        scene.verify()?;
    }
    Ok(())
}

// Rows: ANS-15
#[tokio::test]
async fn the_record_begins_after_the_200_and_delays_nothing() -> Result<()> {
    let scene = super::storing_comes_before_the_end::recording(&["UE-A"]).await?;
    let journal = Journal::of(&scene.pf);
    // Nothing is recorded of a session that the far end has not accepted yet, or refuses.
    let calling = scene.a().invite(Scene::BOB).await?;
    scene.far.invited(SOON).await?.refuse(486, "Busy Here").await?;
    assert_eq!(calling.refused(SOON).await?.code(), 486);
    let calling = scene.a().invite(Scene::BOB).await?;
    let invited = scene.far.invited(SOON).await?;
    tokio::time::sleep(QUIET).await;
    assert!(journal.records()?.is_empty());
    // The 200 does not wait for the store: messages pass while it is held up.
    let held = journal.hold()?;
    let mut far = invited.accept().await?;
    let a = calling.answered(SOON).await?;
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "hello").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
    assert!(journal.records()?.is_empty());
    drop(held);
    let records = journal.grown_to(1).await?;
    let record = &records[0];
    assert_eq!(record["object"], "session-info");
    assert_eq!(record["user"], Scene::ALICE);
    assert_eq!((&record["from"], &record["to"]), (&Scene::ALICE.into(), &Scene::BOB.into()));
    assert_eq!(record["conversation"], a.invite.required("Conversation-ID")?);
    assert_eq!(record["session"], a.invite.required("Contribution-ID")?);
    // The operator sees it too.
    let begin = std::time::Instant::now();
    let shown = loop {
        let shown = scene.pf.cli_json("store")?;
        if shown.as_array().is_some_and(|rows| !rows.is_empty()) || begin.elapsed() > SOON {
            break shown;
        }
        tokio::time::sleep(QUIET / 10).await;
    };
    // The message may be in the list already: the newest is the first.
    let first = shown.as_array().and_then(|rows| rows.last()).context("no rows")?;
    assert_eq!(first["uid"], record["uid"]);
    assert_eq!((&first["object"], &first["time"]), (&record["object"], &record["time"]));
    let table = scene.pf.cli(&["store"])?;
    assert!(table.contains("session-info") && table.contains(Scene::ALICE), "{table}");
    scene.verify()
}

#[tokio::test]
async fn uids_go_on_after_a_restart() -> Result<()> {
    let mut scene = super::storing_comes_before_the_end::recording(&["UE-A"]).await?;
    let journal = Journal::of(&scene.pf);
    for round in 1..=2_u64 {
        let (mut a, mut far) = scene.call().await?;
        let (bye, ends) = tokio::join!(a.dialog.bye(None), far.hung_up());
        assert_eq!(bye?.code(), 200);
        ends?;
        let uids: Vec<u64> = journal.records()?.iter().filter_map(|record| record["uid"].as_u64()).collect();
        assert_eq!(uids, (1..=2 * round).collect::<Vec<_>>());
        scene.pf.restart()?;
        scene.a().agent.close_connections();
        scene.devices[0].register().await?;
    }
    assert_eq!(scene.pf.cli_json("store")?.as_array().map(Vec::len), Some(4));
    Ok(())
}

crate::over_tcp::the_same_over_tcp!(
    the_user_s_own_setting_decides_and_else_the_operator_s,
    the_record_begins_after_the_200_and_delays_nothing,
    uids_go_on_after_a_restart
);
