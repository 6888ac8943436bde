//! Everything that needs a clock: ACKs that nothing carries, legs whose peers are silent, the log's share, sleep.

use std::time::Duration;

use pf_common::maps::{ControlRow, Op};

use super::{Splice, view};
use crate::core::{media::Switch, time::Time};

/// How often connections with traffic are looked at.
const TICK: Duration = Duration::from_millis(30);
/// How soon, where a source has filled much of its share of the log.
const SOON: Duration = Duration::from_millis(1);
/// How long after its last message a connection is looked at.
const BUSY: Duration = Duration::from_millis(100);

/// What has traffic, and when it is looked at.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Groups with traffic.
    ticking: Vec<usize>,
    /// Connections of groups that are gone, whose peers may still wait for an ACK, and until when.
    loose: Vec<(u32, Time)>,
    /// Legs that have left the fast path, to be taken.
    pub(super) taking: Vec<u32>,
    next: Time,
    awake: bool,
}

impl Pace {
    /// These lines have no group any more.
    pub(super) fn loosen(&mut self, now: Time, numbers: &[u32]) {
        self.loose.extend(numbers.iter().map(|number| (*number, now + BUSY)));
    }
}

impl Splice {
    /// Something passes in this group.
    pub(super) fn busy(&mut self, now: Time, group: usize) {
        let Some(known) = self.groups.get_mut(group) else { return };
        known.last = now;
        if !std::mem::replace(&mut known.ticking, true) {
            self.pace.ticking.push(group);
        }
        if !std::mem::replace(&mut self.pace.awake, true) {
            self.path.set_asleep(false);
            self.pace.next = now + TICK;
        }
    }

    /// A source holds so many octets of the log.
    pub(super) fn pressed(&mut self, now: Time, held: u32) {
        if held > self.path.source_octets() / 8 * 3 {
            self.pace.next = self.pace.next.min(now + SOON);
        }
    }

    /// The log woke us.
    pub(super) fn woken(&mut self, now: Time, switch: &mut Switch) {
        let next = self.pace.next;
        self.read_log(now, switch);
        if self.pace.next < next {
            // Somebody needs room: the first of the two steps of the release is made at once.
            self.pace.next = now;
        }
    }

    /// Looks at what has traffic, if it is time.
    pub(super) fn tick(&mut self, now: Time, switch: &mut Switch) {
        if !self.pace.awake || now < self.pace.next {
            return;
        }
        self.pace.next = now + TICK;
        self.read_log(now, switch);
        let groups = self.pace.ticking.clone();
        let numbers: Vec<u32> = groups.iter().flat_map(|group| self.members(*group)).collect();
        let loose: Vec<u32> = self.pace.loose.iter().map(|(number, _)| *number).collect();
        let tick = |number: &u32| ControlRow::new(Op::Tick, *number, 0, 0);
        let again = |number: &u32| view(*number);
        // Rows are worked on in order: each source's position is read before any leg's (U3).
        let rows: Vec<ControlRow> =
            loose.iter().chain(&numbers).map(tick).chain(numbers.iter().map(again)).collect();
        let Ok(rows) = self.batch(rows) else { return };
        for row in &rows {
            self.look_at(now, switch, row);
        }
        let mut finished = rows.iter().skip(loose.len()).map(|row| row.finished);
        let finished: Vec<(usize, Vec<u32>)> = groups
            .into_iter()
            .map(|group| (group, finished.by_ref().take(self.members(group).len()).collect()))
            .collect();
        self.put_back(rows);
        for (group, finished) in finished {
            self.release(group, &finished);
        }
        let held = numbers.iter().filter_map(|number| Some(self.line(*number)?.held)).max();
        self.pressed(now, held.unwrap_or(0));
        self.pace.loose.retain(|(_, until)| now < *until);
        self.rest(now, switch);
    }

    /// Groups without traffic are looked at no longer; without any that has, userspace sleeps.
    fn rest(&mut self, now: Time, switch: &mut Switch) {
        for group in std::mem::take(&mut self.pace.ticking) {
            let Some(known) = self.groups.get(group) else { continue };
            let idle = known.last + BUSY <= now;
            let members = known.numbers.iter().filter_map(|number| self.line(*number));
            let mut open = members.filter(|line| {
                !line.records.is_empty() || line.leg_fast && line.seen.acked != line.seen.highest
            });
            let stays = !idle || open.next().is_some();
            drop(open);
            if stays {
                self.pace.ticking.push(group);
            } else if let Some(known) = self.groups.get_mut(group) {
                known.ticking = false;
            }
        }
        if self.pace.ticking.is_empty() && self.pace.loose.is_empty() {
            self.pace.awake = false;
            self.path.set_asleep(true);
            // What came before that has woken nobody.
            self.read_log(now, switch);
        }
    }

    /// When there is something to do if nothing happens.
    pub(in crate::msrp) fn deadline(&self) -> Option<Time> {
        let tick = self.pace.awake.then_some(self.pace.next);
        let wants = self.wanting.iter().filter_map(|group| Some(self.groups.get(*group)?.again)).min();
        let later = self.later.iter().map(|later| later.at).min();
        tick.into_iter().chain(wants).chain(later).min()
    }
}
