//! One registered device of a user.

use crate::core::{
    Time,
    event::{Hop, Peer},
    sip::NameAddr,
    view::DeviceView,
};

use super::{
    address::{is_gruu, same_contact},
    suitable::Icsi,
};

/// A device as its registration describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The user's address of record.
    pub aor: String,
    /// `+sip.instance`, without quotes and brackets.
    pub instance: Option<String>,
    /// Contact URI.
    pub contact: String,
    /// Public GRUU, where the device asked for one and has an instance.
    pub gruu: Option<String>,
    /// Temporary GRUUs given out under the present Call-ID (RFC 5627 section 5.3), the newest last.
    pub temp_gruus: Vec<String>,
    /// Parameters of the Contact header as registered, known or not.
    pub params: Vec<(String, Option<String>)>,
    /// User-Agent of the REGISTER.
    pub user_agent: Option<String>,
    /// Display name of the Contact: the name that the user gave the client.
    pub display_name: String,
    /// Path of the REGISTER (RFC 3327), topmost (nearest to us) first, values as they stand.
    pub path: Vec<String>,
    /// Methods of the REGISTER's Allow; empty where it had none.
    pub allow: Vec<String>,
    /// Where the REGISTER came from. Its flow is gone once the connection has closed.
    pub peer: Peer,
    /// When the registration ends.
    pub expires: Time,
    /// The registrar that reported the device (third-party REGISTER): its Contact URI. `None`: registered here.
    pub registrar: Option<String>,
    /// Call-ID of the REGISTER that last changed it.
    pub call_id: String,
    /// CSeq number of that REGISTER.
    pub cseq: u32,
    /// Octets of the MSRP path that it answered with last. Paths of one client are nearly always of one length.
    pub msrp_path: Option<usize>,
}

impl Device {
    /// The Request-URI that reaches just this device: the public GRUU where another registrar gave it,
    /// else the Contact.
    pub fn target(&self) -> &str {
        self.reported_gruu().unwrap_or(&self.contact)
    }

    /// Values of Route for a request to [`Device::target`].
    pub fn route(&self) -> Vec<String> {
        match (&self.registrar, self.reported_gruu()) {
            (Some(registrar), Some(_)) => vec![format!("<{registrar}>")],
            _ => self.path.clone(),
        }
    }

    /// Where a request to the device goes: over the connection it registered over, else to the topmost route,
    /// else to its Contact.
    pub fn hop(&self) -> Hop {
        let route = self.route().first().and_then(|value| NameAddr::parse(value).ok()).map(|route| route.uri);
        let flow = if self.registrar.is_none() { self.peer.flow } else { None };
        Hop { uri: route.unwrap_or_else(|| self.target().to_owned()), flow }
    }

    /// Is it registered for this CPM service?
    pub fn supports(&self, icsi: Icsi) -> bool {
        let tags = self.params.iter().filter(|(name, _)| name.eq_ignore_ascii_case("+g.3gpp.icsi-ref"));
        tags.filter_map(|(_, value)| value.as_deref()).any(|value| icsi.matches_tag(value))
    }

    /// Does it take INVITEs? Yes unless its Allow or its `methods` tag leaves them out.
    pub fn allows_invite(&self) -> bool {
        let listed = |methods: &str| methods.split(',').any(|m| m.trim().eq_ignore_ascii_case("INVITE"));
        let mut tags = self.params.iter().filter(|(name, _)| name.eq_ignore_ascii_case("methods"));
        (self.allow.is_empty() || self.allow.iter().any(|m| m == "INVITE"))
            && tags.all(|(_, value)| listed(value.as_deref().unwrap_or_default().trim_matches('"')))
    }

