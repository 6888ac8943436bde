//! One stream connection from its first octet to its last.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::AsyncReadExt,
    net::{TcpStream, tcp::OwnedReadHalf},
    time::{Instant, timeout, timeout_at},
};

use super::{
    Inner,
    engine::Way,
    framing::{Broken, Frame, Framer},
    transport::stream::{self, Flow, Queue},
};
use crate::core::event::Peer;

/// How a connection ends.
enum End {
    /// The peer closed it, or it failed.
    Read(io::Result<()>),
    /// It could not be written to.
    Write(io::Result<()>),
    /// We close it.
    Closed,
}

/// Serves a connection until it ends.
pub(super) async fn serve(inner: Arc<Inner>, flow: Arc<Flow>, queue: Queue, stream: TcpStream) {
    let local = stream.local_addr();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let (mut reader, writer) = stream.into_split();
    let Ok(local) = local else { return inner.flow_gone(&flow, "no local address", true) };
    let peer = Peer { transport: flow.transport, addr: flow.remote, local, flow: Some(flow.id) };
    let mut writer = std::pin::pin!(stream::write_all(writer, &flow, queue, inner.config.write_timeout));
    let end = tokio::select! {
        end = read(&inner, &mut reader, peer) => End::Read(end),
        end = &mut writer => End::Write(end),
        () = flow.close.notified() => End::Closed,
        () = inner.stopped() => End::Closed,
    };
    let reason = match &end {
        End::Read(Ok(())) => "closed by the peer".to_owned(),
        End::Read(Err(error)) => error.to_string(),
        End::Write(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
            inner.counters.slow_peers.add();
            "the peer does not read".to_owned()
        }
        End::Write(Err(error)) => error.to_string(),
        End::Write(Ok(())) | End::Closed => "closed".to_owned(),
    };
    tracing::debug!(peer = %flow.remote, reason, "connection ends");
    inner.flow_gone(&flow, &reason, true);
    if matches!(end, End::Read(_)) {
        // What is queued still goes out; then the peer gets a moment to read it before a reset could take it.
        flow.finish.notify_one();
        if writer.await.is_ok() {
            let mut sink = [0; 4096];
            let until = Instant::now() + Duration::from_secs(1);
            while matches!(timeout_at(until, reader.read(&mut sink)).await, Ok(Ok(1..))) {}
        }
    }
}

async fn read(inner: &Inner, reader: &mut OwnedReadHalf, peer: Peer) -> io::Result<()> {
    let mut framer = Framer::default();
    let mut complete_by: Option<Instant> = None;
    loop {
        let read = reader.read_buf(framer.buffer());
        let read = match complete_by {
            Some(at) => timeout_at(at, read).await,
            None => timeout(inner.config.idle_timeout, read).await,
        };
        match read {
            Ok(Ok(0)) => return Ok(()),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error),
            Err(_) if complete_by.is_some() => {
                inner.counters.broken_peers.add();
                return Err(io::Error::new(io::ErrorKind::TimedOut, "incomplete message"));
            }
            Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "idle")),
        }
        let mut whole = false;
        loop {
            match framer.next() {
                Ok(None) => break,
                Ok(Some(Frame::Ping)) => inner.send(Way::Flow { flow: flow_of(peer)?, back: None }, PONG),
                Ok(Some(Frame::Message(head, body))) => {
                    whole = true;
                    inner.outbox.room().await;
                    inner.received(head.message(body), peer, true);
                }
                Err(Broken(refusal)) => {
                    inner.counters.broken_peers.add();
                    inner.received(Err(refusal), peer, true);
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
        }
        if !framer.is_midway() {
            complete_by = None;
        } else if whole || complete_by.is_none() {
            complete_by = Some(Instant::now() + inner.config.message_timeout);
        }
    }
}

const PONG: Bytes = Bytes::from_static(b"\r\n");

fn flow_of(peer: Peer) -> io::Result<crate::core::event::FlowId> {
    peer.flow.ok_or_else(|| io::ErrorKind::NotConnected.into())
}
