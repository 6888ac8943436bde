//! What goes into the core and what comes out of it: the one interface between procedures and sockets.

mod media;
mod report;
mod sip;

pub use self::{
    media::{LegKey, LegRole, MediaCommand, RemoteLeg, Setup, StreamKey, StreamPolicy},
    report::{InterceptedMessage, LegCounters, LegDown, MediaEvent},
    sip::{
        ClientTx, FlowId, Forward, Hop, NoAnswer, Peer, Recorded, ServerTx, SipCommand, SipEvent, Transport,
    },
};
use super::{
    policy::retrieval::{Question, Retrieved},
    store::{Order, Outcome},
};

/// One input of the core.
#[derive(Clone, Debug)]
pub enum Event {
    /// From a media worker.
    Media(MediaEvent),
    /// From the XDMS: what a user wants.
    Preferences(Retrieved),
    /// From the SIP shell.
    Sip(SipEvent),
    /// From the message store: what became of an order.
    Store(Outcome),
    /// A deadline has come.
    Tick,
}

/// One output of the core.
#[derive(Clone, Debug)]
pub enum Command {
    /// For the media worker that owns the stream.
    Media(MediaCommand),
    /// For the XDMS; answered by [`Event::Preferences`].
    Preferences(Question),
    /// For the SIP shell.
    Sip(SipCommand),
    /// For the message store; answered by [`Event::Store`].
    Store(Order),
}
