//! Pieces of header values.

use std::net::{IpAddr, SocketAddr};

/// The URI of a name-addr or addr-spec.
pub fn uri(value: &str) -> &str {
    match (value.find('<'), value.find('>')) {
        (Some(open), Some(close)) if open < close => &value[open + 1..close],
        _ => value.split(';').next().unwrap_or_default().trim(),
    }
}

/// A header parameter outside the angle brackets, without its quotes; `Some("")` for one without value.
pub fn param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let rest = match value.rfind('>') {
        // A `>` may stand in a quoted parameter (`+sip.instance="<urn:...>"`): look after the first URI only.
        Some(_) if value.contains('<') => &value[first_uri_end(value)..],
        _ => value,
    };
    split_quoted(rest, ';').into_iter().skip(1).find_map(|part| {
        let (key, val) = part.split_once('=').unwrap_or((part, ""));
        key.trim().eq_ignore_ascii_case(name).then(|| val.trim().trim_matches('"'))
    })
}

/// The `tag` parameter of From or To.
pub fn tag(value: &str) -> Option<&str> {
    param(value, "tag")
}

/// Splits a header value at its commas, those in quotes and angle brackets left alone.
pub fn split_list(value: &str) -> Vec<&str> {
    split_quoted(value, ',').into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// A parameter of a WWW-Authenticate or Proxy-Authenticate value.
pub fn digest_param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let list = value.split_once(' ')?.1;
    split_list(list).into_iter().find_map(|part| {
        let (key, val) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| val.trim().trim_matches('"'))
    })
}

/// Host and port of a SIP URI whose host is an IP address, and its transport parameter.
pub fn host_port(uri: &str) -> Option<(SocketAddr, Option<String>)> {
    let rest = uri.strip_prefix("sips:").or_else(|| uri.strip_prefix("sip:"))?;
    let rest = rest.split(['?']).next()?;
    let mut parts = rest.split(';');
    let address = parts.next()?;
    let address = address.rsplit_once('@').map_or(address, |(_, host)| host);
    let transport = parts.find_map(|p| p.strip_prefix("transport=")).map(str::to_lowercase);
    let socket = match address.parse::<SocketAddr>() {
        Ok(socket) => socket,
        Err(_) => {
            let host: IpAddr = address.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
            SocketAddr::new(host, 5060)
        }
    };
    Some((socket, transport))
}

fn first_uri_end(value: &str) -> usize {
    let mut quoted = false;
    for (at, c) in value.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '>' if !quoted => return at,
            _ => {}
        }
    }
    0
}

fn split_quoted(value: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut angle, mut escaped) = (Vec::new(), 0, false, false, false);
    for (at, c) in value.char_indices() {
        if escaped {
            escaped = false;
            continue;
        }
        match c {
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' if !quoted => angle = true,
            '>' if !quoted => angle = false,
            c if c == separator && !quoted && !angle => {
                parts.push(&value[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&value[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_after_brackets_and_in_quotes() {
        let contact = r#""A; B" <sip:a@1.2.3.4:5070;transport=tcp>;+sip.instance="<urn:uuid:1>";q=0.5"#;
        assert_eq!(uri(contact), "sip:a@1.2.3.4:5070;transport=tcp");
        assert_eq!(param(contact, "+sip.instance"), Some("<urn:uuid:1>"));
        assert_eq!(param(contact, "q"), Some("0.5"));
        assert_eq!(param(contact, "transport"), None);
        let (socket, transport) = host_port(uri(contact)).unwrap();
        assert_eq!((socket.port(), transport.as_deref()), (5070, Some("tcp")));
    }

    #[test]
    fn lists_and_challenges() {
        assert_eq!(split_list(r#"<sip:a,b@x>, "c,d" <sip:e>"#).len(), 2);
        let challenge = r#"Digest realm="a, b", nonce="n", qop="auth""#;
        assert_eq!(digest_param(challenge, "realm"), Some("a, b"));
        assert_eq!(digest_param(challenge, "qop"), Some("auth"));
    }
}
