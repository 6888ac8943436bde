//! Other requests inside the dialog.

use super::*;
use crate::core::policy::IwfLeaves;

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
    let tx = w.receive(f.request(Method::Refer));
    assert_eq!(w.response(tx).status, 481);
    w.silent();
}

#[test]
fn several_iwfs_are_one_far_end_that_answers_once() {
    let quiet = |policy: &mut Policy| policy.direct_delivery = false;
    for method in [Method::Info, Method::Message] {
        let (mut w, mut call) = World::interworked(quiet);
        let tx = w.receive(call.a.request(method));
        let outs = [w.request(method), w.request(method)];
        assert_ne!(outs[0].request.uri, outs[1].request.uri, "each of them");
        w.silent();
        w.reply(&outs[0], answer(&outs[0], 405, "iwf1"));
        assert!(!w.has_response(tx), "the other may take it");
        w.reply(&outs[1], answer(&outs[1], 202, "iwf2"));
        assert_eq!(w.response(tx).status, 202);
        // Nobody takes it: the best refusal, when all have refused.
        let tx = w.receive(call.a.request(method));
        let outs = [w.request(method), w.request(method)];
        w.unanswered(&outs[0]);
        assert!(!w.has_response(tx));
        w.reply(&outs[1], answer(&outs[1], 603, "iwf2"));
        assert_eq!(w.response(tx).status, 603);
        // The first 2xx is the answer, and what comes after it changes nothing.
        let tx = w.receive(call.a.request(method));
        let outs = [w.request(method), w.request(method)];
        w.reply(&outs[0], answer(&outs[0], 200, "iwf1"));
        assert_eq!(w.response(tx).status, 200);
        w.reply(&outs[1], answer(&outs[1], 405, "iwf2"));
        w.silent();
    }
}

#[test]
fn a_refer_is_for_one_iwf_only_and_notify_for_who_referred() {
    let (mut w, mut call) = World::interworked(|policy| policy.direct_delivery = false);
    let tx = w.receive(call.a.request(Method::Refer));
    let first = w.request(Method::Refer);
    w.silent();
    w.reply(&first, answer(&first, 405, "iwf1"));
    assert!(!w.has_response(tx));
    let second = w.request(Method::Refer);
    assert_ne!(first.request.uri, second.request.uri);
    w.reply(&second, answer(&second, 202, "iwf2"));
    assert_eq!(w.response(tx).status, 202);
    let tx = w.receive(call.a.request(Method::Refer));
    let taken = w.request(Method::Refer);
    w.reply(&taken, answer(&taken, 202, "iwf1"));
    assert_eq!(w.response(tx).status, 202);
    w.silent();
    // An IWF refers the originating device, and hears what comes of it.
    for iwf in [1, 0] {
        let tx = w.receive(call.iwfs[iwf].request(Method::Refer));
        let out = w.request(Method::Refer);
        w.reply(&out, answer(&out, 202, "a"));
        assert_eq!(w.response(tx).status, 202);
        let notify = w.receive(call.a.request(Method::Notify));
        let out = w.request(Method::Notify);
        assert_eq!(out.request.to_tag(), Some(format!("iwf{}", iwf + 1)));
        w.reply(&out, answer(&out, 200, ""));
        assert_eq!(w.response(notify).status, 200);
    }
    w.silent();
}

#[test]
fn what_several_iwfs_are_asked_is_answered_when_one_of_them_or_the_client_leaves() {
    let (mut w, mut call) = World::interworked(|policy| {
        policy.direct_delivery = false;
        policy.interworking_leave = IwfLeaves::Streams;
    });
    let tx = w.receive(call.a.request(Method::Info));
    let outs = [w.request(Method::Info), w.request(Method::Info)];
    let bye = call.iwfs[0].bye(None);
    w.receive(bye);
    assert!(!w.has_response(tx), "the other is still there");
    w.reply(&outs[1], answer(&outs[1], 200, "iwf2"));
    assert_eq!(w.response(tx).status, 200);

    let (mut w, mut call) = World::interworked(|policy| policy.direct_delivery = false);
    let tx = w.receive(call.a.request(Method::Message));
    let bye = call.a.bye(None);
    w.receive(bye);
    assert_eq!(w.response(tx).status, 487);
    assert!(!w.has_response(tx), "once");
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
