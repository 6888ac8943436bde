//! Clause 8.2.2.7: which INVITE is a re-join, and what becomes of one whose session `pf` is not connected in.

use anyhow::Result;
use lab::{
    actor::{Calling, ICSI_GROUP, Party, Scene, SceneOptions},
    sip::{Dialog, Message, SdpOptions, Transport, uri},
    wait::{QUIET, SOON, never},
};

use super::{
    a_lost_client_comes_back::{group, lose, rejoin},
    participants_are_asked_of_the_focus::notify,
    storing_comes_before_the_end::group_call,
};

const INACTIVE: &str = "SIP;cause=480;text=\"Bearer unavailable\"";
const GONE: &str = "SIP;cause=410;text=\"Gone\"";

/// A group session that its controlling function has ended with this Reason, and its identity.
async fn ended(policy: &str, reason: &str) -> Result<(Scene, String)> {
    let (scene, mut a, mut far, identity) = group("", policy, &["UE-A"]).await?;
    let (bye, ends) = tokio::join!(far.dialog.bye(Some(reason)), a.hung_up());
    assert_eq!(bye?.code(), 200);
    ends?;
    Ok((scene, identity))
}

/// It gets 403, and the far end nothing.
async fn forbidden(scene: &Scene, calling: Calling) -> Result<()> {
    let before = scene.trace.sip("pf", "FAR", "INVITE").len();
    let refusal = calling.refused(SOON).await?;
    assert_eq!(refusal.code(), 403);
    assert!(refusal.required("Warning")?.contains("\"127 Service not authorised\""));
    assert_eq!(scene.trace.sip("pf", "FAR", "INVITE").len(), before);
    scene.verify()
}

/// It reaches the far end, which accepts.
async fn invited(scene: &Scene, calling: Calling) -> Result<Message> {
    let invited = scene.far.invited(SOON).await?;
    let invite = invited.request.message.clone();
    assert_eq!(invite.uri(), scene.far.agent.contact_uri("bob"), "the focus itself");
    let mut far = invited.accept().await?;
    let a = calling.answered(SOON).await?;
    a.media.ready(SOON).await?;
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "again").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
    scene.verify()?;
    Ok(invite)
}

/// A group session whose client is lost, and of which the controlling function says that it is inactive.
async fn without_resource(policy: &str) -> Result<(Scene, lab::actor::Call, String)> {
    let (scene, mut a, far, identity) = group("allow_store = true", policy, &["UE-A"]).await?;
    lose(&scene, &mut a).await?;
    let subscribe = scene.far.agent.next_request(SOON).await?;
    let mut dialog = Dialog::callee(&scene.far.agent, &subscribe)?;
    let ok = subscribe.reply(200, "OK").with("Contact", far.party.contact()).with("Expires", "3600");
    subscribe.respond(ok).await?;
    let last = notify(&mut dialog, &far, 1, "terminated;reason=noresource", &[Scene::BOB]);
    assert_eq!(dialog.send(last).await?.last(SOON).await?.code(), 200);
    Ok((scene, far, identity))
}

// Rows: JOIN-04, JOIN-09, JOIN-11
#[tokio::test]
async fn nobody_where_the_operator_has_not_allowed_it() -> Result<()> {
    let (scene, identity) = ended("", INACTIVE).await?;
    let calling = rejoin(scene.a(), &identity).await?;
    forbidden(&scene, calling).await?;
    let (scene, _far, identity) = without_resource("").await?;
    let calling = rejoin(scene.a(), &identity).await?;
    forbidden(&scene, calling).await?;
    let policy = "restart_group_sessions = true\nrestart_controlling_functions = [\"focus.example.net\"]";
    let (scene, identity) = ended(policy, INACTIVE).await?;
    let calling = rejoin(scene.a(), &identity).await?;
    forbidden(&scene, calling).await
}

#[tokio::test]
async fn nobody_when_the_session_has_ended_for_good() -> Result<()> {
    let (scene, identity) = ended("restart_group_sessions = true", GONE).await?;
    let calling = rejoin(scene.a(), &identity).await?;
    forbidden(&scene, calling).await
}

// Rows: JOIN-04, JOIN-09, JOIN-10
#[tokio::test]
async fn its_user_where_that_is_allowed() -> Result<()> {
    let (scene, identity) = ended("restart_group_sessions = true", INACTIVE).await?;
    let far = scene.far.agent.local().ip();
    let calling = rejoin(scene.a(), &identity).await?;
    invited(&scene, calling).await?;
    let policy = format!("restart_group_sessions = true\nrestart_controlling_functions = [\"{far}\"]");
    let (scene, identity) = ended(&policy, INACTIVE).await?;
    let calling = rejoin(scene.a(), &identity).await?;
    invited(&scene, calling).await?;
    // What is left of one without a resource ends then.
    let (scene, mut far, identity) = without_resource("restart_group_sessions = true").await?;
    let calling = rejoin(scene.a(), &identity).await?;
    far.hung_up().await?;
    invited(&scene, calling).await?;
    Ok(())
}

