//! SIP as values: messages, headers, URIs. Parsing of fields, no transport, no transactions.

pub mod fields;
pub mod message;

pub use fields::{NameAddr, Uri};
pub use message::{Header, Headers, Method, Request, Response};
