//! Clause 8.2.2.5.

use super::*;
use crate::core::sdp::Sdp;

/// UE-A's description with other types, version 2.
fn changed() -> String {
    sdp(2, &chat("10.1.0.1", "aaaaaaaa", "actpass").replace("message/cpim", "message/cpim image/png"))
}

fn version(sdp: &[u8]) -> u64 {
    Sdp::parse(sdp).unwrap().version()
}

fn path(sdp: &[u8], line: usize) -> String {
    Sdp::parse(sdp).unwrap().msrp_lines()[line].path.join(" ")
}

// Rows: MOD-02, MOD-03, MOD-07, MOD-08, MOD-09, MOD-15, MOD-16
#[test]
fn a_change_of_the_client_goes_to_the_far_end_and_then_to_the_devices() {
    let mut w = World::new();
    let mut call = w.established();

    let tx = w.receive(call.a.offer(Method::Invite, &changed()));
    let re = w.request(Method::Invite);
    assert_eq!(re.request.call_id(), call.far.request.call_id());
    assert_eq!(re.request.headers.get("CSeq"), Some("2 INVITE"));
    assert_eq!(re.request.headers.get("Contact"), call.far.request.headers.get("Contact"));
    assert!(String::from_utf8_lossy(&re.request.body).contains("message/cpim image/png"));
    assert_eq!(version(&re.request.body), version(&call.far.request.body) + 1);
    assert_eq!(path(&re.request.body, 0), path(&call.far.request.body, 0));
    w.silent();

    let types = chat("10.2.0.1", "ffffffff", "passive").replace("message/cpim", "message/cpim image/png");
    w.reply(&re, with_sdp(answer(&re, 200, "far"), &sdp(2, &types)));
    let ok = w.response(tx);
    assert_eq!((ok.status, ok.headers.get("Server")), (200, Some("CPM-serv/OMA2.2 pf/0.1.0")));
    assert_eq!(ok.headers.get("Contact"), call.ok.headers.get("Contact"));
    assert_eq!(version(&ok.body), version(&call.ok.body) + 1);
    assert_eq!(path(&ok.body, 0), path(&call.ok.body, 0));
    assert!(w.try_acked(&re).is_none(), "the ACK follows the client's");
    w.ack(tx, &call.a);
    assert_eq!(w.acked(&re).headers.get("CSeq"), Some("2 ACK"));

    for (device, first) in &call.devices {
        let re = w.request(Method::Invite);
        assert_eq!(
            (re.request.call_id(), re.request.uri.starts_with("sip:ann@")),
            (device.call_id.as_str(), true)
        );
        assert!(String::from_utf8_lossy(&re.request.body).contains("image/png"));
        assert_eq!(path(&re.request.body, 0), path(&first.request.body, 0));
        let name = if re.request.uri.contains("@b.") { "b" } else { "c" };
        w.reply(&re, device_ok(&re, name));
        w.acked(&re);
    }
    let media = w.media();
    assert!(
        media.iter().all(|m| m.starts_with("connect") || m.starts_with("await")),
        "no new leg: {media:?}"
    );
    w.silent();
}

// Rows: MOD-02, MOD-07
#[test]
fn a_change_of_the_far_end_goes_to_the_client() {
    let mut w = World::new();
    let mut call = w.established();
    let types = chat("10.2.0.1", "gggggggg", "actpass");
    let tx = w.receive(call.f.offer(Method::Invite, &sdp(2, &types)));
    let re = w.request(Method::Invite);
    assert_eq!((re.request.call_id(), re.request.uri.as_str()), ("call-a", "sip:ann@a.example.net:5060"));
    assert_eq!(re.request.headers.get("Contact"), call.ok.headers.get("Contact"));
    w.reply(&re, with_sdp(answer(&re, 200, ""), &sdp(2, &chat("10.1.0.1", "aaaaaaaa", "active"))));
    let ok = w.response(tx);
    assert_eq!(ok.status, 200);
    assert_eq!(w.media(), ["connect F to 10.2.0.1:2855 as msrp://10.2.0.1:2855/gggggggg;tcp"]);
    w.ack(tx, &call.f);
    w.acked(&re);
    w.silent();
}

