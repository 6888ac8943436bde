//! A SIP shell on loopback and peers with plain sockets around it.

use std::{net::SocketAddr, time::Duration};

use pf::{
    core::{
        event::{ClientTx, Hop, ServerTx, SipCommand, SipEvent, Transport},
        sip::{Method, Request, Response},
    },
    sip::{SipConfig, SipShell},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::mpsc,
    time::timeout,
};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How long a test waits for what must not come.
pub(crate) const SILENCE: Duration = Duration::from_millis(150);

/// Timers ten times as fast as in life: T1 is 50 ms, 64*T1 is 3.2 s.
pub(crate) fn config(ip: &str) -> SipConfig {
    let addr = SocketAddr::new(ip.parse().unwrap(), 0);
    SipConfig {
        listen: vec![(Transport::Udp, addr), (Transport::Tcp, addr)],
        t1: Duration::from_millis(50),
        t2: Duration::from_millis(400),
        t4: Duration::from_millis(500),
        ..SipConfig::default()
    }
}

pub(crate) struct Shell {
    pub(crate) shell: SipShell,
    pub(crate) events: mpsc::Receiver<SipEvent>,
    pub(crate) udp: SocketAddr,
    pub(crate) tcp: SocketAddr,
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.shell.stop();
    }
}

impl Shell {
    pub(crate) async fn start(config: SipConfig) -> Shell {
        Shell::with_room(config, 256).await
    }

    pub(crate) async fn with_room(config: SipConfig, room: usize) -> Shell {
        let (sender, events) = mpsc::channel(room);
        let shell = SipShell::start(config, sender).await.unwrap();
        let local = shell.local();
        let of = |t| local.iter().find(|(transport, _)| *transport == t).map(|(_, addr)| *addr).unwrap();
        Shell { udp: of(Transport::Udp), tcp: of(Transport::Tcp), shell, events }
    }

    pub(crate) fn addr(&self, transport: Transport) -> SocketAddr {
        if transport == Transport::Udp { self.udp } else { self.tcp }
    }

    pub(crate) async fn event(&mut self) -> SipEvent {
        timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("a running shell")
    }

    pub(crate) async fn no_event(&mut self) {
        if let Ok(event) = timeout(SILENCE, self.events.recv()).await {
            panic!("unexpected {event:?}");
        }
    }

    pub(crate) async fn request(&mut self) -> (ServerTx, Request) {
        match self.event().await {
            SipEvent::Request { tx, request, .. } => (tx, request),
            other => panic!("not a request: {other:?}"),
        }
    }

    pub(crate) async fn response(&mut self, expected: ClientTx) -> Response {
        match self.event().await {
            SipEvent::Response { tx, response, .. } => {
                assert_eq!(tx, expected);
                response
            }
            other => panic!("not a response: {other:?}"),
        }
    }

    pub(crate) fn respond(&self, tx: ServerTx, response: Response) {
        self.shell.command(SipCommand::Respond { tx, response });
    }

    pub(crate) fn send(&self, tx: u64, request: Request, uri: impl Into<String>) {
        let hop = Hop { uri: uri.into(), flow: None };
        self.shell.command(SipCommand::Request { tx: ClientTx(tx), request, hop });
    }

    pub(crate) fn ack(&self, tx: u64, response: &Response, uri: impl Into<String>) {
        let mut ack = Request::new(Method::Ack, "sip:far@far.example");
        ack.headers.push("Max-Forwards", "70");
        for name in ["From", "To", "Call-ID"] {
            ack.headers.copy(&response.headers, name);
        }
        ack.headers.push("CSeq", format!("{} ACK", response.cseq().unwrap().0));
        let hop = Hop { uri: uri.into(), flow: None };
        self.shell.command(SipCommand::Ack { tx: ClientTx(tx), request: ack, hop });
    }
}

/// A request of ours, as the core makes it.
pub(crate) fn outgoing(method: Method, name: &str) -> Request {
    let mut request = Request::new(method, "sip:far@far.example");
    request.headers.push("Max-Forwards", "70");
    request.headers.push("From", "<sip:ann@example.org>;tag=a1");
    request.headers.push("To", "<sip:far@far.example>");
    request.headers.push("Call-ID", name);
    request.headers.push("CSeq", format!("1 {method}"));
    request
}

