//! Clause 8.2.2.5 step 1: a re-INVITE passes the checks of an INVITE as they are now, and the session outlives a refusal.

use anyhow::{Context, Result, ensure};
use lab::{
    actor::{Call, Scene, SceneOptions},
    sip::{Message, Transport},
    wait::{QUIET, SOON},
};

use super::{
    sessions_change_on_the_way::{accept, changed, re_invite},
    sessions_nobody_needs_pf_for_are_proxied::{PROXY, proxied},
};

/// A re-INVITE that says something new.
fn change(call: &mut Call) -> Result<Message> {
    call.invite.body = changed(&call.invite.body)?;
    let offer = call.invite.body.clone();
    Ok(re_invite(call, offer))
}

/// UE-A's re-INVITE is refused with this warning, and the far end hears nothing of it.
async fn refused(a: &mut Call, far: &mut Call, text: &str, edit: impl FnOnce(&mut Message)) -> Result<()> {
    let mut request = change(a)?;
    edit(&mut request);
    let refusal = a.dialog.send(request).await?.last(SOON).await?;
    assert_eq!(refusal.code(), 403, "{text}");
    let warning = refusal.required("Warning")?;
    ensure!(warning.starts_with("399 ") && warning.ends_with(&format!(" \"{text}\"")), "{warning}");
    far.dialog.next_request(QUIET).await.err().context("the far end got something")?;
    Ok(())
}

/// UE-A's re-INVITE reaches the far end.
async fn passes(a: &mut Call, far: &mut Call, edit: impl FnOnce(&mut Message)) -> Result<()> {
    let mut request = change(a)?;
    edit(&mut request);
    let number = request.cseq();
    let mut tx = a.dialog.send(request).await?;
    let to_far = far.dialog.expect("INVITE", SOON).await?;
    accept(far, &to_far, far.answer.body.clone()).await?;
    assert_eq!(tx.last(SOON).await?.code(), 200);
    a.dialog.ack(number, None).await?;
    to_far.acked(SOON).await?;
    Ok(())
}

/// Both sides hear each other.
async fn talk(a: &mut Call, far: &mut Call) -> Result<()> {
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "to the far end").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
    let sent = far.media.chat(Scene::BOB, Scene::ALICE, "and back").await?;
    assert_eq!(a.media.message(SOON).await?.body, sent.body);
    Ok(())
}

// Rows: MOD-01
#[tokio::test]
async fn whoever_may_not_start_a_session_any_more_may_not_change_one() -> Result<()> {
    let barred = format!("barred = [\"{}\"]", Scene::ALICE);
    for mode in ["direct_delivery = false", PROXY] {
        let scene = Scene::start(SceneOptions {
            devices: vec!["UE-A"],
            policy: mode.into(),
            ..SceneOptions::default()
        })
        .await?;
        let (mut a, mut far) = scene.call().await?;
        let (a, far) = (&mut a, &mut far);
        passes(a, far, |_| {}).await?;

        scene.pf.reload_policy(&format!("{mode}\n{barred}"))?;
        refused(a, far, "127 Service not authorised", |_| {}).await?;
        talk(a, far).await?;

        scene.pf.reload_policy(&format!("{mode}\nclient_version = {{ minimum = \"2.2\" }}"))?;
        passes(a, far, |_| {}).await?;
        refused(a, far, "132 Version not supported", |request| {
            request.set("User-Agent", "CPM-client/OMA1.0 lab/1");
        })
        .await?;
        refused(a, far, "132 Version not supported", |request| request.remove("User-Agent")).await?;
        talk(a, far).await?;

        scene.pf.reload_policy(&format!("{mode}\nallow_anonymity = false"))?;
        passes(a, far, |_| {}).await?;
        refused(a, far, "119 Anonymity not allowed", |request| request.set("Privacy", "id")).await?;
        talk(a, far).await?;

        // The user's other sessions fare no better, and the far end may change this one all the same.
        scene.pf.reload_policy(&format!("{mode}\n{barred}"))?;
        let refusal = scene.a().invite(Scene::BOB).await?.refused(SOON).await?;
        assert_eq!(refusal.code(), 403);
        let offer = changed(&far.answer.body)?;
        let request = re_invite(far, offer);
        let mut tx = far.dialog.send(request.clone()).await?;
        let to_a = a.dialog.expect("INVITE", SOON).await?;
        accept(a, &to_a, a.invite.body.clone()).await?;
        assert_eq!(tx.last(SOON).await?.code(), 200);
        far.dialog.ack(request.cseq(), None).await?;
        to_a.acked(SOON).await?;
        talk(a, far).await?;
        let (bye, done) = tokio::join!(far.hung_up(), a.hang_up());
        bye?;
        done?;
        scene.verify()?;
    }
    Ok(())
}

#[tokio::test]
async fn a_proxy_that_has_forgotten_the_session_looks_at_what_the_request_says() -> Result<()> {
    let mut scene = proxied(Transport::Udp).await?;
    let (mut a, mut far) = scene.call().await?;
    let (a, far) = (&mut a, &mut far);
    scene.pf.restart()?;
    passes(a, far, |_| {}).await?;
    let barred = format!("barred = [\"{}\"]", Scene::ALICE);
    scene.pf.reload_policy(&format!("{PROXY}\n{barred}\nallow_anonymity = false"))?;
    refused(a, far, "127 Service not authorised", |_| {}).await?;
    scene.pf.reload_policy(&format!("{PROXY}\nallow_anonymity = false"))?;
    refused(a, far, "119 Anonymity not allowed", |request| request.set("Privacy", "id")).await?;
    passes(a, far, |_| {}).await?;
    talk(a, far).await?;
    scene.verify()
}
