//! Clause 8.2.2.1, 200 part, step 8.

use super::*;

/// What is shown of a few sessions is what is shown of all, and each MSRP leg leads to its session.
#[test]
fn a_part_of_the_table_is_shown_without_the_rest() {
    let mut w = World::new();
    w.established();
    let mut another = invite();
    another.headers.set("Call-ID", "another");
    w.receive(another);
    let all = w.shard.sessions(w.now);
    assert_eq!((all.len(), w.shard.session_count()), (2, 2));
    assert_eq!(w.shard.session_views(w.now).take(1).collect::<Vec<_>>(), all[..1]);
    let devices = w.shard.devices(w.now);
    assert_eq!((devices.len(), w.shard.device_count()), (3, 3));
    assert_eq!(w.shard.device_views(w.now).take(2).collect::<Vec<_>>(), devices[..2]);
    let mut legs = 0;
    for session in &all {
        for leg in &session.legs {
            for media in &leg.media {
                assert_eq!(w.shard.leg_owner(*media), Some((session.id, leg.name.as_str())));
                legs += 1;
            }
        }
    }
    assert_eq!(legs, 5, "four of the first session; of the second, not answered yet, the far end's");
    assert_eq!(w.shard.leg_owner(LegKey(u64::MAX)), None);
}
use crate::core::sdp::Sdp;

