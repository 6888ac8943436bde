//! What goes into the core and what comes out of it: the one interface between procedures and sockets.

use std::{net::SocketAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    policy::retrieval::{Question, Retrieved},
    sip::{Header, Request, Response},
    store::{Order, Outcome, Place},
};

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

/// One input of the core.
#[derive(Clone, Debug)]
pub enum Event {
    /// From a media worker.
    Media(MediaEvent),
    /// From the XDMS: what a user wants.
    Preferences(Retrieved),
    /// From the SIP shell.
    Sip(SipEvent),
    /// From the message store: what became of an order.
    Store(Outcome),
    /// A deadline has come.
    Tick,
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

/// One output of the core.
#[derive(Clone, Debug)]
pub enum Command {
    /// For the media worker that owns the stream.
    Media(MediaCommand),
    /// For the XDMS; answered by [`Event::Preferences`].
    Preferences(Question),
    /// For the SIP shell.
    Sip(SipCommand),
    /// For the message store; answered by [`Event::Store`].
    Store(Order),
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

/// One MSRP m-line of one CPM session: the unit that a media worker owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StreamKey(pub u64);

/// One MSRP leg: one m-line of one dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LegKey(pub u64);

/// Whose leg it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LegRole {
    /// Another device of the user (legs B, C ...): gets copies, decides nothing.
    Device,
    /// The other CPM entity (leg F): its answer is what the sender gets.
    Far,
    /// The device that originated the session (leg A).
    Originator,
}

/// Who opens the TCP connection of a leg, from our side (RFC 4145, RFC 6135).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Setup {
    /// We connect, and send a SEND at once.
    Active,
    /// We wait.
    Passive,
}

/// What a media worker shall do.
#[derive(Clone, Debug)]
pub enum MediaCommand {
    /// What is said on this stream from now on is recorded (clause 8.5): each message once, as it was carried.
    BeginRecording {
        /// Which stream.
        stream: StreamKey,
        /// Where its messages belong.
        place: Arc<Place>,
        /// It is not known yet whether the user wants that: what is said is kept until
        /// [`MediaCommand::DecideRecording`], which comes in any case.
        undecided: bool,
    },
    /// The peer's side of a leg is known (SDP answer received or sent), or has changed (re-INVITE):
    /// connect or expect the connection.
    ConnectLeg {
        /// Which leg.
        leg: LegKey,
        /// The peer's side.
        remote: RemoteLeg,
    },
    /// Release a leg: its connection closes unless another leg uses it. Answered by [`MediaEvent::LegClosed`].
    CloseLeg {
        /// Which leg.
        leg: LegKey,
    },
    /// Release a stream with all its legs.
    CloseStream {
        /// Which stream.
        stream: StreamKey,
    },
    /// It is known whether the user wants an undecided stream recorded: what was kept goes to the store, and recording
    /// goes on; or it goes away, and nothing of this stream is recorded. The stream may have been released before.
    DecideRecording {
        /// Which stream.
        stream: StreamKey,
        /// Does the user want it?
        wanted: bool,
    },
    /// Nothing of this stream is recorded from now on. What is ordered from the store behind this, in the same batch,
    /// comes after what was recorded.
    EndRecording {
        /// Which stream.
        stream: StreamKey,
    },
    /// A message that the client missed goes to the originator's leg, as soon as that is up, in the order of these
    /// commands (clause 8.2.2.7.2). Answered by [`MediaEvent::Delivered`]; nothing where the stream is not intercepted.
    Deliver {
        /// Which stream.
        stream: StreamKey,
        /// The delivery's name, chosen by the core.
        number: u64,
        /// The message.
        message: Box<InterceptedMessage>,
    },
    /// A path URI of ours is given out: SENDs to it belong to this leg.
    OpenLeg {
        /// The leg's name, chosen by the core.
        leg: LegKey,
        /// The stream it belongs to.
        stream: StreamKey,
        /// Whose it is.
        role: LegRole,
        /// Our `a=path` URI for this leg.
        local: String,
    },
    /// What became of a message of [`MediaEvent::Intercepted`]: its sender is answered.
    ConfirmIntercepted {
        /// Which stream.
        stream: StreamKey,
        /// Which message.
        number: u64,
        /// Is it kept?
        kept: bool,
    },
    /// The client is lost and the session goes on: the far end's messages are answered here (clause 8.2.2.3
    /// step 4.ii).
    Intercept {
        /// Which stream.
        stream: StreamKey,
        /// Octets of messages that may be held at once until they are kept, each reported by
        /// [`MediaEvent::Intercepted`]; absent: messages are answered and dropped.
        keep: Option<u64>,
    },
    /// The client is back: what the far end says from now on waits until what it missed is on its way, and then passes
    /// as before (clause 8.2.2.7.2). Answered by [`MediaEvent::Resumed`].
    Resume {
        /// Which stream.
        stream: StreamKey,
    },
    /// A stream begins.
    OpenStream {
        /// The stream's name, chosen by the core.
        stream: StreamKey,
        /// How its messages are switched.
        policy: StreamPolicy,
    },
}

