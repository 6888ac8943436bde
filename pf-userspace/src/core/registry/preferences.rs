//! Caller preferences (RFC 3841): which devices have the capabilities (RFC 3840) that an INVITE asks for.
//!
//! Each value of Accept-Contact or Reject-Contact is a predicate: a list of feature tags with values. A device is
//! measured against it by what it registered in its Contact (RFC 3841 section 7.2.4, matching of RFC 2533):
//!
//! - A tag that the device says nothing of matches, since nobody knows.
//! - `require`: who does not match is out. With `explicit` too, who says nothing of one of the tags is out as well.
//! - Reject-Contact: out is who says something of every tag and matches.
//!
//! Without `require` an Accept-Contact only orders the devices, and all of ours are invited at once.

use crate::core::sip::{
    Headers,
    fields::{parse_params, unquote},
};

use super::{Device, address::unescape};

/// Feature tags without `+` (RFC 3840 section 9); any other parameter without it is none.
const BASE_TAGS: [&str; 20] = [
    "actor",
    "application",
    "audio",
    "automata",
    "class",
    "control",
    "data",
    "description",
    "duplex",
    "events",
    "extensions",
    "isfocus",
    "language",
    "methods",
    "mobility",
    "priority",
    "schemes",
    "text",
    "type",
    "video",
];
/// The most feature tags of one INVITE that are looked at, in each of the two headers.
const MAX_TERMS: usize = 64;

/// What an INVITE asks of the devices that it shall reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    accept: Vec<Predicate>,
    reject: Vec<Predicate>,
}

/// One value of Accept-Contact or Reject-Contact.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Predicate {
    terms: Vec<Term>,
    require: bool,
    explicit: bool,
}

/// A feature tag in lower case with its values, any of which will do.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    tag: String,
    values: Vec<Value>,
}

/// One value of a feature tag.
#[derive(Clone, Debug, PartialEq)]
struct Value {
    /// Anything but this.
    not: bool,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// Token or boolean, in lower case.
    Token(String),
    /// `<...>`: case matters.
    Text(String),
    /// From, to.
    Numbers(f64, f64),
}

impl Eq for Value {}

impl Preferences {
    /// Reads Accept-Contact and Reject-Contact.
    pub fn read(headers: &Headers) -> Preferences {
        let read = |name: &str| {
            let mut left = MAX_TERMS;
            let mut predicates = Vec::new();
            for value in headers.list(name) {
                let predicate = Predicate::parse(value, left);
                left -= predicate.terms.len();
                if !predicate.terms.is_empty() {
                    predicates.push(predicate);
                }
            }
            predicates
        };
        Preferences { accept: read("Accept-Contact"), reject: read("Reject-Contact") }
    }

    /// Is the device one that the INVITE may reach?
    pub fn admit(&self, device: &Device) -> bool {
        let rejected = self.reject.iter().any(|predicate| {
            let (matches, explicit) = predicate.measure(device);
            matches && explicit
        });
        !rejected
            && self.accept.iter().filter(|predicate| predicate.require).all(|predicate| {
                let (matches, explicit) = predicate.measure(device);
                matches && (explicit || !predicate.explicit)
            })
    }
}

impl Predicate {
    /// Reads `*;tag="value";require`. At most `limit` tags are kept.
    fn parse(value: &str, limit: usize) -> Predicate {
        let mut predicate = Predicate { terms: Vec::new(), require: false, explicit: false };
        for (name, value) in parse_params(value.trim_start().trim_start_matches('*')) {
            match name.to_ascii_lowercase() {
                name if name == "require" => predicate.require = true,
                name if name == "explicit" => predicate.explicit = true,
                tag if is_capability(&tag) && predicate.terms.len() < limit => {
                    let values = values(&tag, value.as_deref());
                    predicate.terms.push(Term { tag, values });
                }
                _ => {}
            }
        }
        predicate
    }

    /// Does the device match, and does it say something of every tag?
    fn measure(&self, device: &Device) -> (bool, bool) {
        let (mut matches, mut explicit) = (true, true);
        for term in &self.terms {
            match offered(device, &term.tag) {
                Some(offered) => {
                    let fits = |wanted: &Value| offered.iter().any(|o| compatible(&term.tag, wanted, o));
                    matches &= term.values.iter().any(fits);
                }
                None => explicit = false,
            }
        }
        (matches, explicit)
    }
}

