//! A stream whose messages the programs may carry: how it comes to be one, and how it ceases to be.

use std::{os::fd::AsFd, time::Duration};

use pf_common::maps::{ControlRow, Op};

use super::{Later, Line, PATIENCE, Socket, Splice, line::Release, view};
use crate::{
    core::{
        event::MediaCommand,
        media::{ConnId, Plan, StreamId, Switch, Why},
        time::Time,
    },
    fastpath::{LegError, LegPlan, RegisterError},
};

/// How soon a stream is tried again that could not be served yet; it doubles.
const AGAIN: Duration = Duration::from_millis(4);
/// The longest wait.
const AGAIN_MAX: Duration = Duration::from_secs(1);

/// A stream that the programs know.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) stream: StreamId,
    pub(super) plan: Plan,
    /// Connection numbers, by place in the plan.
    pub(super) numbers: Vec<u32>,
    /// Leg numbers, by place in the plan.
    pub(super) legs: Vec<u32>,
    /// The last time that anything passed.
    pub(super) last: Time,
    /// It is looked at by the tick.
    pub(super) ticking: bool,
    /// It is in the list of those to be armed.
    pub(super) wants: bool,
    /// Arming is not tried before.
    pub(super) again: Time,
    /// The wait after the next attempt that fails.
    pub(super) wait: Duration,
}

impl Splice {
    /// Streams have changed: their groups follow.
    pub(super) fn changed(&mut self, now: Time, switch: &mut Switch, sockets: &[Option<Socket>]) {
        while switch.has_changed() {
            for stream in switch.take_changed() {
                self.later.retain(|later| later.stream != stream);
                self.follow(now, switch, sockets, stream, AGAIN);
            }
        }
        if self.later.iter().any(|later| later.at <= now) {
            for later in std::mem::take(&mut self.later) {
                if later.at <= now {
                    self.follow(now, switch, sockets, later.stream, later.wait);
                } else {
                    self.later.push(later);
                }
            }
        }
    }

    /// A command is about to change a stream: its messages come to userspace, and all that the programs carried is
    /// handed on before.
    pub(in crate::msrp) fn before_command(&mut self, now: Time, switch: &mut Switch, command: &MediaCommand) {
        if let Some(group) = switch.stream_of(command).and_then(|stream| self.group_at(stream)) {
            self.quiesce(now, switch, group);
        }
    }

    fn group_at(&self, stream: StreamId) -> Option<usize> {
        let (known, group) = self.streams.get(stream.index()).copied().flatten()?;
        (known == stream).then_some(group)
    }

    fn follow(
        &mut self,
        now: Time,
        switch: &mut Switch,
        sockets: &[Option<Socket>],
        stream: StreamId,
        wait: Duration,
    ) {
        let mut plan = switch.plan(stream);
        if let Some(group) = self.streams.get(stream.index()).copied().flatten().map(|(_, group)| group) {
            let same = |group: &super::Group| group.stream == stream && plan.as_ref() == Ok(&group.plan);
            if self.groups.get(group).is_some_and(same) {
                self.want(group, now);
                return;
            }
            self.dissolve(now, switch, group);
        } else {
            // Whoever was worth it once stays: positions are translated for good.
            plan = plan.and_then(|plan| switch.worth_it(stream).map(|()| plan));
        }
        let formed = plan.and_then(|plan| self.form(now, switch, sockets, stream, plan));
        if let Err(why) = formed {
            switch.note_stream_why(stream, why);
            if matches!(why, Why::Settling | Why::TableFull) {
                let next = (wait * 2).min(AGAIN_MAX);
                self.later.push(Later { stream, at: now + wait, wait: next });
            }
        }
    }

