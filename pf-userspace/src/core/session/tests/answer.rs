//! Clause 8.2.2.1, response part.

use super::*;
use crate::core::sdp::Sdp;

// Rows: ANS-08, ANS-09, ANS-10, ANS-11, ANS-13
#[test]
fn the_far_ends_200_becomes_our_200() {
    let mut w = World::new();
    let (tx, far) = w.invite();
    w.media();
    w.reply(&far, far_ok(&far));
    let ok = w.response(tx);
    assert_eq!((ok.status, ok.headers.get("Server")), (200, Some("CPM-serv/OMA2.2 pf/0.1.0")));
    assert_eq!(ok.headers.all("Server").count(), 1);
    assert!(ok.to_tag().is_some_and(|tag| tag != "far"));
    let answered = Sdp::parse(&ok.body).unwrap();
    let line = &answered.msrp_lines()[0];
    assert!(line.path[0].starts_with("msrp://10.0.0.1:2855/"));
    assert_eq!(line.setup.map(|s| s.as_str()), Some("passive"));
    assert_eq!((line.port, line.host.as_deref()), (2855, Some("10.0.0.1")));
    assert_eq!(line.accept_types, ["message/cpim"]);
    let media = w.media();
    assert_eq!(
        media[..3],
        [
            "connect F to 10.2.0.1:2855 as msrp://10.2.0.1:2855/ffffffff;tcp",
            "open A",
            "await A as msrp://10.1.0.1:2855/aaaaaaaa;tcp"
        ]
    );
}

// Rows: ANS-08
#[test]
fn what_establishes_the_dialog_brings_back_the_record_route() {
    let mut w = World::new();
    let mut received = invite();
    let routes = ["<sip:p2@core;lr>", "<sip:p1@core:5070;lr;x=1>"];
    received.headers.push("Record-Route", routes.join(", "));
    let tx = w.receive(received);
    let far = w.request(Method::Invite);
    w.reply(&far, answer(&far, 180, "far"));
    assert!(w.response(tx).headers.list("Record-Route").eq(routes));
    w.reply(&far, far_ok(&far));
    let ok = w.response(tx);
    assert!(ok.headers.list("Record-Route").eq(routes));
    assert!(far.request.headers.get("Record-Route").is_none(), "the far end's dialog is another one");
}

// Rows: ANS-11, AMB-10
#[test]
fn the_answer_is_passive_unless_only_active_is_left() {
    for (offered, ours) in
        [("active", "passive"), ("actpass", "passive"), ("holdconn", "passive"), ("passive", "active")]
    {
        let mut w = World::new();
        let mut received = invite();
        received.body = sdp(1, &chat("10.1.0.1", "aaaaaaaa", offered)).into();
        let tx = w.receive(received);
        let far = w.request(Method::Invite);
        w.reply(&far, far_ok(&far));
        let answered = Sdp::parse(&w.response(tx).body).unwrap();
        assert_eq!(answered.msrp_lines()[0].setup.map(|s| s.as_str()), Some(ours), "{offered}");
    }
}

// Rows: ANS-10
#[test]
fn a_stream_that_the_far_end_rejects_stays_rejected_in_its_place() {
    let mut w = World::new();
    let mut received = invite();
    let two = chat("10.1.0.1", "first", "actpass") + &chat("10.1.0.1", "second", "actpass");
    received.body = sdp(1, &two).into();
    let tx = w.receive(received);
    let far = w.request(Method::Invite);
    assert_eq!(w.media(), ["open stream", "open F", "open stream", "open F"]);
    let rejected = chat("10.2.0.1", "x", "passive").replacen("2855", "0", 1);
    let lines = rejected + &chat("10.2.0.1", "ffffffff", "passive");
    w.reply(&far, with_sdp(answer(&far, 200, "far").with("Contact", "<sip:f@10.2.0.1>"), &sdp(1, &lines)));
    let answered = Sdp::parse(&w.response(tx).body).unwrap();
    let ports: Vec<u16> = answered.msrp_lines().iter().map(|line| line.port).collect();
    assert_eq!(ports, [0, 2855]);
    let media = w.media();
    assert_eq!(media[0], "close stream");
    assert_eq!(media.iter().filter(|m| m.starts_with("open A")).count(), 1);
    let device = w.request(Method::Invite);
    let offered = Sdp::parse(&device.request.body).unwrap();
    let ports: Vec<u16> = offered.msrp_lines().iter().map(|line| line.port).collect();
    assert_eq!(ports, [0, 2855]);
}

