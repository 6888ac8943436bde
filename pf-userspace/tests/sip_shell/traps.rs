//! The traps that SIP stacks are known to fall into, one test each.
//!
//! Number 19 is missing: it is about a TLS library of two providers, and TLS is refused at the start (15).

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use pf::{
    core::{
        event::{ClientTx, SipCommand, SipEvent, Transport},
        sip::{Method, Request, Response},
    },
    sip::{SipShell, SipStartError},
};
use tokio::{net::UdpSocket, sync::mpsc};

use crate::lab::{Peer, Shell, answer, config, header, incoming, outgoing};

const BOTH: [Transport; 2] = [Transport::Udp, Transport::Tcp];

/// A peer that repeats a request over TCP and never reads loses its connection; the others notice nothing.
#[tokio::test]
async fn trap_01_a_peer_that_does_not_read_stalls_nobody() {
    let mut setup = config("127.0.0.1");
    setup.write_timeout = Duration::from_millis(500);
    let mut shell = Shell::start(setup).await;
    let mut rude = Peer::tcp(shell.tcp).await;
    let mut good = Peer::tcp(shell.tcp).await;
    // Large answers fill the sockets' buffers quickly.
    let flood = incoming("BOGUS", "x", &rude.via("1"), &format!("X: {}\r\n", "y".repeat(100)));
    let rude_task = tokio::spawn(async move {
        let Peer::Tcp { stream, .. } = &mut rude else { return };
        let batch = flood.repeat(100);
        while tokio::io::AsyncWriteExt::write_all(stream, batch.as_bytes()).await.is_ok() {}
    });
    let mut closed = false;
    let begin = Instant::now();
    for n in 0.. {
        let asked = Instant::now();
        good.send(incoming("MESSAGE", &format!("c{n}"), &good.via(&format!("g{n}")), "")).await;
        let tx = loop {
            match shell.event().await {
                SipEvent::Request { tx, .. } => break tx,
                SipEvent::FlowClosed { .. } => closed = true,
                other => panic!("{other:?}"),
            }
        };
        shell.respond(tx, Response::new(200));
        assert!(good.message().await.starts_with("SIP/2.0 200 "));
        assert!(asked.elapsed() < Duration::from_secs(1), "stalled for {:?}", asked.elapsed());
        if closed {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "the rude peer still has its connection");
    }
    rude_task.await.unwrap();
    assert!(shell.shell.stats().slow_peers >= 1);
}

/// A flood that the core does not keep up with is refused on UDP and waits on TCP; nothing grows.
#[tokio::test]
async fn trap_02_a_flood_finds_bounded_queues() {
    let mut setup = config("127.0.0.1");
    setup.max_events = 50;
    let shell = Shell::with_room(setup, 1).await;
    let mut udp = Peer::udp(shell.udp).await;
    let mut refused = 0;
    for n in 0..400 {
        udp.send(incoming("MESSAGE", &format!("u{n}"), &udp.via(&format!("u{n}")), "")).await;
        if let Some(answer) = udp.next(Duration::from_millis(if n < 60 { 1 } else { 1000 })).await {
            assert!(answer.starts_with("SIP/2.0 503 Service Unavailable\r\n"), "{answer}");
            assert_eq!(header(&answer, "Retry-After"), "5");
            refused += 1;
        }
    }
    assert!(refused >= 300, "{refused}");
    let mut tcp = Peer::tcp(shell.tcp).await;
    let via = tcp.via("t");
    let Peer::Tcp { stream, .. } = &mut tcp else { panic!() };
    let mut written = 0;
    for n in 0.. {
        let text =
            incoming("MESSAGE", &format!("t{n}"), &via.replace("z9hG4bKt", &format!("z9hG4bKt{n}")), "")
                .repeat(10);
        let write = tokio::io::AsyncWriteExt::write_all(stream, text.as_bytes());
        if tokio::time::timeout(Duration::from_millis(300), write).await.is_err() {
            break;
        }
        written += text.len();
        assert!(written < 64 << 20, "the shell takes everything");
    }
    let stats = shell.shell.stats();
    assert!(stats.events_waiting <= 52 && stats.server_transactions <= 60, "{stats:?}");
    assert!(stats.overloaded >= 300);
}