    fn form(
        &mut self,
        now: Time,
        switch: &mut Switch,
        sockets: &[Option<Socket>],
        stream: StreamId,
        plan: Plan,
    ) -> Result<(), Why> {
        let mut numbers = Vec::with_capacity(plan.legs.len());
        let mut settling = false;
        for leg in &plan.legs {
            match self.register(sockets, leg.conn) {
                Ok(number) => numbers.push(number),
                // It is in the middle of something and comes another time; the others need not wait for that.
                Err(Why::Settling) => settling = true,
                Err(why) => return Err(why),
            }
        }
        if settling {
            return Err(Why::Settling);
        }
        let mut legs = Vec::with_capacity(plan.legs.len());
        let written = self.write_legs(&plan, &numbers, &mut legs);
        if let Err(why) = written {
            legs.into_iter().for_each(|leg| self.path.drop_leg(leg));
            return Err(why);
        }
        for (leg, number) in plan.legs.iter().zip(&numbers) {
            if let Some(line) = self.line_mut(*number) {
                line.out_block.clone_from(&leg.out_block);
            }
        }
        switch.note_stream_why(stream, Why::Settling);
        let group = self.groups.insert(Group {
            stream,
            plan,
            numbers: numbers.clone(),
            legs,
            last: now,
            ticking: false,
            wants: false,
            again: now,
            wait: Duration::ZERO,
        });
        for (place, number) in numbers.into_iter().enumerate() {
            if let Some(line) = self.line_mut(number) {
                line.group = Some((group, place));
            }
        }
        if self.streams.len() <= stream.index() {
            self.streams.resize(stream.index() + 1, None);
        }
        if let Some(place) = self.streams.get_mut(stream.index()) {
            *place = Some((stream, group));
        }
        self.want(group, now);
        Ok(())
    }

    fn register(&mut self, sockets: &[Option<Socket>], conn: ConnId) -> Result<u32, Why> {
        if let Some(number) = self.number(conn) {
            return Ok(number);
        }
        let socket = sockets.get(conn.index()).and_then(Option::as_ref).filter(|s| s.id == conn);
        let socket = socket.filter(|s| !s.ended && !s.closing).ok_or(Why::Closing)?;
        let registered = self.path.register(socket.stream.as_fd()).map_err(|error| match error {
            RegisterError::Busy => Why::Settling,
            RegisterError::Full => Why::TableFull,
            RegisterError::Unsupported(why) => {
                tracing::debug!(peer = ?socket.peer, why, "a connection stays in userspace");
                Why::Connection
            }
            RegisterError::System(error) => {
                tracing::warn!(peer = ?socket.peer, %error, "a connection cannot be registered for the fast path");
                Why::Connection
            }
        })?;
        let place = usize::try_from(registered.connection).unwrap_or(usize::MAX);
        if self.lines.len() <= place {
            self.lines.resize_with(place + 1, || None);
        }
        if let Some(line) = self.lines.get_mut(place) {
            *line = Some(Line::new(conn, registered.written, registered.parsed));
        }
        if self.numbers.len() <= conn.index() {
            self.numbers.resize(conn.index() + 1, None);
        }
        if let Some(number) = self.numbers.get_mut(conn.index()) {
            *number = Some(registered.connection);
        }
        Ok(registered.connection)
    }

    fn write_legs(&mut self, plan: &Plan, numbers: &[u32], legs: &mut Vec<u32>) -> Result<(), Why> {
        for _ in &plan.legs {
            legs.push(self.path.new_leg().ok_or(Why::TableFull)?);
        }
        let number = |place: &usize| legs.get(*place).copied();
        for (place, leg) in plan.legs.iter().enumerate() {
            let (Some(own), Some(connection)) = (number(&place), numbers.get(place)) else {
                return Err(Why::LegsMissing);
            };
            let entry = LegPlan {
                connection: *connection,
                session: leg.session.clone(),
                in_block: leg.in_block.clone(),
                out_block: leg.out_block.clone(),
                any_type: leg.any_type,
                long: leg.long,
                answer_to: leg.answer_to.as_ref().and_then(number),
                targets: leg.targets.iter().filter_map(number).collect(),
            };
            self.path.set_leg(own, &entry).map_err(|error| match error {
                LegError::Unsupported(why) => {
                    tracing::debug!(why, "a leg stays in userspace");
                    Why::Paths
                }
                LegError::System(error) => {
                    tracing::warn!(%error, "a leg cannot be written for the fast path");
                    Why::TableFull
                }
            })?;
        }
        Ok(())
    }

