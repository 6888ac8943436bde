//! Where to connect to: an address, or a name that is resolved off the worker's thread.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{Order, Seat};
use crate::core::media::ConnId;

/// Look-ups at one time in the whole process; beyond that connecting fails.
const LOOKUPS: usize = 64;

static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// The outcome of a look-up.
pub(super) struct Resolved {
    pub(super) conn: ConnId,
    pub(super) to: io::Result<SocketAddr>,
    pub(super) from: Option<SocketAddr>,
}

/// Looks a `host:port` up in a thread of its own and orders worker `number` to go on. A source address decides the
/// family of the answer.
///
/// # Errors
/// Too many look-ups are running.
pub(super) fn resolve(
    conn: ConnId,
    to: String,
    from: Option<SocketAddr>,
    seats: Arc<Vec<Seat>>,
    number: usize,
) -> io::Result<()> {
    if RUNNING.fetch_add(1, Ordering::Relaxed) >= LOOKUPS {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
        return Err(io::Error::other("too many names are being resolved"));
    }
    let look = move || {
        let found = to.to_socket_addrs().and_then(|found| {
            let mut found: Vec<SocketAddr> = found.collect();
            found.sort_by_key(|a| from.is_some_and(|from| from.is_ipv4() != a.is_ipv4()));
            found.into_iter().next().ok_or_else(|| io::Error::other("the name has no address"))
        });
        RUNNING.fetch_sub(1, Ordering::Relaxed);
        if let Some(seat) = seats.get(number) {
            seat.order(Order::Resolved(Resolved { conn, to: found, from }));
        }
    };
    let thread = std::thread::Builder::new().name("msrp-resolve".to_owned()).spawn(look);
    if thread.is_err() {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
    thread.map(drop)
}
