//! Other requests inside the dialog.

use super::*;

// Rows: AMB-36
#[test]
fn info_message_refer_and_notify_go_through_with_their_answers() {
    for method in [Method::Info, Method::Message, Method::Refer, Method::Notify] {
        let mut w = World::new();
        let mut call = w.established();
        let mut asked = call.a.request(method);
        for (name, value) in [
            ("Content-Type", "text/plain"),
            ("Refer-To", "<sip:carol@example.com>"),
            ("Event", "refer"),
            ("P-Secret", "no"),
        ] {
            asked.headers.push(name, value);
        }
        asked.body = "hello".into();
        let tx = w.receive(asked);
        let out = w.request(method);
        assert_eq!(out.request.call_id(), call.f.call_id);
        assert_eq!(out.request.headers.get("Refer-To"), Some("<sip:carol@example.com>"));
        assert_eq!((&out.request.body[..], out.request.headers.has("P-Secret")), (&b"hello"[..], false));
        w.silent();
        w.reply(&out, answer(&out, 202, "far"));
        assert_eq!(w.response(tx).status, 202);
        // The other way too.
        let tx = w.receive(call.f.request(method));
        let out = w.request(method);
        assert_eq!(out.request.call_id(), "call-a");
        w.unanswered(&out);
        assert_eq!(w.response(tx).status, 408);
        w.silent();
    }
}

#[test]
fn a_devices_request_is_not_passed_on() {
    let mut w = World::new();
    let mut call = w.established();
    let tx = w.receive(call.devices[0].0.request(Method::Info));
    assert_eq!(w.response(tx).status, 405);
    w.silent();
}

#[test]
fn requests_in_the_dialog_are_checked() {
    let mut w = World::new();
    let mut call = w.established();
    let options = w.receive(call.a.request(Method::Options));
    assert_eq!(w.response(options).status, 200);
    // CSeq goes up only.
    let mut old = call.a.request(Method::Info);
    old.headers.set("CSeq", "1 INFO");
    call.a.cseq = 50;
    let ahead = w.receive(call.a.request(Method::Options));
    w.response(ahead);
    let tx = w.receive(old);
    assert_eq!(w.response(tx).status, 500);
    // Another From tag is another dialog.
    let mut foreign = call.a.request(Method::Info);
    foreign.headers.set("From", "<sip:ann@example.org>;tag=eve");
    let tx = w.receive(foreign);
    assert_eq!(w.response(tx).status, 481);
    for (method, status) in [(Method::Prack, 481), (Method::Subscribe, 405), (Method::Publish, 405)] {
        let tx = w.receive(call.a.request(method));
        assert_eq!(w.response(tx).status, status);
    }
    w.silent();
}

#[test]
fn the_far_end_of_a_session_that_is_not_answered_yet_gets_nothing_through() {
    let mut w = World::new();
    let (_, far) = w.invite();
    w.reply(&far, answer(&far, 180, "far"));
    w.said.clear();
    let mut f = Ua::callee(&far, "far");
    let tx = w.receive(f.request(Method::Info));
    assert_eq!(w.response(tx).status, 481);
    let tx = w.receive(f.offer(Method::Update, &sdp(1, &chat("10.2.0.1", "x", "active"))));
    let refusal = w.response(tx);
    assert_eq!((refusal.status, refusal.headers.has("Retry-After")), (500, true));
    w.silent();
}

#[test]
fn a_peer_that_floods_the_dialog_gets_503() {
    let mut w = World::with(|policy| policy.direct_delivery = false);
    let mut call = w.answered();
    w.said.clear();
    let flood: Vec<ServerTx> = (0..200).map(|_| w.receive(call.a.request(Method::Info))).collect();
    assert!(!w.has_response(flood[0]));
    assert_eq!(w.response(flood[199]).status, 503);
    w.pass(40);
    assert!(flood[..100].iter().all(|tx| w.has_response(*tx)));
    let bye = w.receive(call.a.bye(None));
    let to_far = w.request(Method::Bye);
    w.reply(&to_far, answer(&to_far, 200, "far"));
    assert_eq!(w.response(bye).status, 200);
    w.over();
}
