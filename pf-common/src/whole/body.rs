//! The body of a SEND: nothing in it may be what is not for the programs.

use super::{
    Content, DONE, REFUSED, Reader, Scan, Step,
    word::{cut, find, lower, text},
};

/// Octets of a step.
const STEP: u32 = 64;

/// Whether nothing from `from` to `to` could be taken for an end-line, or for the type of an external body.
#[inline(always)]
pub(super) fn look<R: Reader>(reader: &R, from: u32, to: u32, scan: &mut Scan) -> Result<(), Content> {
    // Seven dashes hold four that begin at a multiple of four.
    *scan = Scan { at: from & !7, end: to, ..Scan::default() };
    reader.repeat(Step::Body, scan);
    match scan.state {
        DONE => Ok(()),
        state if state == REFUSED + Content::External as u32 => Err(Content::External),
        _ => Err(Content::Dashes),
    }
}

/// Looks for four dashes in a row, and for `external-body`, in 64 octets.
#[inline(always)]
pub(super) fn step<R: Reader>(reader: &R, scan: &mut Scan) -> bool {
    const FOUR: u32 = 0x2d2d_2d2d;
    let (at, end) = (scan.at, scan.end);
    if at >= end {
        return scan.done();
    }
    let mut ahead = 0;
    while ahead < STEP {
        let place = at.wrapping_add(ahead);
        let word = reader.word(place);
        let dash = find(word, b'-');
        if dash < 8 {
            let first = word as u32 == FOUR && place.wrapping_add(4) <= end;
            let second = (word >> 32) as u32 == FOUR && place.wrapping_add(8) <= end;
            if first || second {
                return scan.refuse(Content::Dashes);
            }
            // Eight letters come before the dash of `external-body`: it is the first one of its word.
            if is_external(reader, place.wrapping_add(dash), end) {
                return scan.refuse(Content::External);
            }
        }
        ahead += 8;
    }
    scan.at = at.wrapping_add(STEP);
    true
}

/// Whether the dash at `at` could be that of `external-body`, however it is written, as far as there is something before
/// it and behind it: a piece of a body begins and ends anywhere.
#[inline(always)]
fn is_external<R: Reader>(reader: &R, at: u32, end: u32) -> bool {
    if at.wrapping_add(5) <= end && cut(lower(reader.word(at)), 5) != text(b"-body") {
        return false;
    }
    at < end && (at < 8 || lower(reader.word(at.wrapping_sub(8))) == text(b"external"))
}
