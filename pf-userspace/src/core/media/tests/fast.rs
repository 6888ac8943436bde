//! Streams whose messages a program carries now and then: nobody can tell.

use pf_common::msrp::FailureReport;

use super::{super::fast::Why, *};

/// One stream with all legs up. Ends: A (10), F (11), C (13, we connect), B (12).
fn quartet(seed: u64, limits: Limits) -> World {
    let mut world = World::new(seed, limits);
    world.switch.keep_books();
    for (leg, role, setup, to) in [
        (10, LegRole::Originator, Setup::Passive, ""),
        (11, LegRole::Far, Setup::Active, "10.0.0.9:9"),
        (12, LegRole::Device, Setup::Passive, ""),
        (13, LegRole::Device, Setup::Active, "10.0.0.8:9"),
    ] {
        world.open(leg, role, setup, to);
    }
    world.dial(&[10]);
    world.connect_all();
    world.dial(&[12]);
    world.run();
    for (_, end) in &mut world.ends {
        end.responses.clear();
    }
    world
}

fn plan(world: &World) -> Result<Plan, Why> {
    let stream = world.switch.legs.iter().next().map(|(_, leg)| leg.stream).unwrap();
    world.switch.plan(stream)
}

/// Does what the kernel programs do with the first frame that an end has sent; true if they carried it. Every leg
/// misses it whose connection has something to write, and some others.
fn program(world: &mut World, n: usize, misses: bool) -> bool {
    let (id, end) = (world.ends[n].0, &world.ends[n].1);
    let Ok(plan) = plan(world) else { return false };
    let Some(leg) = plan.legs.iter().find(|leg| leg.conn == id) else { return false };
    if end.seen > 0 || end.asleep || world.switch.passable(id).is_err() {
        return false;
    }
    let Parsed::Head(head) = Head::parse(&end.to_switch) else { return false };
    if end.to_switch[head.start_line..head.fields] != leg.in_block[..] {
        return false;
    }
    let (length, places) = match (head.start, head.ending) {
        (Start::Response { code: 200, .. }, Ending::EndLine { end, .. }) => {
            (end, leg.answer_to.iter().copied().collect())
        }
        (Start::Request(Method::Send), Ending::Body) if head.failure_report == FailureReport::Yes => {
            let found = find_end(&end.to_switch[head.len..], head.transaction.as_bytes(), true);
            let Search::End { body, flag: Flag::Last, end, .. } = found else { return false };
            let whole = head
                .byte_range
                .is_some_and(|r| r.start == 1 && r.end == Some(body as u64) && r.total == Some(body as u64));
            if !whole || leg.targets.is_empty() || body > 1000 {
                return false;
            }
            (head.len + end, leg.targets.clone())
        }
        _ => return false,
    };
    let (start_line, fields) = (head.start_line, head.fields);
    let octets = end.to_switch[..length].to_vec();
    let mut missed = 0;
    for (bit, place) in places.iter().enumerate() {
        let target = &plan.legs[*place];
        if !world.switch.is_drained(target.conn) || misses && world.draw(4) == 0 {
            missed |= 1 << bit;
            continue;
        }
        let copy = [&octets[..start_line], &target.out_block, &octets[fields..]].concat();
        let to = world.ends.iter_mut().find(|end| end.0 == target.conn).unwrap();
        to.1.from_switch.extend_from_slice(&copy);
    }
    let targets: Vec<LegId> = places.iter().map(|place| plan.legs[*place].leg).collect();
    let carried = Carried {
        conn: id,
        leg: leg.leg,
        octets: &octets,
        targets: &targets,
        missed,
        block: leg.in_block.len(),
    };
    world.switch.carried(world.now, &carried);
    world.ends[n].1.to_switch.drain(..length);
    world.act();
    true
}

fn say(world: &mut World, end: usize, leg: u64, number: usize, body: &[u8]) {
    let fields = format!("Message-ID: msg-{number:04}\r\nByte-Range: 1-{0}/{0}\r\n", body.len());
    world.send(end, leg, &format!("tid-{number:04}"), &fields, Some(body), '$');
}

/// What the ends have written and answered, taken apart; what they say in answer is carried where it can be.
fn settle(world: &mut World) {
    for _ in 0..8 {
        for n in 0..world.ends.len() {
            world.take_apart(n);
            while program(world, n, false) {}
        }
    }
}

