//! What the payload of a packet is.

counted! {
    /// What the parser makes of the payload of a packet. Only the first three are for the programs.
    Content {
        /// A whole SEND for the legs.
        Send => "send",
        /// A whole `200 OK` for the leg that sent the request.
        Answer => "answer",
        /// One or more whole `200 OK`s for nobody but us.
        Absorb => "absorb",
        /// Longer than the programs carry, or than they can carry in a packet like this one, or to these legs.
        Long => "long",
        /// Shorter than any message.
        Short => "short",
        /// It does not begin with a start line of MSRP, or not with a good transaction id.
        NoStart => "no-start",
        /// Neither `SEND` nor `200 OK`.
        Method => "method",
        /// No session of this connection has this id.
        NoSession => "no-session",
        /// The path block is not the one that was registered.
        Path => "path",
        /// The leg sends to nobody yet.
        NoTarget => "no-target",
        /// A header line that is none, or one the programs do not know the meaning of.
        Header => "header",
        /// The header does not end in this packet.
        NoBody => "no-body",
        /// Not exactly one `Byte-Range: 1-N/N` or `1-*/N`, N the length of the body and not 0.
        Range => "range",
        /// It asks for other reports of failure than by default.
        Report => "report",
        /// No Content-Type, or one that not every receiver takes.
        Type => "type",
        /// No end-line for the last chunk at the place that Byte-Range tells, or something behind it.
        End => "end",
        /// Dashes in the body that could be an end-line.
        Dashes => "dashes",
        /// A body that is somewhere else, or speaks of one (`message/external-body`): whether it has to be fetched is
        /// not for the programs to say.
        External => "external-body",
        /// The TCP checksum does not hold.
        Checksum => "checksum",
        /// The payload could not be read.
        Unread => "unread",
    }
}
