//! Responses: one, or several of the same length in a row, as a receiver writes them that found several requests.

use super::{
    AROUND_TID, Content, DONE, Reader, Scan, Start, Step, TID_AT, end_line,
    word::{cut, text},
};
use crate::{
    maps::BLOCK_MAX,
    msrp::{IDENT_MAX, ident::is_ident_char},
};

/// Flag and CRLF.
const TAIL: u32 = 3;

/// Words between the two transaction ids of the longest response.
const WORDS: u32 = (BLOCK_MAX as u32 + 32) / 8;

/// Reads a response behind its path block.
#[inline(always)]
pub fn response<R: Reader>(reader: &R, start: &Start, fields: u32, len: u32) -> Result<(), Content> {
    if end_line(reader, fields, start.tid_len, len) { Ok(()) } else { Err(Content::End) }
}

/// Reads one or more responses that differ in nothing but their transaction ids: how many.
#[inline(always)]
pub fn responses<R: Reader>(
    reader: &R,
    start: &Start,
    fields: u32,
    len: u32,
    scan: &mut Scan,
) -> Result<u32, Content> {
    let one = fields.wrapping_add(AROUND_TID).wrapping_add(start.tid_len);
    response(reader, start, fields, one)?;
    if one == len {
        return Ok(1);
    }
    *scan = Scan { at: one, end: len, line: start.tid_len, length: one, seen: 1, ..Scan::default() };
    reader.repeat(Step::Again, scan);
    if scan.state == DONE { Ok(scan.seen) } else { Err(Content::End) }
}

/// One more: `scan.length` octets, `scan.line` of them the transaction id.
#[inline(always)]
pub(super) fn again<R: Reader>(reader: &R, scan: &mut Scan) -> bool {
    let (at, one, tid_len) = (scan.at, scan.length, scan.line);
    if at == scan.end {
        return scan.done();
    }
    let behind = at.wrapping_add(one);
    if behind > scan.end {
        return scan.refuse(Content::End);
    }
    let differs = |from: u32, count: u32| {
        count != 0 && cut(reader.word(at.wrapping_add(from)) ^ reader.word(from), count) != 0
    };
    // In front of the id, between it and its repetition, behind that.
    let (mut from, stop) = (TID_AT.wrapping_add(tid_len), one.wrapping_sub(TAIL).wrapping_sub(tid_len));
    let mut same = cut(reader.word(at), TID_AT) == text(b"MSRP ");
    let mut words = 0;
    while words < WORDS {
        if from < stop && differs(from, stop - from) {
            same = false;
            break;
        }
        from = from.wrapping_add(8);
        words += 1;
    }
    same &= from >= stop && !differs(one.wrapping_sub(TAIL), TAIL);
    let first = at.wrapping_add(TID_AT);
    let second = at.wrapping_add(stop);
    let mut n = 0;
    while n < IDENT_MAX as u32 {
        if n < tid_len {
            let octet = reader.octet(first.wrapping_add(n));
            let good = if n == 0 { octet.is_ascii_alphanumeric() } else { is_ident_char(octet) };
            same &= good && octet == reader.octet(second.wrapping_add(n));
        }
        n += 1;
    }
    if !same {
        return scan.refuse(Content::End);
    }
    scan.at = behind;
    scan.seen = scan.seen.wrapping_add(1);
    true
}
