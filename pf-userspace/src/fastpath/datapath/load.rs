//! Loading and running the programs.

use std::{io, os::fd::AsFd};

use aya::{
    Ebpf, EbpfLoader, Pod, TestRun,
    maps::{Map, MapData, MapError, RingBuf},
    programs::{ProgramError, SchedClassifier, TestRunOptions},
};
use pf_common::maps::{ControlRow, Count, Flow, FlowKey, LegEntry, Op, SCHEMA, SessionKey, Slot, names};

use super::{
    super::{GuardError, OBJECT, ProgramInfo, Tables, error::chain, host},
    Datapath, DatapathSettings, FastPathError, Way,
    legs::Legs,
    register::Connections,
    shared::SharedMap,
};

/// The programs of the datapath, as the object has them.
pub(super) const INGRESS: &str = "pf_ingress";
pub(super) const EGRESS: &str = "pf_egress";
const CONTROL: &str = "pf_control";

/// What tells our own copies from packets of the kernel sockets, on their way out: another `pf` on the same interface
/// has another one.
fn packet_mark() -> Result<u32, FastPathError> {
    let mut octets = [0; 4];
    getrandom::fill(&mut octets).map_err(|error| FastPathError::Load(format!("no entropy: {error}")))?;
    // Zero is the mark of all other packets.
    Ok(u32::from_ne_bytes(octets).max(1))
}

/// A type of `pf-common`, as the maps take it.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct Wire<T>(pub(super) T);

// SAFETY: all are repr(C) and have no padding (asserted in pf_common::maps). Those with enums are only ever written by
// us and by our programs, with values of these enums.
unsafe impl Pod for Wire<FlowKey> {}
unsafe impl Pod for Wire<Flow> {}
unsafe impl Pod for Wire<SessionKey> {}
unsafe impl Pod for Wire<LegEntry> {}
unsafe impl Pod for Wire<Slot> {}

pub(super) fn load(settings: &DatapathSettings) -> Result<Datapath, FastPathError> {
    if OBJECT.is_empty() {
        return Err(FastPathError::NotBuilt);
    }
    host::check().map_err(|error| match error {
        GuardError::OldKernel(release, oldest) => FastPathError::OldKernel(release, oldest),
        GuardError::Capability(name) => FastPathError::Capability(name),
        other => FastPathError::Load(other.to_string()),
    })?;
    let fault = |error: &dyn std::error::Error| FastPathError::Load(chain(error));
    let mark = packet_mark()?;
    let mut ebpf = EbpfLoader::new()
        // Nothing in the programs depends on the kernel's own types.
        .btf(None)
        .map_max_entries(names::FLOWS, settings.connections)
        .map_max_entries(names::CONNECTIONS, settings.connections)
        .map_max_entries(names::LEGS, settings.legs)
        .map_max_entries(names::SESSIONS, settings.legs)
        .map_max_entries(names::LOG, settings.ring_octets)
        .override_global("PACKET_MARK", &mark, true)
        // The guard's, and not used here.
        .map_max_entries(names::GUARD_SOURCES, 1)
        .load(OBJECT)
        .map_err(|error| fault(&error))?;
    for name in [INGRESS, EGRESS, CONTROL] {
        load_program(program(&mut ebpf, name)?).map_err(|error| fault(&error))?;
    }
    let log = ebpf.take_map(names::LOG).ok_or_else(|| absent(names::LOG))?;
    let log = RingBuf::try_from(log).map_err(|error| self::fault(names::LOG, &error))?;
    let shared = SharedMap::new(&ebpf)?;
    let mut datapath = Datapath {
        links: Default::default(),
        keepers: Vec::new(),
        outlive: false,
        log,
        shared,
        ebpf,
        settings: *settings,
        connections: Connections::new(settings.connections),
        legs: Legs::new(settings.legs),
        in_flight: pf_common::splice::CAP_SEGMENTS,
    };
    self_check(&mut datapath)?;
    Ok(datapath)
}

/// How often a program is offered to a verifier that was interrupted.
const LOADS: u32 = 20;

/// Loads a program. The verifier gives up when a signal comes, whatever it is for.
fn load_program(program: &mut SchedClassifier) -> Result<(), ProgramError> {
    let mut left = LOADS;
    loop {
        match program.load() {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.raw_os_error() == Some(libc::EAGAIN) && left > 0 =>
            {
                left -= 1;
            }
            other => return other,
        }
    }
}

/// The control program must answer with the layout that this build has.
fn self_check(datapath: &mut Datapath) -> Result<(), FastPathError> {
    let mut rows = [ControlRow::new(Op::View, u32::MAX, 0, 0)];
    datapath.batch(&mut rows).map_err(|error| FastPathError::SelfCheck(error.to_string()))?;
    let (schema, slot) = datapath.shared.layout();
    let expected = (SCHEMA, u32::try_from(size_of::<Slot>()).unwrap_or(0));
    if (schema, slot) != expected {
        return Err(FastPathError::SelfCheck(format!(
            "schema {schema} with slots of {slot} octets instead of {} with {}",
            expected.0, expected.1
        )));
    }
    let counters = super::counts::counters(&datapath.ebpf)?;
    if counters != Count::LEN {
        return Err(FastPathError::SelfCheck(format!("{counters} counters instead of {}", Count::LEN)));
    }
    if rows[0].answer != pf_common::maps::NO_CONNECTION {
        return Err(FastPathError::SelfCheck("a connection that nobody registered".to_owned()));
    }
    Ok(())
}

