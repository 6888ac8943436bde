//! REGISTER of a device (RFC 3261 section 10.3), and the change of the device table that follows.

use std::time::Duration;

use crate::core::{
    Entropy, Time,
    event::{Peer, Transport},
    sip::{NameAddr, Request, Response, Uri},
};

use super::{
    Account, Device, MAX_ACCOUNTS, MAX_DEVICES, Registry,
    address::{address_key, is_clean_uri},
    device::{instance_of, same_urn},
    digest::Asker,
    gruu,
};

/// Seconds that a registration lasts where the device does not say (RFC 3261 section 10.3 step 6).
const DEFAULT_EXPIRES: u32 = 3600;
/// The most Contact values of one REGISTER.
const MAX_CONTACTS: usize = 16;
/// The longest Contact, Path or User-Agent value kept, in octets.
const MAX_VALUE: usize = 4096;
/// The most Path values.
const MAX_PATH: usize = 8;
/// Extensions that a REGISTER may require.
const EXTENSIONS: [&str; 3] = ["gruu", "path", "pref"];

/// What a REGISTER, or a registrar's report of one, says.
pub(super) struct Registration {
    /// The user's address of record.
    pub(super) aor: String,
    pub(super) contacts: Contacts,
    pub(super) call_id: String,
    pub(super) cseq: u32,
    pub(super) user_agent: Option<String>,
    pub(super) path: Vec<String>,
    pub(super) allow: Vec<String>,
    /// Give GRUUs.
    pub(super) gruu: bool,
    /// The core registrar's Contact, where it reports.
    pub(super) registrar: Option<String>,
    pub(super) peer: Peer,
}

/// The Contact header fields of a REGISTER.
pub(super) enum Contacts {
    /// `*`: remove all.
    All,
    /// Each with the seconds it shall last; 0 removes.
    Some(Vec<(NameAddr, u32)>),
}

impl Registry {
    pub(super) fn first_party(
        &mut self,
        now: Time,
        entropy: &mut dyn Entropy,
        request: &Request,
        from: &Peer,
    ) -> Result<Response, Response> {
        if !self.serves(&request.uri) {
            return Err(Response::new(404));
        }
        let unsupported: Vec<&str> = request
            .headers
            .list("Require")
            .filter(|tag| !EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(tag)))
            .collect();
        if !unsupported.is_empty() {
            return Err(Response::new(420).with("Unsupported", unsupported.join(", ")));
        }
        let to = address_of(request, "To")?;
        let sender = address_of(request, "From")?;
        if self.users.is_empty() {
            return Err(Response::new(403));
        }
        let addresses = self.authenticate(now, entropy, request, Asker::Registrar)?.addresses.clone();
        let owned = |address: &str| addresses.iter().any(|a| super::same_address(a, address));
        let aor = addresses.first().filter(|_| owned(&to) && owned(&sender)).ok_or(Response::new(403))?;
        let registration = Registration::read(request, aor.clone(), *from)?;
        if let Contacts::Some(contacts) = &registration.contacts {
            // Only what is also below an hour may be too brief (RFC 3261 section 10.3 step 7).
            let brief = contacts.iter().any(|(_, s)| *s > 0 && *s < self.bounds.0.min(DEFAULT_EXPIRES));
            if brief {
                return Err(Response::new(423).with("Min-Expires", self.bounds.0.to_string()));
            }
        }
        let (gruu, path) = (registration.gruu, registration.path.clone());
        self.apply(now, entropy, registration)?;
        let mut response = Response::new(200);
        for device in self.devices(aor) {
            response.headers.push("Contact", binding(device, now, gruu));
        }
        for value in path {
            response.headers.push("Path", value);
        }
        if let Some(route) = self.service_route(from) {
            response.headers.push("Service-Route", route);
        }
        let associated: Vec<String> = addresses.iter().map(|a| format!("<{a}>")).collect();
        response.headers.push("P-Associated-URI", associated.join(", "));
        response.headers.push("Supported", "gruu, path");
        Ok(response)
    }

    /// Is this Request-URI of a domain, or an address, of ours?
    fn serves(&self, uri: &str) -> bool {
        let Ok(uri) = Uri::parse(uri) else { return false };
        let own = |host: &str| host.eq_ignore_ascii_case(&uri.host);
        self.domains.iter().any(|domain| own(domain))
            || self.sip.iter().any(|a| own(&a.host) || a.bound.ip().to_string() == uri.host)
    }

    /// Our own address where the REGISTER arrived, for the device's later requests (RFC 3608).
    fn service_route(&self, from: &Peer) -> Option<String> {
        let same = |transport| move |a: &&super::SipAddress| a.transport == transport;
        let mut listeners = self.sip.iter().filter(same(from.transport));
        let exact = listeners.clone().find(|a| a.bound.port() == from.local.port());
        let address = exact.or_else(|| listeners.next())?;
        let host =
            if address.host.contains(':') { format!("[{}]", address.host) } else { address.host.clone() };
        let transport = match address.transport {
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
            Transport::Udp => "",
        };
        Some(format!("<sip:{host}:{}{transport};lr>", address.port))
    }

    /// Enters a registration, all of it or nothing.
    pub(super) fn apply(
        &mut self,
        now: Time,
        entropy: &mut dyn Entropy,
        registration: Registration,
    ) -> Result<(), Response> {
        let key = address_key(&registration.aor).ok_or_else(|| Response::new(400))?;
        let key = self.account_key(&registration.aor).unwrap_or(key);
        if !self.accounts.contains_key(&key) && self.accounts.len() >= MAX_ACCOUNTS {
            return Err(Response::new(503));
        }
        let longest = self.bounds.1.max(self.bounds.0);
        self.change(&key, |account| account.enter(now, entropy, registration, longest))
    }
}

