//! A party to CPM sessions: a SIP agent that offers and answers MSRP.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{Calling, Invited};
use crate::{
    msrp::Media,
    net::Place,
    sip::{Agent, Credentials, Message, SdpOptions, Transport, host_port},
    trace::Trace,
};

/// A party: the far end as it is, a device with a registration around it.
#[derive(Clone)]
pub struct Party {
    /// Name in traces.
    pub name: String,
    /// Its SIP side.
    pub agent: Agent,
    /// Where it lives.
    pub place: Place,
    /// The shared trace.
    pub trace: Trace,
    /// Its CPM address.
    pub address: String,
    /// Parameters of its Contact, each with its `;`.
    pub contact_params: String,
    /// User-Agent or Server.
    pub product: String,
    /// Where its requests outside dialogs go; absent: to the Request-URI.
    pub proxy: Option<SocketAddr>,
    /// For challenges.
    pub credentials: Option<Credentials>,
    /// The kernel's receive buffer of its MSRP connections in octets, where it shall be bounded.
    pub receive_buffer: Option<usize>,
}

impl Party {
    /// A party that speaks for `address`.
    pub fn start(
        name: &str,
        place: &Place,
        transport: Transport,
        address: &str,
        trace: &Trace,
    ) -> Result<Party> {
        Party::start_at(name, place, 0, transport, address, trace)
    }

    /// The same with a fixed SIP port.
    pub fn start_at(
        name: &str,
        place: &Place,
        port: u16,
        transport: Transport,
        address: &str,
        trace: &Trace,
    ) -> Result<Party> {
        Ok(Party {
            name: name.to_owned(),
            agent: Agent::start(name, place, port, transport, trace)?,
            place: place.clone(),
            trace: trace.clone(),
            address: address.to_owned(),
            contact_params: format!(";{}", super::icsi_tag(&[super::ICSI_SESSION])),
            product: "CPM-serv/OMA2.2 lab/1".to_owned(),
            proxy: None,
            credentials: None,
            receive_buffer: None,
        })
    }

    /// Its Contact value.
    pub fn contact(&self) -> String {
        let user = self.address.trim_start_matches("sip:").split('@').next().unwrap_or("lab");
        format!("<{}>{}", self.agent.contact_uri(user), self.contact_params)
    }

    /// Invites `target` to a CPM session with an ordinary offer.
    pub async fn invite(&self, target: &str) -> Result<Calling> {
        self.invite_with(target, &SdpOptions::setup("active"), |_| {}).await
    }

    /// Invites `target`; `edit` has the last word on the INVITE, its body included.
    pub async fn invite_with(
        &self,
        target: &str,
        sdp: &SdpOptions,
        edit: impl FnOnce(&mut Message),
    ) -> Result<Calling> {
        let mut media = Media::new(&self.name, &self.place, &self.trace)?;
        media.receive_buffer = self.receive_buffer;
        let mut invite = Message::request("INVITE", target)
            .with("Max-Forwards", "70")
            .with("From", format!("<{}>;tag={}", self.address, crate::token(4)))
            .with("To", format!("<{target}>"))
            .with("Call-ID", crate::token(12))
            .with("CSeq", "1 INVITE")
            .with("Contact", self.contact())
            .with("User-Agent", self.product.clone())
            .with("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS")
            .with("Supported", "timer")
            .with("Accept-Contact", format!("*;{}", super::icsi_tag(&[super::ICSI_SESSION])))
            .with("P-Preferred-Service", super::ICSI_SESSION)
            .with("Conversation-ID", crate::token(16))
            .with("Contribution-ID", crate::token(16));
        invite.set_body("application/sdp", media.sdp(sdp));
        edit(&mut invite);
        let to = self.hop(target)?;
        Calling::start(self.clone(), invite, to, media, sdp.setup.clone()).await
    }

    /// The next INVITE from outside.
    pub async fn invited(&self, limit: Duration) -> Result<Invited> {
        loop {
            let request = self.agent.next_request(limit).await?;
            if request.message.method() == "INVITE" {
                return Ok(Invited { party: self.clone(), request });
            }
            request.answer(501, "Not Implemented").await?;
        }
    }

    /// What must hold at the end: it has seen no breach of SIP, and no datagram where it is a party that speaks TCP.
    pub fn verify(&self) -> Result<()> {
        let violations = self.agent.violations();
        ensure!(violations.is_empty(), "{} saw broken SIP: {violations:?}", self.name);
        let datagrams = if self.agent.transport() == Transport::Tcp { self.agent.datagrams() } else { 0 };
        ensure!(datagrams == 0, "{} saw {datagrams} datagrams", self.name);
        Ok(())
    }

    pub(crate) fn hop(&self, target: &str) -> Result<SocketAddr> {
        match self.proxy {
            Some(proxy) => Ok(proxy),
            None => Ok(host_port(target).with_context(|| format!("`{target}` is not an IP address"))?.0),
        }
    }
}