// Rows: MOD-07, MOD-08, MOD-09
#[test]
fn a_new_stream_gets_its_own_path_on_every_leg() {
    let mut w = World::new();
    let mut call = w.established();
    let two = chat("10.1.0.1", "aaaaaaaa", "actpass") + &chat("10.1.0.1", "a2", "actpass");
    let tx = w.receive(call.a.offer(Method::Invite, &sdp(2, &two)));
    let re = w.request(Method::Invite);
    assert_eq!(w.media(), ["open stream", "open F"]);
    assert_ne!(path(&re.request.body, 0), path(&re.request.body, 1));
    let both = chat("10.2.0.1", "ffffffff", "passive") + &chat("10.2.0.1", "f2", "passive");
    w.reply(&re, with_sdp(answer(&re, 200, "far"), &sdp(2, &both)));
    assert_eq!(Sdp::parse(&w.response(tx).body).unwrap().line_count(), 2);
    let media = w.media();
    assert_eq!(
        media[..3],
        [
            "connect F to 10.2.0.1:2855 as msrp://10.2.0.1:2855/f2;tcp",
            "open A",
            "await A as msrp://10.1.0.1:2855/a2;tcp"
        ],
        "{media:?}"
    );
    for _ in 0..2 {
        assert_eq!(Sdp::parse(&w.request(Method::Invite).request.body).unwrap().line_count(), 2);
    }
    assert_eq!(w.shard.sessions(w.now)[0].legs[2].media.len(), 2);
}

// Rows: MOD-08, MOD-09
#[test]
fn a_removed_stream_is_released_and_keeps_its_place() {
    let mut w = World::new();
    let mut received = invite();
    received.body = sdp(1, &(chat("10.1.0.1", "a1", "actpass") + &chat("10.1.0.1", "a2", "actpass"))).into();
    let tx = w.receive(received.clone());
    let far = w.request(Method::Invite);
    let both = chat("10.2.0.1", "f1", "passive") + &chat("10.2.0.1", "f2", "passive");
    w.reply(&far, with_sdp(answer(&far, 200, "far").with("Contact", "<sip:f@10.2.0.1>"), &sdp(1, &both)));
    let ok = w.response(tx);
    let mut a = Ua::caller(&received, &ok);
    w.ack(tx, &a);
    w.said.clear();
    let gone =
        chat("10.1.0.1", "a1", "actpass").replacen("2855", "0", 1) + &chat("10.1.0.1", "a2", "actpass");
    let tx = w.receive(a.offer(Method::Invite, &sdp(2, &gone)));
    let re = w.request(Method::Invite);
    let ports =
        |sdp: &[u8]| -> Vec<u16> { Sdp::parse(sdp).unwrap().msrp_lines().iter().map(|l| l.port).collect() };
    assert_eq!(ports(&re.request.body), [0, 2855]);
    let gone =
        chat("10.2.0.1", "f1", "passive").replacen("2855", "0", 1) + &chat("10.2.0.1", "f2", "passive");
    w.reply(&re, with_sdp(answer(&re, 200, "far"), &sdp(2, &gone)));
    assert_eq!(ports(&w.response(tx).body), [0, 2855]);
    assert_eq!(w.media(), ["close stream"]);
}

#[test]
fn the_checks_apply_to_a_change_too_and_the_session_lives_on() {
    let mut w = World::with(|policy| policy.allow_anonymity = false);
    let mut call = w.established();
    let mut change = call.a.offer(Method::Invite, &changed());
    change.headers.push("Privacy", "id");
    let tx = w.receive(change);
    let refusal = w.response(tx);
    assert_eq!(
        (refusal.status, refusal.headers.get("Warning")),
        (403, Some("399 10.0.0.1:5060 \"119 Anonymity not allowed\""))
    );
    w.silent();
    assert_eq!(w.shard.sessions(w.now)[0].state, "established");
}

