//! What a worker's turn has recorded goes to the store, all at once; and what the store cannot follow is held up.

use super::worker::Worker;

impl Worker {
    /// Hands over what was recorded.
    pub(super) fn flush_recorded(&mut self) {
        let recorded = self.switch.take_recorded();
        let Some(recorder) = &mut self.recorder else { return };
        if !recorded.is_empty() {
            recorder.record(self.start, recorded);
        }
        recorder.keeps(self.switch.undecided_octets());
    }

    /// The end of a turn: hands over, and holds sources up or lets them go on. Gives whether some go on, so that there
    /// is more to do.
    pub(super) fn record(&mut self) -> bool {
        self.flush_recorded();
        let Some(recorder) = &mut self.recorder else { return false };
        let (full, begins) = recorder.is_full();
        if begins && let Some(count) = self.held_up.count(std::time::Instant::now()) {
            tracing::warn!(count, "the store cannot follow what is recorded: recorded sessions wait for it");
        }
        if !self.switch.hold_recorded(full) {
            return false;
        }
        if let Some(splice) = &mut self.splice {
            for conn in self.switch.recorded_conns() {
                splice.store_changed(self.now, &mut self.switch, conn);
            }
        }
        !full
    }
}
