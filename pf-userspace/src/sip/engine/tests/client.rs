//! Requests of ours.

use super::*;

#[test]
fn invite_over_udp_is_sent_seven_times_and_times_out_at_timer_b() {
    let mut bench = Bench::new();
    bench.start(1, Method::Invite, &[Bench::udp()]);
    let first = bench.one();
    assert!(
        first.starts_with(
            "INVITE sip:far@far.example SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK"
        )
    );
    assert_eq!(times(&bench.until(40_000)), [500, 1500, 3500, 7500, 15500, 31500]);
    assert!(matches!(
        bench.event(),
        Some(SipEvent::Unanswered { tx: ClientTx(1), reason: NoAnswer::TimedOut })
    ));
    assert_eq!((bench.engine.len(), bench.engine.deadline()), ((0, 0), None));
}

#[test]
fn other_requests_over_udp_follow_timers_e_and_f() {
    let mut bench = Bench::new();
    bench.start(1, Method::Message, &[Bench::udp()]);
    let first = bench.one();
    assert_eq!(times(&bench.until(8000)), [500, 1500, 3500, 7500]);
    bench.arrive(UDP, &reply(&first, "100 Trying", "z"));
    assert!(matches!(bench.event(), Some(SipEvent::Response { response, .. }) if response.status == 100));
    // In Proceeding every T2, and the end is where it was (RFC 3261 section 17.1.2.2).
    assert_eq!(times(&bench.until(32_500)), [11500, 15500, 19500, 23500, 27500, 31500]);
    assert!(matches!(bench.event(), Some(SipEvent::Unanswered { reason: NoAnswer::TimedOut, .. })));
    assert_eq!(bench.engine.len(), (0, 0));
}

#[test]
fn nothing_is_sent_again_over_tcp_but_it_times_out_too() {
    let mut bench = Bench::new();
    for (tx, method) in [(1, Method::Invite), (2, Method::Bye)] {
        bench.start(tx, method, &[Bench::tcp()]);
        bench.one();
    }
    assert!(bench.until(33_000).is_empty());
    for _ in 0..2 {
        assert!(matches!(bench.event(), Some(SipEvent::Unanswered { reason: NoAnswer::TimedOut, .. })));
    }
    assert_eq!(bench.engine.len(), (0, 0));
}

#[test]
fn a_failure_is_acknowledged_with_the_invites_branch_and_again_for_each_copy() {
    for (route, kept) in [(Bench::udp(), 1), (Bench::tcp(), 0)] {
        let mut bench = Bench::new();
        bench.start(1, Method::Invite, &[route]);
        let invite = bench.one();
        let busy = reply(&invite, "603 Decline", "z");
        bench.arrive(UDP, &busy);
        let ack = bench.one();
        assert!(ack.starts_with("ACK sip:far@far.example SIP/2.0\r\n"), "{ack}");
        assert_eq!(field(&ack, "Via"), field(&invite, "Via"));
        assert_eq!((field(&ack, "To"), field(&ack, "CSeq")), ("<sip:far@far.example>;tag=z", "7 ACK"));
        assert_eq!(field(&ack, "Route"), "<sip:core;lr>");
        assert!(matches!(bench.event(), Some(SipEvent::Response { response, .. }) if response.status == 603));
        assert_eq!(bench.engine.len().1, kept);
        if kept == 1 {
            bench.arrive(UDP, &busy);
            assert_eq!(bench.one(), ack);
        }
        assert!(bench.event().is_none());
        bench.until(33_000);
        assert_eq!(bench.engine.len(), (0, 0));
    }
}

