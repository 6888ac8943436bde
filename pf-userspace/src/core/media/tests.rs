//! The switch without sockets: a world of peers, all cuts and delays drawn at random.

mod fast;
mod intercept;
mod late;
mod many;
mod stuck;

use std::collections::BTreeMap;

use pf_common::msrp::{Ending, Flag, Head, Method, Parsed, Search, Start, find_end};
use proptest::prelude::*;

use super::*;
use crate::core::{
    entropy::SeededEntropy,
    event::{LegDown, MediaCommand, RemoteLeg, Setup, StreamPolicy},
};

const SECOND: Duration = Duration::from_secs(1);

/// A peer's end of a connection.
#[derive(Default)]
struct End {
    /// Sent by the peer, not yet given to the switch.
    to_switch: Vec<u8>,
    /// Consumed octets of `to_switch` are gone; the switch has seen up to here.
    seen: usize,
    /// Written by the switch, not yet taken apart.
    from_switch: Vec<u8>,
    /// Bodies that came, by From-Path (our leg) and Message-ID, with the flag of the last chunk.
    messages: BTreeMap<(String, String), (Vec<u8>, Option<Flag>)>,
    /// Message-IDs in the order of their first chunks, by From-Path.
    order: BTreeMap<String, Vec<String>>,
    /// Responses that came, by transaction id.
    responses: BTreeMap<String, Vec<u16>>,
    /// Answer SENDs.
    answers: bool,
    /// It neither sends nor answers yet.
    asleep: bool,
}

/// A step on the way of a device into its session.
#[derive(Clone, Copy, Debug)]
enum Late {
    /// The peer's side of its leg becomes known.
    Answer(u64),
    /// Our connection to it is there.
    Connected(usize),
    /// It begins to speak on its own connection.
    Wakes(usize),
}

struct World {
    switch: Switch,
    random: SeededEntropy,
    now: Time,
    ends: Vec<(ConnId, End)>,
    events: Vec<MediaEvent>,
    connects: Vec<ConnId>,
    /// Sources keep to the rules: their messages are followed.
    orderly: bool,
    /// What has not happened yet to bring the devices up.
    late: Vec<Late>,
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn remote(path: &str, setup: Setup, connect_to: &str) -> RemoteLeg {
    RemoteLeg {
        path: vec![path.to_owned()],
        setup,
        connect_to: connect_to.to_owned(),
        accept_types: vec!["*".to_owned()],
        accept_wrapped_types: vec![],
        max_size: None,
        legacy_matching: false,
        may_send: true,
    }
}

fn local(leg: u64) -> String {
    format!("msrp://10.0.0.1:2855/session-{leg};tcp")
}

fn far(leg: u64) -> String {
    format!("msrp://10.0.0.9:9/peer-{leg};tcp")
}

impl World {
    fn new(seed: u64, limits: Limits) -> World {
        World {
            switch: Switch::new(limits, Box::new(SeededEntropy(seed))),
            random: SeededEntropy(seed ^ 0x5555),
            now: Time::ZERO,
            ends: vec![],
            events: vec![],
            connects: vec![],
            orderly: true,
            late: vec![],
        }
    }

    fn draw(&mut self, below: usize) -> usize {
        let mut octets = [0; 8];
        self.random.fill(&mut octets);
        (u64::from_le_bytes(octets) % below.max(1) as u64) as usize
    }

    fn open(&mut self, leg: u64, role: LegRole, setup: Setup, to: &str) {
        self.open_path(leg, role);
        self.connect_leg(leg, setup, to);
    }

    fn open_path(&mut self, leg: u64, role: LegRole) {
        let stream = StreamKey(leg / 10);
        let policy = StreamPolicy { copy_far: true, copy_devices: true };
        self.switch.command(self.now, MediaCommand::OpenStream { stream, policy });
        let key = LegKey(leg);
        self.switch.command(self.now, MediaCommand::OpenLeg { leg: key, stream, role, local: local(leg) });
        self.act();
    }

    fn connect_leg(&mut self, leg: u64, setup: Setup, to: &str) {
        let remote = remote(&far(leg), setup, to);
        self.switch.command(self.now, MediaCommand::ConnectLeg { leg: LegKey(leg), remote });
        self.act();
    }

