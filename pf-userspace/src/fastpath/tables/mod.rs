//! The maps of this process, for whoever looks at them beside the thread that works with them.
//!
//! A [`Tables`] has descriptors of its own: reading a large map takes a while, and neither the relay's worker nor
//! anybody who asks it something has to wait for that.

mod dump;
mod info;
mod rows;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use aya::maps::{Map, MapData, MapError};
use serde::{Deserialize, Serialize};

pub use dump::{Dump, known as known_keys};
pub use info::MapInfo;

/// Why a map cannot be shown. One line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The program it belongs to is not loaded.
    #[error("there is no map {0} at present: {1}")]
    Absent(&'static str, String),
    /// It has no entries that mean anything outside of the programs.
    #[error("{0} holds working memory of the programs, no entries")]
    Opaque(&'static str),
    /// It has no such entry.
    #[error("{map} has no entry `{key}`: {known}")]
    NoEntry {
        /// The map.
        map: &'static str,
        /// What was asked for.
        key: String,
        /// What there is.
        known: String,
    },
    /// The kernel does not give it.
    #[error("the map {0} cannot be read: {1}")]
    Read(&'static str, String),
}

macro_rules! tables {
    ($($(#[$doc:meta])* $variant:ident = $name:ident, $text:literal;)+) => {
        /// A map that can be shown.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
        #[serde(rename_all = "kebab-case")]
        pub enum TableName {
            $($(#[$doc])* #[value(name = $text, alias = stringify!($name))] $variant,)+
        }

        impl TableName {
            /// All of them.
            pub const ALL: &[TableName] = &[$(TableName::$variant,)+];

            /// The name of the map, as the kernel and the list of maps have it.
            pub const fn map(self) -> &'static str {
                match self { $(TableName::$variant => pf_common::maps::names::$name,)+ }
            }
        }
    };
}

tables! {
    /// TCP connections by their addresses
    Flows = FLOWS, "flows";
    /// The connections that the fast path knows, with their positions
    Connections = CONNECTIONS, "connections";
    /// Session-ids, and the legs they belong to
    Sessions = SESSIONS, "sessions";
    /// MSRP legs, their path lines, and who gets their messages
    Legs = LEGS, "legs";
    /// How full the log is
    Log = LOG, "log";
    /// What was asked of the programs last
    Control = CONTROL, "control";
    /// What the programs counted
    Counts = SPLICE_COUNTS, "counts";
    /// The sources that the guard knows
    Guard = GUARD_SOURCES, "guard";
    /// The addresses that the guard guards
    GuardListen = GUARD_LISTEN, "guard-listen";
    /// The limits of the guard
    GuardSettings = GUARD_SETTINGS, "guard-settings";
    /// What the guard decided, and how often
    GuardCounts = GUARD_COUNTS, "guard-counts";
}

/// One map, by a descriptor of its own.
struct Table {
    name: &'static str,
    fd: OwnedFd,
}

/// Maps of this process. They live at least as long as this value.
#[derive(Default)]
pub struct Tables(Vec<Table>);

impl Tables {
    /// The same maps by other descriptors.
    pub(super) fn new<'a>(
        maps: impl IntoIterator<Item = (&'static str, BorrowedFd<'a>)>,
    ) -> io::Result<Tables> {
        let table =
            |(name, fd): (&'static str, BorrowedFd<'a>)| Ok(Table { name, fd: fd.try_clone_to_owned()? });
        maps.into_iter().map(table).collect::<io::Result<_>>().map(Tables)
    }

    /// Takes the maps of another program in.
    pub fn join(&mut self, other: Tables) {
        self.0.extend(other.0);
    }

    /// Are there any?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and descriptors.
    pub(super) fn each(&self) -> impl Iterator<Item = (&'static str, BorrowedFd<'_>)> {
        self.0.iter().map(|table| (table.name, table.fd.as_fd()))
    }

    /// All maps, with what they cost; `pinned` is the folder in which they are pinned.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn list(&self, pinned: Option<&Path>) -> Result<Vec<MapInfo>, TableError> {
        let used = |name| dump::used(self, name).ok().flatten();
        self.0
            .iter()
            .map(|table| info::info(table.name, table.fd.as_fd(), used(table.name), pinned))
            .collect()
    }

    /// The entries of a map, decoded: those under `key`, or all, and at most `rows`.
    ///
    /// # Errors
    /// There is no such map or entry, or the kernel does not give it.
    pub fn dump(&self, name: TableName, key: Option<&str>, rows: usize) -> Result<Dump, TableError> {
        dump::dump(self, name, key, rows)
    }

    /// A typed handle.
    fn open<T>(&self, name: &'static str) -> Result<T, TableError>
    where
        T: TryFrom<Map, Error = MapError>,
    {
        let table = self.0.iter().find(|table| table.name == name);
        let table = table.ok_or_else(|| self.absent(name))?;
        let fault = |error: &dyn std::error::Error| TableError::Read(name, super::error::chain(error));
        let fd = table.fd.try_clone().map_err(|error| fault(&error))?;
        let map = MapData::from_fd(fd).and_then(Map::from_map_data).map_err(|error| fault(&error))?;
        T::try_from(map).map_err(|error| fault(&error))
    }

    fn absent(&self, name: &'static str) -> TableError {
        let names: Vec<&str> = self.0.iter().map(|table| table.name).collect();
        let known = match names.as_slice() {
            [] => "no kernel program is loaded".to_owned(),
            names => format!("there are {}", names.join(", ")),
        };
        TableError::Absent(name, known)
    }
}
