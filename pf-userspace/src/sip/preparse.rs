//! From octets to messages, and what is answered where that fails: every refusal is built from the raw head,
//! so one bad message costs neither the connection nor the others on it.

use bytes::Bytes;

use super::via::Via;
use crate::core::sip::{Header, Headers, Method, NameAddr, Request, Response, message::reason_phrase};

/// A message head, read as leniently as can be: enough to frame the message and to answer it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    start: String,
    headers: Headers,
}

/// Content-Length is negative, too large, no number, or there are two different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unusable Content-Length")]
pub(crate) struct BadLength;

/// A message that can be worked with.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    /// A request with a readable topmost Via.
    Request(Request),
    /// A response with a readable topmost Via.
    Response(Response),
}

/// A message that cannot.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// Why, for the log.
    pub(crate) why: &'static str,
    /// What to send back, complete but for the tag in To; nothing for responses, ACKs and noise.
    pub(crate) answer: Option<Response>,
}

impl Head {
    /// Reads a head: everything before the empty line. Octets that are not UTF-8 become U+FFFD, folded lines
    /// are joined, lines may end in LF alone. Lines without a colon are kept as a header without name.
    pub(crate) fn read(octets: &[u8]) -> Head {
        let text = String::from_utf8_lossy(octets);
        let mut lines = text.split('\n').map(|l| l.strip_suffix('\r').unwrap_or(l));
        let start = lines.next().unwrap_or_default().trim_end().to_owned();
        let mut headers = Headers::default();
        for line in lines {
            if line.starts_with([' ', '\t']) {
                if let Some(last) = headers.0.last_mut() {
                    let more = line.trim();
                    if !more.is_empty() && !last.value.is_empty() {
                        last.value.push(' ');
                    }
                    last.value.push_str(more);
                }
                continue;
            }
            match line.split_once(':') {
                Some((name, value)) => headers.push(name.trim_end(), value.trim()),
                None if line.is_empty() => {}
                None => headers.push("", line),
            }
        }
        Head { start, headers }
    }

    /// The body's length as announced.
    pub(crate) fn content_length(&self) -> Result<Option<usize>, BadLength> {
        let mut length = None;
        for value in self.headers.all("Content-Length") {
            if value.is_empty() || !value.bytes().all(|o| o.is_ascii_digit()) {
                return Err(BadLength);
            }
            // Nothing larger is ever acceptable, whatever the width of `usize`.
            let this = value.parse::<u32>().map_err(|_| BadLength)? as usize;
            if length.is_some_and(|l| l != this) {
                return Err(BadLength);
            }
            length = Some(this);
        }
        Ok(length)
    }

    /// Nothing in it tells where the message ends or whom to answer: the stream is out of step.
    pub(crate) fn is_noise(&self) -> bool {
        !self.headers.has("Via") && !self.headers.has("Content-Length")
    }

