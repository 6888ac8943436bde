//! Frames between the relay and a peer, built field by field at the positions of a real connection, and what becomes of
//! them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};

use pf_common::maps::Slot;

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const URG: u8 = 0x20;

/// A TCP packet over IPv4 or IPv6.
#[derive(Clone)]
pub(crate) struct Frame {
    from: SocketAddr,
    to: SocketAddr,
    seq: u32,
    ack: u32,
    window: u16,
    flags: u8,
    stamp: Option<[u32; 2]>,
    sack: Option<[u32; 2]>,
    ip_options: bool,
    pub(crate) spoilt: bool,
    /// Octets of the segments that it is to be cut into (GSO); 0: it is one.
    pub(crate) segment: u32,
    payload: Vec<u8>,
}

impl Frame {
    /// From the peer of the relay's socket: in order, acknowledging everything.
    pub(crate) fn from_peer(ours: &TcpStream, slot: &Slot) -> Frame {
        let connection = &slot.connection;
        Frame {
            from: ours.peer_addr().unwrap(),
            to: ours.local_addr().unwrap(),
            seq: connection.receive.next,
            ack: connection.transmit.highest,
            window: 512,
            flags: ACK | PSH,
            stamp: Some([1000, 1000]),
            sack: None,
            ip_options: false,
            spoilt: false,
            segment: 0,
            payload: Vec::new(),
        }
    }

    /// Of the relay's own socket: its next octets.
    pub(crate) fn of_kernel(ours: &TcpStream, slot: &Slot) -> Frame {
        let connection = &slot.connection;
        let peer = Frame::from_peer(ours, slot);
        Frame {
            from: peer.to,
            to: peer.from,
            seq: connection.transmit.kernel_next,
            ack: connection.receive.next.wrapping_sub(connection.receive.delta),
            ..peer
        }
    }

    pub(crate) fn payload(mut self, octets: &[u8]) -> Frame {
        self.payload = octets.to_vec();
        self
    }
    /// One packet of several segments.
    pub(crate) fn segment(mut self, octets: u32) -> Frame {
        self.segment = octets;
        self
    }
    pub(crate) fn flags(mut self, flags: u8) -> Frame {
        self.flags = flags;
        self
    }
    /// Moves its first octet.
    pub(crate) fn seq(mut self, by: i32) -> Frame {
        self.seq = self.seq.wrapping_add_signed(by);
        self
    }
    /// Moves its acknowledgement.
    pub(crate) fn ack(mut self, by: i32) -> Frame {
        self.ack = self.ack.wrapping_add_signed(by);
        self
    }
    pub(crate) fn window(mut self, window: u16) -> Frame {
        self.window = window;
        self
    }
    pub(crate) fn stamp(mut self, value: u32, echo: u32) -> Frame {
        self.stamp = Some([value, echo]);
        self
    }
    pub(crate) fn no_stamp(mut self) -> Frame {
        self.stamp = None;
        self
    }
    pub(crate) fn sack(mut self, from: u32, to: u32) -> Frame {
        self.sack = Some([from, to]);
        self
    }
    /// An IPv4 option that does nothing, or an extension header of IPv6 that does as little.
    pub(crate) fn ip_options(mut self) -> Frame {
        self.ip_options = true;
        self
    }
    /// One octet of the payload changes after the checksum was made.
    pub(crate) fn spoilt(mut self) -> Frame {
        self.spoilt = true;
        self
    }
    /// Another port of the peer: another flow.
    pub(crate) fn of_stranger(mut self) -> Frame {
        self.from.set_port(self.from.port() ^ 1);
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.payload.clone()).unwrap()
    }

    pub(crate) fn octets(&self) -> Vec<u8> {
        let mut options = Vec::new();
        if let Some([value, echo]) = self.stamp {
            options.extend([1, 1, 8, 10]);
            options.extend(value.to_be_bytes());
            options.extend(echo.to_be_bytes());
        }
        if let Some([from, to]) = self.sack {
            options.extend([1, 1, 5, 10]);
            options.extend(from.to_be_bytes());
            options.extend(to.to_be_bytes());
        }
        let mut tcp = self.from.port().to_be_bytes().to_vec();
        tcp.extend(self.to.port().to_be_bytes());
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        tcp.extend([((20 + options.len()) as u8 / 4) << 4, self.flags]);
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([0; 4]);
        tcp.extend(&options);
        tcp.extend(&self.payload);
        let check = checksum(&[pseudo(self.from.ip(), self.to.ip(), tcp.len()), tcp.clone()].concat());
        tcp[16..18].copy_from_slice(&check.to_be_bytes());
        if self.spoilt {
            // In the body, in front of the end-line.
            let at = tcp.len() - 30;
            tcp[at] ^= 1;
        }
        let (kind, ip) = match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => (0x0800_u16, self.v4(from, to, tcp.len())),
            (IpAddr::V6(from), IpAddr::V6(to)) => (0x86dd, self.v6(from, to, tcp.len())),
            families => panic!("{families:?}"),
        };
        let mut frame = vec![0; 12];
        frame.extend(kind.to_be_bytes());
        frame.extend(ip);
        frame.extend(tcp);
        frame
    }

    fn v4(&self, from: Ipv4Addr, to: Ipv4Addr, len: usize) -> Vec<u8> {
        let words = if self.ip_options { 6 } else { 5 };
        let mut ip = vec![0x40 + words as u8, 0];
        ip.extend(((words * 4 + len) as u16).to_be_bytes());
        ip.extend([0, 1, 0x40, 0, 64, 6, 0, 0]);
        ip.extend(from.octets());
        ip.extend(to.octets());
        ip.resize(words * 4, 1);
        let check = checksum(&ip);
        ip[10..12].copy_from_slice(&check.to_be_bytes());
        ip
    }

    fn v6(&self, from: Ipv6Addr, to: Ipv6Addr, len: usize) -> Vec<u8> {
        // Destination options: eight octets that say nothing.
        let extension: &[u8] = if self.ip_options { &[6, 0, 1, 4, 0, 0, 0, 0] } else { &[] };
        let mut ip = vec![0x60, 0, 0, 0];
        ip.extend(((extension.len() + len) as u16).to_be_bytes());
        ip.extend([if self.ip_options { 60 } else { 6 }, 64]);
        ip.extend(from.octets());
        ip.extend(to.octets());
        ip.extend(extension);
        ip
    }
}

