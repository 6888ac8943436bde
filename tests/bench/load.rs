//! A load: one thread drives the senders and checks everything that reaches the sinks.
//!
//! A lane is one session: a sender and its sinks. Sink 0 is the far end, the others are the user's devices. A
//! transaction is complete when its 200 is back at the sender **and** the whole SEND was checked at sink 0 (for a relay
//! that answers hop by hop, the 200 alone says nothing). What the devices must get is checked the same way and counted
//! at the end of the run: nothing may be missing, twice or out of order.

use std::{
    collections::VecDeque,
    io,
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use mio::{Events, Interest, Poll, Token};

use crate::{
    clock::Clock,
    frame::{self, Frame, Kind},
    link::{Fill, Link},
    measure::Histogram,
    message::Template,
};

/// Token of the clock.
const CLOCK: Token = Token(usize::MAX);
/// Longest wait for the last transactions after the load stops.
const DRAIN: Duration = Duration::from_secs(10);

/// One end of a leg: a connected socket and the paths that its requests carry.
pub(crate) struct End {
    /// Connected, any binding SEND already answered.
    pub(crate) stream: TcpStream,
    /// To-Path of the requests that this end sends; unused at a sink.
    pub(crate) to_path: String,
    /// The end's own URI.
    pub(crate) own: String,
}

/// The sockets of one session.
pub(crate) struct Lane {
    /// Who sends.
    pub(crate) sender: End,
    /// Far end, then devices.
    pub(crate) sinks: Vec<End>,
}

/// One run of the load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// Lanes that take part, from the first.
    pub(crate) lanes: usize,
    /// SENDs that each lane keeps outstanding.
    pub(crate) depth: usize,
    /// SENDs per second over all lanes, each on a lane that has none outstanding; 0: as fast as it goes.
    pub(crate) per_second: u32,
    /// Body in octets.
    pub(crate) body: usize,
    /// Load before the measurement.
    pub(crate) warm_up: Duration,
    /// Length of the measurement.
    pub(crate) window: Duration,
}

/// What a load counted.
pub(crate) struct Counted {
    /// Complete transactions.
    pub(crate) transactions: u64,
    /// SEND written until the transaction is complete.
    pub(crate) complete: Histogram,
    /// SEND written until checked at sink 0.
    pub(crate) one_way: Histogram,
}

impl Counted {
    pub(crate) fn new() -> Counted {
        Counted { transactions: 0, complete: Histogram::new(), one_way: Histogram::new() }
    }

    /// Adds what another load counted.
    pub(crate) fn add(&mut self, other: &Counted) {
        self.transactions += other.transactions;
        self.complete.merge(&other.complete);
        self.one_way.merge(&other.one_way);
    }
}

struct InFlight {
    sent: Instant,
    answered: bool,
    delivered: bool,
}

struct Sender {
    own_link: usize,
    template: Option<Template>,
    to_path: String,
    own: String,
    /// Sequence number of the front of `flying`.
    first: u64,
    flying: VecDeque<InFlight>,
}

impl Sender {
    fn next_seq(&self) -> u64 {
        self.first + self.flying.len() as u64
    }
}

struct Sink {
    own: Vec<u8>,
    device: bool,
    /// Sequence number of the message expected next.
    expected: u64,
    /// Octets of it that came in earlier chunks.
    offset: u64,
}

#[derive(Clone, Copy)]
enum Role {
    Sender(usize),
    Sink { lane: usize, sink: usize },
}

/// Sessions with their sockets, ready for runs.
pub(crate) struct Load {
    poll: Poll,
    links: Vec<Link>,
    roles: Vec<Role>,
    senders: Vec<Sender>,
    sinks: Vec<Vec<Sink>>,
    salt: u32,
    depth: usize,
    sending: bool,
    active: usize,
    body: Vec<u8>,
    counted: Counted,
    events: Events,
    /// Where the load has a rate: its clock, and the lane whose turn is next.
    clock: Option<Clock>,
    turn: usize,
}

impl Load {
    /// Takes the sockets over.
    pub(crate) fn new(lanes: Vec<Lane>) -> Result<Load> {
        let mut salt = [0; 4];
        getrandom::fill(&mut salt).map_err(|error| anyhow::anyhow!("no entropy: {error}"))?;
        let mut load = Load {
            poll: Poll::new()?,
            links: Vec::new(),
            roles: Vec::new(),
            senders: Vec::new(),
            sinks: Vec::new(),
            salt: u32::from_be_bytes(salt),
            depth: 0,
            sending: false,
            active: 0,
            body: Vec::new(),
            counted: Counted::new(),
            events: Events::with_capacity(256),
            clock: None,
            turn: 0,
        };
        for (at, lane) in lanes.into_iter().enumerate() {
            let own_link = load.add(lane.sender.stream, Role::Sender(at))?;
            load.senders.push(Sender {
                own_link,
                template: None,
                to_path: lane.sender.to_path,
                own: lane.sender.own,
                first: 0,
                flying: VecDeque::new(),
            });
            let mut sinks = Vec::new();
            for (number, end) in lane.sinks.into_iter().enumerate() {
                load.add(end.stream, Role::Sink { lane: at, sink: number })?;
                sinks.push(Sink { own: end.own.into_bytes(), device: number > 0, expected: 0, offset: 0 });
            }
            load.sinks.push(sinks);
        }
        Ok(load)
    }

