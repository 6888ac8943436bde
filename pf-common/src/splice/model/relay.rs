//! The relay in userspace: it can be interrupted between any two of its steps and keeps the promises U1..U3.

use super::std::collections::VecDeque;
use super::std::format;
use super::std::string::String;
use super::std::vec::Vec;
use super::stream::{Message, Parser};
use super::world::World;
use crate::splice::mutant::{Mutant, broken};
use crate::splice::relay::{LegDuty, ReleaseMark, SourceDuty, keeps_order, ready_for_slow};
use crate::splice::seq::before;
use crate::splice::{Arm, Cause, LegMode, Source};

/// What userspace keeps for one connection, in both roles.
struct Side {
    source: SourceDuty,
    parsed: u32,
    looked: Option<Source>,
    fresh: Option<Fresh>,
    parser: Parser,
    waiting: VecDeque<Message>,
    eof: bool,
    done: bool,
    leg: LegDuty,
    queue: VecDeque<u8>,
    shut: bool,
    release: Release,
    released: u32,
}

/// Octets just read, not yet looked at.
struct Fresh {
    octets: Vec<u8>,
    eof: bool,
    view: Option<Source>,
}

enum Release {
    Idle,
    Position(u32),
    Legs(Vec<ReleaseMark>),
    Waiting(u32, Vec<ReleaseMark>),
}

pub(super) struct Userspace {
    sides: Vec<Side>,
    pub(super) fault: Option<String>,
}

impl Userspace {
    pub(super) fn new(world: &World) -> Userspace {
        let sides = world
            .conns
            .iter()
            .map(|c| Side {
                source: SourceDuty::new(c.receive.next),
                parsed: c.receive.next,
                looked: None,
                fresh: None,
                parser: Parser::default(),
                waiting: VecDeque::new(),
                eof: false,
                done: false,
                leg: LegDuty::new(c.transmit.kernel_next),
                queue: VecDeque::new(),
                shut: false,
                release: Release::Idle,
                released: c.receive.next,
            })
            .collect();
        Userspace { sides, fault: None }
    }

    /// Everything read is queued, everything queued is written, every stream is closed.
    pub(super) fn finished(&self) -> bool {
        self.sides.iter().all(|side| side.done && side.shut && side.queue.is_empty())
    }

    pub(super) fn describe(&self, at: usize) -> String {
        let side = &self.sides[at];
        format!(
            "parsed {} held {} eof {} done {} queue {} shut {} {:?}",
            side.parsed,
            side.parser.is_empty(),
            side.eof,
            side.done,
            side.queue.len(),
            side.shut,
            side.leg
        )
    }

    /// One step of one task on one connection.
    pub(super) fn step(&mut self, world: &mut World) {
        let at = world.rng.below(self.sides.len() as u64) as usize;
        if world.kernels[at].reset {
            // A leg fails alone: it leaves the lists, nobody waits for it, the others notice nothing.
            world.removed[at] = true;
            self.sides[at].queue.clear();
            (self.sides[at].done, self.sides[at].shut) = (true, true);
            return;
        }
        match world.rng.below(if world.set.eager { 12 } else { 8 }) {
            0..=2 => self.pump(world, at),
            3 | 4 => self.serve(world, at),
            5 => self.release(world, at),
            6 => self.tick(world, at),
            _ => self.arm(world, at),
        }
    }

    fn tick(&mut self, world: &mut World, at: usize) {
        let now = world.millis();
        let tick = world.conns[at].tick(now);
        if tick.left {
            world.stats.cause[Cause::Stalled.index()] += 1;
        }
        if tick.answer {
            world.bare_ack(at);
        }
        if world.noise(world.set.meddle) {
            world.conns[at].leave_source(Cause::Requested);
            world.stats.cause[Cause::Requested.index()] += 1;
        }
    }

