//! Connections of a worker come, are there, and go.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use mio::{Interest, Token, net::TcpStream};

use super::{
    socket,
    worker::{CLOSING, Closing, LINGER, Socket, Worker},
};
use crate::core::media::ConnId;

/// Connections accepted before the others have their turn.
const ACCEPTS: usize = 64;
/// How long until accepting is tried again after it failed.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

impl Worker {
    /// This listener has connections for us.
    pub(super) fn accept_soon(&mut self, n: usize) {
        if !self.accepting.contains(&n) {
            self.accepting.push(n);
        }
    }

    pub(super) fn accept(&mut self, n: usize) {
        if self.exhausted.is_some() {
            return self.accept_soon(n);
        }
        for _ in 0..ACCEPTS {
            let Some(listener) = self.listeners.get(n) else { return };
            match listener.accept() {
                Ok((stream, peer)) => {
                    if self.switch.connections() < self.config.connections {
                        self.take_in(stream, Some(peer), Vec::new());
                    } else if let Some(count) = self.refused.count(Instant::now()) {
                        tracing::warn!(count, "MSRP connections refused: msrp.connections is reached");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    let now = Instant::now();
                    if let Some(count) = self.cannot_accept.count(now) {
                        tracing::warn!(%error, count, "cannot accept MSRP connections: tried again");
                    }
                    self.exhausted = Some(now + ACCEPT_AGAIN);
                    break;
                }
            }
        }
        self.accept_soon(n);
    }

    /// A connection that somebody opened to us.
    pub(super) fn take_in(&mut self, stream: TcpStream, peer: Option<SocketAddr>, octets: Vec<u8>) {
        let id = self.switch.accepted(self.now, peer);
        if self.put(id, stream, peer, false).is_err() {
            self.switch.withdraw(id);
            return;
        }
        let caps = (self.config.unbound_connections, self.config.unbound_per_peer);
        let switch = &self.switch;
        let is_unbound = |id| switch.outbox(id).is_some() && !switch.is_bound(id);
        let ip = peer.map(|peer| peer.ip());
        for oldest in self.unbound.add(id, ip, caps, is_unbound).into_iter().flatten() {
            if self.switch.evict(self.now, oldest)
                && let Some(count) = self.evicted.count(Instant::now())
            {
                tracing::warn!(count, "MSRP connections that name no session closed for newer ones");
            }
        }
        if let Some(socket) = self.socket(id) {
            socket.rest = octets;
            self.queue(id);
        }
    }

    fn put(
        &mut self,
        id: ConnId,
        mut stream: TcpStream,
        peer: Option<SocketAddr>,
        connecting: bool,
    ) -> io::Result<()> {
        stream.set_nodelay(true)?;
        self.poll.registry().register(
            &mut stream,
            Token(id.index()),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        if self.sockets.len() <= id.index() {
            self.sockets.resize_with(id.index() + 1, || None);
        }
        let socket = Socket {
            id,
            stream,
            peer,
            rest: Vec::new(),
            connecting,
            readable: true,
            writable: !connecting,
            closing: false,
            ended: false,
            queued: false,
        };
        if let Some(place) = self.sockets.get_mut(id.index()) {
            *place = Some(socket);
        }
        Ok(())
    }

    pub(super) fn connect(&mut self, id: ConnId, to: SocketAddr, from: Option<SocketAddr>) {
        // The leg may have been closed while its name was resolved.
        if self.switch.outbox(id).is_none() {
            return;
        }
        if self.colleagues.own.is(to) {
            tracing::debug!(%to, "not connected: this is our own address");
            return self.gone(id);
        }
        let begun = socket::connect(to, from).and_then(|stream| self.put(id, stream, Some(to), true));
        if let Err(error) = begun {
            tracing::debug!(%to, %error, "cannot connect");
            self.gone(id);
        }
    }

    /// A socket has something to tell.
    pub(super) fn ready(&mut self, n: usize, event: &mio::event::Event) {
        let Some(socket) = self.sockets.get_mut(n).and_then(Option::as_mut) else { return };
        let id = socket.id;
        if socket.connecting {
            if event.is_writable() || event.is_error() {
                self.connected(id);
            }
            return;
        }
        socket.closing |= event.is_read_closed();
        socket.readable |= event.is_readable() || event.is_read_closed();
        if event.is_error() {
            self.gone(id);
            return;
        }
        if event.is_writable() && !socket.writable {
            socket.writable = true;
            self.write(id);
        }
        if event.is_readable() || event.is_read_closed() {
            self.read(id);
        }
    }

    fn connected(&mut self, id: ConnId) {
        let Some(socket) = self.socket(id) else { return };
        let failed = match socket.stream.take_error() {
            Ok(error) => error,
            Err(error) => Some(error),
        };
        let pending = failed.is_none() && socket.stream.peer_addr().is_err();
        if let Some(error) = failed {
            tracing::debug!(to = ?socket.peer, %error, "cannot connect");
            self.gone(id);
        } else if !pending {
            (socket.connecting, socket.writable) = (false, true);
            let peer = socket.peer;
            self.switch.connected(self.now, id, peer);
            self.read(id);
        }
    }

    /// The connection is broken, or ended by the peer, or never came to be.
    pub(super) fn gone(&mut self, id: ConnId) {
        if let Some(splice) = &mut self.splice {
            // What was in flight there goes with it.
            splice.closing(self.now, &mut self.switch, id);
        }
        if let Some(place) = self.sockets.get_mut(id.index())
            && place.as_ref().is_some_and(|socket| socket.id == id)
        {
            *place = None;
        }
        self.switch.closed(self.now, id);
    }

    /// The switch has given the connection up.
    pub(super) fn close(&mut self, id: ConnId, mut rest: Vec<u8>) {
        if let Some(splice) = &mut self.splice {
            let first = splice.closing(self.now, &mut self.switch, id);
            rest.splice(..0, first);
        }
        let Some(place) = self.sockets.get_mut(id.index()) else { return };
        let Some(mut socket) = place.take_if(|socket| socket.id == id) else { return };
        if socket.connecting || socket.ended && rest.is_empty() {
            return;
        }
        let entry = self.closing.vacant_entry();
        let token = Token(CLOSING + entry.key());
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().reregister(&mut socket.stream, token, interest).is_ok() {
            let n = entry.key();
            entry.insert(Closing { stream: socket.stream, rest, until: Instant::now() + LINGER });
            self.linger(n);
        }
    }
}
