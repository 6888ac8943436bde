//! Clause 8.2.2.3.

use super::*;

// Rows: BYE-04, BYE-11, BYE-12, BYE-13, BYE-14, BYE-15, BYE-18, BYE-19, BYE-21, BYE-22
#[test]
fn the_client_leaves_and_hears_200_after_the_far_end() {
    let mut w = World::new();
    let mut call = w.established();

    let bye = w.receive(call.a.bye(None));
    assert_eq!(w.media(), ["close A", "close device1", "close device2"]);
    let to_b = w.request(Method::Bye);
    let to_c = w.request(Method::Bye);
    let to_far = w.request(Method::Bye);
    assert_eq!(to_b.request.call_id(), call.devices[0].0.call_id);
    assert_eq!(to_c.request.call_id(), call.devices[1].0.call_id);
    assert_eq!(to_far.request.call_id(), call.f.call_id);
    assert_eq!(to_far.request.uri, "sip:bob@10.2.0.1:5060");
    assert_eq!(to_far.request.headers.get("CSeq"), Some("2 BYE"));

    w.pass(3);
    assert!(!w.has_response(bye), "the 200 is end to end");
    w.reply(&to_far, answer(&to_far, 200, "far"));
    assert_eq!(w.response(bye).status, 200);
    assert_eq!(w.media(), ["close stream"]);

    w.reply(&to_b, answer(&to_b, 200, "tag-b"));
    w.unanswered(&to_c);
    w.silent();
    w.over();
}

// Rows: BYE-06, BYE-07, BYE-14, BYE-18
#[test]
fn the_reason_travels_with_the_bye() {
    let mut w = World::new();
    let mut call = w.established();
    let reason = "SIP ;cause=200 ;text=\"Call completed\"";
    w.receive(call.a.bye(Some(reason)));
    for _ in 0..3 {
        assert_eq!(w.request(Method::Bye).request.headers.get("Reason"), Some(reason));
    }
}

// Rows: BYE-23, AMB-39
#[test]
fn a_silent_far_end_does_not_keep_the_client_waiting_for_ever() {
    let mut w = World::with(|policy| policy.direct_delivery = false);
    let mut call = w.answered();
    let bye = w.receive(call.a.bye(None));
    let to_far = w.request(Method::Bye);
    w.unanswered(&to_far);
    assert_eq!(w.response(bye).status, 200);
    w.silent();
    w.over();
    for status in [408, 481] {
        let mut w = World::with(|policy| policy.direct_delivery = false);
        let mut call = w.answered();
        let bye = w.receive(call.a.bye(None));
        let to_far = w.request(Method::Bye);
        w.reply(&to_far, answer(&to_far, status, "far"));
        assert_eq!(w.response(bye).status, 200);
        w.over();
    }
}

// Rows: BYE-23, AMB-39
#[test]
fn whoever_leaves_is_answered_before_its_own_timer_f() {
    for far_leaves in [false, true] {
        let mut w = World::with(|policy| policy.direct_delivery = false);
        let mut call = w.answered();
        let bye = if far_leaves { call.f.bye(None) } else { call.a.bye(None) };
        let bye = w.receive(bye);
        let passed_on = w.request(Method::Bye);
        w.pass(29);
        assert!(!w.has_response(bye), "the other side may still answer");
        w.pass(1);
        assert_eq!(w.response(bye).status, 200, "64*T1 are 32 s");
        assert_eq!(w.media().last().map(String::as_str), Some("close stream"));
        // Our own BYE goes on till its timer F; a late answer changes nothing.
        w.pass(1);
        if far_leaves {
            w.unanswered(&passed_on);
        } else {
            w.reply(&passed_on, answer(&passed_on, 200, "far"));
        }
        w.silent();
        w.over();
    }
}

