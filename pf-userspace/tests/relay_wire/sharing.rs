//! Several sessions on one connection.

use std::{net::TcpListener, time::Duration};

use pf::core::event::{LegRole, Setup};

use crate::{
    peer::Peer,
    stage::{BOTH, MediaEventText, Stage, config, remote},
};

/// Two streams whose far ends are at one place: A1, A2, and the one connection to F.
fn two(stage: &mut Stage) -> (Peer, Peer, Peer, [String; 2]) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let mut ours = vec![];
    let mut ends = vec![];
    let mut f = None;
    for n in [1, 2] {
        stage.open(n, BOTH);
        ends.push(stage.passive(n, n * 10, LegRole::Originator));
        ours.push(stage.leg(n, n * 10 + 1, LegRole::Far));
        let path = format!("msrp://{at}/far-{n};tcp");
        stage.connect(n * 10 + 1, remote(&path, Setup::Active, at.to_string()));
        let f = f.get_or_insert_with(|| Peer::accept(&listener, "", ""));
        let greeting = f.frame();
        assert_eq!(
            (greeting.header("To-Path"), greeting.header("From-Path")),
            (&*path, &*ours[n as usize - 1])
        );
        f.path = path;
        f.answer(&greeting, "200 OK");
        assert_eq!(stage.event(), MediaEventText::Up(n * 10 + 1));
    }
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "one connection is enough");
    let (second, first) = (ends.pop().unwrap(), ends.pop().unwrap());
    (first, second, f.unwrap(), [ours[0].clone(), ours[1].clone()])
}

// Rows: MED-11
#[test]
fn two_sessions_share_a_connection() {
    let mut stage = Stage::new(config());
    let (mut a1, mut a2, mut f, ours) = two(&mut stage);
    // The same transaction id on both: one is given another.
    a1.say("tid-same", b"one");
    let first = f.frame();
    a2.say("tid-same", b"two");
    let second = f.frame();
    assert_eq!((first.text(), second.text()), ("one".to_owned(), "two".to_owned()));
    assert_eq!((first.header("From-Path"), second.header("From-Path")), (&*ours[0], &*ours[1]));
    assert_eq!(first.id, "tid-same");
    assert_ne!(second.id, "tid-same");
    f.answer(&second, "200 Two");
    f.answer(&first, "200 One");
    let (one, two) = (a1.frame(), a2.frame());
    assert_eq!((&*one.id, &*one.start), ("tid-same", "200 One"));
    assert_eq!((&*two.id, &*two.start), ("tid-same", "200 Two"));
}

#[test]
fn a_frame_waits_for_the_open_one() {
    let mut stage = Stage::new(config());
    let (mut a1, mut a2, mut f, _) = two(&mut stage);
    let long = a1.message("tid-long", "Byte-Range: 1-20000/20000\r\n", &[b'a'; 20_000], '$');
    a1.write(&long[..10_000]);
    std::thread::sleep(Duration::from_millis(30));
    for n in 0..5 {
        a2.say(&format!("tid-{n:04}"), b"short");
    }
    std::thread::sleep(Duration::from_millis(30));
    a1.write(&long[10_000..]);
    assert_eq!(f.take().id, "tid-long");
    assert_eq!(a1.frame().start, "200 OK");
    for n in 0..5 {
        assert_eq!(f.take().id, format!("tid-{n:04}"));
        assert_eq!(a2.frame().start, "200 OK");
    }
}

