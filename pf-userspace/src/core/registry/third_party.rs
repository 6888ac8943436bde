//! Third-party REGISTER: a core registrar tells of a user's registration (TS 24.229 clause 5.4.1.7). The device is in
//! the original REGISTER, which travels in the body as `message/sip`, with or without the registrar's 200.

use bytes::Bytes;

use crate::core::{
    Entropy, Time,
    event::Peer,
    sdp::split_body,
    sip::{Headers, Method, NameAddr, Request, Response},
};

use super::{
    Registry, address_key,
    device::instance_of,
    register::{Contacts, Registration, address_of, is_sip, seconds},
};

/// The longest embedded message that is read, in octets.
const MAX_EMBEDDED: usize = 64 * 1024;
/// The most header fields of an embedded message.
const MAX_HEADERS: usize = 256;
/// The most addresses of one user that a registrar may name.
const MAX_ALIASES: usize = 32;

/// What a third-party REGISTER carries.
pub(super) struct Report {
    /// The device's own REGISTER.
    register: Option<Request>,
    /// Header fields of the 200 that the device got.
    granted: Option<Headers>,
}

impl Registry {
    /// Is it a third-party REGISTER: from a registrar of the core, with the original in the body or sent in
    /// another's name? From any other peer, trusted proxies included, both are only what a user wrote.
    pub(super) fn third_party(&self, request: &Request, from: &Peer) -> Option<Report> {
        if !self.registrars.contains(&from.addr.ip()) {
            return None;
        }
        let report = Report::read(request);
        let user = address_of(request, "To").ok().as_deref().and_then(address_key);
        let sender = address_of(request, "From").ok().as_deref().and_then(address_key);
        (report.register.is_some() || user != sender).then_some(report)
    }

    /// Enters what a registrar tells. Without the original REGISTER nothing is known of a device, but an
    /// `Expires` of 0 still means that the user has left.
    ///
    /// # Errors
    /// The refusal to answer with: `403` where the registrar only passes the REGISTER on. Its own has one Via, its
    /// own (TS 24.229 clause 5.4.1.7), and no Path, which an edge on a device's way would have added.
    pub(super) fn report(
        &mut self,
        now: Time,
        entropy: &mut dyn Entropy,
        request: &Request,
        report: Report,
        from: &Peer,
    ) -> Result<Response, Response> {
        if request.headers.has("Path") || request.headers.list("Via").nth(1).is_some() {
            return Err(Response::new(403));
        }
        let user = address_of(request, "To")?;
        let aor = self.known_user(&user).unwrap_or(user);
        let lasts = request.headers.get("Expires").and_then(seconds);
        let granted = lasts.unwrap_or(u32::MAX);
        let response = Response::new(200).with("Expires", granted.min(self.bounds.1).to_string());
        if granted == 0 {
            if let Some(key) = self.account_key(&aor) {
                self.change(&key, |account| account.devices.clear());
            }
            return Ok(response);
        }
        let Some(register) = report.register else { return Ok(response) };
        let mut registration = Registration::read(&register, aor.clone(), *from)?;
        let contact = request.headers.get("Contact").and_then(|value| NameAddr::parse(value).ok());
        let registrar = contact.map(|contact| contact.uri).filter(|uri| is_sip(uri));
        registration.registrar = Some(registrar.unwrap_or_else(|| format!("sip:{}", from.addr)));
        if let Contacts::Some(contacts) = &mut registration.contacts {
            for (contact, seconds) in contacts {
                *seconds = (*seconds).min(granted);
                // Only the registrar gives GRUUs: what the device itself writes there counts for nothing.
                contact.params.retain(|(name, _)| !name.eq_ignore_ascii_case("pub-gruu"));
                if let Some(headers) = &report.granted {
                    take_grant(contact, seconds, headers);
                }
            }
        }
        match self.apply(now, entropy, registration) {
            Ok(()) => {}
            // An older report came late: what we have is newer.
            Err(refusal) if refusal.status == 500 => return Ok(response),
            Err(refusal) => return Err(refusal),
        }
        if let (Some(headers), Some(key)) = (report.granted, self.account_key(&aor)) {
            let uris = headers.list("P-Associated-URI").filter_map(|value| NameAddr::parse(value).ok());
            let others = uris.filter_map(|address| address_key(&address.uri)).filter(|alias| *alias != key);
            let free = |alias: &String| {
                !self.owners.contains_key(alias)
                    && !self.accounts.contains_key(alias)
                    && self.by_alias.get(alias).is_none_or(|owner| *owner == key)
            };
            let aliases: Vec<String> = others.filter(free).take(MAX_ALIASES).collect();
            self.change(&key, |account| account.aliases = aliases);
        }
        Ok(response)
    }
}

/// What the registrar granted to this Contact: how long, and which public GRUU.
fn take_grant(contact: &mut NameAddr, seconds_left: &mut u32, headers: &Headers) {
    let same = |granted: &NameAddr| match (instance_of(granted), instance_of(contact)) {
        (Some(a), Some(b)) => super::same_urn(a, b),
        _ => super::same_contact(&granted.uri, &contact.uri),
    };
    let granted = headers.list("Contact").filter_map(|value| NameAddr::parse(value).ok()).find(same);
    let Some(granted) = granted.filter(|_| *seconds_left > 0) else { return };
    if let Some(lasts) = granted.param("expires").and_then(seconds) {
        *seconds_left = lasts.min(*seconds_left);
    }
    let gruu = granted.param("pub-gruu").filter(|uri| is_sip(uri));
    contact.params.extend(gruu.map(|uri| ("pub-gruu".to_owned(), Some(format!("\"{uri}\"")))));
}

impl Report {
    fn read(request: &Request) -> Report {
        let mut report = Report { register: None, granted: None };
        let Ok(body) = split_body(request.headers.get("Content-Type"), &request.body) else { return report };
        for part in body.others.iter().filter(|part| part.media_type() == "message/sip") {
            let Some((start, headers)) = embedded(&part.body) else { continue };
            if let Some(uri) = start.strip_prefix("REGISTER ").and_then(|rest| rest.strip_suffix(" SIP/2.0"))
            {
                let register =
                    Request { method: Method::Register, uri: uri.to_owned(), headers, body: Bytes::new() };
                report.register.get_or_insert(register);
            } else if start.starts_with("SIP/2.0 200") {
                report.granted.get_or_insert(headers);
            }
        }
        report
    }
}

/// Start line and header fields of a SIP message in a body.
fn embedded(octets: &[u8]) -> Option<(String, Headers)> {
    let text = std::str::from_utf8(octets).ok().filter(|text| text.len() <= MAX_EMBEDDED)?;
    let mut lines = text.trim_start_matches(['\r', '\n']).split('\n').map(|line| line.trim_end_matches('\r'));
    let start = lines.next()?.to_owned();
    let mut headers = Headers::default();
    for line in lines.take_while(|line| !line.is_empty()) {
        if line.starts_with([' ', '\t']) {
            let last = headers.0.last_mut()?;
            last.value.push(' ');
            last.value.push_str(line.trim());
            continue;
        }
        let (name, value) = line.split_once(':')?;
        if headers.0.len() == MAX_HEADERS {
            return None;
        }
        headers.push(name.trim_end(), value.trim());
    }
    Some((start, headers))
}
