//! The state of connections, as the programs have it.

use pf_common::splice::{LegMode, SourceMode};
use serde::{Deserialize, Serialize};

use super::Splice;
use crate::core::media::LegSnapshot;

/// One connection in the table of the programs. `docs/datapath.md` explains the positions; those on the wire are as the
/// peer counts them, those of the kernel as the socket counts them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionRow {
    /// Its number.
    pub connection: u32,
    /// The MSRP leg that it carries.
    pub leg: Option<u64>,
    /// Remote socket address.
    pub peer: Option<String>,
    /// `fast` or `slow`.
    pub source: String,
    /// Why the source left the fast path last.
    pub source_cause: String,
    /// `fast`, `slow` or `leaving`.
    pub leg_mode: String,
    /// Why the leg left the fast path last.
    pub leg_cause: String,
    /// Wire: the next octet of the peer.
    pub next: u32,
    /// Octets of the peer that the kernel socket has not seen.
    pub delta: u32,
    /// Wire: the first octet that the peer has not acknowledged.
    pub acked: u32,
    /// Wire: the end of what was sent.
    pub highest: u32,
    /// Octets to the peer that the kernel socket has not sent.
    pub above: u32,
    /// Octets that the peer still takes.
    pub window: u32,
    /// The longest segment the peer takes.
    pub mss: u32,
    /// Messages that may have to be repeated.
    pub journal: u32,
    /// Octets in the log or kept in userspace.
    pub logged: u32,
    /// Messages that missed the leg, ever.
    pub misses: u32,
    /// The first invariant that does not hold; there should be none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub violated: Option<String>,
}

impl Splice {
    /// All registered connections, by number. `legs` are those of the switch.
    pub(in crate::msrp) fn dump(&self, legs: &[LegSnapshot]) -> Vec<ConnectionRow> {
        let numbers = (0..).zip(&self.lines).filter_map(|(number, line)| Some((number, line.as_ref()?)));
        let row = |(number, line): (u32, &super::Line)| {
            let slot = self.path.slot(number).ok()?;
            let leg = legs.iter().find(|leg| leg.conn.is_some() && leg.conn == line.conn);
            let state = slot.connection;
            let (rx, tx) = (&state.receive, &state.transmit);
            Some(ConnectionRow {
                connection: number,
                leg: leg.map(|leg| leg.leg.0),
                peer: leg.and_then(|leg| leg.peer).map(|peer| peer.to_string()),
                source: match state.source.mode {
                    SourceMode::Fast => "fast",
                    SourceMode::Slow => "slow",
                }
                .to_owned(),
                source_cause: state.source.cause.name().to_owned(),
                leg_mode: match state.leg.mode {
                    LegMode::Fast => "fast",
                    LegMode::Slow => "slow",
                    LegMode::Leaving => "leaving",
                }
                .to_owned(),
                leg_cause: state.leg.cause.name().to_owned(),
                next: rx.next,
                delta: rx.delta,
                acked: tx.acked,
                highest: tx.highest,
                above: tx.above,
                window: pf_common::splice::seq::distance(tx.highest, tx.edge),
                mss: tx.mss,
                journal: state.journal.len(),
                logged: state.source.logged.wrapping_sub(state.source.released),
                misses: state.leg.misses,
                violated: state.violated().map(str::to_owned),
            })
        };
        numbers.filter_map(row).collect()
    }
}
