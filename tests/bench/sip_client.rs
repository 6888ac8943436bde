//! Sets CPM sessions up through `pf`: the user's devices and the far end, both on TCP, in one thread.
//!
//! Devices share connections to `pf`, as behind an access gateway, so thousands of them need no thousands of descriptors.
//! Every end is the active side of its leg and connects to the path that `pf` gave it.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    frame::{self, Kind},
    ground::{self, Side},
    load::{End, Lane},
    sip_message::Message,
};

/// Longest wait for an answer.
const WAIT: Duration = Duration::from_secs(10);
/// The domain of the bench's users.
pub(crate) const DOMAIN: &str = "example.org";
/// The CPM session service, as a feature tag carries it.
const ICSI: &str = "urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.session";
/// The same, as a header carries it.
const SERVICE: &str = "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.session";

/// Name, which is the password too, of user `number`.
pub(crate) fn user(number: usize) -> String {
    format!("u{number}")
}

/// One connection.
struct Conn {
    stream: TcpStream,
    input: Vec<u8>,
}

/// What the far end and a device learnt from their INVITE.
pub(crate) struct Invited {
    /// The path that `pf` offered or answered.
    pub(crate) path: String,
    /// Our own URI.
    pub(crate) own: String,
}

/// A session whose legs have no connections yet.
pub(crate) struct Session {
    pub(crate) sender: Invited,
    /// Far end, then devices.
    pub(crate) sinks: Vec<Invited>,
    user: usize,
    call: String,
    bye: String,
}

/// Both sides of `pf`.
pub(crate) struct Network {
    /// Those of the devices first, in the order of [`Network::connect`].
    conns: Vec<Conn>,
    /// How many of them are the devices'.
    gateways: usize,
    listeners: [TcpListener; 2],
    /// Our addresses: devices, far end.
    local: [SocketAddr; 2],
    /// INVITEs answered and not yet asked for, by Contribution-ID and by who was invited.
    invited: BTreeMap<(String, String), Invited>,
    counter: u64,
    salt: u64,
}

impl Network {
    /// Listens; `pf` is connected to later, because its configuration needs [`Network::far`].
    pub(crate) fn new() -> Result<Network> {
        let listeners = [ground::listen(Side::Near)?, ground::listen(Side::Far)?];
        let local = [listeners[0].local_addr()?, listeners[1].local_addr()?];
        for listener in &listeners {
            listener.set_nonblocking(true)?;
        }
        let mut salt = [0; 8];
        getrandom::fill(&mut salt).map_err(|error| anyhow::anyhow!("no entropy: {error}"))?;
        let salt = u64::from_be_bytes(salt);
        Ok(Network {
            conns: Vec::new(),
            gateways: 0,
            listeners,
            local,
            invited: BTreeMap::new(),
            counter: 0,
            salt,
        })
    }

    /// Where the far end listens for SIP over TCP.
    pub(crate) fn far(&self) -> SocketAddr {
        self.local[1]
    }

    /// Connects the devices to `pf`'s SIP address over TCP, with this many connections that users share evenly.
    pub(crate) fn connect(&mut self, pf: SocketAddr, connections: usize) -> Result<()> {
        for _ in 0..connections {
            self.add(ground::connect(Side::Near, pf).context("SIP over TCP to pf")?)?;
        }
        self.gateways = connections;
        Ok(())
    }

    fn add(&mut self, stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        self.conns.push(Conn { stream, input: Vec::new() });
        Ok(())
    }

    fn id(&mut self, what: &str) -> String {
        self.counter += 1;
        format!("{what}{:016x}{:x}", self.salt, self.counter)
    }

    /// Registers device `device` of user `user`.
    pub(crate) fn register(&mut self, number: usize, device: usize) -> Result<()> {
        let user = user(number);
        let uri = format!("sip:{DOMAIN}");
        let (call, tag) = (self.id("r"), self.id("t"));
        let contact = self.contact(number, device);
        let mut credentials = String::new();
        for cseq in 1..=2 {
            let (branch, local) = (self.id("z9hG4bK"), self.local[0]);
            let request = format!(
                "REGISTER {uri} SIP/2.0\r\nVia: SIP/2.0/TCP {local};branch={branch}\r\nMax-Forwards: 70\r\n\
                 From: <sip:{user}@{DOMAIN}>;tag={tag}\r\nTo: <sip:{user}@{DOMAIN}>\r\nCall-ID: {call}\r\n\
                 CSeq: {cseq} REGISTER\r\nContact: {contact};expires=7200\r\nSupported: path\r\n\
                 User-Agent: CPM-client/OMA2.2 pf-bench\r\nAllow: INVITE, ACK, BYE, CANCEL, UPDATE, OPTIONS\r\n\
                 {credentials}Content-Length: 0\r\n\r\n"
            );
            let answer = self.transact(number, &call, &request)?;
            match answer.status() {
                Some(200) => return Ok(()),
                Some(401) if cseq == 1 => credentials = answer.credentials(&user, &user, "REGISTER", &uri)?,
                _ => bail!("REGISTER of {user} was answered `{}`", answer.start),
            }
        }
        bail!("REGISTER of {user} was challenged twice")
    }

