//! The operator may require a CPM release of the clients.

use anyhow::Result;
use lab::{
    actor::{Device, Scene, SceneOptions, Ue},
    net::Place,
    sip::SdpOptions,
    wait::{QUIET, SOON},
};

fn required() -> SceneOptions {
    let policy = "client_version = { minimum = \"2.2\" }".to_owned();
    SceneOptions { policy, devices: vec!["UE-A"], ..SceneOptions::default() }
}

// Rows: INV-05
#[tokio::test]
async fn old_client_gets_403_132() -> Result<()> {
    let scene = Scene::start(required()).await?;
    let offer = SdpOptions::setup("active");
    for user_agent in [Some("CPM-client/OMA1.0 lab/1"), Some("MCO-CPM-Client/OMA2.2"), None] {
        let calling = scene.a().invite_with(Scene::BOB, &offer, |invite| match user_agent {
            Some(user_agent) => invite.set("User-Agent", user_agent),
            None => invite.remove("User-Agent"),
        });
        let refusal = calling.await?.refused(SOON).await?;
        assert_eq!(refusal.code(), 403, "{user_agent:?}");
        let warning = refusal.required("Warning")?;
        assert!(warning.ends_with(" \"132 Version not supported\""), "{warning}");
    }
    scene.far.agent.no_request(QUIET).await?;
    scene.verify()
}

// Rows: INV-04
#[tokio::test]
async fn no_version_is_asked_for_by_default() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let offer = SdpOptions::setup("active");
    let calling = scene.a().invite_with(Scene::BOB, &offer, |invite| invite.remove("User-Agent"));
    let calling = calling.await?;
    let _far = scene.far.invited(SOON).await?.accept().await?;
    let _a = calling.answered(SOON).await?;
    Ok(())
}

// Rows: DD-02, REG-07
#[tokio::test]
async fn only_devices_of_the_required_release_are_invited() -> Result<()> {
    let scene = Scene::start(required()).await?;
    let proxy = scene.at;
    let mut others = Vec::new();
    for (place, release) in [(12, "2.2"), (13, "1.0")] {
        let mut device = Device::of_alice(release);
        device.user_agent = format!("CPM-client/OMA{release} lab/1");
        let mut ue = Ue::start(release, &Place::loopback(place), device, proxy, &scene.trace)?;
        ue.register().await?;
        others.push(ue);
    }
    let (a, mut far) = scene.call().await?;
    let mut new = others[0].invited(SOON).await?.accept().await?;
    new.media.ready(SOON).await?;
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "hello").await?;
    assert_eq!(new.media.message(SOON).await?.body, sent.body);
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
    others[1].agent.no_request(QUIET).await
}

// Rows: DD-03
#[tokio::test]
async fn without_a_device_of_the_required_release_the_session_goes_on() -> Result<()> {
    let scene = Scene::start(required()).await?;
    let proxy = scene.at;
    let mut device = Device::of_alice("old");
    device.user_agent = "CPM-client/OMA1.0".to_owned();
    let mut old = Ue::start("UE-B", &Place::loopback(12), device, proxy, &scene.trace)?;
    old.register().await?;
    let (a, mut far) = scene.call().await?;
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "hello").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
    old.agent.no_request(QUIET).await
}

crate::over_tcp::the_same_over_tcp!(
    old_client_gets_403_132,
    no_version_is_asked_for_by_default,
    only_devices_of_the_required_release_are_invited,
    without_a_device_of_the_required_release_the_session_goes_on
);
