//! Every outcome a packet can have and every cause for leaving the fast path. The programs count one of each per
//! packet or change; operators read these counters, so each has a fixed name and each `match` names all variants.

counted! {
    /// What becomes of a packet that came from the peer.
    PeerVerdict {
        /// Octets claimed for the legs: logged, never shown to the kernel socket.
        Consume => "consume",
        /// Octets for the kernel socket, the source being slow already.
        PassSlow => "pass-slow",
        /// Octets for the kernel socket; with this packet the source left the fast path.
        PassLeft => "pass-left",
        /// Octets the kernel socket was given before; it answers with the ACK the peer missed.
        PassRepeat => "pass-repeat",
        /// No octets: an ACK the kernel needs, a probe, a reset.
        PassControl => "pass-control",
        /// An ACK for injected octets only.
        AbsorbAck => "absorb-ack",
        /// A repetition of consumed octets: the answer is an ACK.
        DropRepeat => "drop-repeat",
        /// Acknowledges what nobody sent (RFC 9293, 3.10.7.4).
        DropBadAck => "drop-bad-ack",
    }
}

counted! {
    /// What becomes of a packet that the kernel socket sends.
    KernelVerdict {
        /// Octets, sent with translated positions.
        Send => "send",
        /// No octets: an ACK or a probe, sent with translated positions.
        SendControl => "send-control",
        /// A reset; the connection takes part no longer.
        SendReset => "send-reset",
        /// Octets the peer has acknowledged at positions that now belong to others: sent without them, as a probe
        /// whose answer tells the kernel socket.
        Probe => "probe",
        /// Octets from both sides of a boundary with unacknowledged injected octets inside: not sent.
        DropAcross => "drop-across",
    }
}

counted! {
    /// Why a message, a source or a leg does not take the fast path.
    Cause {
        /// Nothing is in the way.
        Clear => "clear",
        /// Userspace asked.
        Requested => "requested",
        /// The source is slow already.
        SourceSlow => "source-slow",
        /// Flags beyond ACK and PSH.
        Flags => "flags",
        /// FIN: the peer has no more octets.
        Fin => "fin",
        /// Begins before the next expected octet and ends after it.
        Overlap => "overlap",
        /// Begins after the next expected octet.
        OutOfOrder => "out-of-order",
        /// Not exactly one whole message that the programs may carry.
        Content => "content",
        /// No room in the log.
        LogFull => "log-full",
        /// The packet before it is still being worked on.
        InWork => "in-work",
        /// The leg is not fast.
        LegSlow => "leg-slow",
        /// Longer than the leg's MSS after rewriting.
        LegTooLong => "leg-too-long",
        /// Too many octets unacknowledged on the leg.
        LegCap => "leg-cap",
        /// The leg's peer offers too small a window.
        LegWindow => "leg-window",
        /// The leg's journal is full.
        LegJournal => "leg-journal",
        /// The copy for the leg could not be sent.
        CloneFailed => "clone-failed",
        /// Three duplicate ACKs: injected octets were lost.
        Lost => "lost",
        /// Injected octets unacknowledged for too long.
        Stalled => "stalled",
        /// The kernel socket sent octets of its own while the leg was fast (its owner died, or broke the rules).
        KernelSpoke => "kernel-spoke",
        /// The connection is closing or closed.
        Closed => "closed",
    }
}

counted! {
    /// The answer to a request to take the fast path.
    Arm {
        /// Done.
        Armed => "armed",
        /// It is fast already, or on its way out of it.
        NotSlow => "not-slow",
        /// Userspace has not parsed all the octets that the source's kernel socket was given, or has not written
        /// all it owes to the leg (the positions differ).
        Behind => "behind",
        /// The source's kernel socket was given octets from beyond a gap.
        Gap => "gap",
        /// Messages missed the leg that userspace has not written yet.
        MissesOpen => "misses-open",
        /// A packet of the source is being worked on.
        Busy => "busy",
        /// The connection is closing or closed.
        Shut => "shut",
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn names_are_unique_and_counters_dense() {
        fn check(names: &[(usize, &'static str)]) {
            for (at, (index, name)) in names.iter().enumerate() {
                assert_eq!(at, *index);
                assert!(names[..at].iter().all(|(_, other)| other != name), "{name} twice");
            }
        }
        check(&PeerVerdict::ALL.iter().map(|v| (v.index(), v.name())).collect::<std::vec::Vec<_>>());
        check(&KernelVerdict::ALL.iter().map(|v| (v.index(), v.name())).collect::<std::vec::Vec<_>>());
        check(&Cause::ALL.iter().map(|v| (v.index(), v.name())).collect::<std::vec::Vec<_>>());
        check(&Arm::ALL.iter().map(|v| (v.index(), v.name())).collect::<std::vec::Vec<_>>());
    }
}
