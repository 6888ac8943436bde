//! Changes of bounds and habits while messages pass.

use pf_common::maps::{ControlRow, Op};

use super::{Splice, Tunables};
use crate::core::{media::Switch, time::Time};

impl Splice {
    /// From now on these count, on connections that are registered, too.
    pub(in crate::msrp) fn tune(&mut self, now: Time, switch: &mut Switch, tunables: Tunables) {
        self.path.set_in_flight(tunables.in_flight_segments);
        let numbers = (0_u32..).zip(&self.lines).filter(|(_, line)| line.is_some());
        let rows: Vec<ControlRow> = numbers
            .map(|(number, _)| ControlRow::new(Op::Cap, number, tunables.in_flight_segments, 0))
            .collect();
        if let Ok(rows) = self.batch(rows) {
            self.put_back(rows);
        }
        switch.set_single_messages(tunables.single_messages);
        switch.set_fan_out(usize::try_from(tunables.fan_out).unwrap_or(usize::MAX));
        let habits = |t: &Tunables| (t.backoff_octets, t.backoff_ms, t.backoff_max_ms);
        if habits(&self.tunables) != habits(&tunables) {
            // What waits, waits by the old rule: it is looked at anew.
            self.lines.iter_mut().flatten().for_each(|line| line.patience = Time::ZERO);
            let groups: Vec<usize> = self.groups.iter().map(|(group, _)| group).collect();
            groups.into_iter().for_each(|group| self.want(group, now));
        }
        self.tunables = tunables;
    }
}
