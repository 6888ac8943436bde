//! The worker's turns, where there is an in-kernel path.

use std::io::{self, Write};

use mio::{Interest, unix::SourceFd};

use super::Splice;
use crate::{
    core::media::ConnId,
    fastpath::Datapath,
    msrp::worker::{LOG, Worker},
};

/// How long closed connections may exchange their last packets when `pf` stops.
const FAREWELL: std::time::Duration = std::time::Duration::from_millis(100);

impl Worker {
    /// From now on the in-kernel path carries what it can.
    pub(in crate::msrp) fn splice_with(&mut self, path: Datapath) -> io::Result<()> {
        let mut splice = Splice::new(path);
        self.poll.registry().register(&mut SourceFd(&splice.log_fd()), LOG, Interest::READABLE)?;
        self.switch.keep_books();
        splice.tune(self.now, &mut self.switch, self.config.tunables);
        self.splice = Some(Box::new(splice));
        Ok(())
    }

    /// The log has something that must not wait.
    pub(in crate::msrp) fn splice_woken(&mut self) {
        if let Some(splice) = &mut self.splice {
            splice.woken(self.now, &mut self.switch);
        }
    }

    /// `kept` and `got` octets of a connection stand in the buffer, the latter read just now: may they be given to
    /// the switch? If not they wait for the next turn (U1).
    pub(in crate::msrp) fn splice_lets_in(&mut self, id: ConnId, kept: usize, got: usize) -> bool {
        let Some(splice) = &mut self.splice else { return true };
        splice.read(id, got);
        let ended =
            || self.sockets.get(id.index()).and_then(Option::as_ref).is_some_and(|socket| socket.ended);
        if kept + got == 0 && !ended() || splice.may_enter(self.now, &mut self.switch, id) {
            return true;
        }
        if let Some(socket) = self.sockets.get_mut(id.index()).and_then(Option::as_mut).filter(|s| s.id == id)
        {
            socket.rest.extend_from_slice(&self.buffer[..kept + got]);
        }
        self.queue(id);
        false
    }

    /// Before anything is written in this turn: streams that changed, clocks, and the legs that are written to (U2).
    pub(in crate::msrp) fn splice_turn(&mut self) {
        let Some(splice) = &mut self.splice else { return };
        splice.changed(self.now, &mut self.switch, &self.sockets);
        splice.tick(self.now, &mut self.switch);
        splice.take_left(self.now, &mut self.switch);
        let dirty = self.switch.dirty().to_vec();
        splice.before_writes(self.now, &mut self.switch, &dirty);
        while let Some(id) = self.splice.as_mut().and_then(|splice| splice.take_pressing()) {
            self.write(id);
        }
        while let Some(id) = self.splice.as_mut().and_then(|splice| splice.take_broken()) {
            self.reset(id);
        }
    }

    /// Has what was done last left something to write, or to look at, in this turn?
    pub(in crate::msrp) fn splice_has_more(&self) -> bool {
        self.splice.as_ref().is_some_and(|splice| {
            splice.has_more() || !self.switch.dirty().is_empty() || self.switch.has_changed()
        })
    }

    /// Everything of this turn is done: what can be armed is armed.
    pub(in crate::msrp) fn splice_arm(&mut self) {
        if let Some(splice) = &mut self.splice {
            splice.arm(self.now, &mut self.switch, &self.sockets);
        }
    }

    /// The leg is userspace's, and what was in flight is written. Gives whether the outbox may follow.
    pub(in crate::msrp) fn splice_writes(&mut self, id: ConnId) -> bool {
        let Some(splice) = &mut self.splice else { return true };
        let waits = self.switch.outbox(id).is_some_and(|outbox| !outbox.is_empty());
        if waits && splice.is_injected(id) {
            splice.before_writes(self.now, &mut self.switch, &[id]);
            if splice.is_injected(id) {
                // The control program did not run: the next turn tries again.
                return false;
            }
        }
        let Some(socket) = self.sockets.get_mut(id.index()).and_then(Option::as_mut).filter(|s| s.id == id)
        else {
            return false;
        };
        while let Some(first) = splice.first(id) {
            if !socket.writable {
                return false;
            }
            match socket.stream.write(first) {
                Ok(n) => splice.wrote_first(id, n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.gone(id);
                    return false;
                }
            }
        }
        true
    }

    /// `pf` stops: everything that is owed is written as far as the sockets take it, and they are closed while the
    /// programs still translate. Then the programs wait a moment for the peers' last packets.
    pub(in crate::msrp) fn splice_stop(&mut self) {
        let Some(splice) = &mut self.splice else { return };
        let touched = splice.end(self.now, &mut self.switch);
        let open: Vec<ConnId> = self.sockets.iter().flatten().map(|socket| socket.id).collect();
        for id in open {
            self.write(id);
        }
        self.closing.clear();
        self.sockets.clear();
        if touched {
            std::thread::sleep(FAREWELL);
        }
    }

    /// The connection's stream cannot be continued: the peer is to know it.
    fn reset(&mut self, id: ConnId) {
        if let Some(socket) = self.socket(id) {
            let _ = socket2::SockRef::from(&socket.stream).set_linger(Some(std::time::Duration::ZERO));
        }
        self.gone(id);
    }
}
