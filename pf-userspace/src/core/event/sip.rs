//! Between the core and the SIP shell.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::core::sip::{Header, Request, Response};

/// A server transaction, named by the SIP shell. Unique over the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServerTx(pub u64);

/// A client transaction, named by the core. Unique over the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClientTx(pub u64);

/// A stream connection (TCP, TLS) of the SIP shell, as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FlowId(pub u64);

/// A SIP transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP (RFC 3261 section 18).
    Tcp,
    /// TLS over TCP.
    Tls,
    /// UDP.
    Udp,
}

/// Where a message came from: the socket's truth, never a header's claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Peer {
    /// The transport protocol it arrived on.
    pub transport: Transport,
    /// The remote socket address.
    pub addr: SocketAddr,
    /// Our socket address it arrived at (never a wildcard).
    pub local: SocketAddr,
    /// The connection, on stream transports.
    pub flow: Option<FlowId>,
}

/// Where a request goes: over `flow` while that lives, else to what `uri` resolves to (RFC 3263).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// A SIP URI: topmost Route, next-hop proxy, ISF or Request-URI.
    pub uri: String,
    /// The connection that the device registered over (RFC 5626), if any.
    pub flow: Option<FlowId>,
}

/// What the SIP shell reports.
#[derive(Clone, Debug)]
pub enum SipEvent {
    /// The ACK for a 2xx of ours. `tx` is the INVITE it acknowledges where the shell still knows it.
    Ack {
        /// The INVITE's server transaction.
        tx: Option<ServerTx>,
        /// Where it came from.
        from: Peer,
        /// The ACK itself (its body may be the SDP answer).
        request: Request,
    },
    /// A 2xx of ours was never acknowledged for 64*T1 (RFC 3261 section 13.3.1.4).
    AckMissing {
        /// The INVITE's server transaction.
        tx: ServerTx,
    },
    /// A CANCEL for a pending INVITE. The shell has answered the CANCEL itself with 200; the INVITE
    /// still waits for its 487.
    Cancelled {
        /// The INVITE's server transaction.
        tx: ServerTx,
        /// The CANCEL, for its Reason.
        request: Request,
    },
    /// A stream connection is gone.
    FlowClosed {
        /// Which.
        flow: FlowId,
    },
    /// A new request other than ACK and CANCEL; it waits for [`SipCommand::Respond`].
    Request {
        /// Its server transaction.
        tx: ServerTx,
        /// Where it came from.
        from: Peer,
        /// The request.
        request: Request,
    },
    /// A response, provisional or final. Retransmitted 2xx are answered by the shell and not reported again;
    /// a 2xx with another To tag (fork) is.
    Response {
        /// The client transaction.
        tx: ClientTx,
        /// Where it came from.
        from: Peer,
        /// The response.
        response: Response,
    },
    /// No final response will come: timer B or F fired, or nothing could be sent.
    Unanswered {
        /// The client transaction.
        tx: ClientTx,
        /// Why.
        reason: NoAnswer,
    },
}

/// Why a client transaction ends without a final response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// Timer B or F: treat as 408 (RFC 3261 section 8.1.3.1).
    TimedOut,
    /// The transport failed or nothing resolved: treat as 503.
    Unreachable(String),
}

/// What the SIP shell shall do.
#[derive(Clone, Debug)]
pub enum SipCommand {
    /// Acknowledge the 2xx of `tx` with this ACK (no Via: the shell adds it), and again for every
    /// retransmission of that 2xx.
    Ack {
        /// The INVITE's client transaction.
        tx: ClientTx,
        /// The ACK.
        request: Request,
        /// Where to.
        hop: Hop,
    },
    /// Cancel the pending INVITE `tx`. The shell waits for a provisional response first (RFC 3261 section 9.1).
    Cancel {
        /// The INVITE's client transaction.
        tx: ClientTx,
        /// Value of the Reason header to send, if any.
        reason: Option<String>,
    },
    /// As a proxy, pass a message on (RFC 3261 section 16).
    Forward(Forward),
    /// Send a request in a new client transaction. No Via: the shell adds it.
    Request {
        /// Its name, chosen by the core.
        tx: ClientTx,
        /// The request.
        request: Request,
        /// Where to.
        hop: Hop,
    },
    /// Answer a request. The response is complete but for Via, From, Call-ID and CSeq, which the shell
    /// copies from the request, and To, which it copies where the response has none.
    Respond {
        /// The server transaction.
        tx: ServerTx,
        /// The response.
        response: Response,
    },
}

/// What a proxy passes on: the message as it stands, its Vias included.
#[derive(Clone, Debug)]
pub enum Forward {
    /// The ACK for a 2xx: it has no transaction, and goes out once each time it comes in.
    Ack {
        /// The ACK; the shell adds our Via on top.
        request: Request,
        /// Where to.
        hop: Hop,
        /// What our Via's branch ends with: by it a loop is known.
        mark: String,
    },
    /// A request in a new client transaction. Every 2xx to an INVITE is reported, repeated ones too (RFC 6026
    /// section 7.2), and none is acknowledged.
    Request {
        /// Its name, chosen by the core.
        tx: ClientTx,
        /// The request; the shell adds our Via on top.
        request: Request,
        /// Where to.
        hop: Hop,
        /// As for the ACK.
        mark: String,
        /// Our Record-Routes, where they depend on how it goes.
        recorded: Option<Recorded>,
    },
    /// A response, our own Via taken off: nothing is added to it, and a 2xx to an INVITE is never sent again by the
    /// shell (RFC 6026 section 7.1).
    Response {
        /// The server transaction.
        tx: ServerTx,
        /// The response.
        response: Response,
    },
}

/// Record-Routes for a request whose hop names UDP: for its size it may go over TCP all the same (RFC 3261 section
/// 18.1.1), and then who gets it shall find us there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// How many Record-Route fields of the request, from the top, are ours and name UDP's way.
    pub ours: usize,
    /// The values in their place where it goes over a connection.
    pub over_stream: Vec<String>,
}

impl Recorded {
    /// Puts those in their place.
    pub fn switch(&self, request: &mut Request) {
        let headers = &mut request.headers.0;
        let Some(at) = headers.iter().position(|header| header.is("Record-Route")) else { return };
        let end = at.saturating_add(self.ours).min(headers.len());
        let name = || "Record-Route".to_owned();
        let fields = self.over_stream.iter().map(|value| Header { name: name(), value: value.clone() });
        headers.splice(at..end, fields);
    }
}