// Rows: ANS-12, AMB-02
#[test]
fn our_contact_resolves_back_to_the_far_ends_even_after_a_restart() {
    let mut w = World::new();
    let mut call = w.established();
    let contact = call.ok.headers.get("Contact").unwrap().to_owned();
    let contact = NameAddr::parse(&contact).unwrap();
    assert_eq!(contact.param("isfocus"), Some(""));
    assert!(contact.uri.ends_with("@10.0.0.1:5060") && !contact.uri.contains("10.2.0.1"));
    let bye = w.receive(call.a.bye(None));
    w.request(Method::Bye);
    w.request(Method::Bye);
    let to_far = w.request(Method::Bye);
    w.reply(&to_far, answer(&to_far, 200, "far"));
    w.response(bye);

    // A new process with the same key.
    let mut w = World::new();
    let mut rejoin = invite();
    rejoin.uri.clone_from(&contact.uri);
    w.receive(rejoin);
    let far = w.request(Method::Invite);
    assert_eq!(far.request.uri, "sip:bob@10.2.0.1:5060");
    // Another key: nobody's address.
    let mut w = World::configured(|config| config.secret = [8; 32]);
    let mut rejoin = invite();
    rejoin.uri = contact.uri;
    let tx = w.receive(rejoin);
    assert_eq!(w.response(tx).status, 404);
}

#[test]
fn provisional_responses_are_passed_on_without_description() {
    let mut w = World::new();
    let (tx, far) = w.invite();
    w.reply(&far, answer(&far, 100, "far"));
    assert!(!w.has_response(tx), "100 is the shell's");
    let mut progress = answer(&far, 183, "far").with("Contact", "<sip:bob@10.2.0.1>");
    progress.reason = "Call is in the queue".to_owned();
    w.reply(&far, with_sdp(progress, "v=0\r\n"));
    let passed = w.response(tx);
    assert_eq!((passed.status, passed.reason.as_str()), (183, "Call is in the queue"));
    assert!(passed.body.is_empty() && passed.to_tag().is_some_and(|tag| tag != "far"));
    w.reply(&far, far_ok(&far));
    assert_eq!(w.response(tx).to_tag(), passed.to_tag(), "one dialog on leg A");
}

// Rows: RSP-04
#[test]
fn an_error_of_the_far_end_goes_to_the_client() {
    for status in [404, 480, 486, 488, 500, 503, 600, 606] {
        let mut w = World::new();
        let (tx, far) = w.invite();
        let mut error = answer(&far, status, "far").with("Warning", "304 far \"Media type\"");
        error.reason = "Own Words".to_owned();
        w.reply(&far, error);
        let passed = w.response(tx);
        assert_eq!((passed.status, passed.reason.as_str()), (status, "Own Words"));
        assert_eq!(passed.headers.get("Warning"), Some("304 far \"Media type\""));
        assert_eq!(w.media(), ["open stream", "open F", "close F", "close stream"]);
        w.silent();
        w.over();
    }
    let mut w = World::new();
    let (tx, far) = w.invite();
    w.unanswered(&far);
    assert_eq!(w.response(tx).status, 408);
    w.over();
}

// Rows: RSP-06, AMB-38, INV-14
#[test]
fn the_ack_to_the_far_end_follows_the_clients() {
    let mut w = World::new();
    let (tx, far) = w.invite();
    w.reply(&far, far_ok(&far));
    let ok = w.response(tx);
    assert!(w.try_acked(&far).is_none(), "not yet");
    w.ack(tx, &Ua::caller(&invite(), &ok));
    let ack = w.acked(&far);
    assert_eq!(ack.uri, "sip:bob@10.2.0.1:5060");
    assert_eq!(ack.headers.get("CSeq"), Some("1 ACK"));
    assert_eq!(ack.to_tag().as_deref(), Some("far"));
    assert_eq!(ack.call_id(), far.request.call_id());
}

