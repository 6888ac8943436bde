//! Bounds: connections, transactions, messages.

use std::time::Duration;

use pf::core::{
    event::{SipEvent, Transport},
    sip::Response,
};

use crate::lab::{Peer, Shell, config, header, incoming};

#[tokio::test]
async fn connections_above_the_cap_are_closed_at_once() {
    let mut setup = config("127.0.0.1");
    setup.max_connections_per_peer = 2;
    let mut shell = Shell::start(setup).await;
    let mut first = Peer::tcp(shell.tcp).await;
    let second = Peer::tcp(shell.tcp).await;
    first.send(incoming("MESSAGE", "c", &first.via("1"), "")).await;
    shell.request().await;
    let mut third = Peer::tcp(shell.tcp).await;
    assert!(third.closed().await);
    drop(second);
    assert!(matches!(shell.event().await, SipEvent::FlowClosed { .. }));
    let mut fourth = Peer::tcp(shell.tcp).await;
    fourth.send(incoming("MESSAGE", "d", &fourth.via("1"), "")).await;
    shell.request().await;
    assert_eq!((shell.shell.stats().connections, shell.shell.stats().connections_refused), (2, 1));
}

#[tokio::test]
async fn transactions_above_the_cap_are_refused_until_there_is_room() {
    let mut setup = config("127.0.0.1");
    setup.max_transactions = 3;
    let mut shell = Shell::start(setup).await;
    let mut peer = Peer::tcp(shell.tcp).await;
    let mut open = Vec::new();
    for n in 0..3 {
        peer.send(incoming("MESSAGE", &format!("c{n}"), &peer.via(&format!("{n}")), "")).await;
        open.push(shell.request().await.0);
    }
    let more = incoming("MESSAGE", "more", &peer.via("more"), "");
    peer.send(&more).await;
    let refused = peer.message().await;
    assert!(refused.starts_with("SIP/2.0 503 "), "{refused}");
    assert_eq!(header(&refused, "Retry-After"), "5");
    shell.respond(open[0], Response::new(200));
    peer.message().await;
    peer.send(&more).await;
    assert_eq!(shell.request().await.1.call_id(), "more");
}

/// Who forges a source address shall not make its owner get more datagrams than he sends himself.
#[tokio::test]
async fn a_challenge_to_an_invite_is_sent_once_and_leaves_nothing_behind() {
    for (transport, status) in
        [(Transport::Udp, 407), (Transport::Udp, 401), (Transport::Tcp, 407), (Transport::Tcp, 401)]
    {
        let mut setup = config("127.0.0.1");
        setup.trying_after = Duration::from_millis(20);
        let mut shell = Shell::start(setup).await;
        let mut peer = Peer::connect(transport, &shell).await;
        let invite = incoming("INVITE", "c", &peer.via("1"), "");
        // Also where the core was slow and the shell has sent a 100.
        for slow in [false, true, false] {
            peer.send(&invite).await;
            let (tx, request) = shell.request().await;
            if slow {
                assert!(peer.message().await.starts_with("SIP/2.0 100 "));
            }
            let own = format!("{};tag=core", request.headers.get("To").unwrap());
            let challenge =
                Response::new(status).with("To", own).with("Proxy-Authenticate", "Digest a=\"b\"");
            shell.respond(tx, challenge);
            let got = peer.message().await;
            assert!(got.starts_with(&format!("SIP/2.0 {status} ")) && got.contains("Digest a="), "{got}");
            // Timer G would have fired twelve times by now.
            assert_eq!(peer.next(Duration::from_millis(800)).await, None);
            assert_eq!(shell.shell.stats().server_transactions, 0);
            let to = header(&got, "To");
            assert_eq!(to.matches(";tag=").count(), 1, "{to}");
            let ack = incoming("ACK", "c", &peer.via("1"), "").replace("<sip:far@far.example>", to);
            peer.send(&ack).await;
            shell.no_event().await;
        }
    }
}

#[tokio::test]
async fn a_stranger_gets_a_refusal_again_when_he_asks_again_and_not_unasked() {
    for trusted in [false, true] {
        let mut setup = config("127.0.0.1");
        setup.trusted = if trusted { vec!["127.0.0.1".parse().unwrap()] } else { Vec::new() };
        let mut shell = Shell::start(setup).await;
        let mut peer = Peer::udp(shell.udp).await;
        let invite = incoming("INVITE", "c", &peer.via("1"), "");
        peer.send(&invite).await;
        let (tx, _) = shell.request().await;
        shell.respond(tx, Response::new(403));
        let got = peer.message().await;
        let unasked = peer.next(Duration::from_millis(400)).await;
        assert_eq!(unasked.as_ref(), trusted.then_some(&got));
        peer.send(&invite).await;
        assert_eq!(peer.message().await, got);
        // Who has heard that the call goes on does not ask again: the refusal comes until its ACK does.
        let invite = incoming("INVITE", "d", &peer.via("2"), "").replace("z9hG4bK2", "z9hG4bKd");
        peer.send(incoming("ACK", "c", &peer.via("1"), "")).await;
        while peer.next(Duration::from_millis(500)).await.is_some() {}
        peer.send(&invite).await;
        let (tx, _) = shell.request().await;
        shell.respond(tx, Response::new(180));
        assert!(peer.message().await.starts_with("SIP/2.0 180 "));
        shell.respond(tx, Response::new(403));
        let got = peer.message().await;
        assert!(got.starts_with("SIP/2.0 403 "));
        assert_eq!(peer.message().await, got);
    }
}

