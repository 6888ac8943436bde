//! Which connection a session lives on.

use std::{net::TcpListener, time::Duration};

use pf::core::event::{LegKey, LegRole, MediaCommand, Setup};

use crate::{
    peer::Peer,
    stage::{BOTH, MediaEventText, Stage, config, remote},
};

#[test]
fn a_third_party_is_refused() {
    let mut stage = Stage::new(config());
    let (mut a, mut f, _b, _c) = stage.usual();
    let mut thief = Peer::connect(stage.address, "msrp://127.0.0.1:6/thief;tcp", &a.relay);
    thief.say("tid-0001", b"not mine");
    assert_eq!(thief.frame().start[..3], *"506");
    thief.relay = format!("msrp://{}/no-such-session;tcp", stage.address);
    thief.say("tid-0002", b"whose?");
    let answer = thief.frame();
    assert_eq!(&answer.start[..3], "481");
    assert_eq!((answer.header("To-Path"), answer.header("From-Path")), (&*thief.path, &*thief.relay));
    // A path through others is not ours either.
    thief.relay = format!("{} {}", a.relay, a.relay);
    thief.say("tid-0003", b"whose?");
    assert_eq!(thief.frame().start[..3], *"481");
    f.silent();
    a.say("tid-0004", b"mine");
    assert_eq!(f.take().text(), "mine");
}

// Rows: MED-02, MED-03
#[test]
fn the_whole_uri_counts_unless_matching_is_legacy() {
    for legacy in [false, true] {
        let stage = Stage::new(config());
        stage.open(1, BOTH);
        let local = stage.leg(1, 1, LegRole::Originator);
        let mut side = remote("msrp://127.0.0.1:9/a;tcp", Setup::Passive, String::new());
        side.legacy_matching = legacy;
        stage.connect(1, side);
        let foreign = local.replace("127.0.0.1", "192.0.2.1");
        let mut a = Peer::connect(stage.address, "msrp://127.0.0.1:9/a;tcp", &foreign);
        a.write(a.bare("tid-0001", "SEND", "Message-ID: mmmm\r\n"));
        assert_eq!(a.frame().start[..3], *(if legacy { "200" } else { "481" }));
        // Other spellings of the same URI are the same.
        let mut a = if legacy { a } else { Peer::connect(stage.address, "msrp://127.0.0.1:9/a;tcp", "") };
        a.relay = local.replace("msrp://", "MSRP://user@").replace(";tcp", ";TCP;x=y");
        a.write(a.bare("tid-0002", "SEND", "Message-ID: mmmm\r\n"));
        assert_eq!(a.frame().start[..3], *"200");
    }
}

#[test]
fn connections_that_name_no_session_are_closed() {
    let mut config = config();
    config.limits.unbound = Duration::from_millis(300);
    config.unbound_connections = 2;
    let stage = Stage::new(config);
    let mut peers: Vec<Peer> = (0..3).map(|_| Peer::connect(stage.address, "x", "y")).collect();
    // At the cap the oldest goes at once, the others after their time.
    let begin = std::time::Instant::now();
    assert!(peers[0].ended());
    assert!(begin.elapsed() < Duration::from_millis(250), "{:?}", begin.elapsed());
    assert!(peers[1].ended() && peers[2].ended());
    assert!(begin.elapsed() > Duration::from_millis(200));
}

#[test]
fn one_peer_does_not_take_the_place_of_others() {
    let mut config = config();
    config.unbound_per_peer = 2;
    let stage = Stage::new(config);
    let dial_from = |ip: &str| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&format!("{ip}:0").parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
        socket.connect(&stage.address.into()).unwrap();
        let stream = std::net::TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        stream
    };
    let alive = |mut stream: &std::net::TcpStream| std::io::Read::read(&mut stream, &mut [0]).is_err();
    let other = dial_from("127.0.0.3");
    let many: Vec<_> = (0..5).map(|_| dial_from("127.0.0.2")).collect();
    assert_eq!(many.iter().map(alive).collect::<Vec<_>>(), [false, false, false, true, true]);
    assert!(alive(&other));
}

#[test]
fn nobody_is_connected_to_himself() {
    let mut stage = Stage::new(config());
    stage.open(1, BOTH);
    let local = stage.leg(1, 2, LegRole::Far);
    stage.connect(2, remote(&local, Setup::Active, stage.address.to_string()));
    assert_eq!(stage.event(), MediaEventText::Down(2, "ConnectFailed".into()));
    stage.leg(1, 3, LegRole::Device);
    stage.connect(3, remote(&local, Setup::Active, format!("localhost:{}", stage.address.port())));
    assert_eq!(stage.event(), MediaEventText::Down(3, "ConnectFailed".into()));
}

