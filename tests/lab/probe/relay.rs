//! Sessions by RFC 4976: both sides authenticate with AUTH and get a Use-Path.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};

use super::target::{Pair, PairFuture, Target};
use crate::{
    msrp::{Frame, Head, Side, Wire},
    net::Place,
    sip::{Credentials, authorization},
    trace::Trace,
    wait::SOON,
};

/// A relay of RFC 4976.
pub struct RelayTarget {
    address: SocketAddr,
    place: Place,
    trace: Trace,
    credentials: Credentials,
    domain: String,
    sender_authenticates: bool,
}

struct Client {
    wire: Wire,
    own: String,
    /// The relay's URIs, nearest to the client first.
    use_path: Vec<String>,
}

impl RelayTarget {
    /// A relay at `address`. `domain` is the host in the URI that AUTH goes to; the sender gets a Use-Path of its
    /// own if `sender_authenticates`, else it sends to the receiver's directly.
    pub fn new(
        address: SocketAddr,
        place: Place,
        credentials: Credentials,
        domain: Option<String>,
        sender_authenticates: bool,
        trace: Trace,
    ) -> RelayTarget {
        let domain = domain.unwrap_or_else(|| address.to_string());
        RelayTarget { address, place, trace, credentials, domain, sender_authenticates }
    }

    async fn client(&self, name: &str, authenticate: bool) -> Result<Client> {
        let wire = Wire::connect(name, &self.place, self.address, &self.trace).await?;
        // The port must be the connection's own: some relays dial it otherwise.
        let own = format!("msrp://{}/{};tcp", wire.local()?, crate::token(8));
        let mut client = Client { wire, own, use_path: Vec::new() };
        if authenticate {
            client.authenticate(self).await.with_context(|| format!("AUTH of {name}"))?;
        }
        Ok(client)
    }

    async fn establish(&self) -> Result<Pair> {
        let receiver = self.client("receiver", true).await?;
        let sender = self.client("sender", self.sender_authenticates).await?;
        // The path from the sender: its own relays outwards, the receiver's inwards, the receiver.
        let there: Vec<&str> = sender
            .use_path
            .iter()
            .chain(receiver.use_path.iter().rev())
            .chain([&receiver.own])
            .map(String::as_str)
            .collect();
        let back: Vec<&str> = receiver
            .use_path
            .iter()
            .chain(sender.use_path.iter().rev())
            .chain([&sender.own])
            .map(String::as_str)
            .collect();
        let (there, back) = (there.join(" "), back.join(" "));
        let sender = Side::new(sender.wire, &there, &sender.own);
        let receiver = Side::new(receiver.wire, &back, &receiver.own);
        Ok(Pair { sender, receiver, keep: Box::new(()) })
    }
}

impl Client {
    async fn authenticate(&mut self, relay: &RelayTarget) -> Result<()> {
        let uri = format!("msrp://{};tcp", relay.domain);
        let mut answer = self.auth(&uri, None).await?;
        if answer.head.code() == 401 {
            let challenge = answer.head.header("WWW-Authenticate").context("401 without challenge")?;
            let value = authorization(&relay.credentials, &[challenge], "AUTH", &uri)?;
            answer = self.auth(&uri, Some(value)).await?;
        }
        ensure!(answer.head.code() == 200, "answered {}", answer.head.summary());
        let path = answer.head.header("Use-Path").context("200 without Use-Path")?;
        self.use_path = path.split(' ').map(str::to_owned).collect();
        Ok(())
    }

    async fn auth(&mut self, uri: &str, authorization: Option<String>) -> Result<Frame> {
        let mut head = Head::request("AUTH", &crate::token(8), uri, &self.own).with("Expires", "600");
        head.headers.extend(authorization.map(|value| ("Authorization".to_owned(), value)));
        self.wire.send(&Frame::bodiless(head)).await?;
        self.wire.frame(SOON).await
    }
}

impl Target for RelayTarget {
    fn pair(&mut self) -> PairFuture<'_> {
        Box::pin(self.establish())
    }

    fn end_to_end(&self) -> bool {
        false
    }

    fn bound(&self) -> bool {
        self.sender_authenticates
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
