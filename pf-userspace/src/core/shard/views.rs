//! What an operator sees of a shard.

use super::Shard;
use crate::core::{
    Time,
    event::LegKey,
    policy::retrieval::XdmsCounters,
    store::StoreCounters,
    view::{DeviceView, GroupView, SessionView},
};

impl Shard {
    /// The sessions, oldest first.
    pub fn sessions(&self, now: Time) -> Vec<SessionView> {
        self.session_views(now).collect()
    }

    /// As [`Shard::sessions`], made one by one as they are taken: of a large table, take no more than needed.
    pub fn session_views(&self, now: Time) -> impl Iterator<Item = SessionView> {
        let mut ours = self.sessions.values().peekable();
        let mut proxied = self.proxy.views(now).peekable();
        std::iter::from_fn(move || match (ours.peek(), proxied.peek()) {
            (Some(session), Some(other)) if other.id < session.id() => proxied.next(),
            (None, _) => proxied.next(),
            (Some(_), _) => ours.next().map(|session| session.view(now)),
        })
    }

    /// How many sessions there are, proxied ones included.
    pub fn session_count(&self) -> usize {
        self.sessions.len() + self.proxy.len()
    }

    /// How many of them are proxied.
    pub fn proxied_count(&self) -> usize {
        self.proxy.len()
    }

    /// The registered devices.
    pub fn devices(&self, now: Time) -> Vec<DeviceView> {
        self.registry.view(now)
    }

    /// As [`Shard::devices`], made one by one as they are taken: of a large table, take no more than needed.
    pub fn device_views(&self, now: Time) -> impl Iterator<Item = DeviceView> {
        self.registry.views(now)
    }

    /// How many devices are registered.
    pub fn device_count(&self) -> usize {
        self.registry.count()
    }

    /// How the message store has done.
    pub fn store_counters(&self) -> StoreCounters {
        self.counters
    }

    /// How the XDMS has done, where there is one.
    pub fn xdms_counters(&self) -> Option<XdmsCounters> {
        self.preferences.xdms_counters()
    }

    /// Group sessions that have ended, the last one first, made one by one as they are taken.
    pub fn group_views(&self, now: Time) -> impl Iterator<Item = GroupView> {
        self.groups.views(now)
    }

    /// How many of them are remembered.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// The session that an MSRP leg belongs to, and the name of its side: device name, instance or URI.
    pub fn leg_owner(&self, leg: LegKey) -> Option<(u64, &str)> {
        let session = self.sessions.get(self.index.media.get(&leg)?)?;
        Some((session.id(), session.leg_name(leg)?))
    }
}