pub(super) fn program<'a>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut SchedClassifier, FastPathError> {
    let program = ebpf.program_mut(name);
    let program = program.ok_or_else(|| FastPathError::Load(format!("there is no program {name}")))?;
    program.try_into().map_err(|error| FastPathError::Load(chain(&error)))
}

/// A frame for the control program: it makes its ACKs of it.
const FRAME: [u8; 128] = {
    let mut frame = [0; 128];
    frame[12] = 0x08;
    frame[14] = 0x45;
    frame
};

/// Runs the control program once.
pub(super) fn run_control(ebpf: &mut Ebpf) -> io::Result<()> {
    let mut options = TestRunOptions::new();
    options.data_in = Some(&FRAME);
    let program = program(ebpf, CONTROL).map_err(io::Error::other)?;
    program.test_run(options).map(drop).map_err(io::Error::other)
}

/// Octets of linux/bpf.h's `__sk_buff`.
const SK_BUFF: usize = 192;
/// Where its `gso_size` is.
const GSO_SIZE: usize = 176;

/// Runs ingress or egress once: the answer, and the frame afterwards.
pub(super) fn judge(ebpf: &mut Ebpf, way: Way, frame: &[u8], segment: u32) -> io::Result<(i32, Vec<u8>)> {
    let mut out = vec![0; 8192];
    // What the kernel takes from `__sk_buff`; all else has to be zero.
    let mut context = [0; SK_BUFF];
    if let Some(place) = context.get_mut(GSO_SIZE..GSO_SIZE + 4) {
        place.copy_from_slice(&segment.to_ne_bytes());
    }
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
    options.ctx_in = Some(&context);
    options.data_out = Some(&mut out);
    let name = match way {
        Way::In => INGRESS,
        Way::Out => EGRESS,
    };
    let result = program(ebpf, name).map_err(io::Error::other)?;
    let result = result.test_run(options).map_err(io::Error::other)?;
    out.truncate(usize::try_from(result.data_size_out).unwrap_or(0));
    Ok((result.return_value.cast_signed(), out))
}

/// The programs, as the kernel knows them.
pub(super) fn programs(ebpf: &Ebpf) -> Result<Vec<ProgramInfo>, FastPathError> {
    [INGRESS, EGRESS, CONTROL]
        .into_iter()
        .map(|name| {
            let program = ebpf.program(name).ok_or_else(|| FastPathError::Load(name.to_owned()))?;
            let info = program.info().map_err(|error| FastPathError::Load(chain(&error)))?;
            Ok(ProgramInfo {
                name: name.to_owned(),
                verified_instructions: info.verified_instruction_count().unwrap_or(u32::MAX),
                runs: (info.run_count(), info.run_time()),
            })
        })
        .collect()
}

/// The maps of the datapath, by descriptors of their own.
pub(super) fn tables(ebpf: &Ebpf, log: &RingBuf<MapData>) -> Result<Tables, FastPathError> {
    let names = [
        names::FLOWS,
        names::CONNECTIONS,
        names::SESSIONS,
        names::LEGS,
        names::CONTROL,
        names::SPLICE_COUNTS,
        names::SCRATCH,
    ];
    let data = |name| match ebpf.map(name) {
        Some(Map::Array(data) | Map::HashMap(data) | Map::PerCpuArray(data)) => Ok((name, data.fd().as_fd())),
        _ => Err(absent(name)),
    };
    let mut maps = names.into_iter().map(data).collect::<Result<Vec<_>, _>>()?;
    maps.insert(4, (names::LOG, log.as_fd()));
    Tables::new(maps).map_err(|error| FastPathError::System("dup", error))
}

pub(super) fn typed<'a, T>(ebpf: &'a Ebpf, name: &'static str) -> Result<T, FastPathError>
where
    T: TryFrom<&'a Map, Error = MapError>,
{
    let map = ebpf.map(name).ok_or_else(|| absent(name))?;
    T::try_from(map).map_err(|error| fault(name, &error))
}

pub(super) fn typed_mut<'a, T>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<T, FastPathError>
where
    T: TryFrom<&'a mut Map, Error = MapError>,
{
    let map = ebpf.map_mut(name).ok_or_else(|| absent(name))?;
    T::try_from(map).map_err(|error| fault(name, &error))
}

pub(super) fn absent(name: &'static str) -> FastPathError {
    FastPathError::Map(name, "it is not in the object".to_owned())
}

pub(super) fn fault(name: &'static str, error: &MapError) -> FastPathError {
    FastPathError::Map(name, chain(error))
}

/// What the kernel said.
pub(super) fn io_error(error: MapError) -> io::Error {
    match error {
        MapError::SyscallError(error) => error.io_error,
        other => io::Error::other(other),
    }
}
