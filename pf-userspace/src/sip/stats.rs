//! Counters of the SIP shell.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The live counters.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Count,)*
        }

        /// What the SIP shell has counted since its start, and what it holds now.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
        pub struct SipStats {
            $($(#[$doc])* pub $name: u64,)*
            /// Server transactions now.
            pub server_transactions: u64,
            /// Client transactions now.
            pub client_transactions: u64,
            /// Stream connections now.
            pub connections: u64,
            /// Events that wait for the core now.
            pub events_waiting: u64,
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> SipStats {
                SipStats { $($name: self.$name.get(),)* ..SipStats::default() }
            }
        }
    };
}

counters! {
    /// Requests received, retransmissions included.
    requests_in,
    /// Responses received, retransmissions included.
    responses_in,
    /// Messages sent, retransmissions included.
    messages_out,
    /// Messages sent again because of a timer or a retransmission received.
    retransmissions_out,
    /// Requests and responses received again and absorbed.
    retransmissions_in,
    /// Messages that could not be worked with.
    malformed,
    /// Requests answered 503 for want of room.
    overloaded,
    /// Responses that belong to no transaction.
    stray_responses,
    /// Responses of the core that came too late for their transaction.
    late_responses,
    /// Client transactions that ended by timer B or F.
    timeouts,
    /// Client transactions that nothing could be sent for.
    unreachable,
    /// 2xx of ours that were never acknowledged.
    acks_missing,
    /// Requests that the core did not answer in time.
    unanswered,
    /// Messages that the socket did not take.
    send_errors,
    /// Connections closed because the peer did not read.
    slow_peers,
    /// Connections closed because of broken framing or an incomplete message.
    broken_peers,
    /// Connections refused because there were too many.
    connections_refused,
}

/// One counter.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
