//! One run: peers, links, kernel sockets, program and userspace on one clock, all choices drawn from one seed.

use super::relay::Userspace;
use super::settings::Settings;
use super::std::cmp::Reverse;
use super::std::collections::{BTreeMap, BinaryHeap};
use super::std::format;
use super::std::string::String;
use super::std::vec;
use super::std::vec::Vec;
use super::stream::{Check, Message};
use super::tcp::Tcp;
use super::{Rng, Seg, Stats};
use crate::splice::{Connection, Handshake, mutant};

/// A message on its way from a source to its legs, as the program holds it between two critical sections.
pub(super) struct Work {
    pub(super) source: usize,
    pub(super) position: u32,
    pub(super) message: Message,
    pub(super) taken: u32,
    pub(super) leg: usize,
    pub(super) missed: u32,
    pub(super) copy: Option<Seg>,
}

pub(super) enum Event {
    ToRelay(usize, Seg),
    ToKernel(usize, Seg),
    KernelOut(usize, Seg),
    ToPeer(usize, Seg),
    Work(usize),
    User,
    Application(usize),
    PeerTimer(usize),
    KernelTimer(usize),
}

pub(super) struct Peer {
    pub(super) tcp: Tcp,
    backlog: Vec<u8>,
    written: u32,
    check: Check,
    eof: bool,
    shut: bool,
}

