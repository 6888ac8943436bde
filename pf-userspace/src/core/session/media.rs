//! The MSRP side of a session's legs: paths, roles, and what the media workers are told (clause 5.2.1.2).

use std::net::IpAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    Session,
    context::Context,
    leg::{A, Close, F, Leg, LegNo, LegState, Line},
};
use crate::core::{
    config::{CoreConfig, MsrpAddress, SipAddress},
    event::{
        LegCounters, LegDown, LegKey, LegRole, MediaCommand, Peer, Setup, StreamKey, StreamPolicy, Transport,
    },
    registry::Device,
    sdp::{self, Sdp, SetupAttr, answer_setup, our_role, remote_leg},
    sip::Uri,
};

/// One MSRP m-line that we carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stream {
    pub(crate) key: StreamKey,
    /// The media worker knows it.
    pub(crate) open: bool,
    /// The leg of the other side that it belongs to: F, or that of an IWF.
    pub(crate) far: LegNo,
    /// What is said there is recorded.
    #[serde(default)]
    pub(crate) recorded: bool,
}

/// Length of the session-id that we give to the far end, in characters. Generous: the path of leg A is cut to
/// such a length that relaying between A and F changes no length (the equation in [`session_id_length`]).
const FAR_SESSION_ID: usize = 48;
/// Length of the session-id that we give to devices where nothing calls for another: 120 random bits.
const DEVICE_SESSION_ID: usize = 24;

impl Session {
    /// Makes our side of every m-line in `offered` (a description that can be anchored) on leg `no`.
    /// Lines that are there stay; `length` gives the session-id's length for a line index.
    pub(super) fn plan_lines(
        &mut self,
        cx: &mut Context<'_>,
        no: LegNo,
        offered: &Sdp,
        length: impl Fn(usize) -> usize,
    ) {
        let count = offered.line_count();
        if self.streams.len() < count {
            self.streams.resize(count, None);
        }
        if self.legs[no].lines.len() < count {
            self.legs[no].lines.resize(count, None);
        }
        for line in offered.msrp_lines() {
            if line.is_rejected() || self.legs[no].lines[line.index].is_some() {
                continue;
            }
            let Some(address) = msrp_address(cx.config, line.host.as_deref()) else { continue };
            let (host, port) = (address.host, address.port);
            let authority = match host {
                IpAddr::V4(v4) => format!("{v4}:{port}"),
                IpAddr::V6(v6) => format!("[{v6}]:{port}"),
            };
            let id = cx.entropy.token(length(line.index));
            let path = format!("msrp://{authority}/{id};tcp");
            if self.streams[line.index].is_none() {
                self.streams[line.index] =
                    Some(Stream { key: cx.ids.stream(), open: false, far: F, recorded: false });
            }
            if self.legs[no].role == LegRole::Far
                && let Some(stream) = &mut self.streams[line.index]
            {
                stream.far = no;
            }
            let key = cx.ids.leg();
            self.legs[no].lines[line.index] = Some(Line { key, path, host, port, open: false, remote: None });
        }
    }

    /// Tells the media workers the paths of leg `no` that are about to be given out.
    pub(super) fn open_lines(&mut self, cx: &mut Context<'_>, no: LegNo) {
        let policy =
            StreamPolicy { copy_far: cx.config.policy.copy_far, copy_devices: cx.config.policy.copy_devices };
        let leg = &mut self.legs[no];
        for (line, stream) in leg.lines.iter_mut().zip(&mut self.streams) {
            let (Some(line), Some(stream)) = (line, stream) else { continue };
            if !stream.open {
                stream.open = true;
                cx.media(MediaCommand::OpenStream { stream: stream.key, policy: policy.clone() });
            }
            if !line.open {
                line.open = true;
                cx.media(MediaCommand::OpenLeg {
                    leg: line.key,
                    stream: stream.key,
                    role: leg.role,
                    local: line.path.clone(),
                });
            }
        }
        if self.has_open_record(cx) || self.storing.is_undecided() {
            self.record_messages(cx);
        }
    }

