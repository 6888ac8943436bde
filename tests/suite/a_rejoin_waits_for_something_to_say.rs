//! Clause 8.2.2.7.1: where no policy decides on long-lived group sessions, the controlling function hears of a re-join
//! when the client says something.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::{
    actor::{Call, Scene},
    msrp::Outgoing,
    sip::{param, uri},
    wait::{QUIET, SOON, never},
};

use super::a_lost_client_comes_back::{group, rejoin};

const UNDECIDED: &str = "long_lived_groups = \"undecided\"";
const INACTIVE: &str = "SIP;cause=480;text=\"Bearer unavailable\"";

/// UE-A has left a group session and has been answered to its re-join; the far end has not heard of that.
async fn answered(policy: &str) -> Result<(Scene, Call)> {
    let (scene, mut a, mut far, identity) = group("", policy, &["UE-A", "UE-B"]).await?;
    scene.device(1).invited(SOON).await?.refuse(486, "Busy Here").await?;
    let (bye, ends) = tokio::join!(far.dialog.bye(Some(INACTIVE)), a.hung_up());
    ensure!(bye?.code() == 200);
    ends?;
    let back = rejoin(scene.a(), &identity).await?.answered(SOON).await?;
    back.media.ready(SOON).await?;
    let contact = back.answer.required("Contact")?;
    assert_eq!(uri(contact), identity);
    assert_eq!(param(contact, "isfocus"), Some(""), "{contact}");
    assert_eq!(scene.pf.cli_json("sessions")?[0]["state"], "waiting for a message");
    Ok((scene, back))
}

/// The far end hears of it by this message, and gets it.
async fn says(policy: &str, message: Outgoing) -> Result<()> {
    let (scene, back) = answered(policy).await?;
    // The connection is there, and a SEND without a body has bound it: that says nothing.
    never(Duration::from_secs(5), "an INVITE for the far end", scene.far.invited(SOON)).await?;
    let sending = back.media.send(&message).await?;
    let invited = scene.far.invited(SOON).await?;
    assert_eq!(invited.request.message.uri(), scene.far.agent.contact_uri("bob"));
    let mut far = invited.accept().await?;
    let got = far.media.message(SOON).await?;
    assert_eq!((&got.message_id, &got.body), (&message.message_id, &message.body));
    sending.accepted(SOON).await?;
    scene.verify()
}

// Rows: JOIN-05, AMB-28
#[tokio::test]
async fn a_user_message_brings_it_to_the_controlling_function() -> Result<()> {
    says(UNDECIDED, Outgoing::chat(Scene::ALICE, Scene::BOB, "hello again")).await
}

// Rows: JOIN-05
#[tokio::test]
async fn so_does_an_is_composing_message() -> Result<()> {
    let body = "<?xml version=\"1.0\"?><isComposing xmlns=\"urn:ietf:params:xml:ns:im-iscomposing\">\
                <state>active</state></isComposing>";
    says(UNDECIDED, Outgoing::new("application/im-iscomposing+xml", body)).await
}

// Rows: AMB-29
#[tokio::test]
async fn a_restart_waits_too_where_the_operator_wants_that() -> Result<()> {
    let policy = "restart_group_sessions = true\nrestart_at_first_message = true";
    says(policy, Outgoing::chat(Scene::ALICE, Scene::BOB, "hello again")).await
}

// Rows: JOIN-06, JOIN-07
#[tokio::test]
async fn what_is_said_meanwhile_comes_in_order_and_the_session_is_whole() -> Result<()> {
    let (scene, mut back) = answered(UNDECIDED).await?;
    let messages: Vec<Outgoing> = (0..4)
        .map(|n| Outgoing::chat(Scene::ALICE, Scene::BOB, &format!("{n} ").repeat(800)).chunked(1000))
        .collect();
    // The SEND without a body that bound the connection.
    let bound = back.media.answered(200);
    let mut sending = Vec::new();
    for message in &messages {
        sending.push(back.media.send(message).await?);
    }
    let invited = scene.far.invited(SOON).await?;
    tokio::time::sleep(QUIET).await;
    assert_eq!(back.media.answered(200), bound, "nothing is answered before the controlling function has it");
    let mut far = invited.accept().await?;
    for message in &messages {
        let got = far.media.message(SOON).await?;
        assert_eq!((&got.message_id, &got.body), (&message.message_id, &message.body));
    }
    for sending in sending {
        sending.accepted(SOON).await?;
    }
    let mut b = scene.device(1).invited(SOON).await?.accept().await?;
    b.media.ready(SOON).await?;
    let sent = far.media.chat(Scene::BOB, Scene::ALICE, "welcome back").await?;
    assert_eq!(back.media.message(SOON).await?.body, sent.body);
    // UE-B is in the session from its new beginning: it gets what set it going, too.
    for message in messages.iter().chain([&sent]) {
        let got = b.media.message(SOON).await?;
        assert_eq!((&got.message_id, &got.body), (&message.message_id, &message.body));
    }
    let (bye, b_ends, ends) = tokio::join!(back.hang_up(), b.hung_up(), far.hung_up());
    bye?;
    b_ends?;
    ends?;
    scene.verify()
}

// Rows: JOIN-06
#[tokio::test]
async fn an_error_of_the_controlling_function_ends_the_clients_session() -> Result<()> {
    let (scene, mut back) = answered(UNDECIDED).await?;
    let _sending = back.media.send(&Outgoing::chat(Scene::ALICE, Scene::BOB, "anybody?")).await?;
    scene.far.invited(SOON).await?.refuse(404, "Not Found").await?;
    let bye = back.hung_up().await?;
    assert_eq!(bye.required("Reason")?, "SIP;cause=404;text=\"Not Found\"");
    scene.verify()
}

#[tokio::test]
async fn who_says_nothing_can_leave_unnoticed() -> Result<()> {
    let (scene, mut back) = answered(UNDECIDED).await?;
    let before = scene.trace.sip("pf", "FAR", "INVITE").len();
    back.hang_up().await?;
    assert_eq!(scene.trace.sip("pf", "FAR", "INVITE").len(), before);
    assert_eq!(scene.pf.cli_json("sessions")?.as_array().map(Vec::len), Some(0));
    scene.verify()
}

crate::over_tcp::the_same_over_tcp!(
    a_user_message_brings_it_to_the_controlling_function,
    so_does_an_is_composing_message,
    a_restart_waits_too_where_the_operator_wants_that,
    what_is_said_meanwhile_comes_in_order_and_the_session_is_whole,
    an_error_of_the_controlling_function_ends_the_clients_session,
    who_says_nothing_can_leave_unnoticed
);
