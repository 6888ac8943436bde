//! A message of a recorded session: as the relay hands it over, and as the object that is stored.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Body, Content, Folder, Object};
use crate::core::Time;

/// Where the messages of a stream are recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whose history: the user's address of record.
    pub user: String,
    /// Where in it.
    pub folder: Folder,
}

/// Which way a message went, seen from the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From the far end.
    Received,
    /// From one of the user's devices.
    Sent,
}

/// Why not all of a message is in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// Its sender gave it up (flag `#`), or its connection was lost.
    Abandoned,
    /// Chunks of it have not come.
    Incomplete,
    /// It came in more pieces than are put together.
    Scattered,
}

/// A message, or a part of it, as it was carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Where it belongs.
    pub place: Arc<Place>,
    /// When it was whole here.
    pub at: Time,
    /// Which way it went.
    pub direction: Direction,
    /// MSRP Message-ID.
    pub message_id: Vec<u8>,
    /// Content-Type.
    pub content_type: Option<Vec<u8>>,
    /// Its octets, or those of the part.
    pub octets: Vec<u8>,
    /// Which part; absent where the message is in one piece.
    pub part: Option<Part>,
    /// Why this is not, and will not be, the whole message.
    pub missing: Option<Missing>,
}

/// Where a part belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its first octet, from 1.
    pub first: u64,
    /// Octets of the whole message, where that is known.
    pub total: Option<u64>,
    /// It is the last one that is stored of the message.
    pub last: bool,
}

impl Recorded {
    /// Does it take the message's place in the record: is it whole, or the last of its parts?
    pub fn completes(&self) -> bool {
        self.missing.is_none() && self.part.is_none_or(|part| part.last)
    }

    /// Octets it takes while it waits.
    pub fn weight(&self) -> u64 {
        const OWN: usize = 256;
        (OWN + self.octets.len() + self.message_id.len()) as u64
    }

    /// The object that is stored. `later` is how much the relay's clock is behind that of the store.
    pub fn object(self, later: std::time::Duration) -> Object {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let length = self.octets.len() as u64;
        let range = |part: Part| {
            let last = part.first.saturating_add(length).saturating_sub(1);
            let total = part.total.map_or_else(|| "*".to_owned(), |total| total.to_string());
            format!("{}-{last}/{total}", part.first)
        };
        let begins = self.part.is_none_or(|part| part.first == 1);
        let body = Body::ChatMessage(ChatMessage {
            direction: self.direction,
            message_id: text(&self.message_id),
            imdn_message_id: imdn_message_id(&self.octets).filter(|_| begins),
            content_type: self.content_type.as_deref().map(text),
            byte_range: self.part.map(range),
            missing: self.missing,
            content: self.missing.is_none().then(|| Content::from(self.octets)),
        });
        let Place { user, folder } = self.place.as_ref().clone();
        Object { user, folder, at: self.at + later, body }
    }
}

/// A message of a recorded session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Which way it went.
    pub direction: Direction,
    /// MSRP Message-ID.
    pub message_id: String,
    /// `imdn.Message-ID` of its CPIM header (RFC 5438), where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imdn_message_id: Option<String>,
    /// Content-Type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Of a message that is stored in parts: which octets these are, as MSRP writes it. The parts of a message cover
    /// it without overlapping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub byte_range: Option<String>,
    /// Why the message is not here, or not all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<Missing>,
    /// The body: a CPIM message with its own header, mostly.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
}

/// How far into a body its CPIM header is looked for.
const CPIM_HEADER_MAX: usize = 8192;
/// RFC 5438 section 6.1.
const IMDN_NAMESPACE: &str = "urn:ietf:params:imdn";

/// The value of the Message-ID header in the namespace of IMDN, whatever prefix it was given.
fn imdn_message_id(body: &[u8]) -> Option<String> {
    let head = body.get(..body.len().min(CPIM_HEADER_MAX))?;
    let mut prefix = "imdn".to_owned();
    for line in head.split(|octet| *octet == b'\n') {
        let line = std::str::from_utf8(line).ok()?.trim_end_matches('\r');
        if line.is_empty() {
            return None;
        }
        let (name, value) = line.split_once(':')?;
        let value = value.trim();
        if name == "NS" {
            let (given, uri) = value.split_once('<')?;
            if uri.trim_end_matches('>') == IMDN_NAMESPACE {
                given.trim().clone_into(&mut prefix);
            }
        } else if let Some((given, "Message-ID")) = name.split_once('.')
            && given == prefix
        {
            return Some(value.to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_id_of_imdn_is_found_under_its_prefix() {
        let ns = "NS: imdn <urn:ietf:params:imdn>\r\n";
        for (head, expected) in [
            (format!("From: <sip:a@b>\r\n{ns}imdn.Message-ID: 34jk\r\n\r\n"), Some("34jk")),
            ("NS: i <urn:ietf:params:imdn>\r\ni.Message-ID: x y\r\n\r\n".to_owned(), Some("x y")),
            ("NS: other <urn:other>\r\nother.Message-ID: no\r\n\r\n".to_owned(), None),
            ("From: <sip:a@b>\r\nMessage-ID: no\r\n\r\nimdn.Message-ID: body\r\n".to_owned(), None),
            ("hello, world".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(imdn_message_id(head.as_bytes()).as_deref(), expected, "{head}");
        }
    }

    fn recorded(octets: &[u8], part: Option<Part>) -> Recorded {
        let place = Arc::new(Place { user: "sip:ann@example.org".to_owned(), folder: Folder::default() });
        Recorded {
            place,
            at: Time::ZERO,
            direction: Direction::Sent,
            message_id: b"m1".to_vec(),
            content_type: Some(b"text/plain".to_vec()),
            octets: octets.to_vec(),
            part,
            missing: None,
        }
    }

    #[test]
    fn an_object_survives_its_line() {
        let part = Part { first: 11, total: None, last: false };
        let lost = Recorded { missing: Some(Missing::Incomplete), ..recorded(b"", None) };
        for (recorded, has) in [
            (recorded(b"hello", None), r#""content":"hello""#),
            (recorded(b"\xff\0", None), r#""content_hex":"ff00""#),
            (recorded(b"0123456789", Some(part)), r#""byte_range":"11-20/*""#),
            (lost, r#""missing":"incomplete""#),
        ] {
            let body = recorded.object(std::time::Duration::ZERO).body;
            let line = serde_json::to_string(&body).unwrap();
            assert!(line.contains(has) && line.starts_with(r#"{"object":"chat-message""#), "{line}");
            assert_eq!(serde_json::from_str::<Body>(&line).unwrap(), body);
        }
    }
}
