//! Messages out of an octet stream, by Content-Length, split at any octet (RFC 3261 section 18.3).

use bytes::{Buf, Bytes, BytesMut};

use super::preparse::{Head, Refusal, head_end};

/// The largest head, in octets.
pub(crate) const MAX_HEAD: usize = 64 * 1024;
/// The largest body, in octets.
pub(crate) const MAX_BODY: usize = 1024 * 1024;

/// What came out of the stream.
#[derive(Debug)]
pub(crate) enum Frame {
    /// A double CRLF between messages: wants a CRLF back (RFC 5626 section 3.5.1).
    Ping,
    /// A whole message.
    Message(Head, Bytes),
}

/// The stream is out of step: answer, if there is anything to answer, and close.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) Refusal);

/// Collects octets and cuts them into messages.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    buffer: BytesMut,
    /// Up to here there is no empty line.
    searched: usize,
    /// A head whose body is still to come, and the body's length.
    head: Option<(Head, usize)>,
    /// A single CRLF was skipped: a second one makes a ping.
    half_ping: bool,
}

impl Framer {
    /// Where the next octets go. Never holds more than one head and one body beside one read.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        self.buffer.reserve(16 * 1024);
        &mut self.buffer
    }

    /// Has a message begun that is not complete yet?
    pub(crate) fn is_midway(&self) -> bool {
        self.head.is_some() || !self.buffer.is_empty()
    }

    /// The next message, if it is complete.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Broken> {
        if self.head.is_none() {
            if self.skip_line_breaks() {
                return Ok(Some(Frame::Ping));
            }
            let Some((end, body)) = head_end(&self.buffer, self.searched) else {
                if self.buffer.len() > MAX_HEAD {
                    return Err(Broken(Head::read(&self.buffer[..MAX_HEAD]).refuse(513, "head too large")));
                }
                // The empty line may have begun in the last three octets.
                self.searched = self.buffer.len().saturating_sub(3);
                return Ok(None);
            };
            self.searched = 0;
            let head = Head::read(&self.buffer[..end]);
            if end > MAX_HEAD {
                return Err(Broken(head.refuse(513, "head too large")));
            }
            if head.is_noise() {
                return Err(Broken(head.refuse(400, "no Via and no Content-Length")));
            }
            let length = match head.content_length() {
                Ok(length) => length.unwrap_or(0),
                Err(_) => return Err(Broken(head.refuse(400, "Content-Length"))),
            };
            if length > MAX_BODY {
                return Err(Broken(head.refuse(413, "body too large")));
            }
            self.buffer.advance(body);
            self.head = Some((head, length));
        }
        match self.head.take() {
            Some((head, length)) if self.buffer.len() >= length => {
                let body = Bytes::copy_from_slice(&self.buffer[..length]);
                self.buffer.advance(length);
                Ok(Some(Frame::Message(head, body)))
            }
            waiting => {
                self.head = waiting;
                Ok(None)
            }
        }
    }

    /// Skips CRLFs between messages; true when they make a ping.
    fn skip_line_breaks(&mut self) -> bool {
        loop {
            match self.buffer.as_ref() {
                [b'\r', b'\n', ..] => {
                    self.buffer.advance(2);
                    self.half_ping = !self.half_ping;
                    if !self.half_ping {
                        return true;
                    }
                }
                [b'\n', ..] => self.buffer.advance(1),
                [] | [b'\r'] => return false,
                _ => {
                    self.half_ping = false;
                    return false;
                }
            }
        }
    }
}