#[test]
fn a_chat_passes_userspace_by() {
    let mut world = quartet(1, Limits::default());
    assert!(world.switch.has_changed() && world.switch.take_changed().len() == 1);
    let plan = plan(&world).unwrap();
    assert_eq!(
        plan.legs.iter().map(|leg| leg.targets.clone()).collect::<Vec<_>>(),
        [vec![1, 2, 3], vec![0, 2, 3], vec![], vec![]]
    );
    assert_eq!(plan.legs.iter().map(|leg| leg.answer_to).collect::<Vec<_>>(), [Some(1), Some(0), None, None]);
    for n in 0..10 {
        let (end, leg) = [(0, 10), (1, 11)][n % 2];
        say(&mut world, end, leg, n, b"hello");
        assert!(program(&mut world, end, false));
        settle(&mut world);
    }
    assert_eq!(world.switch.shares(), (10, vec![]));
    for (end, messages) in [(0, 5), (1, 5), (2, 10), (3, 10)] {
        assert_eq!(world.ends[end].1.messages.len(), messages);
    }
    assert_eq!((world.ends[0].1.responses.len(), world.ends[1].1.responses.len()), (5, 5));
    let legs = world.switch.snapshot();
    let counters = |leg: u64| legs.iter().find(|l| l.leg.0 == leg).unwrap().counters;
    assert_eq!((counters(10).sends_in, counters(10).sends_out, counters(10).ok), (5, 5, 5));
    assert_eq!((counters(12).sends_in, counters(12).sends_out), (0, 10));
    assert!(!world.switch.has_changed(), "nothing about the plan has changed");
    // Nothing is left open.
    assert!(world.switch.conns.iter().all(|(_, conn)| conn.live.len() == 0));
}

#[test]
fn answers_of_the_primary_are_awaited_as_ever() {
    let mut world = quartet(2, Limits::default());
    world.ends[1].1.answers = false;
    say(&mut world, 0, 10, 1, b"is anybody there?");
    assert!(program(&mut world, 0, false));
    settle(&mut world);
    world.pass(SECOND * 25);
    world.run();
    assert_eq!(world.ends[0].1.responses.get("tid-0001"), Some(&vec![408]));
    // And if it goes meanwhile.
    say(&mut world, 0, 10, 2, b"and now?");
    assert!(program(&mut world, 0, false));
    world.switch.closed(world.now, world.ends[1].0);
    world.act();
    world.run();
    assert_eq!(world.ends[0].1.responses.get("tid-0002"), Some(&vec![481]));
    assert_eq!(plan(&world), Err(Why::LegsMissing));
}

#[test]
fn a_device_that_never_answers_copies_of_the_kernel_is_silent() {
    let mut world = quartet(9, Limits::default());
    world.ends[2].1.answers = false;
    let b = world.ends[3].0;
    say(&mut world, 0, 10, 1, b"hello");
    assert!(program(&mut world, 0, false));
    settle(&mut world);
    // The programs have counted what the other device answered.
    assert_eq!(world.switch.asked().len(), 2);
    world.switch.absorbed(world.now, b, 1, 100);
    assert_eq!(world.switch.asked(), [world.ends[2].0]);
    world.pass(SECOND * 29);
    assert_eq!(world.switch.snapshot().len(), 4);
    world.pass(SECOND);
    let silent =
        |e: &MediaEvent| matches!(e, MediaEvent::LegDown { leg, reason: LegDown::Silent, .. } if leg.0 == 13);
    assert!(world.events.iter().any(silent), "{:?}", world.events);
    assert_eq!(world.switch.snapshot().len(), 3);
}

#[test]
fn answers_that_would_go_astray_keep_a_connection_in_userspace() {
    let mut world = quartet(3, Limits::default());
    let (a, f, b) = (world.ends[0].0, world.ends[1].0, world.ends[3].0);
    world.ends.iter_mut().for_each(|(_, end)| end.answers = false);
    // A device speaks: the far end's answer is for it, everybody else's for nobody.
    say(&mut world, 3, 12, 1, b"from a device");
    assert!(!program(&mut world, 3, false));
    world.give(3, true);
    for conn in [a, f] {
        assert_eq!(world.switch.passable(conn), Err(Why::Answers));
    }
    assert_eq!(world.switch.passable(b), Ok(()));
    for n in 0..4 {
        world.write(world.ends[n].0, &[], true);
        world.ends[n].1.answers = true;
    }
    // What the originator sends meanwhile is carried by userspace, and its answer goes to it.
    say(&mut world, 0, 10, 2, b"from the originator");
    world.run();
    assert_eq!(world.ends[3].1.responses.get("tid-0001"), Some(&vec![200]));
    assert_eq!(world.ends[0].1.responses.get("tid-0002"), Some(&vec![200]));
    for conn in [a, f, b] {
        assert_eq!(world.switch.passable(conn), Ok(()));
    }
    assert_eq!(world.switch.shares().0, 0);
}

