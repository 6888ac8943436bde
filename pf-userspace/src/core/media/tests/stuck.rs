//! Frames that do not get on, on connections that others wait for.

use super::*;

impl World {
    /// An end sends all of a frame but its last octets, which are given.
    fn send_half(&mut self, end: usize, leg: u64, id: &str, body: &[u8]) -> Vec<u8> {
        let fields = format!("Message-ID: m-{id}\r\nByte-Range: 1-{0}/{0}\r\n", body.len());
        let before = self.ends[end].1.to_switch.len();
        self.send(end, leg, id, &fields, Some(body), '$');
        let all = &mut self.ends[end].1.to_switch;
        assert!(all.len() - before > 40 + body.len() / 2);
        all.split_off(all.len() - 20 - body.len() / 2)
    }

    fn send_whole(&mut self, end: usize, leg: u64, id: &str, body: &[u8]) {
        self.send(end, leg, id, &format!("Message-ID: m-{id}\r\n"), Some(body), '$');
        self.run();
    }

    fn answers(&self, end: usize, id: &str) -> &[u16] {
        self.ends[end].1.responses.get(id).map_or(&[], |codes| codes)
    }

    fn came(&self, end: usize, leg: u64, id: &str) -> Option<&(Vec<u8>, Option<Flag>)> {
        self.ends[end].1.messages.get(&(local(leg), format!("m-{id}")))
    }

    fn downs(&self) -> usize {
        self.events.iter().filter(|e| matches!(e, MediaEvent::LegDown { .. })).count()
    }

    fn later(&mut self, time: Duration) {
        self.pass(time);
        self.run();
    }
}

const A1: usize = 0;
const A2: usize = 1;
const F: usize = 2;
const B: usize = 5;

// Rows: MED-11
#[test]
fn a_half_sent_frame_does_not_keep_the_other_session_waiting() {
    let mut world = two_streams(7);
    let rest = world.send_half(A1, 10, "tid-half", &[b'h'; 600]);
    world.run();
    world.send_whole(A2, 20, "tid-next", b"waits");
    world.later(SECOND * 4);
    assert_eq!((world.answers(A1, "tid-half"), world.answers(A2, "tid-next")), (&[][..], &[][..]));
    world.later(SECOND * 2);
    assert_eq!((world.answers(A1, "tid-half"), world.answers(A2, "tid-next")), (&[408][..], &[200][..]));
    assert_eq!(world.came(F, 11, "tid-half").unwrap().1, Some(Flag::Abandoned));
    assert_eq!(world.came(F, 21, "tid-next").unwrap(), &(b"waits".to_vec(), Some(Flag::Last)));
    // The rest is read over, and what follows it is a frame as any other.
    world.ends[A1].1.to_switch.extend_from_slice(&rest);
    world.send_whole(A1, 10, "tid-more", b"again");
    assert_eq!((world.answers(A1, "tid-half"), world.answers(A1, "tid-more")), (&[408][..], &[200][..]));
    assert_eq!(world.came(F, 11, "tid-more").unwrap().0, b"again");
    assert_eq!(world.downs(), 0);
}

#[test]
fn octets_now_and_then_are_no_progress_while_others_wait() {
    let mut world = two_streams(8);
    let mut rest = world.send_half(A1, 10, "tid-slow", &[b's'; 600]);
    world.run();
    world.send_whole(A2, 20, "tid-next", b"waits");
    for _ in 0..6 {
        world.ends[A1].1.to_switch.push(rest.remove(0));
        world.run();
        world.later(SECOND);
    }
    assert_eq!((world.answers(A1, "tid-slow"), world.answers(A2, "tid-next")), (&[408][..], &[200][..]));
    world.ends[A1].1.to_switch.extend(rest);
    world.run();
    // At a useful pace a long frame is let through, however long it takes.
    let mut rest = world.send_half(A1, 10, "tid-long", &[b'l'; 200_000]);
    world.run();
    world.send(A2, 20, "tid-wait", "Message-ID: m-tid-wait\r\n", Some(b"waits"), '$');
    while !rest.is_empty() {
        let some = rest.drain(..rest.len().min(5000)).collect::<Vec<_>>();
        world.ends[A1].1.to_switch.extend_from_slice(&some);
        world.run();
        world.later(SECOND * 2);
    }
    assert_eq!((world.answers(A1, "tid-long"), world.answers(A2, "tid-wait")), (&[200][..], &[200][..]));
}

#[test]
fn alone_a_frame_may_rest_up_to_the_guard_time() {
    let mut world = two_streams(9);
    let rest = world.send_half(A1, 10, "tid-rest", &[b'r'; 600]);
    world.run();
    world.later(SECOND * 24);
    world.ends[A1].1.to_switch.extend_from_slice(&rest);
    world.run();
    assert_eq!(world.answers(A1, "tid-rest"), [200]);
    world.send_half(A1, 10, "tid-dead", &[b'd'; 600]);
    world.run();
    world.later(SECOND * 24);
    assert!(world.answers(A1, "tid-dead").is_empty());
    world.later(SECOND * 2);
    assert_eq!(world.answers(A1, "tid-dead"), [408]);
    assert_eq!(world.came(F, 11, "tid-dead").unwrap().1, Some(Flag::Abandoned));
}

