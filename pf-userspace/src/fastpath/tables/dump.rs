//! Reading maps whole.

use aya::{
    Pod,
    maps::{Array, HashMap, IterableMap as _, MapData, MapError, PerCpuArray},
};
use pf_common::{
    guard::Verdict,
    maps::{
        Count, Flow, FlowKey, GuardSettings, LegEntry, ListenKey, SessionKey, Shared, SourceKey, SourceState,
        names,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    TableError, TableName, Tables,
    rows::{self, Row},
};

/// How many keys an error names.
const NAMED: usize = 8;

/// A type of `pf-common`, as the maps have it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Wire<T>(T);

// SAFETY: all are repr(C) and have no padding (asserted in pf_common::maps), and any octets are a value of theirs.
unsafe impl Pod for Wire<FlowKey> {}
unsafe impl Pod for Wire<Flow> {}
unsafe impl Pod for Wire<SessionKey> {}
unsafe impl Pod for Wire<LegEntry> {}
unsafe impl Pod for Wire<Shared> {}
unsafe impl Pod for Wire<ListenKey> {}
unsafe impl Pod for Wire<SourceKey> {}
unsafe impl Pod for Wire<GuardSettings> {}
unsafe impl Pod for Wire<SourceState> {}

/// Entries of a map, decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dump {
    /// How many there are, shown or not.
    pub total: usize,
    /// What the columns mean.
    pub columns: Vec<String>,
    /// A value for each column.
    pub rows: Vec<Vec<Value>>,
}

pub(super) fn dump(
    tables: &Tables,
    name: TableName,
    key: Option<&str>,
    most: usize,
) -> Result<Dump, TableError> {
    let (columns, mut found) = read(tables, name)?;
    if let Some(key) = key {
        let names: Vec<String> = found.iter().filter_map(|row| row.keys.first().cloned()).collect();
        found.retain(|row| row.keys.iter().any(|known| known == key));
        if found.is_empty() {
            return Err(TableError::NoEntry { map: name.map(), key: key.to_owned(), known: known(&names) });
        }
    }
    Ok(Dump {
        total: found.len(),
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        rows: found.into_iter().take(most).map(|row| row.cells).collect(),
    })
}

/// The first keys of a map, in words.
pub fn known(names: &[String]) -> String {
    let shown = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => "it is empty".to_owned(),
        count if count <= NAMED => format!("it has {shown}"),
        count => format!("it has {shown} and {} more", count - NAMED),
    }
}

fn read(tables: &Tables, name: TableName) -> Result<(&'static [&'static str], Vec<Row>), TableError> {
    Ok(match name {
        TableName::Flows => (rows::FLOW, flows(tables)?.iter().map(rows::flow).collect()),
        TableName::Sessions => (rows::SESSION, sessions(tables)?.iter().map(rows::session).collect()),
        TableName::Legs => (rows::LEG, legs(tables)?.iter().map(rows::leg).collect()),
        TableName::Log => {
            let (_, info) = tables
                .each()
                .find(|(known, _)| *known == names::LOG)
                .ok_or_else(|| tables.absent(names::LOG))?;
            let ring = rows::Ring::read(info).map_err(|error| fault(names::LOG, &error))?;
            (rows::LOG, vec![rows::log(&ring)])
        }
        TableName::Control => {
            let map: Array<_, Wire<Shared>> = tables.open(names::CONTROL)?;
            let Wire(shared) = map.get(&0, 0).map_err(|error| fault(names::CONTROL, &error))?;
            (rows::CONTROL, rows::control(&shared))
        }
        TableName::Counts => {
            let indices = rows::counts();
            let map: PerCpuArray<_, u64> = tables.open(names::SPLICE_COUNTS)?;
            let row = |(kind, name, count): &(&'static str, &'static str, Count)| {
                let values = map.get(&count.index(), 0);
                let values = values.map_err(|error| fault(names::SPLICE_COUNTS, &error))?;
                Ok(rows::count(kind, name, values.iter().sum()))
            };
            (rows::COUNT, indices.iter().map(row).collect::<Result<_, TableError>>()?)
        }
        TableName::GuardListen => {
            let map: HashMap<_, Wire<ListenKey>, u8> = tables.open(names::GUARD_LISTEN)?;
            let mut keys = keys(&map, names::GUARD_LISTEN)?;
            keys.sort_unstable();
            (rows::LISTEN, keys.iter().map(rows::listen).collect())
        }
        TableName::GuardSettings => {
            let map: Array<_, Wire<GuardSettings>> = tables.open(names::GUARD_SETTINGS)?;
            let Wire(settings) = map.get(&0, 0).map_err(|error| fault(names::GUARD_SETTINGS, &error))?;
            (rows::SETTINGS, rows::settings(&settings))
        }
        TableName::GuardCounts => {
            let map: PerCpuArray<_, u64> = tables.open(names::GUARD_COUNTS)?;
            let row = |verdict: &Verdict| {
                let index = u32::try_from(verdict.index()).unwrap_or(u32::MAX);
                let values = map.get(&index, 0).map_err(|error| fault(names::GUARD_COUNTS, &error))?;
                Ok(rows::verdict(verdict.name(), values.iter().sum()))
            };
            (rows::VERDICT, Verdict::ALL.iter().map(row).collect::<Result<_, TableError>>()?)
        }
        // Both are decoded by those who know more of them than is in the map.
        TableName::Connections | TableName::Guard => return Err(TableError::Opaque(name.map())),
    })
}