impl Account {
    fn enter(
        &mut self,
        now: Time,
        entropy: &mut dyn Entropy,
        registration: Registration,
        longest: u32,
    ) -> Result<(), Response> {
        let mut devices = self.devices.clone();
        match &registration.contacts {
            Contacts::All => {
                if devices.iter().any(|device| registration.is_old_for(device)) {
                    return Err(Response::new(500));
                }
                devices.clear();
            }
            Contacts::Some(contacts) => {
                for (contact, seconds) in contacts {
                    let at = devices.iter().position(|device| is_binding_of(device, contact));
                    if at.is_some_and(|at| registration.is_old_for(&devices[at])) {
                        return Err(Response::new(500));
                    }
                    match (at, *seconds) {
                        (Some(at), 0) => drop(devices.remove(at)),
                        (None, 0) => {}
                        (at, seconds) => {
                            let expires = now + Duration::from_secs(seconds.min(longest).into());
                            let before = at.map(|at| &devices[at]);
                            let device = registration.device(contact, expires, before, entropy);
                            match at {
                                Some(at) => devices[at] = device,
                                None => devices.push(device),
                            }
                        }
                    }
                }
            }
        }
        if devices.len() > MAX_DEVICES.max(self.devices.len()) {
            return Err(Response { reason: "Too Many Devices".to_owned(), ..Response::new(403) });
        }
        self.devices = devices;
        Ok(())
    }
}

impl Registration {
    /// Reads the parts of a REGISTER.
    pub(super) fn read(request: &Request, aor: String, peer: Peer) -> Result<Registration, Response> {
        let headers = &request.headers;
        let bad = || Response::new(400);
        let too_long = || Response::new(513);
        let call_id = Some(request.call_id()).filter(|id| !id.is_empty()).ok_or_else(bad)?;
        let path: Vec<String> = headers.list("Path").take(MAX_PATH + 1).map(str::to_owned).collect();
        let user_agent = headers.get("User-Agent");
        if path.len() > MAX_PATH
            || path.iter().map(String::as_str).chain(user_agent).any(|v| v.len() > MAX_VALUE)
            || call_id.len() > MAX_VALUE
        {
            return Err(too_long());
        }
        let is_route = |value: &String| NameAddr::parse(value).is_ok_and(|r| is_sip(&r.uri));
        if !path.iter().all(is_route) {
            return Err(bad());
        }
        let gruu = headers.has_token("Supported", "gruu") || headers.has_token("Require", "gruu");
        Ok(Registration {
            aor,
            contacts: Contacts::read(request)?,
            call_id: call_id.to_owned(),
            cseq: request.cseq().ok_or_else(bad)?,
            user_agent: user_agent.map(str::to_owned),
            path,
            allow: headers.list("Allow").take(64).map(str::to_owned).collect(),
            gruu,
            registrar: None,
            peer,
        })
    }

    /// Has this binding already seen this REGISTER or a later one (RFC 3261 section 10.3 steps 6 and 7)?
    /// A registrar may report the same REGISTER twice.
    fn is_old_for(&self, device: &Device) -> bool {
        let late = if self.registrar.is_some() { self.cseq < device.cseq } else { self.cseq <= device.cseq };
        late && self.call_id == device.call_id
    }

