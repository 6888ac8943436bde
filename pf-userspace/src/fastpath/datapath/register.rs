//! Connections: from a kernel socket to a place in the maps.
//!
//! The flow is known to the programs only after its state has been written, and the state must be true at that moment.
//! So the socket is read, the state written, the flow inserted, and the socket read again: if both readings agree,
//! nothing has passed unseen.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::BorrowedFd,
    time::{Duration, Instant},
};

use aya::maps::{Array, HashMap};
use pf_common::{
    maps::{ConnectionCounts, ControlRow, Flow, FlowKey, LINK_STAMPS, Link, Op, Slot, names},
    splice::{Connection, Handshake},
};

use super::{
    Datapath, RegisterError, interface,
    legs::REST,
    load::{self, Wire, io_error},
    route,
    socket::{self, Reading},
};

/// Reads and writes of a spin-locked value take the lock.
const BPF_F_LOCK: u64 = 4;

/// How often two readings may differ before the caller is told to come again.
const TRIES: u32 = 3;

/// Longer than TIME-WAIT and than the kernel repeats octets of a socket that nobody owns.
const LAST_STATES: Duration = Duration::from_secs(120);

/// So long after the end of both streams the last ACK may still be asked for.
const QUICK_END: Duration = Duration::from_secs(5);

/// Closing connections that are looked at in one go.
const REAPED: usize = 64;

/// A connection that the programs know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its number.
    pub connection: u32,
    /// Kernel position of the next octet that we write.
    pub written: u32,
    /// Kernel position of the next octet that we read.
    pub parsed: u32,
}

/// Numbers, of which each rests before it is used again.
pub(super) struct Numbers {
    fresh: u32,
    most: u32,
    resting: VecDeque<(Instant, u32)>,
}

impl Numbers {
    pub(super) fn new(most: u32) -> Numbers {
        Numbers { fresh: 0, most, resting: VecDeque::new() }
    }

    pub(super) fn take(&mut self) -> Option<u32> {
        if let Some((since, number)) = self.resting.front().copied()
            && since.elapsed() >= REST
        {
            self.resting.pop_front();
            return Some(number);
        }
        let number = self.fresh;
        (number < self.most).then(|| {
            self.fresh += 1;
            number
        })
    }

    pub(super) fn give_back(&mut self, number: u32) {
        self.resting.push_back((Instant::now(), number));
    }
}

/// What is remembered of a registered connection.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) key: FlowKey,
    pub(super) generation: u32,
    pub(super) session_at: Option<u32>,
}

/// The registered connections.
pub(super) struct Connections {
    numbers: Numbers,
    held: BTreeMap<u32, Held>,
    closing: VecDeque<(Instant, u32, FlowKey)>,
    generation: u32,
}

impl Connections {
    pub(super) fn new(most: u32) -> Connections {
        Connections {
            numbers: Numbers::new(most),
            held: BTreeMap::new(),
            closing: VecDeque::new(),
            generation: 0,
        }
    }

    pub(super) fn get(&self, connection: u32) -> Option<&Held> {
        self.held.get(&connection)
    }

    pub(super) fn set_session_at(&mut self, connection: u32, at: u32) {
        if let Some(held) = self.held.get_mut(&connection) {
            held.session_at = Some(at);
        }
    }
}

pub(super) fn register(datapath: &mut Datapath, socket: BorrowedFd<'_>) -> Result<Registered, RegisterError> {
    reap(datapath);
    let first = socket::read(socket)?;
    attach(datapath, &first.key)?;
    let connection = datapath.connections.numbers.take().ok_or(RegisterError::Full)?;
    let generation = datapath.connections.generation.wrapping_add(1).max(1);
    datapath.connections.generation = generation;
    let done = settle(datapath, socket, connection, generation, first);
    match done {
        Ok(reading) => {
            let held = Held { key: reading.key, generation, session_at: None };
            datapath.connections.held.insert(connection, held);
            Ok(Registered {
                connection,
                written: reading.write_seq,
                parsed: reading.rcv_nxt.wrapping_sub(reading.unread),
            })
        }
        Err(error) => {
            erase(datapath, connection, &first.key);
            Err(error)
        }
    }
}

/// Writes state and flow until the socket has not moved meanwhile.
fn settle(
    datapath: &mut Datapath,
    socket: BorrowedFd<'_>,
    connection: u32,
    generation: u32,
    first: Reading,
) -> Result<Reading, RegisterError> {
    let mut before = first;
    for _ in 0..TRIES {
        let mut slot = slot_of(&before, generation, datapath.settings.source_octets);
        slot.connection.transmit.cap_segments = datapath.in_flight;
        let mut slots: Array<_, Wire<Slot>> =
            load::typed_mut(&mut datapath.ebpf, names::CONNECTIONS).map_err(io::Error::other)?;
        slots.set(connection, Wire(slot), BPF_F_LOCK).map_err(io_error)?;
        let mut flows: HashMap<_, Wire<FlowKey>, Wire<Flow>> =
            load::typed_mut(&mut datapath.ebpf, names::FLOWS).map_err(io::Error::other)?;
        flows.insert(Wire(before.key), Wire(Flow { connection, session_at: 0 }), 0).map_err(|error| {
            match io_error(error) {
                full if full.raw_os_error() == Some(libc::E2BIG) => RegisterError::Full,
                other => RegisterError::System(other),
            }
        })?;
        let after = socket::read(socket)?;
        if after.write_seq == before.write_seq && after.rcv_nxt == before.rcv_nxt {
            return Ok(before);
        }
        flows.remove(&Wire(before.key)).map_err(io_error)?;
        before = after;
    }
    Err(RegisterError::Busy)
}

