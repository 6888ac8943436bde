//! Does a peer want a copy? (RFC 4975 section 8.6, RFC 7701 section 6.1)

use pf_common::msrp::Head;

use super::leg::Leg;
use crate::core::event::RemoteLeg;

/// Nothing is refused: no type, no size.
pub(super) fn accepts_all(remote: &RemoteLeg) -> bool {
    remote.may_send && remote.max_size.is_none() && remote.accept_types.iter().any(|t| t.trim() == "*")
}

/// Does the peer accept the CPIM wrapper with whatever is in it?
pub(super) fn accepts_cpim(remote: &RemoteLeg) -> bool {
    let all = |types: &[String]| types.iter().any(|t| t.trim() == "*");
    matches_any(&remote.accept_types, b"message/cpim")
        && (all(&remote.accept_types) || all(&remote.accept_wrapped_types))
}

/// Does the peer accept, in the CPIM wrapper, every type that `other` accepts?
pub(super) fn covers(remote: &RemoteLeg, other: &RemoteLeg) -> bool {
    let cpim = b"message/cpim";
    let wrapped = other.accept_types.iter().chain(&other.accept_wrapped_types);
    let mut wrapped = wrapped.map(|t| media_type(t.as_bytes())).filter(|t| !t.eq_ignore_ascii_case(cpim));
    matches_any(&remote.accept_types, cpim)
        && wrapped
            .all(|t| matches_any(&remote.accept_types, t) || matches_any(&remote.accept_wrapped_types, t))
}

impl Leg {
    /// May a copy of this message be sent to the peer? `body` is what is at hand of the body: a type inside a
    /// CPIM wrapper is looked at only if it can be seen there.
    pub(super) fn accepts(&self, head: &Head<'_>, body: &[u8]) -> bool {
        if self.accepts_all {
            return true;
        }
        let Some(remote) = &self.remote else { return false };
        if !remote.may_send {
            return false;
        }
        let total = head.byte_range.and_then(|range| range.total.or(range.end));
        if let (Some(max), Some(total)) = (remote.max_size, total)
            && total > max
        {
            return false;
        }
        let Some(content_type) = head.content_type else { return true };
        if !matches_any(&remote.accept_types, content_type) {
            return false;
        }
        if media_type(content_type).eq_ignore_ascii_case(b"message/cpim")
            && let Some(wrapped) = wrapped_type(body)
        {
            return matches_any(&remote.accept_types, wrapped)
                || matches_any(&remote.accept_wrapped_types, wrapped);
        }
        true
    }
}

fn matches_any(accepted: &[String], content_type: &[u8]) -> bool {
    let media = media_type(content_type);
    accepted.iter().any(|accepted| {
        let accepted = media_type(accepted.as_bytes());
        match accepted.strip_suffix(b"*") {
            // `*` and `text/*`
            Some(prefix) => media.get(..prefix.len()).is_some_and(|m| m.eq_ignore_ascii_case(prefix)),
            None => accepted.eq_ignore_ascii_case(media),
        }
    })
}

/// The type without its parameters.
fn media_type(value: &[u8]) -> &[u8] {
    value.split(|o| *o == b';').next().unwrap_or(&[]).trim_ascii()
}

/// The content type inside a CPIM wrapper (RFC 3862): second header block, if it is at hand.
fn wrapped_type(body: &[u8]) -> Option<&[u8]> {
    // MIME headers of the wrapper are those of the frame; the body begins with the message headers.
    let at = body.windows(4).position(|w| w == b"\r\n\r\n")?;
    let mut rest = body.get(at + 4..)?;
    loop {
        let end = rest.windows(2).position(|w| w == b"\r\n")?;
        let line = rest.get(..end)?;
        if line.is_empty() {
            return None;
        }
        if line.get(..13).is_some_and(|name| name.eq_ignore_ascii_case(b"content-type:")) {
            return line.get(13..).map(<[u8]>::trim_ascii);
        }
        rest = rest.get(end + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types() {
        let accepted: Vec<String> = ["message/cpim", "text/*"].map(String::from).into();
        assert!(matches_any(&accepted, b"Message/CPIM;charset=x"));
        assert!(matches_any(&accepted, b"text/plain"));
        assert!(!matches_any(&accepted, b"image/png"));
        assert!(matches_any(&["*".to_owned()], b"image/png"));
    }

    #[test]
    fn a_list_covers_what_is_no_longer() {
        let remote = |types: &[&str], wrapped: &[&str]| {
            let list = |types: &[&str]| types.iter().map(ToString::to_string).collect();
            RemoteLeg {
                path: Vec::new(),
                setup: crate::core::event::Setup::Active,
                connect_to: String::new(),
                accept_types: list(types),
                accept_wrapped_types: list(wrapped),
                max_size: None,
                legacy_matching: false,
                may_send: true,
            }
        };
        let chat = remote(&["message/cpim"], &["text/plain", "message/imdn+xml"]);
        assert!(covers(&chat, &chat));
        assert!(covers(&remote(&["message/CPIM"], &["text/*", "message/imdn+xml"]), &chat));
        assert!(!covers(&remote(&["message/cpim"], &["text/plain"]), &chat), "no notifications");
        assert!(!covers(&remote(&["text/plain"], &["*"]), &chat), "no wrapper");
        assert!(!covers(&chat, &remote(&["message/cpim"], &["*"])), "whatever there is");
        assert!(!covers(&chat, &remote(&["message/cpim", "image/png"], &[])));
    }

    #[test]
    fn wrapped() {
        let cpim = b"From: <a>\r\nTo: <b>\r\n\r\nX: y\r\ncontent-type: text/plain;charset=utf-8\r\n\r\nhi";
        assert_eq!(wrapped_type(cpim), Some(&b"text/plain;charset=utf-8"[..]));
        assert_eq!(wrapped_type(&cpim[..40]), None);
        assert_eq!(wrapped_type(b"a: b\r\n\r\nX: y\r\n\r\nContent-Type: text/plain\r\n"), None);
    }
}