    /// Makes all sources of a group slow, waits until nothing of them is in work, and enters all that the programs
    /// carried. Then nothing of the group is on its way but what its legs have in flight.
    pub(super) fn quiesce(&mut self, now: Time, switch: &mut Switch, group: usize) {
        let members = self.members(group);
        let fast = |splice: &Splice| -> Vec<u32> {
            let is_fast = |number: &u32| splice.line(*number).is_some_and(|line| line.source_fast);
            members.iter().copied().filter(is_fast).collect()
        };
        let leave = |number: u32| ControlRow::new(Op::LeaveSource, number, 0, 0);
        let deadline = std::time::Instant::now() + PATIENCE;
        while let Ok(rows) = self.batch(fast(self).into_iter().map(leave)) {
            if rows.is_empty() {
                self.put_back(rows);
                return;
            }
            self.read_log(now, switch);
            for row in &rows {
                self.look_at(now, switch, row);
            }
            self.put_back(rows);
            if fast(self).is_empty() {
                return;
            }
            if std::time::Instant::now() >= deadline {
                break;
            }
            std::hint::spin_loop();
        }
        tracing::error!("a message stays in work in the fast path: its connections are given up");
        for number in fast(self) {
            if let Some(line) = self.line_mut(number) {
                line.source_fast = false;
                let conn = line.conn;
                self.broken.extend(conn);
            }
        }
    }

    /// The group ends: its sources and legs are userspace's, its leg numbers free.
    pub(super) fn dissolve(&mut self, now: Time, switch: &mut Switch, group: usize) {
        self.quiesce(now, switch, group);
        let members = self.members(group);
        self.take(now, switch, &members);
        for conn in members.iter().filter_map(|number| self.line(*number)?.conn).collect::<Vec<_>>() {
            self.count_answers(now, switch, conn);
        }
        let Some(group) = self.groups.try_remove(group) else { return };
        for leg in group.legs {
            self.path.drop_leg(leg);
        }
        if let Some(place) = self.streams.get_mut(group.stream.index())
            && place.is_some_and(|(stream, _)| stream == group.stream)
        {
            *place = None;
        }
        let mut released = Vec::new();
        for number in &group.numbers {
            let Some(line) = self.line_mut(*number) else { continue };
            line.group = None;
            line.release = Release::Idle;
            // No leg is the programs' any more: what was in flight has been copied.
            line.records.clear();
            released.push(ControlRow::new(Op::Release, *number, std::mem::take(&mut line.held), 0));
        }
        if let Ok(rows) = self.batch(released) {
            self.put_back(rows);
        }
        self.pace.loosen(now, &group.numbers);
    }

    /// The group wants to be armed.
    pub(super) fn want(&mut self, group: usize, now: Time) {
        if let Some(known) = self.groups.get_mut(group) {
            known.again = now;
            known.wait = Duration::ZERO;
            if !std::mem::replace(&mut known.wants, true) {
                self.wanting.push(group);
            }
        }
    }

    /// Something of the group came to userspace: it may be armed when it is not armed soon anyway.
    pub(super) fn nudge(&mut self, group: usize) {
        if let Some(known) = self.groups.get_mut(group)
            && !std::mem::replace(&mut known.wants, true)
        {
            self.wanting.push(group);
        }
    }

    /// Looks at all members of a group.
    pub(super) fn view_all(&mut self, group: usize) -> std::io::Result<Vec<ControlRow>> {
        let members = self.members(group);
        self.batch(members.into_iter().map(view))
    }
}