// Rows: RSP-06
#[test]
fn an_ack_that_the_shell_cannot_place_is_found_by_its_dialog() {
    let mut w = World::new();
    let (tx, far) = w.invite();
    w.reply(&far, far_ok(&far));
    let ok = w.response(tx);
    let mut ack = Ua::caller(&invite(), &ok).ack();
    w.event(Event::Sip(SipEvent::Ack { tx: None, from: peer(CORE), request: ack.clone() }));
    w.acked(&far);
    ack.headers.set("Call-ID", "another");
    w.event(Event::Sip(SipEvent::Ack { tx: None, from: peer(CORE), request: ack }));
    assert!(w.try_acked(&far).is_none());
}

// Rows: ANS-13
#[test]
fn a_client_that_never_acknowledges_loses_the_session() {
    let mut w = World::with(|policy| policy.direct_delivery = false);
    let (tx, far) = w.invite();
    w.reply(&far, far_ok(&far));
    w.response(tx);
    w.event(Event::Sip(SipEvent::AckMissing { tx }));
    w.acked(&far);
    let byes = [w.request(Method::Bye), w.request(Method::Bye)];
    assert_eq!(byes[0].request.call_id(), "call-a");
    assert_eq!(byes[1].request.call_id(), far.request.call_id());
    for bye in &byes {
        w.reply(bye, answer(bye, 200, "x"));
    }
    w.silent();
    w.over();
}

#[test]
fn a_200_whose_stream_cannot_be_carried_is_no_answer() {
    let tls = sdp(1, &chat("10.2.0.1", "ffffffff", "passive").replace("TCP/MSRP", "TCP/TLS/MSRP"));
    for description in ["", "nonsense", &tls] {
        let mut w = World::new();
        let (tx, far) = w.invite();
        let ok = answer(&far, 200, "far").with("Contact", "<sip:bob@10.2.0.1>");
        w.reply(&far, if description.is_empty() { ok } else { with_sdp(ok, description) });
        assert_eq!(w.response(tx).status, 502);
        w.acked(&far);
        let bye = w.request(Method::Bye);
        w.reply(&bye, answer(&bye, 200, "far"));
        w.silent();
        w.over();
    }
}

// Rows: INV-14
#[test]
fn the_answer_of_another_fork_gets_ack_and_bye() {
    let mut w = World::new();
    let call = w.established();
    let fork = with_sdp(
        answer(&call.far, 200, "fork")
            .with("Contact", "<sip:bob@10.2.0.2>")
            .with("Record-Route", "<sip:p@10.2.0.3;lr>"),
        "v=0\r\n",
    );
    w.reply(&call.far, fork.clone());
    let ack = w.acked(&call.far);
    assert_eq!((ack.uri.as_str(), ack.to_tag().as_deref()), ("sip:bob@10.2.0.2", Some("fork")));
    let bye = w.request(Method::Bye);
    assert_eq!((bye.request.to_tag().as_deref(), bye.hop.uri.as_str()), (Some("fork"), "sip:p@10.2.0.3;lr"));
    w.reply(&bye, answer(&bye, 200, "fork"));
    w.silent();
    assert_eq!(w.shard.sessions(w.now).len(), 1);

    // Also when the session is long gone.
    let mut w = World::new();
    let (_, far) = w.invite();
    w.reply(&far, answer(&far, 486, "far"));
    w.over();
    w.said.clear();
    let mut fork = fork;
    fork.headers.set("Call-ID", far.request.call_id());
    w.reply(&far, fork);
    w.acked(&far);
    w.request(Method::Bye);
    w.silent();
}

#[test]
fn relaying_between_the_client_and_the_far_end_changes_no_length() {
    for (a, f) in [("aaaaaaaa", "ffffffff"), ("a", "f-rather-long-session-identifier-0123456789")] {
        let mut w = World::new();
        let mut received = invite();
        received.body = sdp(1, &chat("10.1.0.1", a, "actpass")).into();
        let tx = w.receive(received.clone());
        let far = w.request(Method::Invite);
        let answer = answer(&far, 200, "far").with("Contact", "<sip:f@10.2.0.1>");
        w.reply(&far, with_sdp(answer, &sdp(1, &chat("10.2.0.1", f, "passive"))));
        let ok = w.response(tx);
        let path = |sdp: &[u8]| Sdp::parse(sdp).unwrap().msrp_lines()[0].path[0].len();
        let (their_a, their_f) = (path(&received.body), path(sdp(1, &chat("10.2.0.1", f, "x")).as_bytes()));
        assert_eq!(path(&ok.body) + their_a, path(&far.request.body) + their_f);
    }
}
