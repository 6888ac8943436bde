//! Octets between sockets and switch.

use std::{
    io::{self, IoSlice, Read, Write},
    net::Shutdown,
    time::Instant,
};

use pf_common::msrp::{Head, Parsed, Uri};

use super::{Order, worker::Worker};
use crate::core::media::ConnId;

/// Octets per read.
pub(super) const READ: usize = 256 * 1024;
/// With a remainder above this only that is worked on.
pub(super) const REMAINDER: usize = 32 * 1024;
/// Reads of one connection before the others have their turn.
const READS: usize = 2;
/// A remainder buffer larger than this is given back when it is empty.
const KEEP: usize = 4096;
/// Pieces per write.
const PIECES: usize = 64;

impl Worker {
    /// Reads what there is, within this turn's share, and gives it to the switch.
    pub(super) fn read(&mut self, id: ConnId) {
        for _ in 0..READS {
            if !self.switch.readable(id) {
                return;
            }
            let Some(socket) =
                self.sockets.get_mut(id.index()).and_then(Option::as_mut).filter(|s| s.id == id)
            else {
                return;
            };
            let kept = socket.rest.len();
            if self.buffer.len() < kept + READ {
                self.buffer.resize(kept + READ, 0);
            }
            self.buffer[..kept].copy_from_slice(&socket.rest);
            let mut got = 0;
            if socket.readable && kept <= REMAINDER {
                match socket.stream.read(&mut self.buffer[kept..kept + READ]) {
                    Ok(0) => (socket.ended, socket.readable) = (true, false),
                    // Less than there was room for: the next octet makes the socket readable anew.
                    Ok(n) => (got, socket.readable) = (n, n == READ || socket.closing),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.readable = false,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => {
                        self.gone(id);
                        return;
                    }
                }
            }
            let total = kept + got;
            socket.rest.clear();
            if !self.splice_lets_in(id, kept, got) {
                return;
            }
            if got > 0 && !self.switch.is_bound(id) && !self.take_orders_first(id, total) {
                return;
            }
            if total > 0 && !self.hand_over(id, total) {
                self.give(id, total);
            }
            let Some(socket) = self.socket(id) else { return };
            if socket.ended && self.switch.readable(id) {
                self.switch.ended(self.now, id);
                return;
            }
            let socket_done = self.socket(id).is_none_or(|s| !s.readable);
            if socket_done {
                return;
            }
        }
        self.queue(id);
    }

    /// The session that a new connection names may have been given out a moment ago: orders come first. The
    /// buffer may be used on the way; false if the connection is gone.
    fn take_orders_first(&mut self, id: ConnId, total: usize) -> bool {
        let octets = self.buffer[..total].to_vec();
        self.stopping |= !self.orders();
        self.buffer[..total].copy_from_slice(&octets);
        self.socket(id).is_some()
    }

    /// Gives the first `total` octets of the buffer to the switch, and writes what borrows from them.
    fn give(&mut self, id: ConnId, total: usize) {
        let consumed = self.switch.input(self.now, id, &self.buffer[..total]).min(total);
        if let Some(splice) = &mut self.splice {
            splice.hold_back(self.now, &mut self.switch, id);
        }
        while let Some(to) = self.switch.take_borrowing() {
            self.write(to);
            self.switch.settle(to, &self.buffer[..total]);
        }
        if let Some(socket) = self.sockets.get_mut(id.index()).and_then(Option::as_mut).filter(|s| s.id == id)
        {
            if consumed < total {
                socket.rest.extend_from_slice(&self.buffer[consumed..total]);
            } else if socket.rest.capacity() > KEEP {
                socket.rest = Vec::new();
            }
        }
    }

    /// Is this the first head of a connection, for a session of another worker? Then the connection moves there.
    fn hand_over(&mut self, id: ConnId, total: usize) -> bool {
        if self.colleagues.directory.is_single() || self.switch.is_bound(id) {
            return false;
        }
        let Parsed::Head(head) = Head::parse(&self.buffer[..total]) else { return false };
        let Ok(uri) = Uri::parse(head.to_path) else { return false };
        let Some(owner) = self.colleagues.directory.session(uri.session) else { return false };
        if owner == self.colleagues.number {
            return false;
        }
        let (Some(seat), Some(mut socket)) =
            (self.colleagues.seats.get(owner), self.sockets.get_mut(id.index()).and_then(Option::take))
        else {
            return false;
        };
        self.switch.withdraw(id);
        if self.poll.registry().deregister(&mut socket.stream).is_ok() {
            let octets = self.buffer[..total].to_vec();
            seat.order(Order::Adopt { stream: socket.stream, peer: socket.peer, octets });
        }
        true
    }

    /// Writes as much as the socket takes.
    pub(super) fn write(&mut self, id: ConnId) {
        if self.splice.is_some() && !self.splice_writes(id) {
            return;
        }
        loop {
            let Some(socket) =
                self.sockets.get_mut(id.index()).and_then(Option::as_mut).filter(|s| s.id == id)
            else {
                return;
            };
            let Some(outbox) = self.switch.outbox(id).filter(|o| !o.is_empty() && socket.writable) else {
                return;
            };
            let written = if outbox.borrows() {
                let mut pieces = [IoSlice::new(&[]); PIECES];
                let count = outbox.pieces(&self.buffer, &mut pieces);
                socket.stream.write_vectored(&pieces[..count])
            } else {
                socket.stream.write(outbox.plain())
            };
            match written {
                Ok(n) => {
                    if let Some(splice) = &mut self.splice {
                        splice.wrote(id, n);
                    }
                    self.switch.wrote(self.now, id, n);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    socket.writable = false;
                    // Starts the watch over a connection that takes nothing.
                    self.switch.wrote(self.now, id, 0);
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.gone(id);
                    return;
                }
            }
        }
    }

    /// Writes the rest, says that nothing follows, and reads until the peer has understood.
    pub(super) fn linger(&mut self, n: usize) {
        let Some(closing) = self.closing.get_mut(n) else { return };
        while !closing.rest.is_empty() {
            match closing.stream.write(&closing.rest) {
                Ok(written) => drop(closing.rest.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.closing.remove(n);
                    return;
                }
            }
        }
        if closing.rest.is_empty() {
            let _ = closing.stream.shutdown(Shutdown::Write);
        }
        for _ in 0..READS {
            let over = match closing.stream.read(&mut self.buffer[..READ]) {
                // The peer sends nothing more, but may still read.
                Ok(0) if !closing.rest.is_empty() => return,
                Ok(0) => true,
                Ok(_) => Instant::now() >= closing.until,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => true,
            };
            if over {
                self.closing.remove(n);
                return;
            }
        }
        // There is more to read over: in the next turn.
        if !self.lingering.contains(&n) {
            self.lingering.push(n);
        }
    }
}
