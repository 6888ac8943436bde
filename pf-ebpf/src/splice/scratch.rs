//! A processor's working memory: what does not fit on the stack, and what the verifier shall forget.
//!
//! Nothing else runs on the processor between entry and exit but the egress program for packets that we send ourselves,
//! and that one leaves them alone before it looks here.

use pf_common::{
    frame::{Frame, HEAD},
    maps::Link,
    splice::{FromPeer, Header, Segment},
    whole::Scan,
};

use super::{
    maps::SCRATCH,
    packet::{Packet, RAW},
};

/// Octets of the payload that can be read at any place, and zeros or old octets behind them.
pub const PAYLOAD: usize = 5120;

/// A place in a payload is kept below this by a mask.
pub const PLACES: u32 = 2047;

/// Room for a start line, in words.
pub const START: usize = 64;

/// What the packet is about, and how far it is done.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Work {
    /// A `Content` by its index.
    pub content: u32,
    /// The leg it came on.
    pub leg: u32,
    /// The connection it came on.
    pub connection: u32,
    /// The generation of that connection.
    pub generation: u32,
    /// Octets of the payload.
    pub len: u32,
    /// Octets of the transaction id.
    pub tid_len: u32,
    /// Octets of the start line.
    pub start_len: u32,
    /// Where the octets behind the path block begin.
    pub rest_at: u32,
    /// How many they are.
    pub rest_len: u32,
    /// 1 if the interface will cut the packet into segments: only the ends of the message are in working memory.
    pub long: u32,
    /// Octets of the longest segment of a copy.
    pub segment: u32,
    /// Where the body of a long message begins and ends.
    pub body: (u32, u32),
    /// How many messages the payload is.
    pub messages: u32,
    /// Who gets a copy: how many.
    pub targets: u32,
    /// Bit n: target n got no copy.
    pub missed: u32,
    /// 1 if the packet itself is needed after the copies.
    pub keep: u32,
    /// The interface that the packet itself shall leave by, as the last copy; 0: none.
    pub redirect: u32,
    /// Where the payload begins in the packet as it is now.
    pub now_payload: u32,
    /// Octets of the path block in the packet as it is now.
    pub now_block: u32,
    /// 1 if the device makes the checksum.
    pub device: u32,
    /// The sum of the start line, unless the device makes it.
    pub start_sum: u32,
    /// The sum of the octets behind the path block, unless the device makes it.
    pub rest_sum: u32,
    /// 1 if userspace must give back room in the log soon.
    pub urgent: u32,
    /// 1 if a leg was lost to the fast path, so that userspace must be woken.
    pub left: u32,
    /// Why.
    pub left_cause: u32,
    /// Which connection.
    pub left_connection: u32,
    /// Milliseconds of the monotonic clock.
    pub now: u32,
}

/// The memory.
#[repr(C)]
pub struct Scratch {
    pub payload: [u8; PAYLOAD],
    pub start: [u8; START],
    pub head: [u8; HEAD],
    pub options: [u8; 40],
    pub scan: Scan,
    pub work: Work,
    pub raw: [u8; RAW],
    pub packet: Packet,
    pub segment: Segment,
    pub out: FromPeer,
    /// Not 0 if what the other side sends stands elsewhere for the kernel socket than on the wire.
    pub moved: u32,
    /// The timestamp that a packet of the kernel socket shall echo.
    pub echo: u32,
    pub link: Link,
    pub header: Header,
    pub frame: Frame,
}

/// The memory of this processor.
#[inline(always)]
pub fn get() -> Option<&'static mut Scratch> {
    // SAFETY: a whole value; see above for why nobody else uses it.
    SCRATCH.get_ptr_mut(0).map(|scratch| unsafe { &mut *scratch })
}