/// A request of a peer, as octets.
pub(crate) fn incoming(method: &str, name: &str, via: &str, more: &str) -> String {
    let (number, seq) =
        if method == "ACK" || method == "CANCEL" || method == "INVITE" { (1, method) } else { (2, method) };
    format!(
        "{method} sip:pf@example.org SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: <sip:ann@example.org>;tag=f\r\n\
         To: <sip:far@far.example>\r\nCall-ID: {name}\r\nCSeq: {number} {seq}\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

/// The value of a header in octets read from the wire (long names only).
pub(crate) fn header<'a>(message: &'a str, name: &str) -> &'a str {
    message
        .lines()
        .take_while(|l| !l.is_empty())
        .find_map(|l| l.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v))
        .unwrap_or_else(|| panic!("no {name} in {message}"))
}

/// A response to a request read from the wire.
pub(crate) fn answer(request: &str, status: &str, to_tag: &str) -> String {
    let to = header(request, "To");
    let to =
        if to.contains(";tag=") || to_tag.is_empty() { to.to_owned() } else { format!("{to};tag={to_tag}") };
    format!(
        "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\nContent-Length: 0\r\n\r\n",
        header(request, "Via"),
        header(request, "From"),
        header(request, "Call-ID"),
        header(request, "CSeq"),
    )
}

/// A peer of the shell over either transport.
pub(crate) enum Peer {
    Udp { socket: UdpSocket, shell: SocketAddr },
    Tcp { stream: TcpStream, unread: Vec<u8> },
}

impl Peer {
    pub(crate) async fn udp(shell: SocketAddr) -> Peer {
        Peer::Udp { socket: UdpSocket::bind(SocketAddr::new(shell.ip(), 0)).await.unwrap(), shell }
    }

    pub(crate) async fn tcp(shell: SocketAddr) -> Peer {
        Peer::Tcp { stream: TcpStream::connect(shell).await.unwrap(), unread: Vec::new() }
    }

    pub(crate) async fn connect(transport: Transport, shell: &Shell) -> Peer {
        match transport {
            Transport::Udp => Peer::udp(shell.udp).await,
            _ => Peer::tcp(shell.tcp).await,
        }
    }

    pub(crate) async fn accept(listener: &TcpListener) -> Peer {
        let (stream, _) = timeout(PATIENCE, listener.accept()).await.expect("a connection in time").unwrap();
        Peer::Tcp { stream, unread: Vec::new() }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        match self {
            Peer::Udp { socket, .. } => socket.local_addr().unwrap(),
            Peer::Tcp { stream, .. } => stream.local_addr().unwrap(),
        }
    }

    /// A Via of this peer.
    pub(crate) fn via(&self, branch: &str) -> String {
        let protocol = if matches!(self, Peer::Udp { .. }) { "UDP" } else { "TCP" };
        format!("SIP/2.0/{protocol} {};branch=z9hG4bK{branch}", self.addr())
    }

    pub(crate) async fn send(&mut self, octets: impl AsRef<[u8]>) {
        match self {
            Peer::Udp { socket, shell } => {
                socket.send_to(octets.as_ref(), *shell).await.unwrap();
            }
            Peer::Tcp { stream, .. } => stream.write_all(octets.as_ref()).await.unwrap(),
        }
    }

    /// The next message, or nothing when none comes in this time or the connection ends.
    pub(crate) async fn next(&mut self, patience: Duration) -> Option<String> {
        timeout(patience, self.read()).await.ok().flatten()
    }

    /// The next message.
    pub(crate) async fn message(&mut self) -> String {
        self.next(PATIENCE).await.expect("a message in time")
    }

    pub(crate) async fn silence(&mut self) {
        if let Some(message) = self.next(SILENCE).await {
            panic!("unexpected {message}");
        }
    }

    async fn read(&mut self) -> Option<String> {
        match self {
            Peer::Udp { socket, .. } => {
                let mut buffer = vec![0; 65536];
                let size = socket.recv(&mut buffer).await.ok()?;
                Some(String::from_utf8_lossy(&buffer[..size]).into_owned())
            }
            Peer::Tcp { stream, unread } => loop {
                if let Some(end) = unread.windows(4).position(|w| w == b"\r\n\r\n") {
                    let head = String::from_utf8_lossy(&unread[..end + 4]).into_owned();
                    let total = end + 4 + header(&head, "Content-Length").parse::<usize>().unwrap();
                    if unread.len() >= total {
                        let rest = unread.split_off(total);
                        let message = std::mem::replace(unread, rest);
                        return Some(String::from_utf8_lossy(&message).into_owned());
                    }
                }
                if stream.read_buf(unread).await.ok()? == 0 {
                    return None;
                }
            },
        }
    }

    /// Waits until the shell closes the connection.
    pub(crate) async fn closed(&mut self) -> bool {
        let Peer::Tcp { stream, .. } = self else { panic!("no connection") };
        let mut rest = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut rest)).await.is_ok()
    }
}
