//! The store cannot follow: sources of recorded streams wait. Their octets stay in the kernel, whose window tells the
//! peers to wait, too.

use crate::core::media::{ConnId, StreamId, Switch};

/// Who waits for the store.
#[derive(Debug, Default)]
pub(in crate::core::media) struct Hold {
    /// The store cannot follow.
    full: bool,
    /// Connections that are not read.
    waiting: Vec<ConnId>,
}

impl Switch {
    /// Says whether the store can follow. Gives whether that is new.
    pub fn hold_recorded(&mut self, full: bool) -> bool {
        if std::mem::replace(&mut self.hold.full, full) == full {
            return false;
        }
        if !full {
            self.let_go_on();
        }
        true
    }

    /// Whoever waits for the store tries again.
    pub(super) fn let_go_on(&mut self) {
        for id in std::mem::take(&mut self.hold.waiting) {
            if let Some(conn) = self.conns.get_mut(id) {
                conn.waits_for_store = false;
            }
            self.wake(id);
        }
    }

    /// The connections whose messages are recorded.
    pub fn recorded_conns(&self) -> Vec<ConnId> {
        let recorded = |conn: &super::super::Connection| {
            let mut streams = conn.legs.iter().filter_map(|leg| Some(self.legs.get(*leg)?.stream));
            streams.any(|stream| self.is_recorded(stream))
        };
        self.conns.iter().filter(|(_, conn)| recorded(conn)).map(|(id, _)| id).collect()
    }

    /// Is what is said on this stream recorded?
    pub(in crate::core::media) fn is_recorded(&self, stream: StreamId) -> bool {
        self.streams.get(stream).is_some_and(|stream| stream.recording.is_some())
    }

    /// Must messages of this stream wait for the store?
    pub(in crate::core::media) fn waits_for_store(&self, stream: StreamId) -> bool {
        self.hold.full && self.is_recorded(stream)
    }

    /// Is the frame that is being read one of those that must wait for the store? Then its connection waits.
    pub(in crate::core::media) fn frame_waits_for_store(&mut self, id: ConnId) -> bool {
        let stream = self.conns.get(id).and_then(|conn| Some(conn.frame.recorded.as_ref()?.stream));
        let waits = stream.is_some_and(|stream| self.waits_for_store(stream));
        if waits {
            self.wait_for_store(id);
        }
        waits
    }

    /// The connection is not read until the store can follow.
    pub(in crate::core::media) fn wait_for_store(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.paused = true;
        if !std::mem::replace(&mut conn.waits_for_store, true) {
            self.hold.waiting.push(id);
        }
    }
}
