//! MSRP framing of the bench's own ends (RFC 4975 section 9), kept apart from the product's on purpose: a fault there
//! must not hide here.

use std::fmt;

use memchr::{memchr, memmem};

/// Longest start line and header block that the bench accepts, in octets.
const HEAD_LIMIT: usize = 16 * 1024;

/// One whole frame in a receive buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// Transaction id.
    pub(crate) tid: &'a [u8],
    /// Request or response.
    pub(crate) kind: Kind<'a>,
    /// Value of To-Path.
    pub(crate) to_path: &'a [u8],
    /// Value of From-Path.
    pub(crate) from_path: &'a [u8],
    /// Value of Message-ID, empty if absent.
    pub(crate) message_id: &'a [u8],
    /// Value of Use-Path (RFC 4976), empty if absent.
    pub(crate) use_path: &'a [u8],
    /// First octet of the chunk, counted from 1; 1 without Byte-Range.
    pub(crate) start: u64,
    /// Total of Byte-Range, if it says one.
    pub(crate) total: Option<u64>,
    /// Body, `None` if the frame has none.
    pub(crate) body: Option<&'a [u8]>,
    /// Continuation flag: `$`, `+` or `#`.
    pub(crate) flag: u8,
    /// Octets of the frame.
    pub(crate) octets: usize,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// Request with this method.
    Request(&'a [u8]),
    /// Response with this status.
    Response(u16),
}

/// A frame that is not MSRP.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not MSRP: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// The frame at the start of `buffer`; `None` while octets of it are missing.
pub(crate) fn parse(buffer: &[u8]) -> Result<Option<Frame<'_>>, Malformed> {
    let Some(mut line) = Line::next(buffer, 0)? else { return Ok(None) };
    let rest = line.text.strip_prefix(b"MSRP ").ok_or(Malformed("start line"))?;
    let space = memchr(b' ', rest).ok_or(Malformed("start line without method"))?;
    let (tid, what) = (&rest[..space], &rest[space + 1..]);
    if !(4..=32).contains(&tid.len()) {
        return Err(Malformed("transaction id"));
    }
    let kind = if what.len() >= 3 && what[..3].iter().all(u8::is_ascii_digit) {
        Kind::Response(what[..3].iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0')))
    } else {
        Kind::Request(what)
    };
    let mut frame = Frame {
        tid,
        kind,
        to_path: b"",
        from_path: b"",
        message_id: b"",
        use_path: b"",
        start: 1,
        total: None,
        body: None,
        flag: b'$',
        octets: 0,
    };
    let mut range_end = None;
    loop {
        let Some(next) = Line::next(buffer, line.end)? else { return Ok(None) };
        line = next;
        if line.text.is_empty() {
            break;
        }
        if let Some(flag) = end_line(line.text, tid) {
            frame.flag = flag;
            frame.octets = line.end;
            return Ok(Some(frame));
        }
        let colon = memchr(b':', line.text).ok_or(Malformed("header without colon"))?;
        let value = line.text[colon + 1..].strip_prefix(b" ").unwrap_or(&line.text[colon + 1..]);
        match &line.text[..colon] {
            b"To-Path" => frame.to_path = value,
            b"From-Path" => frame.from_path = value,
            b"Message-ID" => frame.message_id = value,
            b"Use-Path" => frame.use_path = value,
            b"Byte-Range" => {
                (frame.start, range_end, frame.total) = byte_range(value).ok_or(Malformed("Byte-Range"))?;
            }
            _ => {}
        }
    }
    body(buffer, line.end, range_end, frame)
}

/// Adds body and end-line to `frame`; the body begins at `begin`.
fn body<'a>(
    buffer: &'a [u8],
    begin: usize,
    range_end: Option<u64>,
    mut frame: Frame<'a>,
) -> Result<Option<Frame<'a>>, Malformed> {
    let tail = frame.tid.len() + 12; // CRLF, seven dashes, flag, CRLF around the transaction id
    let announced = range_end.and_then(|end| usize::try_from((end + 1).checked_sub(frame.start)?).ok());
    if let Some(end) = announced.and_then(|length| begin.checked_add(length)) {
        if buffer.len() < end.saturating_add(tail) {
            return Ok(None);
        }
        if let Some(flag) = closing(&buffer[end..end + tail], frame.tid) {
            frame.body = Some(&buffer[begin..end]);
            frame.flag = flag;
            frame.octets = end + tail;
            return Ok(Some(frame));
        }
    }
    // No length, or another one than announced: an interrupted chunk. Look for the end-line.
    for dashes in memmem::find_iter(&buffer[begin..], b"\r\n-------") {
        let end = begin + dashes;
        if buffer.len() < end + tail {
            return Ok(None);
        }
        if let Some(flag) = closing(&buffer[end..end + tail], frame.tid) {
            frame.body = Some(&buffer[begin..end]);
            frame.flag = flag;
            frame.octets = end + tail;
            return Ok(Some(frame));
        }
    }
    Ok(None)
}

