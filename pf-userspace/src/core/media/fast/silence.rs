//! Devices that get copies from the programs and do not answer them.
//!
//! The programs drop what devices answer, and only count. So a device is silent when its count stands still although
//! copies wait for their answers.

use crate::core::{
    event::{LegDown, LegRole},
    media::{ConnId, LegId, Switch, leg::Leg},
    time::Time,
};

impl Leg {
    /// Do copies of the programs wait for the device's answers?
    fn awaits_copies(&self) -> bool {
        self.role == LegRole::Device && self.kernel.answers < self.kernel.sends_out
    }

    /// The programs sent it one more copy.
    pub(super) fn copied(&mut self, now: Time) {
        self.kernel.sends_out += 1;
        if self.awaits_copies() {
            self.asked.get_or_insert(now);
        }
    }

    /// The device answered copies of the programs.
    pub(in crate::core::media) fn answered(&mut self, now: Time, answers: u64) {
        if answers > 0 {
            self.kernel.answers = self.kernel.sends_out.min(self.kernel.answers + answers);
            self.asked = self.awaits_copies().then_some(now);
        }
    }
}

impl Switch {
    /// Connections of devices whose answers to the programs' copies have to be counted.
    pub fn asked(&self) -> Vec<ConnId> {
        self.legs.iter().filter(|(_, leg)| leg.asked.is_some()).filter_map(|(_, leg)| leg.conn).collect()
    }

    /// The programs dropped so many more answers of the device on this connection, of so many octets.
    pub fn absorbed(&mut self, now: Time, conn: ConnId, answers: u64, octets: u64) {
        let leg = self.conns.get(conn).and_then(|conn| conn.legs.first().copied());
        if let Some(leg) = leg.and_then(|leg| self.legs.get_mut(leg)).filter(|_| answers > 0) {
            leg.counters.ok += answers;
            leg.counters.octets_in += octets;
            leg.answered(now, answers);
        }
    }

    /// Closes a device's leg that has been silent for too long.
    pub(in crate::core::media) fn look_for_silence(&mut self, now: Time, id: LegId) {
        let Some(since) = self.legs.get(id).and_then(|leg| leg.asked) else { return };
        let until = since + self.limits.silent;
        if now < until {
            return self.alarm_at(until);
        }
        if let Some(leg) = self.legs.get_mut(id) {
            leg.counters.timeouts += 1;
        }
        self.down(now, id, LegDown::Silent);
    }
}