    /// One more step of a device, sometimes.
    fn maybe_late(&mut self) {
        if !self.late.is_empty() && self.draw(4) == 0 {
            let n = self.draw(self.late.len());
            match self.late.remove(n) {
                Late::Answer(leg) => self.connect_leg(leg, Setup::Passive, ""),
                Late::Connected(end) => {
                    self.ends[end].1.asleep = false;
                    self.switch.connected(self.now, self.ends[end].0, None);
                    self.act();
                }
                Late::Wakes(end) => self.ends[end].1.asleep = false,
            }
        }
    }

    fn all_late(&mut self) {
        while !self.late.is_empty() {
            self.maybe_late();
        }
    }

    /// Octets that are kept for late devices; checks that they are accounted for.
    fn kept(&self) -> usize {
        let mut all = 0;
        for (id, stream) in self.switch.streams.iter() {
            let (octets, whole, frames) = stream.backlog.measure();
            let coming = self.switch.conns.iter().filter_map(|(_, c)| Some(c.frame.kept.as_ref()?.measure()));
            let coming: usize = coming.filter(|(stream, _)| *stream == id).map(|(_, octets)| octets).sum();
            assert_eq!(octets, whole + coming);
            assert!(octets <= self.switch.limits.device_backlog);
            assert!(frames <= self.switch.limits.device_backlog_frames);
            all += octets;
        }
        all
    }

    fn end(&mut self, id: ConnId) -> usize {
        self.ends.push((id, End { answers: true, ..End::default() }));
        self.ends.len() - 1
    }

    /// A peer that connects and binds these legs.
    fn dial(&mut self, legs: &[u64]) -> usize {
        let id = self.switch.accepted(self.now, Some(([10, 0, 0, 2], 4000).into()));
        let end = self.end(id);
        for leg in legs {
            self.send(end, *leg, &format!("bind{leg:04}"), "", None, '$');
        }
        end
    }

    fn act(&mut self) {
        self.kept();
        while let Some(action) = self.switch.action() {
            match action {
                Action::Close { conn, .. } => {
                    self.ends.iter_mut().filter(|e| e.0 == conn).for_each(|e| e.1.answers = false)
                }
                Action::Connect { conn, .. } => self.connects.push(conn),
                Action::Event(event) => self.events.push(event),
            }
        }
    }

