//! MSRP URIs and their comparison (RFC 4975 sections 6 and 6.1).

use core::{fmt, net::IpAddr, str::FromStr};

/// A parsed MSRP URI; slices point into the text.
#[derive(Clone, Copy, Debug)]
pub struct Uri<'a> {
    /// `msrps` (true) or `msrp`.
    pub secure: bool,
    /// Host: name, IPv4 address, or IPv6 address without brackets.
    pub host: &'a [u8],
    /// Port, if it is given.
    pub port: Option<u16>,
    /// Session-id; empty if there is none.
    pub session: &'a [u8],
    /// Transport (`tcp`).
    pub transport: &'a [u8],
}

/// The text is no MSRP URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UriError {
    /// No `msrp:` or `msrps:` with `//`.
    Scheme,
    /// Host or port.
    Authority,
    /// An octet that a session-id cannot have.
    Session,
    /// No `;transport`.
    Transport,
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UriError::Scheme => "the scheme is neither msrp nor msrps",
            UriError::Authority => "host or port cannot be read",
            UriError::Session => "the session-id holds an octet that is not allowed",
            UriError::Transport => "no transport is given",
        })
    }
}

impl core::error::Error for UriError {}

impl<'a> Uri<'a> {
    /// Reads a URI.
    ///
    /// # Errors
    /// [`UriError`] names the part that is wrong.
    pub fn parse(text: &'a [u8]) -> Result<Uri<'a>, UriError> {
        let colon = text.iter().position(|o| *o == b':').ok_or(UriError::Scheme)?;
        let (scheme, rest) = text.split_at(colon);
        let secure = scheme.eq_ignore_ascii_case(b"msrps");
        if !secure && !scheme.eq_ignore_ascii_case(b"msrp") {
            return Err(UriError::Scheme);
        }
        let rest = rest.strip_prefix(b"://").ok_or(UriError::Scheme)?;
        let end = rest.iter().position(|o| matches!(o, b'/' | b';')).ok_or(UriError::Transport)?;
        let (authority, rest) = rest.split_at(end);
        let semicolon = rest.iter().position(|o| *o == b';').ok_or(UriError::Transport)?;
        let (session, params) = rest.split_at(semicolon);
        let session = session.strip_prefix(b"/").unwrap_or(session);
        if !session.iter().all(|o| is_session_char(*o)) {
            return Err(UriError::Session);
        }
        let transport = params.split(|o| *o == b';').nth(1).unwrap_or(&[]);
        if transport.is_empty() || !transport.iter().all(u8::is_ascii_alphanumeric) {
            return Err(UriError::Transport);
        }
        let (host, port) = host_and_port(authority).ok_or(UriError::Authority)?;
        Ok(Uri { secure, host, port, session, transport })
    }

    /// Do both name the same thing (RFC 4975 section 6.1)? User parts and parameters after the transport do
    /// not count.
    pub fn same(&self, other: &Uri<'_>) -> bool {
        self.secure == other.secure
            && self.session == other.session
            && self.port == other.port
            && self.transport.eq_ignore_ascii_case(other.transport)
            && same_host(self.host, other.host)
    }
}

/// Are two URIs, as texts, the same? Texts that are no URIs are the same as nothing.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    match (Uri::parse(one), Uri::parse(other)) {
        (Ok(one), Ok(other)) => one.same(&other),
        _ => false,
    }
}

fn host_and_port(authority: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let at = authority.iter().rposition(|o| *o == b'@').map_or(0, |n| n + 1);
    let authority = authority.get(at..)?;
    let (host, port) = if let Some(rest) = authority.strip_prefix(b"[") {
        let close = rest.iter().position(|o| *o == b']')?;
        let host = rest.get(..close)?;
        address(host)?;
        (host, rest.get(close + 1..)?)
    } else {
        let colon = authority.iter().position(|o| *o == b':').unwrap_or(authority.len());
        authority.split_at(colon)
    };
    if host.is_empty() || !host.iter().all(|o| is_host_char(*o)) {
        return None;
    }
    let port = match port.strip_prefix(b":") {
        None if port.is_empty() => None,
        None => return None,
        Some(digits) => Some(number(digits)?),
    };
    Some((host, port))
}

fn number(digits: &[u8]) -> Option<u16> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    plain
        .then_some(digits)?
        .iter()
        .try_fold(0_u16, |n, o| n.checked_mul(10)?.checked_add(u16::from(o - b'0')))
}

