//! Loading, attaching, and running the programs.

use std::{
    ffi::{CStr, CString},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
};

use aya::{
    Ebpf, EbpfLoader, Pod, TestRun,
    maps::{Map, MapError, RingBuf},
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType, TestRunOptions,
        links::FdLink,
        tc::{SchedClassifierLink, TcAttachOptions},
    },
};
use pf_common::maps::{ControlRow, Flow, FlowKey, LegEntry, Op, SCHEMA, SessionKey, Shared, Slot, names};

use super::{
    super::{GuardError, OBJECT, ProgramInfo, error::chain, host},
    Datapath, DatapathSettings, FastPathError, RegisterError, Way,
    legs::Legs,
    register::Connections,
};

/// The programs of the datapath, as the object has them.
const INGRESS: &str = "pf_ingress";
const EGRESS: &str = "pf_egress";
const CONTROL: &str = "pf_control";

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
    let mut ebpf = EbpfLoader::new()
        // Nothing in the programs depends on the kernel's own types.
        .btf(None)
        .map_max_entries(names::FLOWS, settings.connections)
        .map_max_entries(names::CONNECTIONS, settings.connections)
        .map_max_entries(names::LEGS, settings.legs)
        .map_max_entries(names::SESSIONS, settings.legs)
        .map_max_entries(names::LOG, settings.ring_octets)
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
        log,
        shared,
        ebpf,
        settings: *settings,
        connections: Connections::new(settings.connections),
        legs: Legs::new(settings.legs),
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
    if rows[0].answer != pf_common::maps::NO_CONNECTION {
        return Err(FastPathError::SelfCheck("a connection that nobody registered".to_owned()));
    }
    Ok(())
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut SchedClassifier, FastPathError> {
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

/// Runs ingress or egress once: the answer, and the frame afterwards.
pub(super) fn judge(ebpf: &mut Ebpf, way: Way, frame: &[u8]) -> io::Result<(i32, Vec<u8>)> {
    let mut out = vec![0; 4096];
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
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

/// Attaches ingress and egress to an interface, if they are not there yet.
pub(super) fn attach(datapath: &mut Datapath, interface: &str) -> Result<(), RegisterError> {
    let name = CString::new(interface).map_err(io::Error::other)?;
    // SAFETY: a string that ends in zero.
    let number = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if number == 0 {
        return Err(io::Error::last_os_error().into());
    }
    if datapath.links.contains_key(&number) {
        return Ok(());
    }
    if !matches!(hardware(interface)?, libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK) {
        return Err(RegisterError::Unsupported("its interface has no Ethernet frames"));
    }
    let mut link = |program: &'static str, direction| -> Result<FdLink, RegisterError> {
        let program = self::program(&mut datapath.ebpf, program).map_err(io::Error::other)?;
        let options = TcAttachOptions::TcxOrder(LinkOrder::default());
        let id = program
            .attach_with_options(interface, direction, options)
            .map_err(|error| io::Error::other(chain(&error)))?;
        let link: SchedClassifierLink =
            program.take_link(id).map_err(|error| io::Error::other(chain(&error)))?;
        FdLink::try_from(link).map_err(|error| io::Error::other(chain(&error)).into())
    };
    // Egress first: what it has not seen, ingress must not change.
    let egress = link(EGRESS, TcAttachType::Egress)?;
    let ingress = link(INGRESS, TcAttachType::Ingress)?;
    tracing::info!(interface, "fast path: attached");
    datapath.links.insert(number, [ingress, egress]);
    Ok(())
}

/// The kind of an interface (`ARPHRD_*`), asked in the network namespace of this thread.
fn hardware(interface: &str) -> io::Result<u16> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    // SAFETY: plain octets, for which zeros are valid; the name is cut to leave a zero behind it.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(interface.bytes()) {
            *to = from.cast_signed();
        }
        if libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFHWADDR, &mut request) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(request.ifr_ifru.ifru_hwaddr.sa_family)
    }
}

