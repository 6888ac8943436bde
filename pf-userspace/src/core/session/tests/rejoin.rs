//! Clause 8.2.2.7: a client comes back to a group session, in virtual time.

use super::*;
use crate::core::policy::LongLivedGroups;

const LOST: Option<&str> = Some("SIP;cause=503;text=\"Service Unavailable\"");

/// A group session of UE-A whose missed messages are deferred, with this policy.
fn group(change: impl FnOnce(&mut Policy)) -> (World, Call) {
    let mut w = World::configured(|config| {
        config.policy.direct_delivery = false;
        config.policy.allow_defer = true;
        config.store = Some(store());
        change(&mut config.policy);
    });
    let call = w.answered_with(group_invite());
    w.said.clear();
    (w, call)
}

/// The same, and UE-A is lost.
fn lost() -> (World, Call) {
    let (mut w, mut call) = group(|_| ());
    let bye = w.receive(call.a.bye(LOST));
    assert_eq!(w.response(bye).status, 200);
    w.request(Method::Subscribe);
    w.silent();
    (w, call)
}

/// UE-A's INVITE for the session.
fn rejoin(call: &Call, number: u32) -> Request {
    let contact = NameAddr::parse(call.ok.headers.get("Contact").unwrap()).unwrap();
    let mut invite = group_invite();
    invite.uri = contact.uri;
    invite.headers.set("Call-ID", format!("call-back-{number}"));
    invite.body = sdp(1, &chat("10.1.0.1", &format!("back{number}"), "actpass")).into();
    invite
}

/// UE-A is joined again.
fn joined(w: &mut World, call: &Call, number: u32) -> Ua {
    let invite = rejoin(call, number);
    let tx = w.receive(invite.clone());
    let ok = w.response(tx);
    assert_eq!(ok.status, 200);
    let a = Ua::caller(&invite, &ok);
    w.ack(tx, &a);
    assert!(!w.has_request(Method::Invite), "nothing for FAR");
    a
}

/// The youngest leg of UE-A.
fn leg_a(w: &World) -> LegKey {
    *w.names.iter().rfind(|(_, name)| *name == "A").expect("leg A").0
}

fn delivered(w: &mut World, number: u64) {
    let leg = leg_a(w);
    w.event(Event::Media(MediaEvent::Delivered { leg, number }));
}

fn keep(w: &mut World, number: u64, text: &str) {
    w.intercepted(number, text);
    let order = w.order();
    w.stored(&order, number as u32);
}

// Rows: JOIN-13, JOIN-15
#[test]
fn what_was_missed_comes_one_by_one_and_then_the_rest_passes() {
    let (mut w, call) = lost();
    keep(&mut w, 1, "one");
    keep(&mut w, 2, "two");
    w.silent();
    let _a = joined(&mut w, &call, 1);
    let media = w.media();
    assert!(media[0].starts_with("open A") && media[1].starts_with("await A"), "{media:?}");
    assert_eq!(media[2..], ["deliver one"]);
    // One more before all is delivered.
    keep(&mut w, 3, "three");
    assert_eq!(w.media(), ["message 3 kept"]);
    delivered(&mut w, 1);
    assert_eq!(w.media(), ["deliver two"]);
    delivered(&mut w, 2);
    assert_eq!(w.media(), ["deliver three"]);
    delivered(&mut w, 3);
    assert_eq!(w.media(), ["resume"]);
    // What the relay had taken in by then.
    keep(&mut w, 4, "four");
    assert_eq!(w.media(), ["deliver four", "message 4 kept"], "in this order");
    delivered(&mut w, 4);
    let leg = leg_a(&w);
    w.event(Event::Media(MediaEvent::Resumed { leg }));
    w.silent();
    assert_eq!(w.shard.sessions(w.now)[0].state, "established");
}

// Rows: BYE-48, JOIN-14
#[test]
fn the_timer_of_the_client_s_new_dialog_ends_the_session_as_any_other_would() {
    let (mut w, call) = lost();
    let mut invite = rejoin(&call, 1);
    invite.headers.set("Session-Expires", "90;refresher=uac");
    let tx = w.receive(invite.clone());
    let ok = w.response(tx);
    assert_eq!(ok.headers.get("Session-Expires"), Some("90;refresher=uac"));
    let a = Ua::caller(&invite, &ok);
    w.ack(tx, &a);
    w.said.clear();
    w.pass(61);
    // It is stored before that.
    let order = w.order();
    w.stored(&order, 9);
    let ends: Vec<Out> = (0..2).map(|_| w.request(Method::Bye)).collect();
    assert!(ends.iter().any(|bye| bye.request.call_id() == "call-back-1"));
    assert!(ends.iter().any(|bye| bye.request.call_id() == call.f.call_id));
}

#[test]
fn a_client_that_never_acknowledges_is_lost_again() {
    let (mut w, call) = lost();
    keep(&mut w, 1, "one");
    let tx = w.receive(rejoin(&call, 1));
    assert_eq!(w.response(tx).status, 200);
    w.media();
    w.event(Event::Sip(SipEvent::AckMissing { tx }));
    let bye = w.request(Method::Bye);
    assert_eq!(bye.request.call_id(), "call-back-1");
    w.request(Method::Subscribe);
    assert!(!w.has_request(Method::Bye), "FAR hears nothing");
    assert_eq!(w.media(), ["close A", "intercept and keep"]);
    // Even before its BYE is answered it may come back.
    joined(&mut w, &call, 2);
    assert!(w.media().contains(&"deliver one".to_owned()));
    w.reply(&bye, answer(&bye, 200, "a"));
    w.silent();
    assert_eq!(w.shard.sessions(w.now)[0].state, "established");
}

// Rows: JOIN-05, JOIN-06
#[test]
fn a_held_invite_goes_out_once_and_cancels_like_any_other() {
    let (mut w, mut call) = group(|policy| policy.long_lived_groups = LongLivedGroups::Undecided);
    let bye = w.receive(call.f.bye(Some("SIP;cause=480")));
    let to_a = w.request(Method::Bye);
    w.reply(&to_a, answer(&to_a, 200, "a"));
    assert_eq!(w.response(bye).status, 200);
    w.said.clear();
    let mut a = joined(&mut w, &call, 1);
    assert_eq!(w.shard.sessions(w.now)[0].state, "waiting for a message");
    w.media();
    w.pass(60);
    w.silent();
    let leg = leg_a(&w);
    for _ in 0..2 {
        w.event(Event::Media(MediaEvent::Waiting { leg }));
    }
    let far = w.request(Method::Invite);
    assert_eq!(w.media().len(), 1, "the far end's leg");
    w.silent();
    w.reply(&far, answer(&far, 180, "far"));
    w.silent();
    let bye = w.receive(a.bye(None));
    assert_eq!(w.cancelled(&far), Some(None));
    w.reply(&far, answer(&far, 487, "far"));
    assert_eq!(w.response(bye).status, 200);
}
