//! Bodies of SIP messages: the session description and what travels beside it (RFC 2046 section 5.1, RFC 5621).

use bytes::Bytes;

use crate::core::sip::fields::{parse_params, unquote};

/// The most parts of a multipart body.
const MAX_PARTS: usize = 16;
/// The longest header section of one part, in octets.
const MAX_PART_HEADERS: usize = 8 * 1024;
/// The longest boundary (RFC 2046 section 5.1.1).
const MAX_BOUNDARY: usize = 70;

/// A body taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// The session description, if there is one.
    pub sdp: Option<Bytes>,
    /// Everything else, in order: recipient lists and the like. Octets as received.
    pub others: Vec<Part>,
}

/// One part of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its MIME header fields in order; values unfolded and trimmed.
    pub headers: Vec<(String, String)>,
    /// Its octets.
    pub body: Bytes,
}

/// A body could not be taken apart. Answer `400` (`415` for [`BodyError::Encoded`] and [`BodyError::Untyped`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// A multipart without `boundary`, or with one that RFC 2046 does not allow.
    #[error("multipart without a valid boundary")]
    Boundary,
    /// The session description has a Content-Transfer-Encoding, which SIP does not need.
    #[error("the session description is transfer-encoded")]
    Encoded,
    /// A part's header section is malformed or too long.
    #[error("malformed header of a body part")]
    PartHeader,
    /// More parts than are read.
    #[error("more than {MAX_PARTS} body parts")]
    TooManyParts,
    /// The multipart does not end with its closing delimiter.
    #[error("multipart not closed")]
    Unclosed,
    /// A body without Content-Type.
    #[error("body without Content-Type")]
    Untyped,
}

impl Part {
    /// The value of a header field of the part.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// Its media type in lower case, without parameters; `text/plain` where it says none (RFC 2045 section 5.2).
    pub fn media_type(&self) -> String {
        media_type(self.header("Content-Type").unwrap_or("text/plain"))
    }
}

/// Finds the session description in a body, alone or in a multipart, and keeps the rest.
/// Only the outermost multipart is taken apart; a nested one is a part like any other.
///
/// # Errors
/// [`BodyError`] for a malformed multipart or a body without type.
pub fn split_body(content_type: Option<&str>, body: &Bytes) -> Result<Body, BodyError> {
    if body.is_empty() {
        return Ok(Body::default());
    }
    let content_type = content_type.ok_or(BodyError::Untyped)?;
    let kind = media_type(content_type);
    if kind == "application/sdp" {
        return Ok(Body { sdp: Some(body.clone()), others: Vec::new() });
    }
    if !kind.starts_with("multipart/") {
        let headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
        return Ok(Body { sdp: None, others: vec![Part { headers, body: body.clone() }] });
    }
    let mut found = Body::default();
    for part in parts(boundary(content_type)?, body)? {
        if found.sdp.is_none() && is_session(&part) {
            let encoding = part.header("Content-Transfer-Encoding").unwrap_or("binary");
            if !["binary", "8bit", "7bit"].iter().any(|e| e.eq_ignore_ascii_case(encoding)) {
                return Err(BodyError::Encoded);
            }
            found.sdp = Some(part.body);
        } else {
            found.others.push(part);
        }
    }
    Ok(found)
}

/// Puts a session description and other parts into one body: value of Content-Type, and octets.
/// Without other parts it is the description alone; an empty `sdp` gives no part. `boundary` is lengthened
/// where the octets of a part contain it.
pub fn join_body(sdp: &Bytes, parts: &[Part], boundary: &str) -> (String, Bytes) {
    if parts.is_empty() {
        return ("application/sdp".to_owned(), sdp.clone());
    }
    if let ([part], true) = (parts, sdp.is_empty()) {
        return (part.header("Content-Type").unwrap_or("text/plain").to_owned(), part.body.clone());
    }
    let description =
        Part { headers: vec![("Content-Type".to_owned(), "application/sdp".to_owned())], body: sdp.clone() };
    let all = (!sdp.is_empty()).then_some(&description).into_iter().chain(parts);
    let mut boundary = boundary.to_owned();
    while all.clone().any(|part| memchr::memmem::find(&part.body, boundary.as_bytes()).is_some()) {
        boundary.push('0');
    }
    let mut out = Vec::with_capacity(sdp.len() + parts.iter().map(|p| p.body.len() + 256).sum::<usize>());
    for part in all {
        out.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        for (name, value) in &part.headers {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&part.body);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (format!("multipart/mixed;boundary=\"{boundary}\""), out.into())
}

fn is_session(part: &Part) -> bool {
    let disposition = part.header("Content-Disposition").unwrap_or("session");
    let disposition = disposition.split(';').next().unwrap_or_default().trim();
    part.header("Content-Type").is_some()
        && part.media_type() == "application/sdp"
        && disposition.eq_ignore_ascii_case("session")
}

fn media_type(content_type: &str) -> String {
    let kind = content_type.split(';').next().unwrap_or_default();
    kind.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase()
}

fn boundary(content_type: &str) -> Result<String, BodyError> {
    let (_, params) = content_type.split_once(';').ok_or(BodyError::Boundary)?;
    let found = parse_params(params).into_iter().find(|(name, _)| name.eq_ignore_ascii_case("boundary"));
    let boundary = found.and_then(|(_, value)| value).map(|v| unquote(&v).to_owned()).unwrap_or_default();
    let allowed = |o: u8| o.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&o);
    if boundary.is_empty()
        || boundary.len() > MAX_BOUNDARY
        || boundary.ends_with(' ')
        || !boundary.bytes().all(allowed)
    {
        return Err(BodyError::Boundary);
    }
    Ok(boundary)
}

