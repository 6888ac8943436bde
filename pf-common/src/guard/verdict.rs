//! Every outcome a packet can have.

counted! {
    /// What becomes of a packet, and why. The program counts each; the operator reads the counters by these names.
    Verdict {
        /// A segment for a guarded port, within the limits of its source.
        PassSegment => "pass-segment",
        /// A SYN for a guarded port, within the limits of its source.
        PassConnect => "pass-connect",
        /// A segment for a guarded port whose source found no room in the table.
        PassUntracked => "pass-untracked",
        /// TCP for another port or another address.
        PassOtherPort => "pass-other-port",
        /// IP, but not TCP. The same number of another protocol is another port, perhaps somebody else's.
        PassNotTcp => "pass-not-tcp",
        /// Neither IPv4 nor IPv6.
        PassNotIp => "pass-not-ip",
        /// A part of a datagram: the ports stand in the first one only.
        PassFragment => "pass-fragment",
        /// More IPv6 extension headers than the program walks, or unknown ones.
        PassExtensions => "pass-extensions",
        /// It ends before the ports.
        PassTruncated => "pass-truncated",
        /// The program has no settings, or settings of another build.
        PassNotSet => "pass-not-set",
        /// The TCP header is shorter than the least one, or does not fit into the packet.
        DropMalformed => "drop-malformed",
        /// None of ACK, SYN and RST: no state of TCP accepts it (RFC 9293, 3.10.7).
        DropNoFlags => "drop-no-flags",
        /// SYN together with FIN or RST.
        DropSynFlags => "drop-syn-flags",
        /// A SYN with payload: only a client of TCP Fast Open sends that (RFC 7413), and the relay does not offer it.
        DropSynPayload => "drop-syn-payload",
        /// More connections in a second than its source may open.
        DropConnectRate => "drop-connect-rate",
        /// More packets in a second than its source may send.
        DropPacketRate => "drop-packet-rate",
    }
}

impl Verdict {
    /// Whether the packet goes on to the host.
    #[inline(always)]
    pub const fn passes(self) -> bool {
        match self {
            Verdict::PassSegment
            | Verdict::PassConnect
            | Verdict::PassUntracked
            | Verdict::PassOtherPort
            | Verdict::PassNotTcp
            | Verdict::PassNotIp
            | Verdict::PassFragment
            | Verdict::PassExtensions
            | Verdict::PassTruncated
            | Verdict::PassNotSet => true,
            Verdict::DropMalformed
            | Verdict::DropNoFlags
            | Verdict::DropSynFlags
            | Verdict::DropSynPayload
            | Verdict::DropConnectRate
            | Verdict::DropPacketRate => false,
        }
    }
}
