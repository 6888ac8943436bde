//! A relay's connections without a relay: real sockets that stay idle, and frames that no interface received.

use std::{net::TcpStream, os::fd::AsFd};

use pf::fastpath::{Datapath, DatapathSettings, LegPlan, Way};
use pf_common::{
    maps::{ControlRow, Count, Op, Slot},
    splice::{Arm, Cause},
};

use super::{
    datapath_with,
    frames::{ACK, Frame, Seen},
    lab::Lab,
    message::{alike_in_block, alike_out_block, in_block, ok, out_block, send, session},
    shown::{Shown, counted},
};

/// The programs' answers.
pub(crate) const NEXT: i32 = -1;
pub(crate) const DROP: i32 = 2;
pub(crate) const REDIRECT: i32 = 7;

/// What the peers' path lines are.
struct Paths {
    in_block: fn(usize) -> Vec<u8>,
    out_block: fn(usize) -> Vec<u8>,
    /// They are all of one length.
    long: bool,
}

const PATHS: Paths = Paths { in_block, out_block, long: false };
const ALIKE: Paths = Paths { in_block: alike_in_block, out_block: alike_out_block, long: true };

/// An originator (0), a far end (1), a device (2): registered, learned, and armed.
pub(crate) struct Stage {
    pub(crate) datapath: Datapath,
    pub(crate) ours: Vec<TcpStream>,
    _peers: Vec<TcpStream>,
    pub(crate) connections: Vec<u32>,
    /// All that was ever shown on it.
    shown: Vec<Shown>,
}

impl Stage {
    /// Slow in all roles.
    pub(crate) fn new(lab: &Lab) -> Option<Stage> {
        Stage::with(lab, PATHS, DatapathSettings::default())
    }

    /// The same before anybody has sent anything.
    pub(crate) fn unlearned(lab: &Lab) -> Option<Stage> {
        Stage::build(lab, PATHS, DatapathSettings::default())
    }

    fn with(lab: &Lab, paths: Paths, settings: DatapathSettings) -> Option<Stage> {
        let mut stage = Stage::build(lab, paths, settings)?;
        lab.in_relay(move || {
            for n in 0..3 {
                // A packet each way teaches how the peer is reached.
                let frame = stage.kernel(n);
                stage.judge(Way::Out, &frame);
                let frame = stage.peer(n);
                stage.judge(Way::In, &frame);
            }
            stage.shown.clear();
            Some(stage)
        })
    }

    fn build(lab: &Lab, paths: Paths, settings: DatapathSettings) -> Option<Stage> {
        let datapath = datapath_with(&DatapathSettings { connections: 64, legs: 64, ..settings })?;
        let (peers, ours): (Vec<_>, Vec<_>) = lab.connect(3).into_iter().unzip();
        lab.in_relay(move || {
            let (connections, shown) = (Vec::new(), Vec::new());
            let mut stage = Stage { datapath, ours, _peers: peers, connections, shown };
            for ours in &stage.ours {
                let registered = stage.datapath.register(ours.as_fd()).unwrap();
                stage.connections.push(registered.connection);
            }
            let legs: Vec<u32> = (0..3).map(|_| stage.datapath.new_leg().unwrap()).collect();
            for n in 0..3 {
                let plan = LegPlan {
                    connection: stage.connections[n],
                    session: session(n).into_bytes(),
                    in_block: (paths.in_block)(n),
                    out_block: (paths.out_block)(n),
                    any_type: false,
                    long: paths.long,
                    answer_to: (n < 2).then(|| legs[1 - n]),
                    targets: if n == 0 { vec![legs[1], legs[2]] } else { Vec::new() },
                };
                stage.datapath.set_leg(legs[n], &plan).unwrap();
            }
            Some(stage)
        })
    }

    /// Everything armed.
    pub(crate) fn armed(lab: &Lab) -> Option<Stage> {
        Stage::new(lab)?.arm()
    }

    /// The same, with a log of one page.
    pub(crate) fn with_a_tiny_log(lab: &Lab) -> Option<Stage> {
        let settings = DatapathSettings { ring_octets: 4096, ..DatapathSettings::default() };
        Stage::with(lab, PATHS, settings)?.arm()
    }

    /// The same, with paths of one length.
    pub(crate) fn armed_for_long(lab: &Lab) -> Option<Stage> {
        Stage::with(lab, ALIKE, DatapathSettings::default())?.arm()
    }

    /// Everything armed, and a message and its answers behind it: on each connection the positions of the kernel socket
    /// differ from those on the wire, both ways.
    pub(crate) fn moved(lab: &Lab) -> Option<Stage> {
        let mut stage = Stage::armed(lab)?;
        lab.in_relay(|| {
            for (n, payload) in [(0, hello()), (1, ok(1, &in_block(1))), (2, ok(1, &in_block(2)))] {
                let frame = stage.peer(n).payload(&payload);
                stage.judge(Way::In, &frame);
            }
            for n in 0..3 {
                let frame = stage.peer(n).flags(ACK);
                stage.judge(Way::In, &frame);
                let frame = stage.kernel(n).flags(ACK);
                stage.judge(Way::Out, &frame);
                let slot = stage.slot(n);
                assert!(slot.connection.receive.delta != 0 && slot.connection.transmit.above != 0);
            }
        });
        stage.shown.clear();
        Some(stage)
    }

