//! Globally routable user agent URIs that we give out (RFC 5627).

use std::fmt::Write;

use crate::core::{Entropy, sip::Uri};

/// The most temporary GRUUs kept per device; the oldest go.
pub(super) const MAX_TEMPORARY: usize = 16;

/// The public GRUU of an instance: the address of record with `gr` = the instance (RFC 5627 section 5.1).
/// `None` for an address of record that is not a SIP URI.
pub(super) fn public(aor: &str, instance: &str) -> Option<String> {
    let uri = Uri::parse(aor).ok().filter(|uri| uri.scheme == "sip")?;
    let host = if uri.host.contains(':') { format!("[{}]", uri.host) } else { uri.host };
    let mut gruu = format!("sip:{}@{host};gr=", uri.user?);
    for octet in instance.bytes() {
        // The characters of a URI parameter that need no escape (RFC 3261 section 25.1).
        if octet.is_ascii_alphanumeric() || b"-_.!~*'()[]/:&+$".contains(&octet) {
            gruu.push(char::from(octet));
        } else {
            let _ = write!(gruu, "%{octet:02X}");
        }
    }
    Some(gruu)
}

/// A temporary GRUU in the user's domain: says nothing about the user (RFC 5627 section 5.2).
pub(super) fn temporary(aor: &str, entropy: &mut dyn Entropy) -> Option<String> {
    let uri = Uri::parse(aor).ok().filter(|uri| uri.scheme == "sip")?;
    let host = if uri.host.contains(':') { format!("[{}]", uri.host) } else { uri.host };
    Some(format!("sip:tgruu-{}@{host};gr", entropy.token(26)))
}
