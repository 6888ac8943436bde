//! The MSRP relay's shell: listeners, connections and worker threads around
//! [`Switch`](crate::core::media::Switch).
//!
//! Each worker is one thread with one epoll instance and one [`Switch`](crate::core::media::Switch). A stream with
//! all its legs and connections belongs to one worker. Every worker accepts; the first head on an accepted
//! connection names the session, and the connection moves to the worker that owns it, with the octets read so far.
//! A connection stays with its worker: with more than one worker, a peer that uses one connection for several
//! sessions finds only those of that worker (481 for the others).

mod connect;
mod directory;
mod orders;
mod own;
mod peers;
mod recording;
mod socket;
mod splice;
mod transfer;
mod tunables;
mod unbound;
mod worker;

use std::{
    io,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use mio::Waker;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc::UnboundedSender, oneshot, watch};

use self::{directory::Directory, worker::Worker};
pub use self::{
    splice::{ConnectionRow, PathView},
    tunables::Tunables,
};
pub use crate::core::media::{LegPath, LegSnapshot, LegState, Limits};
use crate::{
    core::{
        event::{MediaCommand, MediaEvent, StreamKey},
        store::Order as StoreOrder,
    },
    fastpath::Datapath,
    store::Recorder,
};

/// How the relay is set up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelayConfig {
    /// Addresses to listen on; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Worker threads.
    pub workers: usize,
    /// Connections per worker; at the cap new ones are closed at once.
    pub connections: usize,
    /// Accepted connections per worker that have not named a session; at the cap the oldest of them is closed.
    pub unbound_connections: usize,
    /// Of these, how many may come from one IP address; at the cap the oldest of them is closed.
    pub unbound_per_peer: usize,
    /// Use the port of our own path as source port where we connect: some peers know us by it.
    pub connect_from_path_port: bool,
    /// Queues and timers.
    pub limits: Limits,
    /// Bounds of the in-kernel path.
    pub tunables: Tunables,
}

impl Default for RelayConfig {
    fn default() -> RelayConfig {
        RelayConfig {
            listen: Vec::new(),
            workers: 1,
            connections: 100_000,
            unbound_connections: 1024,
            unbound_per_peer: 256,
            connect_from_path_port: true,
            limits: Limits::default(),
            tunables: Tunables::default(),
        }
    }
}

/// What a worker is told.
enum Order {
    /// A connection that another worker accepted, and what was read from it.
    Adopt { stream: mio::net::TcpStream, peer: Option<SocketAddr>, octets: Vec<u8> },
    /// From the core.
    Command(MediaCommand),
    /// A name was resolved (or not).
    Resolved(connect::Resolved),
    /// Report the connections of the in-kernel path, where there is one.
    Connections(oneshot::Sender<Vec<ConnectionRow>>),
    /// Report the sums of the in-kernel path, where there is one.
    Path(oneshot::Sender<Option<PathView>>),
    /// Change the bounds of the in-kernel path; tells when that is done.
    Tune(Tunables, oneshot::Sender<()>),
    /// An order to the store that comes after what was recorded.
    Store(StoreOrder),
    /// Tell when everything that was recorded is on its way to the store.
    Recorded(oneshot::Sender<()>),
    /// Report all legs.
    Snapshot(oneshot::Sender<Vec<LegSnapshot>>),
    /// End.
    Stop,
    /// Fail, as a fault in the code would.
    #[cfg(test)]
    Fail,
}

/// A worker, from outside.
struct Seat {
    orders: mpsc::Sender<Order>,
    waker: Arc<Waker>,
}

impl Seat {
    fn order(&self, order: Order) {
        // A worker that has ended takes no orders, and nobody waits for their effect.
        if self.orders.send(order).is_ok() {
            let _ = self.waker.wake();
        }
    }
}

/// The running relay; ends when the last handle is dropped.
#[derive(Clone)]
pub struct Relay {
    shared: Arc<Shared>,
}

struct Shared {
    seats: Arc<Vec<Seat>>,
    directory: Arc<Directory>,
    local: Vec<SocketAddr>,
    threads: Vec<JoinHandle<()>>,
    /// The first worker that ended by itself, and why.
    failure: watch::Receiver<Option<String>>,
}

impl Relay {
    /// Starts listening and the worker threads.
    ///
    /// # Errors
    /// A listener cannot be bound, or the system gives no epoll instance or thread.
    pub fn start(config: RelayConfig, events: UnboundedSender<MediaEvent>) -> io::Result<Relay> {
        Relay::start_with(config, None, None, events)
    }