    fn add(&mut self, stream: TcpStream, role: Role) -> Result<usize> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        let at = self.links.len();
        self.poll.registry().register(&mut stream, Token(at), Interest::READABLE | Interest::WRITABLE)?;
        self.links.push(Link::new(stream));
        self.roles.push(role);
        Ok(at)
    }

    /// Sends the first messages of a run.
    pub(crate) fn begin(&mut self, run: &Run) -> Result<()> {
        ensure!(run.lanes <= self.senders.len(), "only {} lanes are set up", self.senders.len());
        self.depth = run.depth;
        self.active = run.lanes;
        self.body = crate::message::body(run.body);
        for (at, sender) in self.senders.iter_mut().take(run.lanes).enumerate() {
            sender.template = Some(Template::new(&sender.to_path, &sender.own, at, self.salt, &self.body)?);
        }
        self.sending = true;
        self.clock = match run.per_second {
            0 => None,
            rate => Some(Clock::start(rate, self.poll.registry(), CLOCK)?),
        };
        for lane in 0..run.lanes {
            self.top_up(lane);
            self.links[self.senders[lane].own_link].flush().context("sending")?;
        }
        Ok(())
    }

    /// Forgets what was counted so far.
    pub(crate) fn clear(&mut self) {
        self.counted = Counted::new();
    }

    /// Goes on for so long.
    pub(crate) fn go_on(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            self.turn(end - now)?;
        }
    }

    /// What was counted since [`Load::clear`].
    pub(crate) fn counted(&mut self) -> Counted {
        std::mem::replace(&mut self.counted, Counted::new())
    }

    /// Sends no more, and waits until every transaction is complete and every device has every message.
    pub(crate) fn drain(&mut self) -> Result<()> {
        self.sending = false;
        let end = Instant::now() + DRAIN;
        while let Some(missing) = self.missing() {
            let now = Instant::now();
            ensure!(now < end, "after {DRAIN:?} {missing}");
            self.turn((end - now).min(Duration::from_millis(50)))?;
        }
        Ok(())
    }

    /// What is not yet where it must be.
    fn missing(&self) -> Option<String> {
        let flying: usize = self.senders.iter().map(|sender| sender.flying.len()).sum();
        if flying > 0 {
            return Some(format!("{flying} transactions are not complete"));
        }
        let lacks =
            |lane: usize| self.sinks[lane].iter().map(move |sink| self.senders[lane].first - sink.expected);
        let lost: u64 = (0..self.senders.len()).flat_map(lacks).sum();
        (lost > 0).then(|| format!("{lost} copies are missing at the devices"))
    }

    fn turn(&mut self, wait: Duration) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        // Taken out while they are worked through.
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let done = events.iter().try_for_each(|event| {
            let at = event.token().0;
            if event.token() == CLOCK {
                self.strike()
            } else if event.is_readable() || event.is_read_closed() {
                self.read(at)
            } else if event.is_writable() {
                self.links[at].flush().context("sending")
            } else {
                Ok(())
            }
        });
        self.events = events;
        done
    }

    fn read(&mut self, at: usize) -> Result<()> {
        loop {
            let fill = self.links[at].fill().context("receiving")?;
            match self.roles[at] {
                Role::Sender(lane) => self.answers(at, lane)?,
                Role::Sink { lane, sink } => self.deliveries(at, lane, sink)?,
            }
            match fill {
                Fill::More => {}
                Fill::Drained => break,
                Fill::Closed => bail!("connection closed by the contender"),
            }
        }
        self.links[at].flush().context("sending")
    }

    /// Responses at the sender.
    fn answers(&mut self, at: usize, lane: usize) -> Result<()> {
        let now = Instant::now();
        loop {
            let (input, out) = self.links[at].parts();
            let Some(frame) = frame::parse(input)? else { break };
            let octets = frame.octets;
            match frame.kind {
                Kind::Response(200) => {
                    let seq =
                        crate::message::sequence_of(frame.tid, lane).context("200 to no SEND of ours")?;
                    let sender = &mut self.senders[lane];
                    let flying =
                        seq.checked_sub(sender.first).and_then(|n| sender.flying.get_mut(n as usize));
                    let flying = flying.context("200 to a SEND that is not outstanding")?;
                    ensure!(!flying.answered, "two 200 to one SEND");
                    flying.answered = true;
                    self.settle(lane, now);
                }
                Kind::Response(status) => bail!("a SEND was answered {status}"),
                Kind::Request(b"SEND") => frame::write_ok(out, &frame, self.senders[lane].own.as_bytes()),
                Kind::Request(_) => {}
            }
            self.links[at].consume(octets);
        }
        self.top_up(lane);
        Ok(())
    }

    /// SENDs at a sink.
    fn deliveries(&mut self, at: usize, lane: usize, number: usize) -> Result<()> {
        let now = Instant::now();
        let mut touched = false;
        loop {
            let sink = &mut self.sinks[lane][number];
            let (input, out) = self.links[at].parts();
            let Some(frame) = frame::parse(input)? else { break };
            let octets = frame.octets;
            if frame.kind == Kind::Request(b"SEND") {
                frame::write_ok(out, &frame, &sink.own);
                if frame.body.is_some() && sink.take(&frame, lane, &self.body)? && !sink.device {
                    let sender = &mut self.senders[lane];
                    let seq = sink.expected - 1;
                    let flying =
                        seq.checked_sub(sender.first).and_then(|n| sender.flying.get_mut(n as usize));
                    let flying = flying.context("a message came that was not sent")?;
                    flying.delivered = true;
                    self.counted.one_way.add(now - flying.sent);
                    touched = true;
                    self.settle(lane, now);
                }
            }
            self.links[at].consume(octets);
        }
        if touched {
            self.top_up(lane);
            let own_link = self.senders[lane].own_link;
            self.links[own_link].flush().context("sending")?;
        }
        Ok(())
    }

    /// Counts the lane's complete transactions.
    fn settle(&mut self, lane: usize, now: Instant) {
        let sender = &mut self.senders[lane];
        while let Some(InFlight { sent, answered: true, delivered: true }) = sender.flying.front() {
            self.counted.complete.add(now - *sent);
            self.counted.transactions += 1;
            sender.flying.pop_front();
            sender.first += 1;
        }
    }

    /// As many SENDs as the clock has struck, each on the next lane that has none outstanding. What finds no lane is
    /// left out: the rate that was reached tells.
    fn strike(&mut self) -> Result<()> {
        let Some(clock) = &mut self.clock else { return Ok(()) };
        for _ in 0..clock.struck()? {
            let free = (0..self.active).map(|n| (self.turn + n) % self.active);
            let Some(lane) = free.into_iter().find(|lane| self.senders[*lane].flying.is_empty()) else {
                break;
            };
            self.turn = lane + 1;
            self.write(lane, 1);
            let own_link = self.senders[lane].own_link;
            self.links[own_link].flush().context("sending")?;
        }
        Ok(())
    }

    /// Sends until the lane has its depth outstanding.
    fn top_up(&mut self, lane: usize) {
        if self.clock.is_none() {
            self.write(lane, self.depth);
        }
    }

    fn write(&mut self, lane: usize, depth: usize) {
        if !self.sending || lane >= self.active {
            return;
        }
        let sender = &mut self.senders[lane];
        let out = &mut self.links[sender.own_link].out;
        while sender.flying.len() < depth {
            let seq = sender.next_seq();
            let Some(template) = &sender.template else { return };
            template.write(out, seq);
            sender.flying.push_back(InFlight { sent: Instant::now(), answered: false, delivered: false });
        }
    }
}

