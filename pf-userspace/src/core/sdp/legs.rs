//! Offers and answers on our legs, made from those of the other legs: same m-lines in the same order,
//! same terms of the messages, but our own origin, address, path and set-up.

use std::net::IpAddr;

use sdp_types::{Attribute, Connection, Media, Session};

use super::{Direction, Sdp, SetupAttr, line::is_msrp};

/// The port in the m-line of who only connects (RFC 4145 section 4.1, RFC 6135 section 4.2.2).
const DISCARD: u16 = 9;

/// `o=` of one leg (RFC 3264 section 8: same id over the dialog, version one higher with every change).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Session id, unique per dialog.
    pub session_id: u64,
    /// Version of the description.
    pub version: u64,
    /// Our address.
    pub address: IpAddr,
}

/// Our side of one MSRP m-line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalLine {
    /// Our URI for `a=path`, with explicit port.
    pub path: String,
    /// Our address for `c=`, the one in `path`.
    pub host: IpAddr,
    /// Our port for `m=`, the one in `path`.
    pub port: u16,
    /// Our `a=setup`.
    pub setup: SetupAttr,
}

/// The offer on the leg to the far end, made from the offer received. `local` has our side by m-line index;
/// an m-line without one is passed through as it is (a stream that we do not carry).
/// Rejected lines stay rejected.
pub fn offer(received: &Sdp, local: &[Option<LocalLine>], origin: &Origin) -> Sdp {
    let received = &received.0;
    let lines = received.medias.iter().enumerate();
    let medias = lines.map(|(index, media)| match local.get(index).and_then(Option::as_ref) {
        _ if media.port == 0 => rejected(media),
        Some(line) if is_msrp(media) => anchored(received, media, line, origin, None),
        _ => passed(received, media),
    });
    Sdp(described(received, medias.collect(), received, origin))
}

/// The answer to the device that offered, made from the far end's answer: as many m-lines as offered, in that
/// order. Port 0 in the offer or in the far end's answer stays 0; so does a line that the far end left out
/// or answered with another kind of stream.
pub fn answer(
    offer_from_a: &Sdp,
    answer_from_far: &Sdp,
    local: &[Option<LocalLine>],
    origin: &Origin,
) -> Sdp {
    let (offered, far) = (&offer_from_a.0, &answer_from_far.0);
    let lines = offered.medias.iter().enumerate();
    let medias = lines.map(|(index, ours)| {
        let Some(theirs) = far.medias.get(index) else { return rejected(ours) };
        let same = ours.media.eq_ignore_ascii_case(&theirs.media)
            && (ours.proto.eq_ignore_ascii_case(&theirs.proto) || (is_msrp(ours) && is_msrp(theirs)));
        if !same || ours.port == 0 || theirs.port == 0 {
            return rejected(ours);
        }
        match local.get(index).and_then(Option::as_ref) {
            Some(line) if is_msrp(ours) => {
                Media { proto: ours.proto.clone(), ..anchored(far, theirs, line, origin, None) }
            }
            _ => passed(far, theirs),
        }
    });
    Sdp(described(far, medias.collect(), offered, origin))
}

/// The offer to another device of the user, made from the answer that the originating device got: the same
/// terms of the messages. Lines without our side are offered with port 0, as are the rejected ones.
/// Where the far end only receives, the device is offered what the user sends (`sendonly`).
pub fn device_offer(agreed: &Sdp, local: &[Option<LocalLine>], origin: &Origin) -> Sdp {
    let agreed = &agreed.0;
    let lines = agreed.medias.iter().enumerate();
    let medias = lines.map(|(index, media)| match local.get(index).and_then(Option::as_ref) {
        Some(line) if is_msrp(media) && media.port != 0 => {
            let direction = match direction(agreed, media) {
                Some(Direction::RecvOnly) => Some(Direction::SendOnly),
                other => other,
            };
            anchored(agreed, media, line, origin, direction)
        }
        _ => rejected(media),
    });
    Sdp(described(agreed, medias.collect(), agreed, origin))
}

/// A rejected m-line (RFC 3264 section 6): nothing about it matters but its place.
pub(super) fn rejected(media: &Media) -> Media {
    Media { port: 0, num_ports: None, attributes: Vec::new(), ..bare(media) }
}

