//! A device that stops reading is dropped after a bound; everybody else goes on at full speed.

use std::time::{Duration, Instant};

use anyhow::Result;
use lab::{
    actor::{Scene, SceneOptions},
    msrp::{Answer, Outgoing},
    wait::{SOON, until, within},
};

const MESSAGES: usize = 300;
const SIZE: usize = 100_000;

// Rows: MED-26
#[tokio::test]
async fn slow_device_loses_its_own_leg_only() -> Result<()> {
    let mut scene = Scene::start(SceneOptions::default()).await?;
    scene.devices[1].party.receive_buffer = Some(16 << 10);
    let (a, mut far, mut others) = scene.full_call().await?;
    others[0].media.script(|_| Answer::StopReading);
    let begin = Instant::now();
    // Far more than socket buffers and queues together can hold.
    let flood = async {
        for number in 0..MESSAGES {
            let body = vec![b'a' + (number % 26) as u8; SIZE];
            let message = Outgoing::new("message/cpim", body).chunked(50_000);
            a.media.send(&message).await?.accepted(SOON).await?;
        }
        anyhow::Ok(())
    };
    let count = |mut call: lab::actor::Call| async move {
        for _ in 0..MESSAGES {
            let got = call.media.message(SOON).await?;
            anyhow::ensure!(got.body.len() == SIZE);
        }
        Ok(call)
    };
    let willing = others.remove(1);
    let (sent, got_far, got_willing) = within(Duration::from_secs(60), "the flood", async {
        Ok(tokio::join!(flood, count(far), count(willing)))
    })
    .await?;
    sent?;
    (far, _) = (got_far?, got_willing?);
    assert!(begin.elapsed() < Duration::from_secs(30), "slowed down to {:?}", begin.elapsed());
    // The operator sees why the leg is gone.
    until(SOON, "UE-B's leg to be given up", || {
        scene.pf.cli(&["sessions", "--json"]).is_ok_and(|text| text.contains("slow"))
    })
    .await?;
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "and on").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
    Ok(())
}
