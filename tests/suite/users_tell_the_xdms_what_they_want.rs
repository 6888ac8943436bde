//! Clause 8.4.1 with 8.2.2.1, 200 OK step 7: `<allow-offline-storage>` is asked of the XDMS, which holds nobody up.

use anyhow::Result;
use lab::{
    actor::{Scene, SceneOptions},
    net::Place,
    store::Journal,
    wait::{QUIET, SOON, until},
    xdms::{Xdms, rules},
};

/// Where alice's rules are.
pub(crate) const ALICE_S: &str =
    "/org.openmobilealliance.access-rules/users/sip%3Aalice%40example.org/access-rules";

/// A scene with a store and this XDMS; lines for alice in the users file.
async fn asking(xdms: &Xdms, user: &str, options: &str) -> Result<Scene> {
    Scene::start(SceneOptions {
        devices: vec!["UE-A"],
        user: user.into(),
        store: "kind = \"journal\"".into(),
        more: format!("[xdms]\nroot = \"{}\"\n{options}\n", xdms.root()),
        ..SceneOptions::default()
    })
    .await
}

/// What is recorded of a session that lasts until the XDMS has been asked so often and has answered.
async fn recorded(scene: &Scene, xdms: &Xdms, times: usize) -> Result<Vec<String>> {
    let journal = Journal::of(&scene.pf);
    let before = journal.kinds()?.len();
    let (mut a, mut far) = scene.call().await?;
    xdms.asked_times(times).await?;
    until(SOON, "the answer", || xdms.asked().iter().all(|asked| asked.status != 0)).await?;
    // `pf` has the answer when it has read it.
    tokio::time::sleep(QUIET / 2).await;
    let (bye, ends) = tokio::join!(a.dialog.bye(None), far.hung_up());
    assert_eq!(bye?.code(), 200);
    ends?;
    Ok(journal.kinds()?.split_off(before))
}

const WHOLE: [&str; 2] = ["session-info", "session-end"];
const NOTHING: [&str; 0] = [];

// Rows: ANS-14
#[tokio::test]
async fn allow_offline_storage_is_asked_of_the_xdms() -> Result<()> {
    let to_bob = "<cr:identity><cr:one id=\"sip:bob@far.example.net\"/></cr:identity>";
    let to_eve = "<cr:identity><cr:one id=\"sip:eve@far.example.net\"/></cr:identity>";
    for (document, user, expected) in [
        (Some(rules("", Some(true))), "", true),
        (Some(rules("", Some(true))), "allow_offline_storage = false", true),
        (Some(rules("", None)), "allow_offline_storage = true", false),
        (Some(rules("", Some(false))), "allow_offline_storage = true", false),
        (Some(rules(to_bob, Some(true))), "", true),
        (Some(rules(to_eve, Some(true))), "", false),
        // Who has laid down nothing is treated as configured.
        (None, "allow_offline_storage = true", true),
        (None, "", false),
    ] {
        let xdms = Xdms::start(&Place::loopback(8))?;
        if let Some(document) = &document {
            xdms.put(ALICE_S, document);
        }
        let scene = asking(&xdms, user, "").await?;
        assert!(xdms.asked().is_empty(), "before there is a session");
        let kinds = recorded(&scene, &xdms, 1).await?;
        assert_eq!(kinds, if expected { &WHOLE[..] } else { &NOTHING[..] }, "{document:?} and `{user}`");
        let asked = &xdms.asked()[0];
        assert_eq!((asked.method.as_str(), asked.path.as_str()), ("GET", &*format!("/xcap{ALICE_S}")));
        assert_eq!(asked.header("X-3GPP-Asserted-Identity"), Some("\"sip:alice@example.org\""));
        assert_eq!(asked.header("Host"), Some(&*xdms.address.to_string()));
        assert_eq!(asked.status, if document.is_some() { 200 } else { 404 });
        scene.verify()?;
    }
    Ok(())
}

#[tokio::test]
async fn the_identity_goes_where_the_operator_wants_it() -> Result<()> {
    let xdms = Xdms::start(&Place::loopback(8))?;
    let scene = asking(&xdms, "", "identity_header = \"X-XCAP-Asserted-Identity\"").await?;
    let (_a, _far) = scene.call().await?;
    let asked = xdms.asked_times(1).await?;
    assert_eq!(asked[0].header("X-XCAP-Asserted-Identity"), Some("\"sip:alice@example.org\""));
    assert_eq!(asked[0].header("X-3GPP-Asserted-Identity"), None);
    Ok(())
}

