//! Who an event is for.

use std::collections::{BTreeSet, HashMap};

use crate::core::{
    Time,
    event::{ClientTx, LegKey, ServerTx},
    room::give_back,
    session::Keys,
    sip::Request,
    store::OrderId,
};

/// Who an event is for. A function of the sessions: made anew from [`Session::keys`] after every event.
#[derive(Default)]
pub(super) struct Index {
    /// By Call-ID and our tag.
    pub(super) dialogs: HashMap<(String, String), u64>,
    pub(super) clients: HashMap<ClientTx, u64>,
    pub(super) servers: HashMap<ServerTx, u64>,
    pub(super) media: HashMap<LegKey, u64>,
    pub(super) orders: HashMap<OrderId, u64>,
    pub(super) users: HashMap<String, BTreeSet<u64>>,
    pub(super) deadlines: BTreeSet<(Time, u64)>,
    pub(super) entries: HashMap<u64, (Keys, Option<Time>)>,
}

impl Index {
    /// The session of a request inside a dialog: the To tag is ours.
    pub(super) fn dialog(&self, request: &Request) -> Option<u64> {
        self.dialogs.get(&(request.call_id().to_owned(), request.to_tag()?)).copied()
    }

    /// A session is gone: tables that were large may get smaller.
    fn give_back(&mut self) {
        give_back(&mut self.dialogs);
        give_back(&mut self.clients);
        give_back(&mut self.servers);
        give_back(&mut self.media);
        give_back(&mut self.orders);
        give_back(&mut self.users);
        give_back(&mut self.entries);
    }

    /// Puts a session's keys in the place of those it had; without an entry it is gone.
    pub(super) fn replace(&mut self, id: u64, entry: Option<(Keys, Option<Time>)>) {
        if self.entries.get(&id) == entry.as_ref() {
            return;
        }
        if let Some((keys, deadline)) = self.entries.remove(&id) {
            keys.dialogs.iter().for_each(|key| {
                self.dialogs.remove(key);
            });
            keys.clients.iter().for_each(|key| {
                self.clients.remove(key);
            });
            keys.servers.iter().for_each(|key| {
                self.servers.remove(key);
            });
            keys.media.iter().for_each(|key| {
                self.media.remove(key);
            });
            keys.orders.iter().for_each(|key| {
                self.orders.remove(key);
            });
            if let Some(time) = deadline {
                self.deadlines.remove(&(time, id));
            }
            if let Some(sessions) = self.users.get_mut(&keys.user) {
                sessions.remove(&id);
                if sessions.is_empty() {
                    self.users.remove(&keys.user);
                }
            }
        }
        let Some((keys, deadline)) = entry else { return self.give_back() };
        self.dialogs.extend(keys.dialogs.iter().map(|key| (key.clone(), id)));
        self.clients.extend(keys.clients.iter().map(|key| (*key, id)));
        self.servers.extend(keys.servers.iter().map(|key| (*key, id)));
        self.media.extend(keys.media.iter().map(|key| (*key, id)));
        self.orders.extend(keys.orders.iter().map(|key| (*key, id)));
        self.users.entry(keys.user.clone()).or_default().insert(id);
        self.deadlines.extend(deadline.map(|time| (time, id)));
        self.entries.insert(id, (keys, deadline));
    }
}
