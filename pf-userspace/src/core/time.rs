//! The core's clock: given from outside, so that tests can hold and turn it.

use std::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// A point in time, counted from the start of the process (monotonic; never a wall clock).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time(Duration);

impl Time {
    /// The start of the process.
    pub const ZERO: Time = Time(Duration::ZERO);

    /// The point `since_start` after the start of the process.
    pub const fn from_start(since_start: Duration) -> Time {
        Time(since_start)
    }

    /// How long after the start of the process this is.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// The point `span` before this one; the start of the process at the earliest.
    pub fn before(self, span: Duration) -> Time {
        Time(self.0.saturating_sub(span))
    }

    /// How long this is after `earlier`; zero if it is not after it.
    pub fn saturating_since(self, earlier: Time) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, after: Duration) -> Time {
        Time(self.0.saturating_add(after))
    }
}

impl Sub for Time {
    type Output = Duration;
    fn sub(self, earlier: Time) -> Duration {
        self.saturating_since(earlier)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}s", self.0.as_secs_f64())
    }
}