    // U1: read, look, queue what is owed, queue what was read.
    fn pump(&mut self, world: &mut World, at: usize) {
        let Some(mut fresh) = self.sides[at].fresh.take() else {
            let full = world.legs[at].iter().any(|leg| self.sides[*leg].queue.len() > 16_384);
            if full {
                return;
            }
            let view = self.sides[at].looked.take();
            if broken(Mutant::NoSecondLook) && view.is_none() {
                self.sides[at].looked = Some(world.conns[at].source);
                return;
            }
            let octets = world.kernels[at].read(4_096);
            world.flush_kernel(at);
            let eof = world.kernels[at].at_eof();
            self.sides[at].parsed = self.sides[at].parsed.wrapping_add(octets.len() as u32);
            self.sides[at].fresh = Some(Fresh { octets, eof, view });
            return;
        };
        let view = match fresh.view {
            Some(old) => old,
            None => world.conns[at].source,
        };
        self.queue_owed(world, at, &view);
        let side = &mut self.sides[at];
        side.parser.push(&fresh.octets);
        fresh.octets.clear();
        let stale = fresh.view.take().is_some();
        let ready = if stale { view.in_work == 0 } else { ready_for_slow(&view) };
        if !ready && !broken(Mutant::QueueWhileInWork) {
            side.eof = fresh.eof;
            if side.parser.is_empty() {
                return;
            }
            side.fresh = Some(fresh);
            return;
        }
        while let Some((message, _)) = match side.parser.next() {
            Ok(next) => next,
            Err(fault) => {
                self.fault = Some(format!("userspace reads from {at}: {fault}"));
                None
            }
        } {
            side.waiting.push_back(message);
        }
        side.eof = fresh.eof;
        let waiting = super::std::mem::take(&mut side.waiting);
        side.done = fresh.eof && side.parser.is_empty();
        for message in waiting {
            if world.legs[at].is_empty()
                && let Err(fault) = world.absorbed[at].message(&message, &world.sent)
            {
                self.fault = Some(format!("absorbed by userspace: {fault}"));
            }
            world.trace(|| format!("[{at}] user queues #{}", message.number));
            for leg in world.legs[at].iter().filter(|leg| !world.removed[**leg]) {
                self.sides[*leg].queue.extend(message.write(world.paths[*leg]));
            }
        }
    }

    fn queue_owed(&mut self, world: &mut World, at: usize, view: &Source) {
        for (number, leg) in world.legs[at].iter().enumerate() {
            if world.removed[*leg] {
                continue;
            }
            let Some(row) = self.sides[at].source.owed(view, number) else { continue };
            if before(row.from, self.sides[at].released) {
                self.fault = Some(format!("messages of {at} were released before {leg} was given them"));
            }
            let mut next = row.from;
            for (position, message, taken) in &world.log[at] {
                if row.holds(*position) {
                    // The row may begin before consumed octets, but inside it only kernel octets lie between.
                    next = position.wrapping_add(*taken);
                    self.sides[*leg].queue.extend(message.write(world.paths[*leg]));
                    world.trace(|| format!("[{at}] user queues missed #{} for {leg}", message.number));
                    self.sides[*leg].leg.queued_miss();
                    world.stats.repaired += 1;
                }
            }
            if next != row.to {
                self.fault = Some(format!("the log of {at} lacks a message that leg {leg} missed"));
            }
        }
        self.sides[at].source.settle(view);
    }

    // U2: take the stream, repeat what was rolled back, write the queue.
    fn serve(&mut self, world: &mut World, at: usize) {
        let leaving = world.conns[at].leg.mode == LegMode::Leaving;
        let sources_done = (0..self.sides.len()).all(|source| {
            !world.legs[source].contains(&at)
                || (self.sides[source].done && ready_for_slow(&world.conns[source].source))
        });
        let close = sources_done && !self.sides[at].shut;
        let meddle = world.noise(world.set.meddle);
        let wants = leaving || close || meddle || !self.sides[at].queue.is_empty();
        if !wants {
            return;
        }
        if world.conns[at].leg.mode != LegMode::Slow {
            // Acknowledgements under way may spare the repetition: a moment's patience is allowed.
            if world.rng.chance(30) {
                return;
            }
            self.take(world, at);
            return;
        }
        let side = &mut self.sides[at];
        let octets = side.queue.make_contiguous();
        let n = world.kernels[at].write(octets, world.now);
        side.queue.drain(..n);
        side.leg.wrote(n as u32);
        if close && side.queue.is_empty() {
            side.shut = true;
            world.kernels[at].shutdown(world.now);
        }
        world.flush_kernel(at);
    }

