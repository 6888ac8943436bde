//! SIP methods: those that `pf` has procedures for, and others, which it can only pass on.

use std::{fmt, str::FromStr};

/// A SIP method (RFC 3261 section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Method {
    Ack,
    Bye,
    Cancel,
    Info,
    Invite,
    Message,
    Notify,
    Options,
    Prack,
    Publish,
    Refer,
    Register,
    Subscribe,
    Update,
    /// One that `pf` knows nothing of. As a proxy it passes such a request on (RFC 3261 section 16.3 step 1).
    Other(Extension),
}

/// The name of a method that `pf` does not know. The bound keeps [`Method`] a plain value; a longer name is answered
/// 501.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Extension {
    length: u8,
    octets: [u8; Extension::MAX],
}

impl Extension {
    /// The longest name, in octets.
    pub const MAX: usize = 47;

    fn new(name: &str) -> Option<Extension> {
        let token = |octet: u8| octet.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&octet);
        let length = u8::try_from(name.len()).ok().filter(|length| *length > 0)?;
        let mut octets = [0; Extension::MAX];
        octets.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        name.bytes().all(token).then_some(Extension { length, octets })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        // It was made of the octets of a token, which are all ASCII.
        let name = self.octets.get(..usize::from(self.length)).unwrap_or_default();
        std::str::from_utf8(name).unwrap_or_default()
    }
}

impl fmt::Debug for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Method {
    /// All methods that `pf` knows, in the order of an `Allow` header.
    pub const KNOWN: [Method; 14] = [
        Method::Ack,
        Method::Bye,
        Method::Cancel,
        Method::Info,
        Method::Invite,
        Method::Message,
        Method::Notify,
        Method::Options,
        Method::Prack,
        Method::Publish,
        Method::Refer,
        Method::Register,
        Method::Subscribe,
        Method::Update,
    ];

    /// The method's token.
    pub fn as_str(&self) -> &str {
        match self {
            Method::Ack => "ACK",
            Method::Bye => "BYE",
            Method::Cancel => "CANCEL",
            Method::Info => "INFO",
            Method::Invite => "INVITE",
            Method::Message => "MESSAGE",
            Method::Notify => "NOTIFY",
            Method::Options => "OPTIONS",
            Method::Prack => "PRACK",
            Method::Publish => "PUBLISH",
            Method::Refer => "REFER",
            Method::Register => "REGISTER",
            Method::Subscribe => "SUBSCRIBE",
            Method::Update => "UPDATE",
            Method::Other(name) => name.as_str(),
        }
    }

    /// Every method that `pf` knows, as the value of an `Allow` header.
    pub fn known() -> String {
        Method::KNOWN.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is no token, or longer than [`Extension::MAX`].
#[derive(Debug, thiserror::Error)]
#[error("no usable method")]
pub struct UnusableMethod;

impl FromStr for Method {
    type Err = UnusableMethod;
    /// Methods are case-sensitive (RFC 3261 section 7.1).
    fn from_str(token: &str) -> Result<Method, UnusableMethod> {
        let known = Method::KNOWN.into_iter().find(|m| m.as_str() == token);
        known.or_else(|| Extension::new(token).map(Method::Other)).ok_or(UnusableMethod)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_up_to_the_bound_is_a_method_and_keeps_its_case() {
        for known in Method::KNOWN {
            assert_eq!(known.as_str().parse::<Method>().unwrap(), known);
        }
        for other in ["invite", "FLY", "!interesting-Method0123456789_*+`.%indeed'~", &"M".repeat(47)] {
            let method: Method = other.parse().unwrap();
            assert!(matches!(method, Method::Other(_)), "{other}");
            assert_eq!(method.to_string(), other);
        }
        for bad in ["", "A B", "\u{e4}", "A@B", &"M".repeat(48), &"M".repeat(400)] {
            assert!(bad.parse::<Method>().is_err(), "{bad}");
        }
    }
}
