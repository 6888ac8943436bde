//! A device of the user: a party that registers (clause 7.1).

use std::{
    net::SocketAddr,
    ops::{Deref, DerefMut},
};

use anyhow::{Context, Result, ensure};

use super::Party;
use crate::{
    net::Place,
    sip::{Credentials, Message, Transport, authorization},
    trace::Trace,
    wait::SOON,
};

/// ICSI of one-to-one CPM sessions.
pub const ICSI_SESSION: &str = "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.session";
/// ICSI of CPM group sessions.
pub const ICSI_GROUP: &str = "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.session.group";

/// `+g.3gpp.icsi-ref="..."` with these ICSIs.
pub fn icsi_tag(icsis: &[&str]) -> String {
    let list: Vec<String> = icsis.iter().map(|icsi| icsi.replace(':', "%3A")).collect();
    format!("+g.3gpp.icsi-ref=\"{}\"", list.join(","))
}

/// What a device says of itself when it registers.
#[derive(Clone, Debug)]
pub struct Device {
    /// The user's CPM address.
    pub address: String,
    /// User name and password.
    pub credentials: Credentials,
    /// `+sip.instance` without brackets.
    pub instance: String,
    /// Display name of the Contact.
    pub display_name: String,
    /// User-Agent.
    pub user_agent: String,
    /// Feature tags, as they stand in the Contact.
    pub features: Vec<String>,
    /// Transport of its requests.
    pub transport: Transport,
}

impl Device {
    /// A CPM 2.2 device of `sip:alice@example.org`.
    pub fn of_alice(display_name: &str) -> Device {
        let random = crate::token(16);
        let (a, b, c, d, e) =
            (&random[..8], &random[8..12], &random[12..16], &random[16..20], &random[20..32]);
        Device {
            address: "sip:alice@example.org".to_owned(),
            credentials: Credentials { username: "alice".into(), password: "wonderland".into() },
            instance: format!("urn:uuid:{a}-{b}-{c}-{d}-{e}"),
            display_name: display_name.to_owned(),
            user_agent: "CPM-client/OMA2.2 lab/1".to_owned(),
            features: vec![icsi_tag(&[ICSI_SESSION, ICSI_GROUP])],
            transport: Transport::usual(),
        }
    }

    fn contact_params(&self) -> String {
        let mut params = format!(";+sip.instance=\"<{}>\"", self.instance);
        for feature in &self.features {
            params.push_str(&format!(";{feature}"));
        }
        params
    }
}

/// A device: a [`Party`] with a registration.
pub struct Ue {
    /// What it registers.
    pub device: Device,
    /// Everything that it has in common with the far end.
    pub party: Party,
    call_id: String,
    cseq: u32,
}

impl Deref for Ue {
    type Target = Party;
    fn deref(&self) -> &Party {
        &self.party
    }
}

impl DerefMut for Ue {
    fn deref_mut(&mut self) -> &mut Party {
        &mut self.party
    }
}

impl Ue {
    /// A device at `place` whose requests go to `proxy`.
    pub fn start(name: &str, place: &Place, device: Device, proxy: SocketAddr, trace: &Trace) -> Result<Ue> {
        let mut party = Party::start(name, place, device.transport, &device.address, trace)?;
        party.proxy = Some(proxy);
        party.credentials = Some(device.credentials.clone());
        party.contact_params = device.contact_params();
        party.product = device.user_agent.clone();
        Ok(Ue { device, party, call_id: crate::token(12), cseq: 0 })
    }

    /// Registers as the device says, and must succeed.
    pub async fn register(&mut self) -> Result<Message> {
        let answer = self.register_with(3600, |_| {}).await?;
        let name = &self.party.name;
        ensure!(answer.code() == 200, "{name}'s REGISTER was answered {}", answer.summary());
        Ok(answer)
    }

    /// Changes the feature tags and registers again.
    pub async fn register_features(&mut self, features: Vec<String>) -> Result<Message> {
        self.device.features = features;
        self.party.contact_params = self.device.contact_params();
        self.register().await
    }

    /// Registers with this expiry; `edit` has the last word on the REGISTER. A challenge is met once.
    pub async fn register_with(&mut self, expires: u32, edit: impl Fn(&mut Message)) -> Result<Message> {
        let first = self.register_once(expires, &edit, None).await?;
        if first.code() != 401 {
            return Ok(first);
        }
        self.register_once(expires, &edit, Some(&first)).await
    }

    async fn register_once(
        &mut self,
        expires: u32,
        edit: &impl Fn(&mut Message),
        refusal: Option<&Message>,
    ) -> Result<Message> {
        self.cseq += 1;
        let address = self.party.address.clone();
        let domain = address.rsplit_once('@').context("an address without domain")?.1;
        let registrar = format!("sip:{domain}");
        let contact = format!("\"{}\" {}", self.device.display_name, self.party.contact());
        let mut register = Message::request("REGISTER", &registrar)
            .with("Max-Forwards", "70")
            .with("From", format!("<{address}>;tag={}", crate::token(4)))
            .with("To", format!("<{address}>"))
            .with("Call-ID", self.call_id.clone())
            .with("CSeq", format!("{} REGISTER", self.cseq))
            .with("Contact", contact)
            .with("Expires", expires.to_string())
            .with("User-Agent", self.device.user_agent.clone())
            .with("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS, MESSAGE")
            .with("Supported", "path, gruu");
        if let Some(refusal) = refusal {
            let challenges = refusal.all("WWW-Authenticate");
            let value = authorization(&self.device.credentials, &challenges, "REGISTER", &registrar)?;
            register = register.with("Authorization", value);
        }
        edit(&mut register);
        let to = self.party.proxy.context("no registrar")?;
        self.party.agent.send(register, to).await?.last(SOON).await
    }
}
