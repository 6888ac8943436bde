//! Legs: which paths a message must bear, and where it goes.

use std::{io, time::Duration};

use aya::maps::{Array, HashMap};
use pf_common::{
    maps::{
        BLOCK_MAX, Flow, FlowKey, LEG_ANSWERS, LEG_ANY_TYPE, LEG_LONG, LegEntry, SESSION_MIN, SessionKey,
        names,
    },
    splice::MAX_LEGS,
};

use super::{
    Datapath, LegError,
    load::{self, Wire, io_error},
    register::Numbers,
};

/// How long a number rests before it is used again: far longer than a packet is worked on.
pub(super) const REST: Duration = Duration::from_secs(1);

/// A leg, as the relay wants it served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegPlan {
    /// Its connection.
    pub connection: u32,
    /// Our session-id on this leg, at least 16 octets.
    pub session: Vec<u8>,
    /// `To-Path: <ours>CRLF From-Path: <theirs>CRLF`, octet by octet as this peer writes it.
    pub in_block: Vec<u8>,
    /// `To-Path: <theirs>CRLF From-Path: <ours>CRLF`, as it is written to this peer.
    pub out_block: Vec<u8>,
    /// Messages of any content type may go to the targets, not only `message/cpim`.
    pub any_type: bool,
    /// Messages longer than a segment may go to the targets: all path blocks are of one length.
    pub long: bool,
    /// The leg that gets the `200 OK`s of this one; without it they are absorbed.
    pub answer_to: Option<u32>,
    /// The legs that get the messages of this one.
    pub targets: Vec<u32>,
}

/// The legs and their numbers.
pub(super) struct Legs {
    numbers: Numbers,
    plans: std::collections::BTreeMap<u32, (SessionKey, FlowKey)>,
}

impl Legs {
    pub(super) fn new(most: u32) -> Legs {
        Legs { numbers: Numbers::new(most), plans: Default::default() }
    }

    pub(super) fn take(&mut self) -> Option<u32> {
        self.numbers.take()
    }
}

pub(super) fn set(datapath: &mut Datapath, leg: u32, plan: &LegPlan) -> Result<(), LegError> {
    let Some(held) = datapath.connections.get(plan.connection) else {
        return Err(io::Error::from_raw_os_error(libc::ENOENT).into());
    };
    let (key, generation) = (held.key, held.generation);
    let session_at = check(plan)?;
    let held_at = held.session_at;
    if held_at.is_some_and(|at| at != session_at) {
        return Err(LegError::Unsupported("another leg of its connection has a longer or shorter address"));
    }
    let mut session = [0; SESSION_MIN];
    session.copy_from_slice(plan.session.get(..SESSION_MIN).unwrap_or(&[0; SESSION_MIN]));
    let session = SessionKey { connection: plan.connection, session };
    let entry = entry(plan, generation);

    let mut sessions: HashMap<_, Wire<SessionKey>, u32> =
        load::typed_mut(&mut datapath.ebpf, names::SESSIONS).map_err(io::Error::other)?;
    match sessions.get(&Wire(session), 0) {
        Ok(other) if other != leg => {
            return Err(LegError::Unsupported("another leg's session-id begins the same"));
        }
        _ => {}
    }
    if let Some((old, _)) = datapath.legs.plans.get(&leg)
        && *old != session
    {
        let _ = sessions.remove(&Wire(*old));
    }
    let mut legs: Array<_, Wire<LegEntry>> =
        load::typed_mut(&mut datapath.ebpf, names::LEGS).map_err(io::Error::other)?;
    legs.set(leg, Wire(entry), 0).map_err(io_error)?;
    let mut sessions: HashMap<_, Wire<SessionKey>, u32> =
        load::typed_mut(&mut datapath.ebpf, names::SESSIONS).map_err(io::Error::other)?;
    sessions.insert(Wire(session), leg, 0).map_err(io_error)?;
    if held_at.is_none() {
        let mut flows: HashMap<_, Wire<FlowKey>, Wire<Flow>> =
            load::typed_mut(&mut datapath.ebpf, names::FLOWS).map_err(io::Error::other)?;
        flows
            .insert(Wire(key), Wire(Flow { connection: plan.connection, session_at }), 0)
            .map_err(io_error)?;
        datapath.connections.set_session_at(plan.connection, session_at);
    }
    datapath.legs.plans.insert(leg, (session, key));
    Ok(())
}

