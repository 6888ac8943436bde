//! Scenarios in virtual time: UE-A, the far end and the user's other devices as pure message builders around one
//! shard. A test reads like a ladder: what goes in on the left, what is expected on the right.

mod answer;
mod bye;
mod cancel;
mod connection_loss;
mod delivery;
mod early_update;
mod interworking;
mod invitation;
mod iwf;
mod iwf_change;
mod modification;
mod passing;
mod property;
mod provisional;
#[path = "../../proxy/tests/mod.rs"]
mod proxy;
mod rejoin;
mod storing;
mod timer;
mod walk;
mod wishes;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::core::{
    Command, Event, Shard, Time,
    config::{CoreConfig, DigestAlgorithm, MsrpAddress, SipAddress},
    entropy::SeededEntropy,
    event::{
        ClientTx, Hop, InterceptedMessage, LegCounters, LegDown, LegKey, MediaCommand, MediaEvent, NoAnswer,
        Peer, ServerTx, Setup, SipCommand, SipEvent, StreamKey, Transport,
    },
    policy::Policy,
    shard::Limits,
    sip::{Method, NameAddr, Request, Response},
    store::{Order, Outcome, StoreConfig, StoreError, Uid},
};

const ICSI: &str = "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.session";
const ICSI_G: &str = "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.session.group";
const TAG: &str = "+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.session\"";
const CORE: &str = "10.0.0.5:5060";
const PF: &str = "10.0.0.1:5060";

/// A shard with its clock, and everything it has said that no test line has looked at yet.
struct World {
    shard: Shard,
    now: Time,
    said: Vec<Command>,
    names: BTreeMap<LegKey, String>,
    last_tx: u64,
}

/// A request that the shard sent.
#[derive(Clone, Debug)]
struct Out {
    tx: ClientTx,
    request: Request,
    hop: Hop,
}

/// A peer's side of a dialog.
#[derive(Clone, Debug)]
struct Ua {
    call_id: String,
    from: String,
    to: String,
    target: String,
    cseq: u32,
}

/// An established session of UE-A with FAR, and the devices that took part.
struct Call {
    /// UE-A's INVITE.
    invite: ServerTx,
    /// UE-A's 200.
    ok: Response,
    a: Ua,
    f: Ua,
    /// The INVITE to FAR.
    far: Out,
    /// The other devices with their INVITEs, in the order they were invited.
    devices: Vec<(Ua, Out)>,
}