    fn take(&mut self, world: &mut World, at: usize) {
        let taken = world.conns[at].take();
        if world.conns[at].leg.cause == Cause::Lost {
            world.stats.cause[Cause::Lost.index()] += 1;
        }
        world.trace(|| format!("[{at}] take: {taken:?}"));
        if taken.broken {
            self.fault = Some(format!("the stream of {at} is broken"));
            return;
        }
        if taken.octets == 0 {
            return;
        }
        world.stats.rolled_back += 1;
        let journal = world.conns[at].journal;
        let mut again: Vec<u8> = Vec::new();
        for entry in (0..journal.len()).filter_map(|place| journal.get(place)) {
            let logged =
                world.log[entry.source as usize].iter().find(|(position, ..)| *position == entry.position);
            let Some((_, message, _)) = logged else {
                self.fault = Some(format!("the log lacks a message that was rolled back on {at}"));
                return;
            };
            let octets = message.write(world.paths[at]);
            let skip = crate::splice::seq::distance(entry.wire, taken.from) as usize;
            again.extend(octets.iter().skip(skip));
        }
        if again.len() != taken.octets as usize {
            self.fault = Some(format!("{} octets in the journal, {} rolled back", again.len(), taken.octets));
        }
        world.check(at);
        if !broken(Mutant::ForgetRolledBack) {
            for octet in again.into_iter().rev() {
                self.sides[at].queue.push_front(octet);
            }
        }
    }

    fn arm(&mut self, world: &mut World, at: usize) {
        let side = &self.sides[at];
        if side.queue.is_empty() && !side.shut {
            let armed = world.conns[at].arm_leg(side.leg.written(), side.leg.queued_misses());
            world.trace(|| format!("[{at}] arm leg {armed:?}"));
            world.stats.arm[armed.index()] += 1;
            world.check(at);
        }
        let in_order = world.legs[at]
            .iter()
            .all(|leg| keeps_order(&world.conns[*leg], self.sides[*leg].queue.is_empty()));
        let in_order = in_order || broken(Mutant::ArmOverQueue);
        if in_order && side.fresh.is_none() && side.parser.is_empty() && !side.eof {
            let armed = world.conns[at].arm_source(side.parsed);
            world.trace(|| format!("[{at}] arm source {armed:?}"));
            if armed == Arm::Armed {
                world.stats.source_armed += 1;
            }
            world.stats.arm[armed.index()] += 1;
            world.check(at);
        }
    }

    // U3: the source's position first, then the legs; later compare.
    fn release(&mut self, world: &mut World, at: usize) {
        let marks = |world: &World| -> Vec<ReleaseMark> {
            world.legs[at].iter().map(|leg| ReleaseMark::set(&world.conns[*leg])).collect()
        };
        let state = super::std::mem::replace(&mut self.sides[at].release, Release::Idle);
        self.sides[at].release = match state {
            Release::Idle if broken(Mutant::MarkLegsFirst) => Release::Legs(marks(world)),
            Release::Idle => Release::Position(world.conns[at].source.finished),
            Release::Position(finished) => Release::Waiting(finished, marks(world)),
            Release::Legs(marks) => Release::Waiting(world.conns[at].source.finished, marks),
            Release::Waiting(finished, marks) => {
                let acked = world.legs[at]
                    .iter()
                    .zip(&marks)
                    .all(|(leg, mark)| world.removed[*leg] || mark.reached(&world.conns[*leg]));
                let reached = acked && self.sides[at].source.settled(finished);
                if reached {
                    let mut octets = 0;
                    self.sides[at].released = finished;
                    world.log[at].retain(|(position, _, taken)| {
                        let keep = crate::splice::seq::after(position.wrapping_add(*taken), finished);
                        if !keep {
                            octets += taken;
                        }
                        keep
                    });
                    world.conns[at].release(octets);
                    Release::Idle
                } else {
                    Release::Waiting(finished, marks)
                }
            }
        };
    }
}