// Rows: DD-01, DD-04, DD-05, DD-06, AMB-12
#[test]
fn the_users_other_devices_are_invited_right_after_the_200() {
    let mut w = World::new();
    let (tx, far) = w.invite();
    assert!(!w.has_request(Method::Invite), "not before the far end's answer");
    w.reply(&far, far_ok(&far));
    let order: Vec<String> = w
        .said
        .iter()
        .filter_map(|command| match command {
            Command::Sip(SipCommand::Respond { response, .. }) => Some(response.status.to_string()),
            Command::Sip(SipCommand::Request { request, .. }) => Some(request.uri.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(order, ["200", "sip:ann@b.example.net:5060", "sip:ann@c.example.net:5060"]);
    w.response(tx);

    let (b, c) = (w.request(Method::Invite), w.request(Method::Invite));
    assert_ne!(b.request.call_id(), c.request.call_id());
    let sent = &b.request.headers;
    assert!(sent.get("From").unwrap().starts_with("<sip:bob@example.com>;tag="));
    assert_eq!(sent.get("To"), Some("<sip:ann@example.org>"));
    assert_eq!(sent.get("Conversation-ID"), Some("f81d4fae-7dec-11d0-a765-00a0c91e6bf6"));
    assert_eq!(sent.get("Contribution-ID"), Some("6b79b8bc937e4985b1dffd062b687bd7"));
    assert_eq!(sent.get("P-Asserted-Service"), Some(ICSI));
    assert_eq!(sent.get("P-Asserted-Identity"), Some("<sip:bob@example.com>"));
    assert_eq!(sent.get("Accept-Contact"), Some(format!("*;{TAG}").as_str()));
    assert_eq!(sent.get("User-Agent"), Some("CPM-serv/OMA2.2 pf/0.1.0"));
    assert_eq!(sent.get("Session-Expires"), Some("1800;refresher=uac"));
    assert!(sent.get("Contact").unwrap().ends_with(";isfocus"));
    let path = |out: &Out| Sdp::parse(&out.request.body).unwrap().msrp_lines()[0].path[0].clone();
    assert_ne!(path(&b), path(&c), "a path of its own for every leg");
    assert_eq!(
        Sdp::parse(&b.request.body).unwrap().msrp_lines()[0].setup.map(|s| s.as_str()),
        Some("actpass")
    );

    w.media();
    w.reply(&b, device_ok(&b, "b"));
    assert_eq!(w.acked(&b).uri, "sip:ann@b.example.net:5060", "ACK at once");
    assert_eq!(w.media(), ["connect device1 to 10.1.0.2:2855 as msrp://10.1.0.2:2855/bbbbbbbb;tcp"]);
    w.silent();
}

// Rows: DD-01
#[test]
fn without_the_policy_there_are_only_two_legs() {
    let mut w = World::with(|policy| policy.direct_delivery = false);
    w.answered();
    w.silent();
}

// Rows: DD-02, DD-03
#[test]
fn devices_of_another_release_are_left_out() {
    let rule = r#"{"minimum":"2.2"}"#;
    for (c, invited) in [("CPM-client/OMA2.2", 1), ("CPM-client/OMA2.1", 0)] {
        let mut w = World::empty(|config| {
            config.policy.client_version = Some(serde_json::from_str(rule).unwrap());
        });
        w.register("a", "CPM-client/OMA2.2", TAG);
        w.register("b", "CPM-client/OMA1.0", TAG);
        w.register("c", c, TAG);
        let call = w.answered();
        let invites: Vec<Out> = (0..invited).map(|_| w.request(Method::Invite)).collect();
        assert!(invites.iter().all(|out| out.request.uri.contains("@c.")));
        w.silent();
        let legs = w.shard.sessions(w.now)[0].legs.len();
        assert_eq!(legs, 2 + invited);
        assert_eq!(call.ok.status, 200);
    }
}

// Rows: DD-06
#[test]
fn a_device_that_refuses_or_fails_costs_only_its_leg() {
    for (status, state) in [(Some(486), "refused 486"), (Some(603), "refused 603"), (None, "unanswered")] {
        let mut w = World::new();
        w.answered();
        let (b, c) = (w.request(Method::Invite), w.request(Method::Invite));
        w.media();
        match status {
            Some(status) => w.reply(&b, answer(&b, status, "b")),
            None => w.unanswered(&b),
        }
        assert_eq!(w.media(), ["close device1"]);
        w.reply(&c, device_ok(&c, "c"));
        w.acked(&c);
        w.silent();
        let session = &w.shard.sessions(w.now)[0];
        let states: Vec<&str> = session.legs.iter().map(|leg| leg.state.as_str()).collect();
        assert_eq!(states, ["established", "established", state, "established"]);
    }
}

// Rows: DD-06
#[test]
fn a_device_that_does_not_answer_is_cancelled_and_a_late_yes_ended() {
    let mut w = World::new();
    w.answered();
    let (b, c) = (w.request(Method::Invite), w.request(Method::Invite));
    w.reply(&c, device_ok(&c, "c"));
    w.acked(&c);
    w.media();
    w.pass(29);
    w.silent();
    w.pass(2);
    assert_eq!(w.cancelled(&b), Some(None));
    assert_eq!(w.media(), ["close device1"]);
    w.reply(&b, device_ok(&b, "b"));
    w.acked(&b);
    let bye = w.request(Method::Bye);
    assert_eq!(bye.request.call_id(), b.request.call_id());
    w.reply(&bye, answer(&bye, 200, "tag-b"));
    w.silent();
    assert_eq!(w.shard.sessions(w.now)[0].legs[2].state, "unanswered");
}

#[test]
fn a_device_whose_answer_has_no_stream_is_let_go() {
    let mut w = World::new();
    w.answered();
    let (b, _) = (w.request(Method::Invite), w.request(Method::Invite));
    let contact = "<sip:ann@b.example.net>";
    w.reply(
        &b,
        with_sdp(answer(&b, 200, "b").with("Contact", contact), &sdp(1, "m=message 0 TCP/MSRP *\r\n")),
    );
    w.acked(&b);
    assert_eq!(w.request(Method::Bye).request.call_id(), b.request.call_id());
    w.silent();
}

// Rows: DD-07
#[test]
fn a_device_that_registers_later_is_invited_only_if_policy_says_so() {
    for late in [true, false] {
        let mut w = World::with(|policy| policy.late_devices = late);
        w.established();
        w.register("d", "CPM-client/OMA2.2", TAG);
        if late {
            assert_eq!(w.request(Method::Invite).request.uri, "sip:ann@d.example.net:5060");
        }
        // Registering again changes nothing.
        w.register("d", "CPM-client/OMA2.2", TAG);
        w.silent();
    }
}

// Rows: DD-04
#[test]
fn a_group_session_goes_to_devices_registered_for_groups() {
    let group = "+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.session.group\"";
    let mut w = World::empty(|_| {});
    w.register("b", "CPM-client/OMA2.2", TAG);
    w.register("c", "CPM-client/OMA2.2", group);
    let mut received = invite();
    received.headers.set("P-Preferred-Service", ICSI_G);
    let tx = w.receive(received);
    let far = w.request(Method::Invite);
    w.reply(&far, far_ok(&far));
    w.response(tx);
    let device = w.request(Method::Invite);
    assert!(device.request.uri.contains("@c."));
    assert_eq!(device.request.headers.get("P-Asserted-Service"), Some(ICSI_G));
    w.silent();
}
