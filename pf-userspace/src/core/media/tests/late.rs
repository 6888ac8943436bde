//! Devices that come up when the session already runs.

use super::*;

/// A far end that is up, an originator, and devices 12 (connects itself) and 13 (we connect) that are only open.
/// Ends: A, F.
fn young(limits: Limits) -> World {
    let mut world = World::new(7, limits);
    world.open(10, LegRole::Originator, Setup::Passive, "");
    world.open(11, LegRole::Far, Setup::Active, "10.0.0.9:9");
    world.dial(&[10]);
    world.connect_all();
    for leg in [12, 13] {
        world.open_path(leg, LegRole::Device);
    }
    world.run();
    world
}

fn say(world: &mut World, end: usize, number: usize, body: &[u8]) {
    let leg = 10 + end as u64;
    let fields = format!("Message-ID: msg-{number:04}\r\nByte-Range: 1-{0}/{0}\r\n", body.len());
    world.send(end, leg, &format!("tid-{end}{number:03}"), &fields, Some(body), '$');
}

/// The device that we connect to comes up.
fn thirteen_is_up(world: &mut World) -> usize {
    world.connect_leg(13, Setup::Active, "10.0.0.8:9");
    world.connect_all()[0]
}

/// The device that connects to us comes up.
fn twelve_is_up(world: &mut World) -> usize {
    world.connect_leg(12, Setup::Passive, "");
    let end = world.dial(&[12]);
    world.give(end, true);
    end
}

fn order(world: &World, end: usize, leg: u64) -> Vec<String> {
    world.ends[end].1.order.get(&local(leg)).cloned().unwrap_or_default()
}

fn numbered(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|n| format!("msg-{n:04}")).collect()
}

fn missed(world: &World, leg: u64) -> u64 {
    world.switch.snapshot().iter().find(|s| s.leg.0 == leg).map_or(0, |s| s.counters.missed)
}

// Rows: MED-18
#[test]
fn two_devices_that_arrive_at_different_times_miss_nothing() {
    let mut world = young(Limits::default());
    for n in 0..4 {
        say(&mut world, 0, n, format!("number {n}").as_bytes());
    }
    world.run();
    assert!(world.kept() > 0);
    let c = thirteen_is_up(&mut world);
    for n in 4..8 {
        // From both sides.
        say(&mut world, n % 2, n, format!("number {n}").as_bytes());
        world.run();
    }
    let b = twelve_is_up(&mut world);
    assert_eq!(world.kept(), 0, "nobody waits any more");
    say(&mut world, 0, 8, b"number 8");
    world.run();
    for (end, leg) in [(b, 12), (c, 13)] {
        assert_eq!(order(&world, end, leg), numbered(0..9));
        for n in 0..9 {
            let key = (local(leg), format!("msg-{n:04}"));
            assert_eq!(
                world.ends[end].1.messages[&key],
                (format!("number {n}").into_bytes(), Some(Flag::Last))
            );
        }
        assert_eq!(missed(&world, leg), 0);
    }
    assert_eq!(world.kept(), 0);
}

#[test]
fn octets_that_come_one_by_one_are_kept_as_well() {
    let mut world = young(Limits::default());
    let body = b"\r\n-------tid-0000\r\n--\r\nalmost an end-line";
    say(&mut world, 0, 1, body);
    let wire = std::mem::take(&mut world.ends[0].1.to_switch);
    for octet in wire {
        world.ends[0].1.to_switch.push(octet);
        world.give(0, true);
    }
    let c = thirteen_is_up(&mut world);
    world.run();
    assert_eq!(world.ends[c].1.messages.values().collect::<Vec<_>>(), [&(body.to_vec(), Some(Flag::Last))]);
}

#[test]
fn a_frame_in_flight_is_joined_where_it_stands() {
    let mut world = young(Limits::default());
    let body: Vec<u8> = (0..9000_u32).map(|n| b'a' + (n % 26) as u8).collect();
    say(&mut world, 0, 0, b"before");
    say(&mut world, 0, 1, &body);
    say(&mut world, 0, 2, b"after");
    let mut rest = std::mem::take(&mut world.ends[0].1.to_switch);
    let mut ends = vec![];
    for at in [3000, 3000, 3000] {
        world.ends[0].1.to_switch.extend(rest.drain(..at));
        world.give(0, true);
        match ends.len() {
            0 => ends.push((thirteen_is_up(&mut world), 13)),
            1 => ends.push((twelve_is_up(&mut world), 12)),
            _ => {}
        }
    }
    assert_eq!(world.kept(), 0);
    world.ends[0].1.to_switch.extend(rest);
    world.run();
    for (end, leg) in ends {
        assert_eq!(order(&world, end, leg), numbered(0..3));
        assert_eq!(
            world.ends[end].1.messages[&(local(leg), "msg-0001".into())],
            (body.clone(), Some(Flag::Last))
        );
    }
}