/// What the checksum of TCP covers besides the segment (RFC 9293, 3.1; RFC 8200, 8.1).
fn pseudo(from: IpAddr, to: IpAddr, len: usize) -> Vec<u8> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            [&from.octets()[..], &to.octets(), &[0, 6], &(len as u16).to_be_bytes()].concat()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            [&from.octets()[..], &to.octets(), &(len as u32).to_be_bytes(), &[0, 0, 0, 6]].concat()
        }
        families => panic!("{families:?}"),
    }
}

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

/// What a program made of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) window: u16,
    pub(crate) flags: u8,
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Seen {
    /// Reads a frame, and insists on its lengths and checksums.
    pub(crate) fn read(frame: &[u8]) -> Seen {
        let two = |octets: &[u8], at: usize| u16::from_be_bytes(octets[at..at + 2].try_into().unwrap());
        let ip = &frame[14..];
        let (from, to, mut tcp) = if ip[0] >> 4 == 4 {
            let head = usize::from(ip[0] & 15) * 4;
            assert_eq!((two(frame, 12), usize::from(two(ip, 2))), (0x0800, ip.len()));
            assert_eq!(checksum(&ip[..head]), 0);
            let address = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&ip[at..at + 4]).unwrap());
            (address(12), address(16), &ip[head..])
        } else {
            assert_eq!((two(frame, 12), usize::from(two(ip, 4))), (0x86dd, ip.len() - 40));
            let address = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&ip[at..at + 16]).unwrap());
            (address(8), address(24), &ip[40..])
        };
        if ip[0] >> 4 == 6 && ip[6] == 60 {
            tcp = &tcp[8..];
        }
        let check = checksum(&[&pseudo(from, to, tcp.len()), tcp].concat());
        assert_eq!(check, 0, "the TCP checksum of {tcp:x?}");
        let four = |at: usize| u32::from_be_bytes(tcp[at..at + 4].try_into().unwrap());
        let len = usize::from(tcp[12] >> 4) * 4;
        Seen {
            from: SocketAddr::new(from, two(tcp, 0)),
            to: SocketAddr::new(to, two(tcp, 2)),
            seq: four(4),
            ack: four(8),
            window: two(tcp, 14),
            flags: tcp[13],
            options: tcp[20..len].to_vec(),
            payload: tcp[len..].to_vec(),
        }
    }
}
