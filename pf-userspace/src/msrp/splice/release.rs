//! U3: logged octets are given back when no leg can need them any more.

use pf_common::{
    maps::{ControlRow, Op},
    splice::seq::before,
};

use super::{Splice, line::Release};

impl Splice {
    /// Goes on with the release for each source of a group, whose lines have just been looked at: in one look the
    /// source's position is read, in the next one the legs are marked, in later ones compared. What missed a leg was
    /// queued when it was read from the log.
    pub(super) fn release(&mut self, group: usize) {
        let Some(known) = self.groups.get(group) else { return };
        let mut steps = Vec::new();
        let mut rows = Vec::new();
        for (leg, number) in known.plan.legs.iter().zip(&known.numbers) {
            let Some(line) = self.line(*number) else { continue };
            let targets = leg
                .targets
                .iter()
                .chain(&leg.answer_to)
                .filter_map(|place| known.numbers.get(*place).and_then(|number| self.line(*number)));
            let step = match &line.release {
                Release::Idle if line.records.is_empty() => continue,
                Release::Idle => Release::Finished(line.seen.finished),
                Release::Finished(finished) => {
                    let mark = |line: &super::Line| line.leg_fast.then_some(line.seen.highest);
                    Release::Marked(*finished, targets.map(mark).collect())
                }
                Release::Marked(finished, marks) => {
                    let reached = targets.zip(marks).all(|(line, mark)| match mark {
                        // What was in flight when userspace took it has been copied.
                        _ if !line.leg_fast => true,
                        Some(mark) => !before(line.seen.acked, *mark),
                        None => true,
                    });
                    if !reached {
                        continue;
                    }
                    rows.push((*number, *finished));
                    Release::Idle
                }
            };
            steps.push((*number, step));
        }
        for (number, step) in steps {
            if let Some(line) = self.line_mut(number) {
                line.release = step;
            }
        }
        let rows: Vec<ControlRow> = rows
            .into_iter()
            .filter_map(|(number, finished)| {
                let octets = self.line_mut(number)?.drop_until(finished);
                (octets > 0).then(|| ControlRow::new(Op::Release, number, octets, 0))
            })
            .collect();
        if let Ok(rows) = self.batch(rows) {
            self.put_back(rows);
        }
    }
}
