//! How a peer writes: a message at a time, or several at once.
//!
//! Of messages that come one by one the programs spare userspace a wake-up each. Those that come several at once, or in
//! parts, are cheaper in userspace, which reads them in one go; then the programs would only cost what it takes to look at
//! each packet. So a stream's connections are made known to them when one of its peers has sent some messages one by one.

/// How much more a peer may owe than at first, as a multiple.
const MOST: u32 = 4;

/// How the peer of one connection writes. At first it owes some messages one by one. Each pays for one; each time that
/// several come at once adds as many as it owed at first. A peer that owes nothing is steady, for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::core::media) struct Habit {
    /// SENDs that began in what is read at present.
    begun: u32,
    /// One of them is none that the programs could carry.
    unfit: bool,
    /// Messages one by one that it has sent.
    paid: u32,
    /// What it owes beyond those that are wanted of everybody.
    fined: u32,
    /// Several have come at once.
    batched: bool,
    /// It has written as many one by one as was wanted.
    steady: bool,
}

impl Habit {
    /// A SEND with a body begins; `fit`: it is all of a message that is short enough for the programs.
    pub(super) fn begins(&mut self, fit: bool) {
        self.begun += 1;
        self.unfit |= !fit;
    }

    /// What was read at once has been worked on; `whole`: it ended where a frame ended. Gives whether the peer has just
    /// turned out to be of one kind or the other, where `wanted` messages one by one are wanted at first.
    pub(super) fn after_read(&mut self, whole: bool, wanted: u32) -> bool {
        let (begun, unfit) = (std::mem::take(&mut self.begun), std::mem::take(&mut self.unfit));
        if self.steady || begun == 0 {
            return false;
        }
        if begun > 1 || unfit || !whole {
            let most = wanted.saturating_mul(MOST);
            let owed = wanted.saturating_add(self.fined).saturating_sub(self.paid).saturating_add(wanted);
            (self.paid, self.fined) = (0, owed.min(most).saturating_sub(wanted));
            return !std::mem::replace(&mut self.batched, true);
        }
        self.paid = self.paid.saturating_add(1);
        self.steady = self.paid >= wanted.saturating_add(self.fined);
        self.steady
    }

    /// Is the peer known to write a message at a time?
    pub(super) const fn is_steady(self) -> bool {
        self.steady
    }

    /// Did it write several at once, or one in parts?
    pub(super) const fn is_batched(self) -> bool {
        self.batched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(habit: &mut Habit, sends: u32, whole: bool) -> bool {
        (0..sends).for_each(|_| habit.begins(true));
        habit.after_read(whole, 2)
    }

    #[test]
    fn two_messages_one_by_one_make_a_steady_peer_for_good() {
        let mut habit = Habit::default();
        assert!(!read(&mut habit, 1, true));
        // Answers are no messages, cut or not.
        assert!(!read(&mut habit, 0, true) && !read(&mut habit, 0, false));
        assert!(read(&mut habit, 1, true));
        assert!(habit.is_steady() && !habit.is_batched());
        assert!(!read(&mut habit, 1, true));
        assert!(!read(&mut habit, 7, false));
        assert!(habit.is_steady());
    }

    #[test]
    fn several_at_once_have_to_be_made_up_for_within_a_bound() {
        for (reads, owed) in [(1, 4), (2, 6), (3, 8), (9, 8)] {
            let mut habit = Habit::default();
            for read_so_far in 0..reads {
                assert_eq!(read(&mut habit, 2, true), read_so_far == 0);
            }
            assert!(habit.is_batched());
            for left in (0..owed).rev() {
                assert_eq!(read(&mut habit, 1, true), left == 0, "{reads} {left}");
            }
        }
    }

    /// Two notifications at once now and then are no pipelining.
    #[test]
    fn who_mostly_writes_one_by_one_is_steady_in_the_end() {
        let mut habit = Habit::default();
        let rounds = (0..20).take_while(|_| {
            read(&mut habit, 2, true);
            (0..3).for_each(|_| _ = read(&mut habit, 1, true));
            !habit.is_steady()
        });
        assert_eq!(rounds.count(), 1);
        let mut half = Habit::default();
        for _ in 0..100 {
            read(&mut half, 1, true);
            read(&mut half, 2, true);
        }
        assert!(!half.is_steady());
    }

    #[test]
    fn what_the_programs_cannot_carry_is_no_message_by_itself() {
        let mut habit = Habit::default();
        assert!(!read(&mut habit, 1, true));
        habit.begins(false);
        assert!(habit.after_read(true, 2) && habit.is_batched());
        // Nor is one of which only a part has come.
        let mut habit = Habit::default();
        assert!(read(&mut habit, 1, false) && !habit.is_steady());
    }
}
