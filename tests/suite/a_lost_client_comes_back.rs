//! Clause 8.2.2.7.2: a group session went on without its client, and the client joins it again. The controlling
//! function sees nothing of that.

use anyhow::Result;
use lab::{
    actor::{Call, Calling, ICSI_GROUP, Scene, Ue},
    msrp::{Incoming, Outgoing, cpim},
    sip::{SdpOptions, uri},
    wait::{QUIET, SOON, never, until},
};

pub(crate) const LOST: &str = "SIP;cause=503;text=\"Service Unavailable\"";
const INACTIVE: &str = "SIP;cause=480;text=\"Bearer unavailable\"";

/// A group session of UE-A, whose user and operator have these settings.
pub(crate) async fn group(
    user: &str,
    policy: &str,
    devices: &[&'static str],
) -> Result<(Scene, Call, Call, String)> {
    let (scene, a, far) =
        super::a_group_session_goes_on_for_a_lost_client::group(user, policy, devices).await?;
    let identity = uri(a.answer.required("Contact")?).to_owned();
    Ok((scene, a, far, identity))
}

/// The core lost UE-A.
pub(crate) async fn lose(scene: &Scene, a: &mut Call) -> Result<()> {
    assert_eq!(a.dialog.bye(Some(LOST)).await?.code(), 200);
    a.media.closed(SOON).await?;
    assert_eq!(scene.pf.cli_json("sessions")?[0]["state"], "client lost");
    Ok(())
}

/// A device asks for the session with this identity.
pub(crate) async fn rejoin(device: &Ue, identity: &str) -> Result<Calling> {
    let offer = SdpOptions::setup("active");
    device.invite_with(identity, &offer, |invite| invite.set("P-Preferred-Service", ICSI_GROUP)).await
}

/// It is joined, and its MSRP connection is up.
async fn joined(device: &Ue, identity: &str) -> Result<Call> {
    let a = rejoin(device, identity).await?.answered(SOON).await?;
    a.media.ready(SOON).await?;
    Ok(a)
}

/// Messages go both ways.
async fn both_ways(a: &mut Call, far: &mut Call) -> Result<()> {
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "here I am again").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
    let sent = far.media.chat(Scene::BOB, Scene::ALICE, "welcome back").await?;
    assert_eq!(a.media.message(SOON).await?.body, sent.body);
    Ok(())
}

async fn nothing_left(scene: &Scene) -> Result<()> {
    until(SOON, "no session to be left", || {
        scene.pf.cli_json("sessions").is_ok_and(|list| list.as_array().is_some_and(Vec::is_empty))
    })
    .await
}

// Rows: BYE-48, JOIN-01, JOIN-13, JOIN-14
#[tokio::test]
async fn it_is_joined_to_the_same_session_and_can_end_it() -> Result<()> {
    for (user, policy) in [("", "restart_group_sessions = true"), ("allow_defer = true", "")] {
        let (scene, mut a, mut far, identity) = group(user, policy, &["UE-A"]).await?;
        let dialog = far.dialog.call_id.clone();
        lose(&scene, &mut a).await?;
        let mut back = joined(scene.a(), &identity).await?;
        assert_eq!(uri(back.answer.required("Contact")?), identity, "the same identity as before");
        assert_eq!(back.answer.header("Conversation-ID"), a.invite.header("Conversation-ID"));
        both_ways(&mut back, &mut far).await?;
        assert_eq!(scene.pf.cli_json("sessions")?[0]["state"], "established");
        assert_eq!(scene.trace.sip("pf", "FAR", "INVITE").len(), 1, "no new INVITE");
        // Lost once more, and back once more.
        lose(&scene, &mut back).await?;
        let mut back = joined(scene.a(), &identity).await?;
        both_ways(&mut back, &mut far).await?;
        assert_eq!(scene.trace.sip("pf", "FAR", "INVITE").len(), 1);
        // What the client says now is step 1 again: its BYE ends the session.
        let (bye, ends) = tokio::join!(back.hang_up(), far.hung_up());
        bye?;
        assert_eq!(ends?.required("Call-ID")?, dialog, "the dialog of the beginning");
        far.media.closed(SOON).await?;
        nothing_left(&scene).await?;
        scene.verify()?;
    }
    Ok(())
}