#[tokio::test]
async fn one_stranger_does_not_take_all_transactions() {
    let mut setup = config("127.0.0.1");
    setup.max_transactions_per_source = 2;
    let mut shell = Shell::start(setup.clone()).await;
    let mut peer = Peer::tcp(shell.tcp).await;
    let mut open = Vec::new();
    for n in 0..2 {
        peer.send(incoming("MESSAGE", &format!("c{n}"), &peer.via(&format!("{n}")), "")).await;
        open.push(shell.request().await.0);
    }
    // The same address, by another connection and transport.
    let mut other = Peer::udp(shell.udp).await;
    other.send(incoming("MESSAGE", "more", &other.via("more"), "")).await;
    let refused = other.message().await;
    assert!(refused.starts_with("SIP/2.0 503 "), "{refused}");
    assert_eq!(header(&refused, "Retry-After"), "5");
    shell.no_event().await;
    for tx in open {
        shell.respond(tx, Response::new(200));
        peer.message().await;
    }
    for n in 0..2 {
        other.send(incoming("MESSAGE", &format!("d{n}"), &other.via(&format!("d{n}")), "")).await;
        shell.request().await;
    }
    // A known node carries the requests of many.
    setup.trusted = vec!["127.0.0.1".parse().unwrap()];
    let mut shell = Shell::start(setup).await;
    let mut peer = Peer::tcp(shell.tcp).await;
    for n in 0..4 {
        peer.send(incoming("MESSAGE", &format!("c{n}"), &peer.via(&format!("{n}")), "")).await;
        shell.request().await;
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_the_connection_ends() {
    let shell = Shell::start(config("127.0.0.1")).await;
    for (change, status) in [
        (("Content-Length: 0".to_owned(), "Content-Length: 1048577".to_owned()), "413 "),
        (("Max-Forwards: 70".to_owned(), format!("X: {}", "x".repeat(70_000))), "513 "),
    ] {
        let mut peer = Peer::tcp(shell.tcp).await;
        peer.send(incoming("MESSAGE", "c", &peer.via("1"), "").replace(&change.0, &change.1)).await;
        let got = peer.message().await;
        assert!(got.starts_with(&format!("SIP/2.0 {status}")), "{got}");
        assert!(peer.closed().await);
    }
}

#[tokio::test]
async fn a_body_of_a_mebioctet_fits() {
    let mut shell = Shell::start(config("127.0.0.1")).await;
    let mut peer = Peer::tcp(shell.tcp).await;
    let body = "m".repeat(1 << 20);
    let text =
        incoming("MESSAGE", "c", &peer.via("1"), "").replace("Length: 0", &format!("Length: {}", 1 << 20));
    peer.send(text + &body).await;
    let (tx, request) = shell.request().await;
    assert_eq!(request.body, body);
    let mut response = Response::new(200);
    response.body = request.body;
    shell.respond(tx, response);
    assert!(peer.next(Duration::from_secs(10)).await.unwrap().ends_with(&body));
}

#[tokio::test]
async fn a_stopped_shell_lets_go_of_its_sockets() {
    let shell = Shell::start(config("127.0.0.1")).await;
    let (udp, tcp) = (shell.udp, shell.tcp);
    let mut peer = Peer::tcp(tcp).await;
    drop(shell);
    assert!(peer.closed().await);
    for _ in 0..100 {
        if std::net::UdpSocket::bind(udp).is_ok() && std::net::TcpListener::bind(tcp).is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("still bound");
}

#[tokio::test]
async fn a_connection_that_takes_nothing_for_too_long_ends_even_with_room_in_its_queue() {
    let mut setup = config("127.0.0.1");
    setup.write_timeout = Duration::from_millis(300);
    setup.connection_queue_octets = 1 << 30;
    let mut shell = Shell::start(setup).await;
    let mut peer = Peer::tcp(shell.tcp).await;
    for n in 0..16 {
        peer.send(incoming("MESSAGE", &format!("c{n}"), &peer.via(&format!("{n}")), "")).await;
        let (tx, _) = shell.request().await;
        let mut response = Response::new(200);
        response.body = vec![b'x'; 1 << 20].into();
        shell.respond(tx, response);
    }
    assert!(matches!(shell.event().await, SipEvent::FlowClosed { .. }));
    assert_eq!(shell.shell.stats().slow_peers, 1);
}