impl World {
    /// UE-A, UE-B and UE-C of ann are registered.
    fn new() -> World {
        World::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Policy)) -> World {
        World::configured(|config| change(&mut config.policy))
    }

    /// A world with a store, whose users want their history recorded.
    fn recording() -> World {
        World::recording_with(|_| {})
    }

    fn recording_with(change: impl FnOnce(&mut CoreConfig)) -> World {
        World::configured(|config| {
            config.policy.allow_offline_storage = true;
            config.store = Some(store());
            change(config);
        })
    }

    /// The devices take part in group sessions as well.
    fn register_for_groups(&mut self) {
        let tags = TAG.replace(
            "cpm.session\"",
            "cpm.session,urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.session.group\"",
        );
        for device in ["a", "b", "c"] {
            self.register(device, "CPM-client/OMA2.2", &tags);
        }
    }

    fn configured(change: impl FnOnce(&mut CoreConfig)) -> World {
        let mut world = World::empty(change);
        for device in ["a", "b", "c"] {
            world.register(device, "CPM-client/OMA2.2", TAG);
        }
        world
    }

    fn empty(change: impl FnOnce(&mut CoreConfig)) -> World {
        let mut config = CoreConfig {
            policy: Policy::default(),
            domains: vec!["example.org".to_owned()],
            sip: vec![SipAddress {
                transport: Transport::Udp,
                bound: socket(PF),
                host: "10.0.0.1".to_owned(),
                port: 5060,
            }],
            msrp: vec![MsrpAddress { host: IpAddr::from([10, 0, 0, 1]), port: 2855 }],
            trusted: vec![socket(CORE).ip()],
            registrars: vec![socket(CORE).ip()],
            core_route: Some("sip:10.0.0.5:5060".to_owned()),
            isf_route: Some("sip:10.0.0.6:5060".to_owned()),
            product: "CPM-serv/OMA2.2 pf/0.1.0".to_owned(),
            secret: [7; 32],
            users: Vec::new(),
            digest: DigestAlgorithm::ALL.to_vec(),
            own_uri: None,
            outside_trust_domain: false,
            store: None,
            xdms: None,
        };
        change(&mut config);
        World {
            shard: Shard::with_limits(config, Box::new(SeededEntropy(1)), Limits::default()),
            now: Time::ZERO,
            said: Vec::new(),
            names: BTreeMap::new(),
            last_tx: 0,
        }
    }

    /// The core's registrar tells of a device of ann.
    fn register(&mut self, device: &str, user_agent: &str, tags: &str) {
        let original = format!(
            "REGISTER sip:example.org SIP/2.0\r\nVia: SIP/2.0/UDP 10.1.0.1;branch=z9hG4bK{device}\r\n\
             From: <sip:ann@example.org>;tag=r\r\nTo: <sip:ann@example.org>\r\nCall-ID: reg-{device}\r\n\
             CSeq: 1 REGISTER\r\nContact: \"Ann's {device}\" <sip:ann@{device}.example.net:5060>\
             ;+sip.instance=\"<urn:uuid:{device}>\";{tags}\r\nUser-Agent: {user_agent}\r\n\
             Expires: 600000\r\nContent-Length: 0\r\n\r\n"
        );
        let mut register = request(
            Method::Register,
            "sip:10.0.0.1:5060",
            &[
                ("From", "<sip:scscf.example.org>;tag=s"),
                ("To", "<sip:ann@example.org>"),
                ("Call-ID", &format!("third-{device}")),
                ("CSeq", "1 REGISTER"),
                ("Contact", "<sip:scscf.example.org>"),
                ("Expires", "600000"),
                ("Content-Type", "message/sip"),
            ],
        );
        register.body = original.into();
        let tx = self.receive(register);
        assert_eq!(self.response(tx).status, 200, "REGISTER of {device}");
    }

    /// One event in; what comes out is remembered for the expectations.
    fn event(&mut self, event: Event) {
        let commands = self.shard.handle(self.now, event);
        for command in &commands {
            if let Command::Media(MediaCommand::OpenLeg { leg, role, .. }) = command {
                let number = self.names.values().filter(|name| name.starts_with("device")).count();
                let name = match role {
                    crate::core::event::LegRole::Originator => "A".to_owned(),
                    crate::core::event::LegRole::Far => "F".to_owned(),
                    crate::core::event::LegRole::Device => format!("device{}", number + 1),
                };
                self.names.insert(*leg, name);
            }
        }
        self.said.extend(commands);
    }

    /// The process is told to end.
    fn shut_down(&mut self) {
        let commands = self.shard.shut_down(self.now);
        self.said.extend(commands);
    }

    /// A request comes in, from the core.
    fn receive(&mut self, request: Request) -> ServerTx {
        self.receive_from(CORE, request)
    }

    fn receive_from(&mut self, from: &str, request: Request) -> ServerTx {
        self.last_tx += 1;
        let tx = ServerTx(self.last_tx);
        self.event(Event::Sip(SipEvent::Request { tx, from: peer(from), request }));
        tx
    }

    /// A response to a request of the shard comes in.
    fn reply(&mut self, out: &Out, response: Response) {
        self.event(Event::Sip(SipEvent::Response { tx: out.tx, from: peer(CORE), response }));
    }

    fn unanswered(&mut self, out: &Out) {
        self.event(Event::Sip(SipEvent::Unanswered { tx: out.tx, reason: NoAnswer::TimedOut }));
    }

    /// UE-A's ACK (or another peer's) for a 2xx.
    fn ack(&mut self, tx: ServerTx, ua: &Ua) {
        let request = ua.ack();
        self.event(Event::Sip(SipEvent::Ack { tx: Some(tx), from: peer(CORE), request }));
    }

    fn cancel(&mut self, tx: ServerTx, reason: Option<&str>) {
        let mut request = Request::new(Method::Cancel, "sip:x");
        if let Some(reason) = reason {
            request.headers.push("Reason", reason);
        }
        self.event(Event::Sip(SipEvent::Cancelled { tx, request }));
    }

    /// The first order to the store that no test line has looked at yet.
    fn order(&mut self) -> Order {
        let found = self.said.iter().position(|c| matches!(c, Command::Store(_)));
        let Some(at) = found else { panic!("nothing is to be stored, but {:#?}", self.said) };
        match self.said.remove(at) {
            Command::Store(order) => order,
            _ => unreachable!(),
        }
    }

    /// The store has the object under this UID.
    fn stored(&mut self, order: &Order, uid: u32) {
        let stored = Ok(Uid(uid.try_into().unwrap()));
        self.event(Event::Store(Outcome { id: order.id, stored }));
    }

    fn not_stored(&mut self, order: &Order, error: StoreError) {
        self.event(Event::Store(Outcome { id: order.id, stored: Err(error) }));
    }

    /// The far end said something to the lost client.
    fn intercepted(&mut self, number: u64, text: &str) {
        let leg = *self.names.iter().find(|(_, name)| *name == "F").expect("leg F").0;
        let message = InterceptedMessage {
            message_id: format!("m-{number}"),
            content_type: Some("message/cpim".to_owned()),
            octets: text.as_bytes().to_vec(),
        };
        let stream = StreamKey(1);
        let message = Box::new(message);
        self.event(Event::Media(MediaEvent::Intercepted { leg, stream, number, message }));
    }

    fn leg_down(&mut self, name: &str, reason: LegDown) {
        let leg = *self.names.iter().find(|(_, n)| *n == name).expect("a leg of that name").0;
        self.event(Event::Media(MediaEvent::LegDown { leg, reason, counters: LegCounters::default() }));
    }

    /// Time goes on; every deadline in between is kept.
    fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        for _ in 0..10_000 {
            match self.shard.deadline().filter(|at| *at <= end) {
                Some(at) => {
                    self.now = self.now.max(at);
                    self.event(Event::Tick);
                }
                None => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("deadlines that do not go away: {:?}", self.shard.deadline());
    }

    /// The first request of that method that the shard sent and no test line has taken yet.
    fn request(&mut self, method: Method) -> Out {
        let found = self.said.iter().position(
            |c| matches!(c, Command::Sip(SipCommand::Request { request, .. }) if request.method == method),
        );
        let Some(at) = found else { panic!("no {method} was sent, but {:#?}", self.said) };
        match self.said.remove(at) {
            Command::Sip(SipCommand::Request { tx, request, hop }) => Out { tx, request, hop },
            _ => unreachable!(),
        }
    }

    fn has_request(&self, method: Method) -> bool {
        self.said.iter().any(
            |c| matches!(c, Command::Sip(SipCommand::Request { request, .. }) if request.method == method),
        )
    }

    /// The shard's next response in that transaction.
    fn response(&mut self, tx: ServerTx) -> Response {
        let found = self
            .said
            .iter()
            .position(|c| matches!(c, Command::Sip(SipCommand::Respond { tx: of, .. }) if *of == tx));
        let Some(at) = found else { panic!("no response to {tx:?}, but {:#?}", self.said) };
        match self.said.remove(at) {
            Command::Sip(SipCommand::Respond { response, .. }) => response,
            _ => unreachable!(),
        }
    }

    fn has_response(&self, tx: ServerTx) -> bool {
        self.said.iter().any(|c| matches!(c, Command::Sip(SipCommand::Respond { tx: of, .. }) if *of == tx))
    }

    /// The ACK for a 2xx to a request of the shard.
    fn acked(&mut self, out: &Out) -> Request {
        self.try_acked(out).unwrap_or_else(|| panic!("no ACK, but {:#?}", self.said))
    }

    fn try_acked(&mut self, out: &Out) -> Option<Request> {
        let at = self
            .said
            .iter()
            .position(|c| matches!(c, Command::Sip(SipCommand::Ack { tx, .. }) if *tx == out.tx))?;
        match self.said.remove(at) {
            Command::Sip(SipCommand::Ack { request, .. }) => Some(request),
            _ => unreachable!(),
        }
    }

    /// Was that request cancelled? With which Reason?
    fn cancelled(&mut self, out: &Out) -> Option<Option<String>> {
        let at = self
            .said
            .iter()
            .position(|c| matches!(c, Command::Sip(SipCommand::Cancel { tx, .. }) if *tx == out.tx))?;
        match self.said.remove(at) {
            Command::Sip(SipCommand::Cancel { reason, .. }) => Some(reason),
            _ => unreachable!(),
        }
    }

    /// All media commands since the last look, in short.
    fn media(&mut self) -> Vec<String> {
        let (media, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.said).into_iter().partition(|c| matches!(c, Command::Media(_)));
        self.said = rest;
        let name = |leg: LegKey| self.names.get(&leg).cloned().unwrap_or_default();
        media
            .into_iter()
            .map(|command| match command {
                Command::Media(MediaCommand::BeginRecording { undecided, .. }) => {
                    if undecided { "keep" } else { "begin recording" }.to_owned()
                }
                Command::Media(MediaCommand::DecideRecording { wanted, .. }) => {
                    if wanted { "record what was kept" } else { "forget what was kept" }.to_owned()
                }
                Command::Media(MediaCommand::EndRecording { .. }) => "end recording".to_owned(),
                Command::Media(MediaCommand::OpenStream { .. }) => "open stream".to_owned(),
                Command::Media(MediaCommand::CloseStream { .. }) => "close stream".to_owned(),
                Command::Media(MediaCommand::ConfirmIntercepted { number, kept, .. }) => {
                    format!("message {number} {}", if kept { "kept" } else { "not kept" })
                }
                Command::Media(MediaCommand::Intercept { keep, .. }) => {
                    format!("intercept{}", if keep.is_some() { " and keep" } else { "" })
                }
                Command::Media(MediaCommand::Deliver { message, .. }) => {
                    format!("deliver {}", String::from_utf8_lossy(&message.octets))
                }
                Command::Media(MediaCommand::Resume { .. }) => "resume".to_owned(),
                Command::Media(MediaCommand::OpenLeg { leg, .. }) => format!("open {}", name(leg)),
                Command::Media(MediaCommand::CloseLeg { leg }) => format!("close {}", name(leg)),
                Command::Media(MediaCommand::ConnectLeg { leg, remote }) => {
                    let how = match remote.setup {
                        Setup::Active => format!("connect {} to {}", name(leg), remote.connect_to),
                        Setup::Passive => format!("await {}", name(leg)),
                    };
                    format!("{how} as {}", remote.path.join(" "))
                }
                Command::Preferences(_) | Command::Sip(_) | Command::Store(_) => unreachable!(),
            })
            .collect()
    }

    /// Everything was looked at but media.
    fn silent(&mut self) {
        self.media();
        assert!(self.said.is_empty(), "unexpected: {:#?}", self.said);
    }

    /// No session is left, nor anything that belongs to one.
    fn over(&mut self) {
        assert_eq!(self.shard.sessions(self.now), [], "no session is left");
        assert!(self.shard.is_idle(), "no index entry or deadline is left");
    }

    /// UE-A invites FAR; the INVITE has gone out.
    fn invite(&mut self) -> (ServerTx, Out) {
        self.invite_with(invite())
    }

    fn invite_with(&mut self, invite: Request) -> (ServerTx, Out) {
        let tx = self.receive(invite);
        let far = self.request(Method::Invite);
        (tx, far)
    }

    /// UE-A and FAR have a session, ACKed; what was sent to devices is still to be looked at.
    fn answered(&mut self) -> Call {
        self.answered_with(invite())
    }

    fn answered_with(&mut self, request: Request) -> Call {
        let (tx, far) = self.invite_with(request);
        self.reply(&far, far_ok(&far));
        let ok = self.response(tx);
        assert_eq!(ok.status, 200);
        let a = Ua::caller(&invite(), &ok);
        self.ack(tx, &a);
        self.acked(&far);
        let f = Ua::callee(&far, "far");
        Call { invite: tx, ok, a, f, far, devices: Vec::new() }
    }

    /// UE-A, FAR, UE-B and UE-C have a session; everything so far was looked at.
    fn established(&mut self) -> Call {
        let mut call = self.answered();
        for (device, tag) in [("b", "tag-b"), ("c", "tag-c")] {
            let out = self.request(Method::Invite);
            assert!(out.request.uri.contains(&format!("@{device}.")), "{}", out.request.uri);
            self.reply(&out, device_ok(&out, device));
            self.acked(&out);
            call.devices.push((Ua::callee(&out, tag), out));
        }
        self.silent();
        call
    }
}

