//! The server side of transactions (RFC 3261 section 17.2): requests that came in, our answers, and their ACK.

use std::{
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::sync::{mpsc, watch};

use super::{
    Agent, Message, Peer, Transport,
    agent::{Inner, T1, T1_64, T2},
    tag,
};
use crate::{lock, wait};

/// What is known of one request that came in.
pub(super) struct ServerState {
    message: Message,
    peer: Peer,
    tag: String,
    last: Mutex<Option<Message>>,
    ack: watch::Sender<Option<Message>>,
    cancel: watch::Sender<Option<Message>>,
}

/// A request that came in and waits for its answer.
#[derive(Clone)]
pub struct ServerRequest {
    /// The request.
    pub message: Message,
    /// Where it came from.
    pub peer: Peer,
    /// To tag of our answers.
    pub tag: String,
    state: Arc<ServerState>,
    agent: Weak<Inner>,
    /// Who gets the ACK of a 2xx.
    acked_at: Weak<Inner>,
}

impl ServerRequest {
    /// A response to build on.
    pub fn reply(&self, code: u16, reason: &str) -> Message {
        Message::response(&self.message, code, reason, &self.tag)
    }

    /// Sends a response. Final responses to an INVITE are repeated until their ACK comes.
    pub async fn respond(&self, response: Message) -> Result<()> {
        let agent = self.agent.upgrade().context("the agent ended")?;
        *lock(&self.state.last) = Some(response.clone());
        agent.wires.send_back(&response, &self.peer).await?;
        if self.message.method() == "INVITE" && response.code() >= 200 {
            if response.code() < 300 {
                let call_id = self.message.required("Call-ID")?.to_owned();
                let acked_at = self.acked_at.upgrade().context("the agent ended")?;
                // The tag of the response, which a test may have chosen.
                let to_tag = tag(response.required("To")?).unwrap_or_default().to_owned();
                let key = (call_id, self.message.cseq(), to_tag);
                lock(&acked_at.waiting_acks).insert(key, self.state.clone());
            }
            tokio::spawn(repeat_until_ack(self.clone(), response));
        }
        Ok(())
    }

    /// The same request as a fork of it: its answers go back the same way with a To tag of their own, and the
    /// ACK of a 2xx goes to `agent`, whose Contact that 2xx has to have.
    pub fn fork(&self, agent: &Agent) -> ServerRequest {
        let tag = crate::token(4);
        let state = ServerState {
            message: self.message.clone(),
            peer: self.peer.clone(),
            tag: tag.clone(),
            last: Mutex::default(),
            ack: watch::Sender::new(None),
            cancel: watch::Sender::new(None),
        };
        ServerRequest {
            message: self.message.clone(),
            peer: self.peer.clone(),
            tag,
            state: Arc::new(state),
            agent: self.agent.clone(),
            acked_at: Arc::downgrade(&agent.0),
        }
    }

    /// Answers with a code and no more.
    pub async fn answer(&self, code: u16, reason: &str) -> Result<()> {
        self.respond(self.reply(code, reason)).await
    }

    /// The ACK of our final response.
    pub async fn acked(&self, limit: Duration) -> Result<Message> {
        let mut ack = self.state.ack.subscribe();
        let wait = async {
            let got = ack.wait_for(Option::is_some).await?;
            got.clone().context("no ACK")
        };
        wait::within(limit, &format!("ACK of {}", self.message.summary()), wait).await
    }

    /// Has its ACK come?
    pub fn is_acked(&self) -> bool {
        self.state.ack.borrow().is_some()
    }

    /// The CANCEL of this INVITE; it was answered, and the INVITE got its 487.
    pub async fn cancelled(&self, limit: Duration) -> Result<Message> {
        let mut cancel = self.state.cancel.subscribe();
        let wait = async {
            let got = cancel.wait_for(Option::is_some).await?;
            got.clone().context("no CANCEL")
        };
        wait::within(limit, &format!("CANCEL of {}", self.message.summary()), wait).await
    }
}

async fn repeat_until_ack(request: ServerRequest, response: Message) {
    // A non-2xx over TCP is not repeated (RFC 3261 section 17.2.1), a 2xx always is (13.3.1.4).
    if response.code() >= 300 && request.peer.transport == Transport::Tcp {
        return;
    }
    let (mut interval, mut total) = (T1, Duration::ZERO);
    while total < T1_64 {
        tokio::time::sleep(interval).await;
        total += interval;
        let Some(agent) = request.agent.upgrade() else { return };
        if request.is_acked() || agent.wires.send_back(&response, &request.peer).await.is_err() {
            return;
        }
        interval = (interval * 2).min(T2);
    }
}

impl Inner {
    pub(super) async fn on_request(
        self: &Arc<Self>,
        message: Message,
        peer: Peer,
        requests: &mpsc::UnboundedSender<ServerRequest>,
    ) -> Result<()> {
        let branch = message.branch().context("no branch")?.to_owned();
        let method = message.method().to_owned();
        match method.as_str() {
            "ACK" => return self.on_ack(message, branch),
            "CANCEL" => return self.on_cancel(message, peer, branch).await,
            _ => {}
        }
        let key = (branch, method);
        let repeated = lock(&self.servers).get(&key).cloned();
        if let Some(state) = repeated {
            let last = lock(&state.last).clone();
            if let Some(response) = last {
                self.wires.send_back(&response, &peer).await?;
            }
            return Ok(());
        }
        let to_tag = tag(message.required("To")?).map(str::to_owned);
        let call_id = message.required("Call-ID")?.to_owned();
        let state = Arc::new(ServerState {
            message,
            peer,
            tag: to_tag.clone().unwrap_or_else(|| crate::token(4)),
            last: Mutex::default(),
            ack: watch::Sender::new(None),
            cancel: watch::Sender::new(None),
        });
        lock(&self.servers).insert(key, state.clone());
        let request = self.waiting(state);
        let Some(to_tag) = to_tag else {
            let _ = requests.send(request);
            return Ok(());
        };
        let dialog = lock(&self.dialogs).get(&(call_id, to_tag)).cloned();
        match dialog.is_some_and(|dialog| dialog.send(request.clone()).is_ok()) {
            true => Ok(()),
            false => request.answer(481, "Call/Transaction Does Not Exist").await,
        }
    }

    fn on_ack(&self, ack: Message, branch: String) -> Result<()> {
        let to_tag = tag(ack.required("To")?).unwrap_or_default().to_owned();
        let key = (ack.required("Call-ID")?.to_owned(), ack.cseq(), to_tag);
        let state = lock(&self.servers).get(&(branch, "INVITE".to_owned())).cloned();
        let state = state.or_else(|| lock(&self.waiting_acks).get(&key).cloned());
        if let Some(state) = state {
            state.ack.send_replace(Some(ack));
        }
        Ok(())
    }

    async fn on_cancel(self: &Arc<Self>, cancel: Message, peer: Peer, branch: String) -> Result<()> {
        let invite = lock(&self.servers).get(&(branch, "INVITE".to_owned())).cloned();
        let (code, reason) = match invite {
            Some(_) => (200, "OK"),
            None => (481, "Call/Transaction Does Not Exist"),
        };
        let reply = Message::response(&cancel, code, reason, &crate::token(4));
        self.wires.send_back(&reply, &peer).await?;
        if let Some(state) = invite {
            let answered = lock(&state.last).as_ref().is_some_and(|response| response.code() >= 200);
            if !answered {
                self.waiting(state.clone()).answer(487, "Request Terminated").await?;
            }
            state.cancel.send_replace(Some(cancel));
        }
        Ok(())
    }

    fn waiting(self: &Arc<Self>, state: Arc<ServerState>) -> ServerRequest {
        ServerRequest {
            message: state.message.clone(),
            peer: state.peer.clone(),
            tag: state.tag.clone(),
            state,
            agent: Arc::downgrade(self),
            acked_at: Arc::downgrade(self),
        }
    }
}
