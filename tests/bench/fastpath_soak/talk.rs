//! One conversation: who sends, and who verifies.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    frame::{self, Kind},
    load::End,
};

/// The longest wait for what must come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Frames that are sent while a device is not yet there: `pf` keeps 4,096 at most for it.
const AHEAD: u64 = 2_000;
/// How often a receiver looks at the clock while nothing comes.
const LOOK: Duration = Duration::from_millis(50);

/// Seeded dice (xorshift).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64, lane: u64) -> Dice {
        let mut dice = Dice(mix(seed ^ mix(lane + 1)) | 1);
        dice.next();
        dice
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, sides: u64) -> u64 {
        (self.next() >> 11) % sides.max(1)
    }
}

/// Scrambles a number (the finaliser of splitmix64).
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// What the messages of a conversation are like: each is known by its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) salt: u64,
    /// One in so many is long or in chunks.
    pub(super) long: u64,
}

impl Shape {
    /// Octets of a message, and octets of its chunks.
    fn lengths(self, number: u64) -> (usize, usize) {
        let roll = mix(self.salt ^ mix(number));
        let short = 1 + (roll >> 40) % 1_200;
        match roll % self.long {
            0 => ((1 + (roll >> 40) % 20_000) as usize, 2_048),
            1 => (short as usize, 100 + (roll >> 24) as usize % 500),
            _ => (short as usize, usize::MAX),
        }
    }

    /// Octets of a message, all printable, from the one at `begin`.
    fn fill(self, number: u64, begin: usize, octets: &mut [u8]) {
        let salt = self.salt.wrapping_add(number).wrapping_mul(0x9e37_79b9);
        let (mut word, mut of) = (0, usize::MAX);
        for (n, octet) in octets.iter_mut().enumerate() {
            let at = begin + n;
            if at / 8 != of {
                of = at / 8;
                word = mix(salt ^ of as u64);
            }
            *octet = b' ' + ((word >> (8 * (at % 8))) & 63) as u8;
        }
    }

    fn message_id(self, number: u64) -> String {
        format!("{:08x}.{number}", self.salt as u32)
    }

    /// Appends the frames of a message; how many.
    fn write(self, out: &mut Vec<u8>, end: &End, number: u64) -> u64 {
        let (octets, chunk) = self.lengths(number);
        let mut body = vec![0; octets];
        self.fill(number, 0, &mut body);
        let (mut begin, mut frames) = (0, 0);
        while begin < octets {
            let stop = octets.min(begin.saturating_add(chunk));
            let flag = if stop == octets { '$' } else { '+' };
            let tid = format!("{number:x}t{frames}x{:04x}", self.salt as u16);
            let head = format!(
                "MSRP {tid} SEND\r\nTo-Path: {}\r\nFrom-Path: {}\r\nMessage-ID: {}\r\nByte-Range: {}-{stop}/{octets}\r\n\
                 Content-Type: message/cpim\r\n\r\n",
                end.to_path,
                end.own,
                self.message_id(number),
                begin + 1
            );
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(&body[begin..stop]);
            out.extend_from_slice(format!("\r\n-------{tid}{flag}\r\n").as_bytes());
            (begin, frames) = (stop, frames + 1);
        }
        frames
    }
}

/// Octets of a connection that are not yet a frame.
struct Input {
    stream: TcpStream,
    held: Vec<u8>,
}

/// What reading found.
enum Piece {
    Octets,
    Nothing,
    End(String),
}

impl Input {
    fn new(stream: &TcpStream, held: Vec<u8>) -> Result<Input> {
        let stream = stream.try_clone()?;
        stream.set_read_timeout(Some(LOOK))?;
        Ok(Input { stream, held })
    }

