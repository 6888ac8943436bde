//! Messages that are lost on the way, over UDP.

use pf::core::{
    event::{ClientTx, NoAnswer, SipEvent},
    sip::{Method, Response},
};

use crate::lab::{Peer, Shell, answer, config, header, incoming, outgoing};

#[tokio::test]
async fn lost_requests_and_lost_responses_are_made_good() {
    let mut shell = Shell::start(config("127.0.0.1")).await;
    let mut peer = Peer::udp(shell.udp).await;
    // Ours: two copies are lost, the third is answered.
    shell.send(1, outgoing(Method::Message, "c"), format!("sip:{}", peer.addr()));
    let first = peer.message().await;
    for _ in 0..2 {
        assert_eq!(peer.message().await, first);
    }
    peer.send(answer(&first, "200 OK", "z")).await;
    assert_eq!(shell.response(ClientTx(1)).await.status, 200);
    // Theirs: our answer is lost, their copy gets it again and the core hears nothing of it.
    let request = incoming("MESSAGE", "d", &peer.via("1"), "");
    peer.send(&request).await;
    let (tx, _) = shell.request().await;
    shell.respond(tx, Response::new(200));
    let ok = peer.message().await;
    for _ in 0..2 {
        peer.send(&request).await;
        assert_eq!(peer.message().await, ok);
    }
    shell.no_event().await;
    peer.silence().await;
}

#[tokio::test]
async fn a_lost_success_and_a_lost_ack_of_a_failure() {
    let mut shell = Shell::start(config("::1")).await;
    let mut peer = Peer::udp(shell.udp).await;
    let invite = incoming("INVITE", "c", &peer.via("1"), "");
    peer.send(&invite).await;
    let (tx, _) = shell.request().await;
    shell.respond(tx, Response::new(200));
    let ok = peer.message().await;
    assert_eq!(peer.message().await, ok);
    let ack = incoming("ACK", "c", &peer.via("2"), "").replace("<sip:far@far.example>", header(&ok, "To"));
    peer.send(&ack).await;
    assert!(matches!(shell.event().await, SipEvent::Ack { tx: Some(got), .. } if got == tx));
    peer.send(&ack).await;
    shell.no_event().await;

    shell.send(1, outgoing(Method::Invite, "d"), format!("sip:{}", peer.addr()));
    let invite = loop {
        let message = peer.message().await;
        if message.starts_with("INVITE ") {
            break message;
        }
    };
    // 603: the answer that must find its ACK whatever the Request-URI leads to.
    for _ in 0..3 {
        peer.send(answer(&invite, "603 Decline", "z")).await;
        let ack = peer.message().await;
        assert!(ack.starts_with("ACK sip:far@far.example "), "{ack}");
    }
    assert_eq!(shell.response(ClientTx(1)).await.status, 603);
    shell.no_event().await;
}

#[tokio::test]
async fn a_peer_that_says_nothing() {
    let mut setup = config("127.0.0.1");
    setup.t1 = std::time::Duration::from_millis(20);
    let mut shell = Shell::start(setup).await;
    let mut peer = Peer::udp(shell.udp).await;
    shell.send(1, outgoing(Method::Invite, "c"), format!("sip:{}", peer.addr()));
    match shell.event().await {
        SipEvent::Unanswered { tx: ClientTx(1), reason: NoAnswer::TimedOut } => {}
        other => panic!("{other:?}"),
    }
    let mut copies = 0;
    while let Some(message) = peer.next(crate::lab::SILENCE).await {
        assert!(message.starts_with("INVITE "));
        copies += 1;
    }
    // Seven by the clock; a machine that lags may skip the last.
    assert!((5..=7).contains(&copies), "{copies}");
    // A 2xx of ours without ACK.
    peer.send(incoming("INVITE", "d", &peer.via("1"), "")).await;
    let (tx, _) = shell.request().await;
    shell.respond(tx, Response::new(200));
    assert!(matches!(shell.event().await, SipEvent::AckMissing { tx: got } if got == tx));
    assert_eq!((shell.shell.stats().server_transactions, shell.shell.stats().client_transactions), (0, 0));
}

#[tokio::test]
async fn an_ack_for_the_shells_own_refusal_ends_there() {
    let mut shell = Shell::start(config("127.0.0.1")).await;
    let mut peer = Peer::udp(shell.udp).await;
    let invite = incoming("INVITE", "c", &peer.via("1"), "");
    peer.send(invite.replace("Max-Forwards: 70", "Max-Forwards: x")).await;
    let refused = peer.message().await;
    assert!(refused.starts_with("SIP/2.0 400 "), "{refused}");
    peer.send(
        incoming("ACK", "c", &peer.via("1"), "").replace("<sip:far@far.example>", header(&refused, "To")),
    )
    .await;
    shell.no_event().await;
}