/// A delimiter line: where it begins (with the line end before it), where it ends, and whether it is the last.
struct Delimiter {
    start: usize,
    end: usize,
    last: bool,
}

fn parts(boundary: String, body: &Bytes) -> Result<Vec<Part>, BodyError> {
    let mark = format!("--{boundary}");
    let mut found = Vec::new();
    let mut open = next_delimiter(body, &mark, 0).ok_or(BodyError::Unclosed)?;
    while !open.last {
        let close = next_delimiter(body, &mark, open.end).ok_or(BodyError::Unclosed)?;
        if found.len() == MAX_PARTS {
            return Err(BodyError::TooManyParts);
        }
        found.push(part(body.slice(open.end..close.start.max(open.end)))?);
        open = close;
    }
    Ok(found)
}

fn next_delimiter(body: &[u8], mark: &str, from: usize) -> Option<Delimiter> {
    let mut at = from;
    loop {
        let begin = at + memchr::memmem::find(&body[at..], mark.as_bytes())?;
        let after = begin + mark.len();
        at = begin + 1;
        if begin > from && body[begin - 1] != b'\n' {
            continue;
        }
        let last = body[after..].starts_with(b"--");
        let mut rest = after + if last { 2 } else { 0 };
        while matches!(body.get(rest), Some(b' ' | b'\t')) {
            rest += 1;
        }
        let end = match &body[rest..] {
            [b'\r', b'\n', ..] => rest + 2,
            [b'\n', ..] => rest + 1,
            [] if last => rest,
            _ => continue,
        };
        // The line end before a delimiter belongs to it.
        let start = match &body[from..begin] {
            [.., b'\r', b'\n'] => begin - 2,
            [.., b'\n'] => begin - 1,
            _ => begin,
        };
        return Some(Delimiter { start, end, last });
    }
}

