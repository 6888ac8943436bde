//! Clause 8.2.2.1, 200 OK step 7: whether a session is recorded may be known only after its first messages. None of them
//! is lost for the record, and none is in it that the user does not want there.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{
    actor::{Call, Scene, SceneOptions},
    msrp::Outgoing,
    net::{Network, Place},
    store::Journal,
    wait::{self, SOON},
    xdms::{Xdms, rules},
};
use serde_json::Value;

use crate::{
    a_recorded_session_is_stored_word_by_word::{compare, hang_up, talk},
    fast::{diagnosis, fast_on, open_minded, shares},
    users_tell_the_xdms_what_they_want::ALICE_S,
};

/// How long the XDMS takes.
const SLOW: Duration = Duration::from_secs(1);

/// An XDMS that alice wants this of, and that answers nothing until it is told to.
fn silent(place: &Place, wish: bool) -> Result<Xdms> {
    let xdms = Xdms::start(place)?;
    xdms.put(ALICE_S, &rules("", Some(wish)));
    xdms.hold(true);
    Ok(xdms)
}

/// Alice with a store and this XDMS, which is waited for so many seconds.
fn asking(xdms: &Xdms, patience: u64, store: &str) -> SceneOptions {
    SceneOptions {
        devices: vec!["UE-A", "UE-B"],
        store: format!("kind = \"journal\"\nwait_seconds = 15\n{store}"),
        more: format!("[xdms]\nroot = \"{}\"\nwait_seconds = {patience}\n", xdms.root()),
        ..SceneOptions::default()
    }
}

fn recording(scene: &Scene) -> Result<Value> {
    Ok(scene.pf.cli_json("stats")?["recording"].clone())
}

/// Exactly this is recorded of a session that has ended.
fn holds(journal: &Journal, said: &[Vec<Outgoing>; 2], call: &Call) -> Result<()> {
    let kinds = journal.kinds()?;
    ensure!(kinds.len() == 2 + said[0].len() + said[1].len(), "{kinds:?}");
    ensure!(kinds.first().map(String::as_str) == Some("session-info"), "{kinds:?}");
    ensure!(kinds.last().map(String::as_str) == Some("session-end"), "{kinds:?}");
    compare(journal, "sent", &said[0], call)?;
    compare(journal, "received", &said[1], call)
}

/// A session in which much is said while the XDMS is silent, and more when it has answered.
async fn talks(scene: &Scene, xdms: &Xdms, wish: bool) -> Result<()> {
    let journal = Journal::of(&scene.pf);
    let (mut a, mut far, _others) = scene.full_call_with(&open_minded()).await?;
    assert_eq!(xdms.asked_times(1).await?[0].status, 0, "it waits");
    let mut said = talk(&a, &far, 60).await.with_context(|| diagnosis(scene))?;
    assert_eq!(scene.pf.cli_json("sessions")?[0]["recorded"], false);
    assert!(journal.records()?.is_empty(), "nobody knows yet");
    assert!(recording(scene)?["waiting_octets"].as_u64() > Some(0));
    tokio::time::sleep(SLOW).await;
    xdms.hold(false);
    if wish {
        journal.grown_to(61).await?;
    } else {
        wait::until(SOON, "nothing is kept", || {
            recording(scene).is_ok_and(|recording| recording["waiting_octets"] == 0)
        })
        .await?;
    }
    assert_eq!(scene.pf.cli_json("sessions")?[0]["recorded"], wish);
    let [ours, theirs] = talk(&a, &far, 60).await.with_context(|| diagnosis(scene))?;
    said[0].extend(ours);
    said[1].extend(theirs);
    hang_up(&mut a, &mut far).await?;
    if wish {
        holds(&journal, &said, &a)?;
    } else {
        assert!(journal.records()?.is_empty());
        assert_eq!(scene.pf.cli_json("stats")?["media"]["recorded"], 0);
    }
    assert_eq!(recording(scene)?["waiting_octets"], 0);
    scene.verify()
}

