//! One MSRP m-line as its peer wrote it.

use sdp_types::{Attribute, Media, Session};

use super::SetupAttr;
use crate::core::sip::fields::split_host_port;

/// The most URIs read of an `a=path`.
const MAX_PATH: usize = 16;
/// The default port of MSRP (RFC 4975 section 6).
const MSRP_PORT: u16 = 2855;

/// What one peer says about one MSRP stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MsrpLine {
    /// Which m-line it is, counted from 0 over all m-lines.
    pub index: usize,
    /// Port of the m-line; 0 where the stream is rejected.
    pub port: u16,
    /// `TCP/TLS/MSRP`.
    pub tls: bool,
    /// `a=path`, leftmost (nearest) URI first; empty where there is none.
    pub path: Vec<String>,
    /// `a=setup`; `None` where absent, `holdconn` (RFC 6135 section 4.2.1: ignored) or unknown.
    pub setup: Option<SetupAttr>,
    /// `a=accept-types`, as written, `*` included.
    pub accept_types: Vec<String>,
    /// `a=accept-wrapped-types`, as written.
    pub accept_wrapped_types: Vec<String>,
    /// `a=max-size` in octets.
    pub max_size: Option<u64>,
    /// The direction from the peer's side.
    pub direction: Direction,
    /// `a=msrp-cema` (RFC 6714) is there.
    pub cema: bool,
    /// Host of `c=` (the m-line's own, else the session's): a literal without brackets or a name.
    /// `IN IP4` with an IPv6 literal is tolerated.
    pub host: Option<String>,
}

/// Direction of a stream from the side of who wrote it (RFC 3264 section 5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Neither sends.
    Inactive,
    /// It only receives.
    RecvOnly,
    /// It only sends.
    SendOnly,
    /// Both ways, also when nothing is said.
    #[default]
    SendRecv,
}

impl Direction {
    /// The attribute's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Direction::Inactive => "inactive",
            Direction::RecvOnly => "recvonly",
            Direction::SendOnly => "sendonly",
            Direction::SendRecv => "sendrecv",
        }
    }

    /// Does the writer want to receive?
    pub const fn receives(self) -> bool {
        matches!(self, Direction::RecvOnly | Direction::SendRecv)
    }

    pub(super) fn of(attributes: &[Attribute]) -> Option<Direction> {
        attributes.iter().find_map(|a| Direction::from_name(&a.attribute))
    }

    pub(super) fn from_name(name: &str) -> Option<Direction> {
        [Direction::Inactive, Direction::RecvOnly, Direction::SendOnly, Direction::SendRecv]
            .into_iter()
            .find(|d| d.as_str().eq_ignore_ascii_case(name))
    }
}

/// Why we cannot be an MSRP endpoint for an m-line. The line is to be rejected with port 0,
/// or the whole offer with `488` when no other line is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanchorable {
    /// It is rejected already (port 0).
    #[error("the line is rejected")]
    Rejected,
    /// `TCP/TLS/MSRP`: we do not speak TLS on MSRP legs.
    #[error("MSRP over TLS is not supported")]
    Tls,
    /// There is no usable `a=path`.
    #[error("no usable a=path")]
    NoPath,
}

impl MsrpLine {
    /// Is the stream rejected?
    pub fn is_rejected(&self) -> bool {
        self.port == 0
    }

    /// Can we stay in the path of this line's messages?
    ///
    /// # Errors
    /// [`Unanchorable`] says why not.
    pub fn anchorable(&self) -> Result<(), Unanchorable> {
        if self.is_rejected() {
            return Err(Unanchorable::Rejected);
        }
        if self.tls {
            return Err(Unanchorable::Tls);
        }
        match self.path.first().map(|uri| MsrpAuthority::parse(uri)) {
            None | Some(None) => Err(Unanchorable::NoPath),
            Some(Some(authority)) if authority.tls => Err(Unanchorable::Tls),
            Some(Some(_)) => Ok(()),
        }
    }

    /// `host:port` of the nearest path URI, where a plain RFC 4975 endpoint connects to.
    pub fn path_address(&self) -> Option<String> {
        let authority = MsrpAuthority::parse(self.path.first()?)?;
        Some(join_host_port(authority.host, authority.port))
    }

    /// `host:port` of `c=` and `m=`, where a CEMA endpoint connects to (RFC 6714 section 4.2).
    pub fn media_address(&self) -> Option<String> {
        self.host.as_deref().map(|host| join_host_port(host, self.port))
    }
}

/// `host:port`, an IPv6 literal in brackets.
pub(super) fn join_host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The part of an MSRP URI that says where to connect.
struct MsrpAuthority<'a> {
    tls: bool,
    host: &'a str,
    port: u16,
}

impl<'a> MsrpAuthority<'a> {
    fn parse(uri: &'a str) -> Option<MsrpAuthority<'a>> {
        let (scheme, rest) = uri.split_once("://")?;
        let tls = scheme.eq_ignore_ascii_case("msrps");
        if !tls && !scheme.eq_ignore_ascii_case("msrp") {
            return None;
        }
        let authority = rest.split(['/', ';']).next()?;
        let host_port = authority.rsplit_once('@').map_or(authority, |(_, host_port)| host_port);
        let (host, port) = split_host_port(host_port)?;
        let port = port.unwrap_or(MSRP_PORT);
        let visible = uri.bytes().all(|o| o.is_ascii_graphic());
        (!host.is_empty() && port != 0 && visible).then_some(MsrpAuthority { tls, host, port })
    }
}

pub(super) fn is_msrp(media: &Media) -> bool {
    media.media.eq_ignore_ascii_case("message")
        && ["TCP/MSRP", "TCP/TLS/MSRP"].iter().any(|proto| proto.eq_ignore_ascii_case(&media.proto))
}

pub(super) fn msrp_lines(session: &Session) -> Vec<MsrpLine> {
    let lines = session.medias.iter().enumerate();
    lines.filter(|(_, media)| is_msrp(media)).map(|(index, media)| read(session, index, media)).collect()
}

fn read(session: &Session, index: usize, media: &Media) -> MsrpLine {
    let value = |name| attribute(&media.attributes, name);
    let words = |name, most| -> Vec<String> {
        value(name).unwrap_or_default().split_ascii_whitespace().take(most).map(str::to_owned).collect()
    };
    let setup = value("setup").or_else(|| attribute(&session.attributes, "setup"));
    let direction = Direction::of(&media.attributes).or_else(|| Direction::of(&session.attributes));
    let connection = media.connections.first().or(session.connection.as_ref());
    MsrpLine {
        index,
        port: media.port,
        tls: media.proto.eq_ignore_ascii_case("TCP/TLS/MSRP"),
        path: words("path", MAX_PATH),
        setup: setup.and_then(SetupAttr::parse),
        accept_types: words("accept-types", usize::MAX),
        accept_wrapped_types: words("accept-wrapped-types", usize::MAX),
        max_size: value("max-size").and_then(|v| v.trim().parse().ok()),
        direction: direction.unwrap_or_default(),
        cema: media.has_attribute("msrp-cema") || session.has_attribute("msrp-cema"),
        host: connection.map(|c| host_of(&c.connection_address).to_owned()),
    }
}

/// An address without time-to-live suffix and (wrongly written) brackets.
fn host_of(address: &str) -> &str {
    let address = address.split('/').next().unwrap_or_default();
    address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address)
}

fn attribute<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    attributes
        .iter()
        .find(|a| a.attribute.eq_ignore_ascii_case(name))
        .map(|a| a.value.as_deref().unwrap_or(""))
}
