//! Connections that go: what the programs carried is handed over first, and the state stays until the kernel socket
//! is silent.

use std::time::Duration;

use pf_common::maps::NO_CONNECTION;

use super::Splice;
use crate::core::{
    media::{ConnId, Switch},
    time::Time,
};

/// How long a closed kernel socket may still send or answer: TIME_WAIT of Linux, and the time until it is reached.
const SILENT: Duration = Duration::from_secs(65);
/// How many closed lines go when the tables are full.
const ROOM: usize = 32;
/// These have been closed for so long at least.
const YOUNG: Duration = Duration::from_secs(5);

impl Splice {
    /// A connection ends, by whichever side: its group ends with it, and with everything that was carried entered.
    /// Gives what was in flight on it, which must be written before all else if anything is still written.
    pub(in crate::msrp) fn closing(&mut self, now: Time, switch: &mut Switch, conn: ConnId) -> Vec<u8> {
        let Some(number) = self.number(conn) else { return Vec::new() };
        if let Some((group, _)) = self.line(number).and_then(|line| line.group) {
            self.dissolve(now, switch, group);
        }
        self.pressing.retain(|pressing| *pressing != conn);
        if let Some(place) = self.numbers.get_mut(conn.index()) {
            *place = None;
        }
        let Some(line) = self.line_mut(number) else { return Vec::new() };
        line.conn = None;
        let (again, touched) = (std::mem::take(&mut line.again), line.touched);
        // Where nothing was ever translated, nothing has to be from now on.
        let until = if touched { now + SILENT } else { now };
        self.graves.push_back((until, number));
        if !touched {
            self.graves.rotate_right(1);
        }
        again
    }

    /// All groups end. Gives whether any connection was ever the programs'.
    pub(super) fn end(&mut self, now: Time, switch: &mut Switch) -> bool {
        let groups: Vec<usize> = self.groups.iter().map(|(group, _)| group).collect();
        for group in groups {
            self.dissolve(now, switch, group);
        }
        self.lines.iter().flatten().any(|line| line.touched)
    }

    pub(super) fn forget_graves(&mut self, now: Time) {
        while let Some((until, number)) = self.graves.front().copied()
            && until <= now
        {
            self.graves.pop_front();
            self.forget(number);
        }
    }

    /// The tables are full: lines go that were closed a while ago.
    pub(super) fn forget_oldest(&mut self, now: Time) {
        for _ in 0..ROOM {
            let Some((until, number)) = self.graves.front().copied() else { return };
            if until > now + (SILENT - YOUNG) {
                return;
            }
            self.graves.pop_front();
            self.forget(number);
        }
    }

    fn forget(&mut self, number: u32) {
        self.path.forget(number);
        self.pace.bury(number);
        if let Some(place) = usize::try_from(number).ok().and_then(|place| self.lines.get_mut(place)) {
            *place = None;
        }
    }
}

// A number that nobody has is an answer of the programs, and none of ours.
const _: () = assert!(NO_CONNECTION > 0);
