//! Loads the kernel programs, feeds their maps, and reads them.
//!
//! [`Guard`] is the XDP program in front of the MSRP ports, [`Datapath`] the programs that forward messages.

mod datapath;
mod error;
mod guard;
mod host;
mod interface;
mod memory;
mod pins;
mod selfcheck;
mod source;
mod statistics;
mod tables;

pub(crate) use datapath::keep;
pub use datapath::{
    Datapath, DatapathCounts, DatapathSettings, FastPathError, LegError, LegPlan, RegisterError, Registered,
    Way,
};
pub use error::GuardError;
pub use guard::{Guard, ProgramInfo};
pub use interface::{Attached, Mode};
pub use memory::{datapath as datapath_memory, table};
pub use pins::{PinError, Pins};
pub use source::SourceRow;
pub use statistics::{Statistics, StatisticsError};
pub use tables::{Dump, MapInfo, TableError, TableName, Tables, known_keys};

/// The kernel programs of this build; empty where they were not built.
const OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/pf.o"));

/// Does this build have kernel programs?
pub const fn built() -> bool {
    !OBJECT.is_empty()
}