#[tokio::test]
async fn trap_03_a_malformed_message_costs_its_sender_an_answer_and_not_the_connection() {
    let mut shell = Shell::start(config("127.0.0.1")).await;
    let mut peer = Peer::tcp(shell.tcp).await;
    let good = incoming("MESSAGE", "c", &peer.via("1"), "");
    for (text, status) in [
        (good.replace("MESSAGE", "FLY"), "501 Not Implemented"),
        (good.replace("sip:pf@example.org", "sip:"), "400 Bad Request"),
        (good.replace("Via:", "Nope:"), "400 Bad Request"),
        (good.replace("CSeq: 2 MESSAGE", "CSeq: two MESSAGE"), "400 Bad Request"),
        (good.replace("SIP/2.0\r\nVia", "SIP/4.2\r\nVia"), "505 Version Not Supported"),
        (good.replace("Content-Length: 0", "l : 3") + "abc", "400 Bad Request (CSeq method)"),
    ] {
        let text = if status.contains("CSeq method") { text.replace("2 MESSAGE", "2 BYE") } else { text };
        peer.send(&text).await;
        let got = peer.message().await;
        assert!(got.starts_with(&format!("SIP/2.0 {status}")), "{text}\n{got}");
        assert_eq!(header(&got, "Call-ID"), "c");
    }
    peer.send(&good).await;
    let (tx, _) = shell.request().await;
    shell.respond(tx, Response::new(200));
    assert!(peer.message().await.starts_with("SIP/2.0 200 "));
    // Only where the end of the message cannot be known the connection goes, after the answer.
    peer.send(good.replace("Content-Length: 0", "Content-Length: -1")).await;
    assert!(peer.message().await.starts_with("SIP/2.0 400 Bad Request (Content-Length)"));
    assert!(peer.closed().await);
}

#[tokio::test]
async fn trap_04_a_non_utf8_header_keeps_the_rest() {
    for transport in BOTH {
        let mut shell = Shell::start(config("127.0.0.1")).await;
        let mut peer = Peer::connect(transport, &shell).await;
        let text = incoming("MESSAGE", "c", &peer.via("1"), "Subject: caf#\r\nX-After: still here\r\n");
        let mut octets =
            text.replace("Content-Length: 0\r\n\r\n", "Content-Length: 3\r\n\r\n#\0#").into_bytes();
        octets.iter_mut().filter(|o| **o == b'#').for_each(|o| *o = 0xe9);
        peer.send(octets).await;
        let (_, request) = shell.request().await;
        assert_eq!(request.headers.get("Subject"), Some("caf\u{fffd}"));
        assert_eq!(request.headers.get("X-After"), Some("still here"));
        assert_eq!(request.body.as_ref(), b"\xe9\0\xe9");
    }
}

#[tokio::test]
async fn trap_05_content_length_of_datagrams() {
    let mut shell = Shell::start(config("127.0.0.1")).await;
    let mut peer = Peer::udp(shell.udp).await;
    let text = |n: &str, length: &str| {
        incoming("MESSAGE", n, &peer.via(n), "").replace("Content-Length: 0\r\n", length)
    };
    let (without, shorter) = (text("1", "") + "hello", text("2", "l: 2\r\n") + "hello");
    let broken: Vec<_> = ["l: 6", "Content-Length: -1", "Content-Length: 18446744073709551615"]
        .into_iter()
        .map(|l| text("3", &format!("{l}\r\n")) + "hello")
        .collect();
    peer.send(without).await;
    assert_eq!(shell.request().await.1.body, "hello");
    peer.send(shorter).await;
    assert_eq!(shell.request().await.1.body, "he");
    for text in broken {
        peer.send(&text).await;
        assert!(peer.message().await.starts_with("SIP/2.0 400 "), "{text}");
    }
    shell.no_event().await;
}

