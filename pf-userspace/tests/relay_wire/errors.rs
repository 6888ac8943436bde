//! What the sender hears when something is wrong.

use std::time::Duration;

use pf::{
    core::event::{LegRole, Setup},
    msrp::RelayConfig,
};

use crate::{
    peer::Peer,
    stage::{BOTH, MediaEventText, Stage, config, remote},
};

fn pair(stage: &mut Stage) -> (Peer, Peer) {
    stage.open(1, BOTH);
    (stage.passive(1, 1, LegRole::Originator), stage.active(1, 2, LegRole::Far))
}

fn quick() -> RelayConfig {
    let mut config = config();
    config.limits.guard = Duration::from_millis(300);
    config.limits.silent = Duration::from_millis(600);
    config
}

// Rows: MED-19
#[test]
fn the_next_hops_error_reaches_the_sender() {
    let mut stage = Stage::new(config());
    let (mut a, mut f) = pair(&mut stage);
    a.say("tid-0001", b"too much");
    let frame = f.frame();
    f.answer(&frame, "413 Stop, please: enough");
    let answer = a.frame();
    assert_eq!((&*answer.id, &*answer.start), ("tid-0001", "413 Stop, please: enough"));
    // Also before the frame has ended.
    let wire = a.message("tid-0002", "Byte-Range: 1-*/*\r\n", &[b'x'; 9000], '$');
    a.write(&wire[..8000]);
    std::thread::sleep(Duration::from_millis(50));
    f.write(format!(
        "MSRP tid-0002 413 Stop\r\nTo-Path: {}\r\nFrom-Path: {}\r\n-------tid-0002$\r\n",
        f.relay, f.path
    ));
    assert_eq!(a.frame().start, "413 Stop");
    a.write(&wire[8000..]);
    assert_eq!(f.frame().body.map(|b| b.len()), Some(9000));
    a.silent();
}

// Rows: MED-19
#[test]
fn the_next_hop_goes_and_the_sender_gets_an_error() {
    let mut stage = Stage::new(config());
    let (mut a, mut f) = pair(&mut stage);
    a.say("tid-0001", b"unanswered");
    f.frame();
    drop(f);
    assert_eq!(a.frame().start, "481 Next hop is gone");
    assert_eq!(stage.event(), MediaEventText::Down(2, "Closed".into()));
    a.say("tid-0002", b"nobody there");
    let answer = a.frame();
    assert_eq!((&*answer.id, &answer.start[..3]), ("tid-0002", "481"));
}

#[test]
fn nothing_listens_where_the_far_end_should_be() {
    let mut stage = Stage::new(config());
    stage.open(1, BOTH);
    let mut a = stage.passive(1, 1, LegRole::Originator);
    stage.leg(1, 2, LegRole::Far);
    // SENDs wait for the far end's side.
    a.say("tid-0001", b"early");
    a.silent();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    stage.connect(2, remote("msrp://127.0.0.1:1/x;tcp", Setup::Active, closed.to_string()));
    assert_eq!(stage.event(), MediaEventText::Down(2, "ConnectFailed".into()));
    assert_eq!(a.frame().start, "408 Next hop cannot be reached");
    a.say("tid-0002", b"again");
    assert_eq!(a.frame().start[..3], *"408");
}

// Rows: MED-19
#[test]
fn no_answer_in_time() {
    let mut stage = Stage::new(quick());
    let (mut a, mut f) = pair(&mut stage);
    a.say("tid-0001", b"hello?");
    let frame = f.frame();
    let answer = a.frame();
    assert_eq!((&*answer.id, &answer.start[..3]), ("tid-0001", "408"));
    // Too late.
    f.answer(&frame, "200 OK");
    a.silent();
}

#[test]
fn a_far_end_that_never_connects() {
    let mut stage = Stage::new(quick());
    stage.open(1, BOTH);
    let mut a = stage.passive(1, 1, LegRole::Originator);
    stage.leg(1, 2, LegRole::Far);
    a.say("tid-0001", b"hello?");
    let answer = a.frame();
    assert_eq!((&*answer.id, &answer.start[..3]), ("tid-0001", "408"));
}

// Rows: MED-25
#[test]
fn failure_report_no_and_partial() {
    let mut stage = Stage::new(quick());
    let (mut a, mut f) = pair(&mut stage);
    a.write(a.message("tid-0001", "Failure-Report: no\r\n", b"one", '$'));
    let frame = f.frame();
    assert_eq!(frame.header("Failure-Report"), "no");
    // Neither a response that should not be there nor its absence reaches the sender.
    f.answer(&frame, "500 What");
    a.silent();
    a.write(a.message("tid-0002", "Failure-Report: partial\r\n", b"two", '$'));
    let frame = f.frame();
    f.answer(&frame, "200 OK");
    a.silent();
    a.write(a.message("tid-0003", "Failure-Report: partial\r\n", b"three", '$'));
    let frame = f.frame();
    f.answer(&frame, "413 No");
    assert_eq!(a.frame().start, "413 No");
    a.write(a.message("tid-0004", "Failure-Report: partial\r\n", b"four", '$'));
    f.frame();
    std::thread::sleep(Duration::from_millis(700));
    a.silent();
}