// Rows: BYE-05, BYE-24, BYE-26, BYE-27, BYE-28, BYE-29, AMB-13, AMB-14, AMB-15
#[test]
fn the_far_end_leaves_and_hears_200_after_the_client() {
    for reason in [
        None,
        Some("SIP;cause=200;text=\"Call completed\""),
        Some("SIP;cause=410;text=\"Gone\""),
        Some("SIP;cause=480;text=\"Bearer unavailable\""),
    ] {
        let mut w = World::new();
        let mut call = w.established();
        let bye = w.receive(call.f.bye(reason));
        let byes = [w.request(Method::Bye), w.request(Method::Bye), w.request(Method::Bye)];
        assert_eq!(byes[0].request.call_id(), "call-a");
        assert_eq!(byes[0].request.uri, "sip:ann@a.example.net:5060");
        assert_eq!(byes[0].request.to_tag().as_deref(), Some("ann1"));
        assert_eq!(byes[1].request.call_id(), call.devices[0].0.call_id);
        assert_eq!(byes[2].request.call_id(), call.devices[1].0.call_id);
        assert!(byes.iter().all(|bye| bye.request.headers.get("Reason") == reason));
        w.media();
        w.reply(&byes[1], answer(&byes[1], 200, "tag-b"));
        w.pass(3);
        assert!(!w.has_response(bye), "the 200 is end to end");
        w.reply(&byes[0], answer(&byes[0], 200, "x"));
        assert_eq!(w.response(bye).status, 200);
        assert_eq!(w.media(), ["close stream"]);
        w.reply(&byes[2], answer(&byes[2], 200, "tag-c"));
        w.silent();
        w.over();
    }
}

#[test]
fn a_device_leaves_alone() {
    let mut w = World::new();
    let mut call = w.established();
    let bye = w.receive(call.devices[0].0.bye(None));
    assert_eq!(w.response(bye).status, 200);
    assert_eq!(w.media(), ["close device1"]);
    w.silent();
    let session = &w.shard.sessions(w.now)[0];
    assert_eq!((session.state.as_str(), session.legs[2].state.as_str()), ("established", "left"));
    let again = w.receive(call.devices[0].0.bye(None));
    assert_eq!(w.response(again).status, 481);
}

// Rows: BYE-10, BYE-49
#[test]
fn the_lost_client_of_a_session_without_other_devices_ends_it() {
    let mut w = World::with(|policy| policy.direct_delivery = false);
    let mut call = w.answered();
    let reason = "SIP;cause=503;text=\"Service Unavailable\"";
    let bye = w.receive(call.a.bye(Some(reason)));
    let to_far = w.request(Method::Bye);
    assert_eq!(to_far.request.headers.get("Reason"), Some(reason));
    w.reply(&to_far, answer(&to_far, 200, "far"));
    assert_eq!(w.response(bye).status, 200);
    w.silent();
    w.over();
}

// Rows: BYE-10, AMB-16
#[test]
fn the_lost_clients_session_goes_on_for_a_connected_device() {
    let mut w = World::new();
    let mut call = w.established();
    let bye = w.receive(call.a.bye(Some("SIP;cause=503;text=\"Service Unavailable\"")));
    assert_eq!(w.response(bye).status, 200);
    assert_eq!(w.media(), ["close A"]);
    w.silent();
    assert_eq!(w.shard.sessions(w.now)[0].state, "established");
    // The far end can still end it, and is answered at once: there is no client to wait for.
    let mut other = World::new();
    let mut lost = other.established();
    other.receive(lost.a.bye(Some("SIP;cause=503")));
    other.said.clear();
    let far_bye = other.receive(lost.f.bye(None));
    other.request(Method::Bye);
    other.request(Method::Bye);
    assert_eq!(other.response(far_bye).status, 200);
    // And when the last device leaves, nobody is left to keep it.
    for (device, _) in &mut call.devices {
        let bye = w.receive(device.bye(None));
        assert_eq!(w.response(bye).status, 200);
    }
    let to_far = w.request(Method::Bye);
    assert_eq!(to_far.request.call_id(), call.f.call_id);
    w.reply(&to_far, answer(&to_far, 200, "far"));
    w.silent();
    w.over();
}

#[test]
fn byes_that_cross_are_both_answered() {
    let mut w = World::with(|policy| policy.direct_delivery = false);
    let mut call = w.answered();
    let from_a = w.receive(call.a.bye(None));
    let to_far = w.request(Method::Bye);
    let from_far = w.receive(call.f.bye(None));
    assert_eq!(w.response(from_far).status, 200);
    w.reply(&to_far, answer(&to_far, 481, "far"));
    assert_eq!(w.response(from_a).status, 200);
    w.silent();
    w.over();
}

// Rows: BYE-24
#[test]
fn the_client_gets_no_bye_before_it_has_acknowledged() {
    let mut w = World::with(|policy| policy.direct_delivery = false);
    let (tx, far) = w.invite();
    w.reply(&far, far_ok(&far));
    let ok = w.response(tx);
    let a = Ua::caller(&invite(), &ok);
    let bye = w.receive(Ua::callee(&far, "far").bye(None));
    assert!(!w.has_request(Method::Bye), "RFC 3261 section 15");
    w.ack(tx, &a);
    let to_a = w.request(Method::Bye);
    assert_eq!(to_a.request.call_id(), "call-a");
    w.reply(&to_a, answer(&to_a, 200, "x"));
    assert_eq!(w.response(bye).status, 200);
    w.pass(60);
    w.over();
}

