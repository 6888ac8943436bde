//! What is passed on: its 2xx and their ACKs are the ends' business (RFC 6026).

use super::*;

impl Bench {
    fn pass(&mut self, tx: u64, method: Method) -> String {
        let forwarded = Forwarded { mark: "mark".into(), recorded: None };
        let id = self.engine.start_forwarded(self.now, ClientTx(tx), request(method), forwarded);
        self.engine.routes(self.now, id, vec![Bench::udp()], "no route");
        self.one()
    }

    /// A response as the wire brings it, and passed on without its topmost Via.
    fn forward(&mut self, tx: ServerTx, text: &str) {
        match preparse::datagram(&Bytes::copy_from_slice(text.as_bytes())).unwrap().unwrap() {
            Message::Response(response) => self.engine.forward(self.now, tx, response),
            Message::Request(request) => panic!("{request:?}"),
        }
    }
}

fn answer(status: &str, tag: &str) -> String {
    format!(
        "SIP/2.0 {status}\r\nVia: SIP/2.0/UDP 10.0.0.9:5062;branch=z9hG4bKa\r\nf: <sip:a@x>;tag=1\r\n\
         To: <sip:pf@x>;tag={tag}\r\nX-Odd: 1,2\r\nl: 0\r\nCall-ID: c\r\nCSeq: 3 INVITE\r\n\r\n"
    )
}

#[test]
fn a_response_leaves_with_the_octets_it_has_and_a_success_is_not_repeated() {
    for transport in [UDP, TCP] {
        let mut bench = Bench::new();
        bench.arrive(transport, &text("INVITE", "a", ""));
        let tx = bench.new_request();
        for (status, tag) in
            [("183 Progress", "one"), ("200 OK", "one"), ("200 Fine", "two"), ("200 OK", "one")]
        {
            bench.forward(tx, &answer(status, tag));
            assert_eq!(bench.one(), answer(status, tag));
        }
        bench.forward(tx, &answer("486 Busy Here", "two"));
        bench.forward(tx, &answer("180 Ringing", "two"));
        assert!(bench.sent().is_empty(), "too late");
        // The ACK belongs to nobody here, and is reported each time.
        for _ in 0..2 {
            bench.arrive(transport, &text("ACK", "b", "one"));
            assert!(matches!(bench.event(), Some(SipEvent::Ack { tx: None, .. })));
        }
        bench.arrive(transport, &text("INVITE", "a", ""));
        assert!(bench.until(60_000).is_empty());
        assert!(bench.event().is_none(), "nobody waits for an ACK");
        assert_eq!(bench.engine.len(), (0, 0));
    }
}

#[test]
fn a_refusal_is_repeated_until_its_ack_and_is_the_far_ends_own() {
    let mut bench = Bench::new();
    bench.arrive(UDP, &text("INVITE", "a", ""));
    let tx = bench.new_request();
    for status in ["401 Unauthorized", "486 Busy Here"] {
        bench.forward(tx, &answer(status, "far"));
    }
    assert_eq!(bench.one(), answer("401 Unauthorized", "far"), "as it stands, and only the first");
    assert_eq!(times(&bench.until(4000)), [500, 1500, 3500]);
    bench.arrive(UDP, &text("ACK", "a", "far"));
    assert!(bench.until(60_000).is_empty() && bench.event().is_none());
    assert_eq!(bench.engine.len(), (0, 0));
}

#[test]
fn it_may_ring_as_long_as_the_far_end_says_so() {
    let mut bench = Bench::new();
    bench.arrive(UDP, &text("INVITE", "a", ""));
    let tx = bench.new_request();
    for minute in 1..10 {
        bench.until(minute * 60_000);
        bench.forward(tx, &answer("180 Ringing", "far"));
        bench.one();
    }
    bench.forward(tx, &answer("200 OK", "far"));
    assert_eq!(bench.one(), answer("200 OK", "far"));
}

#[test]
fn every_2xx_is_reported_and_none_acknowledged() {
    let mut bench = Bench::new();
    let sent = bench.pass(1, Method::Invite);
    assert!(field(&sent, "Via").contains(".mark;rport"), "{sent}");
    for tag in ["one", "two", "one", "one"] {
        let ok = reply(&sent, "200 OK", tag);
        bench.arrive(UDP, &ok);
        assert!(matches!(bench.event(), Some(SipEvent::Response { tx: ClientTx(1), .. })), "{tag}");
        assert!(bench.sent().is_empty());
    }
    assert!(bench.until(60_000).is_empty());
    bench.arrive(UDP, &reply(&sent, "200 OK", "late"));
    assert!(bench.event().is_none(), "RFC 6026 section 8.7: a stray one goes nowhere");
    assert_eq!(bench.engine.len(), (0, 0));
}

#[test]
fn a_refusal_is_acknowledged_and_a_cancel_goes_the_same_way() {
    let mut bench = Bench::new();
    let sent = bench.pass(1, Method::Invite);
    bench.arrive(UDP, &reply(&sent, "180 Ringing", "one"));
    bench.engine.cancel(bench.now, ClientTx(1), None);
    let cancel = bench.one();
    assert_eq!((field(&cancel, "Via"), field(&cancel, "Route")), (field(&sent, "Via"), "<sip:core;lr>"));
    bench.arrive(UDP, &reply(&sent, "487 Request Terminated", "one"));
    let ack = bench.one();
    assert!(ack.starts_with("ACK sip:far@far.example SIP/2.0\r\n"));
    assert_eq!(field(&ack, "Via"), field(&sent, "Via"));
}

#[test]
fn the_ack_of_a_2xx_goes_out_once_with_a_branch_of_its_own() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        bench.engine.forward_ack(&request(Method::Ack), &[Bench::udp()], "mark");
        let ack = bench.one();
        assert!(ack.starts_with("ACK sip:far@far.example SIP/2.0\r\n"), "{ack}");
        assert!(field(&ack, "Via").ends_with("a.mark;rport"), "{ack}");
    }
    assert!(bench.until(60_000).is_empty());
    assert_eq!(bench.engine.len(), (0, 0));
}
