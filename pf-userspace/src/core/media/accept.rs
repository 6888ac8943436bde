//! Does a peer want a copy? (RFC 4975 section 8.6, RFC 7701 section 6.1)

use std::cell::OnceCell;

use memchr::memchr;
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

/// A message that peers are asked about, one after the other: what they all ask of it is found once.
pub(super) struct Content<'a> {
    head: &'a Head<'a>,
    /// What is at hand of the body.
    body: &'a [u8],
    wrapped: OnceCell<Option<&'a [u8]>>,
}

impl<'a> Content<'a> {
    /// `body` is what is at hand of the body.
    pub(super) fn of(head: &'a Head<'a>, body: &'a [u8]) -> Content<'a> {
        Content { head, body, wrapped: OnceCell::new() }
    }

    /// The type inside the CPIM wrapper, if it is one and that can be seen.
    fn wrapped(&self) -> Option<&'a [u8]> {
        let is_cpim =
            || self.head.content_type.is_some_and(|t| media_type(t).eq_ignore_ascii_case(b"message/cpim"));
        *self.wrapped.get_or_init(|| if is_cpim() { wrapped_type(self.body) } else { None })
    }

    /// Of these types?
    fn is(&self, types: &Types) -> bool {
        self.head.content_type.is_some_and(|outer| outer == types.outer)
            && self.wrapped() == types.wrapped.as_deref()
    }
}

/// The types of a message, as they were written.
#[derive(Debug)]
struct Types {
    outer: Vec<u8>,
    wrapped: Option<Vec<u8>>,
}

/// What a peer accepted last: most of a chat is of the same types.
#[derive(Debug, Default)]
pub(super) struct Accepted(Option<Types>);

impl Accepted {
    /// May the peer be sent this message?
    fn accepts(&mut self, remote: &RemoteLeg, content: &Content<'_>) -> bool {
        if !accepts_size(remote, content) {
            return false;
        }
        if self.0.as_ref().is_some_and(|types| content.is(types)) {
            return true;
        }
        let accepted = accepts_types(remote, content);
        if let (true, Some(outer)) = (accepted, content.head.content_type) {
            self.0 = Some(Types { outer: outer.to_vec(), wrapped: content.wrapped().map(<[u8]>::to_vec) });
        }
        accepted
    }
}

impl Leg {
    /// May a copy of this message be sent to the peer? A type inside a CPIM wrapper is looked at only if it can be
    /// seen in what is at hand of the body.
    pub(super) fn accepts(&self, content: &Content<'_>) -> bool {
        let asked = |remote| accepts_size(remote, content) && accepts_types(remote, content);
        self.accepts_all || self.remote.as_ref().is_some_and(asked)
    }

    /// The same, and remembers it.
    pub(super) fn accepts_again(&mut self, content: &Content<'_>) -> bool {
        let (accepted, remote) = (&mut self.accepted, &self.remote);
        self.accepts_all || remote.as_ref().is_some_and(|remote| accepted.accepts(remote, content))
    }
}

/// May it be sent anything, and that much?
fn accepts_size(remote: &RemoteLeg, content: &Content<'_>) -> bool {
    let total = content.head.byte_range.and_then(|range| range.total.or(range.end));
    remote.may_send && !matches!((remote.max_size, total), (Some(max), Some(total)) if total > max)
}

fn accepts_types(remote: &RemoteLeg, content: &Content<'_>) -> bool {
    let Some(content_type) = content.head.content_type else { return true };
    matches_any(&remote.accept_types, content_type)
        && content.wrapped().is_none_or(|wrapped| {
            matches_any(&remote.accept_types, wrapped) || matches_any(&remote.accept_wrapped_types, wrapped)
        })
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
    let (mut rest, mut block) = (body, 0);
    loop {
        let (line, next) = line(rest)?;
        match (block, line.is_empty()) {
            (0, true) => block = 1,
            (0, false) => {}
            (_, true) => return None,
            (_, false) => {
                if line.get(..13).is_some_and(|name| name.eq_ignore_ascii_case(b"content-type:")) {
                    return line.get(13..).map(<[u8]>::trim_ascii);
                }
            }
        }
        rest = next;
    }
}

/// A line that ends in CRLF, without that, and what follows.
fn line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut from = 0;
    loop {
        let end = from + memchr(b'\n', text.get(from..)?)?;
        if let Some(line) = text.get(..end)?.strip_suffix(b"\r") {
            return Some((line, text.get(end + 1..)?));
        }
        from = end + 1;
    }
}

#[cfg(test)]
mod tests {
    use pf_common::msrp::Parsed;

    use super::*;
    use crate::core::event::Setup;

    fn remote(types: &[&str], wrapped: &[&str]) -> RemoteLeg {
        let list = |types: &[&str]| types.iter().map(ToString::to_string).collect();
        RemoteLeg {
            path: Vec::new(),
            setup: Setup::Active,
            connect_to: String::new(),
            accept_types: list(types),
            accept_wrapped_types: list(wrapped),
            max_size: None,
            legacy_matching: false,
            may_send: true,
        }
    }

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
        let chat = remote(&["message/cpim"], &["text/plain", "message/imdn+xml"]);
        assert!(covers(&chat, &chat));
        assert!(covers(&remote(&["message/CPIM"], &["text/*", "message/imdn+xml"]), &chat));
        assert!(!covers(&remote(&["message/cpim"], &["text/plain"]), &chat), "no notifications");
        assert!(!covers(&remote(&["text/plain"], &["*"]), &chat), "no wrapper");
        assert!(!covers(&chat, &remote(&["message/cpim"], &["*"])), "whatever there is");
        assert!(!covers(&chat, &remote(&["message/cpim", "image/png"], &[])));
    }

    #[test]
    fn what_was_accepted_says_nothing_of_other_types() {
        let frame = |outer: &str, inner: &str| {
            format!(
                "MSRP abcd SEND\r\nTo-Path: msrp://a:1/x;tcp\r\nFrom-Path: msrp://b:1/y;tcp\r\nMessage-ID: 1234\r\n\
                 Byte-Range: 1-2/2\r\nContent-Type: {outer}\r\n\r\nFrom: <a>\r\n\r\nContent-Type: {inner}\r\n\r\nhi"
            )
        };
        let remote = remote(&["message/cpim", "image/*"], &["text/plain"]);
        let mut accepted = Accepted::default();
        let mut accepts = |outer: &str, inner: &str| {
            let text = frame(outer, inner);
            let Parsed::Head(head) = Head::parse(text.as_bytes()) else { panic!("{text}") };
            accepted.accepts(&remote, &Content::of(&head, &text.as_bytes()[head.len..]))
        };
        for _ in 0..2 {
            assert!(accepts("message/cpim", "text/plain"));
            assert!(accepts("message/cpim", "text/plain"), "as before");
            assert!(!accepts("message/cpim", "text/html"));
            assert!(accepts("image/png", "text/html"), "no wrapper");
            assert!(!accepts("text/plain", "text/plain"));
        }
    }

    #[test]
    fn wrapped() {
        let cpim = b"From: <a>\r\nTo: <b>\r\n\r\nX: y\r\ncontent-type: text/plain;charset=utf-8\r\n\r\nhi";
        assert_eq!(wrapped_type(cpim), Some(&b"text/plain;charset=utf-8"[..]));
        assert_eq!(wrapped_type(&cpim[..40]), None);
        assert_eq!(wrapped_type(b"a: b\r\n\r\nX: y\r\n\r\nContent-Type: text/plain\r\n"), None);
    }
}
