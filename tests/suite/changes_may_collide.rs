//! Offers that cross each other (RFC 3261 section 14), and one that is taken back while it waits (section 9).

use std::time::Duration;

use anyhow::Result;
use lab::{
    actor::{Call, Scene},
    sip::{ClientTx, ServerRequest},
    wait::{QUIET, SOON, never},
};
use tokio::time::Instant;

use super::sessions_change_on_the_way::{accept, changed, re_invite, talk};

/// Asks for a change of what this side has said before.
async fn asks(call: &mut Call, before: &[u8]) -> Result<(ClientTx, u32)> {
    let request = re_invite(call, changed(before)?);
    let number = request.cseq();
    Ok((call.dialog.send(request).await?, number))
}

/// `pf` passes the change of one side on, the other side takes it, and the first one hears of that.
async fn goes_through(
    (tx, number): &mut (ClientTx, u32),
    asker: &mut Call,
    offered: ServerRequest,
    other: &Call,
    answer: Vec<u8>,
) -> Result<()> {
    accept(other, &offered, answer).await?;
    assert_eq!(tx.last(SOON).await?.code(), 200);
    asker.dialog.ack(*number, None).await?;
    offered.acked(SOON).await?;
    Ok(())
}

#[tokio::test]
async fn of_two_sides_that_ask_at_once_both_may_hear_491_and_the_first_to_try_again_gets_it() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let (mut a, mut far) = scene.call().await?;
    // Both ask before either has heard of the other.
    let (before_a, before_far) = (a.invite.body.clone(), far.answer.body.clone());
    let mut of_a = asks(&mut a, &before_a).await?;
    let mut of_far = asks(&mut far, &before_far).await?;
    // The one that came first is passed on to the side whose own request pf has refused.
    let (a_first, far_first) = tokio::select! {
        offered = far.dialog.expect("INVITE", SOON) => (Some(offered?), None),
        offered = a.dialog.expect("INVITE", SOON) => (None, Some(offered?)),
    };
    let (refused, winner) = match (&a_first, &far_first) {
        (Some(_), _) => (&mut of_far, &mut of_a),
        _ => (&mut of_a, &mut of_far),
    };
    assert_eq!(refused.0.last(SOON).await?.code(), 491);
    // That side has a request under way itself, as far as it knows: it refuses too.
    for offered in [&a_first, &far_first].into_iter().flatten() {
        offered.answer(491, "Request Pending").await?;
        offered.acked(SOON).await?;
    }
    assert_eq!(winner.0.last(SOON).await?.code(), 491, "and the asker hears of it");
    talk(&a, &mut [&mut far], "as before").await?;

    // The far end did not make the Call-ID of its dialog with pf: it tries again first.
    let mut again = asks(&mut far, &before_far).await?;
    let offered = a.dialog.expect("INVITE", SOON).await?;
    goes_through(&mut again, &mut far, offered, &a, changed(&before_a)?).await?;
    let next = changed(&before_a)?;
    let mut again = asks(&mut a, &next).await?;
    let offered = far.dialog.expect("INVITE", SOON).await?;
    goes_through(&mut again, &mut a, offered, &far, changed(&changed(&before_far)?)?).await?;
    talk(&a, &mut [&mut far], "after both").await?;
    scene.verify()
}

#[tokio::test]
async fn while_one_change_waits_each_side_is_refused_another() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let (mut a, mut far) = scene.call().await?;
    let (before_a, before_far) = (a.invite.body.clone(), far.answer.body.clone());
    let mut first = asks(&mut a, &before_a).await?;
    let offered = far.dialog.expect("INVITE", SOON).await?;
    for call in [&mut a, &mut far] {
        let before = if call.party.name == "FAR" { &before_far } else { &before_a };
        for method in ["INVITE", "UPDATE"] {
            let mut request = call.dialog.request(method).with("Contact", call.party.contact());
            request.set_body("application/sdp", changed(&changed(before)?)?);
            let answer = call.dialog.send(request).await?.last(SOON).await?;
            assert_eq!(answer.code(), 491, "{method} of {}", call.party.name);
        }
    }
    goes_through(&mut first, &mut a, offered, &far, changed(&before_far)?).await?;
    talk(&a, &mut [&mut far], "after").await?;
    scene.verify()
}

