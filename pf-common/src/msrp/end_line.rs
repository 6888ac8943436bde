//! Finding the end of a body.
//!
//! A body ends where CRLF, seven dashes, the frame's transaction id, a flag and CRLF stand. It is always
//! looked for, also where Byte-Range announces a length: a body that ends earlier than announced would
//! otherwise carry whole frames of the sender's choice past us.

use super::DASHES;

/// The continuation flag of an end-line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// `#`: abandoned, no further chunks.
    Abandoned,
    /// `$`: the last octets of the message.
    Last,
    /// `+`: more chunks follow.
    More,
}

impl Flag {
    /// The flag that this octet means.
    pub const fn from_octet(octet: u8) -> Option<Flag> {
        match octet {
            b'#' => Some(Flag::Abandoned),
            b'$' => Some(Flag::Last),
            b'+' => Some(Flag::More),
            _ => None,
        }
    }

    /// The octet for this flag.
    pub const fn octet(self) -> u8 {
        match self {
            Flag::Abandoned => b'#',
            Flag::Last => b'$',
            Flag::More => b'+',
        }
    }
}

/// What [`find_end`] saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// The frame ends.
    End {
        /// Octets before the end-line that belong to the body.
        body: usize,
        /// Position of the end-line's first dash: 2 more than `body`, but for an empty body without CRLF.
        dashes: usize,
        /// Its flag.
        flag: Flag,
        /// Position after the end-line's CRLF.
        end: usize,
    },
    /// Dashes and this transaction id stand in the body but not as an end-line: no sender may do that
    /// (RFC 4975 section 7.1), and a laxer reader than this one would take it for the end.
    Misplaced {
        /// Octets of the body before the dashes.
        body: usize,
        /// Position after the dashes, where a further search may begin.
        resume: usize,
    },
    /// No end so far.
    None {
        /// Octets that certainly belong to the body. What follows (at most
        /// [`super::END_LINE_MAX`] - 1 octets) must be looked at again together with what comes next.
        body: usize,
    },
}

/// Looks for the end of the body that goes on at the start of `input`. `fresh`: nothing of this body has been
/// consumed yet (then an end-line without CRLF before it ends an empty body).
pub fn find_end(input: &[u8], transaction: &[u8], fresh: bool) -> Search {
    let stride = DASHES.len();
    // Seven dashes in a row cover a multiple of seven: looking at every seventh octet misses no run.
    let mut probe = stride - 1;
    while let Some(octet) = input.get(probe) {
        if *octet != b'-' {
            probe += stride;
            continue;
        }
        let (first, after) = run(input, probe);
        if after - first >= stride {
            // A transaction id never begins with a dash: only the last seven of the run count.
            let dashes = after - stride;
            match complete(input, dashes, after, transaction, fresh) {
                Candidate::Body => {}
                Candidate::Decided(search) => return search,
            }
        }
        probe = after + stride;
    }
    Search::None { body: held(input) }
}

enum Candidate {
    Body,
    Decided(Search),
}

/// Is there an end-line whose dashes stand at `dashes..after`?
fn complete(input: &[u8], dashes: usize, after: usize, transaction: &[u8], fresh: bool) -> Candidate {
    let rest = input.get(after..).unwrap_or(&[]);
    let before = input.get(..dashes).unwrap_or(&[]);
    let body = if before.ends_with(b"\r\n") {
        Some(dashes - 2)
    } else if fresh && dashes == 0 {
        Some(0)
    } else {
        None
    };
    if !rest.starts_with(transaction) {
        let may_become = transaction.starts_with(rest);
        return if may_become {
            Candidate::Decided(Search::None { body: body.unwrap_or(dashes) })
        } else {
            Candidate::Body
        };
    }
    let misplaced = Candidate::Decided(Search::Misplaced { body: dashes, resume: after });
    let Some(body) = body else { return misplaced };
    let undecided = Candidate::Decided(Search::None { body });
    let mut tail = rest.iter().skip(transaction.len());
    let flag = match tail.next() {
        None => return undecided,
        Some(octet) => Flag::from_octet(*octet),
    };
    match (flag, tail.next(), tail.next()) {
        (Some(flag), Some(b'\r'), Some(b'\n')) => {
            Candidate::Decided(Search::End { body, dashes, flag, end: after + transaction.len() + 3 })
        }
        (Some(_), None, None) | (Some(_), Some(b'\r'), None) => undecided,
        _ => misplaced,
    }
}

