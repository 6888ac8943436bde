//! SIGTERM while sessions live.

use std::time::{Duration, Instant};

use anyhow::Result;
use lab::{actor::Scene, wait::SOON};

const ENDS: &str = "SIP;cause=503;text=\"Service Unavailable\"";

#[tokio::test]
async fn a_pf_that_ends_says_bye_on_every_leg() -> Result<()> {
    let mut scene = Scene::with(&["UE-A", "UE-B"]).await?;
    let (mut a, mut far, mut others) = scene.full_call().await?;
    // And one session that is still ringing.
    let waiting = scene.a().invite("sip:carol@far.example.net").await?;
    let ringing = scene.far.invited(SOON).await?;
    ringing.request.answer(180, "Ringing").await?;
    scene.pf.terminate();
    for call in [&mut a, &mut far, &mut others[0]] {
        let bye = call.hung_up().await?;
        assert_eq!(bye.header("Reason"), Some(ENDS), "{}", call.party.name);
    }
    ringing.request.cancelled(SOON).await?;
    assert_eq!(waiting.refused(SOON).await?.code(), 503);
    scene.pf.ended(SOON).await?;
    scene.verify()
}

#[tokio::test]
async fn peers_that_do_not_answer_delay_the_end_by_two_seconds() -> Result<()> {
    let mut scene = Scene::with(&["UE-A"]).await?;
    let (mut a, mut far) = scene.call().await?;
    let begin = Instant::now();
    scene.pf.terminate();
    a.dialog.expect("BYE", SOON).await?;
    far.hung_up().await?;
    scene.pf.ended(SOON).await?;
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(1900), "UE-A had {took:?} to answer");
    Ok(())
}

#[tokio::test]
async fn without_sessions_it_ends_at_once() -> Result<()> {
    let mut scene = Scene::with(&["UE-A"]).await?;
    let begin = Instant::now();
    scene.pf.terminate();
    scene.pf.ended(SOON).await?;
    assert!(begin.elapsed() < Duration::from_millis(1900), "{:?}", begin.elapsed());
    Ok(())
}