#[test]
fn streams_that_the_programs_cannot_serve_say_why() {
    let mut world = quartet(4, Limits::default());
    assert!(plan(&world).is_ok());
    // A device is invited: it has to get everything from its invitation on.
    world.open_path(14, LegRole::Device);
    assert_eq!(plan(&world), Err(Why::LateDevices));
    world.connect_leg(14, Setup::Active, "10.0.0.8:9");
    assert_eq!(plan(&world), Err(Why::SharedConnection), "the place of leg 13");
    world.switch.command(world.now, MediaCommand::CloseLeg { leg: LegKey(14) });
    assert!(plan(&world).is_ok());
    // What a device accepts decides about copies.
    let mut only = remote(&far(13), Setup::Active, "10.0.0.8:9");
    only.accept_types = vec!["message/cpim".to_owned()];
    only.accept_wrapped_types = vec!["*".to_owned()];
    world.switch.command(world.now, MediaCommand::ConnectLeg { leg: LegKey(13), remote: only.clone() });
    assert_eq!(
        plan(&world).unwrap().legs.iter().map(|l| l.any_type).collect::<Vec<_>>(),
        [false, false, true, true]
    );
    only.accept_wrapped_types = vec!["text/plain".to_owned()];
    world.switch.command(world.now, MediaCommand::ConnectLeg { leg: LegKey(13), remote: only.clone() });
    assert_eq!(plan(&world), Err(Why::Types));
    // Where both ends take no more than the device, their peers may send no more.
    for leg in [10, 11] {
        assert_eq!(plan(&world), Err(Why::Types));
        let id = world.switch.leg_keys[&LegKey(leg)];
        let mut agreed = world.switch.legs.get(id).and_then(|leg| leg.remote.clone()).unwrap();
        agreed.accept_types = vec!["message/cpim".to_owned()];
        agreed.accept_wrapped_types = vec!["text/plain".to_owned()];
        world.switch.command(world.now, MediaCommand::ConnectLeg { leg: LegKey(leg), remote: agreed });
    }
    assert!(plan(&world).is_ok());
    only.accept_types = vec!["*".to_owned()];
    only.max_size = Some(1000);
    world.switch.command(world.now, MediaCommand::ConnectLeg { leg: LegKey(13), remote: only.clone() });
    assert_eq!(plan(&world), Err(Why::Types));
    only.max_size = None;
    only.path.push("msrp://10.0.0.7:9/behind;tcp".to_owned());
    world.switch.command(world.now, MediaCommand::ConnectLeg { leg: LegKey(13), remote: only });
    assert_eq!(plan(&world), Err(Why::Paths), "its responses go to the nearest, its requests the whole way");
}

#[test]
fn a_message_in_chunks_keeps_its_stream_in_userspace() {
    let mut world = quartet(5, Limits::default());
    let a = world.ends[0].0;
    let fields = "Message-ID: long\r\nByte-Range: 1-5/10\r\n";
    world.send(0, 10, "tid-0001", fields, Some(b"01234"), '+');
    world.give(0, true);
    assert_eq!(world.switch.passable(a), Err(Why::Chunked));
    world.send(0, 10, "tid-0002", "Message-ID: long\r\nByte-Range: 6-10/10\r\n", Some(b"56789"), '$');
    world.give(0, true);
    assert_eq!(world.switch.passable(a), Ok(()));
    world.send(0, 10, "tid-0003", "Message-ID: next\r\nByte-Range: 1-*/*\r\n", Some(b"xyz"), '$');
    let half = world.ends[0].1.to_switch.len() - 8;
    world.ends[0].1.to_switch.truncate(half);
    world.give(0, true);
    assert_eq!(world.switch.passable(a), Err(Why::HalfRead));
}