impl Sink {
    /// Checks a chunk; true when it ends its message.
    fn take(&mut self, frame: &Frame<'_>, lane: usize, body: &[u8]) -> Result<bool> {
        let chunk = frame.body.unwrap_or_default();
        ensure!(
            crate::message::message_id(lane, self.expected).as_slice() == frame.message_id,
            "message {} came where {} of lane {lane} was due",
            String::from_utf8_lossy(frame.message_id),
            self.expected
        );
        ensure!(frame.to_path == self.own, "To-Path {}", String::from_utf8_lossy(frame.to_path));
        ensure!(frame.start == self.offset + 1, "chunk begins at {} after {}", frame.start, self.offset);
        ensure!(frame.total.is_none_or(|total| total == body.len() as u64), "total of Byte-Range");
        let begin = usize::try_from(self.offset)?;
        crate::message::check(chunk, body, begin, self.expected)?;
        self.offset += chunk.len() as u64;
        match frame.flag {
            b'+' => Ok(false),
            b'$' => {
                ensure!(self.offset == body.len() as u64, "message ends after {} octets", self.offset);
                self.offset = 0;
                self.expected += 1;
                Ok(true)
            }
            _ => bail!("message aborted"),
        }
    }
}

#[cfg(test)]
#[path = "load_notices.rs"]
mod notices;
