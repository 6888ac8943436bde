//! Stream connections: framing, keep-alive, endings, and the change from UDP for large requests.

use std::time::Duration;

use pf::core::{
    event::{ClientTx, NoAnswer, SipEvent},
    sip::{Method, Response},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
};

use crate::lab::{PATIENCE, Peer, Shell, answer, config, header, incoming, outgoing};

#[tokio::test]
async fn a_request_may_be_split_at_any_octet() {
    let mut shell = Shell::start(config("127.0.0.1")).await;
    let mut peer = Peer::tcp(shell.tcp).await;
    let text = |n: usize, peer: &Peer| {
        incoming("MESSAGE", &format!("c{n}"), &peer.via(&format!("{n}")), "")
            .replace("Length: 0", "Length: 6")
            + "a\r\n\r\nb"
    };
    let size = text(100, &peer).len();
    for at in 1..size {
        let text = text(at + 100, &peer);
        peer.send(&text[..at]).await;
        tokio::task::yield_now().await;
        peer.send(&text[at..]).await;
        let (tx, request) = shell.request().await;
        assert_eq!(request.body, "a\r\n\r\nb", "split at {at}");
        shell.respond(tx, Response::new(200));
        peer.message().await;
    }
}

#[tokio::test]
async fn requests_may_come_all_at_once() {
    let mut shell = Shell::start(config("127.0.0.1")).await;
    let mut peer = Peer::tcp(shell.tcp).await;
    let all: String =
        (0..50).map(|n| incoming("MESSAGE", &format!("c{n}"), &peer.via(&format!("{n}")), "")).collect();
    peer.send(all).await;
    for n in 0..50 {
        let (tx, request) = shell.request().await;
        assert_eq!(request.call_id(), format!("c{n}"));
        shell.respond(tx, Response::new(200));
        assert_eq!(header(&peer.message().await, "Call-ID"), format!("c{n}"));
    }
}

#[tokio::test]
async fn a_ping_gets_its_pong() {
    let shell = Shell::start(config("::1")).await;
    let mut stream = TcpStream::connect(shell.tcp).await.unwrap();
    for pieces in [["\r\n\r\n", ""], ["\r\n", "\r\n"], ["\r", "\n\r\n"]] {
        for piece in pieces {
            stream.write_all(piece.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut pong = [0; 2];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut pong)).await.unwrap().unwrap();
        assert_eq!(&pong, b"\r\n");
    }
}