#[tokio::test]
async fn trap_06_an_unknown_method_is_501_with_allow_and_case_counts() {
    for transport in BOTH {
        let mut shell = Shell::start(config("::1")).await;
        let mut peer = Peer::connect(transport, &shell).await;
        for method in ["FLY", "message", "!interesting-Method0123456789_*+`.%indeed'~"] {
            peer.send(incoming(method, "c", &peer.via("1"), "")).await;
            let got = peer.message().await;
            assert!(got.starts_with("SIP/2.0 501 Not Implemented\r\n"), "{got}");
            assert!(header(&got, "Allow").contains("INVITE, MESSAGE, NOTIFY"), "{got}");
            assert!(header(&got, "To").contains(";tag="), "{got}");
        }
        shell.no_event().await;
    }
}

#[tokio::test]
async fn trap_07_uris_survive_both_ways() {
    let uris = [
        "sip:%75ser%40home;x=%20@example.org;p=%41?Subject=%2F",
        "sip:sips%3Auser%40example.com@example.net",
        "tel:+1-555-123;phone-context=+1",
        "urn:service:sos",
        "sip:+15551234;phone-context=x@[2001:db8::1]:5070;user=phone",
    ];
    let mut shell = Shell::start(config("127.0.0.1")).await;
    let mut peer = Peer::udp(shell.udp).await;
    for (n, uri) in uris.into_iter().enumerate() {
        let text =
            incoming("MESSAGE", uri, &peer.via(&format!("{n}")), &format!("Contact: <{uri}>;q=0.5\r\n"));
        peer.send(text.replace("sip:pf@example.org", uri).replace("sip:far@far.example", uri)).await;
        let (tx, request) = shell.request().await;
        assert_eq!(request.uri, uri);
        assert_eq!(request.headers.get("Contact"), Some(format!("<{uri}>;q=0.5").as_str()));
        assert_eq!(request.headers.get("To"), Some(format!("<{uri}>").as_str()));
        shell.respond(tx, Response::new(200));
        peer.message().await;
        let mut out = outgoing(Method::Message, uri);
        out.uri = uri.to_owned();
        out.headers.set("To", format!("<{uri}>"));
        shell.send(n as u64, out, format!("sip:{}", peer.addr()));
        let got = peer.message().await;
        assert!(got.starts_with(&format!("MESSAGE {uri} SIP/2.0\r\n")), "{got}");
        assert_eq!(header(&got, "To"), format!("<{uri}>"));
        peer.send(answer(&got, "200 OK", "z")).await;
        shell.response(ClientTx(n as u64)).await;
    }
}

#[tokio::test]
async fn trap_08_reason_phrases_survive_both_ways() {
    let mut shell = Shell::start(config("127.0.0.1")).await;
    let mut peer = Peer::udp(shell.udp).await;
    shell.send(1, outgoing(Method::Message, "c"), format!("sip:{}", peer.addr()));
    let request = peer.message().await;
    peer.send(answer(&request, "403 Caller Origination Number is Invalid \u{e4}", "z")).await;
    let response = shell.response(ClientTx(1)).await;
    assert_eq!(response.reason, "Caller Origination Number is Invalid \u{e4}");
    peer.send(incoming("MESSAGE", "d", &peer.via("1"), "")).await;
    let (tx, _) = shell.request().await;
    shell.respond(tx, response);
    let got = peer.message().await;
    assert!(got.starts_with("SIP/2.0 403 Caller Origination Number is Invalid \u{e4}\r\n"), "{got}");
}

