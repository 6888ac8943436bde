//! Sessions of a party, from INVITE to BYE.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::mpsc;

use super::Party;
use crate::{
    msrp::{Endpoint, Media, Negotiated, Role, Side},
    sip::{ClientTx, Dialog, Message, Sdp, SdpOptions, ServerRequest, authorization},
    wait::SOON,
};

/// An INVITE of ours that waits for its answer.
pub struct Calling {
    /// The client transaction, for provisional responses and CANCEL.
    pub tx: ClientTx,
    pub(super) party: Party,
    to: SocketAddr,
    pub(super) media: Media,
    pub(super) setup: Option<String>,
    pub(super) requests: mpsc::UnboundedReceiver<ServerRequest>,
}

/// An INVITE that came in.
pub struct Invited {
    /// The request.
    pub request: ServerRequest,
    pub(crate) party: Party,
}

/// An established session with a running MSRP endpoint.
pub type Call = Session<Endpoint>;

/// An established session; `M` is its media side. Its MSRP connection closes when it is dropped.
#[must_use]
pub struct Session<M> {
    /// The SIP dialog.
    pub dialog: Dialog,
    /// The MSRP endpoint, or what it is to be made of.
    pub media: M,
    /// The INVITE, ours or the peer's.
    pub invite: Message,
    /// Its 200, the peer's or ours.
    pub answer: Message,
    /// The peer's SDP.
    pub peer_sdp: Sdp,
    /// Address of the peer that we have called or were called by.
    pub party: Party,
}

impl Calling {
    pub(crate) async fn start(
        party: Party,
        invite: Message,
        to: SocketAddr,
        media: Media,
        setup: Option<String>,
    ) -> Result<Calling> {
        let (tx, requests) = party.agent.invite(invite, to).await?;
        Ok(Calling { tx, party, to, media, setup, requests })
    }

    /// The INVITE as sent.
    pub fn invite(&self) -> &Message {
        &self.tx.request
    }

    /// The final answer; challenges are met where there are credentials.
    pub async fn last(&mut self, limit: Duration) -> Result<Message> {
        loop {
            let answer = self.tx.last(limit).await?;
            let (challenge, header) = match answer.code() {
                401 => ("WWW-Authenticate", "Authorization"),
                407 => ("Proxy-Authenticate", "Proxy-Authorization"),
                _ => return Ok(answer),
            };
            let Some(credentials) = &self.party.credentials else { return Ok(answer) };
            if self.tx.request.header(header).is_some() {
                return Ok(answer);
            }
            let challenges = answer.all(challenge);
            let mut again = self.tx.request.clone();
            let value = authorization(credentials, &challenges, "INVITE", again.uri())?;
            again.remove("Via");
            again.set("CSeq", format!("{} INVITE", again.cseq() + 1));
            again.set(header, value);
            (self.tx, self.requests) = self.party.agent.invite(again, self.to).await?;
        }
    }

    /// Waits for the 200, acknowledges it and starts the MSRP endpoint.
    pub async fn answered(mut self, limit: Duration) -> Result<Call> {
        let name = self.party.name.clone();
        let answer = self.last(limit).await.with_context(|| format!("{name} calling"))?;
        ensure!(
            (200..300).contains(&answer.code()),
            "{name}'s INVITE was refused: {} {}",
            answer.summary(),
            answer.header("Warning").unwrap_or_default()
        );
        self.acknowledge(answer).await
    }

    /// Goes on from a 200 that [`Calling::last`] has given.
    pub async fn acknowledge(self, answer: Message) -> Result<Call> {
        Ok(self.negotiate(answer).await?.start())
    }

    /// Acknowledges the 200, and leaves the MSRP connection to the caller.
    pub async fn negotiate(self, answer: Message) -> Result<Session<Negotiated>> {
        let invite = self.tx.request.clone();
        let dialog = Dialog::caller(&self.party.agent, &invite, &answer, self.requests)?;
        dialog.ack(invite.cseq(), None).await?;
        let peer_sdp = Sdp::parse(&answer.body).context("SDP answer")?;
        let line = peer_sdp.msrp()?;
        let role = Role::of(self.setup.as_deref(), line.attribute("setup"), true)?;
        let media = Negotiated::new(self.media, role, line)?;
        Ok(Session { dialog, media, invite, answer, peer_sdp, party: self.party })
    }

