//! An MSRP endpoint made of a socket and a small frame reader of its own.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a test waits to believe that nothing comes.
pub(crate) const QUIET: Duration = Duration::from_millis(150);

/// One end of an MSRP connection.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
    /// Our path.
    pub(crate) path: String,
    /// The relay's path for us.
    pub(crate) relay: String,
}

/// One frame off the wire, cut by an independent reading of RFC 4975 section 9.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) id: String,
    /// `SEND`, `REPORT`, `200 OK` ...
    pub(crate) start: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) flag: char,
    /// All octets.
    pub(crate) wire: Vec<u8>,
}

impl Frame {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.body.as_deref().unwrap_or_default()).into_owned()
    }
}

fn find(octets: &[u8], what: &[u8]) -> Option<usize> {
    octets.windows(what.len()).position(|w| w == what)
}

/// Takes one frame off the front.
pub(crate) fn cut(buffer: &mut Vec<u8>) -> Option<Frame> {
    let line = find(buffer, b"\r\n")?;
    let start = String::from_utf8(buffer[..line].to_vec()).unwrap();
    let mut words = start.splitn(3, ' ');
    assert_eq!(words.next(), Some("MSRP"), "{start:?}");
    let (id, rest) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let ends: Vec<Vec<u8>> = "+$#".chars().map(|f| format!("\r\n-------{id}{f}\r\n").into_bytes()).collect();
    let (end, flag) =
        ends.iter().zip("+$#".chars()).filter_map(|(e, f)| Some((find(buffer, e)?, f))).min()?;
    let wire: Vec<u8> = buffer.drain(..end + id.len() + 12).collect();
    let head_end = find(&wire[..end], b"\r\n\r\n");
    // With an empty body the blank line's CRLF is also the one before the end-line.
    let head = &wire[line + 2..head_end.unwrap_or(end).max(line + 2)];
    let headers = String::from_utf8(head.to_vec()).unwrap();
    let headers =
        headers.split("\r\n").map(|h| h.split_once(": ").unwrap()).map(|(n, v)| (n.into(), v.into()));
    Some(Frame {
        id,
        start: rest,
        headers: headers.collect(),
        body: head_end.map(|at| wire[(at + 4).min(end)..end].to_vec()),
        flag,
        wire: wire.clone(),
    })
}

impl Peer {
    /// Connects to the relay.
    pub(crate) fn connect(relay: SocketAddr, ours: &str, theirs: &str) -> Peer {
        let stream = TcpStream::connect(relay).unwrap();
        Peer::on(stream, ours, theirs)
    }

    /// Takes the connection that the relay opens.
    pub(crate) fn accept(listener: &TcpListener, ours: &str, theirs: &str) -> Peer {
        listener.set_nonblocking(true).unwrap();
        let begin = std::time::Instant::now();
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).unwrap();
                    return Peer::on(stream, ours, theirs);
                }
                Err(_) if begin.elapsed() > PATIENCE => panic!("the relay does not connect"),
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    pub(crate) fn on(stream: TcpStream, ours: &str, theirs: &str) -> Peer {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Peer { stream, buffer: vec![], path: ours.to_owned(), relay: theirs.to_owned() }
    }

    pub(crate) fn write(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.write_all(octets.as_ref()).unwrap();
    }

    /// A request without body.
    pub(crate) fn bare(&self, id: &str, method: &str, fields: &str) -> Vec<u8> {
        format!(
            "MSRP {id} {method}\r\nTo-Path: {}\r\nFrom-Path: {}\r\n{fields}-------{id}$\r\n",
            self.relay, self.path
        )
        .into_bytes()
    }

    /// A SEND with a body; `fields` end in CRLF.
    pub(crate) fn message(&self, id: &str, fields: &str, body: &[u8], flag: char) -> Vec<u8> {
        let mut wire = format!("MSRP {id} SEND\r\nTo-Path: {}\r\nFrom-Path: {}\r\n", self.relay, self.path);
        wire.push_str(&format!("Message-ID: m-{id}\r\n{fields}Content-Type: text/plain\r\n\r\n"));
        [wire.as_bytes(), body, format!("\r\n-------{id}{flag}\r\n").as_bytes()].concat()
    }

    /// Binds the connection.
    pub(crate) fn bind(&mut self) {
        let bare = self.bare("bindbind", "SEND", "Message-ID: bbbb\r\n");
        self.write(bare);
        assert_eq!(self.frame().start, "200 OK");
    }

    /// Sends a one-chunk message.
    pub(crate) fn say(&mut self, id: &str, body: &[u8]) {
        let wire = self.message(id, &format!("Byte-Range: 1-{0}/{0}\r\n", body.len()), body, '$');
        self.write(wire);
    }

    /// The next frame.
    pub(crate) fn frame(&mut self) -> Frame {
        self.try_frame().expect("a frame in time")
    }

    /// The next frame; nothing at the end of the connection or after the read timeout.
    pub(crate) fn try_frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = cut(&mut self.buffer) {
                return Some(frame);
            }
            let mut octets = [0; 65536];
            match self.stream.read(&mut octets) {
                Ok(0) | Err(_) => return None,
                Ok(n) => self.buffer.extend_from_slice(&octets[..n]),
            }
        }
    }

    /// Nothing comes, and the connection stays.
    pub(crate) fn silent(&mut self) {
        self.stream.set_read_timeout(Some(QUIET)).unwrap();
        if let Some(frame) = self.try_frame() {
            panic!("unexpected: {frame:?}");
        }
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut one = [0];
        self.stream.set_nonblocking(true).unwrap();
        let open = self.stream.peek(&mut one).is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
        self.stream.set_nonblocking(false).unwrap();
        assert!(open, "the connection was closed");
    }

    /// The connection ends.
    pub(crate) fn ended(&mut self) -> bool {
        let mut octets = [0; 65536];
        loop {
            match self.stream.read(&mut octets) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(e) => return e.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }

    /// Answers a request.
    pub(crate) fn answer(&mut self, frame: &Frame, status: &str) {
        let to = frame.header("From-Path");
        let wire = format!(
            "MSRP {0} {status}\r\nTo-Path: {to}\r\nFrom-Path: {1}\r\n-------{0}$\r\n",
            frame.id, self.path
        );
        self.write(wire);
    }

    /// Takes a message and answers 200.
    pub(crate) fn take(&mut self) -> Frame {
        let frame = self.frame();
        assert_eq!(frame.start, "SEND");
        self.answer(&frame, "200 OK");
        frame
    }
}
