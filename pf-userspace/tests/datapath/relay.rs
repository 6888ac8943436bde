//! A relay as small as it can be and still keep the promises U1 to U3 of `docs/datapath.md`: peer 0 is the originator,
//! peer 1 the far end, others are devices.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{Read, Write},
    net::TcpStream,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use pf::fastpath::{Datapath, LegPlan, RegisterError};
use pf_common::{
    maps::{ControlRow, LogHeader, Op, RecordKind},
    splice::seq,
};

use super::message::{first, in_block, out_block, session};

struct Peer {
    socket: TcpStream,
    connection: u32,
    leg: u32,
    /// Octets read, not relayed yet.
    input: Vec<u8>,
    parsed: u32,
    /// Octets to be written to the kernel socket.
    queue: VecDeque<u8>,
    written: u32,
    handled: u32,
    /// Messages of the log, by position.
    log: BTreeMap<u32, (bool, Vec<u8>)>,
    /// What is to be released when all legs have acknowledged their marks.
    mark: Option<(u32, Vec<(usize, u32)>)>,
    closed: bool,
}

pub(crate) struct Relay {
    pub(crate) datapath: Datapath,
    peers: Vec<Peer>,
    ticked: Instant,
    /// Messages that userspace relayed.
    pub(crate) slow: u64,
    /// Octets that were rolled back.
    pub(crate) rolled_back: u64,
    /// Whether anything is armed.
    pub(crate) arms: bool,
}

impl Relay {
    /// In the relay's namespace.
    pub(crate) fn new(mut datapath: Datapath, sockets: Vec<TcpStream>) -> Relay {
        let mut peers: Vec<Peer> = Vec::new();
        for socket in sockets {
            let registered = loop {
                match datapath.register(socket.as_fd()) {
                    Ok(registered) => break registered,
                    Err(RegisterError::Busy) => std::thread::sleep(Duration::from_millis(1)),
                    Err(error) => panic!("{error}"),
                }
            };
            peers.push(Peer {
                socket,
                connection: registered.connection,
                leg: datapath.new_leg().unwrap(),
                input: Vec::new(),
                parsed: registered.parsed,
                queue: VecDeque::new(),
                written: registered.written,
                handled: 0,
                log: BTreeMap::new(),
                mark: None,
                closed: false,
            });
        }
        let legs: Vec<u32> = peers.iter().map(|peer| peer.leg).collect();
        for (n, peer) in peers.iter().enumerate() {
            let plan = LegPlan {
                connection: peer.connection,
                session: session(n).into_bytes(),
                in_block: in_block(n),
                out_block: out_block(n),
                any_type: false,
                long: true,
                answer_to: (n < 2).then(|| legs[1 - n]),
                targets: targets(n, legs.len()).into_iter().map(|to| legs[to]).collect(),
            };
            datapath.set_leg(peer.leg, &plan).unwrap();
        }
        Relay { datapath, peers, ticked: Instant::now(), slow: 0, rolled_back: 0, arms: true }
    }

    /// One round; whether all peers have closed.
    pub(crate) fn round(&mut self) -> bool {
        self.read();
        let views = self.view();
        self.drain_log();
        self.relay(&views);
        self.write();
        self.release();
        if self.arms {
            self.arm();
        }
        if self.ticked.elapsed() >= Duration::from_millis(30) {
            self.ticked = Instant::now();
            self.batch(|peer| ControlRow::new(Op::Tick, peer.connection, 0, 0));
        }
        self.peers.iter().all(|peer| peer.closed)
    }

    fn batch(&mut self, row: impl Fn(&Peer) -> ControlRow) -> Vec<ControlRow> {
        let mut rows: Vec<ControlRow> = self.peers.iter().map(row).collect();
        self.datapath.batch(&mut rows).unwrap();
        rows
    }

    pub(crate) fn view(&mut self) -> Vec<ControlRow> {
        self.batch(|peer| ControlRow::new(Op::View, peer.connection, 0, 0))
    }