#[test]
fn both_get_their_share() {
    let mut stage = Stage::new(config());
    let (a1, a2, mut f, _) = two(&mut stage);
    let send = |mut a: Peer, name: &'static str| {
        std::thread::spawn(move || {
            for n in 0..2000 {
                a.say(&format!("{name}-{n:05}"), &[b'x'; 1500]);
            }
            for n in 0..2000 {
                let answer = a.frame();
                assert_eq!((&*answer.id, &*answer.start), (&*format!("{name}-{n:05}"), "200 OK"));
            }
        })
    };
    let threads = [send(a1, "one"), send(a2, "two")];
    let mut last = [None, None];
    for _ in 0..4000 {
        let frame = f.take();
        let (name, n) = frame.id.split_once('-').unwrap();
        let n: u32 = n.parse().unwrap();
        let last = &mut last[usize::from(name == "two")];
        assert_eq!(last.map_or(0, |l| l + 1), n, "order is kept");
        *last = Some(n);
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn closing_one_leaves_the_other() {
    let mut stage = Stage::new(config());
    let (mut a1, mut a2, mut f, ours) = two(&mut stage);
    // In the middle of a frame of the one that goes.
    let wire = a1.message("tid-0001", "Byte-Range: 1-*/*\r\n", b"half", '$');
    a1.write(&wire[..wire.len() - 18]);
    std::thread::sleep(Duration::from_millis(30));
    stage.relay.command(pf::core::event::MediaCommand::CloseStream { stream: pf::core::event::StreamKey(1) });
    assert!(a1.ended());
    assert_eq!(f.frame().flag, '#');
    a2.say("tid-0002", b"alive");
    assert_eq!(f.take().text(), "alive");
    assert_eq!(a2.frame().start, "200 OK");
    f.relay.clone_from(&ours[0]);
    f.say("tid-0003", b"too late");
    assert_eq!(f.frame().start[..3], *"481");
}

#[test]
fn without_reuse_each_session_has_its_own() {
    let mut config = config();
    config.limits.reuse_connections = false;
    let stage = Stage::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    for n in [1, 2] {
        stage.open(n, BOTH);
        let local = stage.leg(n, n, LegRole::Far);
        let path = format!("msrp://{at}/far-{n};tcp");
        stage.connect(n, remote(&path, Setup::Active, at.to_string()));
        let mut f = Peer::accept(&listener, &path, &local);
        assert_eq!(f.take().header("From-Path"), local);
    }
}

#[test]
fn a_long_chunk_is_cut_for_what_waits() {
    let mut stage = Stage::new(config());
    let (mut a1, mut a2, mut f, ours) = two(&mut stage);
    let body: Vec<u8> = (0..20_000_u32).map(|n| b'a' + (n % 26) as u8).collect();
    let wire = a1.message("tid-long", "Byte-Range: 1-*/20000\r\nX-Other: kept\r\n", &body, '$');
    a1.write(&wire[..10_000]);
    std::thread::sleep(Duration::from_millis(50));
    // Its own session's far end asks for something that is answered here and now.
    f.relay.clone_from(&ours[1]);
    f.write(f.bare("tid-keep", "SEND", "Message-ID: keep\r\n"));
    let first = f.frame();
    assert_eq!((&*first.id, first.flag), ("tid-long", '+'));
    let answer = f.frame();
    assert_eq!((&*answer.id, &*answer.start), ("tid-keep", "200 OK"));
    a1.write(&wire[10_000..]);
    let second = f.frame();
    let cut = first.body.as_ref().unwrap().len();
    assert_ne!(second.id, "tid-long");
    assert_eq!(second.header("Byte-Range"), format!("{}-*/20000", cut + 1));
    assert_eq!((second.header("Message-ID"), second.header("X-Other")), ("m-tid-long", "kept"));
    assert_eq!([first.body.clone().unwrap(), second.body.clone().unwrap()].concat(), body);
    assert_eq!(second.flag, '$');
    // One answer, after both parts were answered.
    f.answer(&first, "200 OK");
    a1.silent();
    f.answer(&second, "200 Done");
    let answer = a1.frame();
    assert_eq!((&*answer.id, &*answer.start), ("tid-long", "200 Done"));
    a1.silent();
    a2.silent();
}

// Rows: MED-11
#[test]
fn a_half_sent_frame_is_abandoned_where_another_session_waits() {
    let mut config = config();
    config.limits.stuck = std::time::Duration::from_millis(500);
    let mut stage = Stage::new(config);
    let (mut a1, mut a2, mut f, _) = two(&mut stage);
    let wire = a1.message("tid-half", "Byte-Range: 1-2000/2000\r\n", &[b'h'; 2000], '$');
    a1.write(&wire[..1000]);
    std::thread::sleep(Duration::from_millis(30));
    a2.say("tid-next", b"patient");
    let half = f.frame();
    assert_eq!((&*half.id, half.flag), ("tid-half", '#'));
    assert_eq!(f.take().text(), "patient");
    assert_eq!(a2.frame().start, "200 OK");
    let answer = a1.frame();
    assert_eq!((&*answer.id, &answer.start[..3]), ("tid-half", "408"));
    a1.write(&wire[1000..]);
    a1.say("tid-more", b"again");
    assert_eq!(f.take().text(), "again");
    let answer = a1.frame();
    assert_eq!((&*answer.id, &*answer.start), ("tid-more", "200 OK"));
}