// Rows: MED-11
#[test]
fn of_many_half_sent_frames_each_has_its_time_and_the_others_their_turns() {
    let mut world = World::new(3, test_limits());
    let mut ends = vec![];
    for stream in [10, 20, 30, 40] {
        world.open(stream, LegRole::Originator, Setup::Passive, "");
        world.open(stream + 1, LegRole::Far, Setup::Active, "10.0.0.9:9");
        ends.push(world.dial(&[stream]));
    }
    world.connect_all();
    world.run();
    for (n, end) in ends[..3].iter().enumerate() {
        world.send_half(*end, 10 * (n as u64 + 1), &format!("tid-h{n:03}"), &[b'h'; 600]);
        world.run();
    }
    world.send_whole(ends[3], 40, "tid-good", b"patient");
    for _ in 0..19 {
        world.later(SECOND);
    }
    for (n, end) in ends[..3].iter().enumerate() {
        assert_eq!(world.answers(*end, &format!("tid-h{n:03}")), [408]);
    }
    assert_eq!(world.answers(ends[3], "tid-good"), [200], "within the 30 s that its sender waits");
}

// Rows: MED-26
#[test]
fn copies_held_back_by_another_session_cost_no_leg() {
    let mut world = World::new(4, Limits { device_queue: 10_000, ..Limits::default() });
    for stream in [10, 20] {
        world.open(stream, LegRole::Originator, Setup::Passive, "");
        world.open(stream + 1, LegRole::Far, Setup::Active, &format!("10.0.0.{stream}:9"));
        world.open(stream + 2, LegRole::Device, Setup::Passive, "");
    }
    let (a1, a2) = (world.dial(&[10]), world.dial(&[20]));
    world.connect_all();
    let b = world.dial(&[12, 22]);
    world.run();
    world.send_half(a1, 10, "tid-half", &[b'h'; 600]);
    world.run();
    for n in 0..30 {
        world.send_whole(a2, 20, &format!("tid-{n:04}"), &[b'x'; 1000]);
        assert_eq!(world.answers(a2, &format!("tid-{n:04}")), [200]);
    }
    assert_eq!(world.downs(), 0);
    let missed = |world: &World| {
        let legs = world.switch.snapshot();
        legs.iter().find(|leg| leg.leg == LegKey(22)).unwrap().counters.missed
    };
    let lost = missed(&world);
    assert!((15..30).contains(&lost), "{lost}");
    world.pass(SECOND * 6);
    // What was held back comes at once; the device has not read it when the next message comes.
    world.send(a2, 20, "tid-next", "Message-ID: m-tid-next\r\n", Some(&[b'n'; 1000]), '$');
    world.give(a2, true);
    world.act();
    assert_eq!(world.downs(), 0);
    world.run();
    let came = world.ends[b].1.messages.iter().filter(|((from, _), _)| *from == local(22));
    let came: Vec<_> = came.map(|(_, (body, flag))| (body.len(), *flag)).collect();
    assert_eq!(came, vec![(1000, Some(Flag::Last)); 31 - lost as usize], "whole messages, or nothing");
    assert_eq!(missed(&world), lost);
    // A copy that was given up leaves no transaction behind.
    world.later(SECOND * 40);
    assert_eq!(world.downs(), 0);
}

#[test]
fn a_slow_far_end_of_one_session_does_not_hold_the_copies_of_another() {
    let mut world = two_streams(5);
    // A1's far end takes nothing: its frame stands still, at the shared device's connection too.
    let f2 = "10.0.0.7:9";
    world.connect_leg(21, Setup::Active, f2);
    world.connect_all();
    world.run();
    world.send(A1, 10, "tid-long", "Message-ID: m-tid-long\r\n", Some(&[b'l'; 60_000]), '$');
    let mut rest = std::mem::take(&mut world.ends[A1].1.to_switch);
    while world.switch.readable(world.ends[A1].0) {
        world.ends[A1].1.to_switch.extend(rest.drain(..2000));
        world.give(A1, true);
        world.write(world.ends[B].0, &[], true);
    }
    world.ends[A1].1.to_switch.extend(rest);
    assert!(!world.switch.readable(world.ends[A1].0));
    world.send(A2, 20, "tid-next", "Message-ID: m-tid-next\r\n", Some(b"copy"), '$');
    world.give(A2, true);
    let step = |world: &mut World| {
        world.pass(SECOND * 3);
        world.write(world.ends[B].0, &[], true);
        world.take_apart(B);
    };
    step(&mut world);
    assert_eq!(world.came(B, 22, "tid-next"), None);
    step(&mut world);
    assert_eq!(world.came(B, 22, "tid-next").unwrap().0, b"copy");
    assert_eq!(world.came(B, 12, "tid-long").unwrap().1, Some(Flag::Abandoned));
    // The far end itself gets all of it.
    world.run();
    assert_eq!(world.came(F, 11, "tid-long").unwrap().0.len(), 60_000);
    assert_eq!((world.answers(A1, "tid-long"), world.downs()), (&[200][..], 0));
}

#[test]
fn who_says_no_more_still_gets_its_answers() {
    let mut world = two_streams(11);
    world.ends[F].1.answers = false;
    world.send_whole(A1, 10, "tid-last", b"bye");
    world.send_half(A1, 10, "tid-half", &[b'h'; 600]);
    world.run();
    world.switch.ended(world.now, world.ends[A1].0);
    world.act();
    assert_eq!(world.downs(), 0);
    // The shared connection is free for the other session.
    world.send_whole(A2, 20, "tid-next", b"next");
    assert_eq!(world.came(F, 21, "tid-next").unwrap().0, b"next");
    let answer = format!(
        "MSRP tid-last 200 OK\r\nTo-Path: {}\r\nFrom-Path: {}\r\n-------tid-last$\r\n",
        local(11),
        far(11)
    );
    world.ends[F].1.to_switch.extend_from_slice(answer.as_bytes());
    world.give(F, true);
    assert_eq!(world.downs(), 1, "answered, and gone");
    // Nobody answers the other one: it is told so in time, and gone.
    world.switch.ended(world.now, world.ends[A2].0);
    world.pass(SECOND * 24);
    assert_eq!(world.downs(), 1);
    world.pass(SECOND * 2);
    assert_eq!(world.downs(), 2);
}
