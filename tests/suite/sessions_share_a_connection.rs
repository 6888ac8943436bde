//! One TCP connection for several sessions with the same far end (RFC 4975 section 5.4).

use anyhow::{Context, Result};
use lab::{
    actor::{Call, Scene, SceneOptions},
    msrp::{Frame, Wire},
    sip::SdpOptions,
    wait::{QUIET, SOON, never, within},
};
use tokio::net::TcpListener;

/// Starts a session whose far end is at `listener`, with this path.
async fn session(scene: &Scene, listener: &TcpListener, path: &str) -> Result<Call> {
    let calling = scene.a().invite(Scene::BOB).await?;
    let invited = scene.far.invited(SOON).await?;
    let offer = invited.offer()?;
    let at = listener.local_addr()?;
    let options = SdpOptions::setup("passive");
    let edit = |answer: &mut lab::sip::Message| answer.set_body("application/sdp", options.write(at, path));
    // Its media side is the test's own.
    let _far = invited.negotiate(offer, &options, edit).await?;
    let a = calling.answered(SOON).await?;
    a.media.ready(SOON).await?;
    Ok(a)
}

async fn accept(scene: &Scene, listener: &TcpListener) -> Result<Wire> {
    let (stream, _) = within(SOON, "a connection", async { Ok(listener.accept().await?) }).await?;
    Ok(Wire::new("FAR", stream, &scene.trace)?)
}

/// The next request, which is for `path`; it is answered 200.
async fn request(wire: &mut Wire, path: &str) -> Result<Frame> {
    let frame = wire.frame(SOON).await?;
    assert_eq!((frame.head.method(), frame.head.header("To-Path")), ("SEND", Some(path)));
    wire.send(&frame.head.response(200, "OK", path)?).await?;
    Ok(frame)
}

async fn scene(reuse: bool) -> Result<(Scene, TcpListener, [String; 2])> {
    let msrp = format!("reuse_connections = {reuse}");
    let scene = Scene::start(SceneOptions { devices: vec!["UE-A"], msrp, ..SceneOptions::default() }).await?;
    let listener = scene.far.place.listen(0)?;
    let at = listener.local_addr()?;
    let paths = ["one", "two"].map(|name| format!("msrp://{at}/{name}{};tcp", lab::token(10)));
    Ok((scene, listener, paths))
}

// Rows: MED-11
#[tokio::test]
async fn two_sessions_with_one_far_end_share_a_connection() -> Result<()> {
    let (scene, listener, paths) = scene(true).await?;
    let first = session(&scene, &listener, &paths[0]).await?;
    let mut wire = accept(&scene, &listener).await?;
    request(&mut wire, &paths[0]).await?;
    let mut second = session(&scene, &listener, &paths[1]).await?;
    request(&mut wire, &paths[1]).await.context("the second session on the first one's connection")?;
    never(QUIET, "another connection", listener.accept()).await?;
    for (call, path, text) in [(&first, &paths[0], "to one"), (&second, &paths[1], "to two")] {
        let sending = call.media.send(&lab::msrp::Outgoing::chat(Scene::ALICE, Scene::BOB, text)).await?;
        let frame = request(&mut wire, path).await?;
        assert!(frame.body.is_some_and(|body| body.ends_with(text.as_bytes())));
        sending.accepted(SOON).await?;
    }
    // The end of one is not the end of the other.
    let bye = second.dialog.start_bye(None).await?;
    second.media.closed(SOON).await?;
    let sending = first.media.send(&lab::msrp::Outgoing::chat(Scene::ALICE, Scene::BOB, "still")).await?;
    request(&mut wire, &paths[0]).await?;
    sending.accepted(SOON).await?;
    drop(bye);
    Ok(())
}

// Rows: MED-11
#[tokio::test]
async fn without_reuse_each_session_has_its_own() -> Result<()> {
    let (scene, listener, paths) = scene(false).await?;
    let _first = session(&scene, &listener, &paths[0]).await?;
    let mut one = accept(&scene, &listener).await?;
    request(&mut one, &paths[0]).await?;
    let _second = session(&scene, &listener, &paths[1]).await?;
    let mut two = accept(&scene, &listener).await.context("a connection of the second session's own")?;
    request(&mut two, &paths[1]).await?;
    one.silent(QUIET / 4).await
}
