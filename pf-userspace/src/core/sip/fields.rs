//! Header field values: name-addr, parameters, SIP/tel URIs, comma lists.

/// A parsed header value of the form `"display" <uri>;param=value` or `uri;param=value`
/// (RFC 3261 section 20.10): From, To, Contact, Route, P-Asserted-Identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameAddr {
    /// The display name without its quotes, escapes resolved; empty where there is none.
    pub display: String,
    /// The URI as it stands.
    pub uri: String,
    /// Header parameters in order, as they stand: name (as received) and value (quotes kept).
    pub params: Vec<(String, Option<String>)>,
}

/// A header value could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// There is no URI in it.
    #[error("no URI")]
    NoUri,
    /// A quote or an angle bracket is not closed.
    #[error("unclosed quote or bracket")]
    Unclosed,
}

impl NameAddr {
    /// Reads a name-addr or addr-spec with header parameters.
    pub fn parse(value: &str) -> Result<NameAddr, FieldError> {
        let value = value.trim();
        let (display, rest) = match value.strip_prefix('"') {
            Some(quoted) => {
                let end = closing_quote(quoted).ok_or(FieldError::Unclosed)?;
                (unescape(&quoted[..end]), quoted[end + 1..].trim_start())
            }
            None => match value.find('<') {
                Some(at) => (value[..at].trim().to_owned(), &value[at..]),
                None => (String::new(), value),
            },
        };
        let (uri, params) = match rest.strip_prefix('<') {
            Some(inner) => {
                let end = inner.find('>').ok_or(FieldError::Unclosed)?;
                (&inner[..end], &inner[end + 1..])
            }
            // Without brackets every parameter is the header's (RFC 3261 section 20).
            None => rest.split_at(rest.find(';').unwrap_or(rest.len())),
        };
        if uri.trim().is_empty() {
            return Err(FieldError::NoUri);
        }
        Ok(NameAddr { display, uri: uri.trim().to_owned(), params: parse_params(params) })
    }

    /// The value of a header parameter without quotes; `Some("")` for one without value.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| unquote(v.as_deref().unwrap_or_default()))
    }

    /// Header parameters as they stand, each with its leading semicolon.
    pub fn params_text(&self) -> String {
        params_text(&self.params)
    }
}

/// A SIP, SIPS or tel URI taken apart; other schemes keep everything after the colon in `host`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    /// Scheme in lower case.
    pub scheme: String,
    /// User part as it stands (escapes kept); for `tel` the number.
    pub user: Option<String>,
    /// Host without brackets, in lower case; empty for `tel`.
    pub host: String,
    /// Port, if given.
    pub port: Option<u16>,
    /// URI parameters in order.
    pub params: Vec<(String, Option<String>)>,
}

impl Uri {
    /// Reads a URI.
    pub fn parse(text: &str) -> Result<Uri, FieldError> {
        let (scheme, rest) = text.trim().split_once(':').ok_or(FieldError::NoUri)?;
        let scheme = scheme.to_ascii_lowercase();
        if scheme == "tel" {
            let (number, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
            return Ok(Uri {
                scheme,
                user: Some(number.to_owned()),
                host: String::new(),
                port: None,
                params: parse_params(params),
            });
        }
        if scheme != "sip" && scheme != "sips" {
            return Ok(Uri { scheme, user: None, host: rest.to_owned(), port: None, params: Vec::new() });
        }
        let rest = rest.split('?').next().unwrap_or_default();
        let (user, rest) = match rest.rfind('@') {
            Some(at) => (Some(rest[..at].to_owned()), &rest[at + 1..]),
            None => (None, rest),
        };
        let (hostport, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
        let (host, port) = split_host_port(hostport).ok_or(FieldError::NoUri)?;
        if host.is_empty() {
            return Err(FieldError::NoUri);
        }
        Ok(Uri { scheme, user, host: host.to_ascii_lowercase(), port, params: parse_params(params) })
    }

    /// The value of a URI parameter; `Some("")` for one without value.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_deref().unwrap_or_default())
    }
}

/// Splits `host`, `host:port`, `[v6]`, `[v6]:port`; the host loses its brackets.
pub fn split_host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(v6) => {
            let (host, rest) = v6.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    match port {
        Some(port) => Some((host, Some(port.parse().ok()?))),
        None => Some((host, None)),
    }
}

/// Splits a header value at the commas between its elements; blanks around them are cut off, empty ones dropped.
pub fn split_list(value: &str) -> impl Iterator<Item = &str> {
    split_outside(value, b',').into_iter().map(str::trim).filter(|e| !e.is_empty())
}

/// Reads `;name=value;name` (a leading semicolon is optional).
pub fn parse_params(text: &str) -> Vec<(String, Option<String>)> {
    split_outside(text, b';')
        .into_iter()
        .map(str::trim)
        .filter(|p| !p.is_empty())
        .map(|p| match p.split_once('=') {
            Some((name, value)) => (name.trim_end().to_owned(), Some(value.trim_start().to_owned())),
            None => (p.to_owned(), None),
        })
        .collect()
}

/// Writes parameters, each with its leading semicolon.
pub fn params_text(params: &[(String, Option<String>)]) -> String {
    let mut text = String::new();
    for (name, value) in params {
        text.push(';');
        text.push_str(name);
        if let Some(value) = value {
            text.push('=');
            text.push_str(value);
        }
    }
    text
}

/// Takes one pair of quotes off, if there is one.
pub fn unquote(value: &str) -> &str {
    value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value)
}

