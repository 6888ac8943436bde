//! The wall clock as RFC 3339 writes it.

use std::time::{SystemTime, UNIX_EPOCH};

/// `2026-03-01T12:00:00.250000Z`. Points before 1970 are written as its beginning.
pub(super) fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:06}Z", since.subsec_micros())
}

/// The Gregorian date of so many days after 1970-01-01: years are counted from March, so that leap days come last.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_TO_1970: u64 = 719_468;
    const ERA: u64 = 146_097;
    let days = days + DAYS_TO_1970;
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_are_gregorian() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.250000Z"),
            (951_782_399, "2000-02-28T23:59:59.250000Z"),
            (951_782_400, "2000-02-29T00:00:00.250000Z"),
            (951_868_800, "2000-03-01T00:00:00.250000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.250000Z"),
            (1_709_164_800, "2024-02-29T00:00:00.250000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.250000Z"),
        ] {
            let time = UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 250);
            assert_eq!(rfc3339(time), text);
        }
    }
}
