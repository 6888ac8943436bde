//! MSRP URIs (RFC 4975 section 6).

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};

/// A parsed `msrp://host:port/session;tcp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MsrpUri {
    /// `msrp` or `msrps`.
    pub scheme: String,
    /// Host and port; the host is an IP address in the lab.
    pub socket: SocketAddr,
    /// Session id.
    pub session: String,
    /// Transport: `tcp`.
    pub transport: String,
}

impl MsrpUri {
    /// Reads a URI; only IP addresses with a port are taken, which is all that the lab uses.
    pub fn parse(text: &str) -> Result<MsrpUri> {
        let wrong = || format!("`{text}` is no MSRP URI");
        let (scheme, rest) = text.split_once("://").with_context(wrong)?;
        ensure!(scheme == "msrp" || scheme == "msrps", wrong());
        let (rest, transport) = rest.split_once(';').with_context(wrong)?;
        let (authority, session) = rest.split_once('/').unwrap_or((rest, ""));
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+=/".contains(&byte);
        ensure!(session.bytes().all(allowed), wrong());
        Ok(MsrpUri {
            scheme: scheme.to_owned(),
            socket: authority.parse().with_context(wrong)?,
            session: session.to_owned(),
            transport: transport.to_owned(),
        })
    }
}
