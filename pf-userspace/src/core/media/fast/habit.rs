//! How a peer writes: a message at a time, or several at once.
//!
//! Of messages that come one by one the programs spare userspace a wake-up each. Those that come several at once, or in
//! parts, are cheaper in userspace, which reads them in one go; then the programs would only cost what it takes to look at
//! each packet. So a stream's connections are made known to them when one of its peers has sent some messages one by one.

/// The bound on what is wanted of a peer that wrote several messages at once, as a multiple of what is wanted at first.
const MOST: u32 = 8;

/// How the peer of one connection writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::core::media) struct Habit {
    /// SENDs that began in what is read at present.
    begun: u32,
    /// Messages in a row that came one by one.
    alone: u32,
    /// How often several came at once before it was [`Habit::steady`]: each doubles what is wanted.
    doublings: u32,
    /// It has written as many one by one as was wanted.
    steady: bool,
}

impl Habit {
    /// A SEND with a body begins.
    pub(super) fn begins(&mut self) {
        self.begun += 1;
    }

    /// What was read at once has been worked on; `whole`: it ended where a frame ended. Gives whether the peer has just
    /// turned out to be of one kind or the other, where `wanted` messages one by one are wanted at first.
    pub(in crate::core::media) fn after_read(&mut self, whole: bool, wanted: u32) -> bool {
        let begun = std::mem::take(&mut self.begun);
        if self.steady || begun == 0 && whole {
            return false;
        }
        if begun > 1 || !whole {
            self.alone = 0;
            self.doublings = (self.doublings + 1).min(MOST.ilog2());
            return self.doublings == 1;
        }
        self.alone += 1;
        self.steady = self.alone >= wanted.saturating_mul(1 << self.doublings);
        self.steady
    }

    /// Is the peer known to write a message at a time?
    pub(super) const fn is_steady(self) -> bool {
        self.steady
    }

    /// Did it write several at once, or one in parts?
    pub(super) const fn is_batched(self) -> bool {
        self.doublings > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(habit: &mut Habit, sends: u32, whole: bool) -> bool {
        (0..sends).for_each(|_| habit.begins());
        habit.after_read(whole, 2)
    }

    #[test]
    fn two_messages_one_by_one_make_a_steady_peer_once() {
        let mut habit = Habit::default();
        assert!(!read(&mut habit, 1, true));
        // Answers are no messages.
        assert!(!read(&mut habit, 0, true));
        assert!(read(&mut habit, 1, true));
        assert!(habit.is_steady() && !habit.is_batched());
        assert!(!read(&mut habit, 1, true));
        assert!(!read(&mut habit, 7, false));
        assert!(habit.is_steady());
    }

    #[test]
    fn several_at_once_double_what_is_wanted_up_to_a_bound() {
        let mut habit = Habit::default();
        for (reads, wanted) in [(1, 4), (2, 8), (9, 16)] {
            habit = Habit::default();
            for _ in 0..reads {
                assert!(!read(&mut habit, 1, true));
                let news = !habit.is_batched();
                assert_eq!(read(&mut habit, 2, true), news);
            }
            assert!(habit.is_batched());
            for left in (0..wanted).rev() {
                assert_eq!(read(&mut habit, 1, true), left == 0, "{reads} {left}");
            }
        }
        assert!(habit.is_steady());
    }

    #[test]
    fn a_message_in_parts_begins_the_row_anew() {
        let mut habit = Habit::default();
        assert!(!read(&mut habit, 1, true));
        assert!(read(&mut habit, 1, false));
        assert!(!read(&mut habit, 0, true));
        assert!((0..3).all(|_| !read(&mut habit, 1, true)));
        assert!(read(&mut habit, 1, true));
    }
}
