//! When are two addresses or two Contact URIs the same?

use crate::core::sip::Uri;

/// A form of a CPM address (SIP or tel URI) that is equal for equal addresses: an address of record loses its
/// parameters, port, password and escapes (RFC 3261 section 10.3 step 5; `sips` counts as `sip`), a telephone
/// number its visual separators (RFC 3966 section 4). `None` where it is no URI.
pub fn address_key(uri: &str) -> Option<String> {
    #[cfg(test)]
    tests::LOOKED_AT.set(tests::LOOKED_AT.get() + 1);
    let uri = Uri::parse(uri).ok()?;
    let user = uri.user.as_deref().unwrap_or_default();
    match uri.scheme.as_str() {
        "sip" | "sips" => {
            let user = unescape(user.split(':').next().unwrap_or_default());
            let user = if user.starts_with('+') { number(&user) } else { user };
            Some(format!("sip:{user}@{}", uri.host))
        }
        "tel" => {
            let digits = number(user);
            let context = uri.param("phone-context").filter(|_| !digits.starts_with('+'));
            let context = context.map(|c| format!(";phone-context={}", c.to_ascii_lowercase()));
            (!digits.is_empty()).then(|| format!("tel:{digits}{}", context.unwrap_or_default()))
        }
        scheme => (!uri.host.is_empty()).then(|| format!("{scheme}:{}", uri.host)),
    }
}

/// Do two URIs mean the same user?
pub fn same_address(a: &str, b: &str) -> bool {
    matches!((address_key(a), address_key(b)), (Some(a), Some(b)) if a == b)
}

/// Are two Contact URIs equal (RFC 3261 section 19.1.4)? Header components are not looked at.
pub fn same_contact(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    let (Ok(a), Ok(b)) = (Uri::parse(a), Uri::parse(b)) else { return false };
    let user = |uri: &Uri| uri.user.as_deref().map(unescape);
    let decides = |name: &str| {
        ["gr", "maddr", "method", "transport", "ttl", "user"].iter().any(|n| name.eq_ignore_ascii_case(n))
    };
    // A parameter of one side must have its like on the other; most may also be missing there.
    let agrees = |one: &Uri, other: &Uri| {
        one.params.iter().all(|(name, value)| match other.param(name) {
            Some(theirs) => theirs.eq_ignore_ascii_case(value.as_deref().unwrap_or_default()),
            None => !decides(name),
        })
    };
    a.scheme == b.scheme
        && user(&a) == user(&b)
        && a.host == b.host
        && a.port == b.port
        && agrees(&a, &b)
        && agrees(&b, &a)
}

/// The `gr` parameter of a URI: the URI is a GRUU (RFC 5627).
pub(crate) fn is_gruu(uri: &str) -> bool {
    Uri::parse(uri).is_ok_and(|uri| uri.param("gr").is_some())
}

/// May this text stand in a request line or between angle brackets?
pub(crate) fn is_clean_uri(uri: &str) -> bool {
    !uri.is_empty() && uri.bytes().all(|o| o.is_ascii_graphic() && !b"<>\"".contains(&o))
}

/// Resolves `%XX`; what does not give UTF-8 stays as it is.
pub(crate) fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |o: u8| char::from(o).to_digit(16);
        match (first, tail) {
            (b'%', [high, low, tail @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                let value = hex(*high).unwrap_or(0) * 16 + hex(*low).unwrap_or(0);
                out.push(value as u8);
                rest = tail;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

fn number(text: &str) -> String {
    text.chars().filter(|c| !"-.() ".contains(*c)).collect::<String>().to_ascii_lowercase()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    thread_local! {
        /// How often [`address_key`] was asked for in this thread.
        pub(crate) static LOOKED_AT: Cell<usize> = const { Cell::new(0) };
    }

    /// How many addresses `work` looks at.
    pub(crate) fn looked_at(work: impl FnOnce()) -> usize {
        let before = LOOKED_AT.get();
        work();
        LOOKED_AT.get() - before
    }

    // Rows: INV-02
    #[test]
    fn addresses_are_compared_without_what_does_not_name_the_user() {
        for (a, b, same) in [
            ("sip:ann@Example.ORG;user=phone", "sips:%61nn@example.org:5061", true),
            ("sip:ann:secret@example.org", "sip:ann@example.org", true),
            ("sip:+1-555-0100@example.org", "sip:+15550100@example.org;user=phone", true),
            ("tel:+1-(555).0100", "tel:+15550100;phone-context=x", true),
            ("tel:0100;phone-context=A.example", "tel:01-00;phone-context=a.example", true),
            ("tel:0100;phone-context=a.example", "tel:0100;phone-context=b.example", false),
            ("sip:Ann@example.org", "sip:ann@example.org", false),
            ("sip:ann@example.org", "sip:ann@example.com", false),
            ("tel:+15550100", "sip:+15550100@example.org", false),
            ("nothing", "nothing", false),
        ] {
            assert_eq!(same_address(a, b), same, "{a} {b}");
        }
    }

    #[test]
    fn contacts_are_compared_as_uris() {
        for (a, b, same) in [
            ("sip:%61nn@HOST:5060;lr;transport=TCP", "sip:ann@host:5060;transport=tcp", true),
            ("sip:ann@host", "sip:ann@host:5060", false),
            ("sip:ann@host;transport=udp", "sip:ann@host", false),
            ("sip:ann@host;x=1", "sip:ann@host;x=2", false),
            ("sip:ann@host;x=1", "sip:ann@host", true),
            ("sip:ann@host;gr=urn:uuid:1", "sip:ann@host", false),
            ("sip:ann@host", "sip:Ann@host", false),
            ("sip:ann@host", "sips:ann@host", false),
        ] {
            assert_eq!(same_contact(a, b), same, "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(a in "(sip:|tel:)?[%@:;=a-f0-9\\PC]{0,40}", b in "\\PC{0,40}") {
            let _ = (address_key(&a), same_contact(&a, &b), is_gruu(&a), unescape(&a));
            prop_assert!(same_contact(&a, &a));
        }
    }
}
