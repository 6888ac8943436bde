//! Release of a client, read out of its User-Agent, and the operator's rule about it.

use super::{Release, VersionRule};

/// The longest User-Agent that is looked at, in octets.
const MAX_USER_AGENT: usize = 4096;

/// The CPM release in a User-Agent: that of the first product token `CPM-client/OMA<major>.<minor>`, wherever
/// it stands. The token is compared as a whole, without regard to case; comments are not looked into.
pub fn client_version(user_agent: &str) -> Option<Release> {
    if user_agent.len() > MAX_USER_AGENT {
        return None;
    }
    without_comments(user_agent).split_ascii_whitespace().find_map(|token| {
        let (product, version) = token.split_once('/')?;
        let start = version.get(..3).filter(|_| product.eq_ignore_ascii_case("CPM-client"))?;
        let (major, minor) = version[3..].split_once('.').filter(|_| start.eq_ignore_ascii_case("OMA"))?;
        Some(Release { major: number(major)?, minor: number(minor)? })
    })
}

impl VersionRule {
    /// Does the rule admit a client with this User-Agent? One that says no release is not admitted.
    pub fn admits(&self, user_agent: Option<&str>) -> bool {
        match (self, user_agent.and_then(client_version)) {
            (_, None) => false,
            (VersionRule::Exact(wanted), Some(release)) => release == *wanted,
            (VersionRule::Minimum(wanted), Some(release)) => release >= *wanted,
        }
    }
}

fn number(digits: &str) -> Option<u32> {
    digits.bytes().all(|o| o.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// The text with every comment (RFC 3261 section 25.1; they nest) replaced by a blank.
fn without_comments(text: &str) -> String {
    let (mut out, mut depth, mut escaped) = (String::with_capacity(text.len()), 0_usize, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if depth > 0 => escaped = true,
            '(' => depth += 1,
            ')' if depth > 0 => {
                depth -= 1;
                out.push(' ');
            }
            _ if depth > 0 => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn release(major: u32, minor: u32) -> Release {
        Release { major, minor }
    }

    // Rows: REG-07, INV-05
    #[test]
    fn release_is_read_from_the_whole_token_only() {
        let handset =
            "RCS-client/UP_2.4 term-acme/m1 cpm-CLIENT/oma2.2 client-acme/9 OS-Linux/6.1 CPM-client/OMA1.0";
        assert_eq!(client_version(handset), Some(release(2, 2)));
        assert_eq!(client_version("CPM-client/OMA2.10"), Some(release(2, 10)));
        for other in [
            "",
            "MCO-CPM-Client/OMA2.0",
            "CPM-client/2.2",
            "CPM-client/OMA",
            "CPM-client/OMA2",
            "CPM-client/OMA2.2x",
            "CPM-client/OMA+2.2",
            "CPM-client/OMA99999999999.1",
            "CPM-serv/OMA2.2",
            "IM-client/OMA1.0",
            "x (CPM-client/OMA2.2 y)",
            "x (a \\) CPM-client/OMA2.2 y)",
            "CPM-client/ÖMA2.2",
        ] {
            assert_eq!(client_version(other), None, "{other}");
        }
        assert_eq!(client_version("x (nested (comment)) CPM-client/OMA2.2"), Some(release(2, 2)));
    }

    // Rows: INV-05, AMB-06
    #[test]
    fn rules_compare_by_number_and_refuse_the_unknown() {
        let (exact, minimum) = (VersionRule::Exact(release(2, 2)), VersionRule::Minimum(release(2, 2)));
        for (agent, is_exact, is_enough) in [
            (Some("CPM-client/OMA2.2"), true, true),
            (Some("CPM-client/OMA2.10"), false, true),
            (Some("CPM-client/OMA3.0"), false, true),
            (Some("CPM-client/OMA2.1"), false, false),
            (Some("CPM-client/OMA1.9"), false, false),
            (Some("other/1.0"), false, false),
            (None, false, false),
        ] {
            assert_eq!((exact.admits(agent), minimum.admits(agent)), (is_exact, is_enough), "{agent:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "\\PC{0,80}", major in any::<u32>(), minor in any::<u32>()) {
            let _ = client_version(&text);
            let agent = format!("CPM-client/OMA{major}.{minor} {text}");
            prop_assert_eq!(client_version(&agent), Some(release(major, minor)));
        }
    }
}
