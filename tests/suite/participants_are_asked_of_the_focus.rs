//! Clause 8.2.2.6: while a group session goes on for a lost client, `pf` subscribes to who takes part in it.

use anyhow::Result;
use lab::{
    actor::{Call, ICSI_GROUP, ICSI_SESSION, Scene, SceneOptions, icsi_tag},
    sip::{Dialog, Message},
    store::Journal,
    wait::SOON,
};

use super::storing_comes_before_the_end::group_call;

const LOST: &str = "SIP;cause=503;text=\"Service Unavailable\"";

/// A NOTIFY with a full list of these users.
pub(crate) fn notify(
    dialog: &mut Dialog,
    focus: &Call,
    version: u32,
    state: &str,
    users: &[&str],
) -> Message {
    let users: String = users.iter().map(|user| format!("<user entity=\"{user}\"/>")).collect();
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><conference-info \
         xmlns=\"urn:ietf:params:xml:ns:conference-info\" entity=\"{}\" state=\"full\" version=\"{version}\">\
         <users>{users}</users></conference-info>",
        Scene::BOB
    );
    let mut notify = dialog
        .request("NOTIFY")
        .with("Event", "conference")
        .with("Subscription-State", state)
        .with("Contact", focus.party.contact());
    notify.set_body("application/conference-info+xml", body.into_bytes());
    notify
}

// Rows: BYE-45, BYE-46, PART-01, PART-02, PART-03, PART-04, PART-05, PART-07, PART-09, PART-11, PART-12, PART-16
#[tokio::test]
async fn the_last_participants_are_stored_with_the_group_state() -> Result<()> {
    let scene = Scene::start(SceneOptions {
        devices: vec!["UE-A"],
        user: "allow_defer = true".into(),
        store: "kind = \"journal\"".into(),
        ..SceneOptions::default()
    })
    .await?;
    let journal = Journal::of(&scene.pf);
    let (mut a, mut far) = group_call(&scene).await?;
    assert_eq!(a.dialog.bye(Some(LOST)).await?.code(), 200);
    let subscribe = scene.far.agent.next_request(SOON).await?;
    let message = &subscribe.message;
    assert_eq!(message.method(), "SUBSCRIBE");
    assert_eq!(message.uri(), far.party.agent.contact_uri("bob"), "the focus itself");
    assert_eq!(message.required("Event")?, "conference");
    assert_eq!(message.required("Accept")?, "application/conference-info+xml");
    assert!(message.required("Expires")?.parse::<u32>()? > 0);
    assert_eq!(message.required("Accept-Contact")?, format!("*;{}", icsi_tag(&[ICSI_SESSION])));
    assert!(message.required("Contact")?.ends_with(&format!(">;{}", icsi_tag(&[ICSI_SESSION]))));
    assert_eq!(message.required("P-Asserted-Service")?, ICSI_GROUP);
    assert_eq!(message.header("P-Preferred-Service"), None);
    assert_eq!(message.required("P-Asserted-Identity")?, format!("<{}>", Scene::ALICE));
    assert!(!message.required("From")?.contains("alice"));
    let mut dialog = Dialog::callee(&scene.far.agent, &subscribe)?;
    let ok = subscribe.reply(200, "OK").with("Contact", far.party.contact()).with("Expires", "3600");
    subscribe.respond(ok).await?;
    for (version, users) in
        [(1, ["sip:bob@far.example.net", "sip:carl@far.example.net"]), (2, [Scene::BOB, "tel:+1555"])]
    {
        let notify = notify(&mut dialog, &far, version, "active;expires=3600", &users);
        assert_eq!(dialog.send(notify).await?.last(SOON).await?.code(), 200);
    }
    // One of another dialog changes nothing.
    let mut forged = notify(&mut dialog, &far, 3, "active", &["sip:eve@far.example.net"]);
    forged.set("Call-ID", "forged");
    assert_eq!(dialog.send(forged).await?.last(SOON).await?.code(), 481);
    let (bye, ended) = tokio::join!(far.dialog.bye(None), dialog.expect("SUBSCRIBE", SOON));
    assert_eq!(bye?.code(), 200);
    let ended = ended?;
    assert_eq!(ended.message.required("Expires")?, "0");
    ended.answer(200, "OK").await?;
    let records = journal.grown_to(1).await?;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["object"], "group-state");
    assert_eq!(records[0]["participants"], serde_json::json!([Scene::BOB, "tel:+1555"]));
    scene.verify()
}

// Rows: PART-06, PART-10
#[tokio::test]
async fn outside_of_the_trust_domain_the_service_is_only_preferred() -> Result<()> {
    let scene = Scene::start(SceneOptions {
        devices: vec!["UE-A"],
        policy: "restart_group_sessions = true".into(),
        sip: "own_uri = \"sip:cpm-pf@example.org\"\noutside_trust_domain = true".into(),
        ..SceneOptions::default()
    })
    .await?;
    let (mut a, _far) = group_call(&scene).await?;
    assert_eq!(a.dialog.bye(Some(LOST)).await?.code(), 200);
    let subscribe = scene.far.agent.next_request(SOON).await?;
    assert_eq!(subscribe.message.method(), "SUBSCRIBE");
    assert_eq!(subscribe.message.required("P-Preferred-Service")?, ICSI_GROUP);
    assert_eq!(subscribe.message.header("P-Asserted-Service"), None);
    assert!(subscribe.message.required("From")?.starts_with("<sip:cpm-pf@example.org>;tag="));
    subscribe.answer(403, "Forbidden").await?;
    Ok(())
}

// Rows: PART-18, PART-19, PART-20
#[tokio::test]
async fn a_group_session_that_becomes_inactive_gets_a_new_group_state() -> Result<()> {
    let scene = Scene::start(SceneOptions {
        devices: vec!["UE-A"],
        user: "allow_store = true".into(),
        store: "kind = \"journal\"".into(),
        ..SceneOptions::default()
    })
    .await?;
    let journal = Journal::of(&scene.pf);
    let (mut a, mut far) = group_call(&scene).await?;
    assert_eq!(a.dialog.bye(Some(LOST)).await?.code(), 200);
    let subscribe = scene.far.agent.next_request(SOON).await?;
    let mut dialog = Dialog::callee(&scene.far.agent, &subscribe)?;
    let ok = subscribe.reply(200, "OK").with("Contact", far.party.contact()).with("Expires", "3600");
    subscribe.respond(ok).await?;
    let last = notify(&mut dialog, &far, 1, "terminated; reason=noresource", &[Scene::BOB]);
    assert_eq!(dialog.send(last).await?.last(SOON).await?.code(), 200);
    journal.grown_to(1).await?;
    assert_eq!(far.dialog.bye(Some("SIP;cause=480")).await?.code(), 200);
    let records = journal.grown_to(2).await?;
    assert_eq!(journal.kinds()?, ["group-state", "group-state"], "none in the place of another");
    assert!(records[0]["time"].as_str() < records[1]["time"].as_str());
    assert_eq!(records[0]["participants"], serde_json::json!([Scene::BOB]));
    scene.verify()
}

crate::over_tcp::the_same_over_tcp!(
    the_last_participants_are_stored_with_the_group_state,
    outside_of_the_trust_domain_the_service_is_only_preferred,
    a_group_session_that_becomes_inactive_gets_a_new_group_state
);