impl Ua {
    /// Who sent `invite` and got `ok`.
    fn caller(invite: &Request, ok: &Response) -> Ua {
        Ua {
            call_id: invite.call_id().to_owned(),
            from: invite.headers.get("From").unwrap().to_owned(),
            to: ok.headers.get("To").unwrap().to_owned(),
            target: NameAddr::parse(ok.headers.get("Contact").unwrap_or("<sip:none>")).unwrap().uri,
            cseq: invite.cseq().unwrap(),
        }
    }

    /// Who got the INVITE `out` and answered with this tag.
    fn callee(out: &Out, tag: &str) -> Ua {
        Ua {
            call_id: out.request.call_id().to_owned(),
            from: format!("{};tag={tag}", out.request.headers.get("To").unwrap()),
            to: out.request.headers.get("From").unwrap().to_owned(),
            target: NameAddr::parse(out.request.headers.get("Contact").unwrap()).unwrap().uri,
            cseq: 100,
        }
    }

    fn ack(&self) -> Request {
        let mut ack = self.clone().request(Method::Ack);
        ack.headers.set("CSeq", format!("{} ACK", self.cseq));
        ack
    }

    fn request(&mut self, method: Method) -> Request {
        self.cseq += 1;
        let cseq = format!("{} {method}", self.cseq);
        request(
            method,
            &self.target,
            &[("From", &self.from), ("To", &self.to), ("Call-ID", &self.call_id), ("CSeq", &cseq)],
        )
    }

