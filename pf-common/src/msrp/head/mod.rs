//! The head of a frame: start line and headers, read in place.

mod parts;
#[cfg(test)]
mod tests;

pub use self::parts::{Ending, FailureReport, Fault, Method, Parsed, Start};
use super::{ByteRange, DASHES, Flag, HEAD_MAX, Ident, scan};

/// A head. Slices point into the input; positions count from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The transaction id.
    pub transaction: Ident,
    /// Request or response.
    pub start: Start<'a>,
    /// Length of the start line with its CRLF.
    pub start_line: usize,
    /// Value of To-Path; empty if it is missing.
    pub to_path: &'a [u8],
    /// Value of From-Path; empty if it is missing.
    pub from_path: &'a [u8],
    /// Position after From-Path's CRLF: from here to `len` the head is forwarded octet for octet.
    pub fields: usize,
    /// Length of the head: blank line included, end-line excluded.
    pub len: usize,
    /// What stands at `len`.
    pub ending: Ending,
    /// Message-ID.
    pub message_id: Option<&'a [u8]>,
    /// Byte-Range.
    pub byte_range: Option<ByteRange>,
    /// Where Byte-Range's line stands (with CRLF), for a chunk that has to be split.
    pub byte_range_line: (usize, usize),
    /// Failure-Report.
    pub failure_report: FailureReport,
    /// Content-Type.
    pub content_type: Option<&'a [u8]>,
    /// Status (of a REPORT).
    pub status: Option<&'a [u8]>,
    /// The first thing wrong with it.
    pub fault: Option<Fault>,
}

impl<'a> Head<'a> {
    /// The leftmost URI of From-Path: where a response to a SEND goes (RFC 4975 section 7.2).
    pub fn sender(&self) -> &'a [u8] {
        leftmost(self.from_path)
    }

    /// Reads the head at the start of `input`.
    pub fn parse(input: &'a [u8]) -> Parsed<'a> {
        let bounded = input.get(..HEAD_MAX).unwrap_or(input);
        match read(bounded) {
            Parsed::Incomplete if bounded.len() == HEAD_MAX => {
                let id = bounded.get(5..).unwrap_or(&[]).split(|o| *o == b' ').next();
                Parsed::TooLong(id.and_then(Ident::parse))
            }
            parsed => parsed,
        }
    }
}

/// The first URI of a path.
pub fn leftmost(path: &[u8]) -> &[u8] {
    path.split(|o| *o == b' ').next().unwrap_or(&[])
}

const START: &[u8] = b"MSRP ";

fn read(input: &[u8]) -> Parsed<'_> {
    if !input.starts_with(START) {
        return if START.starts_with(input) { Parsed::Incomplete } else { Parsed::NotMsrp };
    }
    let (line, next) = match line(input, 0) {
        Line::Whole { end, next } => (input.get(START.len()..end).unwrap_or(&[]), next),
        Line::Open => return Parsed::Incomplete,
        Line::Control { .. } => return Parsed::NotMsrp,
    };
    let space = line.iter().position(|o| *o == b' ').unwrap_or(line.len());
    let id = line.get(..space).and_then(Ident::parse);
    let (Some(transaction), Some(status)) = (id, line.get(space + 1..)) else { return Parsed::NotMsrp };
    let mut head = Head {
        transaction,
        start: start(status),
        start_line: next,
        to_path: &[],
        from_path: &[],
        fields: next,
        len: next,
        ending: Ending::Body,
        message_id: None,
        byte_range: None,
        byte_range_line: (0, 0),
        failure_report: FailureReport::Yes,
        content_type: None,
        status: None,
        fault: None,
    };
    match headers(input, &mut head) {
        Some(()) => Parsed::Head(head),
        None => Parsed::Incomplete,
    }
}

fn start(status: &[u8]) -> Start<'_> {
    match status {
        b"SEND" => Start::Request(Method::Send),
        b"REPORT" => Start::Request(Method::Report),
        _ => code(status).map_or(Start::Request(Method::Other), |code| Start::Response { code, status }),
    }
}

/// Three digits, then nothing or a space and a comment.
fn code(status: &[u8]) -> Option<u16> {
    let (digits, rest) = status.split_at_checked(3)?;
    let apart = rest.is_empty() || rest.starts_with(b" ");
    let digits = digits.iter().all(u8::is_ascii_digit).then_some(digits)?;
    apart.then(|| digits.iter().fold(0, |n, o| n * 10 + u16::from(*o - b'0')))
}

/// Reads header lines up to the blank line or end-line; nothing if the input ends before.
fn headers<'a>(input: &'a [u8], head: &mut Head<'a>) -> Option<()> {
    let mut at = head.start_line;
    let mut seen = Seen::default();
    let mut index = 0_usize;
    loop {
        let rest = input.get(at..)?;
        if rest.starts_with(b"\r\n") {
            (head.len, head.ending) = (at + 2, Ending::Body);
            break;
        }
        if rest.starts_with(DASHES) {
            match end_line(rest, head.transaction.as_bytes()) {
                EndLine::Yes { flag, len } => {
                    (head.len, head.ending) = (at, Ending::EndLine { flag, end: at + len });
                    break;
                }
                EndLine::Undecided => return None,
                EndLine::No => {}
            }
        }
        let (end, next) = whole_line(input, at, head)?;
        let name_end = at + input.get(at..end)?.iter().position(|o| *o == b':').unwrap_or(end - at);
        let separated = input.get(name_end..end)?.starts_with(b": ");
        if name_end == at || !separated {
            // `Name:` with an empty value and no space is as faulty as no colon.
            head.fault = head.fault.or(Some(Fault::NoHeader));
        } else {
            let (name, value) = (input.get(at..name_end)?, input.get(name_end + 2..end)?);
            field(head, &mut seen, name, value, &Place { index, line: at, next });
        }
        index += 1;
        at = next;
    }
    if !(seen.to_path && seen.from_path) {
        head.fault = head.fault.or(Some(Fault::PathOrder));
    }
    Some(())
}

