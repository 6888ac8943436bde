//! Header lines of a SEND.

use super::{
    Content, DONE, REFUSED, Reader, Scan,
    word::{control, cut, find, lower, text},
};

const MESSAGE_ID: u32 = 1;
const RANGE: u32 = 2;
const TYPE: u32 = 4;
const FAILURE_REPORT: u32 = 8;
const SUCCESS_REPORT: u32 = 16;

/// Looks at eight octets: for the first colon of the line and for its end.
#[inline(always)]
pub(super) fn step<R: Reader>(reader: &R, scan: &mut Scan) -> bool {
    let at = scan.at;
    if at >= scan.end {
        return scan.refuse(Content::NoBody);
    }
    let word = reader.word(at);
    let (stop, colon) = (control(word), find(word, b':'));
    if scan.colon == 0 && colon < stop {
        scan.colon = at.wrapping_add(colon);
    }
    if stop == 8 {
        scan.at = at.wrapping_add(8);
        return true;
    }
    let end = at.wrapping_add(stop);
    if end.wrapping_add(1) >= scan.end {
        return scan.refuse(Content::NoBody);
    }
    if cut(reader.word(end), 2) != text(b"\r\n") {
        return scan.refuse(Content::Header);
    }
    let next = end.wrapping_add(2);
    if end == scan.line {
        scan.at = next;
        return scan.done();
    }
    if let Err(why) = field(reader, scan, end) {
        return scan.refuse(why);
    }
    scan.at = next;
    scan.line = next;
    scan.colon = 0;
    true
}

/// What the scan of the lines came to.
#[inline(always)]
pub(super) fn verdict(scan: &Scan) -> Result<(), Content> {
    if scan.state != DONE {
        // Constants, so that nobody has to turn a number into an enum.
        return Err(match scan.state.wrapping_sub(REFUSED) {
            n if n == Content::Header as u32 => Content::Header,
            n if n == Content::Range as u32 => Content::Range,
            n if n == Content::Report as u32 => Content::Report,
            n if n == Content::Type as u32 => Content::Type,
            n if n == Content::External as u32 => Content::External,
            _ => Content::NoBody,
        });
    }
    if scan.seen & RANGE == 0 {
        return Err(Content::Range);
    }
    if scan.seen & TYPE == 0 {
        return Err(Content::Type);
    }
    Ok(())
}

/// One header, from `scan.line` to `end`.
#[inline(always)]
fn field<R: Reader>(reader: &R, scan: &mut Scan, end: u32) -> Result<(), Content> {
    let (line, colon) = (scan.line, scan.colon);
    let length = colon.wrapping_sub(line);
    if colon == 0 || length == 0 || reader.octet(colon.wrapping_add(1)) != b' ' {
        return Err(Content::Header);
    }
    let value = colon.wrapping_add(2);
    let name = lower(reader.word(line));
    let more = cut(lower(reader.word(line.wrapping_add(8))), length.wrapping_sub(8));
    let flag = match length {
        // Of a REPORT.
        6 if cut(name, 6) == text(b"status") => return Err(Content::Header),
        // They stand in the block already.
        7 if cut(name, 7) == text(b"to-path") => return Err(Content::Header),
        9 if name == text(b"from-pat") && more == text(b"h") => return Err(Content::Header),
        10 if name == text(b"message-") && more == text(b"id") => MESSAGE_ID,
        10 if name == text(b"byte-ran") && more == text(b"ge") => {
            scan.length = range(reader, value, end).ok_or(Content::Range)?;
            RANGE
        }
        12 if name == text(b"content-") && more == text(b"type") => {
            content_type(reader, value, end, scan.any_type != 0)?;
            TYPE
        }
        14 if name == text(b"failure-") && more == text(b"report") => {
            if !is(reader, value, end, b"yes") {
                return Err(Content::Report);
            }
            FAILURE_REPORT
        }
        14 if name == text(b"success-") && more == text(b"report") => {
            if !is(reader, value, end, b"yes") && !is(reader, value, end, b"no") {
                return Err(Content::Report);
            }
            SUCCESS_REPORT
        }
        _ => 0,
    };
    if scan.seen & flag != 0 {
        return Err(Content::Header);
    }
    scan.seen |= flag;
    Ok(())
}

/// Whether the value is this word of at most 8 small letters, however it is written.
#[inline(always)]
fn is<R: Reader>(reader: &R, value: u32, end: u32, wanted: &[u8]) -> bool {
    let length = wanted.len() as u32;
    end.wrapping_sub(value) == length && cut(lower(reader.word(value)), length) == text(wanted)
}

#[inline(always)]
fn content_type<R: Reader>(reader: &R, value: u32, end: u32, any: bool) -> Result<(), Content> {
    let (first, second) = (lower(reader.word(value)), lower(reader.word(value.wrapping_add(8))));
    let is_message = first == text(b"message/");
    let good = if any {
        end > value && reader.octet(value).is_ascii_alphanumeric()
    } else {
        end.wrapping_sub(value) == 12 && is_message && cut(second, 4) == text(b"cpim")
    };
    if is_message && second == text(b"external") {
        return Err(Content::External);
    }
    if good { Ok(()) } else { Err(Content::Type) }
}

/// N of `1-N/N`, or of `1-*/N` from a sender that might have interrupted the chunk and has not; not 0.
#[inline(always)]
fn range<R: Reader>(reader: &R, value: u32, end: u32) -> Option<u32> {
    if cut(reader.word(value), 2) != text(b"1-") {
        return None;
    }
    let open = reader.octet(value.wrapping_add(2)) == b'*';
    let (last, digits) = if open { (1, 1) } else { number(reader.word(value.wrapping_add(2))) };
    let slash = value.wrapping_add(2).wrapping_add(digits);
    if digits == 0 || last == 0 || reader.octet(slash) != b'/' {
        return None;
    }
    let (total, more) = number(reader.word(slash.wrapping_add(1)));
    let whole = slash.wrapping_add(1).wrapping_add(more) == end;
    (more != 0 && whole && total != 0 && (open || total == last)).then_some(total)
}

/// A number of up to five digits at the start of a word, and how many they are.
#[inline(always)]
fn number(word: u64) -> (u32, u32) {
    let (mut value, mut digits, mut on) = (0, 0, true);
    let mut at = 0;
    while at < 5 {
        let octet = (word >> (8 * at)) as u8;
        on &= octet.is_ascii_digit();
        if on {
            value = value * 10 + (octet & 15) as u32;
            digits += 1;
        }
        at += 1;
    }
    (value, digits)
}
