//! Reads frames from a stream, in any number of pieces, with memory bounded by the head: bodies pass through.

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

use super::frame::{Flag, Frame, Head};

/// The largest head that the reader takes, in octets.
const HEAD_LIMIT: usize = 65_536;

/// What the reader finds.
#[derive(Debug)]
pub enum Event {
    /// A frame begins; one without body is complete with it.
    Head(Head),
    /// More octets of its body.
    Body(Bytes),
    /// The end-line of a frame with body.
    End(Flag),
}

/// The reader. Anything that RFC 4975 does not allow is an error, and the stream is lost then.
#[derive(Default)]
pub struct Reader {
    buffer: BytesMut,
    // CRLF, seven hyphens and the transaction id of the frame whose body is being read.
    end: Option<Finder<'static>>,
    partial: Option<(Head, BytesMut)>,
}

impl Reader {
    /// Adds octets from the stream.
    pub fn push(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
    }

    /// Octets received and not yet handed on.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// The next event, `None` if more octets are needed.
    pub fn event(&mut self) -> Result<Option<Event>> {
        match self.end.take() {
            None => self.head(),
            Some(end) => self.body(end),
        }
    }

    /// The next whole frame, its body in memory. Not to be mixed with [`Reader::event`] inside one frame.
    pub fn frame(&mut self) -> Result<Option<Frame>> {
        while let Some(event) = self.event()? {
            match event {
                Event::Head(head) => match head.bodiless {
                    Some(flag) => return Ok(Some(Frame { head, body: None, flag })),
                    None => self.partial = Some((head, BytesMut::new())),
                },
                Event::Body(octets) => {
                    if let Some((_, body)) = &mut self.partial {
                        body.extend_from_slice(&octets);
                    }
                }
                Event::End(flag) => {
                    let (head, body) = self.partial.take().context("an end without a head")?;
                    return Ok(Some(Frame { head, body: Some(body.freeze()), flag }));
                }
            }
        }
        Ok(None)
    }

    fn head(&mut self) -> Result<Option<Event>> {
        let mut line_start = 0;
        let mut tid: Option<Vec<u8>> = None;
        while let Some(length) = memchr::memmem::find(&self.buffer[line_start..], b"\r\n") {
            let line = &self.buffer[line_start..line_start + length];
            ensure!(!line.contains(&b'\n') && !line.contains(&b'\r'), "CR or LF alone in a head");
            let next = line_start + length + 2;
            let Some(tid) = &tid else {
                let id = line.split(|b| *b == b' ').nth(1).context("a start line without transaction id")?;
                tid = Some(id.to_vec());
                line_start = next;
                continue;
            };
            if line.is_empty() {
                let octets = self.buffer.split_to(next);
                let head = Head::parse(&octets[..line_start], None)?;
                let end = [b"\r\n-------", tid.as_slice()].concat();
                self.end = Some(Finder::new(&end).into_owned());
                return Ok(Some(Event::Head(head)));
            }
            if let Some(rest) = line.strip_prefix(b"-------") {
                let flag = rest.strip_prefix(tid.as_slice()).filter(|flag| flag.len() == 1);
                let flag = flag.and_then(|flag| Flag::parse(flag[0]));
                let flag = flag.with_context(|| format!("bad end-line `{}`", line.escape_ascii()))?;
                let octets = self.buffer.split_to(next);
                return Ok(Some(Event::Head(Head::parse(&octets[..line_start], Some(flag))?)));
            }
            line_start = next;
        }
        ensure!(self.buffer.len() <= HEAD_LIMIT, "a head of more than {HEAD_LIMIT} octets");
        let begin = &self.buffer[..self.buffer.len().min(5)];
        ensure!(b"MSRP ".starts_with(begin), "`{}` is no frame", begin.escape_ascii());
        Ok(None)
    }

    fn body(&mut self, end: Finder<'static>) -> Result<Option<Event>> {
        let needle = end.needle().len();
        let event = match end.find(&self.buffer) {
            // The end-line begins the rest: is it one?
            Some(0) => match self.buffer.get(needle..needle + 3) {
                None => None,
                Some(tail) => match Flag::parse(tail[0]).filter(|_| &tail[1..] == b"\r\n") {
                    Some(flag) => {
                        let _ = self.buffer.split_to(needle + 3);
                        return Ok(Some(Event::End(flag)));
                    }
                    None => Some(self.buffer.split_to(2)),
                },
            },
            Some(at) => Some(self.buffer.split_to(at)),
            // The last octets may be the beginning of the end-line.
            None => match self.buffer.len().saturating_sub(needle - 1) {
                0 => None,
                sure => Some(self.buffer.split_to(sure)),
            },
        };
        self.end = Some(end);
        Ok(event.map(|octets| Event::Body(octets.freeze())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> (Vec<Frame>, Vec<u8>) {
        let head = |tid: &str| Head::request("SEND", tid, "msrp://1.1.1.1:1/a;tcp", "msrp://2.2.2.2:2/b;tcp");
        let with_body = head("abcd1234").with("Message-ID", "12345").with("Content-Type", "text/plain");
        let body = &b"x\r\n-------other$\r\n-------abcd123\r\n\r\n-------abcd1234X\r\n\0\xff\r\n"[..];
        let frames = vec![
            Frame::bodiless(head("abcd1235").with("Message-ID", "12345")),
            Frame::with_body(with_body.clone(), body, Flag::More),
            Frame::with_body(with_body, &b""[..], Flag::End),
        ];
        let wire = frames.iter().flat_map(|frame| frame.encode()).collect();
        (frames, wire)
    }

    fn normalised(mut frames: Vec<Frame>) -> Vec<Frame> {
        for frame in &mut frames {
            frame.head.bodiless = frame.body.is_none().then_some(frame.flag);
        }
        frames
    }

    #[test]
    fn any_split_gives_the_same_frames() {
        let (frames, wire) = frames();
        for size in 1..wire.len() {
            let mut reader = Reader::default();
            let mut read = Vec::new();
            for piece in wire.chunks(size) {
                reader.push(piece);
                while let Some(frame) = reader.frame().unwrap() {
                    read.push(frame);
                }
            }
            assert_eq!(read, normalised(frames.clone()), "pieces of {size}");
            assert_eq!(reader.pending(), 0);
        }
    }

    #[test]
    fn refuses_what_the_grammar_refuses() {
        let (_, wire) = frames();
        let text: String = wire.iter().map(|b| char::from(*b)).collect();
        for (from, to) in [
            ("To-Path: ", "To-Path:"),
            ("To-Path", "X-Path"),
            ("Message-ID: 12345\r\n", ""),
            ("MSRP ", "msrp "),
            ("-------abcd1235$", "-------abcd1236$"),
            ("Content-Type: text/plain\r\n", ""),
            ("SEND", "Send"),
        ] {
            let broken: Vec<u8> = text.replace(from, to).chars().map(|c| c as u32 as u8).collect();
            assert_ne!(broken, wire);
            let mut reader = Reader::default();
            reader.push(&broken);
            let outcome = (0..3).try_for_each(|_| reader.frame().map(|_| ()));
            assert!(outcome.is_err(), "{from} -> {to}");
        }
    }
}