/// The run of dashes that covers `at`: its first position and the position after it.
fn run(input: &[u8], at: usize) -> (usize, usize) {
    let before = input.get(..at).unwrap_or(&[]).iter().rev().take_while(|o| **o == b'-').count();
    let from = input.get(at..).unwrap_or(&[]).iter().take_while(|o| **o == b'-').count();
    (at - before, at + from)
}

/// How many octets of `input`, which holds no decidable end-line, cannot begin one. Runs of seven dashes have
/// been dealt with: an end-line may still begin with CR, CRLF or fewer dashes at the very end.
fn held(input: &[u8]) -> usize {
    let dashes = input.iter().rev().take(DASHES.len() - 1).take_while(|o| **o == b'-').count();
    let before = input.len() - dashes;
    let head = input.get(..before).unwrap_or(&[]);
    if head.ends_with(b"\r\n") {
        before - 2
    } else if dashes == 0 && head.ends_with(b"\r") {
        before - 1
    } else {
        before
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::{vec, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    /// Feeds `wire` cut at `cuts`; gives the body, the flag and the octets consumed, or nothing.
    fn feed(wire: &[u8], transaction: &[u8], cuts: &[usize]) -> Option<(Vec<u8>, Flag, usize)> {
        let mut body = vec![];
        let mut from = 0;
        let mut fresh = true;
        let mut ends: Vec<usize> = cuts.iter().map(|c| c % (wire.len() + 1)).collect();
        ends.sort_unstable();
        ends.push(wire.len());
        for to in ends {
            match find_end(&wire[from..to.max(from)], transaction, fresh) {
                Search::End { body: n, end, flag, .. } => {
                    body.extend_from_slice(&wire[from..from + n]);
                    return Some((body, flag, from + end));
                }
                Search::Misplaced { .. } => return None,
                Search::None { body: n } => {
                    body.extend_from_slice(&wire[from..from + n]);
                    from += n;
                    fresh &= n == 0;
                }
            }
        }
        None
    }

    // Rows: MED-17
    #[test]
    fn body_with_another_end_line() {
        let wire = b"one\r\n-------other$\r\ntwo-------\r\n-------\r\n-------abcd$\r\nMSRP";
        for at in 0..=wire.len() {
            let (body, flag, end) = feed(wire, b"abcd", &[at]).unwrap();
            assert_eq!(body, b"one\r\n-------other$\r\ntwo-------\r\n-------");
            assert_eq!((flag, &wire[end..]), (Flag::Last, &b"MSRP"[..]));
        }
    }

    #[test]
    fn empty_bodies() {
        assert_eq!(feed(b"\r\n-------abcd+\r\n", b"abcd", &[]), Some((vec![], Flag::More, 16)));
        for at in 0..14 {
            assert_eq!(feed(b"-------abcd#\r\n", b"abcd", &[at]), Some((vec![], Flag::Abandoned, 14)));
        }
    }

    #[test]
    fn misplaced() {
        for bad in
            ["x-------abcd$\r\n", "\r\n--------abcd$\r\n", "\r\n-------abcdx$\r\n", "\r\n-------abcd$x\n"]
        {
            let search = find_end(bad.as_bytes(), b"abcd", true);
            assert!(matches!(search, Search::Misplaced { .. }), "{bad:?} {search:?}");
        }
    }

    fn dashy() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"\r\n".to_vec()),
            Just(b"-------".to_vec()),
            Just(b"-".to_vec()),
            Just(b"abc".to_vec()),
            Just(b"\r\n-------abcx$\r\n".to_vec()),
            any::<Vec<u8>>(),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|p| p.concat())
    }

    proptest! {
        #[test]
        fn cut_anywhere_is_the_same(body in dashy(), cuts in proptest::collection::vec(0_usize..400, 0..6)) {
            let id = b"abcd123";
            prop_assume!(!body.windows(14).any(|w| w == b"-------abcd123"));
            let mut wire = body.clone();
            wire.extend_from_slice(b"\r\n-------abcd123+\r\nrest");
            let (got, flag, end) = feed(&wire, id, &cuts).unwrap();
            prop_assert_eq!(got, body);
            prop_assert_eq!((flag, end), (Flag::More, wire.len() - 4));
        }

        #[test]
        fn never_beyond_the_input(input: Vec<u8>, fresh: bool) {
            match find_end(&input, b"abcd", fresh) {
                Search::End { body, dashes, end, .. } => prop_assert!(body <= dashes && dashes < end && end <= input.len()),
                Search::Misplaced { body, resume } => prop_assert!(body < resume && resume <= input.len()),
                Search::None { body } => prop_assert!(body <= input.len() && input.len() - body < super::super::END_LINE_MAX),
            }
        }
    }
}