    fn fill(&mut self) -> Piece {
        let mut piece = [0; 65_536];
        match self.stream.read(&mut piece) {
            Ok(0) => Piece::End("closed".to_owned()),
            Ok(n) => {
                self.held.extend_from_slice(&piece[..n]);
                Piece::Octets
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Piece::Nothing,
            Err(error) if error.kind() == ErrorKind::Interrupted => Piece::Nothing,
            Err(error) => Piece::End(error.to_string()),
        }
    }
}

/// Sends messages for a while, `depth` at a time; counts those sent, and holds back while devices are absent. Gives the connection back when all are answered.
pub(super) fn talk(
    end: End,
    shape: Shape,
    dice: &mut Dice,
    depth: u64,
    life: Duration,
    [sent, absent]: [&AtomicU64; 2],
    over: impl Fn() -> bool,
) -> Result<End> {
    let mut input = Input::new(&end.stream, Vec::new())?;
    let (begin, mut frames) = (Instant::now(), 0);
    while begin.elapsed() < life && !over() {
        if frames > AHEAD && absent.load(Ordering::Relaxed) > 0 {
            std::thread::sleep(LOOK / 10);
            continue;
        }
        let mut out = Vec::new();
        let mut wanted = 0;
        for _ in 0..=dice.below(depth) {
            let number = sent.load(Ordering::Relaxed);
            wanted += shape.write(&mut out, &end, number);
            // Each a packet of its own, mostly; now and then together.
            sent.store(number + 1, Ordering::Release);
            if dice.below(10) > 0 {
                (&end.stream).write_all(&out).context("sending")?;
                out.clear();
            }
        }
        (&end.stream).write_all(&out).context("sending")?;
        frames += wanted;
        answered(&mut input, wanted).context("the sender")?;
        if dice.below(200) == 0 {
            std::thread::sleep(Duration::from_millis(dice.below(300)));
        }
    }
    Ok(end)
}

/// Waits for so many 200.
fn answered(input: &mut Input, mut wanted: u64) -> Result<()> {
    let begin = Instant::now();
    loop {
        let mut used = 0;
        while let Some(frame) = frame::parse(&input.held[used..])? {
            match frame.kind {
                Kind::Response(200) => {
                    wanted = wanted.checked_sub(1).context("an answer too many")?;
                }
                other => bail!("{other:?} instead of 200"),
            }
            used += frame.octets;
        }
        input.held.drain(..used);
        if wanted == 0 {
            return Ok(());
        }
        ensure!(begin.elapsed() < PATIENCE, "{wanted} answers are missing");
        if let Piece::End(why) = input.fill() {
            bail!("{wanted} answers are missing: {why}");
        }
    }
}

/// A receiver.
pub(super) struct Sink {
    end: End,
    early: Vec<u8>,
    shape: Shape,
    /// When it leaves, in messages.
    leaves_at: Option<u64>,
    /// Messages received, and octets of bodies.
    pub(super) messages: u64,
    pub(super) octets: u64,
    /// Octets of the message that is on its way.
    part: usize,
}

impl Sink {
    pub(super) fn new(end: End, early: Vec<u8>, shape: Shape, leaves_at: Option<u64>) -> Sink {
        Sink { end, early, shape, leaves_at, messages: 0, octets: 0, part: 0 }
    }

