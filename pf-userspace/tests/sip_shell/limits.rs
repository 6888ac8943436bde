//! Bounds: connections, transactions, messages.

use std::time::Duration;

use pf::core::{event::SipEvent, sip::Response};

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