/// Flag of `text` if it is CRLF, the end-line of `tid` and CRLF.
fn closing(text: &[u8], tid: &[u8]) -> Option<u8> {
    end_line(text.strip_prefix(b"\r\n")?.strip_suffix(b"\r\n")?, tid)
}

/// Flag of `line` if it is the end-line of `tid`.
fn end_line(line: &[u8], tid: &[u8]) -> Option<u8> {
    match line.strip_prefix(b"-------")?.strip_prefix(tid)? {
        [flag @ (b'$' | b'+' | b'#')] => Some(*flag),
        _ => None,
    }
}

/// `start-end/total`, where end and total may be `*`.
fn byte_range(value: &[u8]) -> Option<(u64, Option<u64>, Option<u64>)> {
    let text = std::str::from_utf8(value).ok()?;
    let (range, total) = text.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let number = |text: &str| if text == "*" { Some(None) } else { text.parse().ok().map(Some) };
    Some((start.parse().ok()?, number(end)?, number(total)?))
}

/// One line of the head.
struct Line<'a> {
    text: &'a [u8],
    end: usize,
}

impl<'a> Line<'a> {
    fn next(buffer: &'a [u8], from: usize) -> Result<Option<Line<'a>>, Malformed> {
        let Some(length) = memchr(b'\n', &buffer[from..]) else {
            return if buffer.len() > HEAD_LIMIT { Err(Malformed("head too long")) } else { Ok(None) };
        };
        let text = buffer[from..from + length].strip_suffix(b"\r").ok_or(Malformed("line without CR"))?;
        Ok(Some(Line { text, end: from + length + 1 }))
    }
}

/// Appends the `200 OK` to `frame`, as the end `own` sends it (RFC 4975 section 7.2).
pub(crate) fn write_ok(out: &mut Vec<u8>, frame: &Frame<'_>, own: &[u8]) {
    let back = &frame.from_path[..memchr(b' ', frame.from_path).unwrap_or(frame.from_path.len())];
    for part in [
        b"MSRP " as &[u8],
        frame.tid,
        b" 200 OK\r\nTo-Path: ",
        back,
        b"\r\nFrom-Path: ",
        own,
        b"\r\n-------",
        frame.tid,
        b"$\r\n",
    ] {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEND: &[u8] = b"MSRP abcd1234 SEND\r\nTo-Path: msrp://a:1/x;tcp\r\nFrom-Path: msrp://b:2/y;tcp\r\n\
        Message-ID: m1\r\nByte-Range: 1-5/5\r\nContent-Type: text/plain\r\n\r\nhello\r\n-------abcd1234$\r\n";

    #[test]
    fn takes_a_frame_only_when_all_of_it_is_there() {
        for cut in 0..SEND.len() {
            assert_eq!(parse(&SEND[..cut]), Ok(None), "cut at {cut}");
        }
        let frame = parse(SEND).unwrap().unwrap();
        assert_eq!((frame.body, frame.flag, frame.octets), (Some(&b"hello"[..]), b'$', SEND.len()));
        assert_eq!((frame.message_id, frame.start, frame.total), (&b"m1"[..], 1, Some(5)));
    }

    #[test]
    fn finds_the_end_line_where_the_range_end_is_open_or_wrong() {
        for range in ["1-*/5", "1-9/9", "1-5/5", "1-2/5"] {
            let text = String::from_utf8(SEND.to_vec()).unwrap().replace("1-5/5", range);
            let text = text + "MSRP next"; // the range end may point past this frame
            let frame = parse(text.as_bytes()).unwrap();
            if range != "1-9/9" {
                assert_eq!(frame.unwrap().body, Some(&b"hello"[..]), "{range}");
            }
        }
    }

    #[test]
    fn refuses_what_is_not_msrp() {
        assert!(parse(b"SIP/2.0 200 OK\r\n").is_err());
        assert!(parse(b"MSRP abcd1234 SEND\n").is_err());
        assert!(parse(&[b'x'; HEAD_LIMIT + 1]).is_err());
    }

    #[test]
    fn answers_to_the_nearest_hop() {
        let text = String::from_utf8(SEND.to_vec())
            .unwrap()
            .replace("msrp://b:2/y;tcp", "msrp://r:3/z;tcp msrp://b:2/y;tcp");
        let mut out = Vec::new();
        write_ok(&mut out, &parse(text.as_bytes()).unwrap().unwrap(), b"msrp://a:1/x;tcp");
        let answer = parse(&out).unwrap().unwrap();
        assert_eq!((answer.kind, answer.to_path), (Kind::Response(200), &b"msrp://r:3/z;tcp"[..]));
    }
}
