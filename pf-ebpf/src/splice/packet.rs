//! From a packet to the flow it belongs to.

use pf_common::{frame::ETHERNET, maps::FlowKey, splice::Segment};

use super::{scratch::Scratch, skb::Skb};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TCP: u8 = 6;

/// A TCP packet.
#[derive(Clone, Copy)]
pub struct Packet {
    /// Its flow.
    pub key: FlowKey,
    /// Destination and source.
    pub ethernet: [u8; 12],
    /// See `Link::class`.
    pub class: [u8; 4],
    /// Time to live, or hop limit.
    pub hops: u8,
    /// Flags of TCP.
    pub flags: u8,
    /// Whether the IP header is of the common length.
    pub plain: bool,
    /// Whether it has a timestamp at the usual place.
    pub stamped: bool,
    /// Where the TCP header begins.
    pub tcp: u32,
    /// Octets of the TCP header.
    pub tcp_len: u32,
    /// Octets behind the TCP header.
    pub len: u32,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Window, as it is told.
    pub window: u32,
    /// The sender's timestamp and the one it echoes.
    pub stamp: [u32; 2],
}

impl Packet {
    /// Where the payload begins.
    #[inline(always)]
    pub fn payload(&self) -> u32 {
        self.tcp + self.tcp_len
    }

    /// What the state machine needs of it.
    #[inline(always)]
    pub fn segment(&self, scale: u8) -> Segment {
        Segment {
            seq: self.seq,
            ack: self.ack,
            window: self.window << (scale & 15),
            len: self.len,
            flags: self.flags,
        }
    }
}

/// Room for the headers up to the end of TCP's options, as far as they are looked at.
pub const RAW: usize = 128;

/// Where the octets are that are read: Ethernet and IP, TCP, its first options.
const TCP_AT: usize = 64;
const OPTIONS_AT: usize = 96;

/// Reads a packet into `scratch.packet`. False for what is not TCP over IP, in fragments, behind extension headers, or
/// malformed.
#[inline(never)]
pub fn read(skb: Skb, scratch: &mut Scratch, inward: bool) -> bool {
    if skb.tagged() {
        return false;
    }
    let found = match skb.protocol() {
        IPV4 => v4(skb, scratch, inward),
        IPV6 => v6(skb, scratch, inward),
        _ => None,
    };
    found.is_some()
}

#[inline(always)]
fn v4(skb: Skb, scratch: &mut Scratch, inward: bool) -> Option<()> {
    raw::<{ ETHERNET + 20 }>(skb, scratch, 0, 0)?;
    let head = &scratch.raw;
    if head[14] >> 4 != 4 || head[23] != TCP || (head[20] & 0x3f) | head[21] != 0 {
        return None;
    }
    let (from, to) = if inward { (26, 30) } else { (30, 26) };
    let packet = &mut scratch.packet;
    packet.key.family = 4;
    packet.key.remote = [0; 16];
    packet.key.local = [0; 16];
    copy::<4, 16>(&mut packet.key.remote, head, from);
    copy::<4, 16>(&mut packet.key.local, head, to);
    packet.plain = head[14] == 0x45;
    packet.hops = head[22];
    packet.class = [head[15] & 0xfc, 0, 0, 0];
    let ip_len = (head[14] & 15) as u32 * 4;
    let total = u16::from_be_bytes(part(head, 16)) as u32;
    packet.tcp = ETHERNET as u32 + ip_len;
    let after = if total == 0 { skb.len().wrapping_sub(packet.tcp) } else { total.wrapping_sub(ip_len) };
    tcp(skb, scratch, inward, after)
}

#[inline(always)]
fn v6(skb: Skb, scratch: &mut Scratch, inward: bool) -> Option<()> {
    raw::<{ ETHERNET + 40 }>(skb, scratch, 0, 0)?;
    let head = &scratch.raw;
    if head[14] >> 4 != 6 || head[20] != TCP {
        return None;
    }
    let (from, to) = if inward { (22, 38) } else { (38, 22) };
    let packet = &mut scratch.packet;
    packet.key.family = 6;
    copy::<16, 16>(&mut packet.key.remote, head, from);
    copy::<16, 16>(&mut packet.key.local, head, to);
    packet.plain = true;
    packet.hops = head[21];
    packet.class = [head[14], head[15] & 0xcf, head[16], head[17]];
    packet.tcp = ETHERNET as u32 + 40;
    let total = u16::from_be_bytes(part(head, 18)) as u32;
    let after = if total == 0 { skb.len().wrapping_sub(packet.tcp) } else { total };
    tcp(skb, scratch, inward, after)
}

/// The TCP header, with `after` octets from there to the end of the packet.
#[inline(always)]
fn tcp(skb: Skb, scratch: &mut Scratch, inward: bool, after: u32) -> Option<()> {
    let at = scratch.packet.tcp;
    raw::<20>(skb, scratch, TCP_AT, at)?;
    let octets = &scratch.raw;
    let tcp_len = (octets[TCP_AT + 12] >> 4) as u32 * 4;
    if tcp_len < 20 || after < tcp_len || after > 0x1f_ffff {
        return None;
    }
    let (from, to) = if inward { (TCP_AT, TCP_AT + 2) } else { (TCP_AT + 2, TCP_AT) };
    let packet = &mut scratch.packet;
    copy::<12, 12>(&mut packet.ethernet, octets, 0);
    packet.key.zero = [0; 3];
    packet.key.remote_port = part(octets, from);
    packet.key.local_port = part(octets, to);
    packet.flags = octets[TCP_AT + 13];
    packet.tcp_len = tcp_len;
    packet.len = after - tcp_len;
    packet.seq = u32::from_be_bytes(part(octets, TCP_AT + 4));
    packet.ack = u32::from_be_bytes(part(octets, TCP_AT + 8));
    packet.window = u16::from_be_bytes(part(octets, TCP_AT + 14)) as u32;
    packet.stamped = false;
    if tcp_len >= 32 {
        raw::<12>(skb, scratch, OPTIONS_AT, at + 20)?;
        let octets = &scratch.raw;
        if u32::from_be_bytes(part(octets, OPTIONS_AT)) == 0x0101_080a {
            scratch.packet.stamped = true;
            scratch.packet.stamp = [
                u32::from_be_bytes(part(octets, OPTIONS_AT + 4)),
                u32::from_be_bytes(part(octets, OPTIONS_AT + 8)),
            ];
        }
    }
    Some(())
}

/// Reads `N` octets of the packet to a place in `scratch.raw`.
#[inline(always)]
fn raw<const N: usize>(skb: Skb, scratch: &mut Scratch, to: usize, at: u32) -> Option<()> {
    let place = scratch.raw.get_mut(to..to + N)?;
    // SAFETY: `N` octets.
    unsafe { skb.load_into(at, place.as_mut_ptr(), N as u32) }
}

#[inline(always)]
fn copy<const N: usize, const M: usize>(to: &mut [u8; M], from: &[u8; RAW], at: usize) {
    let octets: [u8; N] = part(from, at);
    let mut n = 0;
    while n < N && n < M {
        to[n] = octets[n];
        n += 1;
    }
}

/// `M` octets from `at` on; zeros where there are none.
#[inline(always)]
fn part<const N: usize, const M: usize>(octets: &[u8; N], at: usize) -> [u8; M] {
    let mut part = [0; M];
    let mut n = 0;
    while n < M {
        if let Some(octet) = octets.get(at + n) {
            part[n] = *octet;
        }
        n += 1;
    }
    part
}