    fn read(&mut self) {
        for peer in &mut self.peers {
            let mut octets = [0; 65536];
            loop {
                match peer.socket.read(&mut octets) {
                    Ok(0) => peer.closed = true,
                    Ok(n) => {
                        peer.input.extend(&octets[..n]);
                        continue;
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => peer.closed = true,
                }
                break;
            }
        }
    }

    /// What missed a leg is queued for it, in order.
    fn drain_log(&mut self) {
        let mut records: Vec<(LogHeader, Vec<u8>)> = Vec::new();
        self.datapath.read_log(&mut |header, message| records.push((*header, message.to_vec())));
        for (header, message) in records {
            if header.kind == RecordKind::Notice as u32 {
                continue;
            }
            let send = header.kind == RecordKind::Send as u32;
            let from = self.peers.iter().position(|peer| peer.connection == header.connection).unwrap();
            assert_eq!(self.peers[from].leg, header.leg);
            for (bit, to) in self.goes_to(from, send).into_iter().enumerate() {
                if header.missed & (1 << bit) != 0 {
                    let copy = rewritten(&message, from, to);
                    self.peers[to].queue.extend(copy);
                    self.peers[to].handled += 1;
                }
            }
            self.peers[from].log.insert(header.position, (send, message));
        }
    }

    fn goes_to(&self, from: usize, send: bool) -> Vec<usize> {
        if send { targets(from, self.peers.len()) } else { vec![1 - from] }
    }

    /// Relays what was read, where the source is slow and nothing is in work.
    fn relay(&mut self, views: &[ControlRow]) {
        for (from, view) in views.iter().enumerate() {
            if !view.ready_for_slow() {
                continue;
            }
            while let Some((len, send, _)) = first(&self.peers[from].input) {
                let message: Vec<u8> = self.peers[from].input.drain(..len).collect();
                self.peers[from].parsed = self.peers[from].parsed.wrapping_add(len as u32);
                self.slow += 1;
                if !send && from > 1 {
                    continue;
                }
                for to in self.goes_to(from, send) {
                    let copy = rewritten(&message, from, to);
                    self.peers[to].queue.extend(copy);
                }
            }
        }
    }

    /// Takes legs that have something to write, or were left.
    fn write(&mut self) {
        let views = self.view();
        for (n, view) in views.iter().enumerate() {
            let leaving = !view.leg_is_slow() && !view.leg_is_fast();
            if !view.leg_is_slow() && (leaving || !self.peers[n].queue.is_empty()) {
                self.take(n);
            }
            let peer = &mut self.peers[n];
            while !peer.queue.is_empty() {
                match peer.socket.write(peer.queue.make_contiguous()) {
                    Ok(written) => {
                        peer.queue.drain(..written);
                        peer.written = peer.written.wrapping_add(written as u32);
                    }
                    Err(_) => break,
                }
            }
        }
    }

    /// What was rolled back goes before everything else.
    fn take(&mut self, n: usize) {
        let mut rows = [ControlRow::new(Op::Take, self.peers[n].connection, 0, 0)];
        self.datapath.batch(&mut rows).unwrap();
        let row = rows[0];
        assert_eq!(row.taken_broken, 0);
        if row.taken_octets == 0 {
            return;
        }
        // The records of what is in the journal have been submitted; they may not have been read yet.
        self.drain_log_until_quiet();
        let connection = self.datapath.connection(self.peers[n].connection).unwrap();
        let mut again = Vec::new();
        for at in 0..connection.journal.len() {
            let entry = connection.journal.get(at).unwrap();
            let from = self.peers.iter().position(|peer| peer.connection == entry.source).unwrap();
            let (_, message) = self.peers[from].log.get(&entry.position).unwrap();
            let copy = rewritten(message, from, n);
            assert_eq!(copy.len(), entry.len as usize);
            let skip = seq::distance(entry.wire, row.taken_from) as usize;
            again.extend(&copy[skip.min(copy.len())..]);
        }
        assert_eq!(again.len(), row.taken_octets as usize);
        self.rolled_back += again.len() as u64;
        for octet in again.into_iter().rev() {
            self.peers[n].queue.push_front(octet);
        }
    }

    /// A message that is in work has a place in the journal before its record can be read.
    fn drain_log_until_quiet(&mut self) {
        loop {
            let views = self.view();
            self.drain_log();
            if views.iter().all(|view| view.in_work == 0) {
                break;
            }
        }
    }

    /// U3.
    fn release(&mut self) {
        let views = self.view();
        // Everything finished has been read before the marks are set.
        self.drain_log();
        let marks = self.view();
        for (from, view) in views.iter().enumerate() {
            match self.peers[from].mark.take() {
                None if !self.peers[from].log.is_empty() => {
                    let legs = (0..self.peers.len()).map(|to| (to, marks[to].highest)).collect();
                    self.peers[from].mark = Some((view.finished, legs));
                }
                Some((finished, legs)) => {
                    let reached = |(to, mark): &(usize, u32)| !seq::before(marks[*to].acked, *mark);
                    if !legs.iter().all(reached) {
                        self.peers[from].mark = Some((finished, legs));
                        continue;
                    }
                    let mut octets = 0;
                    self.peers[from].log.retain(|position, (_, message)| {
                        let held = !seq::before(*position, finished);
                        octets += if held { 0 } else { message.len() as u32 };
                        held
                    });
                    let mut rows = [ControlRow::new(Op::Release, self.peers[from].connection, octets, 0)];
                    self.datapath.batch(&mut rows).unwrap();
                }
                None => {}
            }
        }
    }

    fn arm(&mut self) {
        let views = self.view();
        let mut rows = Vec::new();
        for (peer, view) in self.peers.iter().zip(&views) {
            if view.leg_is_slow() && peer.queue.is_empty() {
                rows.push(ControlRow::new(Op::ArmLeg, peer.connection, peer.written, peer.handled));
            }
        }
        let quiet = self.peers.iter().all(|peer| peer.queue.is_empty());
        for (peer, view) in self.peers.iter().zip(&views) {
            if view.source_mode == 0 && quiet && peer.input.is_empty() {
                rows.push(ControlRow::new(Op::ArmSource, peer.connection, peer.parsed, 0));
            }
        }
        self.datapath.batch(&mut rows).unwrap();
    }

    /// Makes every source slow and takes every leg.
    pub(crate) fn fall_back(&mut self) {
        self.batch(|peer| ControlRow::new(Op::LeaveSource, peer.connection, 0, 0));
        for n in 0..self.peers.len() {
            self.take(n);
        }
    }

    pub(crate) fn socket(&mut self, n: usize) -> &mut TcpStream {
        &mut self.peers[n].socket
    }

    /// Closes the sockets.
    pub(crate) fn close(&mut self) {
        for peer in self.peers.drain(..) {
            self.datapath.forget(peer.connection);
        }
    }
}

/// Where messages of a peer go.
fn targets(from: usize, peers: usize) -> Vec<usize> {
    match from {
        0 => (1..peers).collect(),
        1 => [0].into_iter().chain(2..peers).collect(),
        _ => Vec::new(),
    }
}

fn rewritten(message: &[u8], from: usize, to: usize) -> Vec<u8> {
    let (_, _, line) = first(message).unwrap();
    let rest = line + in_block(from).len();
    [&message[..line], &out_block(to), &message[rest..]].concat()
}