    fn contact(&self, number: usize, device: usize) -> String {
        format!(
            "<sip:d{device}.{}@{};transport=tcp>;+sip.instance=\"<urn:uuid:{number:08x}-0000-4000-8000-{device:012x}>\"\
             ;+g.3gpp.icsi-ref=\"{ICSI}\"",
            user(number),
            self.local[0]
        )
    }

    /// Sets one session of user `number` up: device 0 invites the far end, `pf` invites devices 1 to `devices`.
    /// Every leg's MSRP connection is made and bound.
    pub(crate) fn session(&mut self, number: usize, devices: usize) -> Result<Lane> {
        let Session { sender, sinks, .. } = self.invite(number, devices)?;
        let bind = |side, end: &Invited| {
            let (end, more) = bind(side, &end.path, &end.own)?;
            ensure!(more.is_empty(), "something came before the load");
            Ok(end)
        };
        let sender = bind(Side::Near, &sender).context("leg of the sender")?;
        let sinks = sinks.iter().map(|sink| bind(Side::Far, sink));
        Ok(Lane { sender, sinks: sinks.collect::<Result<_>>().context("leg of a sink")? })
    }

    /// The same by SIP alone: who is invited accepts, and nobody has connected yet.
    pub(crate) fn invite(&mut self, number: usize, devices: usize) -> Result<Session> {
        let user = user(number);
        let (call, tag, branch) = (self.id("c"), self.id("t"), self.id("z9hG4bK"));
        let (session, contact, local) = (self.id("s"), self.contact(number, 0), self.local[0]);
        let own = format!("msrp://127.0.0.1:9/{session}.a;tcp");
        let sdp = description(&own);
        let target = "sip:far@example.net";
        let invite = format!(
            "INVITE {target} SIP/2.0\r\nVia: SIP/2.0/TCP {local};branch={branch}\r\nMax-Forwards: 70\r\n\
             From: <sip:{user}@{DOMAIN}>;tag={tag}\r\nTo: <{target}>\r\nCall-ID: {call}\r\nCSeq: 1 INVITE\r\n\
             Contact: {contact}\r\nP-Preferred-Identity: <sip:{user}@{DOMAIN}>\r\nP-Preferred-Service: {SERVICE}\r\n\
             Accept-Contact: *;+g.3gpp.icsi-ref=\"{ICSI}\"\r\nConversation-ID: {session}\r\nContribution-ID: {session}\r\n\
             User-Agent: CPM-client/OMA2.2 pf-bench\r\nSupported: timer\r\n\
             Allow: INVITE, ACK, BYE, CANCEL, UPDATE, OPTIONS\r\nContent-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        );
        let answer = self.transact(number, &call, &invite)?;
        ensure!(answer.status() == Some(200), "INVITE was answered `{}`", answer.start);
        let (routes, to) = (answer.routes(), answer.header("To").unwrap_or_default());
        let remote = answer.contact().context("200 without Contact")?;
        let within = |method: &str, cseq: u32, branch: String| {
            format!(
                "{method} {remote} SIP/2.0\r\nVia: SIP/2.0/TCP {local};branch={branch}\r\nMax-Forwards: 70\r\n{routes}\
                 From: <sip:{user}@{DOMAIN}>;tag={tag}\r\nTo: {to}\r\nCall-ID: {call}\r\nCSeq: {cseq} {method}\r\n\
                 Content-Length: 0\r\n\r\n"
            )
        };
        let ack = within("ACK", 1, self.id("z9hG4bK"));
        let bye = within("BYE", 2, self.id("z9hG4bK"));
        self.write(number % self.gateways, ack.as_bytes())?;
        let path = answer.path().context("200 without a=path")?.to_owned();
        let mut sinks = Vec::new();
        for sink in 0..=devices {
            let who = if sink == 0 { "far".into() } else { format!("d{sink}.{user}") };
            let key = (session.clone(), who.clone());
            let end = Instant::now() + WAIT;
            while !self.invited.contains_key(&key) {
                ensure!(Instant::now() < end, "{who} got no INVITE");
                self.turn(None)?;
            }
            sinks.push(self.invited.remove(&key).context("invited")?);
        }
        Ok(Session { sender: Invited { path, own }, sinks, user: number, call, bye })
    }

    /// Ends a session with a BYE of its originator.
    pub(crate) fn end(&mut self, session: &Session) -> Result<()> {
        let answer = self.transact(session.user, &session.call, &session.bye)?;
        ensure!(answer.status() == Some(200), "BYE was answered `{}`", answer.start);
        Ok(())
    }

    /// Answers what came meanwhile.
    pub(crate) fn serve_pending(&mut self) -> Result<()> {
        self.turn(None).map(drop)
    }

    /// Sends a request of a device of user `number` and waits for its final response.
    fn transact(&mut self, number: usize, call: &str, request: &str) -> Result<Message> {
        self.write(number % self.gateways, request.as_bytes())?;
        let end = Instant::now() + WAIT;
        loop {
            ensure!(Instant::now() < end, "no answer to `{}`", request.lines().next().unwrap_or_default());
            if let Some(answer) = self.turn(Some(call))? {
                return Ok(answer);
            }
        }
    }

    /// Serves what came; a final response to `call` is returned.
    fn turn(&mut self, call: Option<&str>) -> Result<Option<Message>> {
        for at in 0..self.listeners.len() {
            match self.listeners[at].accept() {
                Ok((stream, _)) => self.add(stream)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut wanted = None;
        let mut idle = true;
        let mut piece = [0; 64 * 1024];
        for at in 0..self.conns.len() {
            match self.conns[at].stream.read(&mut piece) {
                Ok(0) if at < self.gateways => bail!("pf closed a SIP connection of the devices"),
                Ok(n) => {
                    self.conns[at].input.extend_from_slice(&piece[..n]);
                    idle &= n == 0;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            while let Some((message, used)) = Message::parse(&self.conns[at].input)? {
                self.conns[at].input.drain(..used);
                let ours = call.is_some() && message.header("Call-ID") == call;
                if message.method().is_some() {
                    self.serve(at, &message)?;
                } else if ours && message.status().is_some_and(|status| status >= 200) {
                    wanted = Some(message);
                }
            }
        }
        if idle && wanted.is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(wanted)
    }

    /// Answers a request as the far end or a device.
    fn serve(&mut self, at: usize, request: &Message) -> Result<()> {
        let tag = self.id("t");
        let answer = match request.method() {
            Some("ACK") => return Ok(()),
            Some("INVITE") => {
                let session = request.header("Contribution-ID").context("INVITE without Contribution-ID")?;
                let target = request.start.split(' ').nth(1).unwrap_or_default();
                let who = target.trim_start_matches("sip:").split('@').next().unwrap_or_default();
                let side = usize::from(who == "far");
                let own = format!("msrp://127.0.0.1:9/{session}.{who};tcp");
                let path = request.path().context("INVITE without a=path")?.to_owned();
                let extra = format!(
                    "Contact: <sip:{who}@{};transport=tcp>\r\nSupported: timer\r\nContent-Type: application/sdp\r\n",
                    self.local[side]
                );
                let answer = request.response("200 OK", &tag, &extra, &description(&own));
                self.invited.insert((session.to_owned(), who.to_owned()), Invited { path, own });
                answer
            }
            _ => request.response("200 OK", &tag, "", ""),
        };
        self.write(at, answer.as_bytes())
    }

    fn write(&mut self, at: usize, octets: &[u8]) -> Result<()> {
        let stream = &mut self.conns[at].stream;
        stream.set_nonblocking(false)?;
        stream.write_all(octets)?;
        Ok(stream.set_nonblocking(true)?)
    }
}

/// Session description of an end that connects itself.
fn description(path: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=message 9 TCP/MSRP *\r\n\
         a=accept-types:text/plain message/cpim\r\na=path:{path}\r\na=setup:active\r\na=sendrecv\r\n"
    )
}

/// Connects to `path` and binds the connection with a SEND without body (RFC 4975 section 5.4). What came behind its
/// answer comes back, too.
pub(crate) fn bind(side: Side, path: &str, own: &str) -> Result<(End, Vec<u8>)> {
    let authority = path.strip_prefix("msrp://").and_then(|rest| rest.split('/').next()).context("path")?;
    let address: SocketAddr = authority.parse().with_context(|| format!("address of path {path}"))?;
    let mut stream = ground::connect(side, address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(WAIT))?;
    let tid = format!("bind{:04x}", stream.local_addr()?.port());
    let send = format!(
        "MSRP {tid} SEND\r\nTo-Path: {path}\r\nFrom-Path: {own}\r\nMessage-ID: {tid}.{authority}\r\nByte-Range: 1-0/0\r\n\
         -------{tid}$\r\n"
    );
    stream.write_all(send.as_bytes())?;
    let mut input = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let n = stream.read(&mut piece).context("no answer to the binding SEND")?;
        ensure!(n > 0, "connection closed");
        input.extend_from_slice(&piece[..n]);
        let Some(answer) = frame::parse(&input)? else { continue };
        ensure!(answer.kind == Kind::Response(200), "the binding SEND was answered {:?}", answer.kind);
        let octets = answer.octets;
        return Ok((End { stream, to_path: path.to_owned(), own: own.to_owned() }, input.split_off(octets)));
    }
}