/// The peer's side of a leg, from its SDP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteLeg {
    /// The whole `a=path`, leftmost (nearest) URI first. To-Path of all we send.
    pub path: Vec<String>,
    /// Who connects, from our side.
    pub setup: Setup,
    /// `host:port` to connect to where we are active: path (RFC 4975) or c=/m= (RFC 6714).
    pub connect_to: String,
    /// Types the peer accepts (`a=accept-types`), `*` included.
    pub accept_types: Vec<String>,
    /// Types it accepts inside a wrapper (`a=accept-wrapped-types`).
    pub accept_wrapped_types: Vec<String>,
    /// The largest message it wants, in octets (`a=max-size`), if it said so.
    pub max_size: Option<u64>,
    /// Compare only the session-id of incoming To-Paths (sessmatch; MED-02, MED-16).
    pub legacy_matching: bool,
    /// May we send to it (`a=sendrecv`, `a=recvonly` from its side)?
    pub may_send: bool,
}

/// How a stream's messages are switched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPolicy {
    /// The far end's SENDs also go to the user's other devices (AMB-34).
    pub copy_far: bool,
    /// A device's SENDs go to the far end and to the user's other devices (AMB-34).
    pub copy_devices: bool,
}

/// What a media worker reports.
#[derive(Clone, Debug)]
pub enum MediaEvent {
    /// The client has answered a message of [`MediaCommand::Deliver`].
    Delivered {
        /// The originator's leg.
        leg: LegKey,
        /// The delivery's number.
        number: u64,
    },
    /// The far end has sent a message for a client that is lost. It waits for
    /// [`MediaCommand::ConfirmIntercepted`].
    Intercepted {
        /// The far end's leg.
        leg: LegKey,
        /// Its stream.
        stream: StreamKey,
        /// Number of the message within the stream.
        number: u64,
        /// The message.
        message: Box<InterceptedMessage>,
    },
    /// A leg was released on the core's word; its final counters.
    LegClosed {
        /// Which leg.
        leg: LegKey,
        /// What it carried.
        counters: LegCounters,
    },
    /// A leg's connection failed, or was given up; the leg is closed and needs no [`MediaCommand::CloseLeg`].
    LegDown {
        /// Which leg.
        leg: LegKey,
        /// Why.
        reason: LegDown,
        /// What it carried.
        counters: LegCounters,
    },
    /// A leg has a bound connection.
    LegUp {
        /// Which leg.
        leg: LegKey,
    },
    /// The far end's messages pass to the originator again ([`MediaCommand::Resume`]).
    Resumed {
        /// The originator's leg.
        leg: LegKey,
    },
    /// The originator has sent a message, and there is no leg of the far end yet: it waits for one.
    Waiting {
        /// The originator's leg.
        leg: LegKey,
    },
}

/// A whole message that was intercepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterceptedMessage {
    /// MSRP Message-ID.
    pub message_id: String,
    /// Content-Type.
    pub content_type: Option<String>,
    /// The body.
    pub octets: Vec<u8>,
}

/// Why a leg went down. Shown to the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LegDown {
    /// The peer closed or reset the connection.
    Closed,
    /// Connecting failed or took too long.
    ConnectFailed,
    /// The peer broke MSRP framing.
    Malformed,
    /// No connection came, or no answer to a SEND for 30 s (RFC 4975 section 7.1.1).
    Silent,
    /// The leg's queue was full: the device reads too slowly (MED-26).
    Slow,
}

/// What a leg has carried so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegCounters {
    /// SENDs with a body received from the peer.
    pub sends_in: u64,
    /// SENDs with a body sent to the peer.
    pub sends_out: u64,
    /// Octets received from the peer, framing included.
    pub octets_in: u64,
    /// Octets sent to the peer, framing included.
    pub octets_out: u64,
    /// 200 responses from the peer.
    pub ok: u64,
    /// Other responses from the peer.
    pub errors: u64,
    /// SENDs that the peer did not answer in time.
    pub timeouts: u64,
    /// REPORTs received from the peer.
    pub reports: u64,
    /// Messages not copied to this leg: type, size or direction it did not accept.
    pub unacceptable: u64,
    /// Messages not copied to this leg: more came before it was up than are kept.
    #[serde(default)]
    pub missed: u64,
    /// Messages of the peer that were whole and recorded.
    #[serde(default)]
    pub recorded: u64,
}

impl LegCounters {
    /// Adds what another leg, or the same one in another stream, has carried.
    pub(crate) fn add(&mut self, more: &LegCounters) {
        let LegCounters {
            sends_in,
            sends_out,
            octets_in,
            octets_out,
            ok,
            errors,
            timeouts,
            reports,
            unacceptable,
            missed,
            recorded,
        } = *more;
        for (total, more) in [
            (&mut self.sends_in, sends_in),
            (&mut self.sends_out, sends_out),
            (&mut self.octets_in, octets_in),
            (&mut self.octets_out, octets_out),
            (&mut self.ok, ok),
            (&mut self.errors, errors),
            (&mut self.timeouts, timeouts),
            (&mut self.reports, reports),
            (&mut self.unacceptable, unacceptable),
            (&mut self.missed, missed),
            (&mut self.recorded, recorded),
        ] {
            *total = total.saturating_add(more);
        }
    }
}
