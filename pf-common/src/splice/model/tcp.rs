//! A plain TCP endpoint (RFC 9293): the relay's kernel sockets and the peers. No SACK, no congestion control beyond
//! a fixed window; retransmission by timer and by three duplicates, with collapse; delayed ACKs; a receive buffer.

use super::std::collections::VecDeque;
use super::std::vec::Vec;
use super::{Rng, Seg};
use crate::splice::flags::{ACK, FIN, PSH, RST};
use crate::splice::seq::{after, before, earlier, later};

const RTO: u64 = 200_000;
const RTO_MAX: u64 = 1_600_000;
const DELAYED_ACK: u64 = 40_000;

pub(super) struct Tcp {
    mss: u32,
    // Sending.
    una: u32,
    nxt: u32,
    high: u32,
    unacked: VecDeque<u8>,
    limit: usize,
    edge: u32,
    fin_queued: bool,
    fin_acked: bool,
    duplicates: u32,
    recover: Option<u32>,
    rto: u64,
    rto_at: Option<u64>,
    // Receiving.
    rcv_nxt: u32,
    wup: u32,
    adv_edge: u32,
    capacity: usize,
    pending: VecDeque<u8>,
    beyond: Vec<(u32, Vec<u8>)>,
    fin_at: Option<u32>,
    fin_seen: bool,
    waiting: u32,
    delayed_at: Option<u64>,
    pub(super) out: Vec<Seg>,
    pub(super) reset: bool,
    /// An acknowledgement of what was never sent came in.
    pub(super) bad_ack: bool,
}

impl Tcp {
    pub(super) fn new(isn: u32, peer_isn: u32, mss: u32, capacity: usize, peer_window: u32) -> Tcp {
        let (una, rcv_nxt) = (isn.wrapping_add(1), peer_isn.wrapping_add(1));
        Tcp {
            mss,
            una,
            nxt: una,
            high: una,
            unacked: VecDeque::new(),
            limit: 8192,
            edge: una.wrapping_add(peer_window),
            fin_queued: false,
            fin_acked: false,
            duplicates: 0,
            recover: None,
            rto: RTO,
            rto_at: None,
            rcv_nxt,
            wup: rcv_nxt,
            adv_edge: rcv_nxt.wrapping_add(capacity as u32),
            capacity,
            pending: VecDeque::new(),
            beyond: Vec::new(),
            fin_at: None,
            fin_seen: false,
            waiting: 0,
            delayed_at: None,
            out: Vec::new(),
            reset: false,
            bad_ack: false,
        }
    }

    /// All octets and the FIN are acknowledged, and the peer's FIN has been read.
    pub(super) fn closed(&self) -> bool {
        self.fin_acked && self.fin_seen && self.pending.is_empty()
    }

