//! What the in-kernel path has to know of the streams, and what the streams have to hear of it (sans-IO).
//!
//! The kernel programs forward whole messages between the connections of a stream by themselves. [`Switch::plan`]
//! says which connections these are and what a message becomes on each, or [`Why`] the stream is none for them.
//! [`Switch::passable`] says whether the messages of one connection may pass userspace by at this moment. What the
//! programs have carried comes back by [`Switch::carried`], so that transactions, timers and counters are those of a
//! stream that userspace has carried; a leg that got no copy is given one there.
//!
//! # What the programs do with answers
//! They know no transactions. A `200 OK` of a primary leg goes to the one leg that it answers; one of a device is
//! dropped. So a connection may be passed by only while every transaction that is open on it would end that way.

mod carried;
mod habit;
mod moment;
mod plan;
mod silence;
mod view;
mod why;

pub(super) use self::habit::Habit;
pub use self::{
    carried::Carried,
    plan::{BLOCK_MAX, LONG_MAX, MESSAGE_MAX, Plan, PlannedLeg},
    view::LegPath,
    why::Why,
};
use pf_common::{msrp::ByteRange, splice::MAX_LEGS};

use super::{ConnId, LegId, StreamId, Switch, connection::Reading};
use crate::core::event::MediaCommand;

/// How often the path lines of a peer may look different before that is taken for its habit.
const RELEARN: u8 = 4;

/// What is kept for the in-kernel path where there is one.
#[derive(Debug)]
pub(super) struct Books {
    /// Streams whose plan may have changed, each once.
    changed: Vec<StreamId>,
    /// SENDs that the programs carried to every leg.
    carried: u64,
    /// SENDs that userspace carried, by the reason why.
    passed: [u64; Why::ALL.len()],
    /// The most copies of one message that the programs make.
    fan_out: usize,
    /// So many messages one by one make a stream one for the programs.
    single_messages: u32,
}

impl Default for Books {
    fn default() -> Books {
        Books {
            changed: Vec::new(),
            carried: 0,
            passed: [0; Why::ALL.len()],
            fan_out: MAX_LEGS - 1,
            single_messages: 0,
        }
    }
}

impl Switch {
    /// Begins to keep what the in-kernel path needs.
    pub fn keep_books(&mut self) {
        self.books.get_or_insert_default();
    }

    /// The programs may make so many copies of one message, of streams that live, too.
    pub fn set_fan_out(&mut self, copies: usize) {
        let Some(books) = &mut self.books else { return };
        if std::mem::replace(&mut books.fan_out, copies) != copies {
            self.all_plans_changed();
        }
    }

    /// A stream is one for the programs when a peer has sent so many messages one by one; 0: at once.
    pub fn set_single_messages(&mut self, messages: u32) {
        let Some(books) = &mut self.books else { return };
        if std::mem::replace(&mut books.single_messages, messages) != messages {
            self.all_plans_changed();
        }
    }

    fn all_plans_changed(&mut self) {
        if let Some(books) = &mut self.books {
            books.changed = self.streams.iter().map(|(id, _)| id).collect();
        }
    }

    /// Do the programs save anything, with peers that write as those of this stream do?
    ///
    /// # Errors
    /// Nobody knows yet, or they would not.
    pub fn worth_it(&self, stream: StreamId) -> Result<(), Why> {
        let at_once = self.books.as_ref().is_none_or(|books| books.single_messages == 0);
        let stream = self.streams.get(stream).ok_or(Why::LegsMissing)?;
        let primaries = stream.originator.iter().chain(&stream.far);
        let habits: Vec<Habit> =
            primaries.filter_map(|leg| Some(self.conns.get(self.legs.get(*leg)?.conn?)?.habit)).collect();
        if at_once || habits.iter().any(|habit| habit.is_steady()) {
            Ok(())
        } else if habits.iter().any(|habit| habit.is_batched()) {
            Err(Why::Pipelined)
        } else {
            Err(Why::New)
        }
    }

    /// Streams whose plan may have changed since the last call.
    pub fn take_changed(&mut self) -> Vec<StreamId> {
        self.books.as_mut().map(|books| std::mem::take(&mut books.changed)).unwrap_or_default()
    }

    /// Is there something for [`Switch::take_changed`]?
    pub fn has_changed(&self) -> bool {
        self.books.as_ref().is_some_and(|books| !books.changed.is_empty())
    }