fn part(octets: Bytes) -> Result<Part, BodyError> {
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut at = 0;
    loop {
        if at > MAX_PART_HEADERS {
            return Err(BodyError::PartHeader);
        }
        let end = match memchr::memchr(b'\n', &octets[at..]) {
            Some(offset) => at + offset + 1,
            // The header section may be all there is.
            None => octets.len(),
        };
        let line = std::str::from_utf8(&octets[at..end]).map_err(|_| BodyError::PartHeader)?;
        let line = line.strip_suffix('\n').unwrap_or(line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        at = end;
        if line.is_empty() {
            return Ok(Part { headers, body: octets.slice(at..) });
        }
        if line.contains(['\r', '\0']) {
            return Err(BodyError::PartHeader);
        }
        if line.starts_with([' ', '\t']) {
            let (_, value) = headers.last_mut().ok_or(BodyError::PartHeader)?;
            value.push(' ');
            value.push_str(line.trim());
        } else {
            let (name, value) = line.split_once(':').ok_or(BodyError::PartHeader)?;
            headers.push((name.trim_end().to_owned(), value.trim().to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIST: &[u8] = b"<?xml version=\"1.0\"?>\r\n--not-it\r\n\r\n<list/>\xff\x00\n";

    fn group_body() -> (String, Bytes, Part) {
        let headers = vec![
            ("Content-Type".to_owned(), "application/resource-lists+xml;charset=\"utf-8\"".to_owned()),
            ("content-disposition".to_owned(), "recipient-list".to_owned()),
        ];
        let list = Part { headers, body: Bytes::from_static(LIST) };
        let (content_type, body) =
            join_body(&Bytes::from_static(b"v=0\r\n"), std::slice::from_ref(&list), "b1");
        (content_type, body, list)
    }

    // Rows: INV-13, AMB-11
    #[test]
    fn the_list_beside_the_description_keeps_its_octets_and_headers() {
        let (content_type, body, list) = group_body();
        assert_eq!(content_type, "multipart/mixed;boundary=\"b1\"");
        let expected = [
            b"--b1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--b1\r\n".as_slice(),
            b"Content-Type: application/resource-lists+xml;charset=\"utf-8\"\r\n",
            b"content-disposition: recipient-list\r\n\r\n",
            LIST,
            b"\r\n--b1--\r\n",
        ];
        assert_eq!(body, expected.concat());
        let read = split_body(Some(&content_type), &body).unwrap();
        assert_eq!(read.sdp.as_deref(), Some(b"v=0\r\n".as_slice()));
        assert_eq!(read.others, [list]);
        assert_eq!(read.others[0].header("Content-Disposition"), Some("recipient-list"));
        assert_eq!(read.others[0].media_type(), "application/resource-lists+xml");
    }

    #[test]
    fn multiparts_are_read_as_others_write_them() {
        let body = Bytes::from_static(
            b"preamble --x\r\n--x \t\r\nContent-Type: text/plain\r\nContent-Description: a\r\n folded\r\n\r\nhi\r\n\
              --x\nContent-Type:application/SDP ; charset=utf-8\n\nv=0\n--x\r\n\r\nno headers\r\n\
              --x\r\n\r\n\r\n--x--  \r\nepilogue --x\r\n",
        );
        let read = split_body(Some("Multipart/Mixed; a=b; Boundary=x"), &body).unwrap();
        assert_eq!(read.sdp.as_deref(), Some(b"v=0".as_slice()));
        let bodies: Vec<&[u8]> = read.others.iter().map(|part| part.body.as_ref()).collect();
        assert_eq!(bodies, [b"hi".as_slice(), b"no headers", b""]);
        assert_eq!(read.others[0].header("content-description"), Some("a folded"));
        assert_eq!(read.others[1].media_type(), "text/plain");
    }

    #[test]
    fn single_bodies_and_none() {
        let sdp = Bytes::from_static(b"v=0\r\n");
        assert_eq!(split_body(Some("application/sdp"), &sdp).unwrap().sdp, Some(sdp.clone()));
        assert_eq!(split_body(None, &Bytes::new()), Ok(Body::default()));
        assert_eq!(split_body(None, &sdp), Err(BodyError::Untyped));
        let other = split_body(Some("text/x; a=b"), &sdp).unwrap();
        assert_eq!(other.others[0].header("Content-Type"), Some("text/x; a=b"));
        assert_eq!(join_body(&sdp, &[], "b"), ("application/sdp".to_owned(), sdp.clone()));
        assert_eq!(join_body(&Bytes::new(), &other.others, "b"), ("text/x; a=b".to_owned(), sdp));
    }

    #[test]
    fn broken_multiparts_say_what_is_wrong() {
        let split = |kind: &str, body: &'static [u8]| split_body(Some(kind), &Bytes::from_static(body));
        let mixed = "multipart/mixed;boundary=x";
        assert_eq!(split("multipart/mixed", b"--x--"), Err(BodyError::Boundary));
        assert_eq!(split("multipart/mixed;boundary=\"\"", b"--x--"), Err(BodyError::Boundary));
        assert_eq!(split("multipart/mixed;boundary=\"a\"\"\"", b"--x--"), Err(BodyError::Boundary));
        assert_eq!(split(mixed, b"hello"), Err(BodyError::Unclosed));
        assert_eq!(split(mixed, b"--x\r\n\r\nhello"), Err(BodyError::Unclosed));
        assert_eq!(split(mixed, b"--x\r\nno colon\r\n\r\n--x--"), Err(BodyError::PartHeader));
        assert_eq!(split(mixed, b"--x\r\n folded\r\n\r\n--x--"), Err(BodyError::PartHeader));
        let encoded =
            b"--x\r\nContent-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\ndj0w\r\n--x--";
        assert_eq!(split(mixed, encoded), Err(BodyError::Encoded));
        let many = format!("{}--x--", "--x\r\n\r\n\r\n".repeat(MAX_PARTS + 1));
        assert_eq!(split_body(Some(mixed), &many.into()), Err(BodyError::TooManyParts));
        let long = format!("--x\r\nA: {}\r\n\r\n\r\n--x--", "y".repeat(MAX_PART_HEADERS));
        assert_eq!(split_body(Some(mixed), &long.into()), Err(BodyError::PartHeader));
        assert_eq!(split(mixed, b"--x--").map(|b| b.others.len()), Ok(0));
    }

    fn part() -> impl Strategy<Value = Part> {
        let body = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            "(\r|\n|--b|--b--|x){0,12}".prop_map(String::into_bytes)
        ];
        ("text/[a-z]{1,8}", body).prop_map(|(kind, body)| Part {
            headers: vec![("Content-Type".to_owned(), kind)],
            body: body.into(),
        })
    }

    proptest! {
        // Rows: INV-13
        #[test]
        fn what_is_joined_comes_apart_the_same(parts in prop::collection::vec(part(), 1..5), sdp in "v=0(\r\n|--b){0,4}") {
            let sdp = Bytes::from(sdp);
            let (content_type, body) = join_body(&sdp, &parts, "b");
            prop_assert_eq!(split_body(Some(&content_type), &body), Ok(Body { sdp: Some(sdp), others: parts }));
        }

        #[test]
        fn any_octets_are_survived(
            body in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                "(\r\n|--x|-|:|A|\n){0,40}".prop_map(String::into_bytes)
            ],
            kind in "(multipart/mixed;boundary=x|\\PC{0,40})",
        ) {
            let _ = split_body(Some(&kind), &body.into());
        }
    }
}
