//! The yardstick: the least that is still an MSRP relay.
//!
//! One thread, edge-triggered epoll, no SIP, no policy. It parses every frame as it arrives, matches To-Path, puts prebuilt
//! path lines of each leg's own into it and forwards the rest cut-through: to the far end and to every device; the far
//! end's answers go back, the devices' answers are parsed and dropped. A leg that cannot take octets stops the reading
//! from its source. What a full relay spends beyond this is the price of its features.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    ops::Range,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use anyhow::{Context, Result, ensure};
use memchr::{memchr, memmem};

/// Receive buffer, shared by all connections, in octets.
const INPUT: usize = 256 * 1024;
/// Longest head, in octets.
const HEAD: usize = 16 * 1024;
/// Below this many octets one copy and `write` is cheaper than `writev`.
const GATHER: usize = 16 * 1024;

/// Paths of session `session`, leg `leg`, as relay and bench both know them.
pub(crate) struct Names {
    /// The relay's URI towards the sender.
    pub(crate) relay_a: String,
    /// The sender's URI.
    pub(crate) sender: String,
}

impl Names {
    /// Of the session that was accepted as number `session`.
    pub(crate) fn new(relay: SocketAddr, session: usize) -> Names {
        Names {
            relay_a: format!("msrp://{relay}/a{session:06};tcp"),
            sender: format!("msrp://127.0.0.1:9/ua{session:06};tcp"),
        }
    }

    /// URI of sink `leg`.
    pub(crate) fn sink(sinks: SocketAddr, session: usize, leg: usize) -> String {
        format!("msrp://{sinks}/s{session:06}-{leg};tcp")
    }

    fn relay_leg(relay: SocketAddr, session: usize, leg: usize) -> String {
        format!("msrp://{relay}/l{session:06}-{leg};tcp")
    }
}

/// Runs until it is killed. `ready` is called with the address once it listens.
pub(crate) fn serve(
    listen: IpAddr,
    sinks: SocketAddr,
    fanout: usize,
    ready: impl FnOnce(SocketAddr) -> Result<()>,
) -> Result<()> {
    let listener = TcpListener::bind((listen, 0))?;
    let mut relay = Relay {
        address: listener.local_addr()?,
        sinks,
        fanout,
        epoll: epoll_create()?,
        conns: Vec::new(),
        sessions: 0,
        input: vec![0; INPUT],
        segments: Vec::new(),
        gather: Vec::with_capacity(GATHER),
    };
    relay.watch(listener.as_raw_fd(), u64::MAX, libc::EPOLLIN as u32)?;
    ready(relay.address)?;
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; 256];
    loop {
        // SAFETY: `events` is a live array of 256 entries.
        let n = unsafe { libc::epoll_wait(relay.epoll.as_raw_fd(), events.as_mut_ptr(), 256, -1) };
        if n < 0 {
            let error = io::Error::last_os_error();
            ensure!(error.kind() == io::ErrorKind::Interrupted, "epoll_wait: {error}");
            continue;
        }
        for event in &events[..n as usize] {
            let (what, which) = (event.events, event.u64);
            if which == u64::MAX {
                let (client, _) = listener.accept()?;
                relay.accept(client)?;
            } else {
                relay.event(which as usize, what);
            }
        }
    }
}

