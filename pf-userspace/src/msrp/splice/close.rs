//! Connections that go: what the programs carried is handed over first.

use super::Splice;
use crate::core::{
    media::{ConnId, Switch},
    time::Time,
};

impl Splice {
    /// A connection ends, by whichever side: its group ends with it, and with everything that was carried entered.
    /// Gives what was in flight on it, which must be written before all else if anything is still written. The
    /// programs translate what the kernel socket still sends and gets.
    pub(in crate::msrp) fn closing(&mut self, now: Time, switch: &mut Switch, conn: ConnId) -> Vec<u8> {
        let Some(number) = self.number(conn) else { return Vec::new() };
        if let Some((group, _)) = self.line(number).and_then(|line| line.group) {
            self.dissolve(now, switch, group);
        }
        self.pressing.retain(|pressing| *pressing != conn);
        if let Some(place) = self.numbers.get_mut(conn.index()) {
            *place = None;
        }
        let place = usize::try_from(number).ok().and_then(|place| self.lines.get_mut(place));
        let line = place.and_then(Option::take);
        self.path.forget(number);
        line.map(|line| line.again).unwrap_or_default()
    }

    /// All groups end. Gives whether any connection was ever the programs'.
    pub(super) fn end(&mut self, now: Time, switch: &mut Switch) -> bool {
        let groups: Vec<usize> = self.groups.iter().map(|(group, _)| group).collect();
        for group in groups {
            self.dissolve(now, switch, group);
        }
        self.lines.iter().flatten().any(|line| line.touched)
    }
}
