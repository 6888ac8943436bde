//! `<allow-offline-storage>`: what the end of a session stores, and who waits for that.

use anyhow::Result;
use lab::{
    actor::{Call, ICSI_GROUP, Scene, SceneOptions},
    sip::SdpOptions,
    store::Journal,
    wait::{QUIET, SOON, never},
};

/// A scene whose user wants the history recorded.
pub(crate) async fn recording(devices: &[&'static str]) -> Result<Scene> {
    Scene::start(SceneOptions {
        devices: devices.to_vec(),
        user: "allow_offline_storage = true".into(),
        store: "kind = \"journal\"\nwait_seconds = 15".into(),
        ..SceneOptions::default()
    })
    .await
}

/// A group session of UE-A, with the far end as its controlling function.
pub(crate) async fn group_call(scene: &Scene) -> Result<(Call, Call)> {
    let calling = scene
        .a()
        .invite_with(Scene::BOB, &SdpOptions::setup("active"), |invite| {
            invite.set("P-Preferred-Service", ICSI_GROUP);
        })
        .await?;
    let far = scene.far.invited(SOON).await?.accept().await?;
    let a = calling.answered(SOON).await?;
    a.media.ready(SOON).await?;
    far.media.ready(SOON).await?;
    Ok((a, far))
}

// Rows: BYE-20, AMB-17
#[tokio::test]
async fn the_originator_hears_200_when_the_group_state_is_stored() -> Result<()> {
    let scene = recording(&["UE-A"]).await?;
    let journal = Journal::of(&scene.pf);
    let (mut a, mut far) = group_call(&scene).await?;
    journal.grown_to(1).await?;
    let mut bye = a.dialog.start_bye(Some("SIP;cause=200")).await?;
    let far_bye = far.dialog.expect("BYE", SOON).await?;
    // The far end's answer alone does not do: the object has to be in the store.
    let held = journal.hold()?;
    far_bye.answer(200, "OK").await?;
    never(QUIET, "the 200 to UE-A's BYE", bye.last(SOON)).await?;
    assert_eq!(journal.kinds()?, ["session-info"]);
    drop(held);
    assert_eq!(bye.last(SOON).await?.code(), 200);
    let records = journal.records()?;
    assert_eq!(journal.kinds()?, ["session-info", "group-state", "session-end"]);
    assert_eq!(records[1]["last_focus_session_id"], far.party.agent.contact_uri("bob"));
    assert_eq!(records[1]["session"], a.invite.required("Contribution-ID")?);
    scene.verify()
}

// Rows: AMB-17
#[tokio::test]
async fn a_one_to_one_session_has_no_group_state() -> Result<()> {
    let scene = recording(&["UE-A"]).await?;
    let journal = Journal::of(&scene.pf);
    let (mut a, mut far) = scene.call().await?;
    let (bye, ends) = tokio::join!(a.dialog.bye(None), far.hung_up());
    ends?;
    assert_eq!(bye?.code(), 200);
    assert_eq!(journal.kinds()?, ["session-info", "session-end"]);
    Ok(())
}

// Rows: BYE-25
#[tokio::test]
async fn the_clients_hear_bye_when_the_session_is_stored() -> Result<()> {
    let scene = recording(&["UE-A", "UE-B"]).await?;
    let journal = Journal::of(&scene.pf);
    let (mut a, mut far, mut others) = scene.full_call().await?;
    journal.grown_to(1).await?;
    let held = journal.hold()?;
    let mut bye = far.dialog.start_bye(None).await?;
    never(QUIET, "UE-A's BYE", a.dialog.next_request(SOON)).await?;
    assert_eq!(journal.kinds()?, ["session-info"]);
    drop(held);
    let a_bye = a.dialog.expect("BYE", SOON).await?;
    assert_eq!(journal.kinds()?, ["session-info", "session-end"]);
    others[0].hung_up().await?;
    a_bye.answer(200, "OK").await?;
    assert_eq!(bye.last(SOON).await?.code(), 200);
    scene.verify()
}

#[tokio::test]
async fn without_the_user_s_wish_nothing_is_stored_and_nobody_waits() -> Result<()> {
    let scene = Scene::start(SceneOptions {
        devices: vec!["UE-A"],
        store: "kind = \"journal\"".into(),
        ..SceneOptions::default()
    })
    .await?;
    let journal = Journal::of(&scene.pf);
    let _held = journal.hold()?;
    for far_leaves in [false, true] {
        let (mut a, mut far) = group_call(&scene).await?;
        let (ended, other) = if far_leaves {
            tokio::join!(far.dialog.bye(None), a.hung_up())
        } else {
            tokio::join!(a.dialog.bye(None), far.hung_up())
        };
        other?;
        assert_eq!(ended?.code(), 200);
    }
    assert!(journal.records()?.is_empty());
    Ok(())
}

crate::over_tcp::the_same_over_tcp!(
    the_originator_hears_200_when_the_group_state_is_stored,
    a_one_to_one_session_has_no_group_state,
    the_clients_hear_bye_when_the_session_is_stored,
    without_the_user_s_wish_nothing_is_stored_and_nobody_waits
);
