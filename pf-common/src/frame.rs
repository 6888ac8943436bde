//! Headers that the programs write: Ethernet, IP and TCP, with their checksums (RFC 791, 1071, 7323, 8200, 9293).
//!
//! Sums are of 16-bit words as they stand in this machine's memory: by RFC 1071, section 2, the byte order of a sum does
//! not matter as long as it is the same everywhere.

use crate::{maps::FlowKey, splice::flags};

/// Room for the longest head: 14 + 40 + 32 octets, as full words.
pub const HEAD: usize = 96;

/// Octets of an Ethernet header.
pub const ETHERNET: usize = 14;

const TCP4: usize = ETHERNET + 20;
const TCP6: usize = ETHERNET + 40;
const PLAIN: usize = 20;
const STAMPED: usize = 32;

/// A packet's headers.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Both ends; the packet goes from local to remote.
    pub key: FlowKey,
    /// 1: with timestamps.
    pub stamps: u8,
    /// TCP flags.
    pub flags: u8,
    /// Time to live, or hop limit.
    pub hops: u8,
    /// Zero.
    pub zero: u8,
    /// The first four octets of an IPv6 header, or the second of an IPv4 header and zeros.
    pub class: [u8; 4],
    /// Destination and source.
    pub ethernet: [u8; 12],
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Window as it is told, scaled down.
    pub window: u32,
    /// Our timestamp.
    pub stamp: u32,
    /// The peer's timestamp.
    pub echo: u32,
}

/// Where the sum of the payload comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The device adds the TCP segment to the sum of the pseudo header (CHECKSUM_PARTIAL).
    Device,
    /// This is the sum of the payload.
    Sum(u32),
}

/// Adds the carries of a sum.
#[inline(always)]
pub const fn fold(sum: u64) -> u32 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u32
}

/// A folded sum whose octets stand at an odd place.
#[inline(always)]
pub const fn odd(sum: u32) -> u32 {
    (sum & 0xff) << 8 | sum >> 8 & 0xff
}

/// The sum of three parts that follow each other, of which the first begins at an even place. `first` and `second` are
/// the lengths of the first two.
#[inline(always)]
pub const fn join(sums: [u32; 3], first: u32, second: u32) -> u32 {
    let b = if first & 1 != 0 { odd(fold(sums[1] as u64)) } else { sums[1] };
    let c = if (first + second) & 1 != 0 { odd(fold(sums[2] as u64)) } else { sums[2] };
    fold(sums[0] as u64 + b as u64 + c as u64)
}

/// How long the head of such a packet is.
#[inline(always)]
pub const fn head_len(family: u8, stamps: bool) -> u32 {
    let tcp = if family == 4 { TCP4 } else { TCP6 };
    (tcp + if stamps { STAMPED } else { PLAIN }) as u32
}

/// Writes the head of a packet with `len` octets of payload and returns its own length.
#[inline(always)]
pub fn write(head: &mut [u8; HEAD], frame: &Frame, len: u32, payload: Payload) -> u32 {
    put(head, 0, frame.ethernet);
    let tcp_len = len + if frame.stamps != 0 { STAMPED as u32 } else { PLAIN as u32 };
    if frame.key.family == 4 {
        put(head, 12, [0x08, 0x00, 0x45, frame.class[0]]);
        put(head, 16, ((20 + tcp_len) as u16).to_be_bytes());
        // Never in fragments, so the identification means nothing (RFC 6864).
        put(head, 18, [0, 0, 0x40, 0, frame.hops, 6, 0, 0]);
        let [a, b, c, d, ..] = frame.key.local;
        put(head, 26, [a, b, c, d]);
        let [a, b, c, d, ..] = frame.key.remote;
        put(head, 30, [a, b, c, d]);
        let sum = sum::<20>(head, ETHERNET);
        put(head, 24, (!(fold(sum) as u16)).to_ne_bytes());
        let addresses = self::sum::<8>(head, 26);
        tcp::<TCP4>(head, frame, addresses, tcp_len, payload)
    } else {
        put(head, 12, [0x86, 0xdd]);
        put(head, 14, frame.class);
        put(head, 18, (tcp_len as u16).to_be_bytes());
        put(head, 20, [6, frame.hops]);
        put(head, 22, frame.key.local);
        put(head, 38, frame.key.remote);
        let addresses = sum::<32>(head, 22);
        tcp::<TCP6>(head, frame, addresses, tcp_len, payload)
    }
}

