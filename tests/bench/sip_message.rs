//! The little SIP that a set-up needs: messages read from a stream, answers and digest credentials.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use md5::{Digest, Md5};
use memchr::memmem;

/// Largest message that is read, in octets.
const LIMIT: usize = 64 * 1024;

/// A request or response.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Request line or status line.
    pub(crate) start: String,
    /// Headers in order, names as received.
    pub(crate) headers: Vec<(String, String)>,
    /// Body, as text.
    pub(crate) body: String,
}

impl Message {
    /// The message at the start of `buffer`, with its length; `None` while octets of it are missing.
    pub(crate) fn parse(buffer: &[u8]) -> Result<Option<(Message, usize)>> {
        // Keep-alives (RFC 5626 section 3.5.1) stand between messages.
        let skip = buffer.iter().take_while(|octet| matches!(octet, b'\r' | b'\n')).count();
        let text = &buffer[skip..];
        let Some(head) = memmem::find(text, b"\r\n\r\n") else {
            ensure!(text.len() < LIMIT, "SIP head too long");
            return Ok(None);
        };
        let mut lines = std::str::from_utf8(&text[..head])?.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let headers: Vec<(String, String)> = lines
            .map(|line| {
                let (name, value) = line.split_once(':').with_context(|| format!("header line `{line}`"))?;
                Ok((name.trim().to_owned(), value.trim().to_owned()))
            })
            .collect::<Result<_>>()?;
        let mut message = Message { start, headers, body: String::new() };
        let length: usize = message.header("Content-Length").context("no Content-Length")?.parse()?;
        let (begin, end) = (head + 4, head + 4 + length);
        ensure!(length <= LIMIT, "SIP body too long");
        if text.len() < end {
            return Ok(None);
        }
        message.body = String::from_utf8_lossy(&text[begin..end]).into_owned();
        Ok(Some((message, skip + end)))
    }

    /// First header of that name.
    pub(crate) fn header(&self, name: &'static str) -> Option<&str> {
        self.all(name).next()
    }

    fn all(&self, name: &'static str) -> impl Iterator<Item = &str> {
        let short = match name {
            "Via" => "v",
            "From" => "f",
            "To" => "t",
            "Call-ID" => "i",
            "Contact" => "m",
            "Content-Length" => "l",
            _ => name,
        };
        let same = move |other: &str| other.eq_ignore_ascii_case(name) || other.eq_ignore_ascii_case(short);
        self.headers.iter().filter(move |(other, _)| same(other)).map(|(_, value)| value.as_str())
    }

    /// Method of a request.
    pub(crate) fn method(&self) -> Option<&str> {
        let (method, rest) = self.start.split_once(' ')?;
        rest.ends_with("SIP/2.0").then_some(method)
    }

    /// Status of a response.
    pub(crate) fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// URI of the first Contact.
    pub(crate) fn contact(&self) -> Option<&str> {
        let value = self.header("Contact")?;
        match value.split_once('<') {
            Some((_, rest)) => rest.split('>').next(),
            None => value.split(';').next(),
        }
    }

    /// Route headers of a dialog that this response creates, for its client.
    pub(crate) fn routes(&self) -> String {
        let mut values: Vec<&str> =
            self.all("Record-Route").flat_map(|line| line.split(',')).map(str::trim).collect();
        values.reverse();
        values.iter().fold(String::new(), |mut text, value| {
            let _ = write!(text, "Route: {value}\r\n");
            text
        })
    }

    /// The response `status` to this request; `extra` are whole header lines.
    pub(crate) fn response(&self, status: &str, tag: &str, extra: &str, body: &str) -> String {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for name in ["Via", "Record-Route"] {
            for value in self.all(name) {
                let _ = write!(text, "{name}: {value}\r\n");
            }
        }
        let to = self.header("To").unwrap_or_default();
        let tag = if to.contains(";tag=") { String::new() } else { format!(";tag={tag}") };
        let value = |name| self.header(name).unwrap_or_default();
        let _ = write!(
            text,
            "From: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n{extra}Content-Length: {}\r\n\r\n{body}",
            value("From"),
            value("Call-ID"),
            value("CSeq"),
            body.len()
        );
        text
    }

    /// Value of the first `a=path` of the body.
    pub(crate) fn path(&self) -> Option<&str> {
        self.body.lines().find_map(|line| line.strip_prefix("a=path:")).map(str::trim)
    }

    /// Authorization header line that answers the MD5 challenge of this 401 or 407.
    pub(crate) fn credentials(&self, user: &str, password: &str, method: &str, uri: &str) -> Result<String> {
        let (asked, header) = match self.status() {
            Some(407) => ("Proxy-Authenticate", "Proxy-Authorization"),
            _ => ("WWW-Authenticate", "Authorization"),
        };
        let mut challenges = self.all(asked);
        let md5 =
            |text: &&str| !text.contains("algorithm") || text.contains("=MD5") || text.contains("=\"MD5\"");
        let challenge = challenges.find(md5).context("no MD5 challenge")?;
        let part = |name: &str| -> Option<&str> {
            let at = challenge.find(&format!("{name}=\""))? + name.len() + 2;
            challenge[at..].split('"').next()
        };
        let (realm, nonce) = (part("realm").context("no realm")?, part("nonce").context("no nonce")?);
        let (ha1, ha2) = (hash(&format!("{user}:{realm}:{password}")), hash(&format!("{method}:{uri}")));
        let opaque = part("opaque").map(|value| format!(", opaque=\"{value}\"")).unwrap_or_default();
        let (proof, qop) = if challenge.contains("qop=") {
            let proof = hash(&format!("{ha1}:{nonce}:00000001:0a4f113b:auth:{ha2}"));
            (proof, ", qop=auth, nc=00000001, cnonce=\"0a4f113b\"")
        } else {
            (hash(&format!("{ha1}:{nonce}:{ha2}")), "")
        };
        Ok(format!(
            "{header}: Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{proof}\", algorithm=MD5{qop}{opaque}\r\n"
        ))
    }
}

fn hash(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().fold(String::new(), |mut hex, octet| {
        let _ = write!(hex, "{octet:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_messages_from_a_stream() {
        let text = b"\r\n\r\nSIP/2.0 200 OK\r\nv: SIP/2.0/TCP a\r\nRecord-Route: <sip:a;lr>, <sip:b;lr>\r\nm: \"x\" <sip:c@d>;q=1\r\n\
            l: 4\r\n\r\nbodyMORE";
        let (message, used) = Message::parse(text).unwrap().unwrap();
        assert_eq!(&text[used..], b"MORE");
        assert_eq!(
            (message.status(), message.method(), message.contact()),
            (Some(200), None, Some("sip:c@d"))
        );
        assert_eq!(message.routes(), "Route: <sip:b;lr>\r\nRoute: <sip:a;lr>\r\n");
        assert!((4..used).all(|cut| Message::parse(&text[..cut]).unwrap().is_none()));
    }

    #[test]
    fn answers_a_challenge() {
        let text = "SIP/2.0 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=MD5\r\nContent-Length: 0\r\n\r\n";
        let (message, _) = Message::parse(text.as_bytes()).unwrap().unwrap();
        let line = message.credentials("u", "p", "REGISTER", "sip:d").unwrap();
        let (ha1, ha2) = (hash("u:r:p"), hash("REGISTER:sip:d"));
        assert!(line.contains(&format!("response=\"{}\"", hash(&format!("{ha1}:n:{ha2}")))), "{line}");
        assert_eq!(hash("abc"), "900150983cd24fb0d6963f7d28e17f72");
    }
}
