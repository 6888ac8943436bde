//! One non-blocking connection of the load generator, with its receive and send buffers.

use std::io::{self, Read, Write};

use mio::net::TcpStream;

/// First size of a receive buffer, in octets.
const FIRST: usize = 16 * 1024;
/// Largest receive buffer, in octets: one frame of the largest body must fit.
const LARGEST: usize = 256 * 1024;

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// Octets came and more may wait.
    More,
    /// The socket is empty.
    Drained,
    /// The peer closed.
    Closed,
}

/// A connection with buffers.
pub(crate) struct Link {
    pub(crate) stream: TcpStream,
    input: Vec<u8>,
    begin: usize,
    end: usize,
    /// Octets to send; the caller appends, [`Link::flush`] writes.
    pub(crate) out: Vec<u8>,
    written: usize,
}

impl Link {
    pub(crate) fn new(stream: TcpStream) -> Link {
        Link { stream, input: vec![0; FIRST], begin: 0, end: 0, out: Vec::new(), written: 0 }
    }

    /// Reads once. A read that does not fill the buffer means that the socket is empty.
    pub(crate) fn fill(&mut self) -> io::Result<Fill> {
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
        } else if self.end == self.input.len() {
            self.input.copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
            if self.end * 2 > self.input.len() {
                if self.input.len() >= LARGEST {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "frame larger than the receive buffer",
                    ));
                }
                self.input.resize(self.input.len() * 2, 0);
            }
        }
        let free = self.input.len() - self.end;
        match self.stream.read(&mut self.input[self.end..]) {
            Ok(0) => Ok(Fill::Closed),
            Ok(n) => {
                self.end += n;
                Ok(if n == free { Fill::More } else { Fill::Drained })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Fill::Drained),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Fill::More),
            Err(error) => Err(error),
        }
    }

    /// Octets received and not yet consumed, and the send buffer beside them.
    pub(crate) fn parts(&mut self) -> (&[u8], &mut Vec<u8>) {
        (&self.input[self.begin..self.end], &mut self.out)
    }

    /// Drops the first `octets` of what was received.
    pub(crate) fn consume(&mut self, octets: usize) {
        self.begin = (self.begin + octets).min(self.end);
    }

    /// Writes what can be written now; the rest waits for the socket to become writable.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(n) => self.written += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }
}
