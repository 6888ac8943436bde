//! U3: logged octets are given back when no leg can need them any more.

use pf_common::{
    maps::{ControlRow, Op},
    splice::seq::before,
};

use super::{
    Splice,
    line::{Line, Release},
};

impl Splice {
    /// Goes on with the release for each source of a group, whose lines have been looked at twice: `finished` are the
    /// sources' positions of the first look, by place; the second one gives the legs' marks. In a later look these are
    /// compared. What missed a leg was queued when it was read from the log.
    pub(super) fn release(&mut self, group: usize, finished: &[u32]) {
        let Some(known) = self.groups.get(group) else { return };
        let mut steps = Vec::new();
        let mut rows = Vec::new();
        for ((leg, number), finished) in known.plan.legs.iter().zip(&known.numbers).zip(finished) {
            let Some(line) = self.line(*number) else { continue };
            let targets = leg.targets.iter().chain(&leg.answer_to);
            let targets: Vec<&Line> = targets
                .filter_map(|place| known.numbers.get(*place).and_then(|number| self.line(*number)))
                .collect();
            if let Release::Marked(finished, marks) = &line.release {
                let reached = targets.iter().zip(marks).all(|(line, mark)| match mark {
                    // What was in flight when userspace took the leg has been copied.
                    Some(mark) => !line.leg_fast || !before(line.seen.acked, *mark),
                    None => true,
                });
                if !reached {
                    continue;
                }
                rows.push((*number, *finished));
            }
            let mark = |line: &&Line| line.leg_fast.then_some(line.seen.highest);
            steps.push(match line.records.is_empty() {
                true => (*number, Release::Idle),
                false => (*number, Release::Marked(*finished, targets.iter().map(mark).collect())),
            });
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
