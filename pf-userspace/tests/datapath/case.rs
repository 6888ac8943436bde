//! What becomes of a packet, field by field: where it goes, its positions, and what it carries.

use pf::fastpath::Way;
use pf_common::maps::Slot;

use super::{
    frames::{ACK, Frame, PSH, Seen},
    stage::{DROP, NEXT, REDIRECT, Stage},
};

/// What a packet ends as.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// It goes on with what it carries, at the positions that its receiver understands.
    GoesOn,
    /// It goes on as it came.
    LeftAlone,
    /// Nobody gets it.
    Dropped,
    /// It becomes the copy for a peer, with this payload.
    Copy(usize, fn() -> Vec<u8>),
    /// It becomes an ACK for a peer.
    Ack(usize),
}

impl End {
    pub(crate) const fn action(self) -> i32 {
        match self {
            End::GoesOn | End::LeftAlone => NEXT,
            End::Dropped => DROP,
            End::Copy(..) | End::Ack(_) => REDIRECT,
        }
    }

    /// Compares the packet that came out (its checksums have been looked at) with what it must be. `before` are the
    /// states in which `frame` came.
    pub(crate) fn check(
        self,
        what: &str,
        stage: &Stage,
        before: &[Slot],
        way: Way,
        frame: &Frame,
        seen: Option<Seen>,
    ) {
        if frame.spoilt {
            return;
        }
        let wanted = match self {
            End::Dropped => None,
            End::LeftAlone => Some(Seen::read(&frame.octets())),
            End::GoesOn => Some(translated(stage, before, way, frame)),
            End::Copy(n, payload) => Some(injected(stage, before, n, ACK | PSH, payload())),
            End::Ack(n) => Some(injected(stage, before, n, ACK, Vec::new())),
        };
        // The clock runs while the frame is judged.
        let clockless = |seen: Option<Seen>| {
            seen.map(|mut seen| {
                if matches!(self, End::Copy(..) | End::Ack(_)) {
                    seen.options[4..8].fill(0);
                }
                seen
            })
        };
        let (got, wanted) = (clockless(seen), clockless(wanted));
        assert_eq!(got, wanted, "{what}");
    }
}

/// The frame at the positions of the other side: the kernel socket's if a peer sent it, or else the wire's.
fn translated(stage: &Stage, before: &[Slot], way: Way, frame: &Frame) -> Seen {
    let mut seen = Seen::read(&frame.octets());
    let peer = if way == Way::In { seen.from } else { seen.to };
    let n = stage.ours.iter().position(|ours| ours.peer_addr().unwrap() == peer).unwrap();
    let connection = &before[n].connection;
    let (consumed, injected) = (connection.receive.delta, connection.transmit.above);
    let has_ack = seen.flags & ACK != 0;
    match way {
        Way::In => {
            seen.seq = seen.seq.wrapping_sub(consumed);
            seen.ack = if has_ack { seen.ack.wrapping_sub(injected) } else { seen.ack };
        }
        Way::Out => {
            seen.seq = seen.seq.wrapping_add(injected);
            seen.ack = seen.ack.wrapping_add(consumed);
        }
    }
    seen
}

/// A packet of the programs for peer `n`: behind everything sent to it, acknowledging everything that it sent, echoing
/// its latest timestamp.
fn injected(stage: &Stage, before: &[Slot], n: usize, flags: u8, payload: Vec<u8>) -> Seen {
    let (ours, slot) = (&stage.ours[n], &before[n]);
    let (receive, transmit) = (&slot.connection.receive, &slot.connection.transmit);
    Seen {
        from: ours.local_addr().unwrap(),
        to: ours.peer_addr().unwrap(),
        seq: transmit.highest,
        ack: receive.next,
        window: u16::try_from(receive.window >> slot.link.our_scale).unwrap_or(u16::MAX),
        flags,
        options: [[1, 1, 8, 10], [0; 4], slot.link.stamp_recent.to_be_bytes()].concat(),
        payload,
    }
}