#[test]
fn every_fork_is_reported_once_and_acknowledged_as_often_as_it_answers() {
    let mut bench = Bench::new();
    bench.start(1, Method::Invite, &[Bench::udp()]);
    let invite = bench.one();
    for tag in ["one", "two"] {
        let ok = reply(&invite, "200 OK", tag);
        bench.arrive(UDP, &ok);
        bench.arrive(UDP, &ok);
        assert!(matches!(bench.event(), Some(SipEvent::Response { response, .. }) if response.status == 200));
        assert!(bench.event().is_none() && bench.sent().is_empty(), "no ACK yet: nothing to repeat");
        let mut ack = request(Method::Ack);
        ack.headers.set("To", format!("<sip:far@far.example>;tag={tag}"));
        ack.body = tag.into();
        bench.engine.acknowledge(ClientTx(1), &ack, &[Bench::udp()]);
        let sent = bench.one();
        assert!(sent.ends_with(&format!("\r\n\r\n{tag}")), "{sent}");
        bench.arrive(UDP, &ok);
        assert_eq!(bench.one(), sent);
    }
    // The first fork's ACK is still there.
    bench.arrive(UDP, &reply(&invite, "200 OK", "one"));
    assert!(bench.one().ends_with("one"));
    bench.until(33_000);
    assert_eq!(bench.engine.len(), (0, 0));
    bench.arrive(UDP, &reply(&invite, "200 OK", "one"));
    assert!(bench.event().is_none() && bench.sent().is_empty());
    assert_eq!(bench.counters.stray_responses.get(), 1);
}

#[test]
fn a_cancel_waits_for_a_provisional_and_is_repeated_until_answered() {
    let mut bench = Bench::new();
    bench.start(1, Method::Invite, &[Bench::udp()]);
    let invite = bench.one();
    bench.engine.cancel(bench.now, ClientTx(1), Some("SIP;cause=200".to_owned()));
    assert!(bench.sent().is_empty());
    bench.arrive(UDP, &reply(&invite, "180 Ringing", "z"));
    let cancel = bench.one();
    assert!(cancel.starts_with("CANCEL sip:far@far.example SIP/2.0\r\n"), "{cancel}");
    assert_eq!(field(&cancel, "Via"), field(&invite, "Via"));
    assert_eq!((field(&cancel, "CSeq"), field(&cancel, "Reason")), ("7 CANCEL", "SIP;cause=200"));
    assert_eq!((field(&cancel, "To"), field(&cancel, "Route")), ("<sip:far@far.example>", "<sip:core;lr>"));
    assert_eq!(times(&bench.until(2000)), [500, 1500]);
    bench.arrive(UDP, &reply(&cancel, "200 OK", "z"));
    assert!(bench.until(10_000).is_empty());
    bench.event();
    assert!(bench.event().is_none(), "the CANCEL's own answer is not the core's");
    bench.arrive(UDP, &reply(&invite, "487 Request Terminated", "z"));
    assert!(bench.one().starts_with("ACK "));
    assert!(matches!(bench.event(), Some(SipEvent::Response { response, .. }) if response.status == 487));
    bench.until(60_000);
    assert_eq!(bench.engine.len(), (0, 0));
}

#[test]
fn a_cancelled_invite_without_an_end_is_given_up() {
    let mut bench = Bench::new();
    bench.start(1, Method::Invite, &[Bench::tcp()]);
    let invite = bench.one();
    bench.arrive(TCP, &reply(&invite, "180 Ringing", "z"));
    bench.event();
    bench.engine.cancel(bench.now, ClientTx(1), None);
    assert!(bench.one().starts_with("CANCEL "));
    bench.until(33_000);
    assert!(matches!(bench.event(), Some(SipEvent::Unanswered { reason: NoAnswer::TimedOut, .. })));
    assert_eq!(bench.engine.len(), (0, 0));
}

#[test]
fn an_invite_that_rings_for_ever_is_cancelled() {
    let mut bench = Bench::new();
    bench.start(1, Method::Invite, &[Bench::tcp()]);
    let invite = bench.one();
    bench.arrive(TCP, &reply(&invite, "180 Ringing", "z"));
    let log = bench.until(181_000);
    assert_eq!(log, [(180_000, "CANCEL sip:far@far.example SIP/2.0".to_owned())]);
}