    /// The peer's side of leg `no` is known: tells the media workers what is new. `ours` is the `a=setup` that
    /// we wrote per line. A line whose path stays keeps its role and its connection.
    pub(super) fn connect_lines(
        &mut self,
        cx: &mut Context<'_>,
        no: LegNo,
        theirs: &Sdp,
        ours: impl Fn(usize) -> SetupAttr,
    ) {
        for msrp in theirs.msrp_lines().iter().filter(|line| !line.is_rejected()) {
            let Some(Some(line)) = self.legs[no].lines.get_mut(msrp.index) else { continue };
            let mut role = our_role(ours(msrp.index), msrp.setup);
            if let Some(before) = line.remote.as_ref().filter(|before| before.path == msrp.path) {
                role = before.setup;
            }
            let remote = remote_leg(msrp, role, cx.config.policy.legacy_matching);
            if line.open && line.remote.as_ref() != Some(&remote) {
                line.remote = Some(remote.clone());
                cx.media(MediaCommand::ConnectLeg { leg: line.key, remote });
            }
        }
    }

    /// The `a=setup` that answers what the peer of leg `no` offers, per line: as the clause says, but a line that
    /// is connected keeps its role if the offer allows it.
    pub(super) fn answer_setups(&self, no: LegNo, offered: &Sdp) -> Vec<SetupAttr> {
        let mut setups = vec![SetupAttr::Passive; offered.line_count()];
        for msrp in offered.msrp_lines() {
            let line = self.legs[no].lines.get(msrp.index).and_then(Option::as_ref);
            let role = line.and_then(|line| line.remote.as_ref()).map(|remote| remote.setup);
            setups[msrp.index] = match (role, msrp.setup) {
                (Some(Setup::Active), Some(SetupAttr::Actpass | SetupAttr::Passive)) => SetupAttr::Active,
                (_, offered) => answer_setup(offered),
            };
        }
        setups
    }

    /// Gives up the streams that `sdp` rejects (port 0), on all legs: the m-line stays, nothing is carried on it.
    pub(super) fn drop_rejected(&mut self, cx: &mut Context<'_>, sdp: &Sdp) {
        for msrp in sdp.msrp_lines().iter().filter(|line| line.is_rejected()) {
            self.drop_stream(cx, msrp.index);
        }
        for index in sdp.line_count()..self.streams.len() {
            self.drop_stream(cx, index);
        }
    }

    /// Releases the lines of leg `no` that its peer refuses (port 0, or not answered at all).
    pub(super) fn close_refused_lines(&mut self, cx: &mut Context<'_>, no: LegNo, answered: &Sdp) {
        let accepted: Vec<usize> =
            answered.msrp_lines().iter().filter(|l| !l.is_rejected()).map(|l| l.index).collect();
        for (index, line) in self.legs[no].lines.iter_mut().enumerate() {
            if let Some(refused) = line.take_if(|_| !accepted.contains(&index))
                && refused.open
            {
                cx.media(MediaCommand::CloseLeg { leg: refused.key });
            }
        }
    }

    pub(super) fn drop_stream(&mut self, cx: &mut Context<'_>, index: usize) {
        let Some(stream) = self.streams.get_mut(index).and_then(Option::take) else { return };
        if stream.open {
            cx.media(MediaCommand::CloseStream { stream: stream.key });
        }
        for leg in &mut self.legs {
            if let Some(line) = leg.lines.get_mut(index) {
                *line = None;
            }
        }
    }

    /// Releases the media of one leg.
    pub(super) fn close_lines(&mut self, cx: &mut Context<'_>, no: LegNo) {
        for line in self.legs[no].lines.iter_mut().flatten() {
            if std::mem::take(&mut line.open) {
                cx.media(MediaCommand::CloseLeg { leg: line.key });
            }
        }
    }

