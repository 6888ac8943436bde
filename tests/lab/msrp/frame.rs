//! One MSRP frame: what stands on the wire between `MSRP` and its end-line.

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;

/// Continuation flag of an end-line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// `#`: the message is abandoned.
    Abort,
    /// `$`: the last octets of the message.
    End,
    /// `+`: more chunks follow.
    More,
}

impl Flag {
    /// As it stands on the wire.
    pub fn octet(self) -> u8 {
        match self {
            Flag::Abort => b'#',
            Flag::End => b'$',
            Flag::More => b'+',
        }
    }

    /// Reads it.
    pub fn parse(octet: u8) -> Option<Flag> {
        match octet {
            b'#' => Some(Flag::Abort),
            b'$' => Some(Flag::End),
            b'+' => Some(Flag::More),
            _ => None,
        }
    }
}

/// Request or response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A method: `SEND`, `REPORT`, `AUTH`.
    Request(String),
    /// A status code with its comment.
    Response(u16, String),
}

/// Value of Byte-Range; `None` stands for `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// First octet, counted from 1.
    pub start: u64,
    /// Last octet.
    pub end: Option<u64>,
    /// Octets of the whole message.
    pub total: Option<u64>,
}

/// Start line and headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Transaction id.
    pub tid: String,
    /// Request or response.
    pub kind: Kind,
    /// All headers in order, To-Path and From-Path first.
    pub headers: Vec<(String, String)>,
    /// For a frame without body: the flag of its end-line.
    pub bodiless: Option<Flag>,
}

impl Head {
    /// A request's head with its paths.
    pub fn request(method: &str, tid: &str, to: &str, from: &str) -> Head {
        let headers = vec![("To-Path".to_owned(), to.to_owned()), ("From-Path".to_owned(), from.to_owned())];
        Head { tid: tid.to_owned(), kind: Kind::Request(method.to_owned()), headers, bodiless: None }
    }

    /// The response to a request, from `from`: To-Path is the nearest From-Path URI of a SEND, the whole From-Path
    /// of other methods (RFC 4975 section 7.2).
    pub fn response(&self, code: u16, comment: &str, from: &str) -> Result<Frame> {
        let back = self.header("From-Path").context("no From-Path")?;
        let back = match &self.kind {
            Kind::Request(method) if method == "SEND" => back.split(' ').next().unwrap_or_default(),
            _ => back,
        };
        let mut head = Head::request("", &self.tid, back, from);
        head.kind = Kind::Response(code, comment.to_owned());
        Ok(Frame { head, body: None, flag: Flag::End })
    }

    /// Adds a header.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Head {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The method; empty for a response.
    pub fn method(&self) -> &str {
        match &self.kind {
            Kind::Request(method) => method,
            Kind::Response(..) => "",
        }
    }

    /// The status code; 0 for a request.
    pub fn code(&self) -> u16 {
        match self.kind {
            Kind::Request(_) => 0,
            Kind::Response(code, _) => code,
        }
    }

    /// Byte-Range, if there is one.
    pub fn byte_range(&self) -> Result<Option<ByteRange>> {
        let Some(value) = self.header("Byte-Range") else { return Ok(None) };
        let wrong = || format!("bad Byte-Range `{value}`");
        let (range, total) = value.split_once('/').with_context(wrong)?;
        let (start, end) = range.split_once('-').with_context(wrong)?;
        let number = |text: &str| -> Result<Option<u64>> {
            ensure!(!text.is_empty() && (text == "*" || text.bytes().all(|b| b.is_ascii_digit())), wrong());
            if text == "*" { Ok(None) } else { Ok(Some(text.parse().with_context(wrong)?)) }
        };
        Ok(Some(ByteRange {
            start: number(start)?.with_context(wrong)?,
            end: number(end)?,
            total: number(total)?,
        }))
    }

    /// One line for people.
    pub fn summary(&self) -> String {
        let range = self.header("Byte-Range").map(|r| format!(" {r}")).unwrap_or_default();
        match &self.kind {
            Kind::Request(method) if method == "REPORT" => {
                format!("REPORT{range} {}", self.header("Status").unwrap_or_default())
            }
            Kind::Request(method) => format!("{method}{range}"),
            Kind::Response(code, comment) => format!("{code} {comment}").trim_end().to_owned(),
        }
    }

    /// Start line and headers on the wire; with `body` the blank line too.
    pub fn encode(&self, body: bool) -> Vec<u8> {
        let mut text = match &self.kind {
            Kind::Request(method) => format!("MSRP {} {method}\r\n", self.tid),
            Kind::Response(code, comment) if comment.is_empty() => format!("MSRP {} {code}\r\n", self.tid),
            Kind::Response(code, comment) => format!("MSRP {} {code} {comment}\r\n", self.tid),
        };
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if body {
            text.push_str("\r\n");
        }
        text.into_bytes()
    }

