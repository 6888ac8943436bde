//! CEMA, plain RFC 4975, and matching by session-id.

use anyhow::Result;
use lab::{
    actor::{Scene, SceneOptions},
    msrp::{Flag, Frame, Head, MsrpUri, Wire},
    sip::SdpOptions,
    wait::{QUIET, SOON, never, within},
};

// Rows: MED-14
#[tokio::test]
async fn with_cema_pf_connects_to_the_media_line() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let elsewhere = scene.far.place.listen(0)?;
    let calling = scene.a().invite(Scene::BOB).await?;
    let invited = scene.far.invited(SOON).await?;
    let answer =
        SdpOptions { cema: true, socket: Some(elsewhere.local_addr()?), ..SdpOptions::setup("passive") };
    let far = invited.accept_with(&answer, |_| {}).await?;
    let _a = calling.answered(SOON).await?;
    let (stream, _) =
        within(SOON, "a connection to the m= line", async { Ok(elsewhere.accept().await?) }).await?;
    let mut wire = Wire::new("FAR", stream, &scene.trace)?;
    let first = wire.frame(SOON).await?;
    assert_eq!(first.head.method(), "SEND");
    assert_eq!(first.head.header("To-Path"), Some(far.media.uri.as_str()));
    Ok(())
}

// Rows: MED-15
#[tokio::test]
async fn without_cema_pf_connects_to_the_path() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let elsewhere = scene.far.place.listen(0)?;
    let calling = scene.a().invite(Scene::BOB).await?;
    let invited = scene.far.invited(SOON).await?;
    let answer = SdpOptions { socket: Some(elsewhere.local_addr()?), ..SdpOptions::setup("passive") };
    let far = invited.accept_with(&answer, |_| {}).await?;
    let _a = calling.answered(SOON).await?;
    far.media.ready(SOON).await?;
    never(QUIET / 4, "a connection to the m= line", elsewhere.accept()).await
}

/// What a SEND is answered whose To-Path has a foreign authority and the right session-id.
async fn foreign_authority(policy: &str, cema: bool) -> Result<u16> {
    let scene = Scene::start(SceneOptions {
        policy: policy.to_owned(),
        devices: vec!["UE-A"],
        ..SceneOptions::default()
    })
    .await?;
    let offer = SdpOptions { cema, ..SdpOptions::setup("active") };
    let calling = scene.a().invite_with(Scene::BOB, &offer, |_| {}).await?;
    let _far = scene.far.invited(SOON).await?.accept().await?;
    let a = calling.answered(SOON).await?;
    a.media.ready(SOON).await?;
    let uri = MsrpUri::parse(&a.media.remote[0])?;
    let to = format!("msrp://203.0.113.7:7654/{};tcp", uri.session);
    let head = Head::request("SEND", &lab::token(8), &to, &a.media.uri)
        .with("Message-ID", lab::token(8))
        .with("Byte-Range", "1-2/2")
        .with("Content-Type", "text/plain");
    let answer = a.media.request(&Frame::with_body(head, &b"hi"[..], Flag::End)).await?;
    within(SOON, "an answer", async { Ok(answer.await?.code()) }).await
}

// Rows: MED-02
#[tokio::test]
async fn a_foreign_authority_matches_where_the_operator_wants_it() -> Result<()> {
    assert_eq!(foreign_authority("legacy_matching = true", false).await?, 200);
    assert_eq!(foreign_authority("legacy_matching = false", false).await?, 481);
    Ok(())
}

// Rows: MED-03
#[tokio::test]
async fn with_cema_the_whole_uri_is_compared() -> Result<()> {
    assert_eq!(foreign_authority("legacy_matching = true", true).await?, 481);
    Ok(())
}
