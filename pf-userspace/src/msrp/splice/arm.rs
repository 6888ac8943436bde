//! Arming: legs whose kernel sockets have sent all that was written, then sources of which everything was queued.

use std::time::Duration;

use pf_common::maps::{ControlRow, Op};

use super::{Socket, Splice, group::Group};
use crate::core::{
    media::{PlannedLeg, Switch, Why},
    time::Time,
};

/// The wait after an attempt that came too early; it doubles.
const AGAIN: Duration = Duration::from_millis(1);
/// The longest.
const AGAIN_MAX: Duration = Duration::from_millis(64);

impl Splice {
    /// Arms what can be armed.
    pub(super) fn arm(&mut self, now: Time, switch: &mut Switch, sockets: &[Option<Socket>]) {
        for group in std::mem::take(&mut self.wanting) {
            let Some(known) = self.groups.get_mut(group) else { continue };
            if known.again > now {
                self.wanting.push(group);
                continue;
            }
            known.wants = false;
            if let Some(wait) = self.arm_group(now, switch, sockets, group) {
                self.try_later(now, group, wait);
            }
        }
    }

    fn try_later(&mut self, now: Time, group: usize, at: Option<Time>) {
        let Some(known) = self.groups.get_mut(group) else { return };
        known.again = match at {
            // Not an attempt that failed.
            Some(at) => at,
            None => {
                known.wait = (known.wait * 2).clamp(AGAIN, AGAIN_MAX);
                now + known.wait
            }
        };
        self.nudge(group);
    }

    /// Gives whether it has to be tried again by itself, and when if that is known.
    fn arm_group(
        &mut self,
        now: Time,
        switch: &mut Switch,
        sockets: &[Option<Socket>],
        group: usize,
    ) -> Option<Option<Time>> {
        if self.members(group).iter().any(|number| self.line(*number).is_some_and(|line| line.leaving)) {
            let rows = self.view_all(group).ok()?;
            self.read_log(now, switch);
            rows.iter().for_each(|row| self.look_at(now, switch, row));
            self.put_back(rows);
        }
        if let Some(until) = self.originator_waits(now, group) {
            // Its messages come through userspace, which then writes to all legs. Were others fast meanwhile, each message
            // would take legs from the programs and give them back.
            self.quiesce(now, switch, group);
            return Some(Some(until));
        }
        let (candidates, patience) = self.candidates(now, switch, sockets, group);
        // Legs are wanted by sources that are fast, or may be in a moment.
        let fast = |place: &usize| {
            let number = self.groups.get(group).and_then(|known| known.numbers.get(*place));
            number.and_then(|number| self.line(*number)).is_some_and(|line| line.source_fast)
        };
        let sources: Vec<usize> =
            (0..self.members(group).len()).filter(fast).chain(candidates.iter().copied()).collect();
        let legs = self.arm_legs(now, switch, group, &sources);
        let sources = self.arm_sources(now, switch, group, &candidates);
        match (legs && sources, patience) {
            (true, None) => None,
            (true, Some(at)) => Some(Some(at)),
            (false, _) => Some(None),
        }
    }

    /// Until when the originator's messages stay with userspace, if they do.
    fn originator_waits(&self, now: Time, group: usize) -> Option<Time> {
        let originator = self.line(*self.groups.get(group)?.numbers.first()?)?;
        (!originator.source_fast && originator.patience > now).then_some(originator.patience)
    }

    /// The sources, by place, of which nothing stands in the way but perhaps a leg; and when the first of those that
    /// have to wait may be tried.
    fn candidates(
        &self,
        now: Time,
        switch: &mut Switch,
        sockets: &[Option<Socket>],
        group: usize,
    ) -> (Vec<usize>, Option<Time>) {
        let (mut found, mut patience) = (Vec::new(), None::<Time>);
        let Some(known) = self.groups.get(group) else { return (found, patience) };
        for (place, (leg, number)) in known.plan.legs.iter().zip(&known.numbers).enumerate() {
            let Some(line) = self.line(*number).filter(|line| !line.source_fast && !line.shut) else {
                continue;
            };
            let socket = sockets.get(leg.conn.index()).and_then(Option::as_ref).filter(|s| s.id == leg.conn);
            let Some(socket) = socket.filter(|s| !s.ended && !s.closing) else { continue };
            let obstacle = if line.patience > now {
                patience = Some(patience.map_or(line.patience, |at| at.min(line.patience)));
                Some(if line.why == Why::LogFull { Why::LogFull } else { Why::Backoff })
            } else if !socket.rest.is_empty() {
                Some(Why::HalfRead)
            } else {
                // Whatever ends that makes somebody ask again.
                switch.passable(leg.conn).err()
            };
            match obstacle {
                None => found.push(place),
                Some(why) => switch.note_why(leg.conn, why),
            }
        }
        (found, patience)
    }