// Rows: MOD-09
#[test]
fn a_change_that_the_far_end_refuses_leaves_everything_as_it_was() {
    let mut w = World::new();
    let mut call = w.established();
    let two = chat("10.1.0.1", "aaaaaaaa", "actpass") + &chat("10.1.0.1", "a2", "actpass");
    let tx = w.receive(call.a.offer(Method::Invite, &sdp(2, &two)));
    let re = w.request(Method::Invite);
    w.reply(&re, answer(&re, 488, "far").with("Warning", "305 far \"No\""));
    let refusal = w.response(tx);
    assert_eq!((refusal.status, refusal.headers.get("Warning")), (488, Some("305 far \"No\"")));
    assert_eq!(w.media(), ["open stream", "open F", "close stream"]);
    w.silent();
    // The next one is a change like any other.
    let tx = w.receive(call.a.offer(Method::Update, &changed()));
    let update = w.request(Method::Update);
    let types = chat("10.2.0.1", "ffffffff", "passive");
    w.reply(&update, with_sdp(answer(&update, 200, "far"), &sdp(2, &types)));
    assert_eq!(w.response(tx).status, 200);
}

#[test]
fn an_interval_too_small_for_the_far_end_is_told_with_the_one_it_wants() {
    let mut w = World::new();
    let mut call = w.established();
    let tx = w.receive(call.a.offer(Method::Invite, &changed()));
    let re = w.request(Method::Invite);
    w.reply(&re, answer(&re, 422, "far").with("Min-SE", "3600"));
    let refusal = w.response(tx);
    // RFC 4028 section 6: a 422 says what would do.
    assert_eq!((refusal.status, refusal.headers.get("Min-SE")), (422, Some("3600")));
}

#[test]
fn a_far_end_that_lost_the_dialog_ends_the_session() {
    let mut w = World::with(|policy| policy.direct_delivery = false);
    let mut call = w.answered();
    let tx = w.receive(call.a.offer(Method::Invite, &changed()));
    let re = w.request(Method::Invite);
    w.reply(&re, answer(&re, 481, "far"));
    assert_eq!(w.response(tx).status, 481);
    let (to_a, to_f) = (w.request(Method::Bye), w.request(Method::Bye));
    w.reply(&to_a, answer(&to_a, 200, ""));
    w.reply(&to_f, answer(&to_f, 481, ""));
    w.silent();
    w.over();
}

#[test]
fn two_offers_at_once_get_491() {
    let mut w = World::new();
    let mut call = w.established();
    w.receive(call.a.offer(Method::Invite, &changed()));
    w.request(Method::Invite);
    let tx = w.receive(call.f.offer(Method::Invite, &sdp(2, &chat("10.2.0.1", "gggggggg", "actpass"))));
    assert_eq!(w.response(tx).status, 491);
    w.silent();
}

#[test]
fn a_device_that_could_not_take_a_change_gets_it_later() {
    let mut w = World::new();
    let mut call = w.established();
    // It is about to change something itself; and another one has not acknowledged what it has asked for.
    let moved = sdp(2, &chat("10.1.9.9", "moved", "active"));
    let busy = w.receive(call.devices[1].0.offer(Method::Invite, &moved));
    assert_eq!(w.response(busy).status, 200);
    let tx = w.receive(call.a.offer(Method::Invite, &changed()));
    let to_far = w.request(Method::Invite);
    let types = chat("10.2.0.1", "ffffffff", "passive").replace("message/cpim", "message/cpim image/png");
    w.reply(&to_far, with_sdp(answer(&to_far, 200, "far"), &sdp(2, &types)));
    w.response(tx);
    w.ack(tx, &call.a);
    w.acked(&to_far);
    let told = w.request(Method::Invite);
    w.reply(&told, answer(&told, 491, "b"));
    w.media();
    w.silent();
    w.ack(busy, &call.devices[1].0);
    w.pass(2);
    w.silent();
    w.pass(3);
    for _ in 0..2 {
        let again = w.request(Method::Invite);
        assert!(String::from_utf8_lossy(&again.request.body).contains("image/png"));
        w.reply(&again, device_ok(&again, if again.request.uri.contains("@b.") { "b" } else { "c" }));
        w.acked(&again);
    }
    w.pass(10);
    w.silent();
}