    fn arm(self) -> Option<Stage> {
        let mut stage = self;
        for n in 0..3 {
            assert!(stage.arm_leg(n) && stage.arm_source(n));
        }
        stage.shown.clear();
        Some(stage)
    }

    /// The state of all three, to go back to.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        (0..3).map(|n| self.slot(n)).collect()
    }

    /// Everything as it was, with an empty log.
    pub(crate) fn restore(&mut self, slots: &[Slot]) {
        for (connection, slot) in self.connections.iter().zip(slots) {
            self.datapath.put_slot(*connection, slot).unwrap();
        }
        self.datapath.read_log(&mut |_, _| {});
        self.shown.clear();
    }

    /// Changes a connection's state behind the programs' back.
    pub(crate) fn change(&mut self, n: usize, change: impl FnOnce(&mut Slot)) {
        let mut slot = self.slot(n);
        change(&mut slot);
        self.datapath.put_slot(self.connections[n], &slot).unwrap();
    }

    pub(crate) fn slot(&self, n: usize) -> Slot {
        self.datapath.slot(self.connections[n]).unwrap()
    }

    pub(crate) fn ask(&mut self, op: Op, n: usize, a: u32, b: u32) -> ControlRow {
        self.ask_of(self.connections[n], op, a, b)
    }

    /// The same of any number.
    pub(crate) fn ask_of(&mut self, connection: u32, op: Op, a: u32, b: u32) -> ControlRow {
        let mut rows = [ControlRow::new(op, connection, a, b)];
        let before = self.datapath.counts().unwrap();
        self.datapath.batch(&mut rows).unwrap();
        let after = self.datapath.counts().unwrap();
        if matches!(op, Op::ArmLeg | Op::ArmSource) {
            self.shown.push(Shown::Answer(rows[0].answer));
        }
        self.note(&counted(&before, &after));
        rows[0]
    }

    /// The answer to the wish for a fast leg, of somebody who has written everything.
    pub(crate) fn wish_leg(&mut self, n: usize) -> u32 {
        let written = self.slot(n).connection.transmit.kernel_next;
        let misses = self.slot(n).connection.leg.misses;
        self.ask(Op::ArmLeg, n, written, misses).answer
    }

    /// The answer to the wish for a fast source, of somebody who has read everything.
    pub(crate) fn wish_source(&mut self, n: usize) -> u32 {
        let receive = self.slot(n).connection.receive;
        self.ask(Op::ArmSource, n, receive.next.wrapping_sub(receive.delta), 0).answer
    }

    pub(crate) fn arm_leg(&mut self, n: usize) -> bool {
        self.wish_leg(n) == Arm::Armed as u32
    }

    pub(crate) fn arm_source(&mut self, n: usize) -> bool {
        self.wish_source(n) == Arm::Armed as u32
    }

    pub(crate) fn peer(&self, n: usize) -> Frame {
        Frame::from_peer(&self.ours[n], &self.slot(n))
    }

    pub(crate) fn kernel(&self, n: usize) -> Frame {
        Frame::of_kernel(&self.ours[n], &self.slot(n))
    }

    /// What the program answers, what it counted, and the frame if it goes on.
    pub(crate) fn judge(&mut self, way: Way, frame: &Frame) -> (i32, Vec<Count>, Option<Seen>) {
        let before = self.datapath.counts().unwrap();
        let (action, octets) = self.datapath.judge(way, &frame.octets(), frame.segment).unwrap();
        let after = self.datapath.counts().unwrap();
        let seen = (action != DROP && !frame.spoilt).then(|| Seen::read(&octets));
        let counted = counted(&before, &after);
        self.note(&counted);
        (action, counted, seen)
    }

    /// What was counted just now, and why the three are not fast, as their states tell.
    fn note(&mut self, counted: &[Count]) {
        let mut shown: Vec<Shown> = counted.iter().map(|count| Shown::Count(*count)).collect();
        for n in 0..3 {
            let connection = self.slot(n).connection;
            shown.extend([connection.leg.cause, connection.source.cause].map(Shown::State));
        }
        shown.retain(|shown| *shown != Shown::State(Cause::Clear));
        self.shown.extend(shown);
    }

    /// Insists that all of this was shown.
    pub(crate) fn demand(&self, what: &str, wanted: &[Shown]) {
        for wanted in wanted {
            assert!(self.shown.contains(wanted), "{what}: no {wanted:?} in {:?}", self.shown);
        }
    }
}

/// Several frames on a stage.
pub(crate) struct Scene {
    pub(crate) what: &'static str,
    pub(crate) stage: fn(&Lab) -> Option<Stage>,
    pub(crate) play: fn(&Lab, &mut Stage),
    /// What must be seen on the stage when it is over.
    pub(crate) shows: &'static [Shown],
}

pub(crate) fn play(hosts: fn(usize) -> String, scenes: &[Scene]) {
    let Some(lab) = Lab::new(hosts) else { return };
    for scene in scenes {
        let Some(mut stage) = (scene.stage)(&lab) else { return };
        // Named by the output of a test that fails.
        eprintln!("{}", scene.what);
        (scene.play)(&lab, &mut stage);
        stage.demand(scene.what, scene.shows);
    }
}

/// A good SEND of the originator.
pub(crate) fn hello() -> Vec<u8> {
    send(1, 50, &in_block(0))
}

pub(crate) fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}
