//! The guard of the MSRP ports: one XDP program and its maps, as long as this value lives.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
    time::Duration,
};

use aya::{
    Ebpf, EbpfLoader, Pod, TestRun,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray},
    programs::{TestRunOptions, Xdp, links::FdLink},
};
use pf_common::{
    guard::Verdict,
    maps::{GuardSettings, ListenKey, SourceKey, SourceState, names},
};

use super::{Attached, GuardError, OBJECT, SourceRow, Tables, error::chain, host, interface, selfcheck};
use crate::config::model;

/// The name of the program in the object.
const PROGRAM: &str = "pf_guard";

/// The smallest ring the kernel makes: a page, on any machine that we know.
const LEAST_RING: u32 = 64 << 10;

/// A type of `pf-common`, as the maps take it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Wire<T>(T);

// SAFETY: all three are repr(C), have no padding and hold integers only (asserted in pf_common::maps).
unsafe impl Pod for Wire<GuardSettings> {}
unsafe impl Pod for Wire<ListenKey> {}
unsafe impl Pod for Wire<SourceKey> {}
unsafe impl Pod for Wire<SourceState> {}

/// The loaded guard. Dropping it detaches it and frees its maps.
pub struct Guard {
    // Before the program: links go first.
    links: Vec<(FdLink, Attached)>,
    ebpf: Ebpf,
    limits: (u32, u32),
    sources: u32,
}

/// One program in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramInfo {
    /// Its name.
    pub name: String,
    /// Instructions that the verifier looked at; it gives up at a million.
    pub verified_instructions: u32,
    /// Runs and the time they took, while the kernel's statistics were on.
    pub runs: (u64, Duration),
}

impl Guard {
    /// Loads, fills and attaches the guard as configured, for those who listen at `listen`.
    ///
    /// # Errors
    /// Anything that keeps it from its work on any of the interfaces; then none of it stays.
    pub fn start(config: &model::Guard, listen: &[SocketAddr]) -> Result<Guard, GuardError> {
        let mut guard = Guard::load(config)?;
        guard.listen(&listen.iter().map(key).collect::<Vec<_>>())?;
        for name in &config.interfaces {
            let (link, attached) = interface::attach(guard.program()?, name, config.mode)?;
            tracing::info!(interface = name, mode = attached.mode.name(), "guard: attached");
            guard.links.push((link, attached));
        }
        Ok(guard)
    }

    /// Loads the guard with the configured limits, attached to nothing, guarding nothing.
    ///
    /// # Errors
    /// This build has no object, or this host cannot load it.
    pub fn load(config: &model::Guard) -> Result<Guard, GuardError> {
        if OBJECT.is_empty() {
            return Err(GuardError::NotBuilt);
        }
        host::check()?;
        let ebpf = EbpfLoader::new()
            // Nothing in the programs depends on the kernel's own types.
            .btf(None)
            .map_max_entries(names::GUARD_SOURCES, config.sources)
            // The datapath's, and not used here.
            .map_max_entries(names::FLOWS, 1)
            .map_max_entries(names::CONNECTIONS, 1)
            .map_max_entries(names::LEGS, 1)
            .map_max_entries(names::SESSIONS, 1)
            .map_max_entries(names::LOG, LEAST_RING)
            .load(OBJECT)
            .map_err(|error| GuardError::Load(chain(&error)))?;
        let limits = (config.connections_per_second, config.packets_per_second);
        let mut guard = Guard { links: Vec::new(), ebpf, limits, sources: config.sources };
        guard.program()?.load().map_err(|error| GuardError::Load(chain(&error)))?;
        guard.write_limits()?;
        selfcheck::run(&mut guard)?;
        Ok(guard)
    }

    fn program(&mut self) -> Result<&mut Xdp, GuardError> {
        let program = self.ebpf.program_mut(PROGRAM);
        let program = program.ok_or_else(|| GuardError::Load(format!("there is no program {PROGRAM}")))?;
        program.try_into().map_err(|error| GuardError::Load(chain(&error)))
    }

