//! Clause 8.2.2.2 (RFC 3261 section 9).

use super::*;

// Rows: AMB-36
#[test]
fn a_cancelled_invite_gets_487_and_the_far_end_a_cancel() {
    let mut w = World::new();
    let (tx, far) = w.invite();
    w.reply(&far, answer(&far, 180, "far"));
    w.response(tx);
    w.cancel(tx, Some("SIP;cause=200;text=\"Changed my mind\""));
    assert_eq!(w.response(tx).status, 487);
    assert_eq!(w.cancelled(&far), Some(Some("SIP;cause=200;text=\"Changed my mind\"".to_owned())));
    w.reply(&far, answer(&far, 487, "far"));
    assert_eq!(w.media(), ["open stream", "open F", "close F", "close stream"]);
    w.silent();
    w.over();
}

// Rows: AMB-36
#[test]
fn a_yes_that_was_faster_than_the_cancel_gets_ack_and_bye() {
    let mut w = World::new();
    let (tx, far) = w.invite();
    w.cancel(tx, None);
    w.response(tx);
    w.cancelled(&far).unwrap();
    w.reply(&far, far_ok(&far));
    w.acked(&far);
    let bye = w.request(Method::Bye);
    w.reply(&bye, answer(&bye, 200, "far"));
    w.silent();
    w.over();
}

#[test]
fn a_far_end_that_never_answers_a_cancel_is_forgotten() {
    let mut w = World::new();
    let (tx, far) = w.invite();
    w.cancel(tx, None);
    w.response(tx);
    w.cancelled(&far).unwrap();
    w.pass(60);
    w.silent();
    w.over();
    // And if it says yes after all:
    w.reply(&far, far_ok(&far));
    w.acked(&far);
    w.request(Method::Bye);
}

#[test]
fn a_cancel_after_the_answer_changes_nothing() {
    let mut w = World::new();
    let call = w.established();
    w.cancel(call.invite, None);
    w.silent();
    assert_eq!(w.shard.sessions(w.now)[0].state, "established");
}

#[test]
fn bye_in_the_early_dialog_ends_it_like_cancel() {
    let mut w = World::new();
    let (tx, far) = w.invite();
    w.reply(&far, answer(&far, 180, "far"));
    let ringing = w.response(tx);
    let bye = w.receive(Ua::caller(&invite(), &ringing).bye(None));
    assert_eq!(w.response(bye).status, 200);
    assert_eq!(w.response(tx).status, 487);
    w.cancelled(&far).unwrap();
    w.reply(&far, answer(&far, 487, "far"));
    w.silent();
    w.over();
}

#[test]
fn a_far_end_that_rings_for_ever_is_given_up() {
    let mut w = World::new();
    let (tx, far) = w.invite();
    w.pass(100);
    w.reply(&far, answer(&far, 180, "far"));
    w.response(tx);
    w.pass(100);
    w.silent();
    w.pass(100);
    assert_eq!(w.response(tx).status, 408);
    w.cancelled(&far).unwrap();
    w.reply(&far, answer(&far, 487, "far"));
    w.silent();
    w.over();
}
