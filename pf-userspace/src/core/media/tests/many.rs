//! Streams with as many legs as the programs carry, and with one more.

use super::{super::fast::Why, *};

/// An originator, a far end, and so many devices from leg 12 on, all up.
fn stream_with(devices: u64) -> World {
    let mut world = World::new(1, Limits::default());
    world.switch.keep_books();
    world.open(10, LegRole::Originator, Setup::Passive, "");
    world.open(11, LegRole::Far, Setup::Active, "10.0.0.9:9");
    world.dial(&[10]);
    world.connect_all();
    for leg in 12..12 + devices {
        joins(&mut world, leg);
    }
    world
}

/// One more device.
fn joins(world: &mut World, leg: u64) {
    let (key, stream) = (LegKey(leg), StreamKey(1));
    let open = MediaCommand::OpenLeg { leg: key, stream, role: LegRole::Device, local: local(leg) };
    world.switch.command(world.now, open);
    world.act();
    world.connect_leg(leg, Setup::Passive, "");
    world.dial(&[leg]);
    world.run();
}

fn plan(world: &World) -> Result<Plan, Why> {
    let stream = world.switch.legs.iter().next().map(|(_, leg)| leg.stream).unwrap();
    world.switch.plan(stream)
}

#[test]
fn fourteen_devices_fit_and_fifteen_do_not() {
    let mut world = stream_with(14);
    let legs = plan(&world).unwrap().legs;
    assert_eq!(legs.len(), 16);
    assert_eq!(legs[0].targets, (1..16).collect::<Vec<_>>());
    assert_eq!(legs[1].targets, [0].into_iter().chain(2..16).collect::<Vec<_>>());
    assert!(legs[2..].iter().all(|leg| leg.targets.is_empty()));

    joins(&mut world, 26);
    assert_eq!(plan(&world), Err(Why::ManyLegs));
    // Userspace carries it.
    world.send(0, 10, "tid-0001", "Message-ID: m1\r\nByte-Range: 1-5/5\r\n", Some(b"hello"), '$');
    world.run();
    assert_eq!(world.ends[0].1.responses.get("tid-0001"), Some(&vec![200]));
    assert!(world.ends[1..].iter().all(|(_, end)| end.messages.len() == 1));

    world.switch.command(world.now, MediaCommand::CloseLeg { leg: LegKey(20) });
    assert_eq!(plan(&world).unwrap().legs.len(), 16);
}

#[test]
fn the_operator_may_allow_fewer() {
    let mut world = stream_with(3);
    assert!(plan(&world).is_ok());
    for (copies, fits) in [(3, false), (4, true), (1, false), (0, false)] {
        world.switch.set_fan_out(copies);
        assert_eq!(plan(&world).err(), (!fits).then_some(Why::ManyLegs), "{copies} copies");
    }
    // More than the programs know is no more.
    world.switch.set_fan_out(100);
    for leg in 15..27 {
        assert!(plan(&world).is_ok(), "up to leg {leg}");
        joins(&mut world, leg);
    }
    assert_eq!(plan(&world), Err(Why::ManyLegs));
}
