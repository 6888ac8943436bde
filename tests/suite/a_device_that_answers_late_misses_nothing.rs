//! The user's other devices are invited when the session already runs. What UE-A says before they have answered
//! reaches them all the same.

use std::time::Duration;

use anyhow::Result;
use lab::{
    actor::{Call, Scene},
    msrp::Outgoing,
    wait::{QUIET, SOON},
};

const MESSAGES: usize = 50;

async fn has_all(call: &mut Call, sent: &[Outgoing]) -> Result<()> {
    for message in sent {
        let got = call.media.message(SOON).await?;
        let name = &call.party.name;
        assert_eq!(got.message_id, message.message_id, "{name}: in order, none left out");
        assert_eq!(got.content_type, message.content_type, "{name}");
        assert!(got.body == message.body, "{name}: {} octets altered", got.body.len());
    }
    call.media.quiet(QUIET / 4).await?;
    call.media.verify()
}

// Rows: DD-04, DD-06, MED-18
#[tokio::test]
async fn a_device_that_answers_late_misses_nothing() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B", "UE-C"]).await?;
    let (a, mut far) = scene.call().await?;
    let ringing = scene.device(1).invited(SOON).await?;
    let mut c = scene.device(2).invited(SOON).await?.accept().await?;
    let (mut sent, mut sendings) = (Vec::new(), Vec::new());
    for number in 0..MESSAGES {
        let text = format!("message {number} {}", "x".repeat(number * 100));
        let message = Outgoing::chat(Scene::ALICE, Scene::BOB, &text);
        sendings.push(a.media.send(&message).await?);
        sent.push(message);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    // The session does not wait for UE-B.
    for sending in sendings {
        sending.accepted(SOON).await?;
    }
    has_all(&mut far, &sent).await?;
    has_all(&mut c, &sent).await?;
    // What the far end says is for all devices, too.
    let reply = far.media.chat(Scene::BOB, Scene::ALICE, "I am listening").await?;
    sent.push(reply);
    let mut b = ringing.accept().await?;
    b.media.ready(SOON).await?;
    sent.push(a.media.chat(Scene::ALICE, Scene::BOB, "and on").await?);
    has_all(&mut b, &sent).await?;
    scene.verify()
}

crate::over_tcp::the_same_over_tcp!(a_device_that_answers_late_misses_nothing);
