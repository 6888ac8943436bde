//! A SIP user agent: transactions on both sides, all decisions left to the test.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use tokio::sync::{mpsc, watch};

use super::{
    Message, Peer, Start, Transport, tag,
    transport::{Arrival, Wires},
};
use crate::{lock, net::Place, trace::Trace, wait};

/// T1 of RFC 3261.
const T1: Duration = Duration::from_millis(500);
/// T2 of RFC 3261.
const T2: Duration = Duration::from_secs(4);
/// Transactions end after this time.
const T1_64: Duration = Duration::from_secs(32);

/// One actor's SIP side. Cheap to clone.
#[derive(Clone)]
pub struct Agent(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) wires: Arc<Wires>,
    transport: Transport,
    clients: Mutex<HashMap<(String, String), Client>>,
    servers: Mutex<HashMap<(String, String), Arc<ServerState>>>,
    pub(crate) dialogs: Mutex<HashMap<(String, String), mpsc::UnboundedSender<ServerRequest>>>,
    acks: Mutex<HashMap<AckKey, (Message, Transport, SocketAddr)>>,
    waiting_acks: Mutex<HashMap<AckKey, Arc<ServerState>>>,
    requests: tokio::sync::Mutex<mpsc::UnboundedReceiver<ServerRequest>>,
    violations: Mutex<Vec<String>>,
}

/// Call-ID, CSeq number and To tag of a 2xx.
type AckKey = (String, u32, String);

/// One request of ours.
struct Client {
    responses: mpsc::UnboundedSender<Message>,
    request: Message,
    transport: Transport,
    to: SocketAddr,
    answered: bool,
}

/// What is known of one request that came in.
struct ServerState {
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
    /// Binds UDP and TCP on one port of `place` (0: the system chooses) and starts to listen. `transport` is the
    /// one for requests of its own.
    pub fn start(name: &str, place: &Place, port: u16, transport: Transport, trace: &Trace) -> Result<Agent> {
        let (wires, arrivals) = Wires::open(name, place, port, trace)?;
        let (sender, requests) = mpsc::unbounded_channel();
        let inner = Arc::new(Inner {
            wires,
            transport,
            clients: Mutex::default(),
            servers: Mutex::default(),
            dialogs: Mutex::default(),
            acks: Mutex::default(),
            waiting_acks: Mutex::default(),
            requests: tokio::sync::Mutex::new(requests),
            violations: Mutex::default(),
        });
        tokio::spawn(receive(Arc::downgrade(&inner), arrivals, sender));
        Ok(Agent(inner))
    }

    /// The address of its sockets, UDP and TCP alike.
    pub fn local(&self) -> SocketAddr {
        self.0.wires.local
    }

    /// The transport of its own requests.
    pub fn transport(&self) -> Transport {
        self.0.transport
    }

    /// Its Contact URI.
    pub fn contact_uri(&self, user: &str) -> String {
        let transport = match self.0.transport {
            Transport::Tcp => ";transport=tcp",
            Transport::Udp => "",
        };
        format!("sip:{user}@{}{transport}", self.local())
    }

    /// From now on, of a thousand of its datagrams in each direction `per_mille` are lost, chosen by this seed.
    pub fn lose(&self, per_mille: u32, seed: u64) {
        self.0.wires.lose(per_mille, seed);
    }

    /// Datagrams lost so far.
    pub fn lost(&self) -> u64 {
        self.0.wires.lost()
    }

    /// Closes its TCP connections.
    pub fn close_connections(&self) {
        self.0.wires.close_connections();
    }

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

    /// Sends a message as it is, outside any transaction.
    pub async fn send_raw(&self, message: &Message, to: SocketAddr) -> Result<()> {
        self.0.wires.send(message, self.0.transport, to).await
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

    /// The next request outside any dialog.
    pub async fn next_request(&self, limit: Duration) -> Result<ServerRequest> {
        let name = &self.0.wires.name;
        let next = async { self.0.requests.lock().await.recv().await.context("the agent ended") };
        wait::within(limit, &format!("{name}: a request"), next).await
    }

    /// Asserts that no request outside a dialog comes within `limit`.
    pub async fn no_request(&self, limit: Duration) -> Result<()> {
        let next = async { self.0.requests.lock().await.recv().await.map(|r| r.message.summary()) };
        match tokio::time::timeout(limit, next).await {
            Ok(Some(what)) => Err(anyhow!("{} got {what}, and must not", self.0.wires.name)),
            _ => Ok(()),
        }
    }

    /// What its peers did against RFC 3261, as far as seen.
    pub fn violations(&self) -> Vec<String> {
        lock(&self.0.violations).clone()
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

async fn receive(
    agent: Weak<Inner>,
    mut arrivals: mpsc::UnboundedReceiver<Arrival>,
    requests: mpsc::UnboundedSender<ServerRequest>,
) {
    while let Some((message, peer)) = arrivals.recv().await {
        let Some(agent) = agent.upgrade() else { return };
        match message {
            Err(error) => lock(&agent.violations).push(format!("from {}: {error:#}", peer.addr)),
            Ok(message) => {
                let outcome = match message.start {
                    Start::Request { .. } => agent.on_request(message, peer, &requests).await,
                    Start::Response { .. } => agent.on_response(message).await,
                };
                if let Err(error) = outcome {
                    lock(&agent.violations).push(format!("{error:#}"));
                }
            }
        }
    }
}

impl Inner {
    async fn on_response(self: &Arc<Self>, response: Message) -> Result<()> {
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

    async fn on_request(
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
