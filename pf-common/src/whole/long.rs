//! Messages of which only both ends are at hand at once: longer than a segment, in one packet that the interface will
//! cut (GSO). The body is looked at piece by piece.

use super::{AROUND_TID, Content, Reader, Scan, Start, body, cut, end_line, lines, text};

/// The longest message, in octets.
pub const LONG_MAX: u32 = 16_384;

/// How many octets from the beginning are at hand, from place 0 on: the head ends within.
pub const FRONT: u32 = 1024;

/// How many octets before the end are at hand: the longest end-line and the CRLF before it.
pub const TAIL: u32 = 48;

/// Where they begin.
pub const TAIL_AT: u32 = 1088;

/// Where they end.
pub const TAIL_END: u32 = TAIL_AT + TAIL;

/// Reads a SEND of `len` octets behind its path block, all but the body: that is from the first of these places to the
/// second.
#[inline(always)]
pub fn send_long<R: Reader>(
    reader: &R,
    start: &Start,
    fields: u32,
    any_type: bool,
    len: u32,
    scan: &mut Scan,
) -> Result<(u32, u32), Content> {
    let (body, length) = lines(reader, fields, FRONT, any_type, scan)?;
    let behind = body.wrapping_add(length);
    let around = start.tid_len.wrapping_add(AROUND_TID + 2);
    if behind.wrapping_add(around) != len || around > TAIL || !(FRONT..=LONG_MAX).contains(&len) {
        return Err(Content::End);
    }
    let at = TAIL_END - around;
    if cut(reader.word(at), 2) != text(b"\r\n") || !end_line(reader, at + 2, start.tid_len, TAIL_END) {
        return Err(Content::End);
    }
    Ok((body, behind))
}

/// Whether the part of the body that lies in the piece of the message from octet `at` on, `len` octets that are at
/// hand, holds nothing that is not for the programs. `at` is a multiple of 8, `len` at most [`WHOLE_MAX`](super::WHOLE_MAX).
#[inline(always)]
pub fn body_in_piece<R: Reader>(
    reader: &R,
    (body, behind): (u32, u32),
    at: u32,
    len: u32,
    scan: &mut Scan,
) -> Result<(), Content> {
    let from = body.saturating_sub(at);
    let to = behind.saturating_sub(at);
    let to = if to > len { len } else { to };
    if from >= to {
        return Ok(());
    }
    body::look(reader, from, to, scan)
}
