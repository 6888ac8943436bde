//! Rules that a test may break on purpose, to show that the model notices. Outside tests [`broken`] is a constant
//! `false` and the compiler removes every use.

/// A rule of the state machine or of userspace's part in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code))]
pub(super) enum Mutant {
    /// R3: consume although the kernel socket was given octets that nobody knows to have arrived.
    PassStaysFast,
    /// R3: arm a source whose kernel socket holds octets from beyond a gap.
    ArmSourceOverGap,
    /// R4: drop a repetition of consumed octets without an ACK.
    SilentRepeat,
    /// S3: show the kernel socket an ACK beyond what it has sent.
    AckUnclamped,
    /// S4: send repeated kernel octets at positions that belong to others now.
    StaleRepeat,
    /// S5: roll the write position back to the boundary, not to the first unacknowledged octet.
    RollBackTooFar,
    /// S5: give the stream to the kernel socket without rolling back.
    NoRollBack,
    /// S6: arm a leg although userspace's octets are not all sent.
    ArmLegBehind,
    /// M3: arm a leg although misses are open.
    ArmLegMissesOpen,
    /// M3: a miss leaves the leg fast.
    MissStaysFast,
    /// M2: arm a source without comparing positions.
    ArmSourceBlind,
    /// M1: take packets while the one before is in work.
    IgnoreInWork,
    /// U1: userspace queues slow octets while a packet of the source is in work.
    QueueWhileInWork,
    /// U1: userspace does not look at the source again after it read slow octets.
    NoSecondLook,
    /// U1: userspace arms a source while octets wait for a leg that is fast.
    ArmOverQueue,
    /// U3: userspace releases the log by a mark taken from the legs before the source's position.
    MarkLegsFirst,
    /// U2: userspace writes to a leg without repeating what was rolled back.
    ForgetRolledBack,
}

impl Mutant {
    /// All rules.
    #[cfg(test)]
    pub(super) const ALL: &[Mutant] = &[
        Mutant::PassStaysFast,
        Mutant::ArmSourceOverGap,
        Mutant::SilentRepeat,
        Mutant::AckUnclamped,
        Mutant::StaleRepeat,
        Mutant::RollBackTooFar,
        Mutant::NoRollBack,
        Mutant::ArmLegBehind,
        Mutant::ArmLegMissesOpen,
        Mutant::MissStaysFast,
        Mutant::ArmSourceBlind,
        Mutant::IgnoreInWork,
        Mutant::QueueWhileInWork,
        Mutant::NoSecondLook,
        Mutant::ArmOverQueue,
        Mutant::MarkLegsFirst,
        Mutant::ForgetRolledBack,
    ];
}

#[cfg(not(test))]
#[inline(always)]
pub(super) const fn broken(_: Mutant) -> bool {
    false
}

#[cfg(test)]
pub(super) use switch::{any, broken, set};

#[cfg(test)]
mod switch {
    extern crate std;
    use super::Mutant;
    use std::cell::Cell;

    std::thread_local! {
        static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Whether the running test has broken `rule`.
    pub(in super::super) fn broken(rule: Mutant) -> bool {
        ACTIVE.with(|active| active.get() == Some(rule))
    }

    /// Whether any rule is broken.
    pub(in super::super) fn any() -> bool {
        ACTIVE.with(|active| active.get().is_some())
    }

    /// Breaks `rule`, or none, for the current thread.
    pub(in super::super) fn set(rule: Option<Mutant>) {
        ACTIVE.with(|active| active.set(rule));
    }
}
