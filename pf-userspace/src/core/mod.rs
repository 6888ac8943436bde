//! Sans-IO core: events and time in, commands out. No sockets, no clock, no tokio.
//!
//! The contract, for `Shard` and for every state machine below it:
//!
//! 1. Feed one [`Event`] with the present [`Time`].
//! 2. Carry out every [`Command`] it returns, in order, before the next event.
//! 3. Ask `deadline()` when to come back with [`Event::Tick`] if nothing else happens.
//!
//! No iteration order of a hash map may reach the outside; randomness comes in through [`Entropy`].

pub mod conference;
pub mod config;
pub mod entropy;
pub mod event;
pub mod groups;
pub mod identity;
mod last_notifications;
pub mod mapped_contact;
pub mod media;
pub mod policy;
pub mod proxy;
pub mod registry;
pub(crate) mod room;
pub mod sdp;
pub mod session;
pub mod shard;
pub mod sip;
pub mod store;
pub mod time;
pub mod view;

pub use entropy::Entropy;
pub use event::{Command, Event};
pub use shard::Shard;
pub use time::Time;