/// An m-line of ours: the message terms are the peer's, the rest is ours.
fn anchored(
    session: &Session,
    media: &Media,
    line: &LocalLine,
    origin: &Origin,
    wanted: Option<Direction>,
) -> Media {
    let mut attributes: Vec<Attribute> =
        media.attributes.iter().filter(|a| !is_transport(a) && !is_direction(a)).cloned().collect();
    if let Some(direction) = wanted.or_else(|| direction(session, media)) {
        attributes.push(Attribute::new(direction.as_str()));
    }
    attributes.push(Attribute::with_value("setup", line.setup.as_str()));
    attributes.push(Attribute::with_value("path", &line.path));
    let port = if line.setup == SetupAttr::Active { DISCARD } else { line.port };
    let connections =
        if line.host == origin.address { Vec::new() } else { vec![Connection::from_ip_addr(line.host)] };
    Media {
        port,
        fmt: "*".to_owned(),
        media_title: media.media_title.clone(),
        bandwidths: media.bandwidths.clone(),
        connections,
        attributes,
        ..bare(media)
    }
}

/// An m-line that goes through: what it had from the session part comes along.
pub(super) fn passed(session: &Session, media: &Media) -> Media {
    let mut media = media.clone();
    if media.connections.is_empty() {
        media.connections.extend(session.connection.clone());
    }
    if media.key.is_none() {
        media.key.clone_from(&session.key);
    }
    let says_direction = media.attributes.iter().any(is_direction);
    for attribute in &session.attributes {
        let said = media.has_attribute(&attribute.attribute);
        if (is_transport(attribute) && !said) || (is_direction(attribute) && !says_direction) {
            media.attributes.push(attribute.clone());
        }
    }
    media
}

/// The session part: our origin and address, the peer's name, timing and attributes that say nothing of transport.
fn described(from: &Session, medias: Vec<Media>, timing: &Session, origin: &Origin) -> Session {
    let our_origin = sdp_types::Origin::with_ip_addr(origin.session_id, origin.version, origin.address);
    // A name and a time must be there (RFC 8866 sections 5.3 and 5.9), whatever the peer left out.
    let name = if from.session_name.trim().is_empty() { "-" } else { &from.session_name };
    let mut session = Session::new(our_origin, name);
    session.session_description.clone_from(&from.session_description);
    session.connection = Some(Connection::from_ip_addr(origin.address));
    session.bandwidths.clone_from(&from.bandwidths);
    session.times.clone_from(&timing.times);
    if session.times.is_empty() {
        session.times.push(sdp_types::Time::new(0, 0));
    }
    session.attributes =
        from.attributes.iter().filter(|a| !is_transport(a) && !is_direction(a)).cloned().collect();
    session.medias = medias;
    session
}

fn bare(media: &Media) -> Media {
    Media {
        media: media.media.clone(),
        port: media.port,
        num_ports: None,
        proto: media.proto.clone(),
        fmt: media.fmt.clone(),
        media_title: None,
        connections: Vec::new(),
        bandwidths: Vec::new(),
        key: None,
        attributes: Vec::new(),
    }
}

fn direction(session: &Session, media: &Media) -> Option<Direction> {
    Direction::of(&media.attributes).or_else(|| Direction::of(&session.attributes))
}

pub(super) fn is_direction(attribute: &Attribute) -> bool {
    Direction::from_name(&attribute.attribute).is_some()
}

/// Does it speak of the connection, which on our legs is ours? RFC 4145 (`setup`, `connection`), RFC 4975 (`path`),
/// RFC 6714 section 6.2 (`msrp-cema`), RFC 8122, RFC 8842, RFC 8839, RFC 4568, RFC 4567, RFC 5939, RFC 6947.
pub(super) fn is_transport(attribute: &Attribute) -> bool {
    const NAMES: &[&str] = &[
        "acap",
        "acfg",
        "altc",
        "candidate",
        "connection",
        "crypto",
        "end-of-candidates",
        "fingerprint",
        "key-mgmt",
        "msrp-cema",
        "path",
        "pcap",
        "pcfg",
        "remote-candidates",
        "setup",
        "tcap",
        "tls-id",
        "rtcp",
    ];
    let name = attribute.attribute.as_str();
    NAMES.iter().any(|n| n.eq_ignore_ascii_case(name))
        || name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("ice-"))
}
