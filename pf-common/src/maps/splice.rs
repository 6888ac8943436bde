//! The maps of the datapath (`docs/datapath.md`): flows, connections, legs, and the log.

use crate::splice::{Connection, MAX_LEGS};

/// Whose packets the programs touch: both ends of a TCP connection, seen from this host.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// 4 or 6.
    pub family: u8,
    /// Zero: keys are compared octet by octet.
    pub zero: [u8; 3],
    /// Our TCP port.
    pub local_port: [u8; 2],
    /// The peer's TCP port.
    pub remote_port: [u8; 2],
    /// Our address: 4 octets and zeros, or 16 octets.
    pub local: [u8; 16],
    /// The peer's address.
    pub remote: [u8; 16],
}

/// What is found under a [`FlowKey`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The connection's number, its place in the array of [`Slot`]s.
    pub connection: u32,
    /// Where our session-id begins in the path block of any leg of this connection: behind the `/` of the first URI.
    pub session_at: u32,
}

/// The kernel's lock. It finds it in a map's value by the name of its type.
#[allow(non_camel_case_types, reason = "the kernel looks for this name")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct bpf_spin_lock {
    value: u32,
}

/// The peer sends, and gets, timestamps (RFC 7323).
pub const LINK_STAMPS: u8 = 1;

/// How packets for the peer look beneath the stream: learned from those of the kernel socket.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// The flow.
    pub key: FlowKey,
    /// [`LINK_STAMPS`].
    pub options: u8,
    /// The window we offer is told in units of 2 to this power.
    pub our_scale: u8,
    /// The window that the peer offers is told in units of 2 to this power.
    pub peer_scale: u8,
    /// 1 once a packet of the kernel socket was seen.
    pub out: u8,
    /// 1 once a packet of the peer was seen.
    pub back: u8,
    /// Time to live, or hop limit.
    pub hops: u8,
    /// Zero.
    pub zero: [u8; 2],
    /// The first four octets of an IPv6 header, or the second of an IPv4 header and zeros; ECN bits cleared.
    pub class: [u8; 4],
    /// Both MAC addresses, the peer's first.
    pub ethernet: [u8; 12],
    /// The interface that the kernel socket's packets leave by.
    pub interface: u32,
    /// Timestamp = this + monotonic milliseconds.
    pub stamp_offset: u32,
    /// The peer's latest timestamp.
    pub stamp_recent: u32,
}

/// What was done on a connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// Messages that were consumed from the peer.
    pub consumed: u64,
    /// Their octets.
    pub consumed_octets: u64,
    /// Messages injected towards the peer.
    pub injected: u64,
    /// Their octets.
    pub injected_octets: u64,
}

/// A connection. The lock guards everything in it, userspace's copies included.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// The lock.
    pub lock: bpf_spin_lock,
    /// Changes with every connection that has this number; 0: nobody has it.
    pub generation: u32,
    /// What was done.
    pub counts: ConnectionCounts,
    /// Beneath the stream.
    pub link: Link,
    /// 1 once userspace has given the connection up: its kernel socket goes through its last states. A SYN ends that.
    pub closing: u32,
    /// Zero.
    pub zero: u32,
    /// The stream: the state machine.
    pub connection: Connection,
}

/// The longest path block: `To-Path: ..CRLF` and `From-Path: ..CRLF`. A multiple of 8.
pub const BLOCK_MAX: usize = 384;

/// The shortest session-id that a leg can have: its first octets are the key.
pub const SESSION_MIN: usize = 16;

/// Responses to what was sent on this leg are forwarded to `answer_to`; without it they are absorbed.
pub const LEG_ANSWERS: u32 = 1;

/// The messages that this leg may send are not restricted to `message/cpim`.
pub const LEG_ANY_TYPE: u32 = 2;

/// Messages longer than a segment may go to the targets: their path blocks are as long as that of this leg, so that the
/// packet of such a message keeps its length.
pub const LEG_LONG: u32 = 4;

/// One MSRP leg: a session on its connection.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LegEntry {
    /// Its connection.
    pub connection: u32,
    /// The [`Slot::generation`] it belongs to.
    pub generation: u32,
    /// Octets of `in_block`.
    pub in_block_len: u32,
    /// Octets of `out_block`.
    pub out_block_len: u32,
    /// [`LEG_ANSWERS`], [`LEG_ANY_TYPE`], [`LEG_LONG`].
    pub flags: u32,
    /// The leg that gets the responses of this one.
    pub answer_to: u32,
    /// How many legs get the messages of this one; with none, its messages are userspace's.
    pub targets: u32,
    /// Internet checksum (RFC 1071) of `in_block`, not complemented, as a word of this machine's memory.
    pub in_sum: u32,
    /// The same of `out_block`.
    pub out_sum: u32,
    /// Zero.
    pub zero: u32,
    /// Their numbers; bit n of a mask of missed legs is `target[n]`.
    pub target: [u32; MAX_LEGS],
    /// The path block of what this peer writes: our path, then its own. Zeros behind it.
    pub in_block: [u8; BLOCK_MAX],
    /// The path block of what is written to this peer: its path, then ours.
    pub out_block: [u8; BLOCK_MAX],
}

/// How a message finds its leg: connection and session-id.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// The connection it came on.
    pub connection: u32,
    /// The first [`SESSION_MIN`] octets of our session-id.
    pub session: [u8; SESSION_MIN],
}

/// What a record of the log is. A number in [`LogHeader::kind`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// A SEND, with the message.
    Send = 1,
    /// A `200 OK` that was forwarded, with the message.
    Response = 2,
    /// A leg left the fast path (`cause` says why, `connection` which); no message. `connection` `u32::MAX`: only to wake.
    Notice = 3,
}

/// What stands before each message in the log.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogHeader {
    /// A [`RecordKind`].
    pub kind: u32,
    /// The connection it came on.
    pub connection: u32,
    /// The leg it came on.
    pub leg: u32,
    /// Wire position of its first octet on that connection.
    pub position: u32,
    /// Octets of the message.
    pub len: u32,
    /// The legs that missed it: bit n is `target[n]` of the leg's entry; bit 0 of a response is `answer_to`.
    pub missed: u32,
    /// Octets of its transaction id, which begins at octet 5.
    pub tid_len: u16,
    /// Zero.
    pub flags: u16,
    /// A [`Cause`](crate::splice::Cause) by its index.
    pub cause: u32,
}

/// Octets of a [`LogHeader`].
pub const LOG_HEADER: usize = size_of::<LogHeader>();

// The sum of the fields is the size: no padding.
const _: () = assert!(size_of::<FlowKey>() == 1 + 3 + 2 + 2 + 16 + 16 && align_of::<FlowKey>() == 1);
const _: () = assert!(size_of::<Flow>() == 2 * 4);
const _: () = assert!(size_of::<Link>() == 40 + 8 + 4 + 12 + 3 * 4);
const _: () = assert!(size_of::<LegEntry>() == 10 * 4 + MAX_LEGS * 4 + 2 * BLOCK_MAX);
const _: () = assert!(size_of::<SessionKey>() == 4 + 16 && align_of::<SessionKey>() == 4);
const _: () = assert!(size_of::<LogHeader>() == 32);
const _: () = assert!(size_of::<Slot>() == 8 + 32 + 76 + 2 * 4 + size_of::<Connection>());