// Rows: ANS-14, ANS-15
#[tokio::test]
async fn what_is_said_before_the_xdms_answers_is_recorded() -> Result<()> {
    for wish in [true, false] {
        let xdms = silent(&Place::loopback(8), wish)?;
        let scene = Scene::start(SceneOptions { fast_path: "off", ..asking(&xdms, 20, "") }).await?;
        talks(&scene, &xdms, wish).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_the_kernel_carries_before_the_xdms_answers_is_recorded() -> Result<()> {
    for wish in [true, false] {
        let Some(mut network) = Network::for_test()? else { return Ok(()) };
        let xdms = silent(&network.host("XDMS")?.v4, wish)?;
        let Some(scene) = fast_on(network, asking(&xdms, 20, "")).await? else { return Ok(()) };
        talks(&scene, &xdms, wish).await?;
        assert!(shares(&scene)?.0 > 0, "nothing in the kernel\n{}", diagnosis(&scene));
    }
    Ok(())
}

// Rows: ANS-14
#[tokio::test]
async fn an_answer_that_comes_while_the_far_end_rings_holds_nothing_up() -> Result<()> {
    let xdms = silent(&Place::loopback(8), true)?;
    xdms.hold(false);
    let scene = Scene::start(asking(&xdms, 20, "")).await?;
    let journal = Journal::of(&scene.pf);
    let calling = scene.a().invite(Scene::BOB).await?;
    let invited = scene.far.invited(SOON).await?;
    // Asked with the INVITE; `pf` has the answer when it has counted it.
    xdms.asked_times(1).await?;
    wait::until(SOON, "the answer", || {
        scene.pf.cli_json("stats").is_ok_and(|stats| stats["xdms"]["documents"] == 1)
    })
    .await?;
    assert!(journal.records()?.is_empty(), "decided when there is a session");
    xdms.hold(true);
    let mut far = invited.accept().await?;
    let mut a = calling.answered(SOON).await?;
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "hello").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
    assert_eq!(scene.pf.cli_json("sessions")?[0]["recorded"], true);
    hang_up(&mut a, &mut far).await?;
    holds(&journal, &[vec![sent], Vec::new()], &a)?;
    assert_eq!(xdms.asked().len(), 1);
    scene.verify()
}

// Rows: ANS-15
#[tokio::test]
async fn a_session_that_ends_before_the_xdms_answers_is_recorded_by_what_is_configured() -> Result<()> {
    for configured in [true, false] {
        let xdms = silent(&Place::loopback(8), !configured)?;
        let user = format!("allow_offline_storage = {configured}");
        let scene = Scene::start(SceneOptions { user, ..asking(&xdms, 20, "") }).await?;
        let (mut a, mut far) = scene.call().await?;
        let said = talk(&a, &far, 7).await?;
        hang_up(&mut a, &mut far).await?;
        let journal = Journal::of(&scene.pf);
        if configured {
            holds(&journal, &said, &a)?;
        } else {
            assert!(journal.records()?.is_empty());
        }
        assert_eq!(xdms.asked_times(1).await?[0].status, 0, "it still waits");
        scene.verify()?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_kept_until_the_xdms_answers_has_a_bound_and_loses_nothing() -> Result<()> {
    for wish in [true, false] {
        let xdms = silent(&Place::loopback(8), wish)?;
        let options = asking(&xdms, 20, "recording_octets = 20000");
        let scene = Scene::start(SceneOptions { fast_path: "off", ..options }).await?;
        let (mut a, mut far) = scene.call().await?;
        let (mut said, mut sendings) = (Vec::new(), Vec::new());
        for number in 0..200 {
            let text = format!("message {number} {}", "z".repeat(5000));
            let message = Outgoing { explicit_end: true, ..Outgoing::chat(Scene::ALICE, Scene::BOB, &text) };
            sendings.push(a.media.send(&message).await?);
            said.push(message);
        }
        wait::until(SOON, "it is held up", || recording(&scene).is_ok_and(|now| now["holding"] == true))
            .await?;
        let now = recording(&scene)?;
        assert!(now["waiting_octets"].as_u64().is_some_and(|waiting| waiting < 700_000), "{now}");
        xdms.hold(false);
        for sending in sendings {
            sending.accepted(SOON).await?;
        }
        hang_up(&mut a, &mut far).await?;
        let journal = Journal::of(&scene.pf);
        if wish {
            holds(&journal, &[said, Vec::new()], &a)?;
        } else {
            assert!(journal.records()?.is_empty());
        }
        let now = recording(&scene)?;
        assert_eq!(
            (&now["holding"], &now["waiting_octets"], &now["lost"]),
            (&false.into(), &0.into(), &0.into())
        );
        scene.verify()?;
    }
    Ok(())
}