#[tokio::test]
async fn incomplete_messages_and_idle_connections_end() {
    let mut setup = config("127.0.0.1");
    setup.message_timeout = Duration::from_millis(300);
    setup.idle_timeout = Duration::from_millis(1500);
    let mut shell = Shell::start(setup).await;
    let mut slow = Peer::tcp(shell.tcp).await;
    let mut idle = Peer::tcp(shell.tcp).await;
    let text = incoming("MESSAGE", "c", &slow.via("1"), "");
    let begin = tokio::time::Instant::now();
    // An octet now and then does not put the end off.
    for octet in text.bytes().take(40) {
        let Peer::Tcp { stream, .. } = &mut slow else { panic!() };
        if stream.write_all(&[octet]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(matches!(shell.event().await, SipEvent::FlowClosed { .. }));
    assert!(begin.elapsed() < Duration::from_millis(1400));
    assert!(idle.closed().await);
    assert!(begin.elapsed() > Duration::from_millis(1400));
    assert!(matches!(shell.event().await, SipEvent::FlowClosed { .. }));
    assert_eq!(shell.shell.stats().connections, 0);
}

#[tokio::test]
async fn a_response_finds_its_peer_after_the_connection_is_gone() {
    let mut shell = Shell::start(config("127.0.0.1")).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut peer = Peer::tcp(shell.tcp).await;
    let via = format!("SIP/2.0/TCP {};branch=z9hG4bK1", listener.local_addr().unwrap());
    peer.send(incoming("INVITE", "c", &via, "")).await;
    let (tx, _) = shell.request().await;
    drop(peer);
    assert!(matches!(shell.event().await, SipEvent::FlowClosed { .. }));
    shell.respond(tx, Response::new(180));
    let mut peer = Peer::accept(&listener).await;
    assert!(peer.message().await.starts_with("SIP/2.0 180 "));
}

#[tokio::test]
async fn one_connection_serves_many_requests_and_a_stale_one_is_replaced() {
    let mut shell = Shell::start(config("127.0.0.1")).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hop = format!("sip:{};transport=tcp", listener.local_addr().unwrap());
    shell.send(1, outgoing(Method::Message, "c"), hop.clone());
    let mut peer = Peer::accept(&listener).await;
    for tx in 1..4 {
        let request = peer.message().await;
        peer.send(answer(&request, "200 OK", "z")).await;
        assert_eq!(shell.response(ClientTx(tx)).await.status, 200);
        if tx < 3 {
            shell.send(tx + 1, outgoing(Method::Message, "c"), hop.clone());
        }
    }
    // The peer closes while the next request is on its way: it goes out again over a new connection.
    shell.send(4, outgoing(Method::Message, "c"), hop);
    drop(peer);
    let mut peer = Peer::accept(&listener).await;
    let request = peer.message().await;
    peer.send(answer(&request, "200 OK", "z")).await;
    loop {
        match shell.event().await {
            SipEvent::FlowClosed { .. } => {}
            SipEvent::Response { tx: ClientTx(4), .. } => break,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_refused_connection_is_reported_at_once() {
    let mut shell = Shell::start(config("127.0.0.1")).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    shell.send(1, outgoing(Method::Invite, "c"), format!("sip:{closed};transport=tcp"));
    match shell.event().await {
        SipEvent::Unanswered { tx: ClientTx(1), reason: NoAnswer::Unreachable(why) } => {
            assert!(why.contains("refused"), "{why}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_large_request_goes_over_tcp_where_the_peer_takes_it_and_over_udp_where_not() {
    let mut shell = Shell::start(config("127.0.0.1")).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut large = outgoing(Method::Message, "c");
    large.body = "x".repeat(1300).into();
    shell.send(1, large.clone(), format!("sip:{addr}"));
    let mut peer = Peer::accept(&listener).await;
    let request = peer.message().await;
    assert!(header(&request, "Via").starts_with("SIP/2.0/TCP "), "{request}");
    peer.send(answer(&request, "200 OK", "z")).await;
    assert_eq!(shell.response(ClientTx(1)).await.status, 200);

    let mut peer = Peer::Udp { socket: UdpSocket::bind("127.0.0.1:0").await.unwrap(), shell: shell.udp };
    for tx in 2..4 {
        shell.send(tx, large.clone(), format!("sip:{}", peer.addr()));
        let request = peer.message().await;
        assert!(header(&request, "Via").starts_with("SIP/2.0/UDP "), "{request}");
        assert_eq!(request.len() - request.find("\r\n\r\n").unwrap() - 4, 1300);
        peer.send(answer(&request, "200 OK", "z")).await;
        assert_eq!(shell.response(ClientTx(tx)).await.status, 200);
    }
    // A small one does not even try.
    shell.send(5, outgoing(Method::Message, "c"), format!("sip:{}", peer.addr()));
    assert!(header(&peer.message().await, "Via").starts_with("SIP/2.0/UDP "));
}

#[tokio::test]
async fn our_name_for_ourselves_is_used_where_there_is_one() {
    let mut setup = config("127.0.0.1");
    setup.advertise = Some("2001:db8::1".to_owned());
    let shell = Shell::start(setup).await;
    let mut peer = Peer::udp(shell.udp).await;
    shell.send(1, outgoing(Method::Message, "c"), format!("sip:{}", peer.addr()));
    let via = format!("SIP/2.0/UDP [2001:db8::1]:{};branch=z9hG4bK", shell.udp.port());
    assert!(header(&peer.message().await, "Via").starts_with(&via));
}

#[tokio::test]
async fn a_wildcard_socket_still_knows_its_address() {
    for (any, ip) in [("0.0.0.0", "127.0.0.1"), ("::", "::1")] {
        let mut shell = Shell::start(config(any)).await;
        let at = |port| std::net::SocketAddr::new(ip.parse().unwrap(), port);
        let mut peer = Peer::udp(at(shell.udp.port())).await;
        peer.send(incoming("MESSAGE", "c", &peer.via("1"), "")).await;
        let from = source(shell.event().await);
        assert_eq!(from.local, at(shell.udp.port()));
        shell.send(1, outgoing(Method::Message, "c"), format!("sip:{}", peer.addr()));
        let via = format!("SIP/2.0/UDP {};branch=", at(shell.udp.port()));
        assert!(header(&peer.message().await, "Via").starts_with(&via));
        let mut peer = Peer::tcp(at(shell.tcp.port())).await;
        peer.send(incoming("MESSAGE", "d", &peer.via("2"), "")).await;
        let from = source(shell.event().await);
        assert_eq!(from.local, at(shell.tcp.port()));
    }
}

fn source(event: SipEvent) -> pf::core::event::Peer {
    match event {
        SipEvent::Request { from, .. } => from,
        other => panic!("not a request: {other:?}"),
    }
}
