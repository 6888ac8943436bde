//! How the probe gets a session through the relay.

use std::{any::Any, future::Future, net::SocketAddr, pin::Pin};

use anyhow::{Context, Result, ensure};

use crate::{
    msrp::{MsrpUri, Side, Wire},
    net::Place,
    trace::Trace,
};

/// A session through the relay: what the sender sends arrives at the receiver.
pub struct Pair {
    /// Sends messages.
    pub sender: Side,
    /// Gets them.
    pub receiver: Side,
    /// Keeps the signalling alive.
    pub keep: Box<dyn Any + Send>,
}

/// A pair to come.
pub type PairFuture<'a> = Pin<Box<dyn Future<Output = Result<Pair>> + 'a>>;

/// A relay, and how to get sessions on it.
pub trait Target {
    /// A fresh session.
    fn pair(&mut self) -> PairFuture<'_>;

    /// Does the relay pass the next hop's answers on (a B2BUA), or answer itself (RFC 4976) and report later?
    fn end_to_end(&self) -> bool;

    /// Is a session bound to one sender? Not so where a relay's URI is open to everybody who knows it (RFC 4976).
    fn bound(&self) -> bool {
        true
    }

    /// Where the relay listens.
    fn address(&self) -> SocketAddr;

    /// From where the probe connects.
    fn place(&self) -> &Place;

    /// The trace.
    fn trace(&self) -> &Trace;
}

/// Two path URIs of the relay that somebody has set up already; the probe connects to both.
pub struct PathsTarget {
    address: SocketAddr,
    place: Place,
    trace: Trace,
    sender: (String, String),
    receiver: (String, String),
}

impl PathsTarget {
    /// `sender` and `receiver`: the relay's path towards each side, and the path that the relay expects it to have.
    pub fn new(
        place: Place,
        sender: (String, String),
        receiver: (String, String),
        trace: Trace,
    ) -> Result<PathsTarget> {
        let first = sender.0.split(' ').next().context("an empty path")?;
        let address = MsrpUri::parse(first)?.socket;
        ensure!(sender.0 != receiver.0, "sender and receiver need different paths");
        Ok(PathsTarget { address, place, trace, sender, receiver })
    }

    async fn side(&self, name: &str, (relay, own): &(String, String)) -> Result<Side> {
        let first = relay.split(' ').next().context("an empty path")?;
        let to = MsrpUri::parse(first)?.socket;
        let wire = Wire::connect(name, &self.place, to, &self.trace).await?;
        let mut side = Side::new(wire, relay, own);
        side.bind().await.with_context(|| format!("binding {name}"))?;
        Ok(side)
    }
}

impl Target for PathsTarget {
    fn pair(&mut self) -> PairFuture<'_> {
        Box::pin(async {
            let receiver = self.side("receiver", &self.receiver).await?;
            let sender = self.side("sender", &self.sender).await?;
            Ok(Pair { sender, receiver, keep: Box::new(()) })
        })
    }

    fn end_to_end(&self) -> bool {
        true
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn trace(&self) -> &Trace {
        &self.trace
    }
}
