//! Load for the relay alone, on loopback: CPU of the relay's worker per SEND.
//!
//! `relay_load [connections] [outstanding] [body] [devices] [seconds]`: so many sessions with one connection per leg; an
//! operation is complete when the far end's 200 is back at the sender. Frames are counted by their fixed length
//! at both ends, so that the ends cost little.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream as StdStream},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};
use pf::{
    core::event::{LegKey, LegRole, MediaCommand, MediaEvent, RemoteLeg, Setup, StreamKey, StreamPolicy},
    msrp::{Relay, RelayConfig},
};

const TID: usize = 12;

fn main() {
    let args: Vec<usize> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    let get = |n: usize, default| args.get(n).copied().unwrap_or(default);
    let (connections, outstanding, body, devices, seconds) =
        (get(0, 8), get(1, 4), get(2, 100), get(3, 0), get(4, 3));
    let mut config = RelayConfig { listen: vec![(Ipv4Addr::LOCALHOST, 0).into()], ..Default::default() };
    config.limits.reuse_connections = false;
    let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
    let relay = Relay::start(config, sender).unwrap();
    let address = relay.local()[0];
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = listener.local_addr().unwrap();
    let (mut sources, mut sinks) = (vec![], vec![]);
    for n in 0..connections as u64 {
        let stream = StreamKey(n);
        let policy = StreamPolicy { copy_far: true, copy_devices: true };
        relay.command(MediaCommand::OpenStream { stream, policy });
        let open = |leg: u64, role| {
            let local = format!("msrp://{address}/session-{leg:032};tcp");
            relay.command(MediaCommand::OpenLeg { leg: LegKey(leg), stream, role, local: local.clone() });
            local
        };
        let base = n * 100;
        let ours = open(base, LegRole::Originator);
        let path = format!("msrp://127.0.0.1:9/peer-{base:032};tcp");
        relay.command(MediaCommand::ConnectLeg {
            leg: LegKey(base),
            remote: remote(&path, Setup::Passive, String::new()),
        });
        let mut a = StdStream::connect(address).unwrap();
        let bind = format!(
            "MSRP bindbindbind SEND\r\nTo-Path: {ours}\r\nFrom-Path: {path}\r\nMessage-ID: bbbb\r\n-------bindbindbind$\r\n"
        );
        a.write_all(bind.as_bytes()).unwrap();
        one_frame(&mut a);
        sources.push(Source::new(a, &ours, &path, body, n));
        for leg in base + 1..=base + 1 + devices as u64 {
            let ours = open(leg, if leg == base + 1 { LegRole::Far } else { LegRole::Device });
            let path = format!("msrp://{at}/peer-{leg:032};tcp");
            relay.command(MediaCommand::ConnectLeg {
                leg: LegKey(leg),
                remote: remote(&path, Setup::Active, at.to_string()),
            });
            let mut f = listener.accept().unwrap().0;
            let greeting = String::from_utf8(one_frame(&mut f)).unwrap();
            let tid = greeting.split(' ').nth(1).unwrap();
            let answer =
                format!("MSRP {tid} 200 OK\r\nTo-Path: {ours}\r\nFrom-Path: {path}\r\n-------{tid}$\r\n");
            f.write_all(answer.as_bytes()).unwrap();
            sinks.push(Sink::new(f, &ours, &path));
        }
    }
    let mut up = 0;
    while up < connections * (2 + devices) {
        if matches!(events.blocking_recv(), Some(MediaEvent::LegUp { .. })) {
            up += 1;
        }
    }
    let sink = std::thread::Builder::new().name("sink".into()).spawn(move || serve(sinks)).unwrap();
    let done = drive(&mut sources, outstanding, Duration::from_millis(300));
    assert!(done > 0);
    let (before, begin) = (cpu("msrp-0"), Instant::now());
    let done = drive(&mut sources, outstanding, Duration::from_secs(seconds as u64));
    let (spent, took) = (cpu("msrp-0") - before, begin.elapsed());
    println!(
        "{connections} x {outstanding}, {body} octets, {devices} devices: {:.0} SEND/s, relay {:.2} us CPU per SEND ({:.0} % busy)",
        done as f64 / took.as_secs_f64(),
        spent as f64 / 1e3 / done as f64,
        100.0 * spent as f64 / 1e9 / took.as_secs_f64()
    );
    drop((relay, sources));
    sink.join().unwrap();
}

fn remote(path: &str, setup: Setup, connect_to: String) -> RemoteLeg {
    RemoteLeg {
        path: vec![path.to_owned()],
        setup,
        connect_to,
        accept_types: vec!["*".to_owned()],
        accept_wrapped_types: vec![],
        max_size: None,
        legacy_matching: false,
        may_send: true,
    }
}

fn one_frame(stream: &mut StdStream) -> Vec<u8> {
    let mut octets = vec![];
    while !octets.ends_with(b"$\r\n") {
        let mut one = [0];
        stream.read_exact(&mut one).unwrap();
        octets.push(one[0]);
    }
    octets
}

