//! What frames and wishes can show: the counters, the reasons in the state, the answers. And what no frame can show.

use pf::fastpath::DatapathCounts;
use pf_common::{
    maps::{Count, NO_CONNECTION, NOT_LEARNED, Total},
    splice::{Arm, Cause, KernelVerdict, PeerVerdict},
    whole::Content,
};

use super::{long, reasons, scenes, table, wishes};

/// Something that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// A counter rose.
    Count(Count),
    /// A leg or a source is not fast for this reason.
    State(Cause),
    /// The answer to a wish to be fast: an [`Arm`] by its index, or [`NOT_LEARNED`], or [`NO_CONNECTION`].
    Answer(u32),
}

impl Shown {
    pub(crate) const fn peer(verdict: PeerVerdict) -> Shown {
        Shown::Count(Count::Peer(verdict))
    }
    pub(crate) const fn kernel(verdict: KernelVerdict) -> Shown {
        Shown::Count(Count::Kernel(verdict))
    }
    pub(crate) const fn cause(cause: Cause) -> Shown {
        Shown::Count(Count::Cause(cause))
    }
    pub(crate) const fn total(total: Total) -> Shown {
        Shown::Count(Count::Total(total))
    }
    pub(crate) const fn arm(arm: Arm) -> Shown {
        Shown::Answer(arm as u32)
    }
}

/// Causes that neither a counter nor a state ever tells.
const NEVER_TOLD: [(Cause, &str); 2] = [
    (Cause::Clear, "nothing is in the way: no reason"),
    (Cause::SourceSlow, "the verdict pass-slow tells it; the unit tests look at the cause itself"),
];

fn every_count() -> Vec<Count> {
    let mut all: Vec<Count> = PeerVerdict::ALL.iter().map(|v| Count::Peer(*v)).collect();
    all.extend(KernelVerdict::ALL.iter().map(|v| Count::Kernel(*v)));
    all.extend(Cause::ALL.iter().map(|v| Count::Cause(*v)));
    all.extend(Content::ALL.iter().map(|v| Count::Content(*v)));
    all.extend(Total::ALL.iter().map(|v| Count::Total(*v)));
    all
}

pub(crate) fn counted(before: &DatapathCounts, after: &DatapathCounts) -> Vec<Count> {
    every_count().into_iter().filter(|count| after.get(*count) > before.get(*count)).collect()
}

/// What the rows and scenes promise; that they keep it is demanded where they are played.
fn promised() -> Vec<Shown> {
    let rows = table::shows().into_iter().chain(long::shows());
    let scenes = [scenes::SCENES, reasons::SCENES, wishes::SCENES].into_iter().flatten();
    rows.chain(scenes.flat_map(|scene| scene.shows).copied()).collect()
}

#[test]
fn every_verdict_reason_and_answer_is_shown_by_frames() {
    let promised = promised();
    for count in every_count() {
        match count {
            Count::Cause(cause) => {
                let shown = [Shown::Count(count), Shown::State(cause)].iter().any(|s| promised.contains(s));
                let never = NEVER_TOLD.iter().find(|(never, _)| *never == cause);
                assert_ne!(shown, never.is_some(), "{cause:?}: {never:?}");
            }
            Count::Peer(_) | Count::Kernel(_) | Count::Content(_) | Count::Total(_) => {
                assert!(promised.contains(&Shown::Count(count)), "nothing shows {count:?}");
            }
        }
    }
    let answers = Arm::ALL.iter().map(|arm| *arm as u32).chain([NOT_LEARNED, NO_CONNECTION]);
    for answer in answers {
        assert!(promised.contains(&Shown::Answer(answer)), "nobody is answered {answer}: {:?}", Arm::ALL);
    }
}
