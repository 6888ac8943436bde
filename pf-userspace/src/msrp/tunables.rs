//! What can be changed of the in-kernel path while it runs.

use serde::{Deserialize, Serialize};

/// Bounds and habits of the in-kernel path. A change counts from the next message on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tunables {
    /// Segments (of a peer's MSS) in flight on a leg: a message above that misses the leg.
    pub in_flight_segments: u32,
    /// The most copies of one message, far end and devices: streams with more legs are userspace's.
    pub fan_out: u32,
    /// A stream takes the fast path when a peer has sent so many messages one by one.
    pub single_messages: u32,
    /// Octets: a source that leaves the fast path after fewer waits before it is armed again.
    pub backoff_octets: u32,
    /// Milliseconds: the first such wait; it doubles.
    pub backoff_ms: u32,
    /// Milliseconds: the longest.
    pub backoff_max_ms: u32,
}

impl Default for Tunables {
    fn default() -> Tunables {
        Tunables {
            in_flight_segments: pf_common::splice::CAP_SEGMENTS,
            fan_out: 15,
            single_messages: 2,
            // About four short messages.
            backoff_octets: 1500,
            backoff_ms: 4,
            backoff_max_ms: 2000,
        }
    }
}

// A stream has an originator beside those who get copies.
const _: () = assert!(pf_common::splice::MAX_LEGS == 16);
