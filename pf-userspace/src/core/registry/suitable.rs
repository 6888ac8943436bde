//! Which of a user's devices get a session's copies (clause 8.2.2.1, 200-step 8).

use crate::core::{
    event::{Peer, Transport},
    policy::VersionRule,
    sip::NameAddr,
};

use super::{Device, Preferences, Registry, address::unescape};

/// The CPM services that a device registers for: IMS communication service identifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icsi {
    /// Group session.
    Group,
    /// One-to-one session.
    Session,
}

impl Icsi {
    /// The URN as it stands in P-Preferred-Service and P-Asserted-Service.
    pub const fn as_urn(self) -> &'static str {
        match self {
            Icsi::Group => "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.session.group",
            Icsi::Session => "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.session",
        }
    }

    /// The URN as it stands, in quotes, in `+g.3gpp.icsi-ref="..."` (escaped; without the quotes).
    pub const fn as_tag_value(self) -> &'static str {
        match self {
            Icsi::Group => "urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.session.group",
            Icsi::Session => "urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.session",
        }
    }

    /// The service that a P-Preferred-Service or P-Asserted-Service value names: the whole URN, in any case
    /// (RFC 6050 section 4.4), no sub-classes.
    pub fn from_urn(urn: &str) -> Option<Icsi> {
        [Icsi::Group, Icsi::Session].into_iter().find(|icsi| icsi.as_urn().eq_ignore_ascii_case(urn.trim()))
    }

    /// Does a value of `+g.3gpp.icsi-ref` (quoted or not, a comma list or not) name this service or a sub-class
    /// of it, that is, the URN itself or with more after a dot (TS 24.229 clause 7.2A.8.2)?
    pub fn matches_tag(self, value: &str) -> bool {
        let urn = self.as_urn();
        value.trim().trim_matches('"').split(',').any(|element| {
            let element = unescape(element.trim().trim_start_matches('<').trim_end_matches('>'));
            match (element.get(..urn.len()), element.get(urn.len()..)) {
                (Some(start), Some(rest)) => {
                    start.eq_ignore_ascii_case(urn) && (rest.is_empty() || rest.starts_with('.'))
                }
                _ => false,
            }
        })
    }
}

/// The user's devices that shall get copies of a session, in order of registration: all that are registered for the
/// service, take INVITEs, have a release that `rule` admits and the capabilities that the INVITE asks for
/// (`preferences`), but not the one that started the session. That one is known by the Contact of its INVITE (instance, else GRUU, else URI); failing that, by where the INVITE came
/// from.
pub fn suitable<'a>(
    registry: &'a Registry,
    aor: &str,
    icsi: Icsi,
    rule: Option<VersionRule>,
    preferences: &Preferences,
    originator_contact: &str,
    from: &Peer,
) -> Vec<&'a Device> {
    let devices = registry.devices(aor);
    let originator = originator(&devices, originator_contact, from);
    let fits = |device: &&&Device| {
        device.supports(icsi)
            && device.allows_invite()
            && rule.is_none_or(|rule| rule.admits(device.user_agent.as_deref()))
            && preferences.admit(device)
    };
    let others = devices.iter().enumerate().filter(|(index, _)| Some(*index) != originator);
    others.map(|(_, device)| device).filter(fits).copied().collect()
}

/// Which of the devices sent an INVITE with this Contact from there?
fn originator(devices: &[&Device], contact: &str, from: &Peer) -> Option<usize> {
    let by_contact = NameAddr::parse(contact)
        .ok()
        .and_then(|contact| devices.iter().position(|device| device.is(&contact)));
    by_contact.or_else(|| devices.iter().position(|device| is_source(device, from)))
}

/// Did the device itself, not a proxy for many, register from there?
pub(crate) fn is_source(device: &Device, from: &Peer) -> bool {
    let direct = device.registrar.is_none() && device.path.is_empty();
    direct && device.peer.transport == from.transport && {
        match from.transport {
            Transport::Udp => device.peer.addr == from.addr,
            Transport::Tcp | Transport::Tls => device.peer.flow.is_some() && device.peer.flow == from.flow,
        }
    }
}
