//! What is neither a SIP nor a tel URI is for the Interworking Selection Function.

use anyhow::Result;
use lab::{
    actor::{Party, Scene, SceneOptions},
    net::Place,
    sip::{SdpOptions, Transport},
    wait::{QUIET, SOON},
};

// Rows: INV-28, INV-29
#[tokio::test]
async fn mail_addresses_go_to_the_isf() -> Result<()> {
    let trace = lab::trace::Trace::default();
    let isf = Party::start("ISF", &Place::loopback(8), Transport::usual(), "sip:isf@x", &trace)?;
    let scene = Scene::start(SceneOptions {
        devices: vec!["UE-A"],
        isf: Some(isf.agent.local()),
        ..SceneOptions::default()
    })
    .await?;
    let offer = SdpOptions::setup("active");
    let calling = scene.a().invite_with("mailto:carol@mail.example", &offer, |_| {}).await?;
    let invited = isf.invited(SOON).await?;
    assert_eq!(invited.request.message.uri(), "mailto:carol@mail.example");
    let mut there = invited.accept().await?;
    let here = calling.answered(SOON).await?;
    there.media.ready(SOON).await?;
    let sent = here.media.chat(Scene::ALICE, "mailto:carol@mail.example", "hello").await?;
    assert_eq!(there.media.message(SOON).await?.body, sent.body);
    scene.far.agent.no_request(QUIET).await?;
    // SIP and tel URIs go to the core, and not there.
    for target in [Scene::BOB, "tel:+15550100"] {
        let calling = scene.a().invite(target).await?;
        let invited = scene.far.invited(SOON).await?;
        assert_eq!(invited.request.message.uri(), target);
        let _there = invited.accept().await?;
        let _here = calling.answered(SOON).await?;
    }
    isf.agent.no_request(QUIET).await?;
    scene.verify()
}

crate::over_tcp::the_same_over_tcp!(mail_addresses_go_to_the_isf);
