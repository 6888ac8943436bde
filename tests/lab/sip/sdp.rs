//! SDP with MSRP media lines (RFC 4975 section 8), as small as the actors need it.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};

/// A session description, read strictly.
#[derive(Clone, Debug)]
pub struct Sdp {
    /// `o=` value.
    pub origin: String,
    /// Session-level lines other than `v=`, `o=`: type and value.
    pub session: Vec<(char, String)>,
    /// Media descriptions in order.
    pub media: Vec<MediaLine>,
}

/// One media description.
#[derive(Clone, Debug)]
pub struct MediaLine {
    /// Media type: `message`.
    pub kind: String,
    /// Port; 0 means rejected.
    pub port: u16,
    /// `TCP/MSRP`, `TCP/TLS/MSRP`.
    pub proto: String,
    /// Format list.
    pub format: String,
    /// Address of its `c=`, or of the session's.
    pub address: Option<IpAddr>,
    /// Attributes in order: name and value (empty for flags).
    pub attributes: Vec<(String, String)>,
}

impl MediaLine {
    /// The first attribute of this name.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The URIs of `a=path`.
    pub fn path(&self) -> Result<Vec<String>> {
        let path = self.attribute("path").context("no a=path")?;
        let uris: Vec<String> = path.split(' ').map(str::to_owned).collect();
        ensure!(uris.iter().all(|uri| uri.starts_with("msrp")), "bad a=path `{path}`");
        Ok(uris)
    }

    /// `c=` address and `m=` port.
    pub fn socket(&self) -> Result<SocketAddr> {
        Ok(SocketAddr::new(self.address.context("no c=")?, self.port))
    }
}

impl Sdp {
    /// Reads a description; lines out of order or unknown are errors.
    pub fn parse(body: &[u8]) -> Result<Sdp> {
        let text = std::str::from_utf8(body).context("SDP is not UTF-8")?;
        ensure!(text.ends_with("\r\n"), "SDP does not end with CRLF");
        let (mut origin, mut session, mut media): (_, Vec<(char, String)>, Vec<MediaLine>) =
            (None, Vec::new(), Vec::new());
        let mut connection = None;
        for (number, line) in text.trim_end_matches("\r\n").split("\r\n").enumerate() {
            let (kind, value) = line.split_once('=').with_context(|| format!("bad SDP line `{line}`"))?;
            ensure!(kind.len() == 1 && !value.contains(['\r', '\n']), "bad SDP line `{line}`");
            let kind = kind.chars().next().unwrap_or_default();
            match (number, kind) {
                (0, 'v') => ensure!(value == "0", "SDP version `{value}`"),
                (1, 'o') => {
                    ensure!(value.split(' ').count() == 6, "bad o= `{value}`");
                    origin = Some(value.to_owned());
                }
                (0 | 1, _) => anyhow::bail!("SDP begins with `{line}`"),
                (_, 'm') => media.push(media_line(value, connection)?),
                (_, 'c') => {
                    let address = connection_address(value)?;
                    match media.last_mut() {
                        Some(line) => line.address = Some(address),
                        None => connection = Some(address),
                    }
                }
                (_, 'a') if !media.is_empty() => {
                    let (name, val) = value.split_once(':').unwrap_or((value, ""));
                    if let Some(last) = media.last_mut() {
                        last.attributes.push((name.to_owned(), val.to_owned()));
                    }
                }
                (_, kind) => session.push((kind, value.to_owned())),
            }
        }
        ensure!(session.iter().any(|(kind, _)| *kind == 's'), "no s=");
        ensure!(session.iter().any(|(kind, _)| *kind == 't'), "no t=");
        Ok(Sdp { origin: origin.context("no o=")?, session, media })
    }

    /// The first MSRP line that is not rejected.
    pub fn msrp(&self) -> Result<&MediaLine> {
        let line = self.media.iter().find(|m| m.proto.ends_with("/MSRP") && m.port != 0);
        let line = line.context("no accepted MSRP line in the SDP")?;
        ensure!(line.kind == "message" && line.format == "*", "MSRP line is not `message ... *`");
        Ok(line)
    }
}

fn media_line(value: &str, address: Option<IpAddr>) -> Result<MediaLine> {
    let parts: Vec<&str> = value.splitn(4, ' ').collect();
    ensure!(parts.len() == 4, "bad m= `{value}`");
    Ok(MediaLine {
        kind: parts[0].to_owned(),
        port: parts[1].parse().with_context(|| format!("bad m= `{value}`"))?,
        proto: parts[2].to_owned(),
        format: parts[3].to_owned(),
        address,
        attributes: Vec::new(),
    })
}

