//! One TCP connection: what is read, what is written, who waits.

use std::{collections::VecDeque, net::SocketAddr};

use pf_common::msrp::Ident;

use super::{
    ConnId, LegId, Why, fast::Habit, intercept::Taken, late::Kept, live::Live, outbox::Outbox, record::Chunk,
};
use crate::core::time::Time;

/// One connection.
#[derive(Debug)]
pub struct Connection {
    pub(super) peer: Option<SocketAddr>,
    /// What we connect to, where we are the active side.
    pub(super) target: Option<String>,
    /// Established (accepted, or connected).
    pub(super) up: bool,
    /// When it came to be.
    pub(super) since: Time,
    /// Bound legs.
    pub(super) legs: Vec<LegId>,
    /// The leg of the last request: mostly also that of the next.
    pub(super) last: Option<LegId>,

    // Reading
    pub(super) reading: Reading,
    pub(super) frame: Frame,
    /// The peer sends nothing more, since then.
    pub(super) ended: Option<Time>,
    /// Reading waits for something.
    pub(super) paused: bool,
    /// It is in the list of those that wait for the store.
    pub(super) waits_for_store: bool,
    /// Since when it waits for a primary leg that is not connected.
    pub(super) held: Option<Time>,
    /// The connection whose turn it was given (see [`Connection::turn`]).
    pub(super) invited_by: Option<ConnId>,

    // Writing
    pub(super) outbox: Outbox,
    /// Octets at the front of the queue that do not count against its bound: they came all at once, when a leg
    /// caught up.
    pub(super) allowance: usize,
    /// Is it in the list of those with something to write?
    pub(super) dirty: bool,
    /// Responses and REPORTs that wait for the end of the open frame.
    pub(super) control: Vec<u8>,
    /// The frame that is being written: its source and the leg it is for.
    pub(super) open: Option<(ConnId, LegId)>,
    /// Since when others wait for the end of the open frame.
    pub(super) crowded: Option<Time>,
    /// Copies that wait for the end of the open frame, in order.
    pub(super) deferred: VecDeque<Deferred>,
    /// Sources that wait to write a frame, in order.
    pub(super) waiters: VecDeque<ConnId>,
    /// The source that may write the next frame, if others wait.
    pub(super) turn: Option<ConnId>,
    /// Requests that were sent and wait for their responses.
    pub(super) live: Live,
    /// The last time that something could be written, or that the outbox was empty.
    pub(super) progress: Time,
    /// How its peer writes.
    pub(super) habit: Habit,
    /// Why its messages come to userspace, where they could pass it by.
    pub(super) why: Why,
}

/// Where in a frame reading stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// In a body; `fresh`: nothing of it consumed yet.
    Body { fresh: bool },
    /// Before or in a head.
    Head,
}

/// The frame that is being read.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) transaction: Option<Ident>,
    pub(super) leg: Option<LegId>,
    /// Who gets it; empty while a frame is skipped.
    pub(super) targets: Vec<Target>,
    /// Message-ID, where the message may go on in further chunks.
    pub(super) message_id: Vec<u8>,
    /// It is the first chunk.
    pub(super) first: bool,
    /// It may be cut: range-end `*`.
    pub(super) interruptible: bool,
    /// First octet of this chunk.
    pub(super) start: u64,
    /// Body octets handed on.
    pub(super) handed: u64,
    /// When the last of them came, or could come again after a pause.
    pub(super) heard: Time,
    /// When they were worth the name of progress last, and how many they were then.
    pub(super) pace: (Time, u64),
    /// Head after the path lines, for the chunk that follows a cut: before and after the Byte-Range line.
    pub(super) fields: (Vec<u8>, Vec<u8>),
    /// Octets of the whole message.
    pub(super) total: Option<u64>,
    /// Failure-Report allows responses.
    pub(super) answered: bool,
    /// It is kept for legs that are not up yet.
    pub(super) kept: Option<Box<Kept>>,
    /// It is taken in for a client that is lost.
    pub(super) taken: Option<Box<Taken>>,
    /// It is recorded.
    pub(super) recorded: Option<Box<Chunk>>,
}

impl Default for Frame {
    fn default() -> Frame {
        Frame {
            transaction: None,
            leg: None,
            targets: Vec::new(),
            message_id: Vec::new(),
            first: true,
            interruptible: false,
            start: 1,
            handed: 0,
            heard: Time::ZERO,
            pace: (Time::ZERO, 0),
            fields: (Vec::new(), Vec::new()),
            total: None,
            answered: false,
            kept: None,
            taken: None,
            recorded: None,
        }
    }
}

/// One recipient of the frame that is being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) conn: ConnId,
    pub(super) leg: LegId,
    /// Transaction id there.
    pub(super) transaction: Ident,
    /// It is the sender's own.
    pub(super) kept: bool,
    /// Number of its open transaction.
    pub(super) number: Option<u64>,
    /// The sender's answer depends on it.
    pub(super) primary: bool,
    /// Body octets that went out in earlier parts, where the chunk was cut.
    pub(super) cut: u64,
    /// It is written to the deferred frames, not to the outbox.
    pub(super) deferred: bool,
}

/// A copy that waits for the end of another frame.
#[derive(Debug)]
pub(super) struct Deferred {
    pub(super) source: ConnId,
    pub(super) leg: LegId,
    pub(super) octets: Vec<u8>,
    pub(super) done: bool,
}

impl Connection {
    pub(super) fn new(now: Time, peer: Option<SocketAddr>, target: Option<String>) -> Connection {
        Connection {
            peer,
            up: target.is_none(),
            target,
            since: now,
            legs: Vec::new(),
            last: None,
            reading: Reading::Head,
            frame: Frame::default(),
            ended: None,
            paused: false,
            waits_for_store: false,
            held: None,
            invited_by: None,
            outbox: Outbox::default(),
            allowance: 0,
            dirty: false,
            control: Vec::new(),
            open: None,
            crowded: None,
            deferred: VecDeque::new(),
            waiters: VecDeque::new(),
            turn: None,
            live: Live::default(),
            progress: now,
            habit: Habit::default(),
            why: Why::default(),
        }
    }

    /// Octets that wait to be written, those held back included.
    pub(super) fn queued(&self) -> usize {
        self.outbox.len() + self.control.len() + self.held_back()
    }

    /// Octets of copies that wait for the end of the open frame.
    pub(super) fn held_back(&self) -> usize {
        self.deferred.iter().map(|d| d.octets.len()).sum()
    }

    /// Can no frame begin here now?
    pub(super) fn busy(&self, limits: &super::Limits) -> bool {
        self.open.is_some() || self.live.len() >= limits.transactions || self.outbox.len() > limits.high_water
    }

    /// Does a source other than `source` want to write here?
    pub(super) fn contended(&self, source: ConnId) -> bool {
        !self.waiters.is_empty() || self.turn.is_some_and(|turn| turn != source)
    }
}
