//! The client side of transactions (RFC 3261 section 17.1): requests of ours, their repetition and their answers.

use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::sync::mpsc;

use super::{
    Agent, Message, Transport,
    agent::{Inner, T1, T1_64, T2},
    tag,
};
use crate::{lock, wait};

/// One request of ours.
pub(super) struct Client {
    responses: mpsc::UnboundedSender<Message>,
    request: Message,
    transport: Transport,
    to: SocketAddr,
    answered: bool,
}

/// A request of ours that waits for its answers.
pub struct ClientTx {
    /// The request as sent.
    pub request: Message,
    /// How it was sent.
    pub transport: Transport,
    /// Where it was sent.
    pub to: SocketAddr,
    responses: mpsc::UnboundedReceiver<Message>,
    agent: Weak<Inner>,
}

impl Agent {
    /// Sends a request in a new client transaction: adds Via, and Max-Forwards where there is none; retransmits
    /// over UDP.
    pub async fn send(&self, request: Message, to: SocketAddr) -> Result<ClientTx> {
        self.send_over(request, self.0.transport, to).await
    }

    /// Like [`Agent::send`] over a given transport.
    pub async fn send_over(
        &self,
        mut request: Message,
        transport: Transport,
        to: SocketAddr,
    ) -> Result<ClientTx> {
        let branch = format!("z9hG4bK{}", crate::token(8));
        let via = format!("SIP/2.0/{} {};rport;branch={branch}", transport.name(), self.local());
        request.headers.insert(0, ("Via".to_owned(), via));
        if request.header("Max-Forwards").is_none() {
            request.headers.insert(1, ("Max-Forwards".to_owned(), "70".to_owned()));
        }
        self.begin(request, transport, to).await
    }

    /// Sends a request that has its Via.
    async fn begin(&self, request: Message, transport: Transport, to: SocketAddr) -> Result<ClientTx> {
        let (sender, responses) = mpsc::unbounded_channel();
        let key = (request.branch().context("no branch")?.to_owned(), request.method().to_owned());
        let client = Client { responses: sender, request: request.clone(), transport, to, answered: false };
        lock(&self.0.clients).insert(key.clone(), client);
        self.0.wires.send(&request, transport, to).await?;
        if transport == Transport::Udp {
            tokio::spawn(retransmit(Arc::downgrade(&self.0), key, request.clone(), to));
        }
        Ok(ClientTx { request, transport, to, responses, agent: Arc::downgrade(&self.0) })
    }

    /// Sends the ACK of a 2xx, and again whenever that 2xx is repeated.
    pub(crate) async fn send_ack(
        &self,
        mut ack: Message,
        transport: Transport,
        to: SocketAddr,
    ) -> Result<()> {
        let via =
            format!("SIP/2.0/{} {};rport;branch=z9hG4bK{}", transport.name(), self.local(), crate::token(8));
        ack.headers.insert(0, ("Via".to_owned(), via));
        let to_tag = tag(ack.required("To")?).unwrap_or_default().to_owned();
        let key = (ack.required("Call-ID")?.to_owned(), ack.cseq(), to_tag);
        self.0.wires.send(&ack, transport, to).await?;
        lock(&self.0.acks).insert(key, (ack, transport, to));
        Ok(())
    }
}

impl ClientTx {
    /// The next response, provisional or final.
    pub async fn response(&mut self, limit: Duration) -> Result<Message> {
        let what = format!("an answer to {}", self.request.summary());
        let next = async { self.responses.recv().await.context("the agent ended") };
        wait::within(limit, &what, next).await
    }

    /// The final response.
    pub async fn last(&mut self, limit: Duration) -> Result<Message> {
        loop {
            let response = self.response(limit).await?;
            if response.code() >= 200 {
                return Ok(response);
            }
        }
    }

    /// Cancels the INVITE: CANCEL with its branch (RFC 3261 section 9.1). Returns the CANCEL's own transaction.
    pub async fn cancel(&self, reason: Option<&str>) -> Result<ClientTx> {
        let agent = Agent(self.agent.upgrade().context("the agent ended")?);
        let mut cancel = Message::request("CANCEL", self.request.uri());
        for name in ["Via", "Max-Forwards", "From", "To", "Call-ID", "Route"] {
            for value in self.request.all(name) {
                cancel.headers.push((name.to_owned(), value.to_owned()));
            }
        }
        cancel.headers.push(("CSeq".to_owned(), format!("{} CANCEL", self.request.cseq())));
        cancel.headers.extend(reason.map(|reason| ("Reason".to_owned(), reason.to_owned())));
        agent.begin(cancel, self.transport, self.to).await
    }
}

async fn retransmit(agent: Weak<Inner>, key: (String, String), request: Message, to: SocketAddr) {
    let (mut interval, mut total) = (T1, Duration::ZERO);
    // Timers B and F: after 64*T1 the transaction is given up.
    while total + interval < T1_64 {
        tokio::time::sleep(interval).await;
        total += interval;
        let Some(agent) = agent.upgrade() else { return };
        if lock(&agent.clients).get(&key).is_none_or(|client| client.answered) {
            return;
        }
        if agent.wires.send(&request, Transport::Udp, to).await.is_err() {
            return;
        }
        interval = if key.1 == "INVITE" { interval * 2 } else { (interval * 2).min(T2) };
    }
}

impl Inner {
    pub(super) async fn on_response(self: &Arc<Self>, response: Message) -> Result<()> {
        let branch = response.branch().context("no branch")?.to_owned();
        let method = response.method().to_owned();
        let invite = method == "INVITE";
        if invite && (200..300).contains(&response.code()) {
            let to_tag = tag(response.required("To")?).context("a 2xx without To tag")?.to_owned();
            let key = (response.required("Call-ID")?.to_owned(), response.cseq(), to_tag);
            let repeated = lock(&self.acks).get(&key).cloned();
            if let Some((ack, transport, to)) = repeated {
                return self.wires.send(&ack, transport, to).await;
            }
        }
        let refused = {
            let mut clients = lock(&self.clients);
            let Some(client) = clients.get_mut(&(branch, method)) else { return Ok(()) };
            // A provisional answer ends the repetition of an INVITE only (RFC 3261 sections 17.1.1.2, 17.1.2.2).
            client.answered |= invite || response.code() >= 200;
            let _ = client.responses.send(response.clone());
            (invite && response.code() >= 300).then(|| (client.request.clone(), client.transport, client.to))
        };
        match refused {
            Some((request, transport, to)) => {
                let ack = ack_of_refusal(&request, &response)?;
                self.wires.send(&ack, transport, to).await
            }
            None => Ok(()),
        }
    }
}

/// The ACK of a refusal: the INVITE's branch, the refusal's To (RFC 3261 section 17.1.1.3).
fn ack_of_refusal(invite: &Message, response: &Message) -> Result<Message> {
    let mut ack = Message::request("ACK", invite.uri());
    for name in ["Via", "Max-Forwards", "From", "Call-ID", "Route"] {
        for value in invite.all(name) {
            ack.headers.push((name.to_owned(), value.to_owned()));
        }
    }
    Ok(ack.with("To", response.required("To")?).with("CSeq", format!("{} ACK", invite.cseq())))
}
