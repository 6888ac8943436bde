//! RFC 4028 and clause 8.2.2.4.

use super::*;

/// The session timer as UE-A's INVITE asks for it.
fn timed(value: Option<&str>, supported: bool) -> Request {
    let mut invite = invite();
    if !supported {
        invite.headers.remove("Supported");
    }
    if let Some(value) = value {
        invite.headers.push("x", value);
    }
    invite
}

// Rows: AMB-41
#[test]
fn the_client_chooses_who_refreshes_its_leg() {
    for (asked, supported, answered) in [
        (Some("600;refresher=uac"), true, "600;refresher=uac"),
        (Some("600;refresher=uas"), true, "600;refresher=uas"),
        (Some("600"), true, "600;refresher=uac"),
        (None, true, "1800;refresher=uas"),
        (None, false, "1800;refresher=uas"),
        (Some("600"), false, "600;refresher=uas"),
    ] {
        let mut w = World::new();
        let tx = w.receive(timed(asked, supported));
        let far = w.request(Method::Invite);
        w.reply(&far, far_ok(&far));
        let ok = w.response(tx);
        assert_eq!(ok.headers.get("Session-Expires"), Some(answered), "{asked:?}");
        assert_eq!(ok.headers.has_token("Require", "timer"), answered.ends_with("uac"));
    }
}

#[test]
fn too_short_an_interval_gets_422() {
    let mut w = World::with(|policy| policy.min_session_expires = 120);
    let tx = w.receive(timed(Some("100"), true));
    let refusal = w.response(tx);
    assert_eq!((refusal.status, refusal.headers.get("Min-SE")), (422, Some("120")));
    w.silent();
    w.over();
}

// Rows: INV-21
#[test]
fn a_far_end_that_wants_a_longer_interval_gets_another_invite() {
    let mut w = World::new();
    let (tx, far) = w.invite();
    w.reply(&far, answer(&far, 422, "far").with("Min-SE", "3600"));
    let again = w.request(Method::Invite);
    assert_eq!(again.request.call_id(), far.request.call_id());
    assert_eq!(again.request.headers.get("CSeq"), Some("2 INVITE"));
    assert_eq!(again.request.headers.get("Session-Expires"), Some("3600;refresher=uac"));
    assert_eq!(again.request.headers.get("Min-SE"), Some("3600"));
    assert_eq!(again.request.body, far.request.body);
    assert!(!w.has_response(tx));
    w.reply(&again, far_ok(&again));
    assert_eq!(w.response(tx).status, 200);
    w.ack(tx, &Ua::caller(&invite(), &far_ok(&again)));
    assert_eq!(w.acked(&again).headers.get("CSeq"), Some("2 ACK"));

    // A 422 that asks for less is an error like any other.
    let mut w = World::new();
    let (tx, far) = w.invite();
    w.reply(&far, answer(&far, 422, "far").with("Min-SE", "90"));
    assert_eq!(w.response(tx).status, 422);
    w.over();
}

// Rows: INV-21
#[test]
fn we_refresh_the_far_end_with_update_where_it_takes_it() {
    let mut w = World::with(|policy| policy.direct_delivery = false);
    let tx = w.receive(timed(Some("100000;refresher=uac"), true));
    let far = w.request(Method::Invite);
    w.reply(&far, far_ok(&far));
    let ok = w.response(tx);
    w.ack(tx, &Ua::caller(&invite(), &ok));
    w.acked(&far);
    w.pass(899);
    w.silent();
    w.pass(1);
    let update = w.request(Method::Update);
    assert_eq!(update.request.call_id(), far.request.call_id());
    assert_eq!(update.request.headers.get("Session-Expires"), Some("1800;refresher=uac"));
    assert!(update.request.body.is_empty());
    let granted = answer(&update, 200, "far").with("Session-Expires", "400;refresher=uac");
    w.reply(&update, granted);
    w.pass(200);
    let next = w.request(Method::Update);
    assert_eq!(next.request.headers.get("Session-Expires"), Some("400;refresher=uac"));
    // The far end may take over.
    w.reply(&next, answer(&next, 200, "far").with("Session-Expires", "400;refresher=uas"));
    w.pass(300);
    w.silent();
}

#[test]
fn a_peer_without_update_is_refreshed_by_an_unchanged_re_invite() {
    let mut w = World::with(|policy| policy.direct_delivery = false);
    let tx = w.receive(timed(Some("100000;refresher=uac"), true));
    let far = w.request(Method::Invite);
    let mut ok = far_ok(&far);
    ok.headers.set("Allow", "INVITE, ACK, BYE");
    w.reply(&far, ok);
    w.response(tx);
    w.ack(tx, &Ua::caller(&invite(), &far_ok(&far)));
    w.acked(&far);
    w.media();
    w.pass(900);
    let re = w.request(Method::Invite);
    assert_eq!(re.request.body, far.request.body, "the very same description");
    w.reply(&re, far_ok(&re));
    w.acked(&re);
    assert_eq!(w.media(), [""; 0]);
    w.silent();
}