fn slot_of(reading: &Reading, generation: u32, source_octets: u32) -> Slot {
    let handshake = Handshake {
        our_isn: reading.write_seq.wrapping_sub(1),
        peer_isn: reading.rcv_nxt.wrapping_sub(1),
        our_window: reading.our_window,
        peer_window: reading.peer_window,
        mss: reading.mss,
    };
    Slot {
        lock: Default::default(),
        generation,
        counts: ConnectionCounts::default(),
        link: Link {
            key: reading.key,
            options: if reading.stamps { LINK_STAMPS } else { 0 },
            our_scale: reading.our_scale,
            peer_scale: reading.peer_scale,
            out: 0,
            back: 0,
            hops: 0,
            zero: [0; 2],
            class: [0; 4],
            ethernet: [0; 12],
            interface: 0,
            stamp_offset: 0,
            stamp_recent: 0,
        },
        closing: 0,
        zero: 0,
        connection: Connection::new(&handshake, source_octets),
    }
}

/// Gives a connection up. The kernel socket has its last states before it (octets in its buffer, FIN, TIME-WAIT), and
/// its packets still need other positions: the flow stays until that is over.
pub(super) fn forget(datapath: &mut Datapath, connection: u32) {
    if let Some(held) = datapath.connections.held.remove(&connection) {
        let closed = datapath.batch(&mut [ControlRow::new(Op::Close, connection, 0, 0)]);
        if closed.is_ok() {
            datapath.connections.closing.push_back((Instant::now(), connection, held.key));
        } else {
            erase(datapath, connection, &held.key);
        }
    }
    reap(datapath);
}

/// Erases connections whose end is over.
fn reap(datapath: &mut Datapath) {
    for _ in 0..datapath.connections.closing.len().min(REAPED) {
        let Some((since, connection, key)) = datapath.connections.closing.pop_front() else { return };
        let age = since.elapsed();
        let over = age >= LAST_STATES
            || age >= QUICK_END && slot(datapath, connection).is_ok_and(|slot| is_over(&slot.connection));
        if over {
            erase(datapath, connection, &key);
        } else {
            datapath.connections.closing.push_back((since, connection, key));
        }
    }
}

/// Whether both sides have ended the stream and all of ours has arrived.
fn is_over(connection: &Connection) -> bool {
    let shut = connection.source.shut != 0 && connection.leg.shut != 0;
    shut && connection.transmit.acked == connection.transmit.highest
}

/// Takes the flow out, makes the slot nobody's, and lets the number rest.
fn erase(datapath: &mut Datapath, connection: u32, key: &FlowKey) {
    if let Ok(mut flows) =
        load::typed_mut::<HashMap<_, Wire<FlowKey>, Wire<Flow>>>(&mut datapath.ebpf, names::FLOWS)
    {
        // A new connection between the same ports may have the flow already.
        if flows.get(&Wire(*key), 0).is_ok_and(|Wire(flow)| flow.connection == connection) {
            let _ = flows.remove(&Wire(*key));
        }
    }
    if let Ok(mut slot) = slot(datapath, connection) {
        slot.generation = 0;
        let _ = put_slot(datapath, connection, &slot);
    }
    datapath.connections.numbers.give_back(connection);
}

pub(super) fn slot(datapath: &Datapath, connection: u32) -> io::Result<Slot> {
    let slots: Array<_, Wire<Slot>> =
        load::typed(&datapath.ebpf, names::CONNECTIONS).map_err(io::Error::other)?;
    slots.get(&connection, BPF_F_LOCK).map(|Wire(slot)| slot).map_err(io_error)
}

/// Writes a connection's state as it was read, or otherwise.
pub(super) fn put_slot(datapath: &mut Datapath, connection: u32, slot: &Slot) -> io::Result<()> {
    let mut slots: Array<_, Wire<Slot>> =
        load::typed_mut(&mut datapath.ebpf, names::CONNECTIONS).map_err(io::Error::other)?;
    slots.set(connection, Wire(*slot), BPF_F_LOCK).map_err(io_error)
}

/// Attaches the programs to the interfaces that the flow's packets can come by.
fn attach(datapath: &mut Datapath, key: &FlowKey) -> Result<(), RegisterError> {
    let ip = |octets: [u8; 16]| {
        if key.family == 4 {
            IpAddr::V4(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]))
        } else {
            IpAddr::V6(Ipv6Addr::from(octets))
        }
    };
    let (local, remote) = (ip(key.local), ip(key.remote));
    let owner = interface::owner(local)?;
    let owner = owner.ok_or(RegisterError::Unsupported("its address belongs to no interface"))?;
    // From host to host itself, packets go by the loopback interface, whoever owns the address.
    if interface::owner(remote)?.is_some() {
        return interface::attach(datapath, "lo");
    }
    // The address may be another interface's than the one that leads to the peer: its packets can come by both.
    let way = route::interface(local, remote)?;
    let way = way.ok_or(RegisterError::Unsupported("there is no route to its peer"))?;
    if owner != way && owner != "lo" {
        interface::attach(datapath, &owner)?;
    }
    interface::attach(datapath, &way)
}
