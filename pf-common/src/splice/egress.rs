//! A packet of the kernel socket on its way to the peer.

use super::mutant::{Mutant, broken};
use super::seq::{after, before, earlier, later};
use super::{Cause, Connection, KernelVerdict, Segment, flags};

/// What to do with a packet of the kernel socket.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FromKernel {
    /// The packet's fate.
    pub verdict: KernelVerdict,
    /// Wire: sequence number.
    pub seq: u32,
    /// Wire: acknowledgement number.
    pub ack: u32,
}

impl Connection {
    /// Decides about a packet of the kernel socket and carries the decision out in the state.
    ///
    /// With `Probe` the caller cuts the payload off and clears FIN: the packet acknowledges and, by its sequence
    /// number, asks the peer for an ACK (RFC 9293, 3.10.7.4), which tells the kernel socket what arrived.
    pub fn from_kernel(&mut self, segment: &Segment) -> FromKernel {
        if segment.has(flags::ACK) {
            let rx = &mut self.receive;
            rx.kernel_has = later(rx.kernel_has, segment.ack);
            // The kernel socket may have filled a gap from what it held out of order.
            rx.next = later(rx.next, rx.kernel_has.wrapping_add(rx.delta));
            rx.given_end = later(rx.given_end, rx.next);
            rx.window = segment.window;
        }
        let ack = self.wire_ack();
        let (verdict, seq) = if segment.has(flags::RST) {
            self.leave_leg(Cause::Closed);
            self.leave_source(Cause::Closed);
            self.leg.shut = 1;
            self.source.shut = 1;
            (KernelVerdict::SendReset, self.transmit.highest)
        } else if segment.space() == 0 {
            (KernelVerdict::SendControl, self.control_position(segment.seq))
        } else {
            self.octets_position(segment)
        };
        match verdict {
            KernelVerdict::DropAcross => {}
            KernelVerdict::Send
            | KernelVerdict::SendControl
            | KernelVerdict::SendReset
            | KernelVerdict::Probe => {
                self.ack_goes_out(ack);
            }
        }
        FromKernel { verdict, seq, ack }
    }

    /// Where a packet without octets stands: behind everything sent, so that the peer accepts its acknowledgement. A
    /// position below is a probe, for a closed window or to see whether the peer is alive, and stays below what the
    /// peer expects, which makes the peer answer; the kernel socket waits for that answer (S3).
    fn control_position(&mut self, seq: u32) -> u32 {
        let slow = self.kernel_writes();
        let tx = &mut self.transmit;
        if before(seq, tx.kernel_next) {
            tx.kernel_acked = earlier(tx.kernel_acked, seq);
            let offset = if slow || !before(seq, tx.boundary) { tx.above } else { tx.below };
            seq.wrapping_add(offset)
        } else {
            tx.highest
        }
    }

    /// Maps a packet with octets (S2, S4).
    fn octets_position(&mut self, segment: &Segment) -> (KernelVerdict, u32) {
        let (seq, end) = (segment.seq, segment.end());
        if segment.has(flags::FIN) {
            self.leg.shut = 1;
        }
        if after(end, self.transmit.kernel_next) {
            self.transmit.kernel_next = end;
            if !self.kernel_writes() {
                self.leave_leg(Cause::KernelSpoke);
                self.leg.cause = Cause::KernelSpoke;
            }
        }
        let slow = self.kernel_writes();
        let tx = &mut self.transmit;
        // It would not repeat what it knows to be acknowledged: the ACK it was shown got lost on the host.
        tx.kernel_acked = earlier(tx.kernel_acked, seq);
        let probe = (KernelVerdict::Probe, tx.acked.wrapping_sub(1));
        let single = slow || tx.below == tx.above;
        let offset = if single || !before(seq, tx.boundary) {
            tx.above
        } else if !after(end, tx.boundary) {
            tx.below
        } else if after(tx.injected_to(), tx.acked) {
            return (KernelVerdict::DropAcross, 0);
        } else {
            return probe;
        };
        if before(seq, tx.exact_from) && !broken(Mutant::StaleRepeat) {
            return probe;
        }
        let on_wire = seq.wrapping_add(offset);
        let wire_end = end.wrapping_add(offset);
        tx.highest = later(tx.highest, wire_end);
        (KernelVerdict::Send, on_wire)
    }
}