// Rows: BYE-48
#[tokio::test]
async fn before_and_after_that_the_controlling_function_can_end_it_too() -> Result<()> {
    for comes_back in [false, true] {
        let (scene, mut a, mut far, identity) = group("allow_defer = true", "", &["UE-A"]).await?;
        lose(&scene, &mut a).await?;
        let back = if comes_back { Some(joined(scene.a(), &identity).await?) } else { None };
        never(QUIET, "a BYE for the far end", far.dialog.next_request(SOON)).await?;
        match back {
            None => assert_eq!(far.dialog.bye(None).await?.code(), 200),
            Some(mut back) => {
                let (bye, ends) = tokio::join!(far.dialog.bye(None), back.hung_up());
                assert_eq!(bye?.code(), 200);
                ends?;
            }
        }
        far.media.closed(SOON).await?;
        nothing_left(&scene).await?;
        scene.verify()?;
    }
    Ok(())
}

// Rows: JOIN-04, JOIN-12
#[tokio::test]
async fn the_same_invite_is_treated_otherwise_when_the_session_is_inactive() -> Result<()> {
    for (policy, restarts) in [("", false), ("restart_group_sessions = true", true)] {
        let (scene, mut a, mut far, identity) = group("allow_defer = true", policy, &["UE-A"]).await?;
        lose(&scene, &mut a).await?;
        let mut back = joined(scene.a(), &identity).await?;
        assert_eq!(scene.trace.sip("pf", "FAR", "INVITE").len(), 1, "active: nothing at the far end");
        let (bye, ends) = tokio::join!(far.dialog.bye(Some(INACTIVE)), back.hung_up());
        assert_eq!(bye?.code(), 200);
        ends?;
        nothing_left(&scene).await?;
        let again = rejoin(scene.a(), &identity).await?;
        if restarts {
            let _far = scene.far.invited(SOON).await?.accept().await?;
            again.answered(SOON).await?.media.ready(SOON).await?;
        } else {
            assert_eq!(again.refused(SOON).await?.code(), 403);
            assert_eq!(scene.trace.sip("pf", "FAR", "INVITE").len(), 1);
        }
        scene.verify()?;
    }
    Ok(())
}

