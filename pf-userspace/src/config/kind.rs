//! The kinds of values that options take: how each is named, checked, and explained.

use std::{
    net::{IpAddr, SocketAddr},
    ops::Range,
};

use hyper::header::HeaderName;
use toml::{Spanned, de::DeValue};

use super::model::SipListen;
use crate::core::{policy::Release, sip::Uri};

/// What an option's value may be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A SIP or tel URI of a user.
    CpmAddress,
    /// A domain name.
    Domain,
    /// An IP literal or a domain name.
    Host,
    /// The name of a header field.
    HeaderName,
    /// An `http` URI without query.
    HttpRoot,
    /// A whole number within bounds, and what it counts.
    Integer(u64, u64, &'static str),
    /// The name of a network interface.
    Interface,
    /// An IP address.
    Ip,
    /// Several values of one kind.
    List(&'static Kind),
    /// A log level or filter directives.
    LogFilter,
    /// A path; relative ones count from the folder of the configuration file.
    Path,
    /// Product tokens, the first with the CPM release.
    Product,
    /// `udp:ADDRESS:PORT` or `tcp:ADDRESS:PORT`.
    SipListen,
    /// A SIP URI that names a next hop.
    SipUri,
    /// `ADDRESS:PORT`.
    SocketAddr,
    /// A string that is not empty.
    Text,
    /// `{ minimum = "2.2" }` or `{ exact = "2.2" }`.
    VersionRule,
}

/// Why a value is not of its kind: place, what is wrong, how to mend it.
pub type Misfit = (Range<usize>, String, String);

impl Kind {
    /// The kind's name in the reference.
    pub fn name(&self) -> String {
        match self {
            Kind::Bool => "boolean".to_owned(),
            Kind::Choice(words) => words.iter().map(|w| format!("`\"{w}\"`")).collect::<Vec<_>>().join(", "),
            Kind::CpmAddress => "user address (SIP or tel URI)".to_owned(),
            Kind::Domain => "domain name".to_owned(),
            Kind::Host => "IP address or domain name".to_owned(),
            Kind::HeaderName => "name of a header field".to_owned(),
            Kind::HttpRoot => "HTTP URI".to_owned(),
            Kind::Integer(min, max, unit) => format!("integer, {min} to {max} ({unit})"),
            Kind::Interface => "interface name".to_owned(),
            Kind::Ip => "IP address".to_owned(),
            Kind::List(kind) => format!("list of: {}", kind.name()),
            Kind::LogFilter => "log level or filter".to_owned(),
            Kind::Path => "path".to_owned(),
            Kind::Product => "product tokens".to_owned(),
            Kind::SipListen => "`transport:address:port`".to_owned(),
            Kind::SipUri => "SIP URI".to_owned(),
            Kind::SocketAddr => "`address:port`".to_owned(),
            Kind::Text => "string".to_owned(),
            Kind::VersionRule => "table with `minimum` or `exact`".to_owned(),
        }
    }

    /// Looks at a value; every misfit is added to `out`. `example` is a good value, as written in TOML.
    pub fn check(&self, value: &Spanned<DeValue<'_>>, example: &str, out: &mut Vec<Misfit>) {
        let help = format!("write it like {example}");
        let mut bad = |message: String| out.push((value.span(), message, help.clone()));
        match (self, value.get_ref()) {
            (Kind::Bool, DeValue::Boolean(_)) => {}
            (Kind::Bool, other) => bad(wrong_type("true or false", other)),
            (Kind::Integer(min, max, unit), DeValue::Integer(number)) => {
                let parsed = u64::from_str_radix(&number.as_str().replace('_', ""), number.radix());
                if !parsed.is_ok_and(|n| (*min..=*max).contains(&n)) {
                    bad(format!("{} is not within {min} to {max} ({unit})", number.as_str()));
                }
            }
            (Kind::Integer(min, max, unit), other) => {
                bad(wrong_type(&format!("a whole number from {min} to {max} ({unit})"), other));
            }
            (Kind::List(kind), DeValue::Array(values)) => {
                let element = example.trim_start_matches('[').split(", ").next().unwrap_or_default();
                for value in values.iter() {
                    kind.check(value, element.trim_end_matches(']'), out);
                }
            }
            (Kind::List(_), other) => bad(wrong_type("a list in square brackets", other)),
            (Kind::VersionRule, DeValue::Table(table)) => {
                if table.len() != 1 {
                    bad("say either `minimum` or `exact`, and nothing else".to_owned());
                    return;
                }
                for (key, release) in table.iter() {
                    if !matches!(key.get_ref().as_ref(), "minimum" | "exact") {
                        let message = format!("`{}` is neither `minimum` nor `exact`", key.get_ref());
                        out.push((key.span(), message, help.clone()));
                    } else if let Err(message) = release
                        .get_ref()
                        .as_str()
                        .ok_or_else(|| wrong_type("a release in quotes", release.get_ref()))
                        .and_then(|text| Release::try_from(text.to_owned()))
                    {
                        out.push((release.span(), message, help.clone()));
                    }
                }
            }
            (Kind::VersionRule, other) => bad(wrong_type("a table", other)),
            (_, DeValue::String(text)) => {
                if let Err(message) = self.check_text(text) {
                    bad(message);
                }
            }
            (_, other) => bad(wrong_type("a string in quotes", other)),
        }
    }

    fn check_text(&self, text: &str) -> Result<(), String> {
        let is = |fine: bool, what: &str| if fine { Ok(()) } else { Err(format!("`{text}` is not {what}")) };
        match self {
            Kind::Choice(words) => is(words.contains(&text), &format!("one of {}", words.join(", "))),
            Kind::CpmAddress => match Uri::parse(text) {
                Ok(uri) if uri.scheme == "tel" => is(
                    uri.user.as_deref().is_some_and(|n| n.chars().any(|c| c.is_ascii_digit())),
                    "a telephone number: a tel URI has digits",
                ),
                Ok(uri) if uri.scheme == "sip" || uri.scheme == "sips" => is(
                    uri.user.is_some_and(|u| !u.is_empty()),
                    "a user's address: there is no user before the @",
                ),
                _ => is(false, "a SIP or tel URI"),
            },
            Kind::Domain => is(is_domain(text), "a domain name (no scheme, no port, no blanks)"),
            Kind::Host => is(
                text.parse::<IpAddr>().is_ok() || is_domain(text),
                "an IP address (without brackets) or a domain name",
            ),
            Kind::HeaderName => {
                is(HeaderName::from_bytes(text.as_bytes()).is_ok(), "the name of an HTTP header field")
            }
            Kind::HttpRoot => match text.parse::<hyper::Uri>() {
                Ok(uri) if uri.scheme_str() == Some("https") => {
                    Err("`https` is not in this build: TLS has to begin at a proxy between pf and there"
                        .to_owned())
                }
                Ok(uri) => is(
                    uri.scheme_str() == Some("http")
                        && uri.host().is_some_and(|host| !host.is_empty())
                        && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
                        && uri.query().is_none(),
                    "an HTTP URI (http://host/path, without user, password and query)",
                ),
                Err(_) => is(false, "a URI"),
            },
            // IFNAMSIZ is 16 with the closing zero.
            Kind::Interface => is(
                (1..16).contains(&text.len())
                    && !matches!(text, "." | "..")
                    && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '/' | ':')),
                "the name of an interface (at most 15 characters, no blanks, no slash)",
            ),
            Kind::Ip => is(text.parse::<IpAddr>().is_ok(), "an IP address (no port, no name, no brackets)"),
            Kind::LogFilter => {
                is(text.parse::<tracing_subscriber::filter::Targets>().is_ok(), "a log level or filter")
            }
            Kind::Product => is(
                text.split_ascii_whitespace().next().is_some_and(|t| t.starts_with("CPM-serv/OMA"))
                    && text.chars().all(|c| c == ' ' || c.is_ascii_graphic()),
                "a product whose first token is the CPM release",
            ),
            Kind::SipListen => SipListen::try_from(text.to_owned()).map(drop),
            Kind::SipUri => match Uri::parse(text) {
                Ok(uri) if uri.scheme == "sip" && text.chars().all(is_uri_char) => {
                    let transport = uri.param("transport").unwrap_or("udp").to_ascii_lowercase();
                    is(
                        matches!(transport.as_str(), "udp" | "tcp"),
                        "reachable: transport has to be udp or tcp",
                    )
                }
                _ => is(false, "a SIP URI (sip:host or sip:host:port)"),
            },
            Kind::SocketAddr => {
                is(text.parse::<SocketAddr>().is_ok(), "an IP address with a port (IPv6 in brackets)")
            }
            Kind::Path | Kind::Text => {
                if text.trim().is_empty() || text.contains('\0') {
                    Err("it is empty".to_owned())
                } else {
                    Ok(())
                }
            }
            Kind::Bool | Kind::Integer(..) | Kind::List(_) | Kind::VersionRule => is(false, &self.name()),
        }
    }
}

fn wrong_type(wanted: &str, got: &DeValue<'_>) -> String {
    format!("this has to be {wanted}, and it is {}", type_name(got))
}

/// A TOML value's type in plain words.
pub fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Array(_) => "a list",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Integer(_) => "a whole number",
        DeValue::String(_) => "a string",
        DeValue::Table(_) => "a table",
    }
}

fn is_uri_char(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"')
}

fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    text.len() <= 253 && text.split('.').all(label)
}
