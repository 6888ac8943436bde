//! What a path has to know of a frame: where the TCP segment in it lies, and its checksums.

/// Octets of an Ethernet header.
const ETHERNET: usize = 14;
/// FIN, SYN, RST, ACK.
pub(super) const FIN: u8 = 1;
pub(super) const SYN: u8 = 2;
pub(super) const RST: u8 = 4;
const ACK: u8 = 16;

/// Places in a frame with a TCP segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    v6: bool,
    tcp: usize,
    payload: usize,
    end: usize,
}

impl Segment {
    /// `None`: it is something else.
    pub(super) fn of(frame: &[u8]) -> Option<Segment> {
        let half = |at: usize| Some(usize::from(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?])));
        let (v6, protocol, tcp, end) = match half(12)? {
            0x0800 => {
                let header = usize::from(frame.get(ETHERNET)? & 15) * 4;
                (false, *frame.get(ETHERNET + 9)?, ETHERNET + header, ETHERNET + half(ETHERNET + 2)?)
            }
            0x86dd => (true, *frame.get(ETHERNET + 6)?, ETHERNET + 40, ETHERNET + 40 + half(ETHERNET + 4)?),
            _ => return None,
        };
        let payload = tcp + usize::from(frame.get(tcp + 12)? >> 4) * 4;
        let whole = protocol == 6 && payload >= tcp + 20 && payload <= end && end <= frame.len();
        whole.then_some(Segment { v6, tcp, payload, end })
    }

    pub(super) fn octets(self) -> usize {
        self.end - self.payload
    }

    pub(super) fn flags(self, frame: &[u8]) -> u8 {
        frame[self.tcp + 13]
    }

    /// What is wrong with its checksums.
    pub(super) fn wrong(self, frame: &[u8]) -> Option<String> {
        if !self.v6 && sum(0, &frame[ETHERNET..self.tcp]) != 0xffff {
            return Some(self.about(frame, "IPv4 header"));
        }
        (self.tcp_sum(frame) != 0xffff).then(|| self.about(frame, "TCP"))
    }

    fn about(self, frame: &[u8], what: &str) -> String {
        let head = &frame[self.tcp..self.payload];
        let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        format!(
            "{what} checksum, ports {} to {}, position {}, acknowledges {}, flags {:#x}, {} octets",
            word(0) >> 16,
            word(0) & 0xffff,
            word(4),
            word(8),
            head[13],
            self.octets()
        )
    }

    /// The sum over pseudo-header and segment.
    fn tcp_sum(self, frame: &[u8]) -> u16 {
        let addresses = if self.v6 { ETHERNET + 8..ETHERNET + 40 } else { ETHERNET + 12..ETHERNET + 20 };
        let start = sum(6 + (self.end - self.tcp) as u64, &frame[addresses]);
        sum(start.into(), &frame[self.tcp..self.end])
    }

    fn set_tcp_sum(self, frame: &mut [u8]) {
        frame[self.tcp + 16..self.tcp + 18].fill(0);
        let right = !self.tcp_sum(frame);
        frame[self.tcp + 16..self.tcp + 18].copy_from_slice(&right.to_be_bytes());
    }

    /// The window reads zero.
    pub(super) fn close_window(self, frame: &mut [u8]) {
        frame[self.tcp + 14..self.tcp + 16].fill(0);
        self.set_tcp_sum(frame);
    }

    /// Resets for both ends: for the receiver at this segment's position, for its sender at what it acknowledges.
    pub(super) fn resets(self, frame: &[u8]) -> [Vec<u8>; 2] {
        let mut forth = frame[..self.tcp + 20].to_vec();
        let here = Segment { payload: self.tcp + 20, end: self.tcp + 20, ..self };
        let length = (here.end - ETHERNET - if self.v6 { 40 } else { 0 }) as u16;
        let at = if self.v6 { ETHERNET + 4 } else { ETHERNET + 2 };
        forth[at..at + 2].copy_from_slice(&length.to_be_bytes());
        if !self.v6 {
            forth[ETHERNET + 10..ETHERNET + 12].fill(0);
            let right = !sum(0, &forth[ETHERNET..self.tcp]);
            forth[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&right.to_be_bytes());
        }
        forth[self.tcp + 12] = 5 << 4;
        forth[self.tcp + 13] = RST | ACK;
        let mut back = forth.clone();
        let mut swap = |a: usize, b: usize, length: usize| {
            for n in 0..length {
                back.swap(a + n, b + n);
            }
        };
        swap(0, 6, 6);
        match self.v6 {
            true => swap(ETHERNET + 8, ETHERNET + 24, 16),
            false => swap(ETHERNET + 12, ETHERNET + 16, 4),
        }
        swap(self.tcp, self.tcp + 2, 2);
        swap(self.tcp + 4, self.tcp + 8, 4);
        here.set_tcp_sum(&mut forth);
        here.set_tcp_sum(&mut back);
        [forth, back]
    }
}

/// The folded sum of 16-bit words, an odd octet at the end padded.
fn sum(start: u64, octets: &[u8]) -> u16 {
    let words = octets
        .chunks(2)
        .map(|pair| u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or_default()])));
    let mut sum = start + words.sum::<u64>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 192.0.2.1 to 192.0.2.2, three octets, without checksums.
    fn frame() -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([8, 0]);
        frame.extend([0x45, 0, 0, 43, 0, 1, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
        frame.extend([0x0b, 0x27, 0xc3, 0x50, 0, 0, 0, 10, 0, 0, 0, 20, 0x50, 0x18, 2, 0, 0, 0, 0, 0]);
        frame.extend(*b"abc");
        frame
    }

    #[test]
    fn sums_are_those_of_rfc_1071() {
        // The example of RFC 1071 section 3.
        assert_eq!(sum(0, &[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
        assert_eq!(sum(0, &[1]), 0x0100);
    }

    #[test]
    fn every_changed_octet_is_noticed() {
        let mut frame = frame();
        let segment = Segment::of(&frame).unwrap();
        assert_eq!(segment.octets(), 3);
        assert!(segment.wrong(&frame).unwrap().starts_with("IPv4"));
        let right = !sum(0, &frame[14..34]);
        frame[24..26].copy_from_slice(&right.to_be_bytes());
        assert!(segment.wrong(&frame).unwrap().starts_with("TCP"));
        segment.set_tcp_sum(&mut frame);
        assert_eq!(segment.wrong(&frame), None);
        for at in 26..frame.len() {
            let mut other = frame.clone();
            other[at] ^= 1;
            assert!(segment.wrong(&other).is_some(), "octet {at}");
        }
        segment.close_window(&mut frame);
        assert_eq!(segment.wrong(&frame), None);
    }

    #[test]
    fn resets_are_whole_packets() {
        let mut frame = frame();
        let segment = Segment::of(&frame).unwrap();
        segment.set_tcp_sum(&mut frame);
        for (reset, position) in segment.resets(&frame).iter().zip([10, 20]) {
            let segment = Segment::of(reset).unwrap();
            assert_eq!(segment.wrong(reset), None);
            assert_eq!((segment.octets(), segment.flags(reset)), (0, RST | ACK));
            assert_eq!(reset[38..42], u32::to_be_bytes(position));
        }
    }
}