#[test]
fn the_next_route_is_tried_when_one_fails() {
    let mut bench = Bench::new();
    bench.ports.dead.lock().unwrap().insert("10.0.0.7:1".parse().unwrap());
    let dead = Route::To(TCP, "10.0.0.7:1".parse().unwrap());
    bench.start(1, Method::Invite, &[dead, Route::Flow(FlowId(77)), Bench::tcp(), Bench::udp()]);
    bench.collect();
    assert!(matches!(bench.sent.remove(0).0, Way::Flow { flow: FlowId(77), .. }));
    bench.engine.flow_failed(bench.now, FlowId(77), "closed", true);
    assert!(matches!(bench.event(), Some(SipEvent::FlowClosed { flow: FlowId(77) })));
    assert!(matches!(bench.sent.remove(0).0, Way::Flow { flow: FlowId(1), .. }));
    bench.engine.flow_failed(bench.now, FlowId(1), "refused", false);
    let first = bench.one();
    assert!(field(&first, "Via").starts_with("SIP/2.0/UDP "));
    bench.arrive(UDP, &reply(&first, "486 Busy Here", "z"));
    assert!(bench.one().starts_with("ACK "));
    assert!(matches!(bench.event(), Some(SipEvent::Response { .. })));

    bench.start(2, Method::Bye, &[Bench::tcp()]);
    bench.one();
    bench.engine.flow_failed(bench.now, FlowId(2), "refused", false);
    assert!(matches!(
        bench.event(),
        Some(SipEvent::Unanswered { tx: ClientTx(2), reason: NoAnswer::Unreachable(why) }) if why == "refused"
    ));
}

#[test]
fn an_invite_that_rings_survives_its_connection() {
    let mut bench = Bench::new();
    bench.start(1, Method::Invite, &[Bench::tcp()]);
    let invite = bench.one();
    bench.arrive(TCP, &reply(&invite, "180 Ringing", "z"));
    bench.event();
    bench.engine.flow_failed(bench.now, FlowId(1), "closed", false);
    assert!(bench.event().is_none());
    // The peer answers over a new connection (RFC 3261 section 18.2.2).
    bench.arrive(TCP, &reply(&invite, "200 OK", "z"));
    assert!(matches!(bench.event(), Some(SipEvent::Response { response, .. }) if response.status == 200));
}

#[test]
fn a_response_must_fit_its_request() {
    let mut bench = Bench::new();
    bench.start(1, Method::Message, &[Bench::udp()]);
    let message = bench.one();
    let forged = reply(&message, "200 OK", "z").replace("z9hG4bK", "z9hG4bKx");
    bench.arrive(UDP, &forged);
    bench.arrive(UDP, &reply(&message, "200 OK", "z").replace("7 MESSAGE", "7 INVITE"));
    assert!(bench.event().is_none());
    assert_eq!(bench.counters.stray_responses.get(), 2);
}

#[test]
fn a_connection_that_was_old_is_replaced_by_a_new_one_once() {
    let mut bench = Bench::new();
    *bench.ports.old.lock().unwrap() = Some(FlowId(55));
    bench.start(1, Method::Message, &[Bench::tcp()]);
    bench.collect();
    assert!(matches!(bench.sent.remove(0).0, Way::Flow { flow: FlowId(55), .. }));
    *bench.ports.old.lock().unwrap() = None;
    bench.engine.flow_failed(bench.now, FlowId(55), "closed", true);
    bench.event();
    assert!(matches!(bench.sent.remove(0).0, Way::Flow { flow: FlowId(1), .. }));
    bench.engine.flow_failed(bench.now, FlowId(1), "closed", true);
    assert!(matches!(bench.event(), Some(SipEvent::Unanswered { reason: NoAnswer::Unreachable(_), .. })));
}
