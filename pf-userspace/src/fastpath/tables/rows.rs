//! Entries of the maps, as people read them.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd, BorrowedFd},
    sync::atomic::{AtomicU64, Ordering},
};

use pf_common::{
    maps::{
        Count, Flow, FlowKey, GuardSettings, LEG_ANSWERS, LEG_ANY_TYPE, LEG_LONG, LegEntry, ListenKey, Op,
        SessionKey, Shared, Total,
    },
    splice::{Cause, KernelVerdict, PeerVerdict},
    whole::Content,
};
use serde_json::Value;

/// One entry.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// What it may be asked for by, the first as it is printed.
    pub(super) keys: Vec<String>,
    /// A value for each column.
    pub(super) cells: Vec<Value>,
}

impl Row {
    fn new<const N: usize>(keys: impl IntoIterator<Item = String>, cells: [Value; N]) -> Row {
        Row { keys: keys.into_iter().collect(), cells: cells.into() }
    }
}

pub(super) const FLOW: &[&str] = &["local", "remote", "connection", "session_at"];

/// Asked for by the peer's address and port, or by both ends.
pub(super) fn flow((key, flow): &(FlowKey, Flow)) -> Row {
    let end = |ip: [u8; 16], port: [u8; 2]| address(key.family, ip, port).to_string();
    let (local, remote) = (end(key.local, key.local_port), end(key.remote, key.remote_port));
    Row::new(
        [remote.clone(), format!("{local}-{remote}"), flow.connection.to_string()],
        [local.into(), remote.into(), flow.connection.into(), flow.session_at.into()],
    )
}

pub(super) const SESSION: &[&str] = &["session", "connection", "leg"];

/// Asked for by what is kept of the session-id, or by all of it.
pub(super) fn session((key, leg): &(SessionKey, u32)) -> Row {
    let session = text(&key.session);
    let cells = [session.clone().into(), key.connection.into(), (*leg).into()];
    Row::new([session, format!("{}/{}", key.connection, text(&key.session))], cells)
}

pub(super) const LEG: &[&str] =
    &["leg", "connection", "session", "answers_to", "any_type", "long", "sends_to", "in_block", "out_block"];

/// Asked for by its number or its session.
pub(super) fn leg((number, session, entry): &(u32, SessionKey, LegEntry)) -> Row {
    let block = |octets: &[u8], len: u32| {
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(octets.len());
        let lines = text(octets.get(..len).unwrap_or(octets));
        lines.trim_end_matches("\\r\\n").replace("\\r\\n", " | ")
    };
    let answers_to = (entry.flags & LEG_ANSWERS != 0).then_some(entry.answer_to);
    let targets = usize::try_from(entry.targets).unwrap_or(usize::MAX).min(entry.target.len());
    let targets = entry.target.iter().take(targets).map(ToString::to_string).collect::<Vec<_>>().join(",");
    let session = text(&session.session);
    Row::new(
        [number.to_string(), session.clone()],
        [
            (*number).into(),
            entry.connection.into(),
            session.into(),
            answers_to.into(),
            (entry.flags & LEG_ANY_TYPE != 0).into(),
            (entry.flags & LEG_LONG != 0).into(),
            targets.into(),
            block(&entry.in_block, entry.in_block_len).into(),
            block(&entry.out_block, entry.out_block_len).into(),
        ],
    )
}

pub(super) const COUNT: &[&str] = &["kind", "name", "count"];

/// Every counter of the programs: its kind and name.
pub(super) fn counts() -> Vec<(&'static str, &'static str, Count)> {
    let peer = PeerVerdict::ALL.iter().map(|v| ("from-peers", v.name(), Count::Peer(*v)));
    let kernel = KernelVerdict::ALL.iter().map(|v| ("from-sockets", v.name(), Count::Kernel(*v)));
    let cause = Cause::ALL.iter().map(|v| ("left-or-missed", v.name(), Count::Cause(*v)));
    let content = Content::ALL.iter().map(|v| ("payload", v.name(), Count::Content(*v)));
    let total = Total::ALL.iter().map(|v| ("total", v.name(), Count::Total(*v)));
    peer.chain(kernel).chain(cause).chain(content).chain(total).collect()
}

/// Asked for by its name, alone or with its kind.
pub(super) fn count(kind: &str, name: &str, count: u64) -> Row {
    let keys = [name.to_owned(), format!("{kind}/{name}")];
    Row::new(keys, [kind.into(), name.into(), count.into()])
}