    fn device(
        &self,
        contact: &NameAddr,
        expires: Time,
        before: Option<&Device>,
        entropy: &mut dyn Entropy,
    ) -> Device {
        let instance = instance_of(contact).map(str::to_owned);
        let ours = self.registrar.is_none() && self.gruu;
        let gruu_instance = instance.as_deref().filter(|_| ours);
        let reported = contact.param("pub-gruu").filter(|_| self.registrar.is_some()).map(str::to_owned);
        // Those of an earlier Call-ID are no longer valid (RFC 5627 section 5.3).
        let kept = before.filter(|device| device.call_id == self.call_id).map(|d| d.temp_gruus.clone());
        let mut temp_gruus = kept.unwrap_or_default();
        temp_gruus.extend(gruu_instance.and_then(|_| gruu::temporary(&self.aor, entropy)));
        temp_gruus.drain(..temp_gruus.len().saturating_sub(gruu::MAX_TEMPORARY));
        Device {
            aor: self.aor.clone(),
            contact: contact.uri.clone(),
            gruu: gruu_instance.and_then(|i| gruu::public(&self.aor, i)).or(reported),
            instance,
            temp_gruus,
            params: contact.params.clone(),
            user_agent: self.user_agent.clone(),
            display_name: contact.display.clone(),
            path: self.path.clone(),
            allow: self.allow.clone(),
            peer: self.peer,
            expires,
            registrar: self.registrar.clone(),
            call_id: self.call_id.clone(),
            cseq: self.cseq,
            msrp_path: before.and_then(|device| device.msrp_path),
        }
    }
}

impl Contacts {
    fn read(request: &Request) -> Result<Contacts, Response> {
        let headers = &request.headers;
        let bad = || Response::new(400);
        let common = headers.get("Expires").and_then(seconds);
        let values: Vec<&str> = headers.list("Contact").take(MAX_CONTACTS + 1).collect();
        if values.len() > MAX_CONTACTS || values.iter().any(|v| v.len() > MAX_VALUE) {
            return Err(Response::new(513));
        }
        if values.contains(&"*") {
            let alone = values.len() == 1 && common == Some(0);
            return if alone { Ok(Contacts::All) } else { Err(bad()) };
        }
        let contacts = values.into_iter().map(|value| {
            let contact = NameAddr::parse(value).ok().filter(|c| is_sip(&c.uri)).ok_or_else(bad)?;
            let own = contact.param("expires").map(|value| seconds(value).unwrap_or(DEFAULT_EXPIRES));
            let lasts = own.or(common).unwrap_or(DEFAULT_EXPIRES);
            Ok((contact, lasts))
        });
        contacts.collect::<Result<_, _>>().map(Contacts::Some)
    }
}

/// Does the binding belong to this Contact: by instance, else by Contact URI? A Contact without instance also
/// means the device that registered its URI with one.
fn is_binding_of(device: &Device, contact: &NameAddr) -> bool {
    match (&device.instance, instance_of(contact)) {
        (Some(ours), Some(theirs)) => same_urn(ours, theirs),
        _ => super::same_contact(&device.contact, &contact.uri),
    }
}

/// One Contact of the 200 (RFC 3261 section 10.3 step 8, RFC 5627 section 5.3).
fn binding(device: &Device, now: Time, gruu: bool) -> String {
    let lasts = device.expires.saturating_since(now).as_secs();
    let mut value = format!("<{}>;expires={lasts}", device.contact);
    let echoed = |name: &str| ["+sip.instance", "q", "reg-id"].iter().any(|n| n.eq_ignore_ascii_case(name));
    for (name, text) in device.params.iter().filter(|(name, _)| echoed(name)) {
        value.push(';');
        value.push_str(name);
        if let Some(text) = text {
            value.push('=');
            value.push_str(text);
        }
    }
    if gruu {
        let temporary = device.temp_gruus.last();
        for (name, uri) in
            device.gruu.iter().map(|g| ("pub-gruu", g)).chain(temporary.map(|g| ("temp-gruu", g)))
        {
            value.push_str(&format!(";{name}=\"{uri}\""));
        }
    }
    value
}

/// The URI in From or To.
pub(super) fn address_of(request: &Request, name: &str) -> Result<String, Response> {
    let value = request.headers.get(name).and_then(|value| NameAddr::parse(value).ok());
    value.map(|address| address.uri).filter(|uri| is_clean_uri(uri)).ok_or_else(|| Response::new(400))
}

/// Delta-seconds; more than fits counts as the most.
pub(super) fn seconds(value: &str) -> Option<u32> {
    let value = value.trim();
    let digits = !value.is_empty() && value.bytes().all(|o| o.is_ascii_digit());
    digits.then(|| value.parse().unwrap_or(u32::MAX))
}

/// A SIP or SIPS URI that may stand in a message as it is.
pub(super) fn is_sip(uri: &str) -> bool {
    is_clean_uri(uri) && Uri::parse(uri).is_ok_and(|uri| uri.scheme == "sip" || uri.scheme == "sips")
}
