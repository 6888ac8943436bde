//! Who gets what, and what the sender hears.

use crate::stage::{Stage, config};

// Rows: MED-12, MED-17, MED-18, MED-19, MED-20
#[test]
fn a_message_goes_to_the_far_end_and_the_devices() {
    let mut stage = Stage::new(config());
    let (mut a, mut f, mut b, mut c) = stage.usual();
    a.say("tid-0001", b"hello");
    let at_f = f.frame();
    assert_eq!(at_f.start, "SEND");
    assert_eq!(at_f.id, "tid-0001");
    assert_eq!(at_f.header("To-Path"), f.path);
    assert_eq!(at_f.header("From-Path"), f.relay);
    assert_eq!(at_f.header("Message-ID"), "m-tid-0001");
    assert_eq!(at_f.header("Byte-Range"), "1-5/5");
    assert_eq!(at_f.header("Content-Type"), "text/plain");
    assert_eq!(at_f.body.as_deref(), Some(&b"hello"[..]));
    // The devices' answers are nobody's business, whatever they are.
    for (device, status) in [(&mut b, "413 Stop"), (&mut c, "200 OK")] {
        let copy = device.frame();
        assert_eq!((copy.header("To-Path"), copy.header("From-Path")), (&*device.path, &*device.relay));
        assert_eq!((copy.header("Message-ID"), copy.text()), ("m-tid-0001", "hello".to_owned()));
        device.answer(&copy, status);
    }
    a.silent();
    f.answer(&at_f, "200 All right");
    let answer = a.frame();
    assert_eq!((&*answer.id, &*answer.start), ("tid-0001", "200 All right"));
    assert_eq!((answer.header("To-Path"), answer.header("From-Path")), (&*a.path, &*a.relay));
    a.silent();
    f.silent();
}

// Rows: MED-17, MED-19
#[test]
fn the_far_end_and_a_device_speak() {
    let mut stage = Stage::new(config());
    let (mut a, mut f, mut b, mut c) = stage.usual();
    f.say("from-far", b"hi");
    assert_eq!(b.take().text(), "hi");
    assert_eq!(c.take().text(), "hi");
    assert_eq!(a.take().text(), "hi");
    assert_eq!(f.frame().start, "200 OK");
    b.say("from-dev", b"me");
    assert_eq!(a.take().text(), "me");
    assert_eq!(c.take().text(), "me");
    b.silent();
    assert_eq!(f.take().text(), "me");
    let answer = b.frame();
    assert_eq!((&*answer.id, &*answer.start), ("from-dev", "200 OK"));
}
