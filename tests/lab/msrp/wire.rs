//! One MSRP connection without any behaviour of its own: octets out, frames in.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Event, Frame, Reader};
use crate::{
    net::Place,
    trace::{Protocol, Trace},
    wait,
};

/// A raw connection.
pub struct Wire {
    name: String,
    trace: Trace,
    peer: SocketAddr,
    stream: TcpStream,
    reader: Reader,
}

impl Wire {
    /// Connects.
    pub async fn connect(name: &str, place: &Place, to: SocketAddr, trace: &Trace) -> Result<Wire> {
        Ok(Wire::new(name, place.connect(to, None).await?, trace)?)
    }

    /// Takes over a connection.
    pub fn new(name: &str, stream: TcpStream, trace: &Trace) -> std::io::Result<Wire> {
        stream.set_nodelay(true)?;
        let peer = stream.peer_addr()?;
        Ok(Wire { name: name.to_owned(), trace: trace.clone(), peer, stream, reader: Reader::default() })
    }

    /// Own address of the connection.
    pub fn local(&self) -> Result<SocketAddr> {
        Ok(self.stream.local_addr()?)
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: &Frame) -> Result<()> {
        let octets = frame.encode();
        let head = frame.head.encode(false);
        let summary = frame.head.summary();
        self.trace.sent(Protocol::Msrp, &self.name, self.peer, summary, &head, octets.len());
        self.write(&octets).await
    }

    /// Sends octets as they are.
    pub async fn write(&mut self, octets: &[u8]) -> Result<()> {
        self.stream.write_all(octets).await.with_context(|| format!("{} writing", self.name))
    }

    /// Sends octets in TCP segments cut at the given places; each piece leaves before the next is written.
    pub async fn write_cut(&mut self, octets: &[u8], cuts: &[usize], pause: Duration) -> Result<()> {
        let mut start = 0;
        for &cut in cuts.iter().chain([&octets.len()]) {
            ensure!(start <= cut && cut <= octets.len(), "cuts out of order");
            self.write(&octets[start..cut]).await?;
            if cut < octets.len() {
                tokio::time::sleep(pause).await;
            }
            start = cut;
        }
        Ok(())
    }

    /// The next whole frame.
    pub async fn frame(&mut self, limit: Duration) -> Result<Frame> {
        let what = format!("{}: a frame", self.name);
        let frame = wait::within(limit, &what, async {
            loop {
                if let Some(frame) = self.reader.frame()? {
                    return Ok(frame);
                }
                self.fill().await?;
            }
        })
        .await?;
        let head = frame.head.encode(false);
        let size = frame.body.as_ref().map_or(0, |body| body.len()) + head.len();
        self.trace.received(Protocol::Msrp, &self.name, self.peer, frame.head.summary(), &head, size);
        Ok(frame)
    }

    /// The next event of the reader, for frames too large for memory.
    pub async fn event(&mut self, limit: Duration) -> Result<Event> {
        let what = format!("{}: octets of a frame", self.name);
        wait::within(limit, &what, async {
            loop {
                if let Some(event) = self.reader.event()? {
                    return Ok(event);
                }
                self.fill().await?;
            }
        })
        .await
    }

    /// Asserts that no frame comes within `limit`.
    pub async fn silent(&mut self, limit: Duration) -> Result<()> {
        match tokio::time::timeout(limit, self.frame(limit * 2)).await {
            Ok(Ok(frame)) => bail!("{} got {}, and must not", self.name, frame.head.summary()),
            Ok(Err(error)) => Err(error),
            Err(_) => Ok(()),
        }
    }

    /// Waits until the peer closes the connection; frames on the way are an error.
    pub async fn closed(&mut self, limit: Duration) -> Result<()> {
        match self.frame(limit).await {
            Ok(frame) => bail!("{} got {} instead of the end", self.name, frame.head.summary()),
            Err(error) if error.is::<Closed>() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Splits into reading and writing halves, to do both at once.
    pub fn split(&mut self) -> (WireReader<'_>, tokio::net::tcp::WriteHalf<'_>) {
        let (read, write) = self.stream.split();
        (WireReader { read, reader: &mut self.reader }, write)
    }

    async fn fill(&mut self) -> Result<()> {
        fill(&mut self.stream, &mut self.reader).await
    }
}

/// The reading half of a split [`Wire`].
pub struct WireReader<'a> {
    read: tokio::net::tcp::ReadHalf<'a>,
    reader: &'a mut Reader,
}

impl WireReader<'_> {
    /// The next whole frame.
    pub async fn frame(&mut self, limit: Duration) -> Result<Frame> {
        wait::within(limit, "a frame", async {
            loop {
                if let Some(frame) = self.reader.frame()? {
                    return Ok(frame);
                }
                fill(&mut self.read, self.reader).await?;
            }
        })
        .await
    }
}

/// The peer closed the connection.
#[derive(Debug)]
pub struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the peer closed the connection")
    }
}

impl std::error::Error for Closed {}

async fn fill(read: &mut (impl AsyncReadExt + Unpin), reader: &mut Reader) -> Result<()> {
    let mut piece = vec![0; 65_536];
    match read.read(&mut piece).await {
        Ok(0) => Err(Closed.into()),
        Ok(length) => {
            reader.push(&piece[..length]);
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Err(Closed.into()),
        Err(error) => Err(error.into()),
    }
}