#[test]
fn unknown_methods_and_malformed_frames_do_not_cost_the_connection() {
    let mut stage = Stage::new(config());
    let (mut a, mut f) = pair(&mut stage);
    a.write(a.bare("tid-0001", "AUTH", ""));
    assert_eq!(a.frame().start, "501 Unknown method");
    let (to, from) = (a.relay.clone(), a.path.clone());
    for (n, (wrong, body)) in [
        ("From-Path: {from}\r\nTo-Path: {to}\r\n", false),
        ("To-Path: {to}\r\nFrom-Path: {from}\r\nTo-Path: {to}\r\n", false),
        ("To-Path: {to}\r\nFrom-Path: {from}\r\nFrom-Path: {from}\r\n", true),
        ("To-Path: {to}\r\nFrom-Path: {from}\r\nno header at all\r\n", true),
        ("To-Path: {to}\r\nFrom-Path: {from}\r\nByte-Range: 5-2/1\r\n", true),
        ("To-Path: {to}\r\nFrom-Path: {from}\r\nX: a\nFrom-Path: msrp://evil/x;tcp\r\n", true),
    ]
    .into_iter()
    .enumerate()
    {
        let head = wrong.replace("{to}", &to).replace("{from}", &from);
        let id = format!("tid-bad{n}");
        let body = if body { "\r\nMSRP in-the-body SEND\r\n\r\n" } else { "" };
        a.write(format!("MSRP {id} SEND\r\n{head}{body}-------{id}$\r\n"));
        let answer = a.frame();
        assert_eq!((&*answer.id, &answer.start[..3]), (&*id, "400"), "{wrong}");
        a.say("tid-good", b"still here");
        assert_eq!(f.take().text(), "still here");
        assert_eq!(a.frame().id, "tid-good");
    }
    // The sender's own end-line inside its body: no reader may take what follows for a frame.
    a.write(a.message("tid-self", "", b"x-------tid-self$\r\nMSRP evil SEND\r\n", '$'));
    let frame = f.frame();
    assert_eq!((frame.text(), frame.flag), ("x".to_owned(), '#'));
    assert_eq!(a.frame().start[..3], *"400");
    a.say("tid-good", b"still here");
    assert_eq!(f.take().text(), "still here");
}

#[test]
fn lost_framing_and_endless_heads_close_the_connection() {
    for wire in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), {
        let mut wire = b"MSRP tid-long SEND\r\nTo-Path: x\r\nFrom-Path: y\r\nX: ".to_vec();
        wire.resize(20_000, b'x');
        wire
    }] {
        let mut stage = Stage::new(config());
        let (mut a, mut f) = pair(&mut stage);
        let long = wire.len() > 100;
        a.write(wire);
        if long {
            assert_eq!(a.frame().start, "400 Head too long");
        }
        assert!(a.ended());
        assert_eq!(stage.event(), MediaEventText::Down(1, "Malformed".into()));
        f.silent();
    }
}

#[test]
fn a_sender_that_dies_in_a_frame() {
    let mut stage = Stage::new(config());
    let (mut a, mut f, mut b, _c) = stage.usual();
    let wire = a.message("tid-0001", "Byte-Range: 1-*/*\r\n", b"half of it", '$');
    a.write(&wire[..wire.len() - 18]);
    drop(a);
    for peer in [&mut f, &mut b] {
        let frame = peer.frame();
        assert_eq!((frame.text(), frame.flag), ("half of it".to_owned(), '#'));
        // The connection can be used as before.
    }
    b.say("tid-0002", b"from b");
    assert_eq!(f.take().text(), "from b");
    assert_eq!(b.frame().start, "200 OK");
}

#[test]
fn reports_pass_between_originator_and_far_end_only() {
    let mut stage = Stage::new(config());
    let (mut a, mut f, mut b, _c) = stage.usual();
    let fields = "Message-ID: m-1\r\nByte-Range: 1-5/5\r\nStatus: 000 200 OK\r\n";
    b.write(b.bare("tid-0001", "REPORT", fields));
    f.write(f.bare("tid-0002", "REPORT", fields));
    let report = a.frame();
    assert_eq!((&*report.id, &*report.start), ("tid-0002", "REPORT"));
    assert_eq!((report.header("To-Path"), report.header("From-Path")), (&*a.path, &*a.relay));
    assert_eq!((report.header("Status"), report.header("Byte-Range")), ("000 200 OK", "1-5/5"));
    a.write(a.bare("tid-0003", "REPORT", fields));
    assert_eq!(f.frame().id, "tid-0003");
    a.silent();
    b.silent();
}

// Rows: MED-19
#[test]
fn a_sender_that_closes_its_half_gets_its_answer() {
    let mut stage = Stage::new(config());
    let (mut a, mut f) = pair(&mut stage);
    a.say("tid-0001", b"my last word");
    a.stream.shutdown(std::net::Shutdown::Write).unwrap();
    let frame = f.frame();
    std::thread::sleep(Duration::from_millis(50));
    stage.no_event();
    f.answer(&frame, "200 OK");
    let answer = a.frame();
    assert_eq!((&*answer.id, &*answer.start), ("tid-0001", "200 OK"));
    assert!(a.ended());
    assert_eq!(stage.event(), MediaEventText::Down(1, "Closed".into()));
}