#[tokio::test]
async fn a_document_is_sent_again_when_it_has_changed() -> Result<()> {
    let xdms = Xdms::start(&Place::loopback(8))?;
    xdms.put(ALICE_S, &rules("", Some(true)));
    let scene = asking(&xdms, "", "").await?;
    assert_eq!(recorded(&scene, &xdms, 1).await?, WHOLE);
    assert_eq!(recorded(&scene, &xdms, 2).await?, WHOLE);
    xdms.put(ALICE_S, &rules("", Some(false)));
    assert_eq!(recorded(&scene, &xdms, 3).await?, NOTHING);
    assert_eq!(recorded(&scene, &xdms, 4).await?, NOTHING);
    let seen: Vec<_> =
        xdms.asked().iter().map(|a| (a.header("If-None-Match").map(str::to_owned), a.status)).collect();
    let (first, second) = (Some("\"1\"".to_owned()), Some("\"2\"".to_owned()));
    assert_eq!(seen, [(None, 200), (first.clone(), 304), (first, 200), (second, 304)]);
    // The user takes it back: what is configured counts again.
    xdms.delete(ALICE_S);
    assert_eq!(recorded(&scene, &xdms, 5).await?, NOTHING);
    assert_eq!(xdms.asked()[4].status, 404);
    Ok(())
}

#[tokio::test]
async fn without_the_xdms_its_last_answer_counts_and_else_what_is_configured() -> Result<()> {
    let mut xdms = Xdms::start(&Place::loopback(8))?;
    xdms.put(ALICE_S, &rules("", Some(true)));
    let journal = |scene: &Scene| Journal::of(&scene.pf);
    // Never reached: as configured, either way.
    xdms.stop().await;
    for (user, count) in [("allow_offline_storage = true", 2), ("", 0)] {
        let scene = asking(&xdms, user, "").await?;
        let (mut a, mut far) = scene.call().await?;
        tokio::time::sleep(QUIET).await;
        let (bye, ends) = tokio::join!(a.dialog.bye(None), far.hung_up());
        ends?;
        assert_eq!((bye?.code(), journal(&scene).kinds()?.len()), (200, count), "`{user}`");
        assert!(scene.pf.log().contains("the XDMS was asked in vain"));
    }
    // Reached once, and then gone.
    xdms.start_again()?;
    let scene = asking(&xdms, "", "").await?;
    assert_eq!(recorded(&scene, &xdms, 1).await?, WHOLE);
    xdms.stop().await;
    let (mut a, mut far) = scene.call().await?;
    journal(&scene).grown_to(3).await?;
    let (bye, ends) = tokio::join!(a.dialog.bye(None), far.hung_up());
    ends?;
    assert_eq!(bye?.code(), 200);
    // There again, but with nothing to say for itself.
    xdms.start_again()?;
    xdms.refuse(Some(500));
    assert_eq!(recorded(&scene, &xdms, 2).await?, WHOLE);
    xdms.refuse(None);
    xdms.put(ALICE_S, "<ruleset>not what it was</ruleset>");
    assert_eq!(recorded(&scene, &xdms, 3).await?, WHOLE);
    xdms.put(ALICE_S, &(rules("", Some(false)) + &" ".repeat(1 << 20)));
    assert_eq!(recorded(&scene, &xdms, 4).await?, WHOLE);
    xdms.put(ALICE_S, &rules("", Some(false)));
    assert_eq!(recorded(&scene, &xdms, 5).await?, NOTHING);
    let counted = &scene.pf.cli_json("stats")?["xdms"];
    let expected = serde_json::json!({"documents": 2, "unchanged": 0, "nothing": 0, "failed": 4, "late": 0});
    assert_eq!(counted, &expected);
    scene.verify()
}

#[tokio::test]
async fn a_slow_xdms_delays_nothing_but_the_record() -> Result<()> {
    let xdms = Xdms::start(&Place::loopback(8))?;
    xdms.put(ALICE_S, &rules("", Some(true)));
    xdms.hold(true);
    let scene = asking(&xdms, "", "wait_seconds = 20").await?;
    let journal = Journal::of(&scene.pf);
    let (mut a, mut far) = scene.call().await?;
    assert_eq!(xdms.asked_times(1).await?[0].status, 0, "it waits");
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "hello").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
    tokio::time::sleep(QUIET).await;
    assert_eq!(journal.kinds()?, NOTHING);
    xdms.hold(false);
    journal.grown_to(1).await?;
    let (bye, ends) = tokio::join!(a.dialog.bye(None), far.hung_up());
    assert_eq!(bye?.code(), 200);
    ends?;
    // What was said before the answer is part of the record.
    assert_eq!(journal.kinds()?, ["session-info", "chat-message", "session-end"]);
    scene.verify()?;
    // Slower than it may be: as configured.
    xdms.hold(true);
    let scene = asking(&xdms, "allow_offline_storage = true", "wait_seconds = 1").await?;
    let journal = Journal::of(&scene.pf);
    let (_a, _far) = scene.call().await?;
    assert_eq!(journal.kinds()?, NOTHING);
    journal.grown_to(1).await?;
    assert_eq!(xdms.asked_times(2).await?[1].status, 0);
    scene.verify()
}
