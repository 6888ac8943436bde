//! Requests and responses with their header fields in the order and with the octets they came in.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Method, fields::split_list};

/// One header field. The name is kept as received, long or compact; the value is unfolded and trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Field name as received.
    pub name: String,
    /// Field value.
    pub value: String,
}

impl Header {
    /// Is this the field `name` (long form), in any case and also in its compact form?
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
            || (self.name.len() == 1 && long_form(&self.name).is_some_and(|l| l.eq_ignore_ascii_case(name)))
    }
}

/// Header fields in order. Names are looked up by their long form, in any case, compact forms included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headers(pub Vec<Header>);

impl Headers {
    /// The value of the first field of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|h| h.is(name)).map(|h| h.value.as_str())
    }

    /// Is there a field of that name?
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The values of all fields of that name, each as it stands (not split at commas).
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |h| h.is(name)).map(|h| h.value.as_str())
    }

    /// The elements of all fields of that name, split at the commas that separate list elements
    /// (not those in quotes or angle brackets): Via, Route, Contact, Supported, Accept-Contact ...
    pub fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.all(name).flat_map(split_list)
    }

    /// Does the list of option tags or tokens contain `token` (any case)?
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.list(name).any(|t| t.eq_ignore_ascii_case(token))
    }

    /// Appends a field.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push(Header { name: name.into(), value: value.into() });
    }

    /// Puts one field in the place of all of that name.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.remove(name);
        self.push(name, value);
    }

    /// Removes all fields of that name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|h| !h.is(name));
    }

    /// Appends copies of all fields of that name in `from`, under the long name, values as they stand.
    pub fn copy(&mut self, from: &Headers, name: &str) {
        for value in from.all(name) {
            self.push(name, value);
        }
    }
}

/// A request. Whatever its header fields say of Content-Length, the writer makes the number from the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The Request-URI, octet for octet.
    pub uri: String,
    /// The header fields.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

/// A response. Whatever its header fields say of Content-Length, the writer makes the number from the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code, 100 to 699.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// The header fields.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

impl Request {
    /// A request without header fields and body.
    pub fn new(method: Method, uri: impl Into<String>) -> Request {
        Request { method, uri: uri.into(), headers: Headers::default(), body: Bytes::new() }
    }

    /// The Call-ID; empty where it is missing.
    pub fn call_id(&self) -> &str {
        self.headers.get("Call-ID").unwrap_or_default()
    }

    /// The number in CSeq.
    pub fn cseq(&self) -> Option<u32> {
        self.headers.get("CSeq")?.split_ascii_whitespace().next()?.parse().ok()
    }

    /// The tag in From.
    pub fn from_tag(&self) -> Option<String> {
        tag(self.headers.get("From")?)
    }

    /// The tag in To: present in every request inside a dialog.
    pub fn to_tag(&self) -> Option<String> {
        tag(self.headers.get("To")?)
    }
}

impl Response {
    /// A response without header fields and body, with the usual reason phrase.
    pub fn new(status: u16) -> Response {
        let reason = reason_phrase(status).to_owned();
        Response { status, reason, headers: Headers::default(), body: Bytes::new() }
    }

    /// Adds a header field.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Response {
        self.headers.push(name, value);
        self
    }

    /// Is it a 1xx?
    pub fn is_provisional(&self) -> bool {
        self.status < 200
    }

    /// Is it a 2xx?
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The number and the method in CSeq.
    pub fn cseq(&self) -> Option<(u32, Method)> {
        let mut parts = self.headers.get("CSeq")?.split_ascii_whitespace();
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }

    /// The tag in To.
    pub fn to_tag(&self) -> Option<String> {
        tag(self.headers.get("To")?)
    }
}

fn tag(value: &str) -> Option<String> {
    super::NameAddr::parse(value).ok()?.param("tag").map(str::to_owned)
}

/// The long form of a compact header name (RFC 3261 section 7.3.3 and the registry's later ones).
pub fn long_form(compact: &str) -> Option<&'static str> {
    Some(match compact.as_bytes() {
        [c] => match c.to_ascii_lowercase() {
            b'a' => "Accept-Contact",
            b'b' => "Referred-By",
            b'c' => "Content-Type",
            b'd' => "Request-Disposition",
            b'e' => "Content-Encoding",
            b'f' => "From",
            b'i' => "Call-ID",
            b'j' => "Reject-Contact",
            b'k' => "Supported",
            b'l' => "Content-Length",
            b'm' => "Contact",
            b'n' => "Identity-Info",
            b'o' => "Event",
            b'r' => "Refer-To",
            b's' => "Subject",
            b't' => "To",
            b'u' => "Allow-Events",
            b'v' => "Via",
            b'x' => "Session-Expires",
            b'y' => "Identity",
            _ => return None,
        },
        _ => return None,
    })
}

/// Which of several final responses to one request counts (RFC 3261 section 16.7 step 6), the lowest first: 6xx over
/// all, then the lowest class; in it what helps the client to try again.
pub fn rank(status: u16) -> (u16, u16, u16) {
    let class = if status >= 600 { 0 } else { status / 100 };
    let helpful = u16::from(!matches!(status, 401 | 407 | 415 | 420 | 484));
    (class, helpful, status)
}

/// The usual reason phrase of a status code.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        421 => "Extension Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        _ => "Unknown",
    }
}
