//! What the kernel says of a map.

use std::{
    os::fd::{AsRawFd, BorrowedFd},
    path::Path,
};

use aya::maps::MapData;
use serde::{Deserialize, Serialize};

use super::TableError;

/// One map in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapInfo {
    /// Its name in the object.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// Octets of a key.
    pub key_octets: u32,
    /// Octets of a value, of one processor where each has its own.
    pub value_octets: u32,
    /// How many entries it has; of a ring, octets that wait to be read. Absent where all are always there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_entries: Option<u64>,
    /// How many entries it can have; of a ring, octets.
    pub max_entries: u32,
    /// Octets of kernel memory, as the kernel tells.
    pub memory_octets: u64,
    /// Where it is pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<String>,
}

pub(super) fn info(
    name: &'static str,
    fd: BorrowedFd<'_>,
    used_entries: Option<u64>,
    pinned: Option<&Path>,
) -> Result<MapInfo, TableError> {
    let fault = |error: &dyn std::error::Error| TableError::Read(name, super::super::error::chain(error));
    let own = fd.try_clone_to_owned().map_err(|error| fault(&error))?;
    let info = MapData::from_fd(own).and_then(|data| data.info()).map_err(|error| fault(&error))?;
    let kind = info.map_type().map_or_else(|_| "unknown".to_owned(), |kind| kebab(&format!("{kind:?}")));
    Ok(MapInfo {
        name: name.to_owned(),
        kind,
        key_octets: info.key_size(),
        value_octets: info.value_size(),
        used_entries,
        max_entries: info.max_entries(),
        memory_octets: memory(fd),
        pinned: pinned.map(|folder| folder.join(name).display().to_string()),
    })
}

/// What the kernel says a map takes (`memlock` of its descriptor).
fn memory(fd: BorrowedFd<'_>) -> u64 {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("memlock:"));
    line.and_then(|octets| octets.trim().parse().ok()).unwrap_or_default()
}

/// `LruHash` as `lru-hash`.
fn kebab(name: &str) -> String {
    let mut text = String::new();
    for (at, c) in name.chars().enumerate() {
        if c.is_ascii_uppercase() && at > 0 {
            text.push('-');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}
