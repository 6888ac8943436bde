//! Requests of peers.

use super::*;

#[test]
fn an_invite_gets_its_100_after_200_ms_and_repeats_only_the_last_response() {
    let mut bench = Bench::new();
    let invite = text("INVITE", "a", "");
    bench.arrive(UDP, &invite);
    let tx = bench.new_request();
    assert!(bench.sent().is_empty());
    assert_eq!(bench.until(1000), [(200, "SIP/2.0 100 Trying".to_owned())]);
    bench.arrive(UDP, &invite);
    assert!(bench.one().starts_with("SIP/2.0 100 Trying\r\n"));
    bench.engine.respond(bench.now, tx, Response::new(180));
    let ringing = bench.one();
    bench.arrive(UDP, &invite);
    assert_eq!(bench.one(), ringing);
    assert!(bench.event().is_none());
}

#[test]
fn a_quick_answer_needs_no_100() {
    let mut bench = Bench::new();
    bench.arrive(UDP, &text("INVITE", "a", ""));
    let tx = bench.new_request();
    bench.engine.respond(bench.now, tx, Response::new(183));
    bench.one();
    assert!(bench.until(5000).is_empty());
}

#[test]
fn a_success_is_repeated_over_every_transport_until_its_ack_and_then_no_more() {
    for transport in [UDP, TCP] {
        let mut bench = Bench::new();
        bench.arrive(transport, &text("INVITE", "a", ""));
        let tx = bench.new_request();
        bench.engine.respond(bench.now, tx, Response::new(200).with("To", "<sip:pf@x>;tag=us"));
        bench.one();
        assert_eq!(times(&bench.until(8000)), [500, 1500, 3500, 7500]);
        bench.arrive(transport, &text("INVITE", "a", ""));
        assert!(bench.sent().is_empty(), "a repeated INVITE is absorbed (RFC 6026 section 7.1)");
        let ack = text("ACK", "b", "us");
        bench.arrive(transport, &ack);
        assert!(matches!(bench.event(), Some(SipEvent::Ack { tx: Some(got), .. }) if got == tx));
        bench.arrive(transport, &ack);
        assert!(bench.event().is_none(), "a repeated ACK is absorbed");
        assert!(bench.until(60_000).is_empty());
        assert!(bench.event().is_none());
        assert_eq!(bench.engine.len(), (0, 0));
    }
}

#[test]
fn a_success_without_ack_is_reported_after_64_t1() {
    let mut bench = Bench::new();
    bench.arrive(UDP, &text("INVITE", "a", ""));
    let tx = bench.new_request();
    bench.engine.respond(bench.now, tx, Response::new(202));
    bench.one();
    let log = bench.until(40_000);
    assert_eq!(times(&log), [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]);
    assert!(matches!(bench.event(), Some(SipEvent::AckMissing { tx: got }) if got == tx));
    assert_eq!(bench.engine.len(), (0, 0));
    // The ACK that comes after all belongs to nothing the shell knows.
    bench.arrive(UDP, &text("ACK", "b", "late"));
    assert!(matches!(bench.event(), Some(SipEvent::Ack { tx: None, .. })));
}

#[test]
fn a_failure_is_repeated_over_udp_only_and_its_ack_is_absorbed() {
    let mut bench = Bench::new();
    bench.arrive(UDP, &text("INVITE", "a", ""));
    let tx = bench.new_request();
    bench.engine.respond(bench.now, tx, Response::new(486));
    let busy = bench.one();
    assert_eq!(times(&bench.until(2000)), [500, 1500]);
    bench.arrive(UDP, &text("INVITE", "a", ""));
    assert_eq!(bench.one(), busy);
    bench.arrive(UDP, &text("ACK", "a", "x"));
    bench.arrive(UDP, &text("ACK", "a", "x"));
    assert!(bench.event().is_none() && bench.until(20_000).is_empty());
    assert_eq!(bench.engine.len(), (0, 0));

    let mut bench = Bench::new();
    bench.arrive(TCP, &text("INVITE", "a", ""));
    let tx = bench.new_request();
    bench.engine.respond(bench.now, tx, Response::new(486));
    bench.one();
    assert!(bench.until(40_000).is_empty());
    assert!(bench.event().is_none());
    assert_eq!(bench.engine.len(), (0, 0));
}