#[tokio::test]
async fn trap_09_datagrams_of_any_size_and_bursts_arrive() {
    let mut shell = Shell::start(config("127.0.0.1")).await;
    let mut peer = Peer::udp(shell.udp).await;
    let body = "0123456789".repeat(6000);
    let text = incoming("MESSAGE", "big", &peer.via("big"), "").replace("Length: 0", "Length: 60000");
    peer.send(text + &body).await;
    assert_eq!(shell.request().await.1.body, body);
    // A burst that arrives before anybody reads: this task does not yield while it sends.
    for n in 0..300 {
        let text = incoming("MESSAGE", &format!("b{n}"), &peer.via(&format!("b{n}")), "");
        let Peer::Udp { socket, shell } = &peer else { panic!() };
        while socket.try_send_to(text.as_bytes(), *shell).is_err() {
            socket.writable().await.unwrap();
        }
    }
    for n in 0..300 {
        assert_eq!(shell.request().await.1.call_id(), format!("b{n}"), "in order");
    }
}

#[tokio::test]
async fn trap_10_timers_run_while_the_core_is_busy_elsewhere() {
    let mut shell = Shell::with_room(config("127.0.0.1"), 1).await;
    let mut peer = Peer::udp(shell.udp).await;
    peer.send(incoming("INVITE", "c", &peer.via("1"), "")).await;
    let (tx, _) = shell.request().await;
    // Nobody takes events from here on, and the way to the core is full.
    for n in 0..5 {
        peer.send(incoming("MESSAGE", &format!("m{n}"), &peer.via(&format!("m{n}")), "")).await;
    }
    shell.respond(tx, Response::new(200));
    for _ in 0..5 {
        assert!(peer.message().await.starts_with("SIP/2.0 200 "));
    }
}

#[tokio::test]
async fn trap_11_a_cancel_is_sent_again_until_it_is_answered() {
    let mut shell = Shell::start(config("127.0.0.1")).await;
    let mut peer = Peer::udp(shell.udp).await;
    shell.send(1, outgoing(Method::Invite, "c"), format!("sip:{}", peer.addr()));
    let invite = peer.message().await;
    let reason = Some("SIP;cause=200;text=\"Call completed elsewhere\"".to_owned());
    shell.shell.command(SipCommand::Cancel { tx: ClientTx(1), reason });
    assert!(peer.message().await.starts_with("INVITE "), "no CANCEL before a provisional response");
    peer.send(answer(&invite, "180 Ringing", "z")).await;
    let cancel = peer.message().await;
    assert!(cancel.starts_with("CANCEL "), "{cancel}");
    assert_eq!(header(&cancel, "Via"), header(&invite, "Via"));
    assert_eq!(header(&cancel, "Reason"), "SIP;cause=200;text=\"Call completed elsewhere\"");
    assert_eq!(peer.message().await, cancel);
    peer.send(answer(&cancel, "200 OK", "z")).await;
    peer.send(answer(&invite, "487 Request Terminated", "z")).await;
    let ack = peer.message().await;
    assert!(ack.starts_with("ACK "), "{ack}");
    assert_eq!(shell.response(ClientTx(1)).await.status, 180);
    assert_eq!(shell.response(ClientTx(1)).await.status, 487);
    peer.silence().await;
    shell.no_event().await;
}

