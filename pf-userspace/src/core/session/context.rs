//! What a session works with: time, configuration, the device table, randomness, names, and where commands go.

use std::{net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::core::{
    Command, Entropy, Time,
    config::CoreConfig,
    event::{ClientTx, Hop, LegKey, MediaCommand, ServerTx, SipCommand, StreamKey},
    policy::preferences::{PreferenceTable, Preferences},
    registry::Registry,
    sip::{Request, Response, dialog::with_tag},
    store::{Order, OrderId, StoreCounters},
};

/// The surroundings of one event.
pub struct Context<'a> {
    /// The present time.
    pub now: Time,
    /// The configuration.
    pub config: &'a CoreConfig,
    /// The users' devices.
    pub registry: &'a mut Registry,
    /// What each user wants.
    pub preferences: &'a mut PreferenceTable,
    /// How the message store does.
    pub counters: &'a mut StoreCounters,
    /// Randomness.
    pub entropy: &'a mut dyn Entropy,
    /// Names for what is new.
    pub ids: &'a mut Ids,
    /// What to do, in order.
    pub commands: Vec<Command>,
}

/// Gives out names: unique over the life of the process.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Ids {
    last: u64,
}

impl Ids {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(crate) fn client(&mut self) -> ClientTx {
        ClientTx(self.next())
    }

    pub(crate) fn leg(&mut self) -> LegKey {
        LegKey(self.next())
    }

    pub(crate) fn order(&mut self) -> OrderId {
        OrderId(self.next())
    }

    pub(crate) fn session(&mut self) -> u64 {
        self.next()
    }

    pub(crate) fn stream(&mut self) -> StreamKey {
        StreamKey(self.next())
    }
}

impl Context<'_> {
    pub(crate) fn media(&mut self, command: MediaCommand) {
        self.commands.push(Command::Media(command));
    }

    pub(crate) fn sip(&mut self, command: SipCommand) {
        self.commands.push(Command::Sip(command));
    }

    pub(crate) fn store(&mut self, order: Order) {
        self.counters.ordered += 1;
        self.commands.push(Command::Store(order));
    }

    /// What a user wants done with what is said between the user and `other`, as far as is known.
    pub(crate) fn wishes(&self, user: &str, other: &str) -> Preferences {
        self.preferences.of(user, other, self.now)
    }

    /// Asks the XDMS what a user wants (clause 8.4.1), unless that is being asked. Gives the time after which its
    /// answer is not waited for; none without an XDMS.
    pub(crate) fn ask_wishes(&mut self, user: &str) -> Option<Time> {
        let xdms = self.config.xdms?;
        self.commands.extend(self.preferences.ask(user).map(Command::Preferences));
        Some(self.now + xdms.wait)
    }

    /// How long to wait for the message store.
    pub(crate) fn store_wait(&self) -> Duration {
        self.config.store.map(|store| store.wait).unwrap_or_default()
    }

    pub(crate) fn request(&mut self, tx: ClientTx, request: Request, hop: Hop) {
        self.sip(SipCommand::Request { tx, request, hop });
    }

    pub(crate) fn respond(&mut self, tx: ServerTx, response: Response) {
        self.sip(SipCommand::Respond { tx, response });
    }

    /// Answers a request negatively, with nothing but the status.
    pub(crate) fn refuse(&mut self, tx: ServerTx, request: &Request, status: u16) {
        let response = self.refusal(request, status);
        self.respond(tx, response);
    }

    /// A negative answer. Its To has a tag, as any answer's but 100 (RFC 3261 section 8.2.6.2).
    pub(crate) fn refusal(&mut self, request: &Request, status: u16) -> Response {
        let mut response = Response::new(status);
        self.tagged(request, &mut response);
        response.with("Server", self.config.product.as_str())
    }

    /// A negative answer with a warning text (clause 8.2.2.1 steps 1 to 3): warn-code 399, our host, the text.
    pub(crate) fn warning(&mut self, request: &Request, status: u16, text: &str) -> Response {
        let warning = format!("399 {} \"{text}\"", self.host());
        self.refusal(request, status).with("Warning", warning)
    }

    /// Gives a response a To with a tag where it has no To.
    pub(crate) fn tagged(&mut self, request: &Request, response: &mut Response) {
        if response.headers.has("To") {
            return;
        }
        if let Some(to) = request.headers.get("To") {
            let tag = request.to_tag().unwrap_or_else(|| self.entropy.token(TAG));
            response.headers.push("To", with_tag(to, Some(&tag)));
        }
    }

    /// Our name in warnings.
    fn host(&self) -> String {
        match self.config.sip.first() {
            Some(address) => match address.host.parse::<IpAddr>() {
                Ok(IpAddr::V6(v6)) => format!("[{v6}]:{}", address.port),
                _ => format!("{}:{}", address.host, address.port),
            },
            None => "pf.invalid".to_owned(),
        }
    }

    pub(crate) fn tag(&mut self) -> String {
        self.entropy.token(TAG)
    }

    /// A new Call-ID: 120 random bits.
    pub(crate) fn call_id(&mut self) -> String {
        self.entropy.token(24)
    }

    /// A random number for `o=` that any reader can hold.
    pub(crate) fn sdp_session(&mut self) -> u64 {
        let mut octets = [0; 8];
        self.entropy.fill(&mut octets);
        u64::from_le_bytes(octets) >> 2
    }
}

/// Length of our tags: 80 random bits (RFC 3261 section 19.3 wants 32).
const TAG: usize = 16;