/// The name of the interface that owns an address.
pub(super) fn owner(address: IpAddr) -> io::Result<Option<String>> {
    if address.is_loopback() {
        return Ok(Some("lo".to_owned()));
    }
    let mut list = std::ptr::null_mut();
    // SAFETY: a valid place for a pointer, which freeifaddrs takes back.
    if unsafe { libc::getifaddrs(&mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = None;
    let mut entry = list;
    while !entry.is_null() && found.is_none() {
        // SAFETY: the list's entries live until freeifaddrs; addresses are of the type their family says.
        unsafe {
            let this = &*entry;
            if !this.ifa_addr.is_null() {
                let own = match i32::from((*this.ifa_addr).sa_family) {
                    libc::AF_INET => {
                        let address = &*this.ifa_addr.cast::<libc::sockaddr_in>();
                        Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr))))
                    }
                    libc::AF_INET6 => {
                        let address = &*this.ifa_addr.cast::<libc::sockaddr_in6>();
                        Some(IpAddr::V6(Ipv6Addr::from(address.sin6_addr.s6_addr)))
                    }
                    _ => None,
                };
                if own == Some(address) {
                    found = Some(CStr::from_ptr(this.ifa_name).to_string_lossy().into_owned());
                }
            }
            entry = this.ifa_next;
        }
    }
    // SAFETY: from getifaddrs.
    unsafe { libc::freeifaddrs(list) };
    Ok(found)
}

/// The value that we and the programs share without system calls.
pub(super) struct SharedMap {
    value: NonNull<Shared>,
    // Keeps the map alive as long as the mapping.
    _map: OwnedFd,
}

// SAFETY: the mapping belongs to this value alone on this side.
unsafe impl Send for SharedMap {}

impl SharedMap {
    fn new(ebpf: &Ebpf) -> Result<SharedMap, FastPathError> {
        let Some(Map::Array(data)) = ebpf.map(names::CONTROL) else { return Err(absent(names::CONTROL)) };
        let map = data.fd().as_fd().try_clone_to_owned();
        let map = map.map_err(|error| FastPathError::System("dup", error))?;
        // SAFETY: a new mapping of a map that was made to be mapped; the kernel rounds its size up to pages.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<Shared>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        let value = NonNull::new(at.cast::<Shared>()).filter(|_| at != libc::MAP_FAILED);
        let value = value.ok_or_else(|| FastPathError::System("mmap", io::Error::last_os_error()))?;
        Ok(SharedMap { value, _map: map })
    }

    /// Writes the rows of a run.
    pub(super) fn put(&mut self, rows: &[ControlRow]) {
        // SAFETY: within the mapping, and the control program runs only when we call it.
        unsafe {
            let to = &raw mut (*self.value.as_ptr()).row;
            for (at, row) in rows.iter().enumerate().take((*to).len()) {
                to.cast::<ControlRow>().add(at).write_volatile(*row);
            }
            (&raw mut (*self.value.as_ptr()).rows).write_volatile(u32::try_from(rows.len()).unwrap_or(0));
        }
    }

    /// Reads the rows of a run.
    pub(super) fn get(&self, rows: &mut [ControlRow]) {
        // SAFETY: as in `put`.
        unsafe {
            let from = &raw const (*self.value.as_ptr()).row;
            for (at, row) in rows.iter_mut().enumerate().take((*from).len()) {
                *row = from.cast::<ControlRow>().add(at).read_volatile();
            }
        }
    }

    /// Schema and size of a slot, as the control program wrote them.
    fn layout(&self) -> (u32, u32) {
        // SAFETY: as in `put`.
        unsafe {
            let shared = self.value.as_ptr();
            ((&raw const (*shared).schema).read_volatile(), (&raw const (*shared).slot).read_volatile())
        }
    }

    pub(super) fn set_asleep(&mut self, asleep: bool) {
        // SAFETY: aligned, and both sides change it as a whole word.
        let word = unsafe { AtomicU32::from_ptr(&raw mut (*self.value.as_ptr()).asleep) };
        word.store(u32::from(asleep), Ordering::SeqCst);
    }
}

impl Drop for SharedMap {
    fn drop(&mut self) {
        // SAFETY: our mapping, used no more.
        unsafe { libc::munmap(self.value.as_ptr().cast(), size_of::<Shared>()) };
    }
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

fn absent(name: &'static str) -> FastPathError {
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
