//! Rows of the guard's table, decoded.

use std::net::{Ipv4Addr, Ipv6Addr};

use pf_common::maps::{GuardSettings, SourceKey, SourceState};
use serde::{Deserialize, Serialize};

/// A source, and what the guard did to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRow {
    /// `192.0.2.1`, or `2001:db8:1:2::/64`.
    pub source: String,
    /// Packets that passed.
    pub passed: u64,
    /// SYNs dropped: too many new connections.
    pub dropped_connections: u64,
    /// Packets dropped: too many.
    pub dropped_packets: u64,
    /// Connections it could open at once now.
    pub connections_left: u64,
    /// Packets it could send at once now.
    pub packets_left: u64,
}

impl SourceRow {
    /// A row at `now`, in nanoseconds of the kernel's monotonic clock.
    pub(super) fn new(key: &SourceKey, state: &SourceState, settings: &GuardSettings, now: u64) -> SourceRow {
        SourceRow {
            source: name(key),
            passed: state.passed,
            dropped_connections: state.dropped_connections,
            dropped_packets: state.dropped_packets,
            connections_left: settings.connections.tokens(state.connections_full_at, now),
            packets_left: settings.packets.tokens(state.packets_full_at, now),
        }
    }
}

fn name(key: &SourceKey) -> String {
    let p = key.prefix;
    if key.family == 4 {
        return Ipv4Addr::new(p[0], p[1], p[2], p[3]).to_string();
    }
    let mut address = [0; 16];
    address[..8].copy_from_slice(&p);
    format!("{}/64", Ipv6Addr::from(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_shown_as_people_write_them() {
        assert_eq!(name(&SourceKey::v4([192, 0, 2, 1])), "192.0.2.1");
        assert_eq!(name(&SourceKey::v6([0x20, 1, 0xd, 0xb8, 0, 1, 0, 2])), "2001:db8:1:2::/64");
    }

    #[test]
    fn what_is_left_grows_with_time() {
        let settings = GuardSettings::new(10, 1000);
        let state = SourceState { connections_full_at: 2_000_000_000, ..SourceState::default() };
        let left =
            |now| SourceRow::new(&SourceKey::v4([192, 0, 2, 1]), &state, &settings, now).connections_left;
        assert_eq!([left(1_000_000_000), left(1_500_000_000), left(9_000_000_000)], [0, 5, 10]);
    }
}