    /// U2, S6: a leg is given to the programs when nothing is queued for it. Gives whether all could be.
    fn arm_legs(&mut self, now: Time, switch: &mut Switch, group: usize, sources: &[usize]) -> bool {
        let Some(known) = self.groups.get(group) else { return true };
        let mut rows = Vec::new();
        for (place, (leg, number)) in known.plan.legs.iter().zip(&known.numbers).enumerate() {
            let wanted = sources.iter().filter_map(|source| known.plan.legs.get(*source));
            let wanted = wanted.flat_map(recipients).any(|target| target == place);
            let Some(line) = self.line(*number).filter(|line| wanted && !line.leg_fast && !line.shut) else {
                continue;
            };
            if line.again.is_empty() && switch.is_drained(leg.conn) {
                let (written, misses) = (line.leg.written(), line.leg.queued_misses());
                rows.push(ControlRow::new(Op::ArmLeg, *number, written, misses));
            }
        }
        let Ok(rows) = self.batch(rows) else { return false };
        let mut all = true;
        for row in &rows {
            let armed = row.armed();
            if let Some(line) = self.line_mut(row.connection) {
                line.leg_fast = armed;
                line.touched |= armed;
            }
            // What is not learned yet is learned from the next packet, and then somebody asks again.
            all &= armed || row.learned == 0 || row.leg_shut != 0;
            self.look_at(now, switch, row);
        }
        self.put_back(rows);
        all
    }

    /// U1, M2: a source is armed when all that was read of it has been queued. Gives whether all could be.
    fn arm_sources(&mut self, now: Time, switch: &mut Switch, group: usize, candidates: &[usize]) -> bool {
        let Some(known) = self.groups.get(group) else { return true };
        let mut rows = Vec::new();
        let mut unready = Vec::new();
        for place in candidates {
            let (Some(leg), Some(number)) = (known.plan.legs.get(*place), known.numbers.get(*place)) else {
                continue;
            };
            let Some(line) = self.line(*number) else { continue };
            if self.takes_copies(switch, known, leg) {
                rows.push(ControlRow::new(Op::ArmSource, *number, line.parsed, 0));
            } else {
                unready.push(leg.conn);
            }
        }
        for conn in unready {
            switch.note_why(conn, Why::Settling);
        }
        let Ok(rows) = self.batch(rows) else { return false };
        let mut all = true;
        for row in &rows {
            let armed = row.armed();
            if let Some(line) = self.line_mut(row.connection) {
                line.source_fast = armed;
                line.leaving = false;
                line.touched |= armed;
                line.armed_at = row.delta;
                if let (false, Some(conn)) = (armed, line.conn) {
                    switch.note_why(conn, Why::Settling);
                }
            }
            all &= armed || row.learned == 0 || row.source_shut != 0;
            if armed {
                self.busy(now, group);
            }
            self.look_at(now, switch, row);
        }
        self.put_back(rows);
        all
    }

    /// Are the legs that get this one's messages and answers the programs'? A device with a queue of its own keeps
    /// nobody from the fast path: it gets its copies from userspace.
    fn takes_copies(&self, switch: &Switch, group: &Group, leg: &PlannedLeg) -> bool {
        let first = leg.targets.first().copied().or(leg.answer_to);
        recipients(leg).all(|place| {
            let number = group.numbers.get(place);
            let line = number.and_then(|number| self.line(*number));
            let queued = || group.plan.legs.get(place).is_some_and(|leg| !switch.is_drained(leg.conn));
            line.is_some_and(|line| line.leg_fast || Some(place) != first && queued())
        })
    }
}

/// Who gets anything of what this leg sends, by place.
fn recipients(leg: &PlannedLeg) -> impl Iterator<Item = usize> {
    leg.targets.iter().chain(&leg.answer_to).copied()
}