#[test]
fn devices_that_have_not_answered_are_cancelled() {
    let mut w = World::new();
    let mut call = w.answered();
    let (b, c) = (w.request(Method::Invite), w.request(Method::Invite));
    w.receive(call.a.bye(None));
    assert_eq!((w.cancelled(&b), w.cancelled(&c)), (Some(None), Some(None)));
    let to_far = w.request(Method::Bye);
    w.reply(&to_far, answer(&to_far, 200, "far"));
    w.reply(&b, answer(&b, 487, "tag-b"));
    w.reply(&c, device_ok(&c, "c"));
    w.acked(&c);
    let to_c = w.request(Method::Bye);
    w.reply(&to_c, answer(&to_c, 200, "tag-c"));
    w.over();
}

#[test]
fn a_devices_broken_media_path_costs_its_leg() {
    for reason in [LegDown::Slow, LegDown::Closed] {
        let mut w = World::new();
        w.established();
        w.leg_down("device1", reason);
        let bye = w.request(Method::Bye);
        assert_eq!(bye.request.uri, "sip:ann@b.example.net:5060");
        assert_eq!(bye.request.headers.get("Reason"), Some("SIP;cause=503;text=\"Media path lost\""));
        assert_eq!(w.media(), [""; 0], "it is closed already");
        w.reply(&bye, answer(&bye, 200, "tag-b"));
        w.silent();
        let session = &w.shard.sessions(w.now)[0];
        let expected = if reason == LegDown::Slow { "down: slow" } else { "down: closed" };
        assert_eq!((session.state.as_str(), session.legs[2].state.as_str()), ("established", expected));
    }
}

#[test]
fn a_broken_media_path_of_client_or_far_end_ends_the_session() {
    for leg in ["A", "F"] {
        let mut w = World::new();
        w.established();
        w.leg_down(leg, LegDown::Closed);
        for _ in 0..4 {
            let bye = w.request(Method::Bye);
            assert_eq!(bye.request.headers.get("Reason"), Some("SIP;cause=503;text=\"Media path lost\""));
            w.reply(&bye, answer(&bye, 200, "x"));
        }
        w.silent();
        w.over();
    }
}

#[test]
fn a_process_that_ends_says_bye_on_every_leg_first() {
    let reason = Some("SIP;cause=503;text=\"Service Unavailable\"");
    let mut w = World::new();
    let call = w.established();
    w.shut_down();
    let ids = [&call.a, &call.f, &call.devices[0].0, &call.devices[1].0].map(|ua| ua.call_id.clone());
    let byes = ids.map(|call_id| {
        let bye = w.request(Method::Bye);
        assert_eq!(bye.request.call_id(), call_id);
        assert_eq!(bye.request.headers.get("Reason"), reason);
        bye
    });
    assert!(w.shard.has_sessions(), "the answers are waited for");
    let refused = w.receive(invite());
    assert_eq!(w.response(refused).status, 503, "nothing new begins");
    for bye in byes {
        w.reply(&bye, answer(&bye, 200, "x"));
    }
    assert!(!w.shard.has_sessions());
    assert_eq!(w.media().last().map(String::as_str), Some("close stream"));
    w.silent();
    w.over();
}

#[test]
fn a_process_that_ends_answers_who_still_waits() {
    let mut w = World::new();
    let (tx, far) = w.invite();
    w.reply(&far, answer(&far, 180, "far"));
    w.said.clear();
    w.shut_down();
    assert_eq!(w.response(tx).status, 503);
    assert_eq!(w.cancelled(&far), Some(Some("SIP;cause=503;text=\"Service Unavailable\"".to_owned())));
    w.reply(&far, answer(&far, 487, "far"));
    w.over();
    // A BYE that waits for the other side is still answered: the session was ending already.
    let mut w = World::with(|policy| policy.direct_delivery = false);
    let mut call = w.answered();
    let bye = w.receive(call.a.bye(None));
    let to_far = w.request(Method::Bye);
    w.shut_down();
    assert!(!w.has_request(Method::Bye));
    w.reply(&to_far, answer(&to_far, 200, "far"));
    assert_eq!(w.response(bye).status, 200);
    w.over();
}