    pub(super) fn describe(&self) -> super::std::string::String {
        super::std::format!(
            "una {} nxt {} high {} unacked {} edge +{} fin {}/{} rcv {} pending {} beyond {} fin_seen {}",
            self.una,
            self.nxt,
            self.high,
            self.unacked.len(),
            self.edge.wrapping_sub(self.una) as i32,
            self.fin_queued,
            self.fin_acked,
            self.rcv_nxt,
            self.pending.len(),
            self.beyond.len(),
            self.fin_seen
        )
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        match (self.rto_at, self.delayed_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    // The application's side.

    pub(super) fn room(&self) -> usize {
        self.limit.saturating_sub(self.unacked.len())
    }

    /// Takes as many octets as fit.
    pub(super) fn write(&mut self, octets: &[u8], now: u64) -> usize {
        let n = octets.len().min(self.room());
        self.unacked.extend(&octets[..n]);
        self.transmit(now);
        n
    }

    /// The peer has acknowledged all octets.
    pub(super) fn delivered(&self) -> bool {
        self.unacked.is_empty()
    }

    pub(super) fn shutdown(&mut self, now: u64) {
        self.fin_queued = true;
        self.transmit(now);
    }

    pub(super) fn read(&mut self, n: usize) -> Vec<u8> {
        let n = n.min(self.pending.len());
        let octets: Vec<u8> = self.pending.drain(..n).collect();
        let before_read = self.window();
        self.open_window();
        if n > 0 && before_read < self.mss && self.window() >= 2 * self.mss {
            self.acknowledge();
        }
        octets
    }

    pub(super) fn at_eof(&self) -> bool {
        self.fin_seen && self.pending.is_empty()
    }

    // The wire's side.

    fn window(&self) -> u32 {
        self.adv_edge.wrapping_sub(self.rcv_nxt)
    }

    fn open_window(&mut self) {
        let free = self.capacity.saturating_sub(self.pending.len()) as u32;
        // A receiver does not move the edge by less than a segment (RFC 9293, 3.8.6.2.2).
        let edge = self.rcv_nxt.wrapping_add(free);
        if after(edge, self.adv_edge.wrapping_add(self.mss)) || free as usize == self.capacity {
            self.adv_edge = later(self.adv_edge, edge);
        }
    }

    fn emit(&mut self, seq: u32, flags: u8, data: Vec<u8>) {
        self.open_window();
        self.waiting = 0;
        self.delayed_at = None;
        self.wup = self.rcv_nxt;
        self.out.push(Seg { seq, ack: self.rcv_nxt, window: self.window(), flags: flags | ACK, data });
    }

    fn acknowledge(&mut self) {
        self.emit(self.high, 0, Vec::new());
    }

    fn fin_seq(&self) -> u32 {
        self.una.wrapping_add(self.unacked.len() as u32)
    }

    fn slice(&self, from: u32, n: u32) -> Vec<u8> {
        let at = from.wrapping_sub(self.una) as usize;
        self.unacked.range(at..at + n as usize).copied().collect()
    }

    fn transmit(&mut self, now: u64) {
        if self.fin_acked {
            return;
        }
        loop {
            let available = distance_or_zero(self.nxt, self.fin_seq());
            let inflight = self.nxt.wrapping_sub(self.una);
            let edge = earlier(self.edge, self.una.wrapping_add(10 * self.mss));
            let n = available.min(self.mss).min(distance_or_zero(self.nxt, edge));
            if n > 0 && (n == available || n == self.mss || inflight == 0) {
                let data = self.slice(self.nxt, n);
                let seq = self.nxt;
                self.nxt = self.nxt.wrapping_add(n);
                self.high = later(self.high, self.nxt);
                self.emit(seq, PSH, data);
            } else {
                if available == 0 && self.fin_queued && self.nxt == self.fin_seq() {
                    let seq = self.nxt;
                    self.nxt = self.nxt.wrapping_add(1);
                    self.high = later(self.high, self.nxt);
                    self.emit(seq, FIN, Vec::new());
                }
                break;
            }
        }
        let waits = self.nxt != self.una || !self.unacked.is_empty();
        if !waits {
            self.rto_at = None;
        } else if self.rto_at.is_none() {
            self.rto_at = Some(now + self.rto);
        }
    }

    /// Sends again from the first unacknowledged octet, in segments that need not be those of the first time.
    fn retransmit(&mut self, rng: &mut Rng) {
        let sent = self.nxt.wrapping_sub(self.una);
        let octets = sent.min(self.unacked.len() as u32);
        if octets > 0 {
            let longest = octets.min(self.mss);
            let n = if rng.chance(50) { longest } else { 1 + rng.below(longest as u64) as u32 };
            let fin = if n == octets && sent > octets && rng.chance(50) { FIN } else { 0 };
            let data = self.slice(self.una, n);
            self.emit(self.una, PSH | fin, data);
        } else if sent > 0 {
            self.emit(self.una, FIN, Vec::new());
        } else {
            // Nothing in flight and something to send: the window is closed. Probe below it.
            self.emit(self.una.wrapping_sub(1), 0, Vec::new());
        }
    }

    pub(super) fn on_timer(&mut self, now: u64, rng: &mut Rng) {
        if self.reset {
            self.rto_at = None;
            self.delayed_at = None;
            return;
        }
        if self.delayed_at.is_some_and(|at| at <= now) {
            self.acknowledge();
        }
        if self.rto_at.is_some_and(|at| at <= now) {
            self.recover = Some(self.nxt);
            self.duplicates = 0;
            self.retransmit(rng);
            self.rto = (self.rto * 2).min(RTO_MAX);
            self.rto_at = Some(now + self.rto);
        }
    }

    /// Gives the connection up at once.
    pub(super) fn abort(&mut self) {
        self.emit(self.high, RST, Vec::new());
        self.reset = true;
    }

    pub(super) fn receive(&mut self, seg: &Seg, now: u64, rng: &mut Rng) {
        if seg.flags & RST != 0 {
            self.reset = true;
        }
        if self.reset {
            if seg.flags & RST == 0 {
                self.emit(seg.ack, RST, Vec::new());
            }
            return;
        }
        let end = seg.end();
        if before(end, self.wup) || after(seg.seq, self.adv_edge) {
            self.acknowledge();
            return;
        }
        if after(seg.ack, self.high) {
            self.bad_ack = true;
            self.acknowledge();
            return;
        }
        self.take_ack(seg, now, rng);
        if seg.space() > 0 {
            self.take_octets(seg, now);
        }
        self.transmit(now);
    }

    fn take_ack(&mut self, seg: &Seg, now: u64, rng: &mut Rng) {
        let edge = seg.ack.wrapping_add(seg.window);
        if after(seg.ack, self.una) {
            let mut n = seg.ack.wrapping_sub(self.una);
            if n > self.unacked.len() as u32 {
                n = self.unacked.len() as u32;
                self.fin_acked = true;
            }
            self.unacked.drain(..n as usize);
            self.una = seg.ack;
            self.nxt = later(self.nxt, self.una);
            self.duplicates = 0;
            self.rto = RTO;
            self.rto_at = if self.nxt != self.una { Some(now + self.rto) } else { None };
            match self.recover {
                Some(to) if before(self.una, to) => self.retransmit(rng),
                _ => self.recover = None,
            }
        } else if seg.ack == self.una && seg.space() == 0 && edge == self.edge && self.nxt != self.una {
            self.duplicates += 1;
            if self.duplicates == 3 {
                self.recover = Some(self.nxt);
                self.retransmit(rng);
            }
        }
        if !before(seg.ack, self.una) {
            self.edge = edge;
        }
    }

    fn take_octets(&mut self, seg: &Seg, now: u64) {
        let end = seg.seq.wrapping_add(seg.data.len() as u32);
        if !after(seg.end(), self.rcv_nxt) {
            self.acknowledge();
            return;
        }
        if seg.flags & FIN != 0 {
            self.fin_at = Some(end);
        }
        if after(seg.seq, self.rcv_nxt) {
            if !seg.data.is_empty() && !after(end, self.adv_edge) && self.beyond.len() < 64 {
                self.beyond.push((seg.seq, seg.data.clone()));
            }
            self.acknowledge();
            return;
        }
        let start = self.rcv_nxt;
        self.append(seg.seq, &seg.data);
        while let Some(at) = self.beyond.iter().position(|(seq, _)| !after(*seq, self.rcv_nxt)) {
            let (seq, data) = self.beyond.swap_remove(at);
            self.append(seq, &data);
        }
        let mut fin = false;
        if self.fin_at == Some(self.rcv_nxt) && !self.fin_seen {
            self.fin_seen = true;
            self.rcv_nxt = self.rcv_nxt.wrapping_add(1);
            fin = true;
        }
        self.waiting += 1;
        if self.waiting >= 2 || fin || !self.beyond.is_empty() || self.rcv_nxt == start {
            self.acknowledge();
        } else if self.delayed_at.is_none() {
            self.delayed_at = Some(now + DELAYED_ACK);
        }
    }

    fn append(&mut self, seq: u32, data: &[u8]) {
        let skip = self.rcv_nxt.wrapping_sub(seq) as usize;
        if skip >= data.len() || self.fin_seen {
            return;
        }
        let room = self.window() as usize;
        let fresh = &data[skip..];
        let fresh = &fresh[..fresh.len().min(room)];
        self.pending.extend(fresh);
        self.rcv_nxt = self.rcv_nxt.wrapping_add(fresh.len() as u32);
    }
}

fn distance_or_zero(from: u32, to: u32) -> u32 {
    crate::splice::seq::distance(from, to)
}