#[tokio::test]
async fn a_device_that_is_about_to_change_something_itself_is_asked_again_a_while_later() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B"]).await?;
    let (mut a, mut far, mut others) = scene.full_call().await?;
    let b = &mut others[0];
    let (before_a, before_far, before_b) =
        (a.invite.body.clone(), far.answer.body.clone(), b.answer.body.clone());
    let mut of_a = asks(&mut a, &before_a).await?;
    let offered = far.dialog.expect("INVITE", SOON).await?;
    goes_through(&mut of_a, &mut a, offered, &far, changed(&before_far)?).await?;
    let told = b.dialog.expect("INVITE", SOON).await?;
    // Its own request crosses pf's: each refuses the other's.
    let mut of_b = asks(b, &before_b).await?;
    assert_eq!(of_b.0.last(SOON).await?.code(), 491);
    let refused = Instant::now();
    told.answer(491, "Request Pending").await?;
    told.acked(SOON).await?;
    // pf made the Call-ID: it waits 2.1 to 4 s, so that the device is first (section 14.1).
    let mut again = asks(b, &before_b).await?;
    assert_eq!(again.0.last(SOON).await?.code(), 200);
    b.dialog.ack(again.1, None).await?;
    let told = b.dialog.expect("INVITE", SOON).await?;
    let waited = refused.elapsed();
    assert!(waited >= Duration::from_millis(2100), "pf asked again after {waited:?}");
    assert!(String::from_utf8_lossy(&told.message.body).contains("text/html"), "the change of UE-A");
    accept(b, &told, changed(&changed(&before_b)?)?).await?;
    told.acked(SOON).await?;
    talk(&a, &mut [&mut far, b], "after").await?;
    b.dialog.next_request(QUIET / 4).await.err().map_or_else(|| anyhow::bail!("once more"), |_| Ok(()))?;
    scene.verify()
}

#[tokio::test]
async fn a_device_whose_own_offer_is_not_settled_is_told_afterwards() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B"]).await?;
    let (mut a, mut far, mut others) = scene.full_call().await?;
    let b = &mut others[0];
    let (before_a, before_far, before_b) =
        (a.invite.body.clone(), far.answer.body.clone(), b.answer.body.clone());
    // It has its 200 and has not acknowledged it.
    let mut of_b = asks(b, &before_b).await?;
    assert_eq!(of_b.0.last(SOON).await?.code(), 200);
    let mut of_a = asks(&mut a, &before_a).await?;
    let offered = far.dialog.expect("INVITE", SOON).await?;
    goes_through(&mut of_a, &mut a, offered, &far, changed(&before_far)?).await?;
    never(QUIET, "an offer for UE-B", b.dialog.next_request(SOON)).await?;
    b.dialog.ack(of_b.1, None).await?;
    let told = b.dialog.expect("INVITE", SOON).await?;
    assert!(String::from_utf8_lossy(&told.message.body).contains("text/html"), "the change of UE-A");
    accept(b, &told, changed(&changed(&before_b)?)?).await?;
    told.acked(SOON).await?;
    talk(&a, &mut [&mut far, b], "after").await?;
    scene.verify()
}

#[tokio::test]
async fn a_change_can_be_taken_back_by_cancel() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B"]).await?;
    let (mut a, mut far, mut others) = scene.full_call().await?;
    let (before_a, before_far) = (a.invite.body.clone(), far.answer.body.clone());
    // Of UE-A, and of the far end.
    let mut of_a = asks(&mut a, &before_a).await?;
    let offered = far.dialog.expect("INVITE", SOON).await?;
    offered.answer(180, "Ringing").await?;
    let reason = "SIP;cause=200;text=\"Call completed elsewhere\"";
    assert_eq!(of_a.0.cancel(Some(reason)).await?.last(SOON).await?.code(), 200);
    assert_eq!(of_a.0.last(SOON).await?.code(), 487);
    assert_eq!(offered.cancelled(SOON).await?.header("Reason"), Some(reason));
    offered.acked(SOON).await?;
    let mut of_far = asks(&mut far, &before_far).await?;
    let offered = a.dialog.expect("INVITE", SOON).await?;
    offered.answer(180, "Ringing").await?;
    assert_eq!(of_far.0.cancel(None).await?.last(SOON).await?.code(), 200);
    assert_eq!(of_far.0.last(SOON).await?.code(), 487);
    offered.cancelled(SOON).await?;
    offered.acked(SOON).await?;
    // The session is as it was, for everybody, and can be changed.
    talk(&a, &mut [&mut far, &mut others[0]], "as before").await?;
    never(QUIET / 4, "a word to UE-B", others[0].dialog.next_request(SOON)).await?;
    let mut of_a = asks(&mut a, &before_a).await?;
    let offered = far.dialog.expect("INVITE", SOON).await?;
    goes_through(&mut of_a, &mut a, offered, &far, changed(&before_far)?).await?;
    scene.verify()
}

crate::over_tcp::the_same_over_tcp!(
    of_two_sides_that_ask_at_once_both_may_hear_491_and_the_first_to_try_again_gets_it,
    while_one_change_waits_each_side_is_refused_another,
    a_device_that_is_about_to_change_something_itself_is_asked_again_a_while_later,
    a_device_whose_own_offer_is_not_settled_is_told_afterwards,
    a_change_can_be_taken_back_by_cancel
);