    /// The streams that a command is about to change.
    pub fn stream_of(&self, command: &MediaCommand) -> Option<StreamId> {
        match command {
            MediaCommand::OpenStream { stream, .. }
            | MediaCommand::CloseStream { stream }
            | MediaCommand::EndRecording { stream }
            | MediaCommand::Intercept { stream, .. }
            | MediaCommand::OpenLeg { stream, .. } => self.stream_keys.get(stream).copied(),
            MediaCommand::ConnectLeg { leg, .. } | MediaCommand::CloseLeg { leg } => {
                self.legs.get(*self.leg_keys.get(leg)?).map(|leg| leg.stream)
            }
            // About what userspace holds, or sees anyway: nothing changes yet.
            MediaCommand::BeginRecording { .. }
            | MediaCommand::ConfirmIntercepted { .. }
            | MediaCommand::DecideRecording { .. }
            | MediaCommand::Deliver { .. }
            | MediaCommand::Resume { .. } => None,
        }
    }

    /// Says why the messages of this connection come to userspace from now on.
    pub fn note_why(&mut self, conn: ConnId, why: Why) {
        if let Some(conn) = self.conns.get_mut(conn) {
            conn.why = why;
        }
    }

    /// The same of all connections of a stream.
    pub fn note_stream_why(&mut self, stream: StreamId, why: Why) {
        let Some(stream) = self.streams.get(stream) else { return };
        let legs = stream.originator.into_iter().chain(stream.far).chain(stream.devices.iter().copied());
        let conns: Vec<ConnId> = legs.filter_map(|leg| self.legs.get(leg)?.conn).collect();
        conns.into_iter().for_each(|conn| self.note_why(conn, why));
    }

    /// Why the messages of this connection come to userspace, as it was said last.
    pub fn why(&self, conn: ConnId) -> Option<Why> {
        self.conns.get(conn).map(|conn| conn.why)
    }

    /// SENDs that the programs carried to every leg, and those in which userspace had a hand by the reason why.
    pub fn shares(&self) -> (u64, Vec<(Why, u64)>) {
        let Some(books) = &self.books else { return (0, Vec::new()) };
        let passed = Why::ALL.iter().map(|why| (*why, books.passed[why.index()]));
        (books.carried, passed.filter(|(_, count)| *count > 0).collect())
    }

    /// The plan of this stream may be another one.
    pub(super) fn plan_changed(&mut self, stream: StreamId) {
        if let Some(books) = &mut self.books
            && !books.changed.contains(&stream)
        {
            books.changed.push(stream);
        }
    }

    /// The plans of all streams with a leg on this connection may be others.
    pub(super) fn plans_changed(&mut self, conn: ConnId) {
        if self.books.is_some() {
            let legs = self.conns.get(conn).map(|conn| conn.legs.clone()).unwrap_or_default();
            for leg in legs {
                if let Some(stream) = self.legs.get(leg).map(|leg| leg.stream) {
                    self.plan_changed(stream);
                }
            }
        }
    }

    /// Userspace carries a SEND of this connection.
    pub(super) fn count_passed(&mut self, conn: ConnId, range: Option<ByteRange>) {
        if let (Some(books), Some(conn)) = (&mut self.books, self.conns.get_mut(conn)) {
            books.passed[conn.why.index()] += 1;
            let short = |range: ByteRange| range.start == 1 && range.total.is_some_and(|all| all <= LONG_MAX);
            conn.habit.begins(range.is_some_and(short));
        }
    }

    /// All that was read of a connection has been worked on: does its peer write a message at a time?
    pub(super) fn learn_habit(&mut self, id: ConnId, whole: bool) {
        let Some(wanted) = self.books.as_ref().map(|books| books.single_messages) else { return };
        let Some(conn) = self.conns.get_mut(id) else { return };
        let whole = whole && conn.reading == Reading::Head;
        if !conn.paused && conn.habit.after_read(whole, wanted) {
            self.plans_changed(id);
        }
    }

    /// A frame of the leg began with these path lines.
    pub(super) fn learn_block(&mut self, leg_id: LegId, block: &[u8]) {
        if self.books.is_none() {
            return;
        }
        let Some(leg) = self.legs.get_mut(leg_id).filter(|leg| leg.relearned < RELEARN) else { return };
        if leg.block.as_deref() == Some(block) {
            return;
        }
        let changed = leg.in_block() != block;
        leg.block = Some(block.to_vec());
        if changed {
            leg.relearned += 1;
            let stream = leg.stream;
            self.plan_changed(stream);
        }
    }
}
