//! Why a message comes to userspace although there is an in-kernel path.

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident => $text:literal,)+) => {
        /// Why a stream, or a connection at a moment, is not passed by. Operators see the names.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Why {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)+
        }

        impl Why {
            /// All of them.
            pub const ALL: &[Why] = &[$(Why::$variant,)+];

            /// The name that an operator sees.
            pub const fn name(self) -> &'static str {
                match self { $(Why::$variant => $text,)+ }
            }

            /// The index of its counter.
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

reasons! {
    /// The first messages of a session: nobody knows yet how its peers write.
    #[default]
    New => "new",
    /// A primary leg is not there, or its connection is not.
    LegsMissing => "legs-missing",
    /// A device is invited and not up yet: messages are kept for it.
    LateDevices => "late-devices",
    /// A connection carries several sessions.
    SharedConnection => "shared-connection",
    /// A device does not accept every type.
    Types => "types",
    /// MSRP over TLS.
    Tls => "tls",
    /// Some legs use IPv4, others IPv6.
    Families => "address-families",
    /// More legs than the programs serve.
    ManyLegs => "many-legs",
    /// Path lines that are too long, or differ between requests and responses.
    Paths => "paths",
    /// Policy forbids what the programs would do.
    Policy => "policy",
    /// A frame is only half read, or stands behind another one.
    HalfRead => "half-read",
    /// The connection waits: for a leg, for its turn, or it has ended.
    Paused => "paused",
    /// A message comes in several chunks.
    Chunked => "chunked",
    /// An answer is awaited that the programs would send elsewhere.
    Answers => "answers-awaited",
    /// The primary leg takes nothing more at present.
    Congested => "congested",
    /// The kernel socket still has octets in flight, or has not spoken yet.
    Settling => "settling",
    /// It left the fast path too often lately.
    Backoff => "backoff",
    /// The tables of the programs are full.
    TableFull => "table-full",
    /// The connection has TCP options or addresses that the programs do not serve.
    Connection => "connection",
    /// The programs saw something other than one whole message of the simple kind in a packet.
    Content => "content",
    /// The peer writes several messages at once, or in parts: cheaper in userspace.
    Pipelined => "pipelined",
    /// The log for what is not acknowledged was full.
    LogFull => "log-full",
    /// Packets came out of order, again, or at the same time.
    Disorder => "disorder",
    /// The programs carried it, but not to every leg: userspace gave it to the others.
    LegMissed => "leg-missed",
    /// The other side of the connection closes it.
    Closing => "closing",
    /// The session is recorded, and the store cannot follow.
    Store => "store",
    /// Another leg or the relay itself asked for it.
    Requested => "requested",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_dense_and_names_those_of_json() {
        for (at, why) in Why::ALL.iter().enumerate() {
            assert_eq!(why.index(), at);
            assert_eq!(serde_json::to_value(why).unwrap(), why.name());
        }
    }
}
