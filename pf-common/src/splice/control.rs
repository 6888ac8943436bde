//! What the control program does on userspace's tick: everything that needs a clock.

use super::leg::LegMode;
use super::{ACK_DELAY, Cause, Connection, Header, STALL};

/// What a tick found.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Tick {
    /// The peer waits for an ACK: see [`Connection::bare_ack`].
    pub answer: bool,
    /// With this tick the leg left the fast path.
    pub left: bool,
}

impl Connection {
    /// Looks after what no packet triggers: a single unacknowledged message, an acknowledgement that never came.
    pub fn tick(&mut self, now: u32) -> Tick {
        let rx = &self.receive;
        let answer = rx.ack_owed != 0 && now.wrapping_sub(rx.ack_owed_since) >= ACK_DELAY;
        let stalled = self.transmit.waits() && now.wrapping_sub(self.transmit.progress) >= STALL;
        let left = stalled && self.leg.mode == LegMode::Fast;
        if left {
            self.leave_leg(Cause::Stalled);
        }
        Tick { answer, left }
    }

    /// The header of an ACK without octets for the peer, which is then sent.
    pub fn bare_ack(&mut self) -> Header {
        let ack = self.wire_ack();
        self.ack_goes_out(ack);
        Header { seq: self.transmit.highest, ack, window: self.receive.window }
    }
}
