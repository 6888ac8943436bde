//! Messages that the programs consumed, kept until no leg can need them again.

use pf_common::splice::seq::{after, distance};

/// One logged message.
#[derive(Debug)]
pub(super) struct Record {
    /// Wire position of its first octet on the source's connection.
    pub(super) position: u32,
    /// The message as it came.
    pub(super) octets: Vec<u8>,
}

impl Record {
    /// Octets it takes of the log.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.octets.len()).unwrap_or(u32::MAX)
    }

    /// Does it end at `position` or before?
    pub(super) fn ends_by(&self, position: u32) -> bool {
        !after(self.position.wrapping_add(self.len()), position)
    }
}

/// A message as the programs wrote it to a leg: its two path lines replaced by those of the leg. What is no message
/// gives nothing.
pub(super) fn rewritten(message: &[u8], out_block: &[u8]) -> Option<Vec<u8>> {
    let line = |from: usize| {
        let rest = message.get(from..)?;
        Some(from + rest.windows(2).position(|two| two == b"\r\n")? + 2)
    };
    let block = line(0)?;
    let fields = line(line(block)?)?;
    let mut written = Vec::with_capacity(message.len() + out_block.len());
    written.extend_from_slice(message.get(..block)?);
    written.extend_from_slice(out_block);
    written.extend_from_slice(message.get(fields..)?);
    Some(written)
}

/// `octets` begin at wire position `at`: those from position `from` on.
pub(super) fn from_position(octets: Vec<u8>, at: u32, from: u32) -> Vec<u8> {
    let skip = usize::try_from(distance(at, from)).unwrap_or(usize::MAX);
    octets.into_iter().skip(skip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_path_lines_change() {
        let message = b"MSRP abcd SEND\r\nTo-Path: a\r\nFrom-Path: b\r\nByte-Range: 1-4/4\r\n\r\na\r\nb\r\n-------abcd$\r\n";
        let block = b"To-Path: long-one\r\nFrom-Path: c\r\n";
        let expected = b"MSRP abcd SEND\r\nTo-Path: long-one\r\nFrom-Path: c\r\nByte-Range: 1-4/4\r\n\r\na\r\nb\r\n-------abcd$\r\n";
        assert_eq!(rewritten(message, block).unwrap(), expected);
        assert_eq!(rewritten(b"MSRP abcd SEND\r\nTo-Path: a\r\n", block), None);
        assert_eq!(from_position(b"abcdef".to_vec(), u32::MAX, 2), b"def");
        assert_eq!(from_position(b"abcdef".to_vec(), 7, 7), b"abcdef");
    }

    #[test]
    fn a_record_ends_behind_its_last_octet() {
        let record = Record { position: u32::MAX - 1, octets: vec![0; 4] };
        assert!(record.ends_by(2) && record.ends_by(3) && !record.ends_by(1));
    }
}
