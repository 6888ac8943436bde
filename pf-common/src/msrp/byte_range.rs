//! The Byte-Range header.

/// `Byte-Range: start-end/total` (RFC 4975 section 7.1.1); octets are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// First octet of this chunk.
    pub start: u64,
    /// Last octet; absent for `*` (unknown, or the chunk may be interrupted).
    pub end: Option<u64>,
    /// Octets of the whole message; absent for `*`.
    pub total: Option<u64>,
}

impl ByteRange {
    /// Reads the header's value. Nothing when it is no Byte-Range, exceeds 64 bits or contradicts itself;
    /// an empty message is `1-0/0`.
    pub fn parse(value: &[u8]) -> Option<ByteRange> {
        let (start, rest) = split(value, b'-')?;
        let (end, total) = split(rest, b'/')?;
        let range = ByteRange { start: number(start)?, end: open(end)?, total: open(total)? };
        let end_fits = range.end.is_none_or(|end| end >= range.start.saturating_sub(1));
        let last = range.end.unwrap_or(range.start.saturating_sub(1));
        let total_fits = range.total.is_none_or(|total| total >= last);
        (range.start >= 1 && end_fits && total_fits).then_some(range)
    }
}

fn split(value: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let n = value.iter().position(|o| *o == at)?;
    Some((value.get(..n)?, value.get(n + 1..)?))
}

fn open(value: &[u8]) -> Option<Option<u64>> {
    if value == b"*" { Some(None) } else { number(value).map(Some) }
}

fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |n, o| {
        let digit = o.is_ascii_digit().then(|| u64::from(o - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: Option<u64>, total: Option<u64>) -> Option<ByteRange> {
        Some(ByteRange { start, end, total })
    }

    #[test]
    fn values() {
        assert_eq!(ByteRange::parse(b"1-25/25"), range(1, Some(25), Some(25)));
        assert_eq!(ByteRange::parse(b"1-*/*"), range(1, None, None));
        assert_eq!(ByteRange::parse(b"2049-*/4000"), range(2049, None, Some(4000)));
        assert_eq!(ByteRange::parse(b"1-0/0"), range(1, Some(0), Some(0)));
        assert_eq!(ByteRange::parse(b"1-18446744073709551615/*"), range(1, Some(u64::MAX), None));
    }

    #[test]
    fn contradictions() {
        for bad in [
            "",
            "1",
            "1-",
            "1-2",
            "-2/3",
            "0-2/3",
            "1-2/1",
            "5-3/9",
            "9-*/3",
            "1-2/ 3",
            " 1-2/3",
            "1-2/3 ",
            "a-b/c",
            "1-18446744073709551616/*",
            "1-+2/3",
            "1-2/3/4",
            "*-2/3",
        ] {
            assert_eq!(ByteRange::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
