//! SIP over UDP and TCP.

use std::{
    cell::Cell,
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::mpsc,
};

use super::{Message, message::head_length};
use crate::{
    lock,
    net::Place,
    trace::{Protocol, Trace},
};

/// A SIP transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// As written in Via.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "TCP",
            Transport::Udp => "UDP",
        }
    }

    /// What the actors of a test speak that does not say: UDP, if it is not played [`over`] another.
    pub fn usual() -> Transport {
        USUAL.get()
    }

    /// The parameter of a SIP URI, with its `;`; nothing for UDP.
    pub fn parameter(self) -> &'static str {
        match self {
            Transport::Tcp => ";transport=tcp",
            Transport::Udp => "",
        }
    }
}

thread_local! {
    static USUAL: Cell<Transport> = const { Cell::new(Transport::Udp) };
}

/// Plays a test, which runs on this thread alone, with actors that speak `transport` where it does not say.
pub fn over<T>(transport: Transport, test: impl FnOnce() -> T) -> T {
    let before = USUAL.replace(transport);
    let outcome = test();
    USUAL.set(before);
    outcome
}

/// Where a message came from: answers go back the same way.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Transport protocol.
    pub transport: Transport,
    /// Remote address.
    pub addr: SocketAddr,
    pub(crate) connection: Option<mpsc::UnboundedSender<Vec<u8>>>,
}

/// What arrived: a message, or octets that are none.
pub(crate) type Arrival = (Result<Message>, Peer);

/// The sockets of one actor.
pub(crate) struct Wires {
    pub(crate) name: String,
    pub(crate) trace: Trace,
    pub(crate) local: SocketAddr,
    place: Place,
    udp: UdpSocket,
    connections: Mutex<HashMap<SocketAddr, mpsc::UnboundedSender<Vec<u8>>>>,
    arrivals: mpsc::UnboundedSender<Arrival>,
    /// Of a thousand datagrams in each direction, so many are lost.
    loss: AtomicU32,
    lost: AtomicU64,
    /// Datagrams sent and received, the lost ones among them.
    datagrams: AtomicU64,
    dice: AtomicU64,
}

impl Wires {
    /// From now on, of a thousand datagrams in each direction `per_mille` are lost, chosen by this seed.
    pub(crate) fn lose(&self, per_mille: u32, seed: u64) {
        self.dice.store(seed, Ordering::Relaxed);
        self.loss.store(per_mille, Ordering::Relaxed);
    }

    /// Datagrams lost so far.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Datagrams sent and received so far.
    pub(crate) fn datagrams(&self) -> u64 {
        self.datagrams.load(Ordering::Relaxed)
    }

    /// Whether this datagram is lost on its way.
    fn is_lost(&self) -> bool {
        self.datagrams.fetch_add(1, Ordering::Relaxed);
        let loss = self.loss.load(Ordering::Relaxed);
        if loss == 0 {
            return false;
        }
        // SplitMix64: every step of the counter gives an independent number.
        let mut z = self.dice.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let lost = (z ^ (z >> 31)) % 1000 < u64::from(loss);
        self.lost.fetch_add(u64::from(lost), Ordering::Relaxed);
        lost
    }

    /// Binds the sockets; what arrives comes out of the receiver.
    pub(crate) fn open(
        name: &str,
        place: &Place,
        port: u16,
        trace: &Trace,
    ) -> Result<(Arc<Wires>, mpsc::UnboundedReceiver<Arrival>)> {
        let (udp, tcp) = place.sip_sockets(port)?;
        let (arrivals, receiver) = mpsc::unbounded_channel();
        let wires = Arc::new(Wires {
            name: name.to_owned(),
            trace: trace.clone(),
            local: tcp.local_addr()?,
            place: place.clone(),
            udp,
            connections: Mutex::default(),
            arrivals,
            loss: AtomicU32::default(),
            lost: AtomicU64::default(),
            datagrams: AtomicU64::default(),
            dice: AtomicU64::default(),
        });
        trace.name_socket(wires.local, name);
        tokio::spawn(read_udp(Arc::downgrade(&wires)));
        tokio::spawn(accept(Arc::downgrade(&wires), tcp));
        Ok((wires, receiver))
    }

    /// Sends over UDP, or over the TCP connection to `to`, opened where there is none.
    pub(crate) async fn send(
        self: &Arc<Self>,
        message: &Message,
        transport: Transport,
        to: SocketAddr,
    ) -> Result<()> {
        let octets = message.encode();
        self.trace.sent(Protocol::Sip, &self.name, to, message.summary(), &octets, octets.len());
        match transport {
            Transport::Udp if self.is_lost() => {}
            Transport::Udp => {
                self.udp.send_to(&octets, to).await.context("sending SIP over UDP")?;
            }
            Transport::Tcp => {
                let known = lock(&self.connections).get(&to).cloned();
                let octets = match known {
                    Some(connection) => match connection.send(octets) {
                        Ok(()) => return Ok(()),
                        Err(unsent) => unsent.0,
                    },
                    None => octets,
                };
                let stream = self.place.connect(to, None).await?;
                let _ = self.adopt(stream, to).send(octets);
            }
        }
        Ok(())
    }

