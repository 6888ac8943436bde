//! SIP messages: built freely, read strictly.

use anyhow::{Context, Result, bail, ensure};

/// First line of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// `METHOD uri SIP/2.0`.
    Request {
        /// Method.
        method: String,
        /// Request-URI.
        uri: String,
    },
    /// `SIP/2.0 code reason`.
    Response {
        /// Status code.
        code: u16,
        /// Reason phrase.
        reason: String,
    },
}

/// A SIP message. Headers keep their order and their octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// First line.
    pub start: Start,
    /// Header fields as they stand on the wire, without Content-Length where the message was built here.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// Headers that may stand in a message once only.
const SINGLE: [&str; 7] = ["Call-ID", "CSeq", "From", "To", "Content-Length", "Content-Type", "Max-Forwards"];

const COMPACT: [(&str, &str); 16] = [
    ("a", "Accept-Contact"),
    ("b", "Referred-By"),
    ("c", "Content-Type"),
    ("d", "Request-Disposition"),
    ("e", "Content-Encoding"),
    ("f", "From"),
    ("i", "Call-ID"),
    ("j", "Reject-Contact"),
    ("k", "Supported"),
    ("l", "Content-Length"),
    ("m", "Contact"),
    ("o", "Event"),
    ("s", "Subject"),
    ("t", "To"),
    ("v", "Via"),
    ("x", "Session-Expires"),
];

impl Message {
    /// A request without headers.
    pub fn request(method: &str, uri: &str) -> Message {
        let start = Start::Request { method: method.to_owned(), uri: uri.to_owned() };
        Message { start, headers: Vec::new(), body: Vec::new() }
    }

    /// A response to `request`: Via, From, To, Call-ID, CSeq and Record-Route copied (RFC 3261 section 8.2.6.2),
    /// `to_tag` added where To has none.
    pub fn response(request: &Message, code: u16, reason: &str, to_tag: &str) -> Message {
        let start = Start::Response { code, reason: reason.to_owned() };
        let mut headers = Vec::new();
        for (name, value) in &request.headers {
            let full = full_name(name);
            match full {
                "To" if code > 100 && super::tag(value).is_none() => {
                    headers.push((full.to_owned(), format!("{value};tag={to_tag}")));
                }
                "Via" | "From" | "To" | "Call-ID" | "CSeq" | "Record-Route" => {
                    headers.push((full.to_owned(), value.clone()));
                }
                _ => {}
            }
        }
        Message { start, headers, body: Vec::new() }
    }

    /// The method: of a request its own, of a response that of its CSeq.
    pub fn method(&self) -> &str {
        match &self.start {
            Start::Request { method, .. } => method,
            Start::Response { .. } => {
                self.header("CSeq").and_then(|v| v.split_whitespace().nth(1)).unwrap_or_default()
            }
        }
    }

    /// The Request-URI; empty for a response.
    pub fn uri(&self) -> &str {
        match &self.start {
            Start::Request { uri, .. } => uri,
            Start::Response { .. } => "",
        }
    }

    /// The status code; 0 for a request.
    pub fn code(&self) -> u16 {
        match self.start {
            Start::Request { .. } => 0,
            Start::Response { code, .. } => code,
        }
    }

    /// Number of the CSeq; 0 where there is none.
    pub fn cseq(&self) -> u32 {
        self.header("CSeq")
            .and_then(|value| value.split_whitespace().next())
            .and_then(|number| number.parse().ok())
            .unwrap_or_default()
    }