#[test]
fn a_peer_that_writes_its_path_in_its_own_way_is_learned() {
    let mut world = quartet(6, Limits::default());
    let _ = world.switch.take_changed();
    let own = format!("To-Path: {}\r\nFrom-Path: {}\r\n", local(10).replace("tcp", "TCP"), far(10));
    let frame = format!(
        "MSRP tid-0001 SEND\r\n{own}Message-ID: m1\r\nContent-Type: a/b\r\n\r\nx\r\n-------tid-0001$\r\n"
    );
    world.ends[0].1.to_switch.extend_from_slice(frame.as_bytes());
    world.run();
    assert_eq!(world.ends[0].1.responses.get("tid-0001"), Some(&vec![200]));
    assert_eq!(world.switch.take_changed().len(), 1);
    assert_eq!(plan(&world).unwrap().legs[0].in_block, own.as_bytes());
}

#[test]
fn a_slow_device_loses_its_leg_here_too() {
    let mut world = quartet(7, Limits { device_queue: 2000, ..Limits::default() });
    // It reads nothing: its connection has something to write from the first message on.
    for n in 0..8 {
        say(&mut world, 0, 10, n, &[b'x'; 400]);
        assert!(program(&mut world, 0, true) || plan(&world).is_err());
        for end in [0, 1, 3] {
            world.write(world.ends[end].0, &[], true);
            world.take_apart(end);
        }
        while program(&mut world, 1, false) {}
    }
    let slow =
        |e: &MediaEvent| matches!(e, MediaEvent::LegDown { leg, reason: LegDown::Slow, .. } if leg.0 == 13);
    assert!(world.events.iter().any(slow) || !world.switch.is_drained(world.ends[2].0), "{:?}", world.events);
    world.run();
    assert_eq!(world.ends[3].1.messages.len(), 8, "the other device has them all");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn nobody_can_tell_who_carried_a_message(seed: u64) {
        let mut world = quartet(seed, test_limits());
        let mut sent: BTreeMap<u64, Vec<(String, Vec<u8>)>> = BTreeMap::new();
        let mut wanted: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        let step = |world: &mut World, n: usize| match world.draw(4) {
            0 => _ = world.give(n, false),
            1 => {
                world.write(world.ends[n].0, &[], false);
                world.take_apart(n);
            }
            _ => _ = program(world, n, true),
        };
        for number in 0..40 {
            let (end, leg) = [(0, 10), (0, 10), (1, 11), (1, 11), (3, 12), (2, 13)][world.draw(6)];
            let (message, id) = (format!("msg-{leg}-{number:04}"), format!("tid-{number:04}"));
            let body = match world.draw(3) {
                0 => random_body(&mut world),
                _ => vec![b'x'; 1 + number],
            };
            let range = match world.draw(4) {
                0 => "*/*".to_owned(),
                _ => format!("{0}/{0}", body.len()),
            };
            world.send(end, leg, &id, &format!("Message-ID: {message}\r\nByte-Range: 1-{range}\r\n"), Some(&body), '$');
            wanted.entry(end).or_default().push(id);
            sent.entry(leg).or_default().push((message, body));
            for _ in 0..world.draw(12) {
                let n = world.draw(4);
                step(&mut world, n);
            }
        }
        for _ in 0..400 {
            let n = world.draw(4);
            step(&mut world, n);
        }
        world.run();
        prop_assert_eq!(world.events.len(), 4, "no leg went down: {:?}", world.events);
        for (leg, end) in [(10, 0), (11, 1), (13, 2), (12, 3)] {
            let end = &world.ends[end].1;
            let others = || sent.iter().filter(|(from, _)| **from != leg);
            let expected: BTreeMap<&String, &Vec<u8>> =
                others().flat_map(|(_, messages)| messages.iter().map(|(id, body)| (id, body))).collect();
            let got: BTreeMap<&String, &Vec<u8>> = end.messages.iter().map(|((_, id), (body, _))| (id, body)).collect();
            prop_assert!(got == expected, "messages of leg {}", leg);
            for (from, messages) in others() {
                let prefix = format!("msg-{from}-");
                let order: Vec<_> =
                    end.order.get(&local(leg)).into_iter().flatten().filter(|m| m.starts_with(&prefix)).collect();
                prop_assert_eq!(order, messages.iter().map(|(id, _)| id).collect::<Vec<_>>());
            }
        }
        for (n, (_, end)) in world.ends.iter().enumerate() {
            let wanted = wanted.remove(&n).unwrap_or_default();
            prop_assert_eq!(end.responses.keys().collect::<Vec<_>>(), wanted.iter().collect::<Vec<_>>(), "end {}", n);
            prop_assert!(end.responses.values().all(|codes| *codes == [200]), "one answer each");
        }
        prop_assert!(world.switch.conns.iter().all(|(_, conn)| conn.live.len() == 0));
    }
}
