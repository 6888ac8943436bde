//! Who takes part in a group session, as its controlling function tells it (RFC 4575): documents and what they change.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Users that are remembered of one conference.
const MAX_USERS: usize = 2000;

/// The last known participants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participants {
    /// Version of the last document; none: there was no full one yet.
    version: Option<u32>,
    /// Is each user, by URI, taking part?
    users: BTreeMap<String, bool>,
}

/// What a document has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Nothing: it is older than what is known.
    Old,
    /// A document before it is missing: a full one is needed (RFC 4575 section 4.4).
    Gap,
    /// What is known is up to date.
    Current,
}

/// The document cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ConferenceError {
    /// It is no XML.
    #[error("not a document: {0}")]
    Xml(#[from] roxmltree::Error),
    /// It is not UTF-8.
    #[error("not UTF-8")]
    Encoding,
    /// It is no `conference-info`, or has no version.
    #[error("not a conference-info document")]
    Foreign,
}

impl Participants {
    /// Takes a document in.
    ///
    /// # Errors
    /// [`ConferenceError`]; what is known stays as it was.
    pub fn apply(&mut self, document: &[u8]) -> Result<Applied, ConferenceError> {
        let text = std::str::from_utf8(document).map_err(|_| ConferenceError::Encoding)?;
        let document = roxmltree::Document::parse(text)?;
        let root = document.root_element();
        if root.tag_name().name() != "conference-info" {
            return Err(ConferenceError::Foreign);
        }
        let version = root.attribute("version").and_then(|value| value.trim().parse::<u32>().ok());
        let version = version.ok_or(ConferenceError::Foreign)?;
        let state = state(&root);
        match (state, self.version) {
            (_, Some(last)) if version <= last => return Ok(Applied::Old),
            (State::Partial, None) => return Ok(Applied::Gap),
            (State::Partial, Some(last)) if version > last + 1 => return Ok(Applied::Gap),
            _ => {}
        }
        self.version = Some(version);
        if state != State::Partial {
            self.users.clear();
        }
        let lists = root.children().filter(|node| node.tag_name().name() == "users");
        for list in lists.filter(|_| state != State::Deleted) {
            if self::state(&list) != State::Partial {
                self.users.clear();
            }
            for user in list.children().filter(|node| node.tag_name().name() == "user") {
                self.apply_user(&user);
            }
        }
        Ok(Applied::Current)
    }

    fn apply_user(&mut self, user: &roxmltree::Node<'_, '_>) {
        let Some(entity) = user.attribute("entity") else { return };
        if self::state(user) == State::Deleted {
            self.users.remove(entity);
            return;
        }
        if self.users.len() >= MAX_USERS && !self.users.contains_key(entity) {
            return;
        }
        let statuses: Vec<&str> = user
            .descendants()
            .filter(|node| node.tag_name().name() == "status")
            .filter_map(|node| node.text())
            .map(str::trim)
            .collect();
        let gone = |status: &&str| matches!(*status, "disconnected" | "disconnecting");
        // A partial notification that says nothing of endpoints leaves them as they were.
        let before = self.users.get(entity).copied().filter(|_| self::state(user) == State::Partial);
        let present = if statuses.is_empty() { before.unwrap_or(true) } else { !statuses.iter().all(gone) };
        self.users.insert(entity.to_owned(), present);
    }

    /// The URIs of those who take part.
    pub fn present(&self) -> impl Iterator<Item = &str> {
        self.users.iter().filter(|(_, present)| **present).map(|(user, _)| user.as_str())
    }

    /// What is known, as a full document about the conference with this URI; `None` where nothing is.
    pub fn document(&self, entity: &str) -> Option<String> {
        if self.users.is_empty() {
            return None;
        }
        let mut document = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<conference-info \
             xmlns=\"urn:ietf:params:xml:ns:conference-info\" entity=\"{}\" state=\"full\" version=\"{}\">\r\n\
             <users>\r\n",
            escaped(entity),
            self.version.unwrap_or(1)
        );
        for (user, present) in &self.users {
            let (user, status) = (escaped(user), if *present { "connected" } else { "disconnected" });
            document.push_str(&format!(
                "<user entity=\"{user}\"><endpoint entity=\"{user}\"><status>{status}</status></endpoint></user>\r\n"
            ));
        }
        document.push_str("</users>\r\n</conference-info>\r\n");
        Some(document)
    }

    /// Forgets the version: the next document comes in another subscription.
    pub fn begin_anew(&mut self) {
        self.version = None;
    }
}

/// Text as it may stand in an attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Deleted,
    Full,
    Partial,
}

/// The `state` of an element; full where it has none (RFC 4575 section 5.1).
fn state(node: &roxmltree::Node<'_, '_>) -> State {
    match node.attribute("state") {
        Some("deleted") => State::Deleted,
        Some("partial") => State::Partial,
        _ => State::Full,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(attributes: &str, users: &str) -> Vec<u8> {
        format!(
            "<?xml version=\"1.0\"?><conference-info xmlns=\"urn:ietf:params:xml:ns:conference-info\" \
             entity=\"sip:focus@example.net\" {attributes}>{users}</conference-info>"
        )
        .into_bytes()
    }

    fn present(participants: &Participants) -> Vec<&str> {
        participants.present().collect()
    }

    #[test]
    fn full_partial_and_deleted() {
        let mut known = Participants::default();
        let bob =
            "<user entity=\"sip:bob@x\"><endpoint entity=\"e\"><status>connected</status></endpoint></user>";
        let users = format!("<users>{bob}<user entity=\"sip:carl@x\"/></users>");
        assert_eq!(known.apply(&document("state=\"full\" version=\"3\"", &users)).unwrap(), Applied::Current);
        assert_eq!(present(&known), ["sip:bob@x", "sip:carl@x"]);
        let gone = bob.replace("connected", "disconnected");
        let partial = format!("<users state=\"partial\">{gone}<user entity=\"sip:dora@x\"/></users>");
        let partial = document("state=\"partial\" version=\"4\"", &partial);
        assert_eq!(known.apply(&partial).unwrap(), Applied::Current);
        assert_eq!(present(&known), ["sip:carl@x", "sip:dora@x"]);
        assert_eq!(known.apply(&partial).unwrap(), Applied::Old);
        let deleted = "<users state=\"partial\"><user entity=\"sip:carl@x\" state=\"deleted\"/></users>";
        assert_eq!(known.apply(&document("state=\"partial\" version=\"6\"", deleted)).unwrap(), Applied::Gap);
        assert_eq!(present(&known), ["sip:carl@x", "sip:dora@x"], "a gap changes nothing");
        assert_eq!(
            known.apply(&document("state=\"partial\" version=\"5\"", deleted)).unwrap(),
            Applied::Current
        );
        assert_eq!(present(&known), ["sip:dora@x"]);
        assert_eq!(known.apply(&document("state=\"deleted\" version=\"6\"", "")).unwrap(), Applied::Current);
        assert_eq!(present(&known), [""; 0]);
    }

    #[test]
    fn the_first_document_has_to_be_full() {
        let mut known = Participants::default();
        let partial = document("state=\"partial\" version=\"1\"", "");
        assert_eq!(known.apply(&partial).unwrap(), Applied::Gap);
        for bad in [&b"<a"[..], b"\xff", b"<presence version=\"1\"/>", b"<conference-info/>"] {
            assert!(known.apply(bad).is_err());
        }
    }
}
