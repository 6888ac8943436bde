//! Frames for the guard, built field by field, and the table of what becomes of each. The same table runs on the host
//! (this crate) and in the kernel (`pf-userspace/tests/ebpf_guard.rs`).
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each of the two uses a part of it")]

use std::net::IpAddr;

use pf_common::{guard::Verdict, maps::ListenKey};

/// The guarded port.
pub const PORT: u16 = 2855;
/// A port that is guarded on every IPv4 address.
pub const WILDCARD_PORT: u16 = 2856;
/// The guarded addresses.
pub const HERE: [&str; 2] = ["10.9.0.1", "fd09::1"];

/// What the guard listens for in these tests.
pub fn listeners() -> Vec<ListenKey> {
    let port = PORT.to_be_bytes();
    vec![
        ListenKey::v4([10, 9, 0, 1], port),
        ListenKey::v6("fd09::1".parse::<std::net::Ipv6Addr>().unwrap().octets(), port),
        ListenKey::v4([0; 4], WILDCARD_PORT.to_be_bytes()),
    ]
}

/// Flags of TCP.
pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const ACK: u8 = 0x10;

/// An Ethernet frame with a TCP segment, unless something else is asked for.
#[derive(Clone)]
pub struct Frame {
    tags: Vec<u16>,
    ethertype: Option<u16>,
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    extensions: Vec<u8>,
    fragment: u16,
    options: u8,
    port: u16,
    flags: u8,
    header_words: u8,
    payload: usize,
    total: Option<u16>,
    padding: usize,
    keep: Option<usize>,
}

impl Frame {
    /// A SYN from an address to the guarded port of the address of that family.
    pub fn syn(from: &str) -> Frame {
        let from: IpAddr = from.parse().unwrap();
        Frame {
            tags: Vec::new(),
            ethertype: None,
            from,
            to: HERE[usize::from(from.is_ipv6())].parse().unwrap(),
            protocol: 6,
            extensions: Vec::new(),
            fragment: 0,
            options: 0,
            port: PORT,
            flags: SYN,
            header_words: 5,
            payload: 0,
            total: None,
            padding: 0,
            keep: None,
        }
    }

    /// A segment of a connection with some payload.
    pub fn data(from: &str) -> Frame {
        Frame::syn(from).flags(ACK).payload(100)
    }

    pub fn flags(mut self, flags: u8) -> Frame {
        self.flags = flags;
        self
    }
    pub fn payload(mut self, octets: usize) -> Frame {
        self.payload = octets;
        self
    }
    pub fn to(mut self, address: &str, port: u16) -> Frame {
        (self.to, self.port) = (address.parse().unwrap(), port);
        self
    }
    /// A VLAN tag of this type in front.
    pub fn tag(mut self, ethertype: u16) -> Frame {
        self.tags.push(ethertype);
        self
    }
    pub fn ethertype(mut self, ethertype: u16) -> Frame {
        self.ethertype = Some(ethertype);
        self
    }
    pub fn protocol(mut self, protocol: u8) -> Frame {
        self.protocol = protocol;
        self
    }
    /// An IPv6 extension header of 8 octets.
    pub fn extension(mut self, kind: u8) -> Frame {
        self.extensions.push(kind);
        self
    }
    /// The IPv4 field with flags and fragment offset.
    pub fn fragment(mut self, field: u16) -> Frame {
        self.fragment = field;
        self
    }
    /// IPv4 options, in words.
    pub fn options(mut self, words: u8) -> Frame {
        self.options = words;
        self
    }
    /// What the TCP header says of its own length.
    pub fn header_words(mut self, words: u8) -> Frame {
        self.header_words = words;
        self
    }
    /// What the IP header says of the length.
    pub fn total(mut self, octets: u16) -> Frame {
        self.total = Some(octets);
        self
    }
    /// Zeros after the datagram, as Ethernet needs for short ones.
    pub fn padding(mut self, octets: usize) -> Frame {
        self.padding = octets;
        self
    }
    /// Cuts the frame.
    pub fn keep(mut self, octets: usize) -> Frame {
        self.keep = Some(octets);
        self
    }

    /// The octets of the frame.
    pub fn octets(&self) -> Vec<u8> {
        let mut tcp = vec![0x9c, 0x40];
        tcp.extend(self.port.to_be_bytes());
        tcp.extend([0; 8]);
        tcp.extend([self.header_words << 4, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.resize(tcp.len() + usize::from(self.header_words.saturating_sub(5)) * 4, 1);
        tcp.resize(tcp.len() + self.payload, b'x');
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for tag in &self.tags {
            frame.extend(tag.to_be_bytes());
            frame.extend([0, 42]);
        }
        match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                frame.extend(self.ethertype.unwrap_or(0x0800).to_be_bytes());
                let header = 20 + usize::from(self.options) * 4;
                let total = self.total.unwrap_or((header + tcp.len()) as u16);
                frame.extend([0x45 + self.options, 0]);
                frame.extend(total.to_be_bytes());
                frame.extend([0, 1]);
                frame.extend(self.fragment.to_be_bytes());
                frame.extend([64, self.protocol, 0, 0]);
                frame.extend(from.octets());
                frame.extend(to.octets());
                frame.resize(frame.len() + usize::from(self.options) * 4, 1);
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                frame.extend(self.ethertype.unwrap_or(0x86dd).to_be_bytes());
                let total = self.total.unwrap_or((self.extensions.len() * 8 + tcp.len()) as u16);
                let mut next: Vec<u8> = self.extensions.clone();
                next.push(self.protocol);
                frame.extend([0x60, 0, 0, 0]);
                frame.extend(total.to_be_bytes());
                frame.extend([next[0], 64]);
                frame.extend(from.octets());
                frame.extend(to.octets());
                for after in &next[1..] {
                    frame.extend([*after, 0, 1, 4, 0, 0, 0, 0]);
                }
            }
            _ => panic!("two families in one packet"),
        }
        frame.extend(tcp);
        frame.resize(frame.len() + self.padding, 0);
        frame.truncate(self.keep.unwrap_or(usize::MAX));
        frame
    }
}