/// The ACK of a 2xx is the core's, body and all; it answers every copy of that 2xx, and each fork has its own.
#[tokio::test]
async fn trap_12_the_ack_of_a_2xx_is_the_cores_and_repeated() {
    for transport in BOTH {
        let mut shell = Shell::start(config("127.0.0.1")).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut udp = Peer::udp(shell.udp).await;
        let hop = match transport {
            Transport::Udp => format!("sip:{}", udp.addr()),
            _ => format!("sip:{};transport=tcp", listener.local_addr().unwrap()),
        };
        shell.send(1, outgoing(Method::Invite, "c"), hop.clone());
        let peer = if transport == Transport::Udp { &mut udp } else { &mut Peer::accept(&listener).await };
        let invite = peer.message().await;
        for tag in ["one", "two"] {
            let ok = answer(&invite, "200 OK", tag);
            peer.send(&ok).await;
            let response = shell.response(ClientTx(1)).await;
            assert_eq!(response.to_tag().as_deref(), Some(tag));
            let mut ack = Request::new(Method::Ack, "sip:%66ar@far.example");
            for name in ["From", "To", "Call-ID"] {
                ack.headers.copy(&response.headers, name);
            }
            ack.headers.push("CSeq", "1 ACK");
            ack.headers.push("X-Own", tag);
            ack.body = format!("v=0 {tag}").into();
            let hop = pf::core::event::Hop { uri: hop.clone(), flow: None };
            shell.shell.command(SipCommand::Ack { tx: ClientTx(1), request: ack, hop });
            let ack = peer.message().await;
            assert!(
                ack.starts_with("ACK sip:%66ar@far.example ") && ack.ends_with(&format!("v=0 {tag}")),
                "{ack}"
            );
            assert_eq!(header(&ack, "X-Own"), tag);
            for _ in 0..2 {
                peer.send(&ok).await;
                assert_eq!(peer.message().await, ack);
            }
            shell.no_event().await;
        }
    }
}

/// An ACK that belongs to no INVITE of this shell (the core forwards it as a proxy) is reported every time.
#[tokio::test]
async fn trap_13_a_repeated_ack_for_others_is_not_swallowed() {
    let mut shell = Shell::start(config("127.0.0.1")).await;
    let mut peer = Peer::udp(shell.udp).await;
    for _ in 0..2 {
        peer.send(incoming("ACK", "proxied", &peer.via("1"), "Route: <sip:pf;lr>\r\n")).await;
        match shell.event().await {
            SipEvent::Ack { tx: None, request, .. } => assert_eq!(request.call_id(), "proxied"),
            other => panic!("{other:?}"),
        }
    }
    peer.silence().await;
}

#[tokio::test]
async fn trap_14_a_request_leaves_from_the_socket_that_fits() {
    let mut setup = config("127.0.0.1");
    for addr in ["127.0.0.2:0", "[::1]:0"] {
        setup.listen.push((Transport::Udp, addr.parse().unwrap()));
    }
    let (sender, mut events) = mpsc::channel(16);
    let shell = SipShell::start(setup, sender).await.unwrap();
    for (n, addr) in
        shell.local().into_iter().filter(|(t, _)| *t == Transport::Udp).map(|(_, a)| a).enumerate()
    {
        let socket = UdpSocket::bind((addr.ip(), 0)).await.unwrap();
        let hop = format!("sip:{}", socket.local_addr().unwrap());
        let hop = pf::core::event::Hop { uri: hop, flow: None };
        let tx = ClientTx(n as u64);
        shell.command(SipCommand::Request { tx, request: outgoing(Method::Message, "c"), hop });
        let mut buffer = [0; 2000];
        let (size, from) = socket.recv_from(&mut buffer).await.unwrap();
        let request = String::from_utf8_lossy(&buffer[..size]).into_owned();
        // Loopback answers every 127.x from 127.0.0.1 unless the destination is the address itself.
        assert_eq!(from.is_ipv4(), addr.is_ipv4());
        assert!(header(&request, "Via").starts_with(&format!("SIP/2.0/UDP {from};")), "{request}");
        socket.send_to(answer(&request, "200 OK", "z").as_bytes(), from).await.unwrap();
        assert!(matches!(events.recv().await, Some(SipEvent::Response { .. })));
    }
    shell.stop();
}

#[tokio::test]
async fn trap_15_tls_is_refused_at_the_start_rather_than_half_served() {
    let mut setup = config("127.0.0.1");
    setup.listen.push((Transport::Tls, "127.0.0.1:0".parse().unwrap()));
    let started = SipShell::start(setup, mpsc::channel(1).0).await;
    assert!(matches!(started, Err(SipStartError::Unsupported(Transport::Tls))));
}

