//! Dialogs (RFC 3261 section 12), and the ACK of a 2xx.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use tokio::sync::mpsc;

use super::{Agent, ClientTx, Message, ServerRequest, Transport, host_port, split_list, tag, uri};
use crate::wait::{self, SOON};

/// One side of a dialog.
pub struct Dialog {
    /// Call-ID.
    pub call_id: String,
    /// Our From value.
    pub local: String,
    /// Our To value.
    pub remote: String,
    /// Remote target: Request-URI of what we send.
    pub target: String,
    /// Route set in our order.
    pub routes: Vec<String>,
    agent: Agent,
    cseq: u32,
    requests: mpsc::UnboundedReceiver<ServerRequest>,
}

impl Dialog {
    /// The caller's dialog, from its INVITE and the 2xx. `requests` was registered under Call-ID and From tag.
    pub(crate) fn caller(
        agent: &Agent,
        invite: &Message,
        answer: &Message,
        requests: mpsc::UnboundedReceiver<ServerRequest>,
    ) -> Result<Dialog> {
        let mut routes = record_routes(answer);
        routes.reverse();
        ensure!(tag(answer.required("To")?).is_some(), "2xx without To tag");
        Ok(Dialog {
            call_id: invite.required("Call-ID")?.to_owned(),
            local: invite.required("From")?.to_owned(),
            remote: answer.required("To")?.to_owned(),
            target: uri(answer.required("Contact")?).to_owned(),
            routes,
            agent: agent.clone(),
            cseq: invite.cseq(),
            requests,
        })
    }

    /// The callee's dialog, from the INVITE (or the SUBSCRIBE) that it accepts.
    pub fn callee(agent: &Agent, invite: &ServerRequest) -> Result<Dialog> {
        let message = &invite.message;
        let call_id = message.required("Call-ID")?.to_owned();
        let (sender, requests) = mpsc::unbounded_channel();
        crate::lock(&agent.0.dialogs).insert((call_id.clone(), invite.tag.clone()), sender);
        Ok(Dialog {
            call_id,
            local: format!("{};tag={}", message.required("To")?, invite.tag),
            remote: message.required("From")?.to_owned(),
            target: uri(message.required("Contact")?).to_owned(),
            routes: record_routes(message),
            agent: agent.clone(),
            cseq: 0,
            requests,
        })
    }

    /// The next request with its dialog headers, CSeq counted up. ACK keeps the INVITE's number: see
    /// [`Dialog::ack`].
    pub fn request(&mut self, method: &str) -> Message {
        self.cseq += 1;
        self.message(method, self.cseq)
    }

    fn message(&self, method: &str, cseq: u32) -> Message {
        let mut message = Message::request(method, &self.target).with("Max-Forwards", "70");
        for route in &self.routes {
            message = message.with("Route", route.clone());
        }
        message
            .with("From", self.local.clone())
            .with("To", self.remote.clone())
            .with("Call-ID", self.call_id.clone())
            .with("CSeq", format!("{cseq} {method}"))
    }

    /// Where requests of this dialog go: first Route, else the remote target.
    pub fn next_hop(&self) -> Result<(Transport, SocketAddr)> {
        let hop = self.routes.first().map_or(self.target.as_str(), |route| uri(route));
        let (address, transport) = host_port(hop).with_context(|| format!("`{hop}` is not an IP address"))?;
        // A numeric address without transport parameter means UDP (RFC 3263 section 4.1).
        let transport = match transport.as_deref() {
            Some("tcp") => Transport::Tcp,
            _ => Transport::Udp,
        };
        Ok((transport, address))
    }

    /// Sends a request built with [`Dialog::request`].
    pub async fn send(&self, request: Message) -> Result<ClientTx> {
        let (transport, to) = self.next_hop()?;
        self.agent.send_over(request, transport, to).await
    }

    /// Acknowledges the 2xx to the INVITE with number `cseq`.
    pub async fn ack(&self, cseq: u32, body: Option<(&str, Vec<u8>)>) -> Result<()> {
        let mut ack = self.message("ACK", cseq);
        if let Some((content_type, body)) = body {
            ack.set_body(content_type, body);
        }
        let (transport, to) = self.next_hop()?;
        self.agent.send_ack(ack, transport, to).await
    }

    /// Sends a BYE, with a Reason where given, and leaves the waiting to the caller.
    pub async fn start_bye(&mut self, reason: Option<&str>) -> Result<ClientTx> {
        let mut bye = self.request("BYE");
        if let Some(reason) = reason {
            bye = bye.with("Reason", reason);
        }
        self.send(bye).await
    }

    /// Sends a BYE and waits for its final answer.
    pub async fn bye(&mut self, reason: Option<&str>) -> Result<Message> {
        self.start_bye(reason).await?.last(SOON).await
    }

    /// The next request of the peer inside this dialog.
    pub async fn next_request(&mut self, limit: Duration) -> Result<ServerRequest> {
        let what = format!("a request in dialog {}", self.call_id);
        let next = async { self.requests.recv().await.context("the agent ended") };
        wait::within(limit, &what, next).await
    }

    /// Like [`Dialog::next_request`]; it must have this method.
    pub async fn expect(&mut self, method: &str, limit: Duration) -> Result<ServerRequest> {
        let request = self.next_request(limit).await.with_context(|| format!("waiting for {method}"))?;
        ensure!(request.message.method() == method, "{} instead of {method}", request.message.summary());
        Ok(request)
    }
}

impl Drop for Dialog {
    fn drop(&mut self) {
        let tag = tag(&self.local).unwrap_or_default().to_owned();
        crate::lock(&self.agent.0.dialogs).remove(&(self.call_id.clone(), tag));
    }
}

fn record_routes(message: &Message) -> Vec<String> {
    message.all("Record-Route").into_iter().flat_map(split_list).map(str::to_owned).collect()
}

impl Agent {
    /// Sends an INVITE whose dialog, once there is one, gets its requests through the receiver.
    pub(crate) async fn invite(
        &self,
        invite: Message,
        to: SocketAddr,
    ) -> Result<(ClientTx, mpsc::UnboundedReceiver<ServerRequest>)> {
        let (sender, requests) = mpsc::unbounded_channel();
        let tag = tag(invite.required("From")?).context("INVITE without From tag")?.to_owned();
        let key = (invite.required("Call-ID")?.to_owned(), tag);
        crate::lock(&self.0.dialogs).insert(key, sender);
        Ok((self.send(invite, to).await?, requests))
    }
}