pub(super) const LOG: &[&str] = &["octets", "waiting", "written", "read"];

pub(super) fn log(ring: &Ring) -> Row {
    let cells = [ring.octets.into(), ring.waiting().into(), ring.written.into(), ring.read.into()];
    Row::new(["0".to_owned()], cells)
}

pub(super) const CONTROL: &[&str] =
    &["row", "op", "connection", "a", "b", "answer", "source_mode", "leg_mode", "misses"];

/// The rows of the last run, asked for by their place.
pub(super) fn control(shared: &Shared) -> Vec<Row> {
    let count = usize::try_from(shared.rows).unwrap_or(usize::MAX);
    let row = |(place, row): (usize, &pf_common::maps::ControlRow)| {
        let mode = |mode: u32| ["slow", "fast", "leaving"].get(mode as usize).copied().unwrap_or("unknown");
        let source =
            if row.source_mode == pf_common::splice::SourceMode::Fast as u32 { "fast" } else { "slow" };
        Row::new(
            [place.to_string()],
            [
                place.into(),
                op(row.op).into(),
                row.connection.into(),
                row.a.into(),
                row.b.into(),
                row.answer.into(),
                source.into(),
                mode(row.leg_mode).into(),
                row.misses.into(),
            ],
        )
    };
    shared.row.iter().take(count).enumerate().map(row).collect()
}

fn op(op: u32) -> &'static str {
    let ops = [
        (Op::View, "view"),
        (Op::ArmSource, "arm-source"),
        (Op::ArmLeg, "arm-leg"),
        (Op::LeaveSource, "leave-source"),
        (Op::Take, "take"),
        (Op::Release, "release"),
        (Op::Tick, "tick"),
        (Op::Close, "close"),
        (Op::Cap, "cap"),
    ];
    ops.into_iter().find(|(known, _)| *known as u32 == op).map_or("unknown", |(_, name)| name)
}

pub(super) const LISTEN: &[&str] = &["address"];

/// Asked for by address and port.
pub(super) fn listen(key: &ListenKey) -> Row {
    let address = address(key.family, key.address, key.port).to_string();
    Row::new([address.clone()], [address.into()])
}

pub(super) const SETTINGS: &[&str] = &["setting", "value"];

pub(super) fn settings(settings: &GuardSettings) -> Vec<Row> {
    // Whatever the rate, a bucket holds one second's worth.
    let rate = |rate: &pf_common::guard::Rate| rate.burst.checked_div(rate.interval).unwrap_or(0);
    let values = [
        ("schema", u64::from(settings.schema)),
        ("guard.connections_per_second", rate(&settings.connections)),
        ("guard.packets_per_second", rate(&settings.packets)),
    ];
    values
        .iter()
        .map(|(name, value)| Row::new([(*name).to_owned()], [(*name).into(), (*value).into()]))
        .collect()
}

pub(super) const VERDICT: &[&str] = &["verdict", "packets"];

pub(super) fn verdict(name: &str, packets: u64) -> Row {
    Row::new([name.to_owned()], [name.into(), packets.into()])
}

/// Where a BPF ring buffer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ring {
    /// Its size.
    octets: u64,
    /// Octets ever written.
    written: u64,
    /// Octets ever read.
    read: u64,
}

impl Ring {
    /// Looks at the ring's own two pages, which hold how far its reader and its writers are.
    pub(super) fn read(ring: BorrowedFd<'_>) -> io::Result<Ring> {
        let own = ring.try_clone_to_owned()?;
        let data = aya::maps::MapData::from_fd(own).map_err(io::Error::other)?;
        let octets = data.info().map_err(io::Error::other)?.max_entries().into();
        // SAFETY: no preconditions.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let pages = usize::try_from(page).map_err(io::Error::other)?;
        // SAFETY: a new mapping, only to read, of the two pages before the ring's octets.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                2 * pages,
                libc::PROT_READ,
                libc::MAP_SHARED,
                ring.as_raw_fd(),
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: aligned words at the beginning of each page, which others change as a whole; unmapped afterwards.
        let positions = unsafe {
            let position =
                |page: usize| AtomicU64::from_ptr(at.byte_add(page * pages).cast()).load(Ordering::Acquire);
            let positions = (position(0), position(1));
            libc::munmap(at, 2 * pages);
            positions
        };
        Ok(Ring { octets, read: positions.0, written: positions.1 })
    }