#[test]
fn other_requests_are_answered_once_and_copies_get_the_same_answer() {
    let mut bench = Bench::new();
    bench.arrive(UDP, &text("MESSAGE", "a", ""));
    bench.arrive(UDP, &text("MESSAGE", "a", ""));
    let tx = bench.new_request();
    assert!(bench.event().is_none() && bench.sent().is_empty());
    bench.engine.respond(bench.now, tx, Response::new(200));
    let ok = bench.one();
    bench.arrive(UDP, &text("MESSAGE", "a", ""));
    assert_eq!(bench.one(), ok);
    bench.engine.respond(bench.now, tx, Response::new(500));
    assert!(bench.sent().is_empty(), "there is one final response");
    assert_eq!(bench.counters.late_responses.get(), 1);
    bench.until(33_000);
    assert_eq!(bench.engine.len(), (0, 0));
}

#[test]
fn a_cancel_is_answered_by_the_shell_and_reported_once() {
    let mut bench = Bench::new();
    bench.arrive(UDP, &text("INVITE", "a", ""));
    let tx = bench.new_request();
    bench.engine.respond(bench.now, tx, Response::new(180));
    let ringing = bench.one();
    for copy in 0..2 {
        bench.arrive(UDP, &text("CANCEL", "a", ""));
        let ok = bench.one();
        assert!(ok.starts_with("SIP/2.0 200 OK\r\n"), "{ok}");
        assert_eq!(field(&ok, "To"), field(&ringing, "To"));
        assert_eq!(field(&ok, "CSeq"), "3 CANCEL");
        let reported = matches!(bench.event(), Some(SipEvent::Cancelled { tx: got, .. }) if got == tx);
        assert_eq!(reported, copy == 0);
    }
    bench.engine.respond(bench.now, tx, Response::new(487));
    assert!(bench.one().starts_with("SIP/2.0 487 "));
    bench.arrive(UDP, &text("CANCEL", "a", ""));
    assert!(bench.one().starts_with("SIP/2.0 200 OK"));
    assert!(bench.event().is_none());
    bench.arrive(UDP, &text("CANCEL", "unknown", ""));
    assert!(bench.one().starts_with("SIP/2.0 481 "));
    assert!(bench.event().is_none());
}

#[test]
fn a_merged_request_is_refused_but_a_new_dialog_request_is_not() {
    let mut bench = Bench::new();
    bench.arrive(UDP, &text("INVITE", "a", ""));
    bench.new_request();
    bench.arrive(UDP, &text("INVITE", "b", ""));
    assert!(bench.one().starts_with("SIP/2.0 482 Loop Detected\r\n"));
    assert!(bench.event().is_none());
    bench.arrive(UDP, &text("INVITE", "c", "dialog"));
    bench.new_request();
}

#[test]
fn there_is_a_cap_on_transactions() {
    let mut bench = Bench::with_room(4);
    for branch in ["a", "b", "x", "y"] {
        bench.arrive(UDP, &text("MESSAGE", branch, "d"));
        bench.new_request();
    }
    bench.arrive(UDP, &text("MESSAGE", "c", "d"));
    let refused = bench.one();
    assert!(refused.starts_with("SIP/2.0 503 "), "{refused}");
    assert_eq!(field(&refused, "Retry-After"), "5");
    bench.start(1, Method::Message, &[Bench::tcp()]);
    assert!(bench.event().is_none(), "the core has a reserve");
    bench.sent();
    bench.start(2, Method::Message, &[Bench::udp()]);
    assert!(matches!(
        bench.event(),
        Some(SipEvent::Unanswered { tx: ClientTx(2), reason: NoAnswer::Unreachable(_) })
    ));
    assert_eq!((bench.engine.len(), bench.counters.overloaded.get()), ((4, 1), 1));
    bench.until(33_000);
    assert_eq!((bench.engine.len(), bench.counters.unanswered.get()), ((0, 0), 4));
    assert!(matches!(
        bench.event(),
        Some(SipEvent::Unanswered { tx: ClientTx(1), reason: NoAnswer::TimedOut })
    ));
    bench.arrive(UDP, &text("MESSAGE", "c", "d"));
    bench.new_request();
}

#[test]
fn an_invite_that_the_core_forgets_is_answered_in_the_end() {
    let mut bench = Bench::new();
    bench.arrive(TCP, &text("INVITE", "a", ""));
    bench.new_request();
    let log = bench.until(181_000);
    assert_eq!(
        log,
        [(200, "SIP/2.0 100 Trying".to_owned()), (180_000, "SIP/2.0 408 Request Timeout".to_owned())]
    );
    bench.arrive(TCP, &text("ACK", "a", "x"));
    assert_eq!(bench.engine.len(), (0, 0));
}
