//! Which address of ours fits a destination.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long an answer of the routing table is believed.
const FRESH: Duration = Duration::from_secs(30);
/// How many destinations are remembered.
const MAX_KNOWN: usize = 4096;

/// The routing table's answers, remembered for a while.
#[derive(Debug, Default)]
pub(crate) struct LocalAddresses {
    known: Mutex<HashMap<IpAddr, (IpAddr, Instant)>>,
}

impl LocalAddresses {
    /// The address from which the system would send to `to`; never a wildcard.
    pub(crate) fn towards(&self, to: IpAddr) -> Option<IpAddr> {
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((local, at)) = known.get(&to)
            && now.duration_since(*at) < FRESH
        {
            return Some(*local);
        }
        let local = ask(to)?;
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(to, (local, now));
        Some(local)
    }
}

/// Connecting a UDP socket sends nothing, but picks the source address.
fn ask(to: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match to {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(SocketAddr::new(to, 9)).ok()?;
    let local = socket.local_addr().ok()?.ip();
    (!local.is_unspecified()).then_some(local)
}