fn split_outside(text: &str, separator: u8) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut bracketed, mut escaped) = (Vec::new(), 0, false, false, false);
    for (at, octet) in text.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'<' if !quoted => bracketed = true,
            b'>' if !quoted => bracketed = false,
            o if o == separator && !quoted && !bracketed => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|octet| {
        let closes = octet == b'"' && !escaped;
        escaped = octet == b'\\' && !escaped;
        closes
    })
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_addr_keeps_uri_and_header_parameters_apart() {
        let contact = NameAddr::parse(
            r#""Ann \"A\" <x>" <sip:ann@[2001:db8::1]:5060;transport=tcp>;+sip.instance="<urn:uuid:1>";q=0.5;audio"#,
        )
        .unwrap();
        assert_eq!(contact.display, r#"Ann "A" <x>"#);
        assert_eq!(contact.uri, "sip:ann@[2001:db8::1]:5060;transport=tcp");
        assert_eq!(contact.param("+SIP.instance"), Some("<urn:uuid:1>"));
        assert_eq!(contact.param("audio"), Some(""));
        assert_eq!(contact.params_text(), r#";+sip.instance="<urn:uuid:1>";q=0.5;audio"#);
        let bare = NameAddr::parse("tel:+15551234;tag=7").unwrap();
        assert_eq!((bare.uri.as_str(), bare.param("tag")), ("tel:+15551234", Some("7")));
        assert_eq!(NameAddr::parse("\"open <sip:a@b>"), Err(FieldError::Unclosed));
        assert_eq!(NameAddr::parse("<>"), Err(FieldError::NoUri));
    }

    #[test]
    fn uri_of_every_scheme() {
        let uri = Uri::parse("SIP:%75ser:pw@Example.ORG:5070;lr;transport=tcp?x=y").unwrap();
        assert_eq!((uri.scheme.as_str(), uri.user.as_deref()), ("sip", Some("%75ser:pw")));
        assert_eq!(
            (uri.host.as_str(), uri.port, uri.param("transport")),
            ("example.org", Some(5070), Some("tcp"))
        );
        let v6 = Uri::parse("sips:[2001:DB8::7]").unwrap();
        assert_eq!((v6.host.as_str(), v6.port), ("2001:db8::7", None));
        assert_eq!(Uri::parse("tel:+1-555;phone-context=x").unwrap().user.as_deref(), Some("+1-555"));
        assert_eq!(Uri::parse("mailto:a@b").unwrap().scheme, "mailto");
        assert!(
            Uri::parse("sip:").is_err()
                && Uri::parse("nothing").is_err()
                && Uri::parse("sip:a@h:99999").is_err()
        );
    }

    #[test]
    fn lists_split_only_between_elements() {
        let list: Vec<_> = split_list(r#"<sip:a,b@c>;x="1,2" , "d,\"e" <sip:f>,, g"#).collect();
        assert_eq!(list, [r#"<sip:a,b@c>;x="1,2""#, r#""d,\"e" <sip:f>"#, "g"]);
    }
}
