//! One leg of a session: a dialog with one peer and its MSRP legs.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::core::{
    Time,
    event::{ClientTx, LegCounters, LegDown, LegKey, LegRole, RemoteLeg, ServerTx},
    sdp::{LocalLine, MsrpLine, Origin, Sdp, SetupAttr},
    sip::{Dialog, Headers, Request, Response},
    view::LegView,
};

use super::timer::{self, SessionTimer};

/// Which leg of its session: an index that stays the same while the session lives.
pub(crate) type LegNo = usize;

/// Leg A, to the device that originated the session.
pub(crate) const A: LegNo = 0;
/// Leg F, to the other CPM entity.
pub(crate) const F: LegNo = 1;

/// A dialog with one peer and its MSRP legs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Leg {
    pub(crate) role: LegRole,
    /// Its INVITE went to the ISF: the peer is an IWF.
    pub(crate) iwf: bool,
    /// For the operator: device name, instance or URI.
    pub(crate) name: String,
    /// What tells a device from another one: instance id, else Contact URI.
    pub(crate) device: String,
    pub(crate) state: LegState,
    pub(crate) dialog: Dialog,
    /// Value of our Contact in this dialog: the same in every request (clause 8.2.2.5 step 2.b).
    pub(crate) contact: String,
    /// What the peer's last INVITE, UPDATE or 2xx said in Allow.
    pub(crate) allows_update: bool,
    /// Our side of its m-lines, by m-line index.
    pub(crate) lines: Vec<Option<Line>>,
    /// Where the m-lines of this dialog stand in the session; `None`: in the same places.
    pub(crate) places: Option<Vec<Option<usize>>>,
    /// Our last session description in this dialog, as sent.
    pub(crate) ours: Vec<u8>,
    /// The peer's last session description, as received.
    pub(crate) theirs: Vec<u8>,
    /// `o=` of our descriptions: session id and version.
    pub(crate) sdp_session: u64,
    pub(crate) sdp_version: u64,
    /// The session timer of this dialog (RFC 4028).
    pub(crate) timer: Option<SessionTimer>,
    /// An INVITE of the peer that has no final answer yet.
    pub(crate) asked: Option<ServerTx>,
    /// A 2xx of ours to an INVITE of the peer that has no ACK yet.
    pub(crate) unacked: Option<Unacked>,
    /// A 2xx of the peer to an INVITE of ours that we have not acknowledged yet.
    pub(crate) owed_ack: Option<OwedAck>,
    /// Reason for the BYE that waits until the peer's ACK is there (RFC 3261 section 15).
    pub(crate) bye_after_ack: Option<Option<String>>,
    /// When it gets an offer of our own again that it could not take.
    pub(crate) ask_again: Option<Time>,
    pub(crate) counters: LegCounters,
}

/// How far a leg is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LegState {
    /// Its INVITE waits for a final answer.
    Inviting,
    /// CANCEL was sent (or waits for a provisional response); the INVITE still waits for its final answer.
    Cancelling(Close),
    /// Confirmed.
    Established,
    /// A BYE is on its way, or waits for what it needs; why it ends.
    Ending(Close),
    /// The dialog is over.
    Closed(Close),
}

/// Why a leg ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Close {
    /// Cancelled by the originating device, or given up by us.
    Cancelled,
    /// Its media path failed.
    Down(LegDown),
    /// The session ended.
    Ended,
    /// Its session timer expired.
    Expired,
    /// Its answer had no usable session description.
    Incompatible,
    /// The peer said BYE.
    Left,
    /// The core lost the client, and the session goes on without it.
    Lost,
    /// The INVITE was refused with this status.
    Refused(u16),
    /// The INVITE was never answered.
    Unanswered,
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Close::Cancelled => f.write_str("cancelled"),
            Close::Down(reason) => write!(f, "down: {}", down_text(*reason)),
            Close::Ended => f.write_str("ended"),
            Close::Expired => f.write_str("expired"),
            Close::Incompatible => f.write_str("incompatible"),
            Close::Left => f.write_str("left"),
            Close::Lost => f.write_str("lost"),
            Close::Refused(status) => write!(f, "refused {status}"),
            Close::Unanswered => f.write_str("unanswered"),
        }
    }
}

fn down_text(reason: LegDown) -> &'static str {
    match reason {
        LegDown::Closed => "closed",
        LegDown::ConnectFailed => "connect-failed",
        LegDown::Malformed => "malformed",
        LegDown::Silent => "silent",
        LegDown::Slow => "slow",
    }
}

/// Our side of one MSRP m-line of one leg.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) key: LegKey,
    /// Our `a=path` URI.
    pub(crate) path: String,
    pub(crate) host: IpAddr,
    pub(crate) port: u16,
    /// The media worker knows it.
    pub(crate) open: bool,
    /// The peer's side, as last given to the media worker.
    pub(crate) remote: Option<RemoteLeg>,
}

/// A 2xx of ours that waits for its ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unacked {
    pub(crate) tx: ServerTx,
    /// CSeq number of the INVITE, and so of the ACK.
    pub(crate) number: u32,
    /// The ACK brings the peer's answer: our 2xx made the offer.
    pub(crate) offered: bool,
    /// Without an ACK till then, the shell's word is not waited for any longer.
    pub(crate) until: Time,
}

/// A 2xx of the peer that we still have to acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwedAck {
    pub(crate) tx: ClientTx,
    /// CSeq number of the INVITE, and so of the ACK.
    pub(crate) number: u32,
}

