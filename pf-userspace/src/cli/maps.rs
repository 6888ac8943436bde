//! Tables of what the kernel programs keep.

use serde_json::Value;

use super::table::{Table, octets};
use crate::{
    admin::protocol::GuardStats,
    fastpath::{Dump, MapInfo, SourceRow},
    msrp::ConnectionRow,
};

pub(super) fn maps_table(maps: &[MapInfo]) -> String {
    let mut table = Table::new(&["MAP", "TYPE", ">KEY", ">VALUE", ">USED", ">ENTRIES", ">MEMORY", "PINNED"]);
    for map in maps {
        table.row([
            map.name.clone(),
            map.kind.clone(),
            map.key_octets.to_string(),
            map.value_octets.to_string(),
            map.used_entries.map(|used| used.to_string()).unwrap_or_default(),
            map.max_entries.to_string(),
            octets(map.memory_octets),
            map.pinned.clone().unwrap_or_default(),
        ]);
    }
    table.text()
}

/// Decoded entries: columns of numbers are aligned at their right.
pub(super) fn entries_table(dump: &Dump) -> String {
    let is_number = |at: usize| {
        dump.rows.iter().all(|row| row.get(at).is_none_or(|cell| cell.is_number() || cell.is_null()))
    };
    let title = |(at, column): (usize, &String)| {
        let title = column.to_uppercase().replace('_', " ");
        if is_number(at) { format!(">{title}") } else { title }
    };
    let titles: Vec<String> = dump.columns.iter().enumerate().map(title).collect();
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    let mut table = Table::new(&titles);
    for row in &dump.rows {
        table.row(row.iter().map(|cell| match cell {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }));
    }
    table.text()
}

/// The same as objects.
pub(super) fn objects(dump: &Dump) -> Vec<serde_json::Map<String, Value>> {
    let object = |row: &Vec<Value>| dump.columns.iter().cloned().zip(row.iter().cloned()).collect();
    dump.rows.iter().map(object).collect()
}

pub(super) fn connections_table(connections: &[ConnectionRow]) -> String {
    let titles = [
        ">NUMBER",
        ">LEG",
        "PEER",
        "SOURCE",
        "LEFT BY",
        "LEG MODE",
        "LEFT BY",
        ">DELTA",
        ">ABOVE",
        ">IN FLIGHT",
        ">WINDOW",
        ">JOURNAL",
        ">LOGGED",
        ">MISSES",
        "BROKEN",
    ];
    let mut table = Table::new(&titles);
    for row in connections {
        table.row([
            row.connection.to_string(),
            row.leg.map(|leg| leg.to_string()).unwrap_or_default(),
            row.peer.clone().unwrap_or_default(),
            row.source.clone(),
            row.source_cause.clone(),
            row.leg_mode.clone(),
            row.leg_cause.clone(),
            row.delta.to_string(),
            row.above.to_string(),
            row.highest.wrapping_sub(row.acked).to_string(),
            row.window.to_string(),
            row.journal.to_string(),
            row.logged.to_string(),
            row.misses.to_string(),
            row.violated.clone().unwrap_or_default(),
        ]);
    }
    table.text()
}

pub(super) fn sources_table(sources: &[SourceRow]) -> String {
    let titles = [
        "SOURCE",
        ">PASSED",
        ">CONNECTIONS DROPPED",
        ">PACKETS DROPPED",
        ">CONNECTIONS LEFT",
        ">PACKETS LEFT",
    ];
    let mut table = Table::new(&titles);
    for row in sources {
        let numbers = [
            row.passed,
            row.dropped_connections,
            row.dropped_packets,
            row.connections_left,
            row.packets_left,
        ];
        table.row([row.source.clone()].into_iter().chain(numbers.map(|number| number.to_string())));
    }
    table.text()
}

/// The guard's rows among the counters of the process.
pub(super) fn guard_rows(guard: &GuardStats) -> Vec<(String, String)> {
    let mut rows: Vec<(String, String)> = guard
        .interfaces
        .iter()
        .map(|at| (format!("guard on {}", at.interface), at.mode.to_string()))
        .collect();
    rows.push(("guard connections per second".to_owned(), guard.connections_per_second.to_string()));
    rows.push(("guard packets per second".to_owned(), guard.packets_per_second.to_string()));
    rows.extend(guard.packets.iter().map(|(name, count)| (format!("guard {name}"), count.to_string())));
    rows
}
