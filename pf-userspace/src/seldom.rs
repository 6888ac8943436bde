//! A log line that may be due very often is written seldom.

use std::time::{Duration, Instant};

/// Shortest time between two lines.
const PERIOD: Duration = Duration::from_secs(10);

/// What has happened since the last line.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    next: Option<Instant>,
    count: u64,
}

impl Seldom {
    /// It has happened once more: if a line is due, gives how often since the last one.
    pub(crate) fn count(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        self.next = Some(now + PERIOD);
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_period_says_it_all() {
        let (mut seldom, start) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.count(start), Some(1));
        for n in 0..1000 {
            assert_eq!(seldom.count(start + Duration::from_millis(n * 9)), None);
        }
        assert_eq!(seldom.count(start + PERIOD), Some(1001));
        assert_eq!(seldom.count(start + PERIOD), None);
    }
}
