//! Acknowledgements from the peer: what they say about injected octets, and what the kernel socket must hear.

use super::leg::LegMode;
use super::mutant::{Mutant, broken};
use super::seq::{HORIZON, after, before, distance, later};
use super::{Cause, Connection, Segment, Transmit, flags};

/// What an acknowledgement means to the kernel socket.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    /// Kernel: the acknowledgement number to show.
    pub(super) ack: u32,
    /// The window in octets to show, so that its right edge lies where the peer put it.
    pub(super) window: u32,
    /// Whether the kernel socket needs it.
    pub(super) needed: bool,
}

impl Transmit {
    /// Wire: where the next octet of the kernel socket, or the next injected one, goes.
    #[inline(always)]
    pub const fn next(&self) -> u32 {
        self.kernel_next.wrapping_add(self.above)
    }

    /// Wire: the first injected octet, if there are any.
    #[inline(always)]
    pub(super) const fn injected_from(&self) -> u32 {
        self.boundary.wrapping_add(self.below)
    }

    /// Wire: the end of the injected octets.
    #[inline(always)]
    pub(super) const fn injected_to(&self) -> u32 {
        self.boundary.wrapping_add(self.above)
    }

    /// Whether injected octets are unacknowledged.
    #[inline(always)]
    pub(super) const fn waits(&self) -> bool {
        self.below != self.above && before(self.acked, self.injected_to())
    }

    /// Maps a wire acknowledgement to kernel space (S3). With one offset (`slow`) the boundary has no meaning.
    pub(super) fn kernel_ack(&self, ack: u32, slow: bool) -> u32 {
        let mapped = if slow {
            ack.wrapping_sub(self.above)
        } else if !after(ack, self.injected_from()) {
            ack.wrapping_sub(self.below)
        } else if before(ack, self.injected_to()) {
            self.boundary
        } else {
            ack.wrapping_sub(self.above)
        };
        // Linux drops a whole segment, with its octets, when it acknowledges what was never sent.
        if after(mapped, self.kernel_next) && !broken(Mutant::AckUnclamped) {
            self.kernel_next
        } else {
            mapped
        }
    }

    /// The kernel socket is shown this acknowledgement.
    pub(super) fn show(&mut self, shown: &Shown, window: u32) {
        self.kernel_acked = later(self.kernel_acked, shown.ack);
        self.window_shown = window;
        // Marks that stand still must not end up in the future (see seq::trail); never sent is never stale.
        if self.kernel_acked.wrapping_sub(self.exact_from) > HORIZON
            && after(self.kernel_acked, self.exact_from)
        {
            self.exact_from = self.kernel_acked.wrapping_sub(HORIZON);
        }
    }
}

impl Connection {
    /// Takes in the acknowledgement of a packet from the peer. `None`: it acknowledges what was never sent.
    pub(super) fn acknowledge(&mut self, segment: &Segment, now: u32) -> Option<Shown> {
        let slow = self.leg.mode == LegMode::Slow;
        let tx = &mut self.transmit;
        let (ack, window) = (segment.ack, segment.window);
        if after(ack, tx.highest) {
            return None;
        }
        let edge = ack.wrapping_add(window);
        if after(ack, tx.acked) {
            tx.acked = ack;
            tx.duplicates = 0;
            tx.progress = now;
        } else if ack == tx.acked
            && segment.space() == 0
            && !segment.has(flags::RST)
            && edge == tx.edge
            && before(tx.acked, tx.highest)
        {
            tx.duplicates = tx.duplicates.saturating_add(1);
        }
        if !before(ack, tx.acked) {
            tx.edge = edge;
        }
        let mapped = tx.kernel_ack(ack, slow);
        let above = slow || !before(mapped, tx.boundary);
        let on_wire = mapped.wrapping_add(if above { tx.above } else { tx.below });
        let changed = window < tx.window_shown / 2 || window / 2 > tx.window_shown;
        let waits = before(tx.kernel_acked, tx.kernel_next);
        let shown = Shown { ack: mapped, window: distance(on_wire, edge), needed: slow || waits || changed };
        // Three duplicates mean loss (RFC 5681, 3.2); below the boundary the kernel socket repairs its own octets.
        let ours = !before(tx.acked, tx.injected_from());
        if tx.duplicates >= 3 && ours && self.leg.mode == LegMode::Fast {
            self.leave_leg(Cause::Lost);
        }
        Some(shown)
    }
}