#[inline(always)]
fn tcp<const AT: usize>(
    head: &mut [u8; HEAD],
    frame: &Frame,
    addresses: u64,
    tcp_len: u32,
    payload: Payload,
) -> u32 {
    let stamps = frame.stamps != 0;
    put(head, AT, frame.key.local_port);
    put(head, AT + 2, frame.key.remote_port);
    put(head, AT + 4, frame.seq.to_be_bytes());
    put(head, AT + 8, frame.ack.to_be_bytes());
    put(head, AT + 12, [if stamps { 0x80 } else { 0x50 }, frame.flags]);
    put(head, AT + 14, (frame.window as u16).to_be_bytes());
    put(head, AT + 16, [0; 4]);
    let protocol = u16::from_be(6) as u64 + u16::from_be(tcp_len as u16) as u64;
    let mut all = addresses + protocol;
    if let Payload::Sum(sum) = payload {
        all += sum as u64 + self::sum::<PLAIN>(head, AT);
    }
    if stamps {
        put(head, AT + 20, [1, 1, 8, 10]);
        put(head, AT + 24, frame.stamp.to_be_bytes());
        put(head, AT + 28, frame.echo.to_be_bytes());
        if let Payload::Sum(_) = payload {
            all += self::sum::<12>(head, AT + 20);
        }
    }
    let folded = fold(all) as u16;
    let check = match payload {
        Payload::Device => folded,
        Payload::Sum(_) => !folded,
    };
    put(head, AT + 16, check.to_ne_bytes());
    (AT + if stamps { STAMPED } else { PLAIN }) as u32
}

/// The flags of a packet with octets.
pub const OCTETS: u8 = flags::ACK | flags::PSH;

#[inline(always)]
fn put<const N: usize>(head: &mut [u8; HEAD], at: usize, octets: [u8; N]) {
    let mut n = 0;
    while n < N {
        if let Some(to) = head.get_mut(at + n) {
            *to = octets[n];
        }
        n += 1;
    }
}

#[inline(always)]
fn sum<const N: usize>(head: &[u8; HEAD], at: usize) -> u64 {
    let mut sum = 0;
    let mut n = 0;
    while n + 1 < N {
        if let (Some(a), Some(b)) = (head.get(at + n), head.get(at + n + 1)) {
            sum += u16::from_ne_bytes([*a, *b]) as u64;
        }
        n += 2;
    }
    sum
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// By the book: one's complement of the sum of big-endian words.
    fn checksum(octets: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in octets.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    fn ne(octets: &[u8]) -> u32 {
        let pairs = octets.chunks(2).map(|p| u64::from(u16::from_ne_bytes([p[0], *p.get(1).unwrap_or(&0)])));
        fold(pairs.sum())
    }

    fn frame(family: u8, stamps: bool, noise: [u8; 16]) -> Frame {
        let mut local = [0; 16];
        let n = if family == 4 { 4 } else { 16 };
        local[..n].copy_from_slice(&noise[..n]);
        let mut remote = local;
        remote[1] ^= 0x55;
        let number = |at: usize| u32::from_be_bytes(noise[at..at + 4].try_into().unwrap());
        Frame {
            key: FlowKey {
                family,
                zero: [0; 3],
                local_port: [11, noise[0]],
                remote_port: [noise[1], 9],
                local,
                remote,
            },
            stamps: stamps.into(),
            flags: OCTETS,
            hops: 61,
            zero: 0,
            class: if family == 4 { [noise[3] & 0xfc, 0, 0, 0] } else { [0x60, 1, 2, 3] },
            ethernet: [7; 12],
            seq: number(0),
            ack: number(4),
            window: u32::from(noise[9]) << 7,
            stamp: number(8),
            echo: number(12),
        }
    }

    proptest! {
        #[test]
        fn checksums_hold(noise: [u8; 16], v6: bool, stamps: bool,
                          parts in proptest::array::uniform3(proptest::collection::vec(any::<u8>(), 0..50))) {
            let family = if v6 { 6 } else { 4 };
            let frame = frame(family, stamps, noise);
            let payload: Vec<u8> = parts.concat();
            let sums = [ne(&parts[0]), ne(&parts[1]), ne(&parts[2])];
            let sum = join(sums, parts[0].len() as u32, parts[1].len() as u32);
            prop_assert_eq!(sum % 0xffff, ne(&payload) % 0xffff);
            let mut head = [0xaa; HEAD];
            let len = write(&mut head, &frame, payload.len() as u32, Payload::Sum(sum)) as usize;
            prop_assert_eq!(len as u32, head_len(family, stamps));
            let tcp = if v6 { TCP6 } else { TCP4 };
            let mut segment = head[tcp..len].to_vec();
            segment.extend(&payload);
            let mut pseudo = frame.key.local[..if v6 { 16 } else { 4 }].to_vec();
            pseudo.extend(&frame.key.remote[..if v6 { 16 } else { 4 }]);
            pseudo.extend((segment.len() as u32).to_be_bytes());
            pseudo.extend([0, 0, 0, 6]);
            let half = !checksum(&pseudo);
            pseudo.extend(&segment);
            prop_assert_eq!(checksum(&pseudo), 0);
            if !v6 {
                prop_assert_eq!(checksum(&head[14..34]), 0);
                prop_assert_eq!(usize::from(u16::from_be_bytes([head[16], head[17]])), 20 + segment.len());
            } else {
                prop_assert_eq!(usize::from(u16::from_be_bytes([head[18], head[19]])), segment.len());
            }
            write(&mut head, &frame, payload.len() as u32, Payload::Device);
            let check = u16::from_be_bytes([head[tcp + 16], head[tcp + 17]]);
            prop_assert_eq!(check % 0xffff, half % 0xffff);
        }
    }
}
