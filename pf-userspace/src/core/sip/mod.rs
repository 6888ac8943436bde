//! SIP as values: messages, headers, URIs. Parsing of fields, no transport, no transactions.

pub mod dialog;
pub mod fields;
pub mod message;
pub mod method;

pub use dialog::{Dialog, DialogError};
pub use fields::{NameAddr, Uri};
pub use message::{Header, Headers, Request, Response};
pub use method::Method;