impl Leg {
    pub(crate) fn new(role: LegRole, name: String, device: String, dialog: Dialog, contact: String) -> Leg {
        Leg {
            role,
            iwf: false,
            name,
            device,
            state: LegState::Inviting,
            dialog,
            contact,
            allows_update: false,
            lines: Vec::new(),
            places: None,
            ours: Vec::new(),
            theirs: Vec::new(),
            sdp_session: 0,
            sdp_version: 0,
            timer: None,
            asked: None,
            unacked: None,
            owed_ack: None,
            bye_after_ack: None,
            ask_again: None,
            counters: LegCounters::default(),
        }
    }

    pub(crate) fn is_established(&self) -> bool {
        self.state == LegState::Established
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, LegState::Closed(_))
    }

    /// Is its INVITE waiting for a final answer, or has it got a positive one?
    pub(crate) fn is_alive(&self) -> bool {
        matches!(self.state, LegState::Inviting | LegState::Established)
    }

    /// Our side of its m-lines as session descriptions show it, all with this `a=setup`.
    pub(crate) fn local_lines(&self, setup: impl Fn(usize) -> SetupAttr) -> Vec<Option<LocalLine>> {
        let lines = self.lines.iter().enumerate();
        lines
            .map(|(index, line)| {
                line.as_ref().map(|line| LocalLine {
                    path: line.path.clone(),
                    host: line.host,
                    port: line.port,
                    setup: setup(index),
                })
            })
            .collect()
    }

    /// A description of this dialog with the session's places of m-lines.
    pub(crate) fn inward(&self, sdp: &Sdp) -> Sdp {
        self.places.as_ref().map_or_else(|| sdp.clone(), |places| sdp.spread(places))
    }

    /// A description of the session with this dialog's places of m-lines.
    pub(crate) fn outward(&self, sdp: &Sdp) -> Sdp {
        self.places.as_ref().map_or_else(|| sdp.clone(), |places| sdp.picking(places))
    }

    /// The peer of an IWF's dialog describes so many m-lines: what is more than before belongs to no stream.
    pub(crate) fn keep_places(&mut self, count: usize) {
        let known = Sdp::parse(&self.ours).map_or(0, |ours| ours.line_count());
        if count <= known {
            return;
        }
        let mut places = self.places.take().unwrap_or_else(|| (0..known).map(Some).collect());
        places.resize(count, None);
        self.places = Some(places);
    }

    /// What the peer said last, with the session's places.
    pub(crate) fn their_description(&self) -> Option<Sdp> {
        let sdp = Sdp::parse(&self.theirs).ok()?;
        let carried = |line: &MsrpLine| line.is_rejected() || line.anchorable().is_ok();
        let bad: Vec<usize> =
            sdp.msrp_lines().iter().filter(|line| !carried(line)).map(|line| line.index).collect();
        Some(self.inward(&sdp.rejecting(&bad)))
    }

    /// The `a=setup` that we wrote last, by the session's m-line index.
    pub(crate) fn our_setups(&self) -> Vec<SetupAttr> {
        let Ok(ours) = Sdp::parse(&self.ours) else { return Vec::new() };
        let ours = self.inward(&ours);
        let mut setups = vec![SetupAttr::Actpass; ours.line_count()];
        for line in ours.msrp_lines() {
            setups[line.index] = line.setup.unwrap_or(SetupAttr::Actpass);
        }
        setups
    }

    /// `o=` of our next description.
    pub(crate) fn origin(&self, address: IpAddr) -> Origin {
        Origin { session_id: self.sdp_session, version: self.sdp_version, address }
    }

    /// The peer has accepted with this 2xx what we described as `ours`.
    pub(crate) fn change_agreed(&mut self, ours: &[u8], response: &Response, now: Time) {
        self.dialog.refresh_target(response.headers.get("Contact"));
        self.learn(&response.headers);
        self.ours = ours.to_vec();
        if let Some(interval) = self.timer.as_ref().map(|timer| timer.interval) {
            self.timer = Some(timer::agreed(&response.headers, interval, now));
        }
    }

    /// What the peer says of itself in a request or 2xx: whether it takes UPDATE.
    pub(crate) fn learn(&mut self, headers: &Headers) {
        if headers.has("Allow") {
            self.allows_update = headers.has_token("Allow", "UPDATE");
        }
    }

    /// A request inside the dialog with our Contact and product.
    pub(crate) fn request(
        &mut self,
        method: crate::core::sip::Method,
        product: &str,
    ) -> (Request, crate::core::event::Hop) {
        let (mut request, hop) = self.dialog.request(method);
        request.headers.push("User-Agent", product);
        (request, hop)
    }

    /// A response on this leg: with our tag and, where it may refresh the target, our Contact.
    pub(crate) fn response(&self, status: u16, product: &str) -> Response {
        let to = crate::core::sip::dialog::with_tag(&self.dialog.local, Some(&self.dialog.local_tag));
        Response::new(status).with("To", to).with("Server", product)
    }

    pub(crate) fn view(&self) -> LegView {
        let state = match self.state {
            LegState::Inviting => "inviting".to_owned(),
            LegState::Cancelling(_) => "cancelling".to_owned(),
            LegState::Established => "established".to_owned(),
            LegState::Ending(why) => format!("ending: {why}"),
            LegState::Closed(why) => why.to_string(),
        };
        LegView {
            role: self.role,
            name: self.name.clone(),
            state,
            call_id: self.dialog.call_id.clone(),
            media: self.lines.iter().flatten().map(|line| line.key).collect(),
            counters: self.counters,
        }
    }
}