    /// Receives and answers until it leaves or has everything.
    pub(super) fn run(&mut self, sent: &AtomicU64, ended: &AtomicBool) -> Result<()> {
        let mut input = Input::new(&self.end.stream, std::mem::take(&mut self.early))?;
        let mut last = Instant::now();
        loop {
            let mut out = Vec::new();
            let mut used = 0;
            while let Some(frame) = frame::parse(&input.held[used..])? {
                ensure!(frame.kind == Kind::Request(b"SEND"), "{:?} instead of a SEND", frame.kind);
                ensure!(frame.to_path == self.end.own.as_bytes(), "another To-Path");
                frame::write_ok(&mut out, &frame, self.end.own.as_bytes());
                used += frame.octets;
                if frame.body.is_some() {
                    self.take(&frame)?;
                }
            }
            input.held.drain(..used);
            (&self.end.stream).write_all(&out).context("answering")?;
            if self.leaves_at.is_some_and(|at| self.messages >= at) {
                return Ok(());
            }
            let all = sent.load(Ordering::Acquire);
            ensure!(self.messages <= all, "message {} came, {all} were sent", self.messages);
            if ended.load(Ordering::Acquire) && self.messages == sent.load(Ordering::Acquire) {
                ensure!(input.held.is_empty() && self.part == 0, "octets behind the last message");
                return Ok(());
            }
            match input.fill() {
                Piece::Octets => last = Instant::now(),
                Piece::Nothing => ensure!(
                    last.elapsed() < PATIENCE || self.messages == sent.load(Ordering::Acquire),
                    "message {} of {} is missing",
                    self.messages,
                    sent.load(Ordering::Acquire)
                ),
                Piece::End(why) => bail!("the connection ended at message {}: {why}", self.messages),
            }
        }
    }

    fn take(&mut self, frame: &frame::Frame<'_>) -> Result<()> {
        let (number, shape) = (self.messages, self.shape);
        let (octets, _) = shape.lengths(number);
        let chunk = frame.body.unwrap_or_default();
        ensure!(
            frame.message_id == shape.message_id(number).as_bytes(),
            "message {} where {} was due",
            String::from_utf8_lossy(frame.message_id),
            shape.message_id(number)
        );
        ensure!(
            frame.start == self.part as u64 + 1,
            "a chunk begins at {}, not {}",
            frame.start,
            self.part + 1
        );
        ensure!(frame.total.is_none_or(|total| total == octets as u64), "total of message {number}");
        let mut due = vec![0; chunk.len()];
        shape.fill(number, self.part, &mut due);
        ensure!(chunk == due, "message {number} changed on its way");
        ensure!(self.part + chunk.len() <= octets, "message {number} has more octets than it had");
        self.part += chunk.len();
        self.octets += chunk.len() as u64;
        if frame.flag == b'$' {
            ensure!(self.part == octets, "message {number} ends at {} of {octets}", self.part);
            (self.part, self.messages) = (0, number + 1);
        } else {
            ensure!(frame.flag == b'+', "message {number} was abandoned");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// What a receiver says of these messages, the octets of which `tamper` may change.
    fn heard(tamper: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let stream = listener.accept().unwrap().0;
        let (uri, shape) = ("msrp://127.0.0.1:9/x;tcp", Shape { salt: 77, long: 5 });
        let end = |stream: &TcpStream| End {
            stream: stream.try_clone().unwrap(),
            to_path: uri.to_owned(),
            own: uri.to_owned(),
        };
        let mut octets = Vec::new();
        for number in 0..50 {
            shape.write(&mut octets, &end(&near), number);
        }
        tamper(&mut octets);
        let (sent, ended) = (AtomicU64::new(50), AtomicBool::new(true));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _ = (&near).write_all(&octets);
                let _ = near.shutdown(std::net::Shutdown::Write);
            });
            Sink::new(end(&stream), Vec::new(), shape, None).run(&sent, &ended)
        })
    }

    #[test]
    fn what_was_sent_is_accepted() {
        heard(|_| {}).unwrap();
    }

    #[test]
    fn a_changed_a_lost_and_a_repeated_octet_are_noticed() {
        // In the body of the first message.
        let place = |octets: &[u8]| octets.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        heard(|octets| {
            let at = place(octets);
            octets[at] ^= 1;
        })
        .unwrap_err();
        heard(|octets| {
            let at = place(octets);
            octets.remove(at);
        })
        .unwrap_err();
        heard(|octets| {
            let end = octets.windows(7).position(|seven| seven == b"-------").unwrap();
            let line = octets[end..].iter().position(|octet| *octet == b'\n').unwrap();
            let first: Vec<u8> = octets[..=end + line].to_vec();
            octets.splice(0..0, first);
        })
        .unwrap_err();
    }
}