    /// The same with an in-kernel path, which serves one worker: there is only one then; and with a store that takes
    /// the messages of recorded sessions.
    ///
    /// # Errors
    /// As [`Relay::start`].
    pub fn start_with(
        config: RelayConfig,
        mut path: Option<Datapath>,
        recorder: Option<Recorder>,
        events: UnboundedSender<MediaEvent>,
    ) -> io::Result<Relay> {
        let count = if path.is_some() { 1 } else { config.workers.max(1) };
        let directory = Arc::new(Directory::new(count));
        let mut local = config.listen.clone();
        let mut seats = Vec::new();
        let mut starts = Vec::new();
        for number in 0..count {
            let listen = |address: &mut SocketAddr| socket::listen(address, number == 0);
            let listeners = local.iter_mut().map(listen).collect::<io::Result<Vec<_>>>()?;
            let (orders, inbox) = mpsc::channel();
            let poll = mio::Poll::new()?;
            let waker = Arc::new(Waker::new(poll.registry(), worker::WAKER)?);
            seats.push(Seat { orders, waker });
            starts.push((poll, inbox, listeners));
        }
        let seats = Arc::new(seats);
        let (failed, failure) = watch::channel(None);
        let own = Arc::new(own::Own::new(&local));
        let mut shared = Shared {
            seats: seats.clone(),
            directory: directory.clone(),
            local,
            threads: Vec::new(),
            failure,
        };
        for (number, (poll, inbox, listeners)) in starts.into_iter().enumerate() {
            let colleagues = worker::Colleagues {
                number,
                seats: seats.clone(),
                directory: directory.clone(),
                own: own.clone(),
            };
            let mut worker = Worker::new(config.clone(), poll, inbox, listeners, colleagues, events.clone())?;
            worker.recorder = recorder.as_ref().and_then(|recorder| {
                let waker = seats.get(number)?.waker.clone();
                Some(recorder.for_worker(move || _ = waker.wake()))
            });
            if let Some(path) = path.take() {
                worker.splice_with(path)?;
            }
            let failed = failed.clone();
            let work = move || {
                // Its sessions are lost with it: whoever holds the relay has to know.
                let reason = match std::panic::catch_unwind(AssertUnwindSafe(|| worker.run())) {
                    Ok(Ok(())) => return,
                    Ok(Err(error)) => format!("MSRP worker {number}: {error}"),
                    Err(_) => format!("MSRP worker {number} has panicked"),
                };
                tracing::error!("{reason}");
                failed.send_if_modified(|first| first.is_none().then(|| *first = Some(reason)).is_some());
            };
            let thread = std::thread::Builder::new().name(format!("msrp-{number}")).spawn(work)?;
            shared.threads.push(thread);
        }
        Ok(Relay { shared: Arc::new(shared) })
    }

    /// Gives a command to the worker that owns the stream. Commands for one stream keep their order.
    pub fn command(&self, command: MediaCommand) {
        let worker = self.shared.directory.owner(&command);
        if let Some(seat) = worker.and_then(|worker| self.shared.seats.get(worker)) {
            seat.order(Order::Command(command));
        }
    }

    /// Gives the store an order that comes after what was recorded of this stream.
    pub(crate) fn order_behind(&self, stream: StreamKey, order: StoreOrder) {
        if let Some(seat) = self.shared.seats.get(self.shared.directory.of(stream)) {
            seat.order(Order::Store(order));
        }
    }

    /// Waits until everything that was recorded is on its way to the store.
    pub async fn recorded(&self) {
        for seat in self.shared.seats.iter() {
            let (sender, receiver) = oneshot::channel();
            seat.order(Order::Recorded(sender));
            // A worker that has ended has nothing more.
            let _ = receiver.await;
        }
    }

    /// All legs of all workers.
    pub async fn snapshot(&self) -> Vec<LegSnapshot> {
        let mut all = Vec::new();
        for seat in self.shared.seats.iter() {
            let (sender, receiver) = oneshot::channel();
            seat.order(Order::Snapshot(sender));
            all.extend(receiver.await.unwrap_or_default());
        }
        all.sort_by_key(|leg| leg.leg);
        all
    }

    /// The sums of the in-kernel path; nothing where there is none.
    pub async fn path(&self) -> Option<PathView> {
        let (sender, receiver) = oneshot::channel();
        self.shared.seats.first()?.order(Order::Path(sender));
        receiver.await.ok().flatten()
    }

    /// The connections that the in-kernel path knows.
    pub async fn connections(&self) -> Vec<ConnectionRow> {
        let (sender, receiver) = oneshot::channel();
        if let Some(seat) = self.shared.seats.first() {
            seat.order(Order::Connections(sender));
        }
        receiver.await.unwrap_or_default()
    }

    /// Changes the bounds of the in-kernel path, where there is one.
    pub async fn tune(&self, tunables: Tunables) {
        for seat in self.shared.seats.iter() {
            let (sender, receiver) = oneshot::channel();
            seat.order(Order::Tune(tunables, sender));
            // A worker that has ended has nothing to change.
            let _ = receiver.await;
        }
    }

    /// Waits until a worker ends by itself, which none should: gives the reason. Its sessions are lost.
    pub async fn failed(&self) -> String {
        let mut failure = self.shared.failure.clone();
        match failure.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
            Ok(reason) => reason.unwrap_or_default(),
            // All workers have ended as told.
            Err(_) => std::future::pending().await,
        }
    }

    /// The addresses that are really listened on.
    pub fn local(&self) -> Vec<SocketAddr> {
        self.shared.local.clone()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for seat in self.seats.iter() {
            seat.order(Order::Stop);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_that_fails_is_told_of() {
        let config = RelayConfig {
            listen: vec![(std::net::Ipv4Addr::LOCALHOST, 0).into()],
            workers: 2,
            ..RelayConfig::default()
        };
        let (events, _keep) = tokio::sync::mpsc::unbounded_channel();
        let relay = Relay::start(config, events).unwrap();
        let patience = std::time::Duration::from_millis(100);
        assert!(tokio::time::timeout(patience, relay.failed()).await.is_err());
        relay.shared.seats[1].order(Order::Fail);
        assert_eq!(relay.failed().await, "MSRP worker 1 has panicked");
    }
}
