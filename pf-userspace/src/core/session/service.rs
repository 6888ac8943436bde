//! Clause 8.2.2.1 step 4.h: which service an INVITE is for.

use crate::core::{
    registry::Icsi,
    sdp::Part,
    sip::{NameAddr, Request},
};

/// Step 4.h: which service the INVITE is for.
pub(super) enum Service {
    /// P-Preferred-Service of a CPM session (i., ii.), P-Asserted-Service of one (third item), or one that its
    /// recipient list and feature tags show.
    Cpm(Icsi),
    /// P-Asserted-Service of something else, said by a trusted node.
    Foreign(String),
    /// P-Preferred-Service of something else.
    Preferred(String),
    /// Nothing says what it is.
    Unknown,
}

impl Service {
    pub(super) fn is_group(&self) -> bool {
        matches!(self, Service::Cpm(Icsi::Group))
    }

    pub(super) fn asserted(&self) -> Option<String> {
        match self {
            Service::Cpm(icsi) => Some(icsi.as_urn().to_owned()),
            Service::Foreign(value) => Some(value.clone()),
            Service::Preferred(_) | Service::Unknown => None,
        }
    }
}

/// Reads it: asserted counts before preferred, and both before tags. What an untrusted client calls asserted is only
/// what it prefers (RFC 6050 section 4.1).
pub(super) fn service(request: &Request, parts: &[Part], trusted: bool) -> Service {
    let headers = &request.headers;
    // The whole URN counts here: one of the two begins like the other (AMB-05).
    let asserted = headers.get("P-Asserted-Service");
    if let Some(asserted) = asserted.filter(|_| trusted) {
        return Icsi::from_urn(asserted).map_or_else(|| Service::Foreign(asserted.to_owned()), Service::Cpm);
    }
    if let Some(preferred) = headers.get("P-Preferred-Service").or(asserted) {
        return Icsi::from_urn(preferred)
            .map_or_else(|| Service::Preferred(preferred.to_owned()), Service::Cpm);
    }
    // AMB-03: neither is there.
    let tags: Vec<NameAddr> = ["Accept-Contact", "Contact"]
        .into_iter()
        .flat_map(|name| headers.list(name))
        .filter_map(|value| NameAddr::parse(value).ok())
        .collect();
    let tagged = |icsi: Icsi| {
        ["+g.3gpp.icsi-ref", "g.3gpp.icsi-ref"]
            .iter()
            .any(|name| tags.iter().filter_map(|t| t.param(name)).any(|value| icsi.matches_tag(value)))
    };
    let lists = parts.iter().any(|part| part.media_type() == "application/resource-lists+xml");
    match () {
        () if lists || tagged(Icsi::Group) => Service::Cpm(Icsi::Group),
        () if tagged(Icsi::Session) => Service::Cpm(Icsi::Session),
        () => Service::Unknown,
    }
}
