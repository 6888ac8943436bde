//! CEMA, plain RFC 4975, and matching by session-id.

use anyhow::{Context, Result};
use lab::{
    actor::{Scene, SceneOptions},
    msrp::{Flag, Frame, Head, MsrpUri, Wire},
    sip::SdpOptions,
    wait::{QUIET, SOON, never, within},
};

// Rows: MED-12, MED-14
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

// Rows: MED-15, AMB-09
#[tokio::test]
async fn a_far_end_that_connects_itself_is_waited_for_whatever_its_addresses() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let elsewhere = scene.far.place.listen(0)?;
    let answer = SdpOptions { socket: Some(elsewhere.local_addr()?), ..SdpOptions::setup("active") };
    let offer = SdpOptions { cema: true, ..SdpOptions::setup("active") };
    let calling = scene.a().invite_with(Scene::BOB, &offer, |_| {}).await?;
    let mut far = scene.far.invited(SOON).await?.accept_with(&answer, |_| {}).await?;
    let a = calling.answered(SOON).await?;
    a.media.ready(SOON).await?;
    far.media.ready(SOON).await?;
    // UE-A does CEMA and pf does not: no new offer without it is due.
    assert!(a.invite.body.windows(9).any(|octets| octets == b"msrp-cema"));
    assert_eq!(far.peer_sdp.msrp()?.attribute("msrp-cema"), None);
    far.dialog.next_request(QUIET).await.err().context("another offer")?;
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "hello").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
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

/// The far end's answer has another address in its `m=` line than in its path: where does pf connect to, and what is
/// a SEND of the far end answered whose To-Path has a foreign authority and the right session-id?
async fn far_end_behind_a_border(policy: &str, cema: bool) -> Result<(bool, u16)> {
    let policy = policy.to_owned();
    let scene =
        Scene::start(SceneOptions { policy, devices: vec!["UE-A"], ..SceneOptions::default() }).await?;
    let border = scene.far.place.listen(0)?;
    let behind = scene.far.place.listen(0)?;
    let path = format!("msrp://{}/{};tcp", behind.local_addr()?, lab::token(10));
    let calling = scene.a().invite(Scene::BOB).await?;
    let invited = scene.far.invited(SOON).await?;
    let offer = invited.offer()?;
    let ours = offer.msrp()?.path()?[0].clone();
    let answer = SdpOptions { cema, ..SdpOptions::setup("passive") };
    let at = border.local_addr()?;
    let _far = invited
        .negotiate(offer, &answer, |ok| ok.set_body("application/sdp", answer.write(at, &path)))
        .await?;
    let mut a = calling.answered(SOON).await?;
    let accepted = async {
        tokio::select! {
            stream = border.accept() => Ok((true, stream?.0)),
            stream = behind.accept() => Ok((false, stream?.0)),
        }
    };
    let (at_border, stream) = within(SOON, "a connection", accepted).await?;
    let mut wire = Wire::new("FAR", stream, &scene.trace)?;
    let first = wire.frame(SOON).await?;
    assert_eq!(first.head.header("To-Path"), Some(path.as_str()), "the path as it was received");
    wire.send(&first.head.response(200, "OK", &path)?).await?;
    let session = MsrpUri::parse(&ours)?.session;
    let head =
        Head::request("SEND", &lab::token(8), &format!("msrp://203.0.113.7:7654/{session};tcp"), &path)
            .with("Message-ID", lab::token(8))
            .with("Byte-Range", "1-2/2")
            .with("Content-Type", "text/plain");
    a.media.ready(SOON).await?;
    wire.send(&Frame::with_body(head, &b"hi"[..], Flag::End)).await?;
    let code = wire.frame(SOON).await?.head.code();
    if code == 200 {
        assert_eq!(a.media.message(SOON).await?.body, &b"hi"[..]);
    }
    Ok((at_border, code))
}

// Rows: MED-16
#[tokio::test]
async fn the_far_end_may_be_matched_by_session_id_too() -> Result<()> {
    assert_eq!(far_end_behind_a_border("legacy_matching = true", false).await?, (true, 200));
    assert_eq!(far_end_behind_a_border("legacy_matching = false", false).await?, (false, 481));
    assert_eq!(far_end_behind_a_border("legacy_matching = true", true).await?, (true, 481));
    Ok(())
}