    /// Guards these, beside those it guards already.
    pub fn listen(&mut self, keys: &[ListenKey]) -> Result<(), GuardError> {
        let mut map: HashMap<_, Wire<ListenKey>, u8> = typed_mut(&mut self.ebpf, names::GUARD_LISTEN)?;
        for key in keys {
            map.insert(Wire(*key), 1, 0).map_err(|error| fault(names::GUARD_LISTEN, &error))?;
        }
        Ok(())
    }

    /// Guards this one no longer.
    pub(super) fn leave(&mut self, key: &ListenKey) -> Result<(), GuardError> {
        let mut map: HashMap<_, Wire<ListenKey>, u8> = typed_mut(&mut self.ebpf, names::GUARD_LISTEN)?;
        map.remove(&Wire(*key)).map_err(|error| fault(names::GUARD_LISTEN, &error))
    }

    /// Where it is attached.
    pub fn attached(&self) -> Vec<Attached> {
        self.links.iter().map(|(_, attached)| attached.clone()).collect()
    }

    /// New connections and packets that a source may make in a second.
    pub fn limits(&self) -> (u32, u32) {
        self.limits
    }

    /// Changes the limits; the next packet is judged by them.
    pub fn set_limits(&mut self, connections: u32, packets: u32) -> Result<(), GuardError> {
        self.limits = (connections, packets);
        self.write_limits()
    }

    fn write_limits(&mut self) -> Result<(), GuardError> {
        self.write_settings(GuardSettings::new(self.limits.0, self.limits.1))
    }

    /// Writes settings as they are, of whatever version.
    #[doc(hidden)]
    pub fn write_settings(&mut self, settings: GuardSettings) -> Result<(), GuardError> {
        let mut map: Array<_, Wire<GuardSettings>> = typed_mut(&mut self.ebpf, names::GUARD_SETTINGS)?;
        map.set(0, Wire(settings), 0).map_err(|error| fault(names::GUARD_SETTINGS, &error))
    }

    /// How many packets got each verdict, all processors together.
    pub fn counts(&self) -> Result<Vec<(Verdict, u64)>, GuardError> {
        let map: PerCpuArray<_, u64> = typed(&self.ebpf, names::GUARD_COUNTS)?;
        let count = |verdict: &Verdict| {
            let index = u32::try_from(verdict.index()).unwrap_or(u32::MAX);
            let values = map.get(&index, 0).map_err(|error| fault(names::GUARD_COUNTS, &error))?;
            Ok((*verdict, values.iter().sum()))
        };
        Verdict::ALL.iter().map(count).collect()
    }

    /// The sources in the table, in the order of their addresses.
    pub fn sources(&self) -> Result<Vec<SourceRow>, GuardError> {
        let map: HashMap<_, Wire<SourceKey>, Wire<SourceState>> = typed(&self.ebpf, names::GUARD_SOURCES)?;
        let mut found = BTreeMap::new();
        // The table changes while it is read, and reading it may begin again: no more steps than it has places.
        for entry in map.iter().take(self.sources as usize) {
            match entry {
                Ok((Wire(key), Wire(state))) => _ = found.insert(key, state),
                // Forgotten since its key was read.
                Err(MapError::KeyNotFound | MapError::ElementNotFound) => {}
                Err(error) => return Err(fault(names::GUARD_SOURCES, &error)),
            }
        }
        let settings = GuardSettings::new(self.limits.0, self.limits.1);
        let now = monotonic();
        Ok(found.iter().map(|(key, state)| SourceRow::new(key, state, &settings, now)).collect())
    }

    /// The maps, for whoever looks at them.
    ///
    /// # Errors
    /// The system gives no descriptors.
    pub fn tables(&self) -> Result<Tables, GuardError> {
        let names = [names::GUARD_SETTINGS, names::GUARD_LISTEN, names::GUARD_SOURCES, names::GUARD_COUNTS];
        let maps = names.into_iter().map(|name| Ok((name, data(self.ebpf.map(name), name)?.fd().as_fd())));
        let maps = maps.collect::<Result<Vec<_>, GuardError>>()?;
        Tables::new(maps).map_err(|error| GuardError::Map(names::GUARD_SETTINGS, error.to_string()))
    }

