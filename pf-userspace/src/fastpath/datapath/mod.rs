//! The datapath: the programs that forward and duplicate messages, their maps, and what the relay asks of them.
//!
//! All of it is for one thread, the relay's worker. What it must do in which order is in `docs/datapath.md` (U1..U3).

mod counts;
mod error;
mod interface;
mod keeper;
mod legs;
mod load;
mod log;
mod register;
mod route;
mod shared;
mod socket;

use std::{
    collections::BTreeMap,
    io,
    os::fd::{BorrowedFd, RawFd},
};

use aya::{Ebpf, maps::RingBuf, programs::links::FdLink};
use pf_common::{
    maps::{ControlRow, LogHeader, ROWS, Slot},
    splice,
};

pub use counts::DatapathCounts;
pub use error::{FastPathError, LegError, RegisterError};
pub use legs::LegPlan;
pub use register::Registered;

use super::{ProgramInfo, Tables};

pub(crate) use keeper::keep;

/// How large the datapath is. All of it is taken when it is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatapathSettings {
    /// The most connections at once.
    pub connections: u32,
    /// The most legs at once.
    pub legs: u32,
    /// Octets of the log: a power of two, at least a page.
    pub ring_octets: u32,
    /// The most octets that one source may have in the log.
    pub source_octets: u32,
}

impl Default for DatapathSettings {
    fn default() -> DatapathSettings {
        DatapathSettings { connections: 4096, legs: 4096, ring_octets: 4 << 20, source_octets: 64 << 10 }
    }
}

/// Which way a frame goes that is judged.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From a peer.
    In,
    /// To a peer.
    Out,
}

/// The loaded programs and their maps. Dropping it detaches them; connections that are registered then must be
/// closed, for their kernel sockets know nothing of what the programs did.
pub struct Datapath {
    // Before the programs: links go first.
    links: BTreeMap<u32, [FdLink; 2]>,
    /// Second holders of links, where `outlive` says so.
    keepers: Vec<keeper::Keeper>,
    outlive: bool,
    log: RingBuf<aya::maps::MapData>,
    shared: shared::SharedMap,
    ebpf: Ebpf,
    settings: DatapathSettings,
    connections: register::Connections,
    legs: legs::Legs,
    /// Segments in flight of connections that are registered.
    in_flight: u32,
}

impl Datapath {
    /// Loads the programs, attached to nothing.
    ///
    /// # Errors
    /// This build has no object, this host cannot load it, or it is of another build.
    pub fn load(settings: &DatapathSettings) -> Result<Datapath, FastPathError> {
        load::load(settings)
    }

    /// Takes a connected socket in, slow in both roles, and attaches the programs to its interface.
    ///
    /// # Errors
    /// [`RegisterError::Busy`] while octets are in flight: try again. Others say why it cannot be.
    pub fn register(&mut self, socket: BorrowedFd<'_>) -> Result<Registered, RegisterError> {
        register::register(self, socket)
    }

    /// Gives a connection up, before or after its socket is closed: slow for good in both roles, and what was rolled
    /// back is lost. The programs translate what its kernel socket still sends and gets until that has ended; only then
    /// its number is free.
    pub fn forget(&mut self, connection: u32) {
        register::forget(self, connection);
    }

    /// A free leg number.
    pub fn new_leg(&mut self) -> Option<u32> {
        self.legs.take()
    }

    /// Writes a leg. Unless it is new, its connection and all those that send to it must be slow as sources, with
    /// nothing in work.
    ///
    /// # Errors
    /// The programs cannot serve such a leg, or the maps are full.
    pub fn set_leg(&mut self, leg: u32, plan: &LegPlan) -> Result<(), LegError> {
        legs::set(self, leg, plan)
    }

    /// Forgets a leg. The sources that send to it must be slow with nothing in work. Its number rests for a second.
    pub fn drop_leg(&mut self, leg: u32) {
        legs::drop(self, leg);
    }

    /// Has the control program work on the rows, in order.
    ///
    /// # Errors
    /// The kernel does not run the program.
    pub fn batch(&mut self, rows: &mut [ControlRow]) -> io::Result<()> {
        for rows in rows.chunks_mut(ROWS) {
            self.shared.put(rows);
            load::run_control(&mut self.ebpf)?;
            self.shared.get(rows);
        }
        Ok(())
    }

    /// A consistent copy of a connection's state.
    ///
    /// # Errors
    /// There is no such connection, or the kernel does not give it.
    pub fn connection(&self, connection: u32) -> io::Result<splice::Connection> {
        self.slot(connection).map(|slot| slot.connection)
    }

    /// A consistent copy of a connection with its link and counters.
    ///
    /// # Errors
    /// As [`Datapath::connection`].
    pub fn slot(&self, connection: u32) -> io::Result<Slot> {
        register::slot(self, connection)
    }

    /// Readable when a record woke us; for an epoll.
    pub fn log_fd(&self) -> RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.log)
    }

    /// Gives all records that are there, in order.
    pub fn read_log(&mut self, each: &mut dyn FnMut(&LogHeader, &[u8])) {
        log::read(&mut self.log, each);
    }

    /// The most octets of one source that the log may hold.
    pub const fn source_octets(&self) -> u32 {
        self.settings.source_octets
    }

    /// Says whether the next record must wake us. After `true`, read the log once more before sleeping.
    pub fn set_asleep(&mut self, asleep: bool) {
        self.shared.set_asleep(asleep);
    }

    /// What the programs counted.
    ///
    /// # Errors
    /// The kernel does not give the map.
    pub fn counts(&self) -> Result<DatapathCounts, FastPathError> {
        counts::read(&self.ebpf)
    }

    /// Connections that are registered from now on may have so many segments in flight ([`Op::Cap`](pf_common::maps::Op)
    /// changes those that are).
    pub fn set_in_flight(&mut self, segments: u32) {
        self.in_flight = segments;
    }

    /// The maps, for whoever looks at them beside the relay's thread.
    ///
    /// # Errors
    /// The system gives no descriptors.
    pub fn tables(&self) -> Result<Tables, FastPathError> {
        load::tables(&self.ebpf, &self.log)
    }

    /// The programs, as the kernel knows them.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn programs(&self) -> Result<Vec<ProgramInfo>, FastPathError> {
        load::programs(&self.ebpf)
    }

    /// Lets a program decide about a frame that no interface received: what it answers, and the frame afterwards. Copies
    /// that it sends really go out.
    #[doc(hidden)]
    pub fn judge(&mut self, way: Way, frame: &[u8], segment: u32) -> io::Result<(i32, Vec<u8>)> {
        load::judge(&mut self.ebpf, way, frame, segment)
    }

    /// Writes a connection's state: a moment that passes too quickly to be met otherwise.
    #[doc(hidden)]
    pub fn put_slot(&mut self, connection: u32, slot: &Slot) -> io::Result<()> {
        register::put_slot(self, connection, slot)
    }

    /// From now on the programs stay attached for a moment when this process dies, so that peers understand the ends
    /// of their connections. For the `pf` binary only, which knows how to.
    pub fn outlive(&mut self) {
        self.outlive = true;
    }

    /// The numbers of the interfaces that the programs are attached to.
    pub fn interfaces(&self) -> Vec<u32> {
        self.links.keys().copied().collect()
    }
}

// It moves to the relay's thread.
const _: fn() = || {
    fn moves<T: Send>() {}
    moves::<Datapath>();
};
