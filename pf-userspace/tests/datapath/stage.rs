//! A relay's connections without a relay: real sockets that stay idle, and frames that no interface received.

use std::{net::TcpStream, os::fd::AsFd};

use pf::fastpath::{Datapath, DatapathCounts, DatapathSettings, LegPlan, Way};
use pf_common::{
    maps::{ControlRow, Count, Op, Slot, Total},
    splice::{Cause, KernelVerdict, PeerVerdict},
    whole::Content,
};

use super::{
    datapath_with,
    frames::{Frame, Seen},
    lab::Lab,
    message::{alike_in_block, alike_out_block, in_block, out_block, send, session},
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

/// An originator (0), a far end (1), a device (2): registered, learned, and armed.
pub(crate) struct Stage {
    pub(crate) datapath: Datapath,
    pub(crate) ours: Vec<TcpStream>,
    _peers: Vec<TcpStream>,
    pub(crate) connections: Vec<u32>,
}

impl Stage {
    pub(crate) fn new(lab: &Lab) -> Option<Stage> {
        Stage::with(lab, Paths { in_block, out_block, long: false })
    }

    fn with(lab: &Lab, paths: Paths) -> Option<Stage> {
        let settings = DatapathSettings { connections: 64, legs: 64, ..DatapathSettings::default() };
        let datapath = datapath_with(&settings)?;
        let (peers, ours): (Vec<_>, Vec<_>) = lab.connect(3).into_iter().unzip();
        lab.in_relay(move || {
            let mut stage = Stage { datapath, ours, _peers: peers, connections: Vec::new() };
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
                // A packet each way teaches how the peer is reached.
                let frame = Frame::of_kernel(&stage.ours[n], &stage.slot(n));
                stage.judge(Way::Out, &frame);
                let frame = Frame::from_peer(&stage.ours[n], &stage.slot(n));
                stage.judge(Way::In, &frame);
            }
            Some(stage)
        })
    }

    /// Everything armed.
    pub(crate) fn armed(lab: &Lab) -> Option<Stage> {
        Stage::new(lab)?.arm()
    }

    /// The same, with paths of one length.
    pub(crate) fn armed_for_long(lab: &Lab) -> Option<Stage> {
        Stage::with(lab, Paths { in_block: alike_in_block, out_block: alike_out_block, long: true })?.arm()
    }

    fn arm(self) -> Option<Stage> {
        let mut stage = self;
        for n in 0..3 {
            assert!(stage.arm_leg(n) && stage.arm_source(n));
        }
        Some(stage)
    }

    pub(crate) fn slot(&self, n: usize) -> Slot {
        self.datapath.slot(self.connections[n]).unwrap()
    }

    pub(crate) fn ask(&mut self, op: Op, n: usize, a: u32, b: u32) -> ControlRow {
        let mut rows = [ControlRow::new(op, self.connections[n], a, b)];
        self.datapath.batch(&mut rows).unwrap();
        rows[0]
    }

    pub(crate) fn arm_leg(&mut self, n: usize) -> bool {
        let written = self.slot(n).connection.transmit.kernel_next;
        let misses = self.slot(n).connection.leg.misses;
        self.ask(Op::ArmLeg, n, written, misses).armed()
    }

    pub(crate) fn arm_source(&mut self, n: usize) -> bool {
        let receive = self.slot(n).connection.receive;
        self.ask(Op::ArmSource, n, receive.next.wrapping_sub(receive.delta), 0).armed()
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
        (action, counted(&before, &after), seen)
    }
}

pub(crate) fn every_count() -> Vec<Count> {
    let mut all: Vec<Count> = PeerVerdict::ALL.iter().map(|v| Count::Peer(*v)).collect();
    all.extend(KernelVerdict::ALL.iter().map(|v| Count::Kernel(*v)));
    all.extend(Cause::ALL.iter().map(|v| Count::Cause(*v)));
    all.extend(Content::ALL.iter().map(|v| Count::Content(*v)));
    all.extend(Total::ALL.iter().map(|v| Count::Total(*v)));
    all
}

pub(crate) fn counted(before: &DatapathCounts, after: &DatapathCounts) -> Vec<Count> {
    every_count().into_iter().filter(|count| after.get(*count) > before.get(*count)).collect()
}

/// A good SEND of the originator.
pub(crate) fn hello() -> Vec<u8> {
    send(1, 50, &in_block(0))
}

pub(crate) fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}
