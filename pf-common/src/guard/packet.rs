//! From the octets of a frame to a TCP segment, and what is wrong with it.

use super::Verdict;
use crate::{
    maps::{ListenKey, SourceKey},
    splice::flags,
};

/// VLAN tags that are looked through (IEEE 802.1Q and 802.1ad).
const TAGS: usize = 2;

/// IPv6 extension headers that are looked through. A plain stack sends none with TCP.
const EXTENSIONS: usize = 4;

const TCP: u8 = 6;

/// A frame, read with bounds.
pub trait Octets {
    /// The `N` octets from `at` on; nothing if the frame ends before.
    fn take<const N: usize>(&self, at: usize) -> Option<[u8; N]>;
}

impl Octets for [u8] {
    fn take<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.get(at..at.checked_add(N)?)?.try_into().ok()
    }
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Not a TCP segment that could be judged.
    Other(Verdict),
    /// A TCP segment.
    Tcp(Segment),
}

/// Where a TCP segment stands in its frame, and whom it is between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Who sent it.
    pub source: SourceKey,
    /// For whom it is.
    pub to: ListenKey,
    /// Where its header begins, in octets from the beginning of the frame.
    pub at: usize,
    /// Octets of header and payload as the IP header tells; 0 where that does not say (above 65,535).
    pub length: usize,
}

/// What a good segment wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To open a connection: SYN without ACK.
    Connect,
    /// Anything of an existing connection.
    Segment,
}

/// Reads an Ethernet frame up to the ports of TCP.
#[inline(always)]
pub fn read<P: Octets + ?Sized>(frame: &P) -> Found {
    let mut at = 12;
    let mut tags = 0;
    loop {
        let Some(ethertype) = frame.take::<2>(at) else { return Found::Other(Verdict::PassTruncated) };
        at += 2;
        match u16::from_be_bytes(ethertype) {
            0x0800 => return v4(frame, at),
            0x86dd => return v6(frame, at),
            0x8100 | 0x88a8 if tags < TAGS => {
                tags += 1;
                at += 2;
            }
            _ => return Found::Other(Verdict::PassNotIp),
        }
    }
}

#[inline(always)]
fn v4<P: Octets + ?Sized>(frame: &P, at: usize) -> Found {
    let Some(ip) = frame.take::<20>(at) else { return Found::Other(Verdict::PassTruncated) };
    let header = (ip[0] & 0x0f) as usize * 4;
    if ip[0] >> 4 != 4 || header < 20 {
        return Found::Other(Verdict::PassNotIp);
    }
    // More fragments, or an offset.
    if u16::from_be_bytes([ip[6], ip[7]]) & 0x3fff != 0 {
        return Found::Other(Verdict::PassFragment);
    }
    if ip[9] != TCP {
        return Found::Other(Verdict::PassNotTcp);
    }
    let at = at + header;
    let Some(ports) = frame.take::<4>(at) else { return Found::Other(Verdict::PassTruncated) };
    let total = u16::from_be_bytes([ip[2], ip[3]]) as usize;
    Found::Tcp(Segment {
        source: SourceKey::v4([ip[12], ip[13], ip[14], ip[15]]),
        to: ListenKey::v4([ip[16], ip[17], ip[18], ip[19]], [ports[2], ports[3]]),
        at,
        length: total.saturating_sub(header),
    })
}

#[inline(always)]
fn v6<P: Octets + ?Sized>(frame: &P, at: usize) -> Found {
    let Some(head) = frame.take::<8>(at) else { return Found::Other(Verdict::PassTruncated) };
    let Some(from) = frame.take::<8>(at + 8) else { return Found::Other(Verdict::PassTruncated) };
    let Some(to) = frame.take::<16>(at + 24) else { return Found::Other(Verdict::PassTruncated) };
    if head[0] >> 4 != 6 {
        return Found::Other(Verdict::PassNotIp);
    }
    let payload = u16::from_be_bytes([head[4], head[5]]) as usize;
    let mut next = head[6];
    let mut skipped = 0;
    let mut walked = 0;
    let at = at + 40;
    while next != TCP {
        match next {
            // Hop-by-hop options, routing, destination options (RFC 8200, section 4).
            0 | 43 | 60 if walked < EXTENSIONS => {}
            0 | 43 | 60 => return Found::Other(Verdict::PassExtensions),
            44 => return Found::Other(Verdict::PassFragment),
            // Authentication, encapsulation, mobility, host identity, shim: no client of ours sends them.
            50 | 51 | 135 | 139 | 140 => return Found::Other(Verdict::PassExtensions),
            _ => return Found::Other(Verdict::PassNotTcp),
        }
        let Some(extension) = frame.take::<2>(at + skipped) else {
            return Found::Other(Verdict::PassTruncated);
        };
        next = extension[0];
        skipped += (extension[1] as usize + 1) * 8;
        walked += 1;
    }
    let Some(ports) = frame.take::<4>(at + skipped) else { return Found::Other(Verdict::PassTruncated) };
    Found::Tcp(Segment {
        source: SourceKey::v6(from),
        to: ListenKey::v6(to, [ports[2], ports[3]]),
        at: at + skipped,
        length: payload.saturating_sub(skipped),
    })
}

/// Looks at the TCP header: what the segment wants, or why no TCP can have sent it.
#[inline(always)]
pub fn check<P: Octets + ?Sized>(frame: &P, segment: &Segment) -> Result<Kind, Verdict> {
    let Some(fixed) = frame.take::<20>(segment.at) else { return Err(Verdict::DropMalformed) };
    let header = (fixed[12] >> 4) as usize * 4;
    if header < 20
        || (segment.length != 0 && header > segment.length)
        || frame.take::<1>(segment.at + header - 1).is_none()
    {
        return Err(Verdict::DropMalformed);
    }
    let has = |mask: u8| fixed[13] & mask != 0;
    if !has(flags::SYN) {
        return if has(flags::ACK | flags::RST) { Ok(Kind::Segment) } else { Err(Verdict::DropNoFlags) };
    }
    if has(flags::FIN | flags::RST) {
        return Err(Verdict::DropSynFlags);
    }
    if segment.length > header {
        return Err(Verdict::DropSynPayload);
    }
    Ok(if has(flags::ACK) { Kind::Segment } else { Kind::Connect })
}