fn connection_address(value: &str) -> Result<IpAddr> {
    let parts: Vec<&str> = value.split(' ').collect();
    ensure!(parts.len() == 3 && parts[0] == "IN", "bad c= `{value}`");
    let address: IpAddr = parts[2].parse().with_context(|| format!("bad c= `{value}`"))?;
    ensure!((parts[1] == "IP4") == address.is_ipv4(), "c= type and address differ: `{value}`");
    Ok(address)
}

/// What an actor puts in its own SDP.
#[derive(Clone, Debug)]
pub struct SdpOptions {
    /// `a=setup`; `None` leaves it out.
    pub setup: Option<String>,
    /// `a=accept-types`.
    pub accept_types: String,
    /// `a=accept-wrapped-types`; empty leaves it out.
    pub accept_wrapped_types: String,
    /// `a=max-size` in octets.
    pub max_size: Option<u64>,
    /// `a=msrp-cema`.
    pub cema: bool,
    /// Direction attribute.
    pub direction: String,
    /// Whole lines added at the end, without CRLF (`a=...`, `m=...`).
    pub extra: Vec<String>,
    /// Address and port for `c=` and `m=` where they shall differ from the path (CEMA).
    pub socket: Option<SocketAddr>,
}

impl Default for SdpOptions {
    fn default() -> SdpOptions {
        SdpOptions {
            setup: Some("actpass".to_owned()),
            accept_types: "message/cpim application/im-iscomposing+xml".to_owned(),
            accept_wrapped_types: "text/plain message/imdn+xml image/png".to_owned(),
            max_size: None,
            cema: false,
            direction: "sendrecv".to_owned(),
            extra: Vec::new(),
            socket: None,
        }
    }
}

impl SdpOptions {
    /// The same with another `a=setup`.
    pub fn setup(setup: &str) -> SdpOptions {
        SdpOptions { setup: Some(setup.to_owned()), ..SdpOptions::default() }
    }

    /// Writes the description of an endpoint at `at` with path `uri`.
    pub fn write(&self, at: SocketAddr, uri: &str) -> Vec<u8> {
        let at = self.socket.unwrap_or(at);
        let family = if at.is_ipv4() { "IP4" } else { "IP6" };
        let id = u32::from_str_radix(&crate::token(4), 16).unwrap_or(1);
        let mut lines = vec![
            "v=0".to_owned(),
            format!("o=- {id} 1 IN {family} {}", at.ip()),
            "s=-".to_owned(),
            format!("c=IN {family} {}", at.ip()),
            "t=0 0".to_owned(),
            format!("m=message {} TCP/MSRP *", at.port()),
            format!("a=accept-types:{}", self.accept_types),
        ];
        if !self.accept_wrapped_types.is_empty() {
            lines.push(format!("a=accept-wrapped-types:{}", self.accept_wrapped_types));
        }
        lines.push(format!("a=path:{uri}"));
        lines.extend(self.max_size.map(|octets| format!("a=max-size:{octets}")));
        lines.extend(self.setup.as_ref().map(|setup| format!("a=setup:{setup}")));
        if self.cema {
            lines.push("a=msrp-cema".to_owned());
        }
        lines.push(format!("a={}", self.direction));
        lines.extend(self.extra.iter().cloned());
        (lines.join("\r\n") + "\r\n").into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_it_reads() {
        let options = SdpOptions { cema: true, max_size: Some(9), ..SdpOptions::setup("active") };
        let at: SocketAddr = "[fd77::1]:7000".parse().unwrap();
        let sdp = Sdp::parse(&options.write(at, "msrp://[fd77::1]:7000/x;tcp")).unwrap();
        let line = sdp.msrp().unwrap();
        assert_eq!(line.socket().unwrap(), at);
        assert_eq!(line.path().unwrap(), ["msrp://[fd77::1]:7000/x;tcp"]);
        assert_eq!(line.attribute("setup"), Some("active"));
        assert_eq!(line.attribute("msrp-cema"), Some(""));
        assert_eq!(line.attribute("max-size"), Some("9"));
    }

    #[test]
    fn an_address_of_the_wrong_type_is_refused() {
        let body = b"v=0\r\no=- 1 1 IN IP4 ::1\r\ns=-\r\nc=IN IP4 ::1\r\nt=0 0\r\n";
        assert!(Sdp::parse(body).is_err());
    }
}