    /// Releases all media of the session.
    pub(super) fn close_streams(&mut self, cx: &mut Context<'_>) {
        for stream in self.streams.iter_mut().flatten() {
            if std::mem::take(&mut stream.open) {
                cx.media(MediaCommand::CloseStream { stream: stream.key });
            }
        }
        for line in self.legs.iter_mut().flat_map(|leg| leg.lines.iter_mut().flatten()) {
            line.open = false;
        }
    }

    /// The session-id length that makes relaying between A and F keep all lengths:
    /// `ours to A + A's path = ours to F + F's path`, as far as the bounds allow.
    pub(super) fn session_id_length(&self, offered: &Sdp, answered: &Sdp, index: usize) -> usize {
        let far = self.far_of(index).unwrap_or(F);
        let ours = self.legs[far].lines.get(index).and_then(Option::as_ref);
        let (Some(a), Some(f), Some(ours)) =
            (path_octets(offered, index), path_octets(answered, index), ours)
        else {
            return DEVICE_SESSION_ID;
        };
        let around = ours.path.len().saturating_sub(FAR_SESSION_ID);
        (f + ours.path.len()).saturating_sub(a + around).clamp(16, 120)
    }

    /// The same towards a device, whose path is not known yet, but how long the last one was; else they are taken to
    /// be as long as the originating device's: the user may have the same client on each.
    pub(super) fn device_session_id_length(&self, device: &Device, index: usize) -> usize {
        let ours = self.legs[A].lines.get(index).and_then(Option::as_ref);
        let offered = self.offered();
        let (Some(ours), Some(a)) = (ours, offered.and_then(|offered| path_octets(&offered, index))) else {
            return DEVICE_SESSION_ID;
        };
        let id = ours.path.rsplit('/').next().and_then(|end| end.split(';').next()).unwrap_or_default();
        let around = ours.path.len() - id.len();
        let theirs = device.msrp_path.unwrap_or(a);
        (a + ours.path.len()).saturating_sub(theirs + around).clamp(16, 120)
    }

    pub(super) fn far_session_id() -> usize {
        FAR_SESSION_ID
    }

    pub(super) fn device_session_id() -> usize {
        DEVICE_SESSION_ID
    }

    pub(super) fn leg_with(&self, key: LegKey) -> Option<LegNo> {
        let has = |leg: &Leg| leg.lines.iter().flatten().any(|line| line.key == key);
        self.legs.iter().position(has)
    }

    /// The media path of a leg failed. A device's failure costs its own leg; without the originator's or the far
    /// end's there is no session.
    pub(super) fn media_down(
        &mut self,
        cx: &mut Context<'_>,
        key: LegKey,
        reason: LegDown,
        counters: &LegCounters,
    ) {
        let Some(no) = self.leg_with(key) else { return };
        let leg = &mut self.legs[no];
        leg.counters.add(counters);
        for line in leg.lines.iter_mut().flatten().filter(|line| line.key == key) {
            line.open = false;
        }
        let close = Close::Down(reason);
        let (role, iwf) = (leg.role, leg.iwf);
        match role {
            LegRole::Device => {
                self.close_lines(cx, no);
                self.hang_up(cx, no, Some(MEDIA_LOST), close);
            }
            LegRole::Far if iwf && !self.ending => self.iwf_lost(cx, no, Some(MEDIA_LOST), close),
            LegRole::Originator if self.client_lost_again(cx, Some(MEDIA_LOST), close) => {}
            LegRole::Far | LegRole::Originator if !self.ending => {
                if matches!(self.legs[no].state, LegState::Established) {
                    self.hang_up(cx, no, Some(MEDIA_LOST), close);
                }
                self.end(cx, Some(MEDIA_LOST), Close::Ended);
            }
            LegRole::Far | LegRole::Originator => {}
        }
    }

    /// Our address in the session descriptions of leg `no`.
    pub(super) fn media_host(&self, cx: &Context<'_>, no: LegNo) -> IpAddr {
        let line = self.legs[no].lines.iter().flatten().next();
        let line = line.or_else(|| self.legs[A].lines.iter().flatten().next());
        let first = cx.config.msrp.first().map(|address| address.host);
        line.map(|line| line.host).or(first).unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
    }
}

