//! The devices' copies: they decide nothing and slow nobody.

use std::time::{Duration, Instant};

use pf::core::event::{LegKey, LegRole, MediaCommand, StreamPolicy};

use crate::{
    peer::Peer,
    stage::{BOTH, MediaEventText, Stage, config, remote},
};

// Rows: MED-26
#[test]
fn a_device_that_does_not_read_loses_only_its_leg() {
    let mut stage = Stage::new(config());
    let (mut a, mut f, b, mut c) = stage.usual();
    let body = vec![b'x'; 60_000];
    let (mut slow, mut sent) = (0, 0);
    let begin = Instant::now();
    while slow == 0 {
        assert!(begin.elapsed() < Duration::from_secs(60), "{sent} messages and B is still there");
        a.say("tid-0001", &body);
        assert_eq!(f.take().body.unwrap().len(), body.len());
        assert_eq!(c.take().body.unwrap().len(), body.len());
        assert_eq!(a.frame().start, "200 OK");
        sent += 1;
        if let Ok(event) = stage.events.try_recv() {
            let expected = pf::core::event::LegDown::Slow;
            match event {
                pf::core::event::MediaEvent::LegDown { leg, reason, .. } if reason == expected => {
                    slow = leg.0
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(slow, 3);
    a.say("tid-0002", b"without B");
    assert_eq!(f.take().text(), "without B");
    assert_eq!(c.take().text(), "without B");
    assert_eq!(a.frame().start, "200 OK");
    stage.no_event();
    drop(b);
}

// Rows: MED-20
#[test]
fn a_device_that_answers_nothing_loses_only_its_leg() {
    let mut config = config();
    config.limits.silent = Duration::from_millis(400);
    let mut stage = Stage::new(config);
    let (mut a, mut f, mut b, mut c) = stage.usual();
    a.say("tid-0001", b"hello");
    f.take();
    assert_eq!(a.frame().start, "200 OK");
    c.take();
    assert_eq!(b.frame().text(), "hello");
    assert_eq!(stage.event(), MediaEventText::Down(3, "Silent".into()));
    assert!(b.ended());
    a.say("tid-0002", b"hello");
    f.take();
    c.take();
    assert_eq!(a.frame().start, "200 OK");
}

#[test]
fn policy_decides_who_copies() {
    let mut stage = Stage::new(config());
    stage.open(1, StreamPolicy { copy_far: false, copy_devices: false });
    let mut a = stage.passive(1, 1, LegRole::Originator);
    let mut f = stage.active(1, 2, LegRole::Far);
    let mut b = stage.passive(1, 3, LegRole::Device);
    f.say("tid-0001", b"for A alone");
    assert_eq!(a.take().text(), "for A alone");
    assert_eq!(f.frame().start, "200 OK");
    b.say("tid-0002", b"may I?");
    assert_eq!(b.frame().start[..3], *"403");
    a.silent();
    f.silent();
}

#[test]
fn what_a_device_does_not_accept_is_not_copied() {
    let mut stage = Stage::new(config());
    stage.open(1, BOTH);
    let mut a = stage.passive(1, 1, LegRole::Originator);
    let mut f = stage.active(1, 2, LegRole::Far);
    let mut typed = stage.passive_as(1, 3, LegRole::Device, |remote| {
        remote.accept_types = vec!["message/cpim".into()];
        remote.accept_wrapped_types = vec!["text/plain".into()];
    });
    let mut small = stage.passive_as(1, 4, LegRole::Device, |remote| remote.max_size = Some(100));
    let mut mute = stage.passive_as(1, 5, LegRole::Device, |remote| remote.may_send = false);
    let cpim =
        |wrapped: &str| format!("From: <a>\r\nTo: <b>\r\n\r\nContent-Type: {wrapped}\r\n\r\nhi").into_bytes();
    let large = vec![b'x'; 200];
    for (content_type, body, to_typed, to_small) in [
        ("text/plain", b"hi".to_vec(), false, true),
        ("message/cpim", cpim("text/plain"), true, true),
        ("message/cpim", cpim("image/png"), false, true),
        ("message/cpim", [cpim("text/plain;charset=utf-8"), large].concat(), true, false),
    ] {
        let range = format!("Byte-Range: 1-{0}/{0}\r\n", body.len());
        let wire = String::from_utf8(a.message("tid-0001", &range, &body, '$')).unwrap();
        a.write(wire.replacen("Content-Type: text/plain", &format!("Content-Type: {content_type}"), 1));
        assert_eq!(f.take().body.as_deref(), Some(&*body));
        assert_eq!(a.frame().start, "200 OK");
        if to_typed {
            assert_eq!(typed.take().body.as_deref(), Some(&*body));
        }
        if to_small {
            assert_eq!(small.take().body.as_deref(), Some(&*body));
        }
    }
    typed.silent();
    small.silent();
    mute.silent();
}

// Rows: MED-18
#[test]
fn all_chunks_go_to_those_that_got_the_first() {
    let mut stage = Stage::new(config());
    stage.open(1, BOTH);
    let mut a = stage.passive(1, 1, LegRole::Originator);
    let mut f = stage.active(1, 2, LegRole::Far);
    let mut b = stage.passive(1, 3, LegRole::Device);
    let chunk = |a: &crate::peer::Peer, id: &str, range: &str, body: &[u8], flag| {
        let wire = String::from_utf8(a.message(id, &format!("Byte-Range: {range}\r\n"), body, flag)).unwrap();
        wire.replace(&format!("m-{id}"), "the-message")
    };
    a.write(chunk(&a, "tid-0001", "1-3/9", b"abc", '+'));
    assert_eq!((f.take().text(), b.take().text()), ("abc".to_owned(), "abc".to_owned()));
    assert_eq!(a.frame().start, "200 OK");
    let mut late = stage.passive(1, 4, LegRole::Device);
    a.write(chunk(&a, "tid-0002", "4-6/9", b"def", '+'));
    assert_eq!((f.take().flag, b.take().flag), ('+', '+'));
    assert_eq!(a.frame().start, "200 OK");
    a.write(chunk(&a, "tid-0003", "7-9/9", b"ghi", '$'));
    assert_eq!((f.take().flag, b.take().flag), ('$', '$'));
    assert_eq!(a.frame().start, "200 OK");
    late.silent();
    // The next message is for all.
    a.say("tid-0004", b"next");
    f.take();
    assert_eq!((b.take().text(), late.take().text()), ("next".to_owned(), "next".to_owned()));
    assert_eq!(a.frame().start, "200 OK");
}

// Rows: AMB-16
#[test]
fn the_first_device_that_accepts_stands_in_for_a_lost_originator() {
    for copy_far in [true, false] {
        let mut stage = Stage::new(config());
        stage.open(1, StreamPolicy { copy_far, copy_devices: true });
        let a = stage.passive(1, 1, LegRole::Originator);
        let mut f = stage.active(1, 2, LegRole::Far);
        let mut picky = stage
            .passive_as(1, 3, LegRole::Device, |remote| remote.accept_types = vec!["image/png".to_owned()]);
        let mut b = stage.passive(1, 4, LegRole::Device);
        let mut c = stage.passive(1, 5, LegRole::Device);
        stage.relay.command(MediaCommand::CloseLeg { leg: LegKey(1) });
        assert_eq!(stage.event(), MediaEventText::Closed(1));
        // The far end gets B's answer, and waits for it.
        f.say("tid-0001", b"still there?");
        let frame = b.frame();
        assert_eq!(frame.text(), "still there?");
        if copy_far {
            assert_eq!(c.take().text(), "still there?");
        }
        f.silent();
        b.answer(&frame, "413 Enough");
        assert_eq!(f.frame().start, "413 Enough");
        c.silent();
        // When B goes too, C is next; when nobody is left that takes text, the far end hears it.
        stage.relay.command(MediaCommand::CloseLeg { leg: LegKey(4) });
        f.say("tid-0002", b"and now?");
        assert_eq!(c.take().text(), "and now?");
        assert_eq!(f.frame().start, "200 OK");
        stage.relay.command(MediaCommand::CloseLeg { leg: LegKey(5) });
        f.say("tid-0003", b"nobody?");
        assert!(f.frame().start.starts_with("415 "));
        picky.silent();
        stage.relay.command(MediaCommand::CloseLeg { leg: LegKey(3) });
        f.say("tid-0004", b"nobody at all?");
        assert!(f.frame().start.starts_with("481 "));
        drop(a);
    }
}

// Rows: AMB-16
#[test]
fn a_message_that_the_lost_originator_began_to_get_goes_on_to_who_got_its_beginning() {
    for copy_far in [true, false] {
        let mut stage = Stage::new(config());
        stage.open(1, StreamPolicy { copy_far, copy_devices: true });
        let mut a = stage.passive(1, 1, LegRole::Originator);
        let mut f = stage.active(1, 2, LegRole::Far);
        let mut b = stage.passive(1, 3, LegRole::Device);
        let chunk = |f: &crate::peer::Peer, id: &str, range: &str, body: &[u8], flag| {
            let wire =
                String::from_utf8(f.message(id, &format!("Byte-Range: {range}\r\n"), body, flag)).unwrap();
            wire.replace(&format!("m-{id}"), "the-message")
        };
        f.write(chunk(&f, "tid-0001", "1-3/6", b"abc", '+'));
        assert_eq!(a.take().text(), "abc");
        assert_eq!(f.frame().start, "200 OK");
        if copy_far {
            assert_eq!(b.take().text(), "abc");
        }
        stage.relay.command(MediaCommand::CloseLeg { leg: LegKey(1) });
        f.write(chunk(&f, "tid-0002", "4-6/6", b"def", '$'));
        if copy_far {
            assert_eq!(b.take().text(), "def");
            assert_eq!(f.frame().start, "200 OK");
        } else {
            assert!(f.frame().start.starts_with("481 "));
            b.silent();
        }
    }
}

#[test]
fn copies_from_two_senders_do_not_mix() {
    let mut stage = Stage::new(config());
    let (mut a, mut f, mut b, _c) = stage.usual();
    let long = a.message("tid-long", "Byte-Range: 1-*/*\r\n", &[b'a'; 30_000], '$');
    a.write(&long[..20_000]);
    std::thread::sleep(Duration::from_millis(30));
    // While A's frame is open towards B, the far end speaks: B's copy waits, A's message does not.
    f.say("tid-far1", b"in between");
    // (A does not answer before its own frame has ended.)
    assert_eq!(a.frame().text(), "in between");
    a.write(&long[20_000..]);
    let first = b.frame();
    assert_eq!((&*first.id, first.body.as_ref().map(Vec::len)), ("tid-long", Some(30_000)));
    assert_eq!(b.frame().text(), "in between");
}

// Rows: MED-18
#[test]
fn a_device_that_connects_late_gets_what_was_said_before() {
    let mut stage = Stage::new(config());
    stage.open(1, BOTH);
    let mut a = stage.passive(1, 1, LegRole::Originator);
    let mut f = stage.active(1, 2, LegRole::Far);
    // Invited, and not answered yet.
    let local = stage.leg(1, 3, LegRole::Device);
    let path = "msrp://127.0.0.1:9/peer-of-leg-3;tcp";
    let mut said = vec![];
    for (n, length) in [1, 300, 70_000, 5].into_iter().enumerate() {
        let body = vec![b'a' + n as u8; length];
        a.say(&format!("tid-000{n}"), &body);
        assert_eq!(f.take().body.as_ref(), Some(&body));
        assert_eq!(a.frame().start, "200 OK");
        said.push(body);
    }
    f.say("tid-far0", b"and an answer");
    assert_eq!(a.take().text(), "and an answer");
    assert_eq!(f.frame().start, "200 OK");
    said.push(b"and an answer".to_vec());
    // Half a message is on its way while the device comes.
    let body = vec![b'z'; 100_000];
    let wire = a.message("tid-0009", "Byte-Range: 1-100000/100000\r\n", &body, '$');
    a.write(&wire[..60_000]);
    stage.connect(3, remote(path, pf::core::event::Setup::Passive, String::new()));
    let mut b = Peer::connect(stage.address, path, &local);
    let bare = b.bare("bindbind", "SEND", "Message-ID: bbbb\r\n");
    b.write(bare);
    assert_eq!(stage.event(), MediaEventText::Up(3));
    a.write(&wire[60_000..]);
    said.push(body);
    a.say("tid-0010", b"live");
    said.push(b"live".to_vec());
    let mut answers = 0;
    let mut got = vec![];
    while got.len() < said.len() {
        let frame = b.frame();
        if frame.start == "200 OK" {
            answers += 1;
            continue;
        }
        assert_eq!((frame.header("To-Path"), frame.header("From-Path")), (path, local.as_str()));
        b.answer(&frame, "200 OK");
        got.push(frame.body.unwrap());
    }
    assert!(got == said, "the messages differ");
    assert_eq!(answers, 1);
    b.silent();
}