    /// The programs.
    pub fn programs(&self) -> Result<Vec<ProgramInfo>, GuardError> {
        self.ebpf
            .programs()
            .filter(|(name, _)| *name == PROGRAM)
            .map(|(name, program)| {
                let info = program.info().map_err(|error| GuardError::Load(chain(&error)))?;
                Ok(ProgramInfo {
                    name: name.to_owned(),
                    verified_instructions: info.verified_instruction_count().unwrap_or(u32::MAX),
                    runs: (info.run_count(), info.run_time()),
                })
            })
            .collect()
    }

    /// Lets the program judge a frame that no interface received, `repeat` times: the verdict of the last time (told
    /// by its counter), the program's return value, and the mean time of a run.
    pub fn judge(
        &mut self,
        frame: &[u8],
        repeat: u32,
    ) -> Result<(Option<Verdict>, u32, Duration), GuardError> {
        let before = self.counts()?;
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.repeat = repeat;
        let result =
            self.program()?.test_run(options).map_err(|error| GuardError::SelfCheck(chain(&error)))?;
        let after = self.counts()?;
        let verdict = after
            .iter()
            .zip(&before)
            .find(|((_, now), (_, was))| now > was)
            .map(|((verdict, _), _)| *verdict);
        Ok((verdict, result.return_value, result.duration))
    }

    /// Forgets what it counted and whom it knows.
    pub fn clear(&mut self) -> Result<(), GuardError> {
        let mut counts: PerCpuArray<_, u64> = typed_mut(&mut self.ebpf, names::GUARD_COUNTS)?;
        for index in 0..counts.len() {
            let zeros = counts.get(&index, 0).map(|values| vec![0; values.len()]);
            zeros
                .and_then(|zeros| Ok(aya::maps::PerCpuValues::try_from(zeros)?))
                .and_then(|zeros| counts.set(index, zeros, 0))
                .map_err(|error| fault(names::GUARD_COUNTS, &error))?;
        }
        let mut sources: HashMap<_, Wire<SourceKey>, Wire<SourceState>> =
            typed_mut(&mut self.ebpf, names::GUARD_SOURCES)?;
        let keys: Vec<_> = sources.keys().take(self.sources as usize).flatten().collect();
        for key in keys {
            // Forgotten meanwhile is as good.
            let _ = sources.remove(&key);
        }
        Ok(())
    }
}

/// A listening address as the map has it; wildcards are zeros in both.
fn key(listen: &SocketAddr) -> ListenKey {
    let port = listen.port().to_be_bytes();
    match listen.ip() {
        IpAddr::V4(ip) => ListenKey::v4(ip.octets(), port),
        IpAddr::V6(ip) => ListenKey::v6(ip.octets(), port),
    }
}

fn typed<'a, T>(ebpf: &'a Ebpf, name: &'static str) -> Result<T, GuardError>
where
    T: TryFrom<&'a Map, Error = MapError>,
{
    let map = ebpf.map(name).ok_or_else(|| absent(name))?;
    T::try_from(map).map_err(|error| fault(name, &error))
}

fn typed_mut<'a, T>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<T, GuardError>
where
    T: TryFrom<&'a mut Map, Error = MapError>,
{
    let map = ebpf.map_mut(name).ok_or_else(|| absent(name))?;
    T::try_from(map).map_err(|error| fault(name, &error))
}

fn data<'a>(map: Option<&'a Map>, name: &'static str) -> Result<&'a MapData, GuardError> {
    match map {
        Some(Map::Array(data) | Map::HashMap(data) | Map::LruHashMap(data) | Map::PerCpuArray(data)) => {
            Ok(data)
        }
        _ => Err(absent(name)),
    }
}

fn absent(name: &'static str) -> GuardError {
    GuardError::Map(name, "it is not in the object".to_owned())
}

fn fault(name: &'static str, error: &MapError) -> GuardError {
    GuardError::Map(name, chain(error))
}

/// Nanoseconds of the clock that the programs use.
fn monotonic() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid place for a timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
