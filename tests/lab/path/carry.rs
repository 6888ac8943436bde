//! The thread that carries the frames.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{Read, Write},
    os::fd::AsRawFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    Counts, Faults, Orders, Way,
    packet::{FIN, RST, SYN, Segment},
};
use crate::lock;

/// How long a packet is held back at most, in microseconds, that others shall overtake.
const HELD: u64 = 4_000;

/// A frame that waits: until when, its number, its way.
type Waiting = (Instant, u64, usize, Vec<u8>);

pub(super) struct Carrier {
    /// The host's device, the bridge's.
    ends: [File; 2],
    woken: File,
    orders: Arc<Mutex<Orders>>,
    stop: Arc<AtomicBool>,
    dice: Dice,
    waiting: BinaryHeap<Reverse<Waiting>>,
    number: u64,
}

impl Carrier {
    pub(super) fn new(
        ends: [File; 2],
        woken: File,
        orders: Arc<Mutex<Orders>>,
        stop: Arc<AtomicBool>,
        seed: u64,
    ) -> Carrier {
        let dice = Dice(seed | 1);
        Carrier { ends, woken, orders, stop, dice, waiting: BinaryHeap::new(), number: 0 }
    }

    /// Until the path ends.
    pub(super) fn run(mut self) {
        let mut frame = vec![0; 65_536];
        while !self.stop.load(Ordering::Relaxed) {
            self.wait();
            for (end, way) in [(0, Way::Out), (1, Way::In)] {
                // A burst, then the other way's turn.
                for _ in 0..64 {
                    let Ok(length @ 1..) = self.ends[end].read(&mut frame) else { break };
                    self.take(way, &mut frame[..length]);
                }
            }
            self.release();
        }
    }

    /// Until there is something to do.
    fn wait(&self) {
        let left =
            self.waiting.peek().map(|Reverse((due, ..))| due.saturating_duration_since(Instant::now()));
        let poll = |fd: i32| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let [host, bridge] = &self.ends;
        let mut all = [poll(host.as_raw_fd()), poll(bridge.as_raw_fd()), poll(self.woken.as_raw_fd())];
        let left = left.map(|left| libc::timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        let left = left.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the call writes three entries, and reads the time, all of which live.
        unsafe { libc::ppoll(all.as_mut_ptr(), 3, left, std::ptr::null()) };
    }

    fn take(&mut self, way: Way, frame: &mut [u8]) {
        let Some(segment) = Segment::of(frame) else { return self.put(way, frame) };
        let orders = self.orders.clone();
        let mut orders = lock(&orders);
        let faults = orders.faults[way as usize];
        let counts = &mut orders.counts[way as usize];
        note(counts, segment, frame);
        let flags = segment.flags(frame);
        if flags & (SYN | RST) != 0 {
            drop(orders);
            return self.put(way, frame);
        }
        if segment.octets() > 0 && std::mem::take(&mut orders.reset[way as usize]) {
            orders.counts[way as usize].reset += 1;
            drop(orders);
            let [forth, back] = segment.resets(frame);
            self.put(way, &forth);
            return self.put(if way == Way::In { Way::Out } else { Way::In }, &back);
        }
        let counts = &mut orders.counts[way as usize];
        let (lost, share) = match segment.octets() {
            0 => (&mut counts.lost_acks, faults.lose_acks),
            _ => (&mut counts.lost_data, faults.lose_data),
        };
        if self.dice.hit(share) {
            *lost += 1;
            return;
        }
        if faults.zero_window {
            segment.close_window(frame);
            counts.closed += 1;
        }
        let twice = self.dice.hit(faults.double);
        counts.doubled += u64::from(twice);
        let late = self.dice.hit(faults.reorder);
        counts.reordered += u64::from(late);
        drop(orders);
        if twice {
            self.later(way, frame, faults);
        }
        match late {
            true => {
                let more = Duration::from_micros(200 + self.dice.below(HELD));
                self.later(way, frame, Faults { delay: faults.delay + more, ..faults });
            }
            false => self.later(way, frame, faults),
        }
    }

    fn later(&mut self, way: Way, frame: &[u8], faults: Faults) {
        if faults.delay.is_zero() {
            return self.put(way, frame);
        }
        self.number += 1;
        let due = Instant::now() + faults.delay;
        self.waiting.push(Reverse((due, self.number, way as usize, frame.to_vec())));
    }

    /// What has waited long enough.
    fn release(&mut self) {
        let now = Instant::now();
        while self.waiting.peek().is_some_and(|Reverse((due, ..))| *due <= now) {
            let Some(Reverse((_, _, way, frame))) = self.waiting.pop() else { return };
            self.put(if way == 0 { Way::Out } else { Way::In }, &frame);
        }
    }

    /// A full queue loses the frame, as on any link.
    fn put(&mut self, way: Way, frame: &[u8]) {
        let end = if way == Way::Out { 1 } else { 0 };
        let _ = self.ends[end].write(frame);
    }
}

fn note(counts: &mut Counts, segment: Segment, frame: &[u8]) {
    counts.packets += 1;
    counts.data += u64::from(segment.octets() > 0);
    counts.resets_seen += u64::from(segment.flags(frame) & RST != 0);
    counts.fins_seen += u64::from(segment.flags(frame) & FIN != 0);
    if let Some(wrong) = segment.wrong(frame) {
        counts.wrong += 1;
        counts.first_wrong.get_or_insert(wrong);
    }
}

/// Seeded dice (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides.max(1)
    }

    /// So many times of a thousand.
    fn hit(&mut self, share: u16) -> bool {
        share > 0 && self.below(1000) < share.into()
    }
}
