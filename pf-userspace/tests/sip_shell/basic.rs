//! Requests in and out over both transports and both address families.

use crate::lab::{Peer, Shell, answer, config, header, incoming, outgoing};
use pf::core::{
    event::{ClientTx, Hop, NoAnswer, SipCommand, SipEvent, Transport},
    sip::{Method, Response},
};
use tokio::net::{TcpListener, UdpSocket};

const ALL: [(&str, Transport); 4] = [
    ("127.0.0.1", Transport::Udp),
    ("127.0.0.1", Transport::Tcp),
    ("::1", Transport::Udp),
    ("::1", Transport::Tcp),
];

#[tokio::test]
async fn a_request_is_reported_and_answered() {
    for (ip, transport) in ALL {
        let mut shell = Shell::start(config(ip)).await;
        let mut peer = Peer::connect(transport, &shell).await;
        peer.send(incoming("MESSAGE", "in", &peer.via("1;rport"), "X-Odd:  kept  as is \r\n")).await;
        let SipEvent::Request { tx, from, request } = shell.event().await else { panic!("no request") };
        assert_eq!((from.transport, from.addr, from.local), (transport, peer.addr(), shell.addr(transport)));
        assert_eq!(from.flow.is_some(), transport == Transport::Tcp);
        assert_eq!(request.headers.get("X-Odd"), Some("kept  as is"));
        assert_eq!(request.headers.all("Content-Length").count(), 1, "it keeps its place");
        let mut response = Response::new(202).with("X-Own", "1");
        response.reason = "Taken In".to_owned();
        response.body = "body".into();
        shell.respond(tx, response);
        let got = peer.message().await;
        assert!(got.starts_with("SIP/2.0 202 Taken In\r\n"), "{got}");
        assert!(got.ends_with("Content-Length: 4\r\n\r\nbody"), "{got}");
        assert!(header(&got, "Via").contains(&format!("rport={}", peer.addr().port())), "{got}");
        assert!(header(&got, "To").starts_with("<sip:far@far.example>;tag="), "{got}");
        assert_eq!((header(&got, "Call-ID"), header(&got, "CSeq")), ("in", "2 MESSAGE"));
    }
}

#[tokio::test]
async fn a_request_of_the_core_gets_its_response_and_its_ack_goes_out() {
    for (ip, transport) in ALL {
        let mut shell = Shell::start(config(ip)).await;
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let socket = UdpSocket::bind((ip, 0)).await.unwrap();
        let (addr, name) = match transport {
            Transport::Udp => (socket.local_addr().unwrap(), "udp"),
            _ => (listener.local_addr().unwrap(), "tcp"),
        };
        let hop = format!("sip:{addr};transport={name};lr");
        shell.send(7, outgoing(Method::Invite, "out"), hop.clone());
        let mut peer = match transport {
            Transport::Udp => Peer::Udp { socket, shell: shell.udp },
            _ => Peer::accept(&listener).await,
        };
        let invite = peer.message().await;
        assert!(invite.starts_with("INVITE sip:far@far.example SIP/2.0\r\n"), "{invite}");
        let via = header(&invite, "Via");
        let sent_by = format!("SIP/2.0/{} {};branch=z9hG4bK", name.to_uppercase(), shell.addr(transport));
        assert!(via.starts_with(&sent_by), "{via}");
        peer.send(answer(&invite, "180 Ringing", "z")).await;
        assert_eq!(shell.response(ClientTx(7)).await.status, 180);
        peer.send(answer(&invite, "200 Fine By Me", "z")).await;
        let ok = shell.response(ClientTx(7)).await;
        assert_eq!((ok.status, ok.reason.as_str()), (200, "Fine By Me"));
        shell.ack(7, &ok, hop);
        let ack = peer.message().await;
        assert!(ack.starts_with("ACK "), "{ack}");
        assert_ne!(header(&ack, "Via"), via);
        peer.silence().await;
    }
}

#[tokio::test]
async fn a_request_goes_over_the_connection_that_a_device_opened() {
    let mut shell = Shell::start(config("127.0.0.1")).await;
    let mut peer = Peer::tcp(shell.tcp).await;
    peer.send(incoming("REGISTER", "reg", &peer.via("1"), "")).await;
    let SipEvent::Request { tx, from, .. } = shell.event().await else { panic!("no request") };
    shell.respond(tx, Response::new(200));
    peer.message().await;
    let hop = Hop { uri: "sip:nobody@127.0.0.1:1".to_owned(), flow: from.flow };
    let request = outgoing(Method::Message, "m");
    shell.shell.command(SipCommand::Request { tx: ClientTx(1), request: request.clone(), hop: hop.clone() });
    let got = peer.message().await;
    peer.send(answer(&got, "200 OK", "z")).await;
    assert_eq!(shell.response(ClientTx(1)).await.status, 200);
    drop(peer);
    match shell.event().await {
        SipEvent::FlowClosed { flow } => assert_eq!(Some(flow), from.flow),
        other => panic!("{other:?}"),
    }
    // The connection is gone: the URI decides, and nobody listens there.
    let hop = Hop { uri: "sip:nobody@127.0.0.1:1;transport=tcp".to_owned(), ..hop };
    shell.shell.command(SipCommand::Request { tx: ClientTx(2), request, hop });
    match shell.event().await {
        SipEvent::Unanswered { tx: ClientTx(2), reason: NoAnswer::Unreachable(_) } => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn hops_that_lead_nowhere_are_unreachable() {
    let mut shell = Shell::start(config("127.0.0.1")).await;
    let hops = [
        "tel:+15551234",
        "sips:a@127.0.0.1",
        "sip:a@[::1]",
        "sip:no-such-host.invalid",
        "sip:a@b;transport=sctp",
    ];
    for (tx, hop) in hops.into_iter().enumerate() {
        shell.send(tx as u64, outgoing(Method::Message, hop), hop);
        match shell.event().await {
            SipEvent::Unanswered { tx: got, reason: NoAnswer::Unreachable(_) } => {
                assert_eq!(got.0, tx as u64)
            }
            other => panic!("{hop}: {other:?}"),
        }
    }
    assert_eq!(shell.shell.stats().client_transactions, 0);
}