    /// Sends back the way that a message came.
    pub(crate) async fn send_back(self: &Arc<Self>, message: &Message, peer: &Peer) -> Result<()> {
        match &peer.connection {
            Some(connection) => {
                let octets = message.encode();
                let summary = message.summary();
                self.trace.sent(Protocol::Sip, &self.name, peer.addr, summary, &octets, octets.len());
                connection.send(octets).map_err(|_| anyhow::anyhow!("the SIP connection is closed"))
            }
            None => self.send(message, peer.transport, peer.addr).await,
        }
    }

    /// Closes all TCP connections.
    pub(crate) fn close_connections(&self) {
        lock(&self.connections).clear();
    }

    fn adopt(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) -> mpsc::UnboundedSender<Vec<u8>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        lock(&self.connections).insert(peer, sender.clone());
        tokio::spawn(serve_tcp(Arc::downgrade(self), stream, peer, receiver, sender.downgrade()));
        sender
    }

    fn arrived(&self, octets: &[u8], peer: Peer) {
        let message = Message::parse(octets);
        let summary = match &message {
            Ok(message) => message.summary(),
            Err(error) => format!("broken: {error}"),
        };
        self.trace.received(Protocol::Sip, &self.name, peer.addr, summary, octets, octets.len());
        let _ = self.arrivals.send((message, peer));
    }
}

async fn read_udp(wires: std::sync::Weak<Wires>) {
    let mut buffer = vec![0; 65_536];
    while let Some(strong) = wires.upgrade() {
        // A bounded wait, so that the task ends with its actor.
        let wait = std::time::Duration::from_millis(500);
        let Ok(got) = tokio::time::timeout(wait, strong.udp.recv_from(&mut buffer)).await else { continue };
        let Ok((length, addr)) = got else { continue };
        let octets = &buffer[..length];
        if strong.is_lost() {
            continue;
        }
        if octets.iter().any(|byte| !b"\r\n\0".contains(byte)) {
            strong.arrived(octets, Peer { transport: Transport::Udp, addr, connection: None });
        }
    }
}

async fn accept(wires: std::sync::Weak<Wires>, listener: TcpListener) {
    loop {
        let wait = std::time::Duration::from_millis(500);
        let got = tokio::time::timeout(wait, listener.accept()).await;
        let Some(wires) = wires.upgrade() else { return };
        if let Ok(Ok((stream, peer))) = got {
            let _ = stream.set_nodelay(true);
            wires.adopt(stream, peer);
        }
    }
}

async fn serve_tcp(
    wires: std::sync::Weak<Wires>,
    stream: TcpStream,
    peer: SocketAddr,
    mut outgoing: mpsc::UnboundedReceiver<Vec<u8>>,
    sender: mpsc::WeakUnboundedSender<Vec<u8>>,
) {
    let (mut read, mut write) = stream.into_split();
    let mut buffer: Vec<u8> = Vec::new();
    let mut piece = vec![0; 16_384];
    loop {
        tokio::select! {
            octets = outgoing.recv() => match octets {
                Some(octets) => if write.write_all(&octets).await.is_err() { break },
                None => break,
            },
            got = read.read(&mut piece) => match got {
                Ok(length) if length > 0 => {
                    buffer.extend_from_slice(&piece[..length]);
                    let Some(wires) = wires.upgrade() else { break };
                    let Some(connection) = sender.upgrade() else { break };
                    let from = Peer { transport: Transport::Tcp, addr: peer, connection: Some(connection) };
                    if take_messages(&wires, &mut buffer, &from).is_err() { break }
                }
                _ => break,
            },
        }
    }
    if let Some(wires) = wires.upgrade() {
        lock(&wires.connections).remove(&peer);
    }
}

/// Takes all complete messages off `buffer`. An error means that the framing is lost.
fn take_messages(wires: &Arc<Wires>, buffer: &mut Vec<u8>, from: &Peer) -> Result<()> {
    loop {
        let keep_alive = buffer.iter().take_while(|byte| b"\r\n".contains(byte)).count();
        buffer.drain(..keep_alive);
        let Some(head) = head_length(buffer) else { return Ok(()) };
        let length = content_length(&buffer[..head]);
        let Some(length) = length else {
            wires.arrived(&buffer[..head], from.clone());
            anyhow::bail!("no Content-Length on a stream");
        };
        if buffer.len() < head + length {
            return Ok(());
        }
        wires.arrived(&buffer[..head + length], from.clone());
        buffer.drain(..head + length);
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(head).ok()?;
    text.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let name = name.trim();
        let ours = name.eq_ignore_ascii_case("Content-Length") || name.eq_ignore_ascii_case("l");
        ours.then(|| value.trim().parse().ok())?
    })
}