    /// Refuses the message.
    pub(crate) fn refuse(&self, status: u16, why: &'static str) -> Refusal {
        let mut parts = self.start.split_ascii_whitespace();
        let method = parts.next().unwrap_or_default();
        let is_request =
            !method.starts_with("SIP/") && parts.next_back().is_some_and(|v| v.starts_with("SIP/"));
        let answer = (is_request && method != "ACK").then(|| {
            let mut response = Response::new(status);
            for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
                response.headers.copy(&self.headers, name);
            }
            match status {
                400 => response.reason = format!("{} ({why})", reason_phrase(400)),
                501 => response.headers.push("Allow", Method::known()),
                _ => {}
            }
            response
        });
        Refusal { why, answer }
    }

    /// Makes the message of the head and its body.
    pub(crate) fn message(mut self, body: Bytes) -> Result<Message, Refusal> {
        if let Some(rest) = self.start.strip_prefix("SIP/2.0 ") {
            return response(rest.trim_start(), &mut self.headers, body)
                .map_err(|why| Refusal { why, answer: None });
        }
        match self.check_request() {
            Ok((method, uri)) => Ok(Message::Request(Request { method, uri, headers: self.headers, body })),
            Err((status, why)) => Err(self.refuse(status, why)),
        }
    }

    fn check_request(&self) -> Result<(Method, String), (u16, &'static str)> {
        let mut parts = self.start.split(' ');
        let (Some(token), Some(uri), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err((400, "Request-Line"));
        };
        if version != "SIP/2.0" {
            let digits = version.strip_prefix("SIP/").is_some_and(|v| {
                v.split_once('.').is_some_and(|(a, b)| a.parse::<u16>().is_ok() && b.parse::<u16>().is_ok())
            });
            return Err(if digits { (505, "version") } else { (400, "Request-Line") });
        }
        if token.is_empty() || !token.bytes().all(is_token) {
            return Err((400, "method"));
        }
        let headers = &self.headers;
        if headers.0.iter().any(|h| h.name.is_empty() || !h.name.bytes().all(is_token)) {
            return Err((400, "header name"));
        }
        for (name, why) in [
            ("Via", "no Via"),
            ("From", "no From"),
            ("To", "no To"),
            ("Call-ID", "no Call-ID"),
            ("CSeq", "no CSeq"),
        ] {
            if headers.get(name).is_none_or(str::is_empty) {
                return Err((400, why));
            }
        }
        for name in ["From", "To", "Call-ID", "CSeq", "Max-Forwards"] {
            if headers.all(name).count() > 1 {
                return Err((400, "doubled header"));
            }
        }
        if Via::top(headers).is_none() {
            return Err((400, "Via"));
        }
        for name in ["From", "To"] {
            if NameAddr::parse(headers.get(name).unwrap_or_default()).is_err() {
                return Err((400, "From or To"));
            }
        }
        if headers.get("Max-Forwards").is_some_and(|v| v.parse::<u32>().is_err()) {
            return Err((400, "Max-Forwards"));
        }
        let (_, cseq_method) = cseq(headers.get("CSeq").unwrap_or_default()).ok_or((400, "CSeq"))?;
        if cseq_method != token {
            return Err((400, "CSeq method"));
        }
        let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
        let has_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|o| o.is_ascii_alphanumeric() || b"+-.".contains(&o));
        if !has_scheme
            || uri.len() == scheme.len() + 1
            || uri.bytes().any(|o| o <= b' ' || b"<>\"".contains(&o))
        {
            return Err((400, "Request-URI"));
        }
        let method: Method = token.parse().map_err(|_| (501, "method"))?;
        // Inside a dialog it may be for somebody whom we are a proxy for: the core knows.
        let inside = headers
            .get("To")
            .and_then(|to| NameAddr::parse(to).ok())
            .is_some_and(|to| to.param("tag").is_some());
        if matches!(method, Method::Other(_)) && !inside {
            return Err((501, "method"));
        }
        Ok((method, uri.to_owned()))
    }
}

/// Reads a datagram: one message, its body the rest or as long as Content-Length says. `Ok(None)`: a keep-alive.
pub(crate) fn datagram(octets: &Bytes) -> Result<Option<Message>, Refusal> {
    let begin = octets.iter().position(|o| !matches!(o, b'\r' | b'\n' | b' ' | b'\t' | 0));
    let Some(octets) = begin.map(|at| octets.slice(at..)) else { return Ok(None) };
    let (end, body) = head_end(&octets, 0).unwrap_or((octets.len(), octets.len()));
    let head = Head::read(&octets[..end]);
    let rest = octets.slice(body..);
    let length = match head.content_length() {
        Ok(length) => length.unwrap_or(rest.len()),
        Err(BadLength) => return Err(head.refuse(400, "Content-Length")),
    };
    if length > rest.len() {
        return Err(head.refuse(400, "body shorter than Content-Length"));
    }
    head.message(rest.slice(..length)).map(Some)
}

/// Finds the empty line that ends a head, looking from `from`: where the head ends and where the body begins.
pub(crate) fn head_end(octets: &[u8], from: usize) -> Option<(usize, usize)> {
    memchr::memchr_iter(b'\n', octets.get(from..)?).map(|at| at + from).find_map(|lf| {
        match octets.get(lf + 1..)? {
            [b'\n', ..] => Some((lf, lf + 2)),
            [b'\r', b'\n', ..] => Some((lf, lf + 3)),
            _ => None,
        }
    })
}

fn response(rest: &str, headers: &mut Headers, body: Bytes) -> Result<Message, &'static str> {
    let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let status = match status.parse::<u16>() {
        Ok(status @ 100..=699) if rest.len() >= 3 => status,
        _ => return Err("status code"),
    };
    if Via::top(headers).is_none() {
        return Err("Via of a response");
    }
    if headers.get("CSeq").and_then(cseq).is_none() {
        return Err("CSeq of a response");
    }
    headers.0.retain(|h: &Header| !h.name.is_empty());
    let headers = std::mem::take(headers);
    Ok(Message::Response(Response { status, reason: reason.to_owned(), headers, body }))
}

fn cseq(value: &str) -> Option<(u32, &str)> {
    let mut parts = value.split_ascii_whitespace();
    let number = parts.next()?;
    if !number.bytes().all(|o| o.is_ascii_digit()) {
        return None;
    }
    let number = number.parse().ok()?;
    let method = parts.next()?;
    (parts.next().is_none()).then_some((number, method))
}

fn is_token(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&octet)
}

#[cfg(test)]
#[path = "preparse_tests.rs"]
mod tests;
