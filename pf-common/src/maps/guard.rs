//! The maps of the guard.

use crate::guard::Rate;

use super::SCHEMA;

/// The most addresses that can be guarded.
pub const MAX_LISTEN: u32 = 256;

/// Sources in the table where nobody said how many.
pub const DEFAULT_SOURCES: u32 = 65_536;

/// An address family in a key.
const V4: u8 = 4;
const V6: u8 = 6;

/// Who sends: an IPv4 address, or the first 64 bits of an IPv6 address, for whoever has one of those has all.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceKey {
    /// 4 or 6.
    pub family: u8,
    /// Zero: keys are compared octet by octet.
    pub zero: [u8; 7],
    /// The address (4 octets, then zeros) or the prefix (8 octets).
    pub prefix: [u8; 8],
}

impl SourceKey {
    /// An IPv4 source.
    #[inline(always)]
    pub const fn v4(a: [u8; 4]) -> SourceKey {
        SourceKey { family: V4, zero: [0; 7], prefix: [a[0], a[1], a[2], a[3], 0, 0, 0, 0] }
    }

    /// An IPv6 source by the first half of its address.
    #[inline(always)]
    pub const fn v6(prefix: [u8; 8]) -> SourceKey {
        SourceKey { family: V6, zero: [0; 7], prefix }
    }
}

/// A guarded address and port.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenKey {
    /// 4 or 6.
    pub family: u8,
    /// Zero: keys are compared octet by octet.
    pub zero: u8,
    /// TCP port.
    pub port: [u8; 2],
    /// The address: 4 octets and zeros, or 16 octets. All zeros: any address of the family.
    pub address: [u8; 16],
}

impl ListenKey {
    /// An IPv4 address and port.
    #[inline(always)]
    pub const fn v4(a: [u8; 4], port: [u8; 2]) -> ListenKey {
        let address = [a[0], a[1], a[2], a[3], 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        ListenKey { family: V4, zero: 0, port, address }
    }

    /// An IPv6 address and port.
    #[inline(always)]
    pub const fn v6(address: [u8; 16], port: [u8; 2]) -> ListenKey {
        ListenKey { family: V6, zero: 0, port, address }
    }

    /// The same port of any address of the family.
    #[inline(always)]
    pub const fn any(&self) -> ListenKey {
        ListenKey { family: self.family, zero: 0, port: self.port, address: [0; 16] }
    }
}

/// What is known of a source.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceState {
    /// Bucket of connections ([`Rate`]), by the kernel's monotonic clock.
    pub connections_full_at: u64,
    /// Bucket of packets.
    pub packets_full_at: u64,
    /// Packets that passed.
    pub passed: u64,
    /// SYNs dropped for the rate of connections.
    pub dropped_connections: u64,
    /// Packets dropped for the rate of packets.
    pub dropped_packets: u64,
}

/// What the guard allows.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardSettings {
    /// [`SCHEMA`] of whoever wrote this.
    pub schema: u32,
    /// Zero.
    pub zero: u32,
    /// New connections of one source.
    pub connections: Rate,
    /// Packets of one source.
    pub packets: Rate,
}

impl GuardSettings {
    /// Settings of this version with limits a second.
    pub const fn new(connections_per_second: u32, packets_per_second: u32) -> GuardSettings {
        GuardSettings {
            schema: SCHEMA,
            zero: 0,
            connections: Rate::per_second(connections_per_second),
            packets: Rate::per_second(packets_per_second),
        }
    }
}

// The sum of the fields is the size: no padding.
const _: () = assert!(size_of::<SourceKey>() == 1 + 7 + 8 && align_of::<SourceKey>() == 1);
const _: () = assert!(size_of::<ListenKey>() == 1 + 1 + 2 + 16 && align_of::<ListenKey>() == 1);
const _: () = assert!(size_of::<SourceState>() == 5 * 8);
const _: () = assert!(size_of::<Rate>() == 2 * 8);
const _: () = assert!(size_of::<GuardSettings>() == 4 + 4 + 2 * 16);
