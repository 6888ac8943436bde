//! Does an originator ask to stay anonymous?

use crate::core::sip::{NameAddr, Request, Uri};

/// Does the request ask for anonymity? By `Privacy` with `id` (RFC 3325), `header`, `user` or `session`
/// (RFC 3323), or by a From that hides the user (`anonymous.invalid`). `none` and `critical` ask for nothing,
/// `history` hides others than the originator.
pub fn anonymity_requested(request: &Request) -> bool {
    let asked = request.headers.all("Privacy").flat_map(|value| value.split([';', ','])).any(|value| {
        ["id", "header", "user", "session"].iter().any(|p| value.trim().eq_ignore_ascii_case(p))
    });
    asked || request.headers.get("From").is_some_and(is_anonymous)
}

/// Is this From (or To) value an anonymous one: does its URI point into `anonymous.invalid`?
pub fn is_anonymous(value: &str) -> bool {
    let uri = NameAddr::parse(value).and_then(|address| Uri::parse(&address.uri));
    uri.is_ok_and(|uri| {
        uri.host.strip_suffix("anonymous.invalid").is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::sip::Method;

    fn invite(headers: &[(&str, &str)]) -> Request {
        let mut request = Request::new(Method::Invite, "sip:bob@example.org");
        for (name, value) in headers {
            request.headers.push(*name, *value);
        }
        request
    }

    // Rows: INV-06
    #[test]
    fn anonymity_is_seen_in_privacy_and_in_from() {
        let ann = ("From", "Ann <sip:ann@example.org>;tag=1");
        for (privacy, asked) in [
            ("id", true),
            ("critical;ID", true),
            ("header ; session", true),
            ("user,critical", true),
            ("session", true),
            ("none", false),
            ("critical", false),
            ("history", false),
            ("identity", false),
        ] {
            assert_eq!(anonymity_requested(&invite(&[ann, ("Privacy", privacy)])), asked, "{privacy}");
        }
        assert!(anonymity_requested(&invite(&[ann, ("Privacy", "none"), ("Privacy", "id")])));
        assert!(!anonymity_requested(&invite(&[ann])));
        assert!(!anonymity_requested(&invite(&[])));
        for (from, hidden) in [
            ("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=1", true),
            ("<sip:c8oqz84zk7z@privacy.Anonymous.INVALID>;tag=1", true),
            ("\"Anonymous\" <sip:ann@example.org>;tag=1", false),
            ("<sip:ann@not-anonymous.invalid>;tag=1", false),
            ("<sip:ann@anonymous.invalid.example.org>;tag=1", false),
        ] {
            assert_eq!(anonymity_requested(&invite(&[("f", from)])), hidden, "{from}");
        }
    }
}