/// Is it a feature tag that tells what a device can do? `+sip.instance` tells which one it is: in an INVITE it means
/// one of the called user's.
fn is_capability(tag: &str) -> bool {
    (tag.starts_with('+') && tag != "+sip.instance") || BASE_TAGS.contains(&tag)
}

/// What the device registered for this tag.
fn offered(device: &Device, tag: &str) -> Option<Vec<Value>> {
    let mut registered = device.params.iter().filter(|(name, _)| name.eq_ignore_ascii_case(tag)).peekable();
    if registered.peek().is_some() {
        return Some(registered.flat_map(|(_, value)| values(tag, value.as_deref())).collect());
    }
    let allowed = tag == "methods" && !device.allow.is_empty();
    allowed.then(|| values(tag, Some(&device.allow.join(","))))
}

/// Reads the values of a tag: none is the boolean TRUE (RFC 3840 section 9).
fn values(tag: &str, text: Option<&str>) -> Vec<Value> {
    let Some(text) = text else { return vec![token("true")] };
    let text = unquote(text.trim());
    if let Some(text) = text.strip_prefix('<').and_then(|t| t.strip_suffix('>')) {
        return vec![Value { not: false, kind: Kind::Text(text.to_owned()) }];
    }
    text.split(',').map(|element| value(tag, element.trim())).collect()
}

fn value(tag: &str, element: &str) -> Value {
    let (not, element) = match element.strip_prefix('!') {
        Some(rest) => (true, rest.trim_start()),
        None => (false, element),
    };
    if let Some((from, to)) = element.strip_prefix('#').and_then(numbers) {
        return Value { not, kind: Kind::Numbers(from, to) };
    }
    let element = match is_urn(tag) {
        true => unescape(element).to_ascii_lowercase(),
        false => element.to_ascii_lowercase(),
    };
    match (not, element.as_str()) {
        // There are but two of them.
        (true, "true") => token("false"),
        (true, "false") => token("true"),
        _ => Value { not, kind: Kind::Token(element) },
    }
}

fn token(text: &str) -> Value {
    Value { not: false, kind: Kind::Token(text.to_owned()) }
}

/// `=5`, `>=5`, `<=5`, `5:7`.
fn numbers(text: &str) -> Option<(f64, f64)> {
    let number = |text: &str| {
        let text = text.trim();
        let clean = text.bytes().all(|o| o.is_ascii_digit() || b"+-.".contains(&o));
        text.parse::<f64>().ok().filter(|_| clean)
    };
    if let Some(least) = text.strip_prefix(">=") {
        Some((number(least)?, f64::INFINITY))
    } else if let Some(most) = text.strip_prefix("<=") {
        Some((f64::NEG_INFINITY, number(most)?))
    } else if let Some(exact) = text.strip_prefix('=') {
        number(exact).map(|number| (number, number))
    } else {
        let (from, to) = text.split_once(':')?;
        Some((number(from)?, number(to)?))
    }
}

/// Service and application identifiers: escaped URNs.
fn is_urn(tag: &str) -> bool {
    matches!(tag, "+g.3gpp.iari-ref" | "+g.3gpp.icsi-ref")
}

/// Can both hold at once?
fn compatible(tag: &str, wanted: &Value, offered: &Value) -> bool {
    if wanted.not && offered.not {
        return true;
    }
    let same = match (&wanted.kind, &offered.kind) {
        // A sub-class serves where its class is asked for (TS 24.229 clause 7.2A.8.2).
        (Kind::Token(wanted), Kind::Token(offered)) if tag == "+g.3gpp.icsi-ref" => {
            let rest = offered.strip_prefix(wanted.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        }
        (Kind::Token(wanted), Kind::Token(offered)) => wanted == offered,
        (Kind::Text(wanted), Kind::Text(offered)) => wanted == offered,
        (Kind::Numbers(a, b), Kind::Numbers(c, d)) => match (wanted.not, offered.not) {
            // Is there something outside of it?
            (true, false) => return c < a || d > b,
            (false, true) => return a < c || b > d,
            _ => a.max(*c) <= b.min(*d),
        },
        _ => false,
    };
    same != (wanted.not || offered.not)
}