    /// Waits for the refusal.
    pub async fn refused(mut self, limit: Duration) -> Result<Message> {
        let answer = self.last(limit).await?;
        ensure!(answer.code() >= 300, "accepted with {}, and must not", answer.summary());
        Ok(answer)
    }
}

impl Invited {
    /// The offer.
    pub fn offer(&self) -> Result<Sdp> {
        let message = &self.request.message;
        ensure!(
            message.header("Content-Type") == Some("application/sdp"),
            "{} instead of application/sdp",
            message.header("Content-Type").unwrap_or("no Content-Type")
        );
        Sdp::parse(&message.body).context("SDP offer")
    }

    /// Refuses.
    pub async fn refuse(&self, code: u16, reason: &str) -> Result<()> {
        self.request.answer(code, reason).await
    }

    /// Accepts and listens for the MSRP connection.
    pub async fn accept(self) -> Result<Call> {
        self.accept_with(&SdpOptions::setup("passive"), |_| {}).await
    }

    /// Accepts; `edit` has the last word on the 200.
    pub async fn accept_with(self, sdp: &SdpOptions, edit: impl FnOnce(&mut Message)) -> Result<Call> {
        let offer = self.offer()?;
        self.accept_offer(offer, sdp, edit).await
    }

    /// Accepts an offer that the caller has taken out of the body itself.
    pub async fn accept_offer(
        self,
        peer_sdp: Sdp,
        sdp: &SdpOptions,
        edit: impl FnOnce(&mut Message),
    ) -> Result<Call> {
        Ok(self.negotiate(peer_sdp, sdp, edit).await?.start())
    }

    /// Accepts, and leaves the MSRP connection to the caller.
    pub async fn negotiate(
        self,
        peer_sdp: Sdp,
        sdp: &SdpOptions,
        edit: impl FnOnce(&mut Message),
    ) -> Result<Session<Negotiated>> {
        let party = self.party;
        let line = peer_sdp.msrp()?;
        let role = Role::of(sdp.setup.as_deref(), line.attribute("setup"), false)?;
        let mut media = Media::new(&party.name, &party.place, &party.trace)?;
        media.receive_buffer = party.receive_buffer;
        let mut answer = self
            .request
            .reply(200, "OK")
            .with("Contact", party.contact())
            .with("Server", party.product.clone())
            .with("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS")
            .with("Supported", "timer");
        if let Some(expires) = self.request.message.header("Session-Expires") {
            answer = answer.with("Session-Expires", expires);
            if expires.contains("refresher=uac") {
                answer = answer.with("Require", "timer");
            }
        }
        answer.set_body("application/sdp", media.sdp(sdp));
        edit(&mut answer);
        let dialog = Dialog::callee(&party.agent, &self.request)?;
        let media = Negotiated::new(media, role, line)?;
        self.request.respond(answer.clone()).await?;
        let invite = self.request.message.clone();
        Ok(Session { dialog, media, invite, answer, peer_sdp, party })
    }
}

impl Session<Negotiated> {
    fn start(self) -> Call {
        self.map(Negotiated::start)
    }

    /// Opens or awaits the MSRP connection and leaves everything on it to the caller.
    pub async fn wire(self) -> Result<Session<Side>> {
        let Session { dialog, media, invite, answer, peer_sdp, party } = self;
        let media = media.wire().await?;
        Ok(Session { dialog, media, invite, answer, peer_sdp, party })
    }

    fn map<N>(self, change: impl FnOnce(Negotiated) -> N) -> Session<N> {
        let Session { dialog, media, invite, answer, peer_sdp, party } = self;
        Session { dialog, media: change(media), invite, answer, peer_sdp, party }
    }
}

impl<M> Session<M> {
    /// Ends the session with a BYE, which must be answered 200.
    pub async fn hang_up(&mut self) -> Result<()> {
        let answer = self.dialog.bye(Some("SIP;cause=200;text=\"Call completed\"")).await?;
        match answer.code() {
            200 => Ok(()),
            _ => bail!("BYE answered {}", answer.summary()),
        }
    }

    /// Waits for the peer's BYE and answers it 200.
    pub async fn hung_up(&mut self) -> Result<Message> {
        let bye = self.dialog.expect("BYE", SOON).await.with_context(|| self.party.name.clone())?;
        bye.answer(200, "OK").await?;
        Ok(bye.message)
    }
}