#[test]
fn the_oldest_messages_go_whole_when_the_bound_is_passed() {
    let mut world = young(Limits { device_backlog: 4000, ..Limits::default() });
    let chunk = |world: &mut World, n: usize, fields: &str, flag| {
        let fields = format!("Message-ID: msg-0000\r\nByte-Range: {fields}\r\n");
        world.send(0, 10, &format!("tid-c{n:03}"), &fields, Some(&[b'x'; 1000]), flag);
    };
    // A message in chunks goes with all of them, also those that come later.
    chunk(&mut world, 0, "1-1000/*", '+');
    say(&mut world, 0, 1, &[b'1'; 1000]);
    say(&mut world, 0, 2, &[b'2'; 1000]);
    say(&mut world, 0, 3, &[b'3'; 1000]);
    world.run();
    assert!(world.kept() <= 4000);
    chunk(&mut world, 1, "1001-2000/*", '+');
    world.run();
    // More than is kept at all: the others need not go for that.
    say(&mut world, 0, 4, &[b'4'; 5000]);
    world.run();
    let c = thirteen_is_up(&mut world);
    chunk(&mut world, 2, "2001-3000/3000", '$');
    say(&mut world, 0, 5, b"five");
    world.run();
    assert_eq!(order(&world, c, 13), numbered([1, 2, 3, 5]));
    assert_eq!((missed(&world, 13), missed(&world, 12)), (2, 2));
    assert_eq!(order(&world, 1, 11), numbered(0..6), "the far end has all");
}

#[test]
fn no_more_frames_are_kept_than_the_bound_says() {
    let mut world = young(Limits { device_backlog_frames: 3, ..Limits::default() });
    for n in 0..5 {
        say(&mut world, 0, n, b"x");
    }
    world.run();
    let c = thirteen_is_up(&mut world);
    world.run();
    assert_eq!((order(&world, c, 13), missed(&world, 13)), (numbered(2..5), 2));
}

#[test]
fn nothing_is_kept_where_it_is_switched_off() {
    let mut world = young(Limits { device_backlog: 0, ..Limits::default() });
    say(&mut world, 0, 0, b"early");
    world.run();
    assert_eq!(world.kept(), 0);
    let c = thirteen_is_up(&mut world);
    say(&mut world, 0, 1, b"in time");
    world.run();
    assert_eq!((order(&world, c, 13), missed(&world, 13)), (numbered([1]), 1));
}

// Rows: MED-26
#[test]
fn what_was_kept_does_not_make_a_device_slow() {
    let mut world = young(Limits { device_queue: 3000, ..Limits::default() });
    for n in 0..10 {
        say(&mut world, 0, n, &[b'x'; 1000]);
    }
    world.run();
    let c = thirteen_is_up(&mut world);
    // Nothing of it is written yet, and more comes.
    say(&mut world, 0, 10, &[b'x'; 1000]);
    world.give(0, true);
    assert_eq!(world.switch.snapshot().len(), 4);
    // What comes beyond is too much, as always.
    for n in 11..15 {
        say(&mut world, 0, n, &[b'x'; 1000]);
    }
    world.give(0, true);
    let slow =
        |e: &MediaEvent| matches!(e, MediaEvent::LegDown { leg, reason: LegDown::Slow, .. } if leg.0 == 13);
    assert!(world.events.iter().any(slow), "{:?}", world.events);
    world.run();
    assert!(order(&world, c, 13).len() < 15);
    // For the other device it is still kept.
    let b = twelve_is_up(&mut world);
    world.run();
    assert_eq!(order(&world, b, 12), numbered(0..15));
}

#[test]
fn a_leg_that_ends_frees_what_is_kept() {
    let mut world = young(Limits::default());
    let body = vec![b'x'; 4000];
    say(&mut world, 0, 0, &body);
    say(&mut world, 0, 1, &body);
    world.ends[0].1.to_switch.truncate(5000);
    world.give(0, true);
    let kept = world.kept();
    assert!(kept > 4500);
    world.switch.command(world.now, MediaCommand::CloseLeg { leg: LegKey(12) });
    assert_eq!(world.kept(), kept, "the other device waits");
    // It is reached, and gone before it has read anything.
    let c = thirteen_is_up(&mut world);
    assert_eq!(world.kept(), 0);
    world.switch.closed(world.now, world.ends[c].0);
    world.act();
    say(&mut world, 1, 2, b"on it goes");
    world.run();
    assert_eq!(order(&world, 0, 10), numbered([2]));
    assert_eq!(world.kept(), 0);
}