    fn send(&mut self, end: usize, leg: u64, id: &str, fields: &str, body: Option<&[u8]>, flag: char) {
        let mut wire =
            format!("MSRP {id} SEND\r\nTo-Path: {}\r\nFrom-Path: {}\r\n{fields}", local(leg), far(leg))
                .into_bytes();
        if let Some(body) = body {
            wire.extend_from_slice(b"Content-Type: text/plain\r\n\r\n");
            wire.extend_from_slice(body);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(format!("-------{id}{flag}\r\n").as_bytes());
        self.ends[end].1.to_switch.extend_from_slice(&wire);
    }

    /// Gives the switch some more of what an end has sent; true if anything moved.
    fn give(&mut self, n: usize, all: bool) -> bool {
        let (id, length, seen) = (self.ends[n].0, self.ends[n].1.to_switch.len(), self.ends[n].1.seen);
        if !self.switch.readable(id) || length == 0 || self.ends[n].1.asleep {
            return false;
        }
        let upto = if all { length } else { seen + self.draw((length - seen).min(9000) + 1) };
        let input = self.ends[n].1.to_switch[..upto].to_vec();
        let consumed = self.switch.input(self.now, id, &input);
        assert!(consumed <= input.len());
        while let Some(to) = self.switch.take_borrowing() {
            if self.draw(2) == 0 {
                self.write(to, &input, false);
            }
            self.switch.settle(to, &input);
        }
        self.act();
        let end = &mut self.ends[n].1;
        end.to_switch.drain(..consumed);
        let moved = consumed > 0 || upto > seen;
        end.seen = upto - consumed;
        moved
    }

    /// The network takes some of what a connection wants to write.
    fn write(&mut self, id: ConnId, input: &[u8], all: bool) -> bool {
        let Some(waiting) = self.switch.outbox(id).map(Outbox::len) else { return false };
        let take = if all || self.draw(4) == 0 { waiting } else { self.draw(waiting.min(5000) + 1) };
        let Some(outbox) = self.switch.outbox(id) else { return false };
        let mut pieces = [std::io::IoSlice::new(&[]); 64];
        let count = outbox.pieces(input, &mut pieces);
        let octets: Vec<u8> = pieces[..count].iter().flat_map(|p| p.to_vec()).take(take).collect();
        self.switch.wrote(self.now, id, octets.len());
        if let Some(end) = self.ends.iter_mut().find(|e| e.0 == id) {
            end.1.from_switch.extend_from_slice(&octets);
        }
        !octets.is_empty()
    }

    /// A peer takes apart what has come and answers.
    fn take_apart(&mut self, n: usize) {
        let end = &mut self.ends[n].1;
        while let Parsed::Head(head) = Head::parse(&end.from_switch) {
            assert_eq!(head.fault, None);
            let (body, flag, length) = match head.ending {
                Ending::EndLine { flag, end } => (None, flag, end),
                Ending::Body => {
                    match find_end(&end.from_switch[head.len..], head.transaction.as_bytes(), true) {
                        Search::End { body, flag, end: length, .. } => (
                            Some(end.from_switch[head.len..head.len + body].to_vec()),
                            flag,
                            head.len + length,
                        ),
                        Search::None { .. } => return,
                        Search::Misplaced { .. } => panic!("an end-line in a body"),
                    }
                }
            };
            match head.start {
                Start::Response { code, .. } => {
                    end.responses.entry(text(head.transaction.as_bytes())).or_default().push(code);
                }
                Start::Request(Method::Send) => {
                    let from = text(head.from_path);
                    let leg: u64 = from[29..31].parse().unwrap();
                    // Each leg's own paths, and no others, stand in its frames.
                    assert_eq!((text(head.to_path), &from), (far(leg), &local(leg)));
                    if let Some(body) = body.filter(|_| self.orderly) {
                        let message = text(head.message_id.unwrap());
                        let key = (from.clone(), message.clone());
                        let known = end.messages.entry(key).or_insert_with(|| {
                            end.order.entry(from).or_default().push(message);
                            (vec![], None)
                        });
                        assert!(matches!(known.1, None | Some(Flag::More)), "a chunk after the last");
                        let start = head.byte_range.map_or(1, |r| r.start);
                        assert_eq!(start, known.0.len() as u64 + 1, "chunks follow each other");
                        known.0.extend_from_slice(&body);
                        known.1 = Some(flag);
                    }
                    if end.answers && head.failure_report != pf_common::msrp::FailureReport::No {
                        let id = text(head.transaction.as_bytes());
                        let mine = format!("MSRP {id} 200 OK\r\nTo-Path: msrp://10.0.0.1");
                        let open = end.to_switch.windows(mine.len()).any(|w| w == mine.as_bytes());
                        assert!(!open, "{id} is used for two open transactions");
                        let answer = format!(
                            "MSRP {id} 200 OK\r\nTo-Path: {}\r\nFrom-Path: {}\r\n-------{id}$\r\n",
                            local(leg),
                            far(leg)
                        );
                        end.to_switch.extend_from_slice(answer.as_bytes());
                    }
                }
                Start::Request(_) => {}
            }
            end.from_switch.drain(..length);
        }
    }

    /// Everything moves until nothing moves any more.
    fn run(&mut self) {
        let mut idle = 0;
        while idle < 3 {
            let mut moved = false;
            while let Some(id) = self.switch.take_ready() {
                if let Some(n) = self.ends.iter().position(|e| e.0 == id) {
                    self.give(n, false);
                    moved = true;
                }
            }
            for n in 0..self.ends.len() {
                let n = if idle > 0 { n } else { self.draw(self.ends.len()) };
                moved |= self.give(n, idle > 0);
            }
            for n in 0..self.ends.len() {
                if idle > 0 || self.draw(3) == 0 {
                    moved |= self.write(self.ends[n].0, &[], idle > 0);
                    self.take_apart(n);
                }
            }
            while self.switch.take_dirty().is_some() {}
            idle = if moved { 0 } else { idle + 1 };
        }
    }

    fn connect_all(&mut self) -> Vec<usize> {
        let mut ends = vec![];
        for id in std::mem::take(&mut self.connects) {
            ends.push(self.end(id));
            self.switch.connected(self.now, id, Some(([10, 0, 0, 9], 9).into()));
            self.act();
        }
        ends
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.switch.tick(self.now);
        self.act();
    }
}

fn test_limits() -> Limits {
    Limits {
        high_water: 8000,
        low_water: 2000,
        device_queue: 1 << 30,
        device_backlog: 1 << 30,
        ..Limits::default()
    }
}

/// The same as [`two_streams`], but the devices are not up yet: [`World::late`] says what is missing.
fn two_streams_late(seed: u64, limits: Limits) -> World {
    let mut world = World::new(seed, limits);
    for stream in [10, 20] {
        world.open(stream, LegRole::Originator, Setup::Passive, "");
        world.open(stream + 1, LegRole::Far, Setup::Active, "10.0.0.9:9");
        world.open_path(stream + 2, LegRole::Device);
        world.open_path(stream + 3, LegRole::Device);
        world.connect_leg(stream + 3, Setup::Active, &format!("10.0.0.{stream}:9"));
    }
    world.dial(&[10]);
    world.dial(&[20]);
    for id in std::mem::take(&mut world.connects) {
        let end = world.end(id);
        match end {
            2 => world.switch.connected(world.now, id, None),
            _ => {
                world.ends[end].1.asleep = true;
                world.late.push(Late::Connected(end));
            }
        }
    }
    let b = world.dial(&[12, 22]);
    world.ends[b].1.asleep = true;
    world.late.extend([Late::Answer(12), Late::Answer(22), Late::Wakes(b)]);
    world.run();
    for (_, end) in &mut world.ends {
        end.responses.clear();
    }
    world
}

/// Two streams. A and C on connections of their own, F and B shared by both: ends A1, A2, F, B, C1, C2.
fn two_streams(seed: u64) -> World {
    let mut world = World::new(seed, test_limits());
    for stream in [10, 20] {
        world.open(stream, LegRole::Originator, Setup::Passive, "");
        world.open(stream + 1, LegRole::Far, Setup::Active, "10.0.0.9:9");
        world.open(stream + 2, LegRole::Device, Setup::Passive, "");
        world.open(stream + 3, LegRole::Device, Setup::Active, &format!("10.0.0.{stream}:9"));
    }
    world.dial(&[10]);
    world.dial(&[20]);
    let active = world.connect_all();
    assert_eq!(active.len(), 3, "the far ends share a connection");
    let b = world.dial(&[12, 22]);
    // A1, A2, F, C1, C2, B
    assert_eq!((active, b), (vec![2, 3, 4], 5));
    world.run();
    assert_eq!(world.events.len(), 8, "{:?}", world.events);
    for (_, end) in &mut world.ends {
        assert!(end.responses.values().all(|codes| *codes == [200]));
        end.responses.clear();
    }
    world
}

fn random_body(world: &mut World) -> Vec<u8> {
    let mut body = vec![0; [0, 1, 40, 700, 3000, 6000, 14_000][world.draw(7)]];
    for octet in &mut body {
        *octet = b"-\r\nabc+$#M"[world.draw(10)];
    }
    body
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    // Rows: MED-11, MED-17, MED-18, MED-19, MED-20, MED-25
    #[test]
    fn everything_arrives_once_in_order_and_nowhere_else(seed: u64) {
        // In every second world the devices come up on the way.
        let late = seed % 2 == 0;
        let mut world = if late { two_streams_late(seed, test_limits()) } else { two_streams(seed) };
        // What each source's messages must look like, in order; and the transactions that want an answer.
        let mut sent: BTreeMap<u64, Vec<(String, Vec<u8>)>> = BTreeMap::new();
        let mut wanted: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        let (mut number, mut used) = (0, [0; 6]);
        for _ in 0..24 {
            let (end, leg) = [(0, 10), (1, 20), (2, 11), (2, 21), (5, 12), (5, 22), (3, 13)][world.draw(7)];
            let message = format!("msg-{leg}-{number:04}");
            let chunks = 1 + world.draw(3);
            let quiet = world.draw(6) == 0;
            let mut whole = vec![];
            for chunk in 0..chunks {
                // Unique on its own connection only.
                let id = format!("tid-{:04}", used[end]);
                (number, used[end]) = (number + 1, used[end] + 1);
                let body = random_body(&mut world);
                let start = whole.len() + 1;
                whole.extend_from_slice(&body);
                let range_end = if world.draw(2) == 0 { "*".to_owned() } else { whole.len().to_string() };
                let report = if quiet { "Failure-Report: no\r\n" } else { "" };
                let fields = format!("Message-ID: {message}\r\nByte-Range: {start}-{range_end}/*\r\n{report}");
                let flag = if chunk + 1 == chunks { '$' } else { '+' };
                world.send(end, leg, &id, &fields, Some(&body), flag);
                if !quiet {
                    wanted.entry(end).or_default().push(id);
                }
            }
            sent.entry(leg).or_default().push((message, whole));
            if world.draw(3) == 0 {
                let n = world.draw(6);
                world.give(n, false);
            }
            world.maybe_late();
        }
        if world.draw(2) == 0 {
            world.run();
        }
        world.all_late();
        world.run();
        prop_assert_eq!(world.kept(), 0);
        world.ends[5].1.responses.retain(|id, _| !id.starts_with("bind"));
        prop_assert_eq!(world.events.len(), 8, "no leg went down");
        let receivers = [(10, 0), (20, 1), (11, 2), (21, 2), (13, 3), (23, 4), (12, 5), (22, 5)];
        for (leg, end) in receivers {
            let end = &world.ends[end].1;
            let expected: BTreeMap<&String, &Vec<u8>> = sent
                .iter()
                .filter(|(from, _)| **from != leg && **from / 10 == leg / 10)
                .flat_map(|(_, messages)| messages.iter().map(|(id, body)| (id, body)))
                .collect();
            let got: BTreeMap<&String, &Vec<u8>> =
                end.messages.iter().filter(|((path, _), _)| *path == local(leg)).map(|((_, id), (body, _))| (id, body)).collect();
            prop_assert_eq!(got.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "leg {}", leg);
            prop_assert!(got == expected, "bodies of leg {}", leg);
            prop_assert!(end.messages.values().all(|(_, flag)| *flag == Some(Flag::Last)));
            for (from, messages) in sent.iter().filter(|(from, _)| **from != leg && **from / 10 == leg / 10) {
                let prefix = format!("msg-{from}-");
                let order: Vec<_> = end.order.get(&local(leg)).into_iter().flatten().filter(|m| m.starts_with(&prefix)).collect();
                prop_assert_eq!(order, messages.iter().map(|(id, _)| id).collect::<Vec<_>>());
            }
        }
        for (n, (_, end)) in world.ends.iter().enumerate() {
            let wanted = wanted.remove(&n).unwrap_or_default();
            let got: Vec<&String> = end.responses.keys().collect();
            prop_assert_eq!(got, wanted.iter().collect::<Vec<_>>(), "end {}", n);
            prop_assert!(end.responses.values().all(|codes| *codes == [200]), "one answer each");
            prop_assert!(end.from_switch.is_empty());
        }
    }

    /// Connections and legs go at any moment: what remains goes on, and nothing is left behind.
    #[test]
    fn legs_go_at_any_moment(seed: u64) {
        let limits = Limits { device_backlog: 30_000, ..test_limits() };
        let mut world = if seed % 2 == 0 { two_streams_late(seed, limits) } else { two_streams(seed) };
        for n in 0..40 {
            let (end, leg) = [(0, 10), (1, 20), (2, 11), (2, 21), (5, 12), (5, 22)][world.draw(6)];
            let body = random_body(&mut world);
            let range_end = if world.draw(2) == 0 { "*".to_owned() } else { body.len().to_string() };
            let fields = format!("Message-ID: msg-{n:04}\r\nByte-Range: 1-{range_end}/*\r\n");
            world.send(end, leg, &format!("tid-{n:04}"), &fields, Some(&body), '$');
            let n = world.draw(6);
            world.give(n, false);
            let n = world.draw(6);
            world.write(world.ends[n].0, &[], false);
            if world.draw(3) == 0 {
                world.maybe_late();
            }
            match world.draw(30) {
                0 => {
                    let n = world.draw(6);
                    world.switch.closed(world.now, world.ends[n].0);
                }
                1 => {
                    let leg = LegKey([10, 11, 12, 13, 20, 21, 22, 23][world.draw(8)]);
                    world.switch.command(world.now, MediaCommand::CloseLeg { leg });
                }
                2 => world.pass(SECOND * 26),
                _ => {}
            }
            world.act();
        }
        // Chunks cut off by `#` may leave their starts behind: only framing is checked here, by taking apart.
        for (_, end) in &mut world.ends {
            end.messages.clear();
        }
        for _ in 0..4 {
            for n in 0..6 {
                world.give(n, true);
                world.write(world.ends[n].0, &[], false);
            }
        }
        for stream in [1, 2] {
            world.switch.command(world.now, MediaCommand::CloseStream { stream: StreamKey(stream) });
        }
        world.act();
        prop_assert_eq!(world.switch.snapshot().len(), 0);
        for n in 0..6 {
            world.switch.closed(world.now, world.ends[n].0);
        }
        prop_assert_eq!(world.switch.connections(), 0);
        let ended = world.events.iter().filter(|e| !matches!(e, MediaEvent::LegUp { .. })).count();
        prop_assert_eq!(ended, 8, "every leg's end is told once: {:?}", world.events);
    }

    #[test]
    fn any_octets_from_anyone(seed: u64, pieces in proptest::collection::vec(0_usize..12, 0..40)) {
        let mut world = two_streams(seed);
        world.orderly = false;
        let parts: [Vec<u8>; 12] = [
            b"MSRP tid-0001 SEND\r\n".to_vec(), b"MSRP tid-0001 200 OK\r\n".to_vec(), b"MSRP tid-0001 REPORT\r\n".to_vec(),
            format!("To-Path: {}\r\nFrom-Path: {}\r\n", local(10), far(10)).into_bytes(),
            b"Byte-Range: 1-*/*\r\n".to_vec(), b"Message-ID: mmmm\r\n".to_vec(), b"Content-Type: a/b\r\n\r\n".to_vec(),
            b"body".to_vec(), b"\r\n-------tid-0001$\r\n".to_vec(), b"-------tid-0001+\r\n".to_vec(), b"\r\n".to_vec(), vec![0xff; 3000],
        ];
        for piece in pieces {
            world.ends[0].1.to_switch.extend_from_slice(&parts[piece]);
            world.give(0, false);
        }
        world.run();
    }
}

#[test]
fn timers() {
    let mut world = World::new(1, Limits::default());
    world.open(10, LegRole::Originator, Setup::Passive, "");
    world.open(11, LegRole::Far, Setup::Active, "10.0.0.9:9");
    world.open(12, LegRole::Device, Setup::Passive, "");
    world.open(13, LegRole::Device, Setup::Active, "10.0.0.8:9");
    let a = world.dial(&[10]);
    let f = world.connect_all()[0];
    world.run();
    world.ends[f].1.answers = false;
    world.ends[a].1.responses.clear();
    world.send(a, 10, "tid-0002", "Message-ID: mmmm\r\n", Some(b"hello"), '$');
    world.run();
    world.pass(SECOND * 24);
    world.run();
    assert!(world.ends[a].1.responses.is_empty());
    world.pass(SECOND);
    world.run();
    // The sender hears of it before its own 30 s have passed.
    assert_eq!(world.ends[a].1.responses.get("tid-0002"), Some(&vec![408]));
    world.pass(SECOND * 6);
    let down: Vec<_> = world
        .events
        .iter()
        .filter_map(|e| match e {
            MediaEvent::LegDown { leg, reason, .. } => Some((leg.0, *reason)),
            _ => None,
        })
        .collect();
    // A device that never connected.
    assert_eq!(down, [(12, LegDown::Silent)]);
    world.ends[f].1.answers = true;
    world.send(a, 10, "tid-0003", "Message-ID: next\r\n", Some(b"hello"), '$');
    world.run();
    assert_eq!(world.ends[a].1.responses.get("tid-0003"), Some(&vec![200]));
}
