//! Accepted connections that have not named a session yet: bounded in all, and for each peer.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
};

use crate::core::media::ConnId;

/// Oldest first, some of them bound or gone by now.
#[derive(Debug, Default)]
pub(super) struct Unbound {
    all: VecDeque<ConnId>,
    by_peer: HashMap<IpAddr, VecDeque<ConnId>>,
}

impl Unbound {
    /// One more; gives those that have to go for it: at most one of the same peer, and one of any. `is_unbound`
    /// tells which still have no session.
    pub(super) fn add(
        &mut self,
        id: ConnId,
        peer: Option<IpAddr>,
        (total, per_peer): (usize, usize),
        is_unbound: impl Fn(ConnId) -> bool,
    ) -> [Option<ConnId>; 2] {
        let crowd = peer.and_then(|peer| {
            let same = self.by_peer.entry(peer).or_default();
            same.push_back(id);
            if same.len() <= per_peer {
                return None;
            }
            same.retain(|id| is_unbound(*id));
            (same.len() > per_peer).then(|| same.pop_front()).flatten()
        });
        self.all.push_back(id);
        let mut oldest = None;
        if self.all.len() > total {
            let stays = |id: ConnId| is_unbound(id) && crowd != Some(id);
            self.all.retain(|id| stays(*id));
            if self.all.len() > total {
                oldest = self.all.pop_front();
            }
            self.by_peer.retain(|_, same| {
                same.retain(|id| stays(*id) && oldest != Some(*id));
                !same.is_empty()
            });
        }
        [crowd, oldest]
    }
}