#[test]
fn a_cancelled_change_is_cancelled_at_the_far_end() {
    let mut w = World::new();
    let mut call = w.established();
    let tx = w.receive(call.a.offer(Method::Invite, &changed()));
    let re = w.request(Method::Invite);
    w.cancel(tx, None);
    w.cancelled(&re).unwrap();
    w.reply(&re, answer(&re, 487, "far"));
    assert_eq!(w.response(tx).status, 487);
    w.silent();
    assert_eq!(w.shard.sessions(w.now)[0].state, "established");
}

#[test]
fn a_bye_ends_a_pending_change_with_487() {
    let mut w = World::with(|policy| policy.direct_delivery = false);
    let mut call = w.answered();
    let change = w.receive(call.a.offer(Method::Invite, &changed()));
    w.request(Method::Invite);
    let bye = w.receive(call.a.bye(None));
    assert_eq!(w.response(change).status, 487);
    let to_far = w.request(Method::Bye);
    w.reply(&to_far, answer(&to_far, 200, "far"));
    assert_eq!(w.response(bye).status, 200);
    w.silent();
    w.over();
}

#[test]
fn a_recipient_list_does_not_belong_into_a_change() {
    let mut w = World::new();
    let mut call = w.established();
    let mut change = call.a.offer(Method::Invite, &changed());
    change.headers.push("Require", "recipient-list-invite");
    let tx = w.receive(change);
    let refusal = w.response(tx);
    assert_eq!((refusal.status, refusal.headers.get("Unsupported")), (420, Some("recipient-list-invite")));
}

#[test]
fn a_device_that_moves_changes_its_own_leg_only() {
    let mut w = World::new();
    let mut call = w.established();
    let moved = sdp(2, &chat("10.1.9.9", "moved", "active"));
    let tx = w.receive(call.devices[0].0.offer(Method::Invite, &moved));
    let ok = w.response(tx);
    assert_eq!(ok.status, 200);
    assert_eq!(path(&ok.body, 0), path(&call.devices[0].1.request.body, 0));
    assert_eq!(w.media(), ["await device1 as msrp://10.1.9.9:2855/moved;tcp"]);
    w.silent();
}

// Rows: MOD-01
#[test]
fn a_re_invite_passes_the_checks_of_an_invite_as_they_are_now() {
    type Case = (fn(&mut Policy), &'static [(&'static str, &'static str)], &'static str);
    let cases: [Case; 4] = [
        (|policy| policy.barred.push("sip:ann@example.org".to_owned()), &[], "127 Service not authorised"),
        // An address that the core has asserted.
        (|policy| policy.barred.push("tel:+1555".to_owned()), &[], "127 Service not authorised"),
        (
            |policy| {
                policy.client_version =
                    Some(crate::core::policy::VersionRule::Minimum(crate::core::policy::Release {
                        major: 2,
                        minor: 2,
                    }));
            },
            &[("User-Agent", "CPM-client/OMA1.0")],
            "132 Version not supported",
        ),
        (|policy| policy.allow_anonymity = false, &[("Privacy", "id")], "119 Anonymity not allowed"),
    ];
    for (change, headers, text) in cases {
        let mut policy = Policy { direct_delivery: false, ..Policy::default() };
        let mut w = World::with(|of_world| *of_world = policy.clone());
        let mut first = invite();
        first.headers.set("P-Asserted-Identity", "<sip:ann@example.org>, <tel:+1-555>");
        let mut call = w.answered_with(first);
        w.said.clear();
        change(&mut policy);
        w.shard.reload(policy, Vec::new());
        let mut again = call.a.offer(Method::Invite, &changed());
        headers.iter().for_each(|(name, value)| again.headers.set(name, *value));
        let tx = w.receive(again);
        let refusal = w.response(tx);
        assert_eq!(refusal.status, 403, "{text}");
        assert!(refusal.headers.get("Warning").is_some_and(|warning| warning.contains(text)));
        w.silent();
        assert_eq!(w.shard.sessions(w.now)[0].state, "established");
    }
}