// Rows: JOIN-16
#[tokio::test]
async fn who_has_left_an_active_session_joins_it_like_any_other() -> Result<()> {
    let (scene, mut a, mut far, identity) = group("allow_defer = true", "", &["UE-A"]).await?;
    let (bye, ends) = tokio::join!(a.hang_up(), far.hung_up());
    bye?;
    ends?;
    let calling = rejoin(scene.a(), &identity).await?;
    let invite = invited(&scene, calling).await?;
    assert_ne!(invite.required("Call-ID")?, far.invite.required("Call-ID")?);
    Ok(())
}

// Rows: JOIN-02
#[tokio::test]
async fn with_a_list_of_participants_it_is_a_new_session() -> Result<()> {
    let (scene, mut a, mut far, identity) = group("allow_defer = true", "", &["UE-A"]).await?;
    lose(&scene, &mut a).await?;
    let list =
        "<?xml version=\"1.0\"?>\r\n<resource-lists><list><entry uri=\"sip:c@x\"/></list></resource-lists>";
    let calling = scene
        .a()
        .invite_with(&identity, &SdpOptions::setup("active"), |invite| {
            let sdp = String::from_utf8_lossy(&invite.body).into_owned();
            let body = format!(
                "--b\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--b\r\nContent-Type: \
                 application/resource-lists+xml\r\nContent-Disposition: recipient-list\r\n\r\n{list}\r\n--b--\r\n"
            );
            invite.set_body("multipart/mixed;boundary=b", body.into_bytes());
            invite.headers.push(("Require".into(), "recipient-list-invite".into()));
            invite.set("P-Preferred-Service", ICSI_GROUP);
        })
        .await?;
    let invited = scene.far.invited(SOON).await?;
    assert_eq!(invited.request.message.uri(), scene.far.agent.contact_uri("bob"));
    assert!(String::from_utf8_lossy(&invited.request.message.body).contains(list));
    invited.refuse(486, "Busy Here").await?;
    assert_eq!(calling.refused(SOON).await?.code(), 486);
    // The other one goes on as it was.
    never(QUIET, "something for the far end", far.dialog.next_request(SOON)).await?;
    assert_eq!(scene.pf.cli_json("sessions")?[0]["state"], "client lost");
    Ok(())
}

// Rows: JOIN-03, AMB-27
#[tokio::test]
async fn a_user_who_is_not_in_the_session_starts_one_of_her_own() -> Result<()> {
    let scene = Scene::start(SceneOptions {
        devices: vec!["UE-A"],
        user: "allow_defer = true".into(),
        store: "kind = \"journal\"".into(),
        others: vec![("sip:carol@example.org".into(), "carol".into(), "secret".into())],
        ..SceneOptions::default()
    })
    .await?;
    let (mut a, far) = group_call(&scene).await?;
    let identity = uri(a.answer.required("Contact")?).to_owned();
    lose(&scene, &mut a).await?;
    // A node of the core vouches for who calls; her Contact claims to be the other user's.
    let place = &scene.far.place;
    let carol = Party::start("CSCF", place, Transport::usual(), "sip:carol@example.org", &scene.trace)?;
    let calling = carol
        .invite_with(&identity, &SdpOptions::setup("active"), |invite| {
            invite.set("P-Asserted-Identity", "<sip:carol@example.org>");
            invite.set("P-Preferred-Service", ICSI_GROUP);
            let contact = invite.header("Contact").unwrap_or_default().replace("carol", "alice");
            invite.set("Contact", contact);
        })
        .await?;
    let invited = scene.far.invited(SOON).await?;
    assert_eq!(invited.request.message.uri(), scene.far.agent.contact_uri("bob"));
    assert_eq!(invited.request.message.required("P-Asserted-Identity")?, "<sip:carol@example.org>");
    invited.refuse(486, "Busy Here").await?;
    assert_eq!(calling.refused(SOON).await?.code(), 486);
    assert!(far.media.is_up());
    assert_eq!(scene.pf.cli_json("sessions")?[0]["state"], "client lost");
    // The one whose session it is has the same INVITE taken otherwise.
    let back = rejoin(scene.a(), &identity).await?.answered(SOON).await?;
    back.media.ready(SOON).await?;
    assert_eq!(scene.trace.sip("pf", "FAR", "INVITE").len(), 2);
    scene.verify()
}

crate::over_tcp::the_same_over_tcp!(
    nobody_where_the_operator_has_not_allowed_it,
    nobody_when_the_session_has_ended_for_good,
    its_user_where_that_is_allowed,
    who_has_left_an_active_session_joins_it_like_any_other,
    with_a_list_of_participants_it_is_a_new_session,
    a_user_who_is_not_in_the_session_starts_one_of_her_own
);