#[test]
fn the_source_port_is_that_of_our_path() {
    let mut stage = Stage::new(config());
    stage.open(1, BOTH);
    let f = stage.active(1, 2, LegRole::Far);
    assert_eq!(f.stream.peer_addr().unwrap(), stage.address);
}

#[test]
fn closing_a_leg_closes_its_connection_and_reports() {
    let mut stage = Stage::new(config());
    let (mut a, mut f, mut b, mut c) = stage.usual();
    stage.relay.command(MediaCommand::CloseLeg { leg: LegKey(3) });
    assert!(b.ended());
    assert_eq!(stage.event(), MediaEventText::Closed(3));
    a.say("tid-0001", b"still three");
    f.take();
    c.take();
    assert_eq!(a.frame().start, "200 OK");
    stage.relay.command(MediaCommand::CloseStream { stream: pf::core::event::StreamKey(1) });
    assert!(a.ended() && f.ended() && c.ended());
    assert_eq!(stage.event(), MediaEventText::Closed(1));
    assert_eq!(stage.event(), MediaEventText::Closed(2));
    assert_eq!(stage.event(), MediaEventText::Closed(4));
}

#[test]
fn ipv6_and_names() {
    for (host, name) in [("[::1]", "[::1]"), ("127.0.0.1", "localhost")] {
        let mut config = config();
        config.listen = vec![format!("{host}:0").parse().unwrap()];
        let mut stage = Stage::new(config);
        stage.open(1, BOTH);
        let mut a = stage.passive(1, 1, LegRole::Originator);
        let listener = TcpListener::bind(format!("{host}:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let local = stage.leg(1, 2, LegRole::Far);
        let path = format!("msrp://{name}:{port}/f;tcp");
        stage.connect(2, remote(&path, Setup::Active, format!("{name}:{port}")));
        let mut f = Peer::accept(&listener, &path, &local);
        f.take();
        a.say("tid-0001", b"hello");
        assert_eq!(f.take().text(), "hello");
        assert_eq!(a.frame().start, "200 OK");
    }
}

#[test]
fn an_address_in_use_is_refused() {
    let stage = Stage::new(config());
    let mut second = config();
    second.listen = vec![stage.address];
    let (sender, _events) = tokio::sync::mpsc::unbounded_channel();
    let error = pf::msrp::Relay::start(second, sender).err().map(|e| e.kind());
    assert_eq!(error, Some(std::io::ErrorKind::AddrInUse));
}

#[test]
fn several_workers_find_their_sessions() {
    let mut config = config();
    config.workers = 3;
    let mut stage = Stage::new(config);
    let mut peers = vec![];
    for n in 0..12 {
        stage.open(n, BOTH);
        let mut a = stage.passive(n, n * 10 + 1, LegRole::Originator);
        let mut f = stage.active(n, n * 10 + 2, LegRole::Far);
        let mut b = stage.passive(n, n * 10 + 3, LegRole::Device);
        a.say("tid-0001", b"found");
        assert_eq!(f.take().text(), "found");
        assert_eq!(b.take().text(), "found");
        assert_eq!(a.frame().start, "200 OK");
        peers.push((a, f, b));
    }
    let legs =
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(stage.relay.snapshot());
    assert_eq!(legs.len(), 36);
    assert!(legs.windows(2).all(|pair| pair[0].leg < pair[1].leg));
}

#[test]
fn counters_and_peers_are_shown() {
    let mut stage = Stage::new(config());
    let (mut a, mut f, mut b, _c) = stage.usual();
    a.say("tid-0001", b"count me");
    f.take();
    let copy = b.frame();
    b.answer(&copy, "415 No");
    a.frame();
    std::thread::sleep(Duration::from_millis(50));
    let legs =
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(stage.relay.snapshot());
    assert_eq!(legs.len(), 4);
    assert_eq!(legs[0].peer, Some(a.stream.local_addr().unwrap()));
    assert_eq!((legs[0].counters.sends_in, legs[0].counters.sends_out), (1, 0));
    assert_eq!((legs[1].counters.sends_in, legs[1].counters.sends_out), (0, 1));
    // The binding SEND was answered as well.
    assert_eq!((legs[1].counters.ok, legs[1].counters.errors), (2, 0));
    assert_eq!((legs[2].counters.ok, legs[2].counters.errors), (0, 1));
    assert_eq!(legs[2].counters.octets_out, copy.wire.len() as u64 + bind_answer(&b));
}

/// Length of the answer to the binding SEND.
fn bind_answer(peer: &Peer) -> u64 {
    let paths = format!("To-Path: {}\r\nFrom-Path: {}\r\n", peer.path, peer.relay);
    ("MSRP bindbind 200 OK\r\n".len() + paths.len() + "-------bindbind$\r\n".len()) as u64
}