fn epoll_create() -> Result<OwnedFd> {
    // SAFETY: no pointers; the result is checked before it is owned.
    let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    ensure!(fd >= 0, "epoll_create1: {}", io::Error::last_os_error());
    // SAFETY: `fd` is open and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A piece of output.
enum Segment {
    /// The path lines of the leg.
    Paths,
    /// Octets of the input.
    Input(Range<usize>),
}

/// One connection.
struct Conn {
    stream: TcpStream,
    parser: Parser,
    /// Start of a frame whose head is not complete.
    held: Vec<u8>,
    /// Octets that the socket did not take.
    pending: Vec<u8>,
    /// Path lines of what is sent on this connection.
    lines: Vec<u8>,
    /// Connections that get what arrives here.
    targets: Vec<usize>,
    /// The connection whose octets go out here, resumed when `pending` is empty.
    source: Option<usize>,
    /// Data may wait in the socket, but a target is full.
    paused: bool,
}

struct Relay {
    address: SocketAddr,
    sinks: SocketAddr,
    fanout: usize,
    epoll: OwnedFd,
    conns: Vec<Option<Conn>>,
    sessions: usize,
    input: Vec<u8>,
    segments: Vec<Segment>,
    gather: Vec<u8>,
}

impl Relay {
    fn watch(&self, fd: i32, which: u64, events: u32) -> Result<()> {
        let mut event = libc::epoll_event { events, u64: which };
        // SAFETY: `event` lives through the call.
        let result = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) };
        ensure!(result == 0, "epoll_ctl: {}", io::Error::last_os_error());
        Ok(())
    }

    /// Takes a sender in and connects to its sinks, sink 0 first.
    fn accept(&mut self, client: TcpStream) -> Result<()> {
        let session = self.sessions;
        self.sessions += 1;
        let names = Names::new(self.address, session);
        let first = self.conns.len();
        let legs: Vec<usize> = (first + 1..=first + self.fanout).collect();
        let lines = |to: &str, from: &str| format!("To-Path: {to}\r\nFrom-Path: {from}\r\n").into_bytes();
        self.add(client, &names.relay_a, lines(&names.sender, &names.relay_a), legs, Some(first + 1))?;
        for leg in 0..self.fanout {
            let stream = TcpStream::connect(self.sinks).context("a sink does not answer")?;
            let own = Names::relay_leg(self.address, session, leg);
            let to = Names::sink(self.sinks, session, leg);
            let back = if leg == 0 { vec![first] } else { Vec::new() };
            self.add(stream, &own, lines(&to, &own), back, Some(first))?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        stream: TcpStream,
        own: &str,
        lines: Vec<u8>,
        targets: Vec<usize>,
        source: Option<usize>,
    ) -> Result<()> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let events = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        self.watch(stream.as_raw_fd(), self.conns.len() as u64, events as u32)?;
        let parser = Parser::new(own);
        let (held, pending, paused) = (Vec::new(), Vec::new(), false);
        self.conns.push(Some(Conn { stream, parser, held, pending, lines, targets, source, paused }));
        Ok(())
    }

    fn event(&mut self, at: usize, what: u32) {
        let mut result = Ok(());
        if what & libc::EPOLLOUT as u32 != 0 {
            result = self.writable(at);
        }
        let readable = libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR;
        if result.is_ok() && what & readable as u32 != 0 {
            result = self.readable(at);
        }
        if result.is_err() {
            self.close(at);
        }
    }

    fn writable(&mut self, at: usize) -> io::Result<()> {
        let Some(conn) = self.conns[at].as_mut().filter(|conn| !conn.pending.is_empty()) else {
            return Ok(());
        };
        let n = write(&conn.stream, &conn.pending)?;
        conn.pending.drain(..n);
        let source = conn.source.filter(|_| conn.pending.is_empty());
        if let Some(source) = source
            && self.conns[source].as_ref().is_some_and(|conn| conn.paused)
        {
            return self.readable(source);
        }
        Ok(())
    }

    /// Reads, parses and forwards until the socket is empty or a target is full.
    fn readable(&mut self, at: usize) -> io::Result<()> {
        let Some(mut conn) = self.conns[at].take() else { return Ok(()) };
        let result = self.pump(&mut conn);
        self.conns[at] = Some(conn);
        result
    }

    fn pump(&mut self, conn: &mut Conn) -> io::Result<()> {
        loop {
            let full = |at: &usize| self.conns[*at].as_ref().is_some_and(|target| !target.pending.is_empty());
            conn.paused = conn.targets.iter().any(full);
            if conn.paused {
                return Ok(());
            }
            let held = conn.held.len();
            self.input[..held].copy_from_slice(&conn.held);
            conn.held.clear();
            let free = self.input.len() - held;
            let n = match (&conn.stream).read(&mut self.input[held..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            self.segments.clear();
            let end = held + n;
            let used = conn.parser.run(&self.input[..end], &mut self.segments)?;
            conn.held.extend_from_slice(&self.input[used..end]);
            if !self.segments.is_empty() {
                for target in &conn.targets {
                    if let Some(target) = self.conns[*target].as_mut() {
                        send(target, &self.input, &self.segments, &mut self.gather)?;
                    }
                }
            }
            if n < free {
                return Ok(());
            }
        }
    }

    fn close(&mut self, at: usize) {
        // A session's connections stand in a row: the sender, then its legs.
        let first = at - at % (self.fanout + 1);
        for conn in &mut self.conns[first..=first + self.fanout] {
            *conn = None;
        }
    }
}

/// Writes `segments` to `target` with one system call; what the socket does not take becomes pending.
fn send(target: &mut Conn, input: &[u8], segments: &[Segment], gather: &mut Vec<u8>) -> io::Result<()> {
    let lines = std::mem::take(&mut target.lines);
    let piece = |segment: &Segment| match segment {
        Segment::Paths => lines.as_slice(),
        Segment::Input(range) => &input[range.clone()],
    };
    let total: usize = segments.iter().map(|segment| piece(segment).len()).sum();
    let mut result = Ok(());
    if total <= GATHER {
        gather.clear();
        segments.iter().for_each(|segment| gather.extend_from_slice(piece(segment)));
        match write(&target.stream, gather) {
            Ok(n) => target.pending.extend_from_slice(&gather[n..]),
            Err(error) => result = Err(error),
        }
    } else {
        let slices: Vec<io::IoSlice<'_>> =
            segments.iter().map(|segment| io::IoSlice::new(piece(segment))).collect();
        let mut skip = match (&target.stream).write_vectored(&slices[..slices.len().min(1024)]) {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => {
                result = Err(error);
                total
            }
        };
        for slice in &slices {
            let gone = skip.min(slice.len());
            skip -= gone;
            target.pending.extend_from_slice(&slice[gone..]);
        }
    }
    target.lines = lines;
    result
}

fn write(mut stream: &TcpStream, octets: &[u8]) -> io::Result<usize> {
    match stream.write(octets) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

/// Where in a frame the stream stands.
enum State {
    Head,
    /// In a body with this many octets to come.
    Body(usize),
    /// In a body of unknown length.
    Scan,
    /// CRLF and end-line.
    Tail,
}

/// Cut-through parser of one direction of one connection.
struct Parser {
    state: State,
    /// The To-Path line that every frame must have.
    to_line: Vec<u8>,
    /// CRLF, seven dashes and the transaction id of the current frame.
    end: Vec<u8>,
}

impl Parser {
    fn new(own: &str) -> Parser {
        Parser { state: State::Head, to_line: format!("To-Path: {own}\r").into_bytes(), end: Vec::new() }
    }

    /// Parses `input`, appends what goes out and returns how many octets were used; the rest must come again.
    fn run(&mut self, input: &[u8], out: &mut Vec<Segment>) -> io::Result<usize> {
        let mut at = 0;
        while at < input.len() {
            let rest = &input[at..];
            let used = match self.state {
                State::Head => self.head(rest, at, out)?,
                State::Body(left) => {
                    let n = left.min(rest.len());
                    self.state = if n == left { State::Tail } else { State::Body(left - n) };
                    Some(n)
                }
                State::Scan => match memmem::find(rest, &self.end) {
                    Some(n) => {
                        self.state = State::Tail;
                        Some(n)
                    }
                    None => Some(rest.len().saturating_sub(self.end.len())).filter(|n| *n > 0),
                },
                State::Tail if rest.len() < self.end.len() + 3 => None,
                State::Tail => {
                    let (end, flag) = rest[..self.end.len() + 3].split_at(self.end.len());
                    if end == self.end && matches!(flag[0], b'$' | b'+' | b'#') && flag[1..] == *b"\r\n" {
                        self.state = State::Head;
                        Some(self.end.len() + 3)
                    } else {
                        self.state = State::Scan;
                        Some(1)
                    }
                }
            };
            let Some(used) = used else { break };
            // A head wrote its own segments; everything else goes on as it came.
            match out.last_mut() {
                _ if used == 0 => {}
                Some(Segment::Input(range)) if range.end == at => range.end = at + used,
                Some(Segment::Input(range)) if range.end == at + used => {}
                _ => out.push(Segment::Input(at..at + used)),
            }
            at += used;
        }
        Ok(at)
    }

    /// A head at `base` of the input: its length, or `None` while it is not complete.
    fn head(&mut self, rest: &[u8], base: usize, out: &mut Vec<Segment>) -> io::Result<Option<usize>> {
        let bad = || io::Error::from(io::ErrorKind::InvalidData);
        let (mut line, mut number, mut length, mut paths) = (0, 0, None, 0..0);
        loop {
            let Some(n) = memchr(b'\n', &rest[line..]) else {
                return if rest.len() > HEAD { Err(bad()) } else { Ok(None) };
            };
            let (text, next) = (&rest[line..line + n], line + n + 1);
            match number {
                0 => {
                    let tid = text.strip_prefix(b"MSRP ").ok_or_else(bad)?;
                    let tid = &tid[..memchr(b' ', tid).ok_or_else(bad)?];
                    self.end.clear();
                    self.end.extend_from_slice(b"\r\n-------");
                    self.end.extend_from_slice(tid);
                    paths.start = next;
                }
                1 if text != self.to_line.as_slice() => return Err(bad()),
                1 => {}
                2 if !text.starts_with(b"From-Path: ") => return Err(bad()),
                2 => paths.end = next,
                _ => {
                    let bodyless = text.starts_with(&self.end[2..]) && text.len() == self.end.len();
                    if text == b"\r" || bodyless {
                        out.push(Segment::Input(base..base + paths.start));
                        out.push(Segment::Paths);
                        out.push(Segment::Input(base + paths.end..base + next));
                        if !bodyless {
                            self.state = length.map_or(State::Scan, State::Body);
                        }
                        return Ok(Some(next));
                    }
                    if let Some(value) = text.strip_prefix(b"Byte-Range: ") {
                        length = range_length(value);
                    }
                }
            }
            (line, number) = (next, number + 1);
        }
    }
}

/// Octets of `start-end/total` if the end is known.
fn range_length(value: &[u8]) -> Option<usize> {
    let (start, rest) = std::str::from_utf8(value).ok()?.split_once('-')?;
    let (end, _) = rest.split_once('/')?;
    (end.parse::<usize>().ok()? + 1).checked_sub(start.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(parser: &mut Parser, held: &mut Vec<u8>, octets: &[u8], out: &mut Vec<u8>) {
        held.extend_from_slice(octets);
        let mut segments = Vec::new();
        let used = parser.run(held, &mut segments).unwrap();
        for segment in segments {
            match segment {
                Segment::Paths => out.extend_from_slice(b"To-Path: T\r\nFrom-Path: F\r\n"),
                Segment::Input(range) => out.extend_from_slice(&held[range]),
            }
        }
        held.drain(..used);
    }

    #[test]
    fn rewrites_the_paths_however_the_stream_is_cut() {
        let frames = |to: &str, from: &str| {
            let paths = format!("To-Path: {to}\r\nFrom-Path: {from}\r\n");
            let fake = "x\r\n-------abcd123\r\n-------abcd1234!y";
            let n = fake.len();
            format!(
                "MSRP abcd1234 SEND\r\n{paths}Byte-Range: 1-{n}/{n}\r\nContent-Type: a/b\r\n\r\n{fake}\r\n-------abcd1234$\r\n\
                 MSRP abcd1235 SEND\r\n{paths}Byte-Range: 1-*/{n}\r\nContent-Type: a/b\r\n\r\n{fake}\r\n-------abcd1235+\r\n"
            )
        };
        let input = frames("msrp://r:1/a;tcp", "msrp://b:2/y;tcp");
        let wanted = frames("T", "F");
        for step in [1, 2, 3, 7, 50, 10_000] {
            let (mut parser, mut held, mut out) = (Parser::new("msrp://r:1/a;tcp"), Vec::new(), Vec::new());
            for piece in input.as_bytes().chunks(step) {
                forward(&mut parser, &mut held, piece, &mut out);
            }
            assert_eq!(String::from_utf8(out).unwrap(), wanted, "step {step}");
        }
    }

    #[test]
    fn forwards_responses_and_refuses_other_sessions() {
        let text =
            b"MSRP abcd1234 200 OK\r\nTo-Path: msrp://r:1/a;tcp\r\nFrom-Path: x\r\n-------abcd1234$\r\n";
        let (mut parser, mut held, mut out) = (Parser::new("msrp://r:1/a;tcp"), Vec::new(), Vec::new());
        forward(&mut parser, &mut held, text, &mut out);
        assert_eq!(out, b"MSRP abcd1234 200 OK\r\nTo-Path: T\r\nFrom-Path: F\r\n-------abcd1234$\r\n");
        assert!(Parser::new("msrp://r:1/b;tcp").run(text, &mut Vec::new()).is_err());
    }
}