/// Reads an answer to an offer of ours. Lines that it accepts in a way that we cannot carry count as rejected;
/// `None` if nothing can be carried because of that, or if it is no session description.
pub(super) fn read_answer(content_type: Option<&str>, body: &Bytes) -> Option<(Sdp, Bytes)> {
    let octets = sdp::split_body(content_type, body).ok()?.sdp?;
    let answered = Sdp::parse(&octets).ok()?;
    let accepted: Vec<_> = answered.msrp_lines().into_iter().filter(|line| !line.is_rejected()).collect();
    let bad: Vec<usize> =
        accepted.iter().filter(|line| line.anchorable().is_err()).map(|line| line.index).collect();
    if !accepted.is_empty() && bad.len() == accepted.len() {
        return None;
    }
    Some((if bad.is_empty() { answered } else { answered.rejecting(&bad) }, octets))
}

/// Reason of the BYEs after a media path was lost.
pub(super) const MEDIA_LOST: &str = "SIP;cause=503;text=\"Media path lost\"";

/// Our MSRP address of the family that the peer uses, else the first.
fn msrp_address<'a>(config: &'a CoreConfig, near: Option<&str>) -> Option<&'a MsrpAddress> {
    let near: Option<IpAddr> = near.and_then(|host| host.parse().ok());
    let same = |address: &&MsrpAddress| near.is_some_and(|near| near.is_ipv4() == address.host.is_ipv4());
    config.msrp.iter().find(same).or(config.msrp.first())
}

/// A SIP URI of ours with this user part (none where empty), at the address that fits `at`.
pub(crate) fn own_uri(config: &CoreConfig, user: &str, at: Reach<'_>) -> String {
    let transport = at.transport();
    let exact = |address: &&SipAddress| match at {
        Reach::Peer(peer) => address.transport == transport && address.bound == peer.local,
        Reach::Uri(_) => false,
    };
    let port = |address: &&SipAddress| match at {
        Reach::Peer(peer) => address.transport == transport && address.bound.port() == peer.local.port(),
        Reach::Uri(_) => false,
    };
    let sip = &config.sip;
    let found = sip.iter().find(exact).or_else(|| sip.iter().find(port));
    let found = found.or_else(|| sip.iter().find(|address| address.transport == transport)).or(sip.first());
    let Some(address) = found else { return "sip:pf.invalid".to_owned() };
    let at = if user.is_empty() { "" } else { "@" };
    let host = if address.host.contains(':') { format!("[{}]", address.host) } else { address.host.clone() };
    let transport = match address.transport {
        Transport::Tcp => ";transport=tcp",
        Transport::Tls => ";transport=tls",
        Transport::Udp => "",
    };
    format!("sip:{user}{at}{host}:{}{transport}", address.port)
}

/// Who shall reach us at a Contact.
#[derive(Clone, Copy)]
pub(crate) enum Reach<'a> {
    /// Who sent us something: at the address it used.
    Peer(&'a Peer),
    /// Who we send to at this URI.
    Uri(&'a str),
}

impl Reach<'_> {
    pub(crate) fn transport(&self) -> Transport {
        let uri = match self {
            Reach::Peer(peer) => return peer.transport,
            Reach::Uri(uri) => Uri::parse(uri),
        };
        let Ok(uri) = uri else { return Transport::Udp };
        let named = uri.param("transport").unwrap_or_default();
        match () {
            () if uri.scheme == "sips" || named.eq_ignore_ascii_case("tls") => Transport::Tls,
            () if named.eq_ignore_ascii_case("tcp") => Transport::Tcp,
            () => Transport::Udp,
        }
    }
}

/// Octets of the MSRP path of a line, as it stands in header fields.
pub(super) fn path_octets(sdp: &Sdp, index: usize) -> Option<usize> {
    let lines = sdp.msrp_lines();
    let line = lines.iter().find(|line| line.index == index)?;
    Some(line.path.iter().map(|uri| uri.len() + 1).sum())
}