pub(super) struct World {
    pub(super) now: u64,
    epoch: u32,
    pub(super) rng: Rng,
    pub(super) set: Settings,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<(u64, u64), Event>,
    serial: u64,
    pub(super) peers: Vec<Peer>,
    pub(super) kernels: Vec<Tcp>,
    timers: Vec<[Option<u64>; 2]>,
    pub(super) conns: Vec<Connection>,
    pub(super) paths: Vec<u8>,
    pub(super) mss: Vec<u32>,
    /// The legs of each source.
    pub(super) legs: Vec<Vec<usize>>,
    /// Consumed messages of each source, by wire position.
    pub(super) log: Vec<Vec<(u32, Message, u32)>>,
    pub(super) work: Vec<Option<Work>>,
    pub(super) sent: Vec<Vec<Message>>,
    pub(super) absorbed: Vec<Check>,
    /// What each wire position towards each peer carried the first time.
    wire: Vec<(u32, Vec<Option<u8>>)>,
    pub(super) stats: Stats,
    pub(super) fault: Option<String>,
    /// Until when the host drops what is passed up.
    deaf_until: Vec<u64>,
    /// Peers that aborted.
    gone: Vec<bool>,
    /// Legs that userspace has taken out of the sources' lists.
    pub(super) removed: Vec<bool>,
    trace: bool,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let set = Settings::draw(&mut rng);
        World::with(set, seed, rng)
    }

    pub(super) fn with(set: Settings, seed: u64, mut rng: Rng) -> World {
        let n = set.legs + 1;
        let mut legs = vec![Vec::new(); n];
        legs[0] = (1..n).collect();
        legs[1] = vec![0];
        if n > 2 && set.both_answer {
            legs[2] = vec![0];
        }
        let mut world = World {
            now: 0,
            epoch: 0,
            set,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            serial: 0,
            peers: Vec::new(),
            kernels: Vec::new(),
            timers: vec![[None; 2]; n],
            conns: Vec::new(),
            paths: Vec::new(),
            mss: Vec::new(),
            log: vec![Vec::new(); n],
            work: (0..n).map(|_| None).collect(),
            sent: vec![Vec::new(); n],
            absorbed: Vec::new(),
            wire: Vec::new(),
            stats: Stats::default(),
            fault: None,
            deaf_until: vec![0; n],
            gone: vec![false; n],
            removed: vec![false; n],
            trace: super::number("PF_MODEL_TRACE").is_some(),
            legs,
            rng: Rng::new(seed ^ 0x5EED),
        };
        world.epoch = if rng.chance(20) { u32::MAX - rng.below(2_000) as u32 } else { rng.next() as u32 };
        for at in 0..n {
            world.connect(at, n, &mut rng);
        }
        world
    }

    fn connect(&mut self, at: usize, n: usize, rng: &mut Rng) {
        let mut isn = || if rng.chance(30) { u32::MAX - rng.below(4_000) as u32 } else { rng.next() as u32 };
        let (peer, ours) = (isn(), isn());
        let mss = if self.set.small_mss { [250, 536, 1_000, 1_460][rng.below(4) as usize] } else { 1_460 };
        let mut room = || [2_000, 4_000, 30_000, 60_000][rng.below(4) as usize] + rng.below(4_000) as u32;
        let (peer_room, our_room) = (room(), room());
        let path = 4 + rng.below(60) as u8;
        let sources: Vec<usize> = (0..n).filter(|source| self.legs[*source].contains(&at)).collect();
        self.peers.push(Peer {
            tcp: Tcp::new(peer, ours, mss, peer_room as usize, our_room),
            backlog: Vec::new(),
            written: 0,
            check: Check::new(path, n, &sources),
            eof: false,
            shut: false,
        });
        self.kernels.push(Tcp::new(ours, peer, mss, our_room as usize, peer_room));
        let handshake =
            Handshake { our_isn: ours, peer_isn: peer, our_window: our_room, peer_window: peer_room, mss };
        self.conns.push(Connection::new(&handshake, self.set.log_capacity));
        self.paths.push(path);
        self.mss.push(mss);
        self.absorbed.push(Check::new(path, n, &[at]));
        self.wire.push((ours.wrapping_add(1), Vec::new()));
    }

    /// Runs to the end. `Err` says what went wrong.
    pub(super) fn run(&mut self) -> Result<(), String> {
        let mut user = Userspace::new(self);
        for at in 0..self.peers.len() {
            self.at(0, Event::Application(at));
        }
        self.at(0, Event::User);
        let limit = self.set.quiet_at + 60_000_000;
        while let Some(Reverse(key)) = self.queue.pop() {
            let Some(event) = self.events.remove(&key) else { continue };
            self.now = key.0;
            self.stats.events += 1;
            match event {
                Event::ToRelay(at, seg) => self.ingress(at, &seg),
                Event::ToKernel(at, seg) => {
                    self.kernels[at].receive(&seg, self.now, &mut self.rng);
                    if self.kernels[at].bad_ack {
                        self.fault =
                            Some(format!("kernel socket {at} was shown an ACK of what it never sent"));
                    }
                    if self.kernels[at].reset && !self.gone[at] {
                        self.fault = Some(format!("kernel socket {at} was reset"));
                    }
                    self.flush_kernel(at);
                }
                Event::KernelOut(at, seg) => self.egress(at, seg),
                Event::ToPeer(at, seg) => {
                    self.peers[at].tcp.receive(&seg, self.now, &mut self.rng);
                    self.flush_peer(at);
                }
                Event::Work(at) => self.work_on(at),
                Event::User => {
                    user.step(self);
                    let pause = if self.rng.chance(50) { 200 } else { 2_000 };
                    let pause = self.rng.below(pause) + self.preemption();
                    self.at(pause, Event::User);
                }
                Event::Application(at) => self.application(at),
                Event::PeerTimer(at) => {
                    self.timers[at][0] = None;
                    self.peers[at].tcp.on_timer(self.now, &mut self.rng);
                    self.flush_peer(at);
                }
                Event::KernelTimer(at) => {
                    self.timers[at][1] = None;
                    self.kernels[at].on_timer(self.now, &mut self.rng);
                    self.flush_kernel(at);
                }
            }
            if let Some(fault) = self.fault.take().or_else(|| user.fault.take()) {
                return Err(format!("{fault} at {} us", self.now));
            }
            if user.finished() && self.finished() {
                return self.verify();
            }
            if self.now > limit {
                return Err(format!("no end: {}", self.describe(&user)));
            }
        }
        Err("nothing left to happen".into())
    }

    fn describe(&self, user: &Userspace) -> String {
        let mut out = String::new();
        for at in 0..self.conns.len() {
            let c = &self.conns[at];
            out += &format!(
                "\n[{at}] peer {}\n    kernel {}\n    {:?} {:?}\n    {:?} {:?} journal {} log {}\n    user {}",
                self.peers[at].tcp.describe(),
                self.kernels[at].describe(),
                c.receive,
                c.transmit,
                c.source,
                c.leg,
                c.journal.len(),
                self.log[at].len(),
                user.describe(at)
            );
        }
        out
    }

    fn finished(&self) -> bool {
        (0..self.peers.len()).all(|at| {
            self.removed[at] || self.peers[at].tcp.closed() && self.peers[at].eof && self.kernels[at].closed()
        })
    }

    fn verify(&self) -> Result<(), String> {
        for (at, peer) in self.peers.iter().enumerate().filter(|(at, _)| !self.removed[*at]) {
            for (source, legs) in self.legs.iter().enumerate() {
                if legs.contains(&at) && peer.check.arrived(source) != self.set.messages {
                    let n = peer.check.arrived(source);
                    return Err(format!("{n} messages of {source} arrived at {at}, closed cleanly"));
                }
            }
            if self.legs[at].is_empty() && self.absorbed[at].arrived(at) != self.set.messages {
                return Err(format!("{} messages of {at} absorbed", self.absorbed[at].arrived(at)));
            }
        }
        Ok(())
    }

    /// A line about what happens, with `PF_MODEL_TRACE=1`.
    pub(super) fn trace(&self, line: impl FnOnce() -> String) {
        if self.trace {
            super::std::eprintln!("{:>9} {}", self.now, line());
        }
    }

    // Time and links.

    pub(super) fn at(&mut self, delay: u64, event: Event) {
        let key = (self.now + delay, self.serial);
        self.serial += 1;
        self.queue.push(Reverse(key));
        self.events.insert(key, event);
    }

    /// The clock of the state machine.
    pub(super) fn millis(&self) -> u32 {
        self.epoch.wrapping_add((self.now / 1_000) as u32)
    }

    fn noisy(&self) -> bool {
        self.now < self.set.quiet_at
    }

    /// An event that happens `per_mille` times out of a thousand while there is noise.
    pub(super) fn noise(&mut self, per_mille: u64) -> bool {
        self.noisy() && self.rng.below(1_000) < per_mille
    }

    /// How long whoever runs is kept from running on.
    pub(super) fn preemption(&mut self) -> u64 {
        if self.rng.below(1_000) < self.set.preempt { self.rng.below(20_000) } else { 0 }
    }

    fn travel(&mut self, make: impl Fn(Seg) -> Event, seg: Seg) {
        self.trace(|| {
            let what = match make(seg.clone()) {
                Event::ToRelay(at, _) => format!("peer {at} sends"),
                _ => "relay sends".into(),
            };
            format!("  {what} {} +{} ack {} fl {}", seg.seq, seg.data.len(), seg.ack, seg.flags)
        });
        let copies = if self.noise(self.set.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            if self.noise(self.set.loss) {
                self.stats.lost += 1;
                continue;
            }
            let late = if self.noise(self.set.reorder) { self.rng.below(8_000) } else { 0 };
            self.at(self.set.latency + late, make(seg.clone()));
        }
    }

    pub(super) fn send_to_peer(&mut self, at: usize, seg: Seg) {
        let (first, seen) = &mut self.wire[at];
        let offset = seg.seq.wrapping_sub(*first) as usize;
        if !seg.data.is_empty() {
            if seen.len() < offset.saturating_add(seg.data.len()).min(1 << 22) {
                seen.resize(offset + seg.data.len(), None);
            }
            for (place, octet) in seen.iter_mut().skip(offset).zip(&seg.data) {
                if place.is_some_and(|old| old != *octet) {
                    self.fault = Some(format!("two octets for one wire position on {at}"));
                }
                *place = Some(*octet);
            }
        }
        self.travel(|seg| Event::ToPeer(at, seg), seg);
    }

    pub(super) fn pass_to_kernel(&mut self, at: usize, seg: Seg) {
        let deaf = self.deaf_until[at] > self.now;
        if !deaf && self.noise(self.set.host_loss) {
            // A full backlog: it may last.
            let long = if self.rng.chance(20) { self.rng.below(100_000) } else { 1 };
            self.deaf_until[at] = self.now + long;
        }
        if self.deaf_until[at] <= self.now {
            let delay = self.preemption();
            self.at(delay, Event::ToKernel(at, seg));
        }
    }

    pub(super) fn flush_kernel(&mut self, at: usize) {
        for seg in super::std::mem::take(&mut self.kernels[at].out) {
            let delay = self.preemption();
            self.at(delay, Event::KernelOut(at, seg));
        }
        if let Some(due) = self.kernels[at].deadline()
            && self.timers[at][1].is_none_or(|set| set > due || set < self.now)
        {
            self.timers[at][1] = Some(due);
            self.at(due.saturating_sub(self.now), Event::KernelTimer(at));
        }
    }

    fn flush_peer(&mut self, at: usize) {
        for seg in super::std::mem::take(&mut self.peers[at].tcp.out) {
            self.travel(|seg| Event::ToRelay(at, seg), seg);
        }
        if let Some(due) = self.peers[at].tcp.deadline()
            && self.timers[at][0].is_none_or(|set| set > due || set < self.now)
        {
            self.timers[at][0] = Some(due);
            self.at(due.saturating_sub(self.now), Event::PeerTimer(at));
        }
    }

    // The peer's application: it writes its messages one by one, reads what comes and closes.

    fn application(&mut self, at: usize) {
        let now = self.now;
        if self.gone[at] || at > 2 && self.noise(self.set.abort) {
            // Again and again, in the place of the keep-alive that finds a lost reset in the end.
            self.gone[at] = true;
            self.peers[at].tcp.abort();
            self.flush_peer(at);
            if !self.kernels[at].reset {
                self.at(50_000, Event::Application(at));
            }
            return;
        }
        if self.peers[at].backlog.is_empty() && self.peers[at].written < self.set.messages {
            let large = self.rng.below(1_000) < self.set.large;
            let carry = self.rng.below(1_000) >= self.set.odd;
            let len = if large { 1_000 + self.rng.below(4_000) } else { self.rng.below(400) };
            let message = Message::new(at as u8, self.peers[at].written, carry, len as usize);
            self.peers[at].backlog = message.write(self.paths[at]);
            self.peers[at].written += 1;
            self.sent[at].push(message);
        }
        let peer = &mut self.peers[at];
        let n = peer.tcp.write(&peer.backlog, now);
        peer.backlog.drain(..n);
        let delivered = !self.set.patient || peer.tcp.delivered();
        if peer.backlog.is_empty() && peer.written == self.set.messages && delivered && !peer.shut {
            peer.shut = true;
            peer.tcp.shutdown(now);
        }
        if !self.noise(self.set.lazy_reader * 5) {
            let peer = &mut self.peers[at];
            let octets = peer.tcp.read(usize::MAX);
            if let Err(fault) = peer.check.push(&octets, &self.sent) {
                self.fault = Some(format!("at {at}: {fault}"));
            }
            peer.eof = peer.tcp.at_eof();
        }
        self.flush_peer(at);
        let peer = &self.peers[at];
        let busy = peer.written < self.set.messages && peer.tcp.room() > 0;
        let pace = if busy { self.set.pace } else { self.set.pace.max(5_000) };
        let pause = pace / 2 + self.rng.below(pace);
        self.at(pause, Event::Application(at));
    }

    /// The invariants hold after every critical section. A broken rule must show in what arrives instead.
    pub(super) fn check(&mut self, at: usize) {
        if let Some(rule) = self.conns[at].violated()
            && !mutant::any()
        {
            self.fault = Some(format!("{rule} violated on {at}"));
        }
    }
}