#[test]
fn a_refresh_that_cannot_be_taken_now_is_tried_again() {
    let mut w = World::with(|policy| policy.direct_delivery = false);
    w.answered();
    // Leg A and leg F are both ours to refresh here.
    w.pass(900);
    let (to_a, to_f) = (w.request(Method::Invite), w.request(Method::Update));
    w.reply(&to_a, with_sdp(answer(&to_a, 200, ""), &sdp(1, &chat("10.1.0.1", "aaaaaaaa", "active"))));
    w.acked(&to_a);
    w.reply(&to_f, answer(&to_f, 491, "far"));
    w.pass(5);
    let again = w.request(Method::Update);
    w.reply(&again, answer(&again, 500, "far"));
    w.pass(31);
    let again = w.request(Method::Update);
    w.reply(&again, answer(&again, 405, "far"));
    let re = w.request(Method::Invite);
    w.reply(&re, answer(&re, 422, "far").with("Min-SE", "2000"));
    let longer = w.request(Method::Invite);
    assert_eq!(longer.request.headers.get("Session-Expires"), Some("2000;refresher=uac"));
    w.reply(&longer, far_ok(&longer));
    w.acked(&longer);
    w.silent();
}

// Rows: TMR-01, TMR-02, TMR-07, TMR-08
#[test]
fn when_the_clients_timer_expires_everybody_gets_a_bye_and_media_goes_with_the_answers() {
    let mut w = World::new();
    let tx = w.receive(timed(Some("90;refresher=uac"), true));
    let far = w.request(Method::Invite);
    w.reply(&far, far_ok(&far));
    let ok = w.response(tx);
    w.ack(tx, &Ua::caller(&invite(), &ok));
    w.acked(&far);
    for device in ["b", "c"] {
        let out = w.request(Method::Invite);
        w.reply(&out, device_ok(&out, device));
        w.acked(&out);
    }
    w.media();
    w.pass(59);
    w.silent();
    w.pass(1);
    let byes: Vec<Out> = (0..4).map(|_| w.request(Method::Bye)).collect();
    let ids: Vec<&str> = byes.iter().map(|bye| bye.request.call_id()).collect();
    assert_eq!(ids[..2], ["call-a", far.request.call_id()]);
    assert_eq!(w.media(), [""; 0], "not before the answers");
    w.reply(&byes[0], answer(&byes[0], 200, ""));
    assert_eq!(w.media(), ["close A"]);
    w.reply(&byes[1], answer(&byes[1], 200, ""));
    w.reply(&byes[2], answer(&byes[2], 481, ""));
    assert_eq!(w.media(), ["close F", "close device1"]);
    w.unanswered(&byes[3]);
    assert_eq!(w.media(), ["close device2", "close stream"]);
    w.silent();
    w.over();
}

// Rows: TMR-01
#[test]
fn a_far_end_that_does_not_answer_a_refresh_is_gone() {
    for status in [None, Some(481), Some(408)] {
        let mut w = World::with(|policy| policy.direct_delivery = false);
        let tx = w.receive(timed(Some("100000;refresher=uac"), true));
        let far = w.request(Method::Invite);
        w.reply(&far, far_ok(&far));
        let ok = w.response(tx);
        w.ack(tx, &Ua::caller(&invite(), &ok));
        w.acked(&far);
        w.pass(900);
        let update = w.request(Method::Update);
        match status {
            Some(status) => w.reply(&update, answer(&update, status, "far")),
            None => w.unanswered(&update),
        }
        for _ in 0..2 {
            let bye = w.request(Method::Bye);
            w.reply(&bye, answer(&bye, 200, ""));
        }
        w.silent();
        w.over();
    }
}

#[test]
fn a_devices_timer_costs_its_own_leg() {
    let mut w = World::new();
    w.answered();
    let (b, c) = (w.request(Method::Invite), w.request(Method::Invite));
    w.reply(&b, device_ok(&b, "b").with("Session-Expires", "90;refresher=uas"));
    w.reply(&c, device_ok(&c, "c"));
    w.acked(&b);
    w.acked(&c);
    w.pass(61);
    let bye = w.request(Method::Bye);
    assert_eq!(bye.request.call_id(), b.request.call_id());
    w.reply(&bye, answer(&bye, 200, ""));
    w.silent();
    let session = &w.shard.sessions(w.now)[0];
    assert_eq!((session.state.as_str(), session.legs[2].state.as_str()), ("established", "expired"));
}

#[test]
fn a_peers_refresh_is_answered_here() {
    let mut w = World::with(|policy| policy.direct_delivery = false);
    let tx = w.receive(timed(Some("90;refresher=uac"), true));
    let far = w.request(Method::Invite);
    w.reply(&far, far_ok(&far));
    let ok = w.response(tx);
    let mut a = Ua::caller(&invite(), &ok);
    w.ack(tx, &a);
    w.acked(&far);
    w.media();
    for round in 0..4 {
        w.pass(50);
        let mut refresh = match round {
            0 | 2 => a.request(Method::Update),
            1 => a.offer(Method::Invite, std::str::from_utf8(&invite().body).unwrap()),
            _ => a.request(Method::Invite),
        };
        refresh.headers.set("Supported", "timer");
        refresh.headers.set("Session-Expires", "90;refresher=uac");
        let method = refresh.method;
        let tx = w.receive(refresh);
        let answered = w.response(tx);
        assert_eq!(
            (answered.status, answered.headers.get("Session-Expires")),
            (200, Some("90;refresher=uac"))
        );
        assert_eq!(answered.body, if method == Method::Update { "".into() } else { ok.body.clone() });
        if method == Method::Invite {
            w.ack(tx, &a);
        }
        w.silent();
    }
    w.pass(61);
    w.request(Method::Bye);
}
