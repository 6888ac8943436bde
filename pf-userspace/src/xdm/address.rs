//! Where a user's access rules are (RFC 4825 section 6; OMA XDM, User Access Policy).

use std::fmt::Write;

/// The application usage.
const AUID: &str = "org.openmobilealliance.access-rules";

/// The document of the user with this XUI, under an XCAP root. All of the XUI that RFC 3986 does not let stand
/// everywhere is percent-encoded.
pub(super) fn access_rules(root: &str, xui: &str) -> String {
    let mut uri = format!("{}/{AUID}/users/", root.trim_end_matches('/'));
    for octet in xui.bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => uri.push(octet.into()),
            // Writing to a string cannot fail.
            other => drop(write!(uri, "%{other:02X}")),
        }
    }
    uri + "/access-rules"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_one_segment_of_the_path() {
        for (root, xui, uri) in [
            (
                "http://xdms.example.org/",
                "sip:alice@example.org",
                "http://xdms.example.org/org.openmobilealliance.access-rules/users/sip%3Aalice%40example.org/access-rules",
            ),
            (
                "http://[::1]:8080/services",
                "tel:+1555/../x?y#z ä",
                "http://[::1]:8080/services/org.openmobilealliance.access-rules/users/\
                 tel%3A%2B1555%2F..%2Fx%3Fy%23z%20%C3%A4/access-rules",
            ),
        ] {
            assert_eq!(access_rules(root, xui), uri);
        }
    }
}