    /// The first value of a header, by its full name; its compact form is found too.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| same_name(n, name)).map(|(_, value)| value.as_str())
    }

    /// All header fields of this name, one value per header line.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| same_name(n, name)).map(|(_, v)| v.as_str()).collect()
    }

    /// Like [`Message::header`], an error where it is missing.
    pub fn required(&self, name: &str) -> Result<&str> {
        self.header(name).with_context(|| format!("no {name} in {}", self.summary()))
    }

    /// Adds a header line at the end.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Message {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Replaces all lines of this name by one.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        let at = self.headers.iter().position(|(n, _)| same_name(n, name));
        self.remove(name);
        let at = at.unwrap_or(self.headers.len()).min(self.headers.len());
        self.headers.insert(at, (name.to_owned(), value.into()));
    }

    /// Removes all lines of this name.
    pub fn remove(&mut self, name: &str) {
        self.headers.retain(|(n, _)| !same_name(n, name));
    }

    /// Sets body and Content-Type.
    pub fn set_body(&mut self, content_type: &str, body: Vec<u8>) {
        self.set("Content-Type", content_type);
        self.body = body;
    }

    /// Branch of the topmost Via.
    pub fn branch(&self) -> Option<&str> {
        let via = self.header("Via")?;
        super::param(super::split_list(via).first()?, "branch")
    }

    /// One line for people.
    pub fn summary(&self) -> String {
        match &self.start {
            Start::Request { method, uri } => format!("{method} {uri}"),
            Start::Response { code, reason } => format!("{code} {reason} ({})", self.method()),
        }
    }

    /// The octets of the message, with its Content-Length.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = match &self.start {
            Start::Request { method, uri } => format!("{method} {uri} SIP/2.0\r\n"),
            Start::Response { code, reason } => format!("SIP/2.0 {code} {reason}\r\n"),
        };
        for (name, value) in self.headers.iter().filter(|(name, _)| !same_name(name, "Content-Length")) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n", self.body.len()));
        let mut octets = text.into_bytes();
        octets.extend_from_slice(&self.body);
        octets
    }

    /// Reads one whole message; anything that RFC 3261 does not allow is an error.
    pub fn parse(octets: &[u8]) -> Result<Message> {
        let end = head_length(octets).context("no blank line after the headers")?;
        let head = std::str::from_utf8(&octets[..end - 4]).context("headers are not UTF-8")?;
        ensure!(!head.replace("\r\n", "").contains(['\r', '\n', '\0']), "stray CR, LF or NUL in the headers");
        let mut lines = head.split("\r\n");
        let start = parse_start(lines.next().unwrap_or_default())?;
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines {
            if line.starts_with([' ', '\t']) {
                let last = headers.last_mut().context("a folded line without header")?;
                last.1 = format!("{} {}", last.1, line.trim());
                continue;
            }
            let (name, value) = line.split_once(':').with_context(|| format!("no colon in `{line}`"))?;
            let name = name.trim_end();
            ensure!(!name.is_empty() && name.bytes().all(is_token), "`{name}` is no header name");
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let message = Message { start, headers, body: octets[end..].to_vec() };
        message.check()?;
        Ok(message)
    }

    fn check(&self) -> Result<()> {
        for name in SINGLE {
            ensure!(self.all(name).len() <= 1, "{name} more than once");
        }
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            ensure!(self.header(name).is_some(), "no {name}");
        }
        let cseq: Vec<&str> = self.required("CSeq")?.split_whitespace().collect();
        ensure!(cseq.len() == 2 && cseq[0].parse::<u32>().is_ok_and(|n| n < 1 << 31), "bad CSeq");
        ensure!(super::tag(self.required("From")?).is_some(), "From has no tag");
        ensure!(self.branch().is_some_and(|b| b.starts_with("z9hG4bK")), "no RFC 3261 branch in Via");
        if let Start::Request { method, uri } = &self.start {
            ensure!(cseq[1] == method, "CSeq method is not the method");
            ensure!(uri.contains(':') && !uri.contains(['<', '>', '"', ' ']), "bad Request-URI `{uri}`");
            let hops = self.required("Max-Forwards")?;
            ensure!(hops.parse::<u8>().is_ok(), "bad Max-Forwards `{hops}`");
        }
        if let Some(length) = self.header("Content-Length") {
            ensure!(length.parse::<usize>().ok() == Some(self.body.len()), "Content-Length is wrong");
        }
        ensure!(self.body.is_empty() || self.header("Content-Type").is_some(), "a body without Content-Type");
        Ok(())
    }
}

/// Length of the header block with its blank line.
pub(crate) fn head_length(octets: &[u8]) -> Option<usize> {
    memchr::memmem::find(octets, b"\r\n\r\n").map(|at| at + 4)
}

fn parse_start(line: &str) -> Result<Start> {
    if let Some(rest) = line.strip_prefix("SIP/2.0 ") {
        let (code, reason) = rest.split_once(' ').with_context(|| format!("bad status line `{line}`"))?;
        ensure!(code.len() == 3, "bad status code `{code}`");
        let code: u16 = code.parse()?;
        ensure!((100..700).contains(&code), "bad status code {code}");
        return Ok(Start::Response { code, reason: reason.to_owned() });
    }
    let parts: Vec<&str> = line.split(' ').collect();
    match parts[..] {
        [method, uri, "SIP/2.0"] if !method.is_empty() && method.bytes().all(is_token) => {
            Ok(Start::Request { method: method.to_owned(), uri: uri.to_owned() })
        }
        _ => bail!("bad request line `{line}`"),
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

/// The full name of a header, whether given in full or compact; canonical case for the compact ones.
pub(crate) fn full_name(name: &str) -> &str {
    let known = COMPACT
        .iter()
        .find(|(short, full)| name.eq_ignore_ascii_case(short) || name.eq_ignore_ascii_case(full));
    match known {
        Some((_, full)) => full,
        None => name,
    }
}

fn same_name(written: &str, wanted: &str) -> bool {
    full_name(written).eq_ignore_ascii_case(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &[u8] = b"INVITE sip:bob@example.org SIP/2.0\r\nv: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK1\r\n\
        Max-Forwards: 70\r\nf: <sip:a@example.org>;tag=1\r\nTo: <sip:bob@example.org>\r\ni: x\r\nCSeq: 1 INVITE\r\n\
        Content-Length: 0\r\n\r\n";

    #[test]
    fn reads_compact_forms() {
        let message = Message::parse(INVITE).unwrap();
        assert_eq!(message.header("Call-ID"), Some("x"));
        assert_eq!(message.branch(), Some("z9hG4bK1"));
    }

    #[test]
    fn refuses_what_the_grammar_refuses() {
        let text = String::from_utf8(INVITE.to_vec()).unwrap();
        for (from, to) in [
            ("CSeq: 1 INVITE", "CSeq: 1 BYE"),
            ("Max-Forwards: 70\r\n", ""),
            ("Content-Length: 0", "Content-Length: 1"),
            ("i: x", "i: x\r\nCall-ID: y"),
            (";tag=1", ""),
            ("z9hG4bK1", "1"),
        ] {
            let broken = text.replace(from, to);
            assert_ne!(broken, text);
            assert!(Message::parse(broken.as_bytes()).is_err(), "{from} -> {to}");
        }
    }

    #[test]
    fn a_response_mirrors_its_request() {
        let request = Message::parse(INVITE).unwrap();
        let response = Message::response(&request, 486, "Busy Here", "t");
        let read = Message::parse(&response.encode()).unwrap();
        assert_eq!((read.code(), read.method()), (486, "INVITE"));
        assert_eq!(read.header("To"), Some("<sip:bob@example.org>;tag=t"));
    }
}
