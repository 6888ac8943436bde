//! What UE-A says reaches the far end and each other device, once, in order and unchanged.

use anyhow::Result;
use lab::{
    actor::{Scene, SceneOptions},
    msrp::Outgoing,
    sip::Transport,
    wait::{QUIET, SOON},
};

async fn chat(transport: Transport) -> Result<()> {
    let scene = Scene::start(SceneOptions { transport, ..SceneOptions::default() }).await?;
    let (mut a, mut far, mut others) = scene.full_call().await?;
    let mut sent = Vec::new();
    for (number, size) in [1, 20, 2_000, 2_048, 2_049, 30_000, 200_000].into_iter().enumerate() {
        let message = Outgoing::chat(Scene::ALICE, Scene::BOB, &"x".repeat(size));
        let message = message.chunked([2_048, 10_240, 65_536][number % 3]);
        a.media.send(&message).await?.accepted(SOON).await?;
        sent.push(message);
    }
    for call in [&mut far].into_iter().chain(&mut others) {
        for message in &sent {
            let got = call.media.message(SOON).await?;
            assert_eq!(got.message_id, message.message_id, "{}", call.party.name);
            assert_eq!(got.content_type, message.content_type);
            assert!(got.body == message.body, "{} octets altered", got.body.len());
        }
        call.media.quiet(QUIET / 4).await?;
    }
    // The originator is no "other device": nobody invited it, and it hears nothing of what it said.
    scene.a().agent.no_request(QUIET / 4).await?;
    a.media.quiet(QUIET / 4).await?;
    scene.verify()
}

// Rows: DD-04, DD-05, MED-12, MED-13, MED-17, MED-18, RSP-07
#[tokio::test]
async fn every_device_gets_each_message_once() -> Result<()> {
    chat(Transport::Udp).await
}

// Rows: DD-04, MED-18
#[tokio::test]
async fn every_device_gets_each_message_once_with_sip_over_tcp() -> Result<()> {
    chat(Transport::Tcp).await
}

// Rows: DD-04
#[tokio::test]
async fn every_leg_has_a_path_and_a_dialog_of_its_own() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B", "UE-C"]).await?;
    let (a, far, others) = scene.full_call().await?;
    let mut paths = std::collections::BTreeSet::new();
    let mut dialogs = std::collections::BTreeSet::new();
    for call in [&a, &far].into_iter().chain(&others) {
        paths.extend(call.peer_sdp.msrp()?.path()?);
        dialogs.insert(call.dialog.call_id.clone());
    }
    assert_eq!((paths.len(), dialogs.len()), (4, 4));
    // Devices correlate by these two.
    for call in &others {
        for name in ["Conversation-ID", "Contribution-ID"] {
            assert_eq!(call.invite.header(name), a.invite.header(name), "{name}");
        }
    }
    Ok(())
}
