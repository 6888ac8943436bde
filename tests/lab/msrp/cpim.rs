//! Message/CPIM (RFC 3862) with IMDN headers (RFC 5438).

use anyhow::{Context, Result, ensure};

/// A CPIM message, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpim {
    /// Message headers in order.
    pub headers: Vec<(String, String)>,
    /// Headers of the content.
    pub content_headers: Vec<(String, String)>,
    /// The content.
    pub content: Vec<u8>,
}

/// Builds a chat message as an RCS handset does.
pub fn cpim(from: &str, to: &str, imdn_id: &str, content_type: &str, content: &[u8]) -> Vec<u8> {
    let mut octets = format!(
        "From: <{from}>\r\nTo: <{to}>\r\nDateTime: 2026-01-02T03:04:05Z\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
         imdn.Message-ID: {imdn_id}\r\nimdn.Disposition-Notification: positive-delivery, display\r\n\r\n\
         Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        content.len()
    )
    .into_bytes();
    octets.extend_from_slice(content);
    octets
}

impl Cpim {
    /// Takes a CPIM body apart.
    pub fn parse(octets: &[u8]) -> Result<Cpim> {
        let (headers, rest) = block(octets).context("CPIM message headers")?;
        let (content_headers, content) = block(rest).context("CPIM content headers")?;
        ensure!(headers.iter().any(|(name, _)| name == "From"), "CPIM without From");
        Ok(Cpim { headers, content_headers, content: content.to_vec() })
    }

    /// A message header, by its case-sensitive name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

type Block<'a> = (Vec<(String, String)>, &'a [u8]);

fn block(octets: &[u8]) -> Result<Block<'_>> {
    let end = memchr::memmem::find(octets, b"\r\n\r\n").context("no blank line")?;
    let text = std::str::from_utf8(&octets[..end])?;
    let headers = text
        .split("\r\n")
        .map(|line| {
            let (name, value) = line.split_once(": ").with_context(|| format!("bad header `{line}`"))?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect::<Result<_>>()?;
    Ok((headers, &octets[end + 4..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_apart_what_it_builds() {
        let built = cpim("sip:a@x", "sip:b@x", "id", "text/plain", b"hello\r\n\r\nthere");
        let read = Cpim::parse(&built).unwrap();
        assert_eq!(read.content, b"hello\r\n\r\nthere");
        assert_eq!(read.header("imdn.Message-ID"), Some("id"));
    }
}