    /// Octets that wait to be read.
    pub(super) fn waiting(&self) -> u64 {
        // The reader may have moved between the two looks.
        self.written.saturating_sub(self.read)
    }
}

fn address(family: u8, ip: [u8; 16], port: [u8; 2]) -> SocketAddr {
    let ip = if family == 4 {
        IpAddr::V4(Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3]))
    } else {
        IpAddr::V6(Ipv6Addr::from(ip))
    };
    SocketAddr::new(ip, u16::from_be_bytes(port))
}

/// Octets as text up to the first zero; what is not printable is escaped.
fn text(octets: &[u8]) -> String {
    let end = octets.iter().position(|octet| *octet == 0).unwrap_or(octets.len());
    octets.get(..end).unwrap_or(octets).escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use pf_common::{maps::BLOCK_MAX, splice::MAX_LEGS};

    use super::*;

    fn session_key() -> SessionKey {
        SessionKey { connection: 3, session: *b"0123456789abcdef" }
    }

    #[test]
    fn a_flow_is_found_by_its_peer_or_by_both_ends() {
        let mut key = FlowKey {
            family: 4,
            zero: [0; 3],
            local_port: 2855_u16.to_be_bytes(),
            remote_port: 40_000_u16.to_be_bytes(),
            local: [0; 16],
            remote: [0; 16],
        };
        key.local[..4].copy_from_slice(&[192, 0, 2, 1]);
        key.remote[..4].copy_from_slice(&[192, 0, 2, 9]);
        let row = flow(&(key, Flow { connection: 7, session_at: 30 }));
        assert_eq!(row.keys, ["192.0.2.9:40000", "192.0.2.1:2855-192.0.2.9:40000", "7"]);
        assert_eq!(row.cells.len(), FLOW.len());
        let key = FlowKey { family: 6, local: Ipv6Addr::LOCALHOST.octets(), ..key };
        assert_eq!(flow(&(key, Flow { connection: 7, session_at: 30 })).cells[0], "[::1]:2855");
    }

    #[test]
    fn a_leg_shows_its_paths_and_who_gets_its_messages() {
        let mut entry = LegEntry {
            connection: 3,
            generation: 1,
            in_block_len: 0,
            out_block_len: 0,
            flags: LEG_ANSWERS,
            answer_to: 4,
            targets: 2,
            in_sum: 0,
            out_sum: 0,
            zero: 0,
            target: [0; MAX_LEGS],
            in_block: [0; BLOCK_MAX],
            out_block: [0; BLOCK_MAX],
        };
        let block = b"To-Path: msrp://a/x;tcp\r\nFrom-Path: msrp://b/\x1b;tcp\r\n";
        entry.in_block[..block.len()].copy_from_slice(block);
        entry.in_block_len = block.len() as u32;
        entry.target[..2].copy_from_slice(&[5, 6]);
        let row = leg(&(2, session_key(), entry));
        let by_name = |name| row.cells[LEG.iter().position(|column| *column == name).unwrap()].clone();
        assert_eq!(by_name("sends_to"), "5,6");
        assert_eq!(by_name("answers_to"), 4);
        assert_eq!(by_name("any_type"), false);
        assert_eq!(by_name("in_block"), "To-Path: msrp://a/x;tcp | From-Path: msrp://b/\\x1b;tcp");
        assert_eq!(row.keys, ["2", "0123456789abcdef"]);
        assert_eq!(session(&(session_key(), 2)).keys, ["0123456789abcdef", "3/0123456789abcdef"]);
        // No length in a map is trusted.
        (entry.in_block_len, entry.targets) = (u32::MAX, u32::MAX);
        assert_eq!(leg(&(2, session_key(), entry)).cells.len(), LEG.len());
    }

    #[test]
    fn every_counter_is_there_once() {
        let mut indices: Vec<u32> = counts().iter().map(|(_, _, count)| count.index()).collect();
        indices.sort_unstable();
        assert_eq!(indices, (0..Count::LEN as u32).collect::<Vec<_>>());
        let mut names: Vec<_> = counts().iter().map(|(kind, name, _)| format!("{kind}/{name}")).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Count::LEN, "a kind and a name are one counter");
    }

    #[test]
    fn a_limit_is_read_back_as_it_was_set() {
        let rows = settings(&GuardSettings::new(37, 20_000));
        assert_eq!(rows[1].cells, [Value::from("guard.connections_per_second"), 37.into()]);
        assert_eq!(rows[2].cells, [Value::from("guard.packets_per_second"), 20_000.into()]);
    }
}