    fn bye(&mut self, reason: Option<&str>) -> Request {
        let mut bye = self.request(Method::Bye);
        if let Some(reason) = reason {
            bye.headers.push("Reason", reason);
        }
        bye
    }

    /// A re-INVITE or UPDATE with this session description.
    fn offer(&mut self, method: Method, sdp: &str) -> Request {
        let mut offer = self.request(method);
        offer.headers.push("Contact", "<sip:peer@10.9.0.9:5060>");
        offer.headers.push("Supported", "timer");
        offer.headers.push("Content-Type", "application/sdp");
        offer.body = sdp.to_owned().into();
        offer
    }
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn peer(from: &str) -> Peer {
    Peer { transport: Transport::Udp, addr: socket(from), local: socket(PF), flow: None }
}

fn request(method: Method, uri: &str, headers: &[(&str, &str)]) -> Request {
    let mut request = Request::new(method, uri);
    for (name, value) in headers {
        request.headers.push(*name, *value);
    }
    request
}

/// UE-A's INVITE of a one-to-one session to bob.
fn invite() -> Request {
    let contact = format!("<sip:ann@a.example.net:5060>;+sip.instance=\"<urn:uuid:a>\";{TAG};q=0.7");
    let accept_contact = format!("*;{TAG};require;explicit");
    let mut invite = request(
        Method::Invite,
        "sip:bob@example.com;user=phone",
        &[
            ("Via", "SIP/2.0/UDP 10.0.0.5;branch=z9hG4bKa"),
            ("Max-Forwards", "68"),
            ("From", "\"Ann\" <sip:ann@example.org>;tag=ann1"),
            ("To", "<sip:bob@example.com>"),
            ("Call-ID", "call-a"),
            ("CSeq", "1 INVITE"),
            ("Contact", &contact),
            ("a", &accept_contact),
            ("P-Asserted-Identity", "\"Ann\" <sip:ann@example.org>"),
            ("P-Preferred-Service", ICSI),
            ("Conversation-ID", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
            ("Contribution-ID", "6b79b8bc937e4985b1dffd062b687bd7"),
            ("User-Agent", "CPM-client/OMA2.2 phone/1"),
            ("Supported", "timer"),
            ("Subject", "Lunch"),
            ("Content-Type", "application/sdp"),
        ],
    );
    invite.body = sdp(1, &chat("10.1.0.1", "aaaaaaaa", "actpass")).into();
    invite
}

/// What the core knows of its store.
fn store() -> StoreConfig {
    StoreConfig {
        wait: Duration::from_secs(5),
        held_octets: 1000,
        deferred_octets: 3000,
        session_octets: 3000,
    }
}

/// UE-A's INVITE of a group session.
fn group_invite() -> Request {
    let mut invite = invite();
    invite.headers.set("P-Preferred-Service", ICSI_G);
    invite
}

/// A session description of that version with these m-lines.
fn sdp(version: u32, lines: &str) -> String {
    format!("v=0\r\no=- 17 {version} IN IP4 10.1.0.1\r\ns=-\r\nc=IN IP4 10.1.0.1\r\nt=0 0\r\n{lines}")
}

/// An m-line for chat at that host with that session-id.
fn chat(host: &str, id: &str, setup: &str) -> String {
    format!(
        "m=message 2855 TCP/MSRP *\r\nc=IN IP4 {host}\r\na=accept-types:message/cpim\r\n\
         a=accept-wrapped-types:text/plain\r\na=setup:{setup}\r\na=path:msrp://{host}:2855/{id};tcp\r\n"
    )
}

/// A response to a request of the shard, as the wire would bring it.
fn answer(out: &Out, status: u16, tag: &str) -> Response {
    let header = |name| out.request.headers.get(name).unwrap();
    let to = match out.request.to_tag() {
        Some(_) => header("To").to_owned(),
        None => format!("{};tag={tag}", header("To")),
    };
    Response::new(status)
        .with("From", header("From"))
        .with("To", to)
        .with("Call-ID", header("Call-ID"))
        .with("CSeq", header("CSeq"))
}

fn with_sdp(mut response: Response, sdp: &str) -> Response {
    response.headers.push("Content-Type", "application/sdp");
    response.body = sdp.to_owned().into();
    response
}

fn far_ok(far: &Out) -> Response {
    let ok = answer(far, 200, "far")
        .with("Contact", "<sip:bob@10.2.0.1:5060>;isfocus")
        .with("Server", "CPM-serv/OMA1.0 other")
        .with("Allow", "INVITE, ACK, BYE, CANCEL, UPDATE");
    with_sdp(ok, &sdp(1, &chat("10.2.0.1", "ffffffff", "passive")))
}

fn device_ok(out: &Out, device: &str) -> Response {
    let contact = format!("<sip:ann@{device}.example.net:5060>");
    let ok = answer(out, 200, &format!("tag-{device}")).with("Contact", contact);
    let octet = if device == "b" { 2 } else { 3 };
    with_sdp(ok, &sdp(1, &chat(&format!("10.1.0.{octet}"), &device.repeat(8), "passive")))
}
