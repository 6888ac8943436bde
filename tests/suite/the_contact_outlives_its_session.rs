//! The Contact that `pf` gave the originator leads to the far end's own, for ever.

use anyhow::{Context, Result};
use lab::{
    actor::{Device, Scene, Ue},
    net::Place,
    sip::{host_port, uri},
    wait::SOON,
};

// Rows: ANS-12
#[tokio::test]
async fn after_the_session_and_a_restart_the_contact_still_leads_to_the_far_end() -> Result<()> {
    let mut scene = Scene::with(&["UE-A"]).await?;
    let (mut a, mut far) = scene.call().await?;
    let original = uri(far.answer.required("Contact")?).to_owned();
    let mapped = uri(a.answer.required("Contact")?).to_owned();
    assert_ne!(mapped, original);
    assert!(!mapped.contains("bob"), "{mapped}");
    let (bye, done) = tokio::join!(far.hung_up(), a.hang_up());
    bye?;
    done?;

    let calling = scene.a().invite(&mapped).await?;
    let invited = scene.far.invited(SOON).await?;
    assert_eq!(invited.request.message.uri(), original, "after the session");
    let mut far = invited.accept().await?;
    let mut a = calling.answered(SOON).await?;
    a.media.ready(SOON).await?;
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "here I am again").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
    let (bye, done) = tokio::join!(far.hung_up(), a.hang_up());
    bye?;
    done?;

    scene.pf.restart()?;
    scene.a().agent.close_connections();
    assert_eq!(scene.pf.cli_json("devices")?.as_array().map(Vec::len), Some(0), "nothing is remembered");
    scene.devices[0].register().await?;
    let calling = scene.a().invite(&mapped).await?;
    let invited = scene.far.invited(SOON).await?;
    assert_eq!(invited.request.message.uri(), original, "after the restart");
    let _far = invited.accept().await?;
    calling.answered(SOON).await?.media.ready(SOON).await?;

    // What was not made with this key leads nowhere.
    let (address, _) = host_port(&mapped).context("Contact")?;
    let forged = scene.a().invite(&format!("sip:bob@{address}")).await?;
    assert_eq!(forged.refused(SOON).await?.code(), 404);
    scene.verify()
}

// Rows: ANS-12
#[tokio::test]
async fn another_device_of_the_user_may_use_the_contact_too() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let (a, far) = scene.call().await?;
    let original = uri(far.answer.required("Contact")?).to_owned();
    let proxy = scene.at;
    let device = Device::of_alice("tablet");
    let mut other = Ue::start("UE-B", &Place::loopback(12), device, proxy, &scene.trace)?;
    other.register().await?;
    let _calling = other.invite(uri(a.answer.required("Contact")?)).await?;
    assert_eq!(scene.far.invited(SOON).await?.request.message.uri(), original);
    Ok(())
}

crate::over_tcp::the_same_over_tcp!(
    after_the_session_and_a_restart_the_contact_still_leads_to_the_far_end,
    another_device_of_the_user_may_use_the_contact_too
);