/// Nothing is decided above the transaction: a BYE waits for the core, with its Reason, and a CSeq that
/// goes down is the core's to judge.
#[tokio::test]
async fn trap_16_the_core_answers_and_sees_every_header() {
    let mut shell = Shell::start(config("127.0.0.1")).await;
    let mut peer = Peer::udp(shell.udp).await;
    for number in [9, 3] {
        let reason = "Reason: Q.850;cause=16 , SIP ;cause=200\r\n";
        let text = incoming("BYE", "c", &peer.via(&format!("{number}")), reason);
        peer.send(text.replace("CSeq: 2", &format!("CSeq: {number}"))).await;
        let (tx, request) = shell.request().await;
        assert_eq!(request.cseq(), Some(number));
        assert_eq!(request.headers.list("Reason").collect::<Vec<_>>(), ["Q.850;cause=16", "SIP ;cause=200"]);
        peer.silence().await;
        shell.respond(tx, Response::new(403).with("Warning", "399 pf \"127 Service not authorised\""));
        let got = peer.message().await;
        assert_eq!(header(&got, "Warning"), "399 pf \"127 Service not authorised\"");
    }
    peer.send(incoming("INVITE", "d", &peer.via("i"), "")).await;
    let (tx, _) = shell.request().await;
    peer.send(incoming("CANCEL", "d", &peer.via("i"), "Reason: SIP;cause=200\r\n")).await;
    match shell.event().await {
        SipEvent::Cancelled { tx: got, request } => {
            assert_eq!((got, request.headers.get("Reason")), (tx, Some("SIP;cause=200")));
        }
        other => panic!("{other:?}"),
    }
}

/// What a finished call leaves behind for 64*T1 is small, and then gone.
#[tokio::test]
async fn trap_17_finished_calls_cost_little_and_go() {
    fn resident() -> usize {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }
    let mut shell = Shell::start(config("127.0.0.1")).await;
    let mut peer = Peer::udp(shell.udp).await;
    let more =
        "X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(10);
    let mut before = 0;
    const CALLS: usize = 3000;
    for n in 0..CALLS + 500 {
        if n == 500 {
            before = resident();
        }
        peer.send(incoming("INVITE", &format!("c{n}"), &peer.via(&format!("i{n}")), &more)).await;
        let (tx, _) = shell.request().await;
        shell.respond(tx, Response::new(200).with("To", "<sip:far@far.example>;tag=us"));
        peer.message().await;
        let ack = incoming("ACK", &format!("c{n}"), &peer.via(&format!("a{n}")), "");
        peer.send(ack.replace("far.example>", "far.example>;tag=us")).await;
        shell.event().await;
    }
    let per_call = resident().saturating_sub(before) / CALLS;
    assert!(per_call < 8 * 1024, "{per_call} octets per call");
    tokio::time::sleep(Duration::from_millis(3600)).await;
    assert_eq!(shell.shell.stats().server_transactions, 0);
}

/// Whatever is logged, at whatever level, says nothing of what people write or of who they are.
#[tokio::test]
async fn trap_18_no_message_is_logged() {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl Write for Log {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(octets);
            Ok(octets.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut shell = Shell::start(config("127.0.0.1")).await;
    for transport in BOTH {
        let mut peer = Peer::connect(transport, &shell).await;
        let name = format!("secret-call-{transport:?}");
        let text = incoming("MESSAGE", &name, &peer.via("1"), "").replace("Length: 0", "Length: 12");
        peer.send(text.clone() + "secret words").await;
        let tx = loop {
            if let SipEvent::Request { tx, .. } = shell.event().await {
                break tx;
            }
        };
        let mut response = Response::new(200);
        response.body = "secret words".into();
        shell.respond(tx, response);
        peer.message().await;
        peer.send(text.replace("CSeq", "secret") + "secret words").await;
        peer.message().await;
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("malformed"), "the log works: {log}");
    for word in ["secret", "example", "ann@"] {
        assert!(!log.contains(word), "{word} in {log}");
    }
}