fn address(host: &[u8]) -> Option<IpAddr> {
    core::str::from_utf8(host).ok().and_then(|host| IpAddr::from_str(host).ok())
}

fn same_host(one: &[u8], other: &[u8]) -> bool {
    if one == other {
        return true;
    }
    match (address(one), address(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => decoded(one).eq(decoded(other)),
        _ => false,
    }
}

/// The octets of a host in lower case, `%xx` of unreserved characters resolved.
fn decoded(host: &[u8]) -> impl Iterator<Item = (bool, u8)> {
    let mut at = 0;
    core::iter::from_fn(move || {
        let octet = *host.get(at)?;
        if octet == b'%' {
            let value = host.get(at + 1).and_then(hex).zip(host.get(at + 2).and_then(hex));
            if let Some((high, low)) = value {
                at += 3;
                let octet = high * 16 + low;
                // What is not unreserved stays apart from the same character written plainly.
                return Some((!is_unreserved(octet), octet.to_ascii_lowercase()));
            }
        }
        at += 1;
        Some((false, octet.to_ascii_lowercase()))
    })
}

fn hex(octet: &u8) -> Option<u8> {
    char::from(*octet).to_digit(16).and_then(|n| u8::try_from(n).ok())
}

const fn is_unreserved(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~')
}

const fn is_session_char(octet: u8) -> bool {
    is_unreserved(octet) || matches!(octet, b'+' | b'=' | b'/')
}

const fn is_host_char(octet: u8) -> bool {
    octet.is_ascii_graphic() && !matches!(octet, b'[' | b']' | b'<' | b'>' | b'"' | b'\\')
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts() {
        let uri = Uri::parse(b"msrps://u@[2001:DB8::1]:2855/a/b=+~;tcp;x=1").unwrap();
        assert!(uri.secure);
        assert_eq!(uri.host, b"2001:DB8::1");
        assert_eq!(uri.port, Some(2855));
        assert_eq!(uri.session, b"a/b=+~");
        assert_eq!(uri.transport, b"tcp");
    }

    #[test]
    fn not_uris() {
        for (text, error) in [
            ("sip:a", UriError::Scheme),
            ("msrp:a:1/x;tcp", UriError::Scheme),
            ("msrp://a:1/x", UriError::Transport),
            ("msrp://a:1/x;", UriError::Transport),
            ("msrp://a:1/%20;tcp", UriError::Session),
            ("msrp://a:99999/x;tcp", UriError::Authority),
            ("msrp://a:/x;tcp", UriError::Authority),
            ("msrp://:1/x;tcp", UriError::Authority),
            ("msrp://[::1/x;tcp", UriError::Authority),
            ("msrp://[zz]:1/x;tcp", UriError::Authority),
            ("msrp://a b:1/x;tcp", UriError::Authority),
        ] {
            assert_eq!(Uri::parse(text.as_bytes()).err(), Some(error), "{text}");
        }
    }

    #[test]
    fn comparison() {
        let same = |a: &str, b: &str| super::same(a.as_bytes(), b.as_bytes());
        let uri = "msrp://host.example:2855/abC;tcp";
        assert!(same(uri, "MSRP://me@HOST.%65xample:2855/abC;TCP;other=1"));
        assert!(same("msrp://[2001:db8::1]:1/x;tcp", "msrp://[2001:DB8:0:0::1]:1/x;tcp"));
        assert!(same("msrp://10.0.0.1:1/x;tcp", "msrp://10.0.0.1:1/x;tcp"));
        for other in [
            "msrps://host.example:2855/abC;tcp",
            "msrp://host.example:2856/abC;tcp",
            "msrp://host.example/abC;tcp",
            "msrp://host.example:2855/abc;tcp",
            "msrp://host.example:2855/abC;ws",
            "msrp://other.example:2855/abC;tcp",
            "msrp://10.0.0.1:2855/abC;tcp",
        ] {
            assert!(!same(uri, other), "{other}");
        }
        assert!(!same("nothing", "nothing"));
    }

    proptest! {
        #[test]
        fn any_octets(text: Vec<u8>) {
            let _ = Uri::parse(&text);
        }

        #[test]
        fn same_as_itself(host in "[a-zA-Z0-9.%-]{1,20}", port: u16, session in "[a-zA-Z0-9/+=]{1,30}") {
            let text = std::format!("msrp://{host}:{port}/{session};tcp");
            prop_assert!(same(text.as_bytes(), text.as_bytes()));
        }
    }
}
