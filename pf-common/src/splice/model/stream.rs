//! The streams of the model: messages with a path that has another length on every connection, and the check that a
//! stream arrived exactly once and in order.

use super::std::collections::VecDeque;
use super::std::format;
use super::std::string::String;
use super::std::vec::Vec;

/// Octets before the path: mark, carry, source, path length, number (4), body length (2).
const HEAD: usize = 10;
const MARK: u8 = 0xA5;

/// A parsed message, its path not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) source: u8,
    pub(super) number: u32,
    /// Whether the programs may carry it.
    pub(super) carry: bool,
    pub(super) body: Vec<u8>,
}

impl Message {
    pub(super) fn new(source: u8, number: u32, carry: bool, body_len: usize) -> Message {
        let mut x = number.wrapping_mul(0x9E37_79B9) ^ ((source as u32) << 24);
        let body = (0..body_len)
            .map(|_| {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (x >> 24) as u8
            })
            .collect();
        Message { source, number, carry, body }
    }

    /// The message as it stands on a connection whose paths are `path` octets long.
    pub(super) fn write(&self, path: u8) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD + path as usize + self.body.len());
        out.extend([MARK, self.carry as u8, self.source, path]);
        out.extend(self.number.to_be_bytes());
        out.extend((self.body.len() as u16).to_be_bytes());
        out.extend((0..path).map(|at| path ^ at ^ self.number as u8));
        out.extend(&self.body);
        out
    }

    /// The message at the start of `octets` and its length there; `Ok(None)` when it is not complete.
    pub(super) fn parse(octets: &[u8]) -> Result<Option<(Message, usize)>, String> {
        if octets.first().is_some_and(|mark| *mark != MARK) {
            return Err(format!("no message begins with {:?}", &octets[..octets.len().min(12)]));
        }
        if octets.len() < HEAD {
            return Ok(None);
        }
        let path = octets[3];
        let number = u32::from_be_bytes([octets[4], octets[5], octets[6], octets[7]]);
        let len = u16::from_be_bytes([octets[8], octets[9]]) as usize;
        let total = HEAD + path as usize + len;
        if octets.len() < total {
            return Ok(None);
        }
        let body = octets[HEAD + path as usize..total].to_vec();
        Ok(Some((Message { source: octets[2], number, carry: octets[1] != 0, body }, total)))
    }
}

/// Whole messages out of octets as they come.
#[derive(Default)]
pub(super) struct Parser {
    held: VecDeque<u8>,
}

impl Parser {
    pub(super) fn push(&mut self, octets: &[u8]) {
        self.held.extend(octets);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn next(&mut self) -> Result<Option<(Message, Vec<u8>)>, String> {
        let octets = self.held.make_contiguous();
        match Message::parse(octets)? {
            Some((message, len)) => {
                let raw = octets[..len].to_vec();
                self.held.drain(..len);
                Ok(Some((message, raw)))
            }
            None => Ok(None),
        }
    }
}

/// Checks what arrives at one application: per source every message once, in order, octet by octet.
pub(super) struct Check {
    parser: Parser,
    path: u8,
    expected: Vec<Option<u32>>,
}

impl Check {
    /// `sources` lists the connections whose messages come here.
    pub(super) fn new(path: u8, connections: usize, sources: &[usize]) -> Check {
        let mut expected = super::std::vec![None; connections];
        for source in sources {
            expected[*source] = Some(0);
        }
        Check { parser: Parser::default(), path, expected }
    }

    pub(super) fn arrived(&self, source: usize) -> u32 {
        self.expected[source].unwrap_or(0)
    }

    pub(super) fn push(&mut self, octets: &[u8], sent: &[Vec<Message>]) -> Result<(), String> {
        self.parser.push(octets);
        while let Some((message, raw)) = self.parser.next()? {
            self.message(&message, sent)?;
            if raw != message.write(self.path) {
                return Err(format!("message {} of {} has a wrong path", message.number, message.source));
            }
        }
        Ok(())
    }

    /// One whole message, for connections whose messages nobody is sent.
    pub(super) fn message(&mut self, message: &Message, sent: &[Vec<Message>]) -> Result<(), String> {
        let source = message.source as usize;
        let expected = match self.expected.get_mut(source) {
            Some(Some(expected)) => expected,
            _ => return Err(format!("a message of {source} arrived where none belongs")),
        };
        if message.number != *expected {
            return Err(format!("message {} of {source} arrived, {} was next", message.number, *expected));
        }
        if sent[source].get(message.number as usize) != Some(message) {
            return Err(format!("message {} of {source} is not what was sent", message.number));
        }
        *expected += 1;
        Ok(())
    }
}
