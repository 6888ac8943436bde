//! The objects of a conversation history, as data: how a backend writes them down is its own affair.

use serde::{Deserialize, Serialize};

use super::ChatMessage;
use crate::core::Time;

/// One object with its place in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Whose history: the user's address of record.
    pub user: String,
    /// Where in it.
    pub folder: Folder,
    /// When it came to be.
    pub at: Time,
    /// What it says.
    pub body: Body,
}

/// A CPM Session History Folder: one session's folder in the folder of its conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// Conversation-ID; where the client gave none, the Call-ID of its INVITE.
    pub conversation: String,
    /// Contribution-ID; where the client gave none, the Call-ID of its INVITE.
    pub session: String,
}

/// What an object says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "object", rename_all = "kebab-case")]
pub enum Body {
    /// A message of a recorded session.
    ChatMessage(ChatMessage),
    /// Group State Object: how a group session stood when it ended.
    GroupState(GroupState),
    /// A message, or a notification of what became of one.
    Message(Message),
    /// The session has ended: its record is complete (clause 8.5.2).
    SessionEnd(SessionEnd),
    /// Session info object: the session has begun (clause 8.5).
    SessionInfo(SessionInfo),
}

impl Body {
    /// Its kind, by its name in the journal.
    pub fn kind(&self) -> &'static str {
        match self {
            Body::ChatMessage(_) => "chat-message",
            Body::GroupState(_) => "group-state",
            Body::Message(_) => "message",
            Body::SessionEnd(_) => "session-end",
            Body::SessionInfo(_) => "session-info",
        }
    }
}

/// A Group State Object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupState {
    /// The last CPM Group Session Identity: where the far end said that it is reached.
    pub last_focus_session_id: String,
    /// Who took part, as far as it is known (SIP or tel URIs).
    pub participants: Vec<String>,
    /// May the session be started again as a long-lived one? Absent where nobody has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restartable: Option<bool>,
}

/// A message of the far end for a lost client, as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// MSRP Message-ID.
    pub message_id: String,
    /// Content-Type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The body: a CPIM message with its own header, mostly.
    #[serde(flatten)]
    pub content: Content,
    /// It belongs into the user's message store.
    pub for_record: bool,
    /// It is to be delivered when the client comes back.
    pub for_delivery: bool,
}

/// The octets of a message, in a form that JSON can hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// UTF-8.
    Content(String),
    /// Anything else: two hexadecimal digits for each octet.
    ContentHex(String),
}

impl From<Vec<u8>> for Content {
    fn from(octets: Vec<u8>) -> Content {
        String::from_utf8(octets)
            .map_or_else(|error| Content::ContentHex(hex(error.as_bytes())), Content::Content)
    }
}

fn hex(octets: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS[usize::from(nibble & 15)];
    octets.iter().flat_map(|octet| [digit(octet >> 4), digit(*octet)]).collect()
}

/// The end of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEnd {
    /// Reason of the BYE (RFC 3326), where it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Seconds since the INVITE.
    pub lasted_seconds: u64,
}

/// A session info object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// Who started it (CPM address).
    pub from: String,
    /// Where it went (Request-URI).
    pub to: String,
    /// A group session?
    pub group: bool,
    /// Subject of the INVITE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// InReplyTo-Contribution-ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<String>,
}