/// How many entries a map has, where that changes.
pub(super) fn used(tables: &Tables, name: &'static str) -> Result<Option<u64>, TableError> {
    let used = match name {
        // Every connection has one flow, every leg one session.
        names::FLOWS | names::CONNECTIONS => {
            keys(&tables.open::<HashMap<_, Wire<FlowKey>, Wire<Flow>>>(names::FLOWS)?, name)?.len()
        }
        names::SESSIONS | names::LEGS => {
            keys(&tables.open::<HashMap<_, Wire<SessionKey>, u32>>(names::SESSIONS)?, name)?.len()
        }
        names::GUARD_LISTEN => keys(&tables.open::<HashMap<_, Wire<ListenKey>, u8>>(name)?, name)?.len(),
        names::GUARD_SOURCES => {
            keys(&tables.open::<HashMap<_, Wire<SourceKey>, Wire<SourceState>>>(name)?, name)?.len()
        }
        names::LOG => {
            let Some((_, fd)) = tables.each().find(|(known, _)| *known == name) else { return Ok(None) };
            return rows::Ring::read(fd)
                .map(|ring| Some(ring.waiting()))
                .map_err(|error| fault(name, &error));
        }
        _ => return Ok(None),
    };
    Ok(Some(u64::try_from(used).unwrap_or(u64::MAX)))
}

fn flows(tables: &Tables) -> Result<Vec<(FlowKey, Flow)>, TableError> {
    let map: HashMap<_, Wire<FlowKey>, Wire<Flow>> = tables.open(names::FLOWS)?;
    let mut found = Vec::new();
    for key in keys(&map, names::FLOWS)? {
        if let Some(Wire(flow)) = present(map.get(&Wire(key), 0), names::FLOWS)? {
            found.push((key, flow));
        }
    }
    found.sort_unstable_by_key(|(_, flow)| flow.connection);
    Ok(found)
}

fn sessions(tables: &Tables) -> Result<Vec<(SessionKey, u32)>, TableError> {
    let map: HashMap<_, Wire<SessionKey>, u32> = tables.open(names::SESSIONS)?;
    let mut found = Vec::new();
    for key in keys(&map, names::SESSIONS)? {
        if let Some(leg) = present(map.get(&Wire(key), 0), names::SESSIONS)? {
            found.push((key, leg));
        }
    }
    found.sort_unstable_by_key(|(_, leg)| *leg);
    Ok(found)
}

/// The legs that a session leads to: the others are nobody's.
fn legs(tables: &Tables) -> Result<Vec<(u32, SessionKey, LegEntry)>, TableError> {
    let map: Array<_, Wire<LegEntry>> = tables.open(names::LEGS)?;
    let mut found = Vec::new();
    for (session, leg) in sessions(tables)? {
        if let Some(Wire(entry)) = present(map.get(&leg, 0), names::LEGS)? {
            found.push((leg, session, entry));
        }
    }
    Ok(found)
}

/// The keys that are there. The map changes while it is read, and reading it may begin again: no more steps than it
/// has places, and each key once.
fn keys<K: Copy + Ord, V>(
    map: &HashMap<MapData, Wire<K>, V>,
    name: &'static str,
) -> Result<Vec<K>, TableError>
where
    Wire<K>: Pod,
    V: Pod,
{
    let most = map.map().info().map_or(0, |info| info.max_entries());
    let mut found = Vec::new();
    for key in map.keys().take(usize::try_from(most).unwrap_or(usize::MAX)) {
        found.extend(present(key, name)?.map(|Wire(key)| key));
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// What was read, if it is still there.
fn present<T>(read: Result<T, MapError>, name: &'static str) -> Result<Option<T>, TableError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(None),
        Err(error) => Err(fault(name, &error)),
    }
}

fn fault(name: &'static str, error: &dyn std::error::Error) -> TableError {
    TableError::Read(name, super::super::error::chain(error))
}