    /// Reads a head: `octets` end before the blank line, or before the end-line of a frame without body.
    pub(crate) fn parse(octets: &[u8], bodiless: Option<Flag>) -> Result<Head> {
        let text = std::str::from_utf8(octets).context("the head is not UTF-8")?;
        let mut lines = text.strip_suffix("\r\n").context("the head does not end with CRLF")?.split("\r\n");
        let start = lines.next().unwrap_or_default();
        let rest = start.strip_prefix("MSRP ").with_context(|| format!("bad start line `{start}`"))?;
        let (tid, rest) = rest.split_once(' ').with_context(|| format!("bad start line `{start}`"))?;
        ensure!(is_ident(tid), "bad transaction id `{tid}`");
        let kind = parse_kind(rest)?;
        let mut headers = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':').with_context(|| format!("bad header `{line}`"))?;
            let value = value.strip_prefix(' ').with_context(|| format!("no space after colon: `{line}`"))?;
            ensure!(!value.starts_with(' '), "more than one space after the colon: `{line}`");
            ensure!(
                name.starts_with(|c: char| c.is_ascii_alphabetic())
                    && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-!%*_+`'~.".contains(&b)),
                "bad header name `{name}`"
            );
            ensure!(!value.chars().any(|c| c.is_control() && c != '\t'), "control octet in `{line}`");
            headers.push((name.to_owned(), value.to_owned()));
        }
        let head = Head { tid: tid.to_owned(), kind, headers, bodiless };
        head.check()?;
        Ok(head)
    }

    fn check(&self) -> Result<()> {
        let name = |at: usize| self.headers.get(at).map(|(name, _)| name.as_str());
        ensure!(name(0) == Some("To-Path"), "the first header is not To-Path");
        ensure!(name(1) == Some("From-Path"), "the second header is not From-Path");
        for (at, (name, value)) in self.headers.iter().enumerate() {
            let twice = self.headers[..at].iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
            ensure!(!twice, "{name} twice");
            let path = at < 2;
            ensure!(!path || value.split(' ').all(|uri| uri.starts_with("msrp")), "bad {name} `{value}`");
        }
        let content_type =
            self.headers.iter().position(|(name, _)| name.eq_ignore_ascii_case("Content-Type"));
        match self.bodiless {
            Some(_) => ensure!(content_type.is_none(), "Content-Type without body"),
            None => {
                ensure!(content_type == Some(self.headers.len() - 1), "Content-Type is not the last header");
            }
        }
        self.byte_range()?;
        if let Kind::Response(..) = self.kind {
            ensure!(self.bodiless == Some(Flag::End), "a response does not end with $ or has a body");
        }
        if self.method() == "SEND" {
            let id = self.header("Message-ID").context("SEND without Message-ID")?;
            ensure!(is_ident(id), "bad Message-ID `{id}`");
        }
        if self.method() == "REPORT" {
            for name in ["Message-ID", "Byte-Range", "Status"] {
                ensure!(self.header(name).is_some(), "REPORT without {name}");
            }
            ensure!(self.header("Success-Report").is_none(), "REPORT with Success-Report");
            ensure!(self.header("Failure-Report").is_none(), "REPORT with Failure-Report");
        }
        Ok(())
    }
}

fn parse_kind(text: &str) -> Result<Kind> {
    let (first, comment) = text.split_once(' ').unwrap_or((text, ""));
    if first.len() == 3 && first.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(Kind::Response(first.parse()?, comment.to_owned()));
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase()) {
        return Ok(Kind::Request(text.to_owned()));
    }
    bail!("bad method or status `{text}`")
}

/// `ident` of RFC 4975 section 9.
pub(crate) fn is_ident(text: &str) -> bool {
    let octets = text.as_bytes();
    (4..=32).contains(&octets.len())
        && octets[0].is_ascii_alphanumeric()
        && octets.iter().all(|b| b.is_ascii_alphanumeric() || b".-+%=".contains(b))
}

/// A whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Start line and headers.
    pub head: Head,
    /// Body, `None` for a frame without one.
    pub body: Option<Bytes>,
    /// Flag of the end-line.
    pub flag: Flag,
}

impl Frame {
    /// A frame without body.
    pub fn bodiless(head: Head) -> Frame {
        Frame { head, body: None, flag: Flag::End }
    }

    /// A frame with a body; the head's Content-Type must be there already.
    pub fn with_body(head: Head, body: impl Into<Bytes>, flag: Flag) -> Frame {
        Frame { head, body: Some(body.into()), flag }
    }

    /// The frame on the wire.
    pub fn encode(&self) -> Vec<u8> {
        let mut octets = self.head.encode(self.body.is_some());
        if let Some(body) = &self.body {
            octets.extend_from_slice(body);
            octets.extend_from_slice(b"\r\n");
        }
        octets.extend_from_slice(end_line(&self.head.tid, self.flag).as_bytes());
        octets
    }
}

/// `-------tid$` and CRLF.
pub(crate) fn end_line(tid: &str, flag: Flag) -> String {
    format!("-------{tid}{}\r\n", char::from(flag.octet()))
}

/// The usual comment of a status code.
pub(crate) fn comment(code: u16) -> &'static str {
    match code {
        200 => "OK",
        413 => "Stop Sending Message",
        415 => "Unsupported Media Type",
        481 => "No Such Session",
        _ => "",
    }
}