/// Where the session-id begins in the block, if the programs can serve the plan.
fn check(plan: &LegPlan) -> Result<u32, LegError> {
    if plan.session.len() < SESSION_MIN {
        return Err(LegError::Unsupported("its session-id has fewer than 16 octets"));
    }
    if plan.in_block.len() > BLOCK_MAX || plan.out_block.len() > BLOCK_MAX {
        return Err(LegError::Unsupported("its paths are longer than 384 octets"));
    }
    if plan.targets.len() > MAX_LEGS {
        return Err(LegError::Unsupported("it sends to more than 16 legs"));
    }
    for block in [&plan.in_block, &plan.out_block] {
        if !block.starts_with(b"To-Path: ") || !block.ends_with(b"\r\n") {
            return Err(LegError::Unsupported("its paths are not a block of two header lines"));
        }
    }
    // To-Path: msrp://authority/session
    let first = plan.in_block.split(|octet| *octet == b';').next().unwrap_or(&[]);
    let slash = first.iter().rposition(|octet| *octet == b'/');
    let at = slash.map(|slash| slash + 1).filter(|at| first.get(*at..) == Some(plan.session.as_slice()));
    at.and_then(|at| u32::try_from(at).ok())
        .ok_or(LegError::Unsupported("the first path of what it writes does not end in our session-id"))
}

fn entry(plan: &LegPlan, generation: u32) -> LegEntry {
    let padded = |block: &[u8]| {
        let mut octets = [0; BLOCK_MAX];
        for (to, from) in octets.iter_mut().zip(block) {
            *to = *from;
        }
        octets
    };
    let mut target = [0; MAX_LEGS];
    for (to, from) in target.iter_mut().zip(&plan.targets) {
        *to = *from;
    }
    let number = |n: usize| u32::try_from(n).unwrap_or(0);
    LegEntry {
        connection: plan.connection,
        generation,
        in_block_len: number(plan.in_block.len()),
        out_block_len: number(plan.out_block.len()),
        flags: if plan.answer_to.is_some() { LEG_ANSWERS } else { 0 }
            | if plan.any_type { LEG_ANY_TYPE } else { 0 }
            | if plan.long { LEG_LONG } else { 0 },
        answer_to: plan.answer_to.unwrap_or(0),
        targets: number(plan.targets.len()),
        in_sum: sum(&plan.in_block),
        out_sum: sum(&plan.out_block),
        zero: 0,
        target,
        in_block: padded(&plan.in_block),
        out_block: padded(&plan.out_block),
    }
}

/// The Internet checksum's sum over octets, as words of this machine (RFC 1071, section 2: byte order does not matter).
fn sum(octets: &[u8]) -> u32 {
    let mut sum = 0_u32;
    for pair in octets.chunks(2) {
        let word = [pair.first().copied().unwrap_or(0), pair.get(1).copied().unwrap_or(0)];
        sum += u32::from(u16::from_ne_bytes(word));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

pub(super) fn drop(datapath: &mut Datapath, leg: u32) {
    if let Some((session, _)) = datapath.legs.plans.remove(&leg)
        && let Ok(mut sessions) =
            load::typed_mut::<HashMap<_, Wire<SessionKey>, u32>>(&mut datapath.ebpf, names::SESSIONS)
    {
        let _ = sessions.remove(&Wire(session));
    }
    datapath.legs.numbers.give_back(leg);
}