/// One header line from `at`: its end and the next line's start. Control octets inside become a fault.
fn whole_line(input: &[u8], at: usize, head: &mut Head<'_>) -> Option<(usize, usize)> {
    let mut from = at;
    loop {
        match line(input, from) {
            Line::Whole { end, next } => return Some((end, next)),
            Line::Open => return None,
            Line::Control { at } => {
                head.fault = head.fault.or(Some(Fault::ControlOctet));
                from = at + 1;
            }
        }
    }
}

enum Line {
    /// A control octet other than HTAB and CRLF.
    Control { at: usize },
    /// The input ends first.
    Open,
    /// The line ends at `end`; the next begins at `next`.
    Whole { end: usize, next: usize },
}

fn line(input: &[u8], from: usize) -> Line {
    let mut at = from;
    loop {
        at = scan::control(input, at);
        match (input.get(at), input.get(at + 1)) {
            (None, _) | (Some(b'\r'), None) => return Line::Open,
            (Some(b'\r'), Some(b'\n')) => return Line::Whole { end: at, next: at + 2 },
            (Some(b'\t'), _) => at += 1,
            _ => return Line::Control { at },
        }
    }
}

enum EndLine {
    No,
    Undecided,
    Yes { flag: Flag, len: usize },
}

fn end_line(rest: &[u8], transaction: &[u8]) -> EndLine {
    let id = DASHES.len()..DASHES.len() + transaction.len();
    let Some(found) = rest.get(id.clone()) else {
        let begun = rest.get(DASHES.len()..).unwrap_or(&[]);
        return if transaction.starts_with(begun) { EndLine::Undecided } else { EndLine::No };
    };
    if found != transaction {
        return EndLine::No;
    }
    match rest.get(id.end..).unwrap_or(&[]) {
        [] | [_] | [_, b'\r'] => EndLine::Undecided,
        [flag, b'\r', b'\n', ..] => {
            Flag::from_octet(*flag).map_or(EndLine::No, |flag| EndLine::Yes { flag, len: id.end + 3 })
        }
        _ => EndLine::No,
    }
}

/// Where a header line stands.
struct Place {
    /// Number of the header in the head.
    index: usize,
    /// Start of its line.
    line: usize,
    /// Start of the next line.
    next: usize,
}

/// Headers that have no "absent" value of their own in [`Head`].
#[derive(Default)]
struct Seen {
    to_path: bool,
    from_path: bool,
    failure_report: bool,
    success_report: bool,
}

fn field<'a>(head: &mut Head<'a>, seen: &mut Seen, name: &[u8], value: &'a [u8], place: &Place) {
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    let mut fault = None;
    match name.len() {
        6 if is(b"Status") => once(&mut head.status, value, &mut fault),
        7 if is(b"To-Path") => {
            fault = path(&mut head.to_path, &mut seen.to_path, value, place.index == 0);
        }
        9 if is(b"From-Path") => {
            fault = path(&mut head.from_path, &mut seen.from_path, value, place.index == 1);
            if fault.is_none() {
                head.fields = place.next;
            }
        }
        10 if is(b"Message-ID") => once(&mut head.message_id, value, &mut fault),
        10 if is(b"Byte-Range") => {
            if head.byte_range_line != (0, 0) {
                fault = Some(Fault::Duplicate);
            }
            head.byte_range_line = (place.line, place.next);
            head.byte_range = ByteRange::parse(value);
            if head.byte_range.is_none() {
                fault = fault.or(Some(Fault::BadValue));
            }
        }
        12 if is(b"Content-Type") => once(&mut head.content_type, value, &mut fault),
        14 if is(b"Failure-Report") => {
            fault = core::mem::replace(&mut seen.failure_report, true).then_some(Fault::Duplicate);
            match value {
                _ if value.eq_ignore_ascii_case(b"yes") => head.failure_report = FailureReport::Yes,
                _ if value.eq_ignore_ascii_case(b"no") => head.failure_report = FailureReport::No,
                _ if value.eq_ignore_ascii_case(b"partial") => head.failure_report = FailureReport::Partial,
                _ => fault = fault.or(Some(Fault::BadValue)),
            }
        }
        14 if is(b"Success-Report") => {
            fault = core::mem::replace(&mut seen.success_report, true).then_some(Fault::Duplicate);
            if !value.eq_ignore_ascii_case(b"yes") && !value.eq_ignore_ascii_case(b"no") {
                fault = fault.or(Some(Fault::BadValue));
            }
        }
        _ => {}
    }
    head.fault = head.fault.or(fault);
}

fn once<'a>(slot: &mut Option<&'a [u8]>, value: &'a [u8], fault: &mut Option<Fault>) {
    match slot {
        Some(_) => *fault = Some(Fault::Duplicate),
        None => *slot = Some(value),
    }
}

fn path<'a>(slot: &mut &'a [u8], seen: &mut bool, value: &'a [u8], in_place: bool) -> Option<Fault> {
    if core::mem::replace(seen, true) {
        return Some(Fault::Duplicate);
    }
    *slot = value;
    (!in_place).then_some(Fault::PathOrder)
}
