//! SIP as the lab's actors speak it (RFC 3261): small, strict, and independent of pf.

mod agent;
mod client;
mod dialog;
mod digest;
mod field;
mod message;
mod sdp;
mod server;
mod transport;

pub use agent::Agent;
pub use client::ClientTx;
pub use dialog::Dialog;
pub use digest::{Credentials, authorization};
pub use field::{digest_param, host_port, param, split_list, tag, uri};
pub use message::{Message, Start};
pub use sdp::{MediaLine, Sdp, SdpOptions};
pub use server::ServerRequest;
pub use transport::{Peer, Transport, over};