#[test]
fn a_late_device_gets_only_what_it_accepts() {
    let mut world = young(Limits::default());
    say(&mut world, 0, 0, b"text");
    let first = "Message-ID: msg-0001\r\nByte-Range: 1-400/800\r\n";
    world.send(0, 10, "tid-c001", first, Some(&[b'x'; 400]), '+');
    world.run();
    let small = RemoteLeg { max_size: Some(500), ..remote(&far(13), Setup::Active, "10.0.0.8:9") };
    world.switch.command(world.now, MediaCommand::ConnectLeg { leg: LegKey(13), remote: small });
    world.act();
    let c = world.connect_all()[0];
    let last = "Message-ID: msg-0001\r\nByte-Range: 401-800/800\r\n";
    world.send(0, 10, "tid-c002", last, Some(&[b'x'; 400]), '$');
    world.run();
    assert_eq!(order(&world, c, 13), numbered([0]));
    let snapshot = world.switch.snapshot();
    assert_eq!(snapshot.iter().find(|s| s.leg.0 == 13).map(|s| s.counters.unacceptable), Some(1));
}

#[test]
fn a_source_that_dies_in_a_frame_leaves_whole_frames() {
    let mut world = young(Limits::default());
    say(&mut world, 0, 0, b"whole");
    say(&mut world, 0, 1, &[b'x'; 4000]);
    world.ends[0].1.to_switch.truncate(3000);
    world.give(0, true);
    world.switch.closed(world.now, world.ends[0].0);
    world.act();
    let c = thirteen_is_up(&mut world);
    say(&mut world, 1, 2, b"nobody hears this");
    world.run();
    let end = &world.ends[c].1;
    assert_eq!(end.messages[&(local(13), "msg-0000".into())].0, b"whole");
    assert_eq!(end.messages[&(local(13), "msg-0001".into())].1, Some(Flag::Abandoned));
    assert!(end.from_switch.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// However little is kept: a device gets whole messages in order, and knows how many it has not got.
    #[test]
    fn every_message_is_got_whole_or_counted(seed: u64) {
        let mut world = two_streams_late(seed, Limits { device_backlog: 20_000, ..test_limits() });
        let mut sent: BTreeMap<u64, Vec<(String, Vec<u8>)>> = BTreeMap::new();
        let mut used = 0;
        for n in 0..24 {
            let (end, leg) = [(0, 10), (1, 20), (2, 11), (2, 21)][world.draw(4)];
            let message = format!("msg-{leg}-{n:04}");
            let (chunks, says_total) = (1 + world.draw(3), world.draw(2) == 0);
            let mut bodies: Vec<Vec<u8>> = (0..chunks).map(|_| random_body(&mut world)).collect();
            // After an empty chunk the next one would begin the message once more.
            bodies.iter_mut().filter(|body| body.is_empty()).for_each(|body| body.push(b'.'));
            let whole = bodies.concat();
            let total = if says_total { whole.len().to_string() } else { "*".to_owned() };
            let mut start = 1;
            for (chunk, body) in bodies.iter().enumerate() {
                used += 1;
                let fields = format!("Message-ID: {message}\r\nByte-Range: {start}-*/{total}\r\n");
                let flag = if chunk + 1 == chunks { '$' } else { '+' };
                world.send(end, leg, &format!("tid-{used:04}"), &fields, Some(body), flag);
                start += body.len();
                let n = world.draw(6);
                world.give(n, false);
            }
            sent.entry(leg).or_default().push((message, whole));
            world.maybe_late();
        }
        if world.draw(2) == 0 {
            world.run();
        }
        world.all_late();
        world.run();
        for (leg, end) in [(13, 3), (23, 4), (12, 5), (22, 5)] {
            let others: Vec<_> = sent.iter().filter(|(from, _)| **from / 10 == leg / 10).collect();
            let got = world.ends[end].1.messages.iter().filter(|((path, _), _)| *path == local(leg));
            let mut count = 0;
            for ((_, id), (body, flag)) in got {
                let expected = others.iter().flat_map(|(_, messages)| *messages).find(|(m, _)| m == id);
                prop_assert_eq!(*flag, Some(Flag::Last), "leg {} message {} is whole", leg, id);
                prop_assert!(expected.is_some_and(|(_, expected)| expected == body), "leg {}: {}", leg, id);
                count += 1;
            }
            let all: usize = others.iter().map(|(_, messages)| messages.len()).sum();
            prop_assert_eq!(count + missed(&world, leg), all as u64, "leg {}", leg);
            for (from, _) in others {
                let prefix = format!("msg-{from}-");
                let order: Vec<_> = order(&world, end, leg).into_iter().filter(|m| m.starts_with(&prefix)).collect();
                prop_assert!(order.is_sorted(), "leg {}: {:?}", leg, order);
            }
        }
        prop_assert_eq!(world.kept(), 0);
    }
}