/// Nanoseconds that the thread of this name has run.
fn cpu(name: &str) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|t| t.unwrap().path());
    let named = tasks.filter(|t| std::fs::read_to_string(t.join("comm")).unwrap().trim() == name);
    named
        .map(|t| std::fs::read_to_string(t.join("schedstat")).unwrap())
        .map(|s| s.split(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

struct Source {
    stream: TcpStream,
    frame: Vec<u8>,
    number: u64,
    owed: usize,
    response: usize,
    got: usize,
    out: Vec<u8>,
}

impl Source {
    fn new(stream: StdStream, to: &str, from: &str, body: usize, n: u64) -> Source {
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        let tid = "t".repeat(TID);
        let head = format!(
            "MSRP {tid} SEND\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\nMessage-ID: {tid}\r\nByte-Range: 1-{body}/{body}\r\nContent-Type: message/cpim\r\n\r\n"
        );
        let frame =
            [head.as_bytes(), &vec![b'x'; body], format!("\r\n-------{tid}$\r\n").as_bytes()].concat();
        let response =
            format!("MSRP {tid} 200 OK\r\nTo-Path: {from}\r\nFrom-Path: {to}\r\n-------{tid}$\r\n").len();
        Source {
            stream: TcpStream::from_std(stream),
            frame,
            number: n << 32,
            owed: 0,
            response,
            got: 0,
            out: vec![],
        }
    }

    fn send(&mut self, n: usize) {
        for _ in 0..n {
            self.number += 1;
            let tid = format!("{:012x}", self.number);
            let end = self.frame.len();
            self.frame[5..5 + TID].copy_from_slice(tid.as_bytes());
            self.frame[end - 3 - TID..end - 3].copy_from_slice(tid.as_bytes());
            self.out.extend_from_slice(&self.frame);
            self.owed += 1;
        }
        self.flush();
    }

    fn flush(&mut self) {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(n) => drop(self.out.drain(..n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) => panic!("{e}"),
            }
        }
    }
}

/// Keeps `outstanding` SENDs in flight per source; gives the number completed.
fn drive(sources: &mut [Source], outstanding: usize, time: Duration) -> u64 {
    let mut poll = Poll::new().unwrap();
    for (n, source) in sources.iter_mut().enumerate() {
        poll.registry()
            .register(&mut source.stream, Token(n), Interest::READABLE | Interest::WRITABLE)
            .unwrap();
        source.send(outstanding);
    }
    let mut events = Events::with_capacity(1024);
    let (begin, mut done, mut buffer) = (Instant::now(), 0, vec![0; 1 << 16]);
    let mut owed: usize = sources.iter().map(|s| s.owed).sum();
    while owed > 0 {
        poll.poll(&mut events, None).unwrap();
        let go_on = begin.elapsed() < time;
        for event in &events {
            let source = &mut sources[event.token().0];
            source.flush();
            loop {
                match source.stream.read(&mut buffer) {
                    Ok(0) => panic!("the relay closed"),
                    Ok(n) => {
                        source.got += n;
                        let complete = source.got / source.response;
                        source.got %= source.response;
                        source.owed -= complete;
                        done += complete as u64;
                        if go_on && complete > 0 {
                            source.send(complete);
                        }
                        if n < buffer.len() {
                            break;
                        }
                    }
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(e) => panic!("{e}"),
                }
            }
        }
        owed = sources.iter().map(|s| s.owed).sum();
    }
    for source in sources.iter_mut() {
        poll.registry().deregister(&mut source.stream).unwrap();
    }
    done
}

struct Sink {
    stream: TcpStream,
    buffer: Vec<u8>,
    answer: Vec<u8>,
    frame: usize,
}

impl Sink {
    fn new(stream: StdStream, relay: &str, ours: &str) -> Sink {
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        let tid = "t".repeat(TID);
        let answer =
            format!("MSRP {tid} 200 OK\r\nTo-Path: {relay}\r\nFrom-Path: {ours}\r\n-------{tid}$\r\n")
                .into_bytes();
        Sink { stream: TcpStream::from_std(stream), buffer: vec![], answer, frame: 0 }
    }

    fn take(&mut self, octets: &mut [u8]) -> bool {
        loop {
            match self.stream.read(octets) {
                Ok(0) => return false,
                Ok(n) => {
                    self.buffer.extend_from_slice(&octets[..n]);
                    if n < octets.len() {
                        break;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        if self.frame == 0
            && let Some(at) = self.buffer.windows(3).position(|w| w == b"$\r\n")
        {
            self.frame = at + 3;
        }
        let (mut at, mut out) = (0, vec![]);
        while self.frame > 0 && self.buffer.len() - at >= self.frame {
            let tid: [u8; TID] = self.buffer[at + 5..at + 5 + TID].try_into().unwrap();
            assert!(
                self.buffer[at..].starts_with(b"MSRP ")
                    && self.buffer[at..at + self.frame].ends_with(b"$\r\n")
            );
            let end = self.answer.len();
            self.answer[5..5 + TID].copy_from_slice(&tid);
            self.answer[end - 3 - TID..end - 3].copy_from_slice(&tid);
            out.extend_from_slice(&self.answer);
            at += self.frame;
        }
        self.buffer.drain(..at);
        out.is_empty() || self.stream.write_all(&out).is_ok()
    }
}

fn serve(mut sinks: Vec<Sink>) {
    let mut poll = Poll::new().unwrap();
    for (n, sink) in sinks.iter_mut().enumerate() {
        poll.registry().register(&mut sink.stream, Token(n), Interest::READABLE).unwrap();
    }
    let (mut events, mut octets) = (Events::with_capacity(1024), vec![0; 1 << 16]);
    loop {
        poll.poll(&mut events, None).unwrap();
        for event in &events {
            if !sinks[event.token().0].take(&mut octets) {
                return;
            }
        }
    }
}
