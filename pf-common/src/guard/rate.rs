//! The token bucket of one source, kept as one number.

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// How often something may happen: a bucket that holds one second's worth of tokens and is refilled evenly.
///
/// The state of a bucket is the time at which it will be full again, in nanoseconds: one word, so that several
/// processors can change it with a compare-and-exchange. Zero is a full bucket. Whatever limit made it, a state is
/// at most a second ahead: a changed limit counts in full after a second.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds until one token is back.
    pub interval: u64,
    /// Nanoseconds until an empty bucket is full.
    pub burst: u64,
}

impl Rate {
    /// The highest rate, a second.
    pub const MAX: u32 = 10_000_000;

    /// `count` a second (1 to [`Rate::MAX`]; others are taken for the nearest of those), as many at once.
    pub const fn per_second(count: u32) -> Rate {
        let count = if count == 0 {
            1
        } else if count > Rate::MAX {
            Rate::MAX as u64
        } else {
            count as u64
        };
        let interval = SECOND / count;
        Rate { interval, burst: interval * count }
    }

    /// Takes a token out of the bucket that is full at `full_at`: the new state, or nothing if there is no token.
    #[inline(always)]
    pub const fn admit(&self, full_at: u64, now: u64) -> Option<u64> {
        let from = if full_at > now { full_at } else { now };
        let next = from.wrapping_add(self.interval);
        if next.wrapping_sub(now) > self.burst { None } else { Some(next) }
    }

    /// Tokens in the bucket at `now`.
    pub const fn tokens(&self, full_at: u64, now: u64) -> u64 {
        let missing = full_at.saturating_sub(now);
        let left = self.burst.saturating_sub(missing);
        match left.checked_div(self.interval) {
            Some(tokens) => tokens,
            None => 0,
        }
    }
}
