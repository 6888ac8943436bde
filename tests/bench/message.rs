//! The SENDs of the load: built once per lane, then only patched.

use anyhow::{Result, bail, ensure};

/// Hexadecimal digits of a sequence number.
const DIGITS: usize = 10;
/// Hexadecimal digits of a lane number.
const LANE: usize = 4;

/// A body of `octets` printable octets; its first ten are the sequence number when sent.
pub(crate) fn body(octets: usize) -> Vec<u8> {
    // A period that is prime and no power of two: a shifted or doubled piece never fits.
    (0..octets).map(|at| b' ' + ((at * 31 + at / 251) % 89) as u8).collect()
}

/// A SEND with places for what changes.
pub(crate) struct Template {
    bytes: Vec<u8>,
    /// Where sequence numbers stand.
    places: Vec<usize>,
}

impl Template {
    pub(crate) fn new(
        to_path: &str,
        from_path: &str,
        lane: usize,
        salt: u32,
        body: &[u8],
    ) -> Result<Template> {
        ensure!(body.len() >= DIGITS, "a body has at least {DIGITS} octets");
        ensure!(lane < 1 << (4 * LANE), "too many lanes");
        let zeros = "0".repeat(DIGITS);
        let tid = format!("{lane:04x}{zeros}{salt:08x}");
        let length = body.len();
        let head = format!(
            "MSRP {tid} SEND\r\nTo-Path: {to_path}\r\nFrom-Path: {from_path}\r\nMessage-ID: {lane:04x}.{zeros}\r\n\
             Byte-Range: 1-{length}/{length}\r\nContent-Type: message/cpim\r\n\r\n"
        );
        let mut bytes = head.clone().into_bytes();
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(format!("\r\n-------{tid}$\r\n").as_bytes());
        let id = head.find("Message-ID: ").map_or(0, |at| at + "Message-ID: ".len() + LANE + 1);
        let places =
            vec!["MSRP ".len() + LANE, id, head.len(), head.len() + length + "\r\n-------".len() + LANE];
        Ok(Template { bytes, places })
    }

    /// Appends the SEND with sequence number `seq`.
    pub(crate) fn write(&self, out: &mut Vec<u8>, seq: u64) {
        let begin = out.len();
        out.extend_from_slice(&self.bytes);
        let digits = digits(seq);
        for place in &self.places {
            out[begin + place..][..DIGITS].copy_from_slice(&digits);
        }
    }
}

fn digits(seq: u64) -> [u8; DIGITS] {
    let mut text = [b'0'; DIGITS];
    for (at, digit) in text.iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(seq >> (4 * at)) as usize & 15];
    }
    text
}

/// Message-ID of message `seq` of `lane`.
pub(crate) fn message_id(lane: usize, seq: u64) -> [u8; LANE + 1 + DIGITS] {
    let mut text = [b'.'; LANE + 1 + DIGITS];
    for (at, digit) in text[..LANE].iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(lane >> (4 * at)) & 15];
    }
    text[LANE + 1..].copy_from_slice(&digits(seq));
    text
}

/// Sequence number in a transaction id of `lane`.
pub(crate) fn sequence_of(tid: &[u8], lane: usize) -> Option<u64> {
    let number = |range| u64::from_str_radix(std::str::from_utf8(tid.get(range)?).ok()?, 16).ok();
    (number(0..LANE)? == lane as u64).then(|| number(LANE..LANE + DIGITS))?
}

/// Checks that `chunk` is what stands at `begin` of message `seq`.
pub(crate) fn check(chunk: &[u8], body: &[u8], begin: usize, seq: u64) -> Result<()> {
    ensure!(begin + chunk.len() <= body.len(), "more octets than the message has");
    let digits = digits(seq);
    let marked = DIGITS.saturating_sub(begin).min(chunk.len());
    if chunk[..marked] != digits[begin.min(DIGITS)..][..marked]
        || chunk[marked..] != body[begin + marked..begin + chunk.len()]
    {
        bail!("the body of message {seq} changed on its way");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame;

    #[test]
    fn patched_send_parses_and_checks() {
        let body = body(100);
        let template = Template::new("msrp://a:1/x;tcp", "msrp://b:2/y;tcp", 0x1f, 7, &body).unwrap();
        let mut out = b"before".to_vec();
        template.write(&mut out, 0xabcdef);
        let frame = frame::parse(&out[6..]).unwrap().unwrap();
        assert_eq!(frame.octets, out.len() - 6);
        assert_eq!(sequence_of(frame.tid, 0x1f), Some(0xabcdef));
        assert_eq!(sequence_of(frame.tid, 0x1e), None);
        assert_eq!(frame.message_id, message_id(0x1f, 0xabcdef));
        let received = frame.body.unwrap();
        check(received, &body, 0, 0xabcdef).unwrap();
        assert!(check(received, &body, 0, 0xabcdee).is_err(), "another message");
        for cut in [0, 3, 10, 50] {
            check(&received[..cut], &body, 0, 0xabcdef).unwrap();
            check(&received[cut..], &body, cut, 0xabcdef).unwrap();
        }
        let mut wrong = received.to_vec();
        wrong[99] ^= 1;
        assert!(check(&wrong, &body, 0, 0xabcdef).is_err());
        assert!(check(&received[10..], &body, 11, 0xabcdef).is_err(), "too long");
    }
}
