//! Stream connections: a bounded queue and a writer of its own for each, so that a peer that does not read
//! loses its connection and stalls nobody.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Notify, mpsc},
    time::timeout,
};

use crate::core::event::{FlowId, Transport};

/// Octets written at once.
const BATCH: usize = 64 * 1024;

/// Why a connection takes no more octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is closing.
    Closed,
    /// Its queue is full.
    Full,
}

/// One connection, as its users see it.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) id: FlowId,
    pub(crate) transport: Transport,
    pub(crate) remote: SocketAddr,
    queue: mpsc::Sender<Bytes>,
    queued: Arc<AtomicUsize>,
    limit: usize,
    /// Wakes reader and writer to end at once.
    pub(crate) close: Notify,
    /// Tells the writer to write what is queued and end.
    pub(crate) finish: Notify,
}

/// The writer's end of a connection's queue.
#[derive(Debug)]
pub(crate) struct Queue {
    messages: mpsc::Receiver<Bytes>,
    queued: Arc<AtomicUsize>,
}

impl Flow {
    pub(crate) fn new(
        id: FlowId,
        transport: Transport,
        remote: SocketAddr,
        messages: usize,
        octets: usize,
    ) -> (Flow, Queue) {
        let (queue, receiver) = mpsc::channel(messages);
        let queued = Arc::new(AtomicUsize::new(0));
        let flow = Flow {
            id,
            transport,
            remote,
            queue,
            queued: queued.clone(),
            limit: octets,
            close: Notify::new(),
            finish: Notify::new(),
        };
        (flow, Queue { messages: receiver, queued })
    }

    /// Queues octets to be written. From here on the writer owns them.
    pub(crate) fn send(&self, octets: Bytes) -> Result<(), Refused> {
        let size = octets.len();
        // One message always fits, however large.
        if self.queued.fetch_add(size, Relaxed) > self.limit {
            self.queued.fetch_sub(size, Relaxed);
            return Err(Refused::Full);
        }
        self.queue.try_send(octets).map_err(|error| {
            self.queued.fetch_sub(size, Relaxed);
            match error {
                mpsc::error::TrySendError::Full(_) => Refused::Full,
                mpsc::error::TrySendError::Closed(_) => Refused::Closed,
            }
        })
    }
}

/// Writes what is queued until the flow is to finish. Every write must make progress within `patience`.
pub(crate) async fn write_all<W: AsyncWrite + Unpin>(
    mut writer: W,
    flow: &Flow,
    mut queue: Queue,
    patience: Duration,
) -> io::Result<()> {
    let mut batch = BytesMut::new();
    loop {
        let first = tokio::select! {
            biased;
            first = queue.messages.recv() => first,
            () = flow.finish.notified() => {
                queue.messages.close();
                continue;
            }
        };
        let Some(first) = first else { break };
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(octets) = next {
            taken += octets.len();
            batch.extend_from_slice(&octets);
            next = if batch.len() < BATCH { queue.messages.try_recv().ok() } else { None };
        }
        while batch.has_remaining() {
            match timeout(patience, writer.write_buf(&mut batch)).await {
                Ok(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
        queue.queued.fetch_sub(taken, Relaxed);
        if batch.capacity() > 4 * BATCH {
            batch = BytesMut::new();
        }
    }
    writer.shutdown().await
}

/// Listens for connections.
pub(crate) fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

/// Opens a connection, from the listener's address where that is a specific one.
pub(crate) async fn connect(from: SocketAddr, to: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if !from.ip().is_unspecified() {
        socket.bind(SocketAddr::new(from.ip(), 0))?;
    }
    match timeout(patience, socket.connect(to)).await {
        Ok(connected) => connected,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