// Rows: JOIN-15
#[tokio::test]
async fn it_gets_what_it_missed_in_order_and_before_anything_new() -> Result<()> {
    let (scene, mut a, far, identity) = group("allow_defer = true", "", &["UE-A"]).await?;
    lose(&scene, &mut a).await?;
    let imdn = cpim(
        Scene::BOB,
        Scene::ALICE,
        "imdn-1",
        "message/imdn+xml",
        b"<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\"><message-id>m1</message-id></imdn>",
    );
    let missed = [
        Outgoing::chat(Scene::BOB, Scene::ALICE, "first"),
        Outgoing::new("message/cpim", imdn),
        Outgoing::chat(Scene::BOB, Scene::ALICE, &"in many chunks ".repeat(1000)).chunked(700),
        Outgoing::chat(Scene::BOB, Scene::ALICE, "last"),
    ];
    for message in &missed {
        far.media.send(message).await?.accepted(SOON).await?;
    }
    // New messages come while the client is joining.
    let new: Vec<Outgoing> =
        (0..5).map(|n| Outgoing::chat(Scene::BOB, Scene::ALICE, &format!("new {n}"))).collect();
    let speaking = async {
        let mut answers = Vec::new();
        for message in &new {
            answers.push(far.media.send(message).await?);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        for answer in answers {
            answer.accepted(SOON).await?;
        }
        anyhow::Ok(())
    };
    let joining = rejoin(scene.a(), &identity).await?;
    let listening = async {
        let mut back = joining.answered(SOON).await?;
        let mut got = Vec::new();
        for _ in 0..missed.len() + new.len() {
            got.push(back.media.message(SOON).await?);
        }
        back.media.quiet(QUIET).await?;
        anyhow::Ok((back, got))
    };
    let (spoken, heard) = tokio::join!(speaking, listening);
    spoken?;
    let (mut back, got) = heard?;
    for (got, sent) in got.iter().zip(missed.iter().chain(&new)) {
        assert_eq!((&got.message_id, &got.content_type), (&sent.message_id, &sent.content_type));
        assert_eq!(got.body, sent.body);
    }
    // What it has is not delivered again.
    lose(&scene, &mut back).await?;
    let later = far.media.chat(Scene::BOB, Scene::ALICE, "and one more").await?;
    let mut back = rejoin(scene.a(), &identity).await?.answered(SOON).await?;
    assert_eq!(back.media.message(SOON).await?.body, later.body);
    back.media.quiet(QUIET).await?;
    scene.verify()
}

// Rows: JOIN-15
#[tokio::test]
async fn what_it_has_not_answered_comes_again() -> Result<()> {
    let (scene, mut a, far, identity) = group("allow_defer = true", "", &["UE-A"]).await?;
    lose(&scene, &mut a).await?;
    let first = far.media.chat(Scene::BOB, Scene::ALICE, "first").await?;
    let second = far.media.chat(Scene::BOB, Scene::ALICE, "second").await?;
    let mut back = rejoin(scene.a(), &identity).await?.answered(SOON).await?;
    back.media.script(|_| lab::msrp::Answer::Silence);
    assert_eq!(back.media.message(SOON).await?.body, first.body);
    back.media.quiet(QUIET).await?;
    lose(&scene, &mut back).await?;
    let mut back = rejoin(scene.a(), &identity).await?.answered(SOON).await?;
    for sent in [first, second] {
        assert_eq!(back.media.message(SOON).await?.body, sent.body);
    }
    back.media.quiet(QUIET).await?;
    scene.verify()
}

#[tokio::test]
async fn a_message_that_began_before_goes_on_where_it_stands() -> Result<()> {
    let (scene, mut a, far, identity) = group("allow_defer = true", "", &["UE-A"]).await?;
    lose(&scene, &mut a).await?;
    let message = Outgoing::chat(Scene::BOB, Scene::ALICE, &"half and half ".repeat(100)).chunked(500);
    let frames = message.frames(&far.media.remote.join(" "), &far.media.uri);
    let (before, after) = frames.split_at(2);
    for frame in before {
        assert_eq!(far.media.request(frame).await?.await?.code(), 200);
    }
    let mut back = rejoin(scene.a(), &identity).await?.answered(SOON).await?;
    back.media.ready(SOON).await?;
    for frame in after {
        assert_eq!(far.media.request(frame).await?.await?.code(), 200);
    }
    let got = back.media.message(SOON).await?;
    assert_eq!((&got.message_id, &got.body), (&message.message_id, &message.body));
    scene.verify()
}

#[tokio::test]
async fn what_is_only_recorded_is_not_delivered() -> Result<()> {
    let (scene, mut a, mut far, identity) = group("allow_store = true", "", &["UE-A"]).await?;
    lose(&scene, &mut a).await?;
    far.media.chat(Scene::BOB, Scene::ALICE, "for the record").await?;
    let mut back = joined(scene.a(), &identity).await?;
    match back.media.next(QUIET).await {
        Err(_) => {}
        Ok(Incoming::Message(message)) => anyhow::bail!("delivered: {message:?}"),
        Ok(other) => anyhow::bail!("{other:?}"),
    }
    both_ways(&mut back, &mut far).await?;
    scene.verify()
}

// Rows: JOIN-07, JOIN-17
#[tokio::test]
async fn the_users_other_devices_are_invited_with_it() -> Result<()> {
    let (scene, mut a, mut far, identity) =
        group("allow_defer = true", "", &["UE-A", "UE-B", "UE-C"]).await?;
    for other in [1, 2] {
        scene.device(other).invited(SOON).await?.refuse(486, "Busy Here").await?;
    }
    lose(&scene, &mut a).await?;
    let back = joined(scene.a(), &identity).await?;
    let mut others = Vec::new();
    for other in [1, 2] {
        let invited = scene.device(other).invited(SOON).await?;
        let header = |name| invited.request.message.header(name).map(str::to_owned);
        assert_eq!(header("Contribution-ID").as_deref(), a.invite.header("Contribution-ID"));
        let call = invited.accept().await?;
        call.media.ready(SOON).await?;
        others.push(call);
    }
    let sent = back.media.chat(Scene::ALICE, Scene::BOB, "to all").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
    for other in &mut others {
        assert_eq!(other.media.message(SOON).await?.body, sent.body);
    }
    assert_eq!(scene.trace.sip("pf", "FAR", "INVITE").len(), 1);
    scene.verify()
}

#[tokio::test]
async fn another_device_of_the_user_may_take_its_place() -> Result<()> {
    let (scene, mut a, mut far, identity) = group("allow_defer = true", "", &["UE-A", "UE-B"]).await?;
    scene.device(1).invited(SOON).await?.refuse(486, "Busy Here").await?;
    lose(&scene, &mut a).await?;
    let missed = far.media.chat(Scene::BOB, Scene::ALICE, "are you there?").await?;
    let mut back = rejoin(scene.device(1), &identity).await?.answered(SOON).await?;
    assert_eq!(back.media.message(SOON).await?.body, missed.body);
    both_ways(&mut back, &mut far).await?;
    scene.verify()
}

#[tokio::test]
async fn beside_a_device_that_has_stayed_it_is_one_of_two() -> Result<()> {
    let (scene, mut a, mut far, identity) = group("allow_defer = true", "", &["UE-A", "UE-B"]).await?;
    let mut b = scene.device(1).invited(SOON).await?.accept().await?;
    b.media.ready(SOON).await?;
    assert_eq!(a.dialog.bye(Some(LOST)).await?.code(), 200);
    a.media.closed(SOON).await?;
    let mut back = joined(scene.a(), &identity).await?;
    both_ways(&mut back, &mut far).await?;
    for _ in 0..2 {
        b.media.message(SOON).await?;
    }
    assert_eq!(scene.trace.sip("pf", "FAR", "INVITE").len(), 1);
    let (bye, b_ends, ends) = tokio::join!(back.hang_up(), b.hung_up(), far.hung_up());
    bye?;
    b_ends?;
    ends?;
    scene.verify()
}

#[tokio::test]
async fn one_that_goes_before_it_has_got_everything_is_lost_again() -> Result<()> {
    let (scene, mut a, mut far, identity) = group("allow_defer = true", "", &["UE-A"]).await?;
    lose(&scene, &mut a).await?;
    let missed = far.media.chat(Scene::BOB, Scene::ALICE, "are you there?").await?;
    let mut back = rejoin(scene.a(), &identity).await?.answered(SOON).await?;
    back.media.script(|_| lab::msrp::Answer::Close);
    back.hung_up().await?;
    never(QUIET, "a request for the far end", far.dialog.next_request(SOON)).await?;
    assert_eq!(scene.pf.cli_json("sessions")?[0]["state"], "client lost");
    let mut back = rejoin(scene.a(), &identity).await?.answered(SOON).await?;
    assert_eq!(back.media.message(SOON).await?.body, missed.body);
    both_ways(&mut back, &mut far).await?;
    scene.verify()
}

#[tokio::test]
async fn an_offer_without_the_sessions_media_is_refused_and_the_session_goes_on() -> Result<()> {
    let (scene, mut a, far, identity) = group("allow_defer = true", "", &["UE-A"]).await?;
    lose(&scene, &mut a).await?;
    let offer = SdpOptions::setup("active");
    let calling = scene
        .a()
        .invite_with(&identity, &offer, |invite| {
            let body = String::from_utf8_lossy(&invite.body)
                .replace("m=message", "m=audio 9 RTP/AVP 0\r\nm=message");
            invite.set_body("application/sdp", body.into_bytes());
        })
        .await?;
    assert_eq!(calling.refused(SOON).await?.code(), 488);
    assert!(far.media.is_up());
    assert_eq!(scene.pf.cli_json("sessions")?[0]["state"], "client lost");
    scene.verify()
}

crate::over_tcp::the_same_over_tcp!(
    it_is_joined_to_the_same_session_and_can_end_it,
    before_and_after_that_the_controlling_function_can_end_it_too,
    the_same_invite_is_treated_otherwise_when_the_session_is_inactive,
    it_gets_what_it_missed_in_order_and_before_anything_new,
    what_it_has_not_answered_comes_again,
    a_message_that_began_before_goes_on_where_it_stands,
    what_is_only_recorded_is_not_delivered,
    the_users_other_devices_are_invited_with_it,
    another_device_of_the_user_may_take_its_place,
    beside_a_device_that_has_stayed_it_is_one_of_two,
    one_that_goes_before_it_has_got_everything_is_lost_again,
    an_offer_without_the_sessions_media_is_refused_and_the_session_goes_on
);
