//! A proxy may forget a session, and never ends one: neither when its timer runs out (RFC 4028 section 8) nor when the
//! process does. Its requests pass all the same.

use anyhow::{Context, Result, ensure};
use lab::{
    actor::{Call, Scene},
    sip::{SdpOptions, Transport},
    wait::{QUIET, SOON},
};

use crate::sessions_nobody_needs_pf_for_are_proxied::proxied;

async fn no_word(a: &mut Call, far: &mut Call) -> Result<()> {
    a.dialog.next_request(QUIET).await.err().context("UE-A was told something")?;
    far.dialog.next_request(QUIET / 4).await.err().context("FAR was told something")?;
    Ok(())
}

/// The end of a session that `pf` knows nothing of.
async fn bye_passes(scene: &Scene, a: &mut Call, far: &mut Call) -> Result<()> {
    let (bye, done) = tokio::join!(far.hung_up(), a.hang_up());
    let bye = bye?;
    done?;
    ensure!(bye.all("Via").len() == 2, "through pf: {:?}", bye.all("Via"));
    assert_eq!(scene.trace.sip("pf", "FAR", "BYE sip:").len(), 1, "the caller's own");
    assert_eq!(scene.trace.sip("pf", "UE-A", "BYE sip:").len(), 0);
    scene.verify()
}

// Rows: TMR-09, PRX-06
#[tokio::test]
async fn a_session_timer_that_runs_out_is_no_reason_for_a_bye() -> Result<()> {
    let scene = proxied(Transport::Udp).await?;
    // The interval is the two ends' business.
    let calling = scene
        .a()
        .invite_with(Scene::BOB, &SdpOptions::setup("active"), |invite| {
            invite.headers.push(("Session-Expires".into(), "3;refresher=uac".into()));
        })
        .await?;
    let mut far = scene.far.invited(SOON).await?.accept().await?;
    let mut a = calling.answered(SOON).await?;
    assert_eq!(a.answer.header("Session-Expires"), Some("3;refresher=uac"));
    // It is refreshed once: so long it is remembered.
    let began = std::time::Instant::now();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let refresh = a.dialog.request("UPDATE").with("Session-Expires", "3;refresher=uac");
    let mut tx = a.dialog.send(refresh).await?;
    let update = far.dialog.expect("UPDATE", SOON).await?;
    let contact = far.party.contact();
    update
        .respond(update.reply(200, "OK").with("Session-Expires", "3;refresher=uac").with("Contact", contact))
        .await?;
    tx.last(SOON).await?;
    lab::wait::until(SOON, "the session is forgotten", || {
        scene.pf.cli_json("sessions").is_ok_and(|table| table == serde_json::json!([]))
    })
    .await?;
    ensure!(began.elapsed().as_millis() > 4900, "forgotten after {:?}", began.elapsed());
    no_word(&mut a, &mut far).await?;
    bye_passes(&scene, &mut a, &mut far).await
}

// Rows: PRX-06
#[tokio::test]
async fn a_session_outlives_the_process() -> Result<()> {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut scene = proxied(transport).await?;
        let (mut a, mut far) = scene.call().await?;
        scene.pf.restart()?;
        no_word(&mut a, &mut far).await?;
        let sent = a.media.chat(Scene::ALICE, Scene::BOB, "still here").await?;
        assert_eq!(far.media.message(SOON).await?.body, sent.body);
        bye_passes(&scene, &mut a, &mut far).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_rings_at_the_end_of_the_process_is_cancelled() -> Result<()> {
    let mut scene = proxied(Transport::Udp).await?;
    let calling = scene.a().invite(Scene::BOB).await?;
    let invited = scene.far.invited(SOON).await?;
    invited.request.answer(180, "Ringing").await?;
    lab::wait::until(SOON, "180 at UE-A", || !scene.trace.sip("pf", "UE-A", "180").is_empty()).await?;
    scene.pf.terminate();
    invited.request.cancelled(SOON).await?;
    assert_eq!(calling.refused(SOON).await?.code(), 503);
    scene.pf.ended(SOON).await
}