    /// Is it the device that wrote this Contact: by instance, else by GRUU, else by Contact URI?
    /// Two instances decide alone, whatever the URIs.
    pub fn is(&self, contact: &NameAddr) -> bool {
        match (&self.instance, instance_of(contact)) {
            (Some(ours), Some(theirs)) => same_urn(ours, theirs),
            _ if is_gruu(&contact.uri) => {
                let mut gruus = self.gruu.iter().chain(&self.temp_gruus);
                gruus.any(|gruu| same_contact(gruu, &contact.uri))
                    || same_contact(&self.contact, &contact.uri)
            }
            _ => same_contact(&self.contact, &contact.uri),
        }
    }

    /// What an operator sees of it.
    pub fn view(&self, now: Time) -> DeviceView {
        let told = |name: &str| {
            !["+sip.instance", "expires", "reg-id"].iter().any(|hidden| name.eq_ignore_ascii_case(hidden))
        };
        let features = self.params.iter().filter(|(name, _)| told(name));
        DeviceView {
            user: self.aor.clone(),
            instance: self.instance.clone(),
            name: self.display_name.clone(),
            contact: self.contact.clone(),
            user_agent: self.user_agent.clone(),
            features: features
                .map(|(name, value)| match value {
                    Some(value) => format!("{name}={value}"),
                    None => name.clone(),
                })
                .collect(),
            cpm: self.supports(Icsi::Session),
            expires_seconds: self.expires.saturating_since(now).as_secs(),
        }
    }

    fn reported_gruu(&self) -> Option<&str> {
        self.gruu.as_deref().filter(|_| self.registrar.is_some())
    }
}

/// The instance in a Contact, without quotes and brackets.
pub(crate) fn instance_of(contact: &NameAddr) -> Option<&str> {
    let value = contact.param("+sip.instance")?.trim();
    let value = value.strip_prefix('<').and_then(|v| v.strip_suffix('>')).unwrap_or(value);
    (!value.is_empty()).then_some(value)
}

/// Are two URNs equivalent (RFC 8141 section 3)? `urn` and namespace in any case, escapes in any case, components
/// after `?+`, `?=` and `#` left out; UUIDs (RFC 9562 section 4) and IMEIs (RFC 7254 section 3) in any case.
pub fn same_urn(a: &str, b: &str) -> bool {
    normal_urn(a) == normal_urn(b)
}

fn normal_urn(urn: &str) -> String {
    let end = [urn.find("?+"), urn.find("?="), urn.find('#')].into_iter().flatten().min();
    let urn = &urn[..end.unwrap_or(urn.len())];
    let lower = urn.to_ascii_lowercase();
    if !lower.starts_with("urn:") || lower.starts_with("urn:uuid:") || lower.starts_with("urn:gsma:") {
        return lower;
    }
    let name = lower[4..].find(':').map_or(urn.len(), |at| 4 + at);
    let mut normal = lower[..name].to_owned();
    let mut escaped = 0;
    for c in urn[name..].chars() {
        normal.push(if escaped > 0 { c.to_ascii_lowercase() } else { c });
        escaped = if c == '%' { 2_u8 } else { escaped.saturating_sub(1) };
    }
    normal
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // Rows: REG-05
    #[test]
    fn instances_are_compared_as_urns() {
        for (a, b, same) in [
            (
                "urn:uuid:F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6",
                "URN:UUID:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
                true,
            ),
            ("urn:gsma:imei:90420156-025763-0", "URN:GSMA:IMEI:90420156-025763-0", true),
            ("urn:gsma:imei:90420156-025763-0", "urn:gsma:imei:90420156-025764-0", false),
            ("urn:Example:a%3fB", "URN:example:a%3FB", true),
            ("urn:example:a", "urn:example:A", false),
            ("urn:example:a?+r", "urn:example:a?=q#f", true),
            ("urn:uuid:1", "urn:uuid:2", false),
        ] {
            assert_eq!(same_urn(a, b), same, "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(urn in "(urn:)?[%:?#=+A-Fa-f\\PC]{0,40}") {
            prop_assert!(same_urn(&urn, &urn));
        }
    }
}