/// What, the frame, and what becomes of it when its source has sent nothing before.
pub type Case = (&'static str, Frame, Verdict);

/// All reasons but the rates, the missing settings and a full table.
pub fn table() -> Vec<Case> {
    use Verdict::*;
    let (v4, v6) = ("192.0.2.1", "2001:db8::1");
    vec![
        ("a SYN", Frame::syn(v4), PassConnect),
        ("a SYN over IPv6", Frame::syn(v6), PassConnect),
        ("a SYN with TCP options", Frame::syn(v4).header_words(10), PassConnect),
        ("a SYN padded to the least frame", Frame::syn(v4).padding(6), PassConnect),
        ("a SYN with ECN flags", Frame::syn(v4).flags(SYN | 0xc0), PassConnect),
        ("a SYN in one VLAN", Frame::syn(v4).tag(0x8100), PassConnect),
        ("a SYN in two VLANs", Frame::syn(v6).tag(0x88a8).tag(0x8100), PassConnect),
        ("a SYN behind IP options", Frame::syn(v4).options(10), PassConnect),
        ("a SYN behind extension headers", Frame::syn(v6).extension(0).extension(60), PassConnect),
        ("a SYN to a wildcard listener", Frame::syn(v4).to("10.9.0.77", WILDCARD_PORT), PassConnect),
        ("the answer to pf's own SYN", Frame::syn(v4).flags(SYN | ACK), PassSegment),
        ("octets", Frame::data(v4), PassSegment),
        ("octets over IPv6", Frame::data(v6), PassSegment),
        ("the end", Frame::data(v4).flags(FIN | ACK), PassSegment),
        ("a reset", Frame::syn(v4).flags(RST), PassSegment),
        ("a length above 65,535, told as 0", Frame::data(v4).total(0), PassSegment),
        ("another port", Frame::syn(v4).to("10.9.0.1", 5060), PassOtherPort),
        ("another address", Frame::syn(v4).to("10.9.0.2", PORT), PassOtherPort),
        ("another address over IPv6", Frame::syn(v6).to("fd09::2", PORT), PassOtherPort),
        ("an IPv4 wildcard is none of IPv6", Frame::syn(v6).to("fd09::1", WILDCARD_PORT), PassOtherPort),
        ("nonsense for another port", Frame::syn(v4).flags(SYN | FIN).to("10.9.0.1", 80), PassOtherPort),
        ("UDP with the same port", Frame::syn(v4).protocol(17), PassNotTcp),
        ("ICMPv6", Frame::syn(v6).protocol(58), PassNotTcp),
        ("UDP behind an extension header", Frame::syn(v6).protocol(17).extension(60), PassNotTcp),
        ("ARP", Frame::syn(v4).ethertype(0x0806), PassNotIp),
        ("three VLAN tags", Frame::syn(v4).tag(0x88a8).tag(0x8100).tag(0x8100), PassNotIp),
        ("IPv6 that says it is IPv4", Frame::syn(v6).ethertype(0x0800), PassNotIp),
        ("IPv4 that says it is IPv6", Frame::syn(v4).payload(40).ethertype(0x86dd), PassNotIp),
        ("a first fragment", Frame::syn(v4).fragment(0x2000), PassFragment),
        ("a later fragment", Frame::data(v4).fragment(0x00b9), PassFragment),
        ("do not fragment is no fragment", Frame::data(v4).fragment(0x4000), PassSegment),
        ("a fragment of IPv6", Frame::data(v6).extension(44), PassFragment),
        (
            "five extension headers",
            Frame::syn(v6).extension(0).extension(60).extension(43).extension(60).extension(60),
            PassExtensions,
        ),
        ("IPsec", Frame::syn(v6).extension(51), PassExtensions),
        ("Ethernet alone", Frame::syn(v4).keep(14), PassTruncated),
        ("half an IP header", Frame::syn(v4).keep(30), PassTruncated),
        ("half an IPv6 header", Frame::syn(v6).keep(40), PassTruncated),
        ("no ports", Frame::syn(v4).keep(36), PassTruncated),
        ("no extension header", Frame::syn(v6).extension(0).keep(54), PassTruncated),
        ("half a TCP header", Frame::syn(v4).keep(44), DropMalformed),
        ("a TCP header of 16 octets", Frame::syn(v4).header_words(4), DropMalformed),
        ("a TCP header longer than the frame", Frame::syn(v4).header_words(8).keep(54), DropMalformed),
        ("a TCP header longer than the datagram", Frame::syn(v6).header_words(8).total(24), DropMalformed),
        ("no flags", Frame::syn(v4).flags(0), DropNoFlags),
        ("FIN alone", Frame::syn(v6).flags(FIN), DropNoFlags),
        ("URG and PSH alone", Frame::data(v4).flags(0x28), DropNoFlags),
        ("SYN and FIN", Frame::syn(v4).flags(SYN | FIN), DropSynFlags),
        ("SYN and RST", Frame::syn(v6).flags(SYN | RST | ACK), DropSynFlags),
        ("all flags", Frame::syn(v4).flags(0xff), DropSynFlags),
        ("a SYN with payload", Frame::syn(v4).payload(1), DropSynPayload),
        ("a SYN with payload over IPv6", Frame::syn(v6).payload(100), DropSynPayload),
        ("a SYN with ACK and payload", Frame::syn(v4).flags(SYN | ACK).payload(9), DropSynPayload),
    ]
}
