//! The admin interface: one Unix socket, one JSON object a line: questions, and changes of a few settings.
//!
//! A client sends `{"version":1,"query":"sessions"}` and gets one line with the answer; it may ask again on the
//! same connection. [`protocol`] has every question and answer. The socket has mode 0600: who may ask is whom the
//! file system lets in. Everything is bounded (length of a question, number of clients, rows of an answer, time to
//! read and to write), so that a client that is stuck hurts nobody but itself.

pub mod client;
pub mod protocol;
pub mod server;

pub use protocol::{Answer, Query, Reply, Request};
pub use server::{AdminServer, Source};
