//! What the kernel programs do around the critical sections: headers in, headers out, one leg after the other. The
//! program can be interrupted between any two critical sections.

use super::Seg;
use super::std::format;
use super::stream::Message;
use super::world::{Event, Work, World};
use crate::splice::flags::ACK;
use crate::splice::{Cause, FromPeer, Header, Injected, KernelVerdict, Offer, PeerVerdict};

impl World {
    pub(super) fn ingress(&mut self, at: usize, seg: &Seg) {
        let parsed = match Message::parse(&seg.data) {
            Ok(Some((message, len))) if len == seg.data.len() && message.carry => Some(message),
            _ => None,
        };
        let offer = if parsed.is_some() { Offer::Message } else { Offer::Other };
        let now = self.millis();
        let out = self.conns[at].from_peer(&seg.header(), offer, now);
        self.stats.peer[out.verdict.index()] += 1;
        self.trace(|| {
            format!(
                "[{at}] peer {} +{} ack {}: {:?} {:?}",
                seg.seq,
                seg.data.len(),
                seg.ack,
                out.verdict,
                out.cause
            )
        });
        if out.verdict == PeerVerdict::PassLeft {
            self.stats.cause[out.cause.index()] += 1;
        }
        self.check(at);
        match out.verdict {
            PeerVerdict::PassSlow
            | PeerVerdict::PassLeft
            | PeerVerdict::PassRepeat
            | PeerVerdict::PassControl => self.pass_up(at, seg, &out, false),
            PeerVerdict::AbsorbAck | PeerVerdict::DropBadAck => {}
            PeerVerdict::DropRepeat => {
                if out.show_ack {
                    self.pass_up(at, seg, &out, true);
                }
            }
            PeerVerdict::Consume => {
                if out.show_ack {
                    self.pass_up(at, seg, &out, true);
                }
                if let Some(message) = parsed {
                    self.claimed(at, seg, message);
                }
            }
        }
        if out.answer {
            self.bare_ack(at);
        }
    }

    fn pass_up(&mut self, at: usize, seg: &Seg, out: &FromPeer, bare: bool) {
        let mut up = Seg { seq: out.seq, ack: out.ack, window: out.window, ..seg.clone() };
        if bare {
            up.data.clear();
            up.flags = ACK;
        }
        self.pass_to_kernel(at, up);
    }

    pub(super) fn bare_ack(&mut self, at: usize) {
        let Header { seq, ack, window } = self.conns[at].bare_ack();
        self.send_to_peer(at, Seg { seq, ack, window, flags: ACK, data: super::std::vec::Vec::new() });
    }

    fn claimed(&mut self, at: usize, seg: &Seg, message: Message) {
        if self.legs[at].is_empty()
            && let Err(fault) = self.absorbed[at].message(&message, &self.sent)
        {
            self.fault = Some(format!("absorbed by the program: {fault}"));
        }
        let taken = seg.data.len() as u32;
        self.log[at].push((seg.seq, message.clone(), taken));
        if let Some(overtaken) = self.work[at].take() {
            // Only a broken rule lets two packets of one source be worked on at once: the later one wins the race.
            self.offer_to_all(Work {
                source: at,
                position: seg.seq,
                message,
                taken,
                leg: 0,
                missed: 0,
                copy: None,
            });
            self.work[at] = Some(overtaken);
            return;
        }
        self.work[at] =
            Some(Work { source: at, position: seg.seq, message, taken, leg: 0, missed: 0, copy: None });
        let delay = self.preemption();
        self.at(delay, Event::Work(at));
    }

    fn offer_to_all(&mut self, mut work: Work) {
        while !self.work_step(&mut work) {}
    }

    pub(super) fn work_on(&mut self, at: usize) {
        let Some(mut work) = self.work[at].take() else { return };
        if !self.work_step(&mut work) {
            self.work[at] = Some(work);
            let delay = self.preemption();
            self.at(delay, Event::Work(at));
        }
    }

    /// One critical section, or the sending after it. True when the message is done with.
    fn work_step(&mut self, work: &mut Work) -> bool {
        let legs = self.legs[work.source].len();
        if let Some(copy) = work.copy.take() {
            let leg = self.legs[work.source][work.leg];
            if self.noise(self.set.clone_failure) {
                self.conns[leg].clone_failed();
                self.stats.cause[Cause::CloneFailed.index()] += 1;
            } else {
                self.send_to_peer(leg, copy);
            }
            work.leg += 1;
            return false;
        }
        if work.leg == legs {
            self.trace(|| {
                format!(
                    "[{}] finish {} #{} missed {:b}",
                    work.source, work.position, work.message.number, work.missed
                )
            });
            self.conns[work.source].finish(work.position, work.missed);
            self.check(work.source);
            return true;
        }
        let leg = self.legs[work.source][work.leg];
        if self.removed[leg] {
            work.leg += 1;
            return false;
        }
        let octets = work.message.write(self.paths[leg]);
        let entry = Injected {
            source: work.source as u32,
            position: work.position,
            taken: work.taken,
            len: octets.len() as u32,
            wire: 0,
        };
        let now = self.millis();
        let reserved = self.conns[leg].reserve(&entry, entry.len, now);
        self.check(leg);
        self.trace(|| {
            format!(
                "[{leg}] reserve #{} of {} at {}: {:?}",
                work.message.number, work.source, reserved.header.seq, reserved.cause
            )
        });
        if reserved.cause == Cause::Clear {
            let Header { seq, ack, window } = reserved.header;
            self.stats.injected += 1;
            work.copy = Some(Seg { seq, ack, window, flags: ACK, data: octets });
        } else {
            self.stats.cause[reserved.cause.index()] += 1;
            work.missed |= 1 << work.leg;
            work.leg += 1;
        }
        false
    }

    pub(super) fn egress(&mut self, at: usize, mut seg: Seg) {
        let out = self.conns[at].from_kernel(&seg.header());
        self.stats.kernel[out.verdict.index()] += 1;
        self.trace(|| {
            format!(
                "[{at}] kernel {} +{} ack {}: {:?} at {}",
                seg.seq,
                seg.data.len(),
                seg.ack,
                out.verdict,
                out.seq
            )
        });
        self.check(at);
        (seg.seq, seg.ack) = (out.seq, out.ack);
        match out.verdict {
            KernelVerdict::Send | KernelVerdict::SendControl => self.send_to_peer(at, seg),
            KernelVerdict::SendReset => {
                // Only as the answer to what a reset crossed on its way.
                if !self.kernels[at].reset {
                    self.fault = Some(format!("kernel socket {at} sent a reset"));
                }
            }
            KernelVerdict::Probe => {
                seg.data.clear();
                seg.flags = ACK;
                self.send_to_peer(at, seg);
            }
            KernelVerdict::DropAcross => {}
        }
    }
}
