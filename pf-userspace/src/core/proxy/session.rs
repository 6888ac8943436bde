//! What is remembered of a session that is only passed on: for the operator, and so that the caller's connection and
//! user are known inside the dialog. Nothing depends on it: forgetting it says nothing to anybody (RFC 4028 section 8).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::{
    Time,
    event::{FlowId, LegCounters, LegRole},
    sip::{NameAddr, Request, Response},
    view::{LegView, SessionMode, SessionView},
};

/// A dialog without session timer is remembered this long after its last request.
pub(super) const IDLE: Duration = Duration::from_secs(12 * 3600);
/// Dialogs of one forked INVITE that are remembered.
const MAX_DIALOGS: usize = 16;

/// A session that is passed on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Proxied {
    pub(super) id: u64,
    pub(super) user: String,
    pub(super) asserted: Vec<String>,
    pub(super) call_id: String,
    pub(super) caller_tag: String,
    /// The connection of a caller that is a device right in front of us.
    pub(super) flow: Option<FlowId>,
    /// The INVITE waits for its answer.
    pub(super) inviting: bool,
    device: String,
    destination: String,
    conversation_id: Option<String>,
    contribution_id: Option<String>,
    started: Time,
    /// The last request of the session.
    pub(super) used: Time,
    dialogs: Vec<Confirmed>,
}

/// A dialog with one that answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Confirmed {
    tag: String,
    /// When the session timer runs out.
    expires: Option<Time>,
}

impl Proxied {
    pub(super) fn new(
        now: Time,
        id: u64,
        user: &str,
        asserted: &[String],
        request: &Request,
        flow: Option<FlowId>,
    ) -> Proxied {
        let headers = &request.headers;
        let contact = headers.get("Contact").and_then(|c| NameAddr::parse(c).ok());
        let device = contact.map(|c| c.param("+sip.instance").map_or(c.uri.clone(), str::to_owned));
        // Behind another node the connection is not the caller's own.
        let direct = headers.list("Via").count() == 1 && !headers.has("Record-Route");
        Proxied {
            id,
            user: user.to_owned(),
            asserted: asserted.to_vec(),
            call_id: request.call_id().to_owned(),
            caller_tag: request.from_tag().unwrap_or_default(),
            flow: flow.filter(|_| direct),
            inviting: true,
            device: device.unwrap_or_default(),
            destination: request.uri.clone(),
            conversation_id: headers.get("Conversation-ID").map(str::to_owned),
            contribution_id: headers.get("Contribution-ID").map(str::to_owned),
            started: now,
            used: now,
            dialogs: Vec::new(),
        }
    }

    /// A 2xx to the INVITE: there is a dialog.
    pub(super) fn confirmed(&mut self, now: Time, tag: &str, response: &Response) {
        self.used = now;
        if self.dialogs.len() < MAX_DIALOGS && !self.dialogs.iter().any(|dialog| dialog.tag == tag) {
            self.dialogs.push(Confirmed { tag: tag.to_owned(), expires: expires(now, response) });
        }
    }

    /// A 2xx to a re-INVITE or UPDATE: the session timer begins again.
    pub(super) fn refreshed(&mut self, now: Time, tag: &str, response: &Response) {
        self.used = now;
        if let Some(dialog) = self.dialogs.iter_mut().find(|dialog| dialog.tag == tag) {
            dialog.expires = expires(now, response);
        }
    }

    /// A dialog has ended.
    pub(super) fn ended(&mut self, tag: &str) {
        self.dialogs.retain(|dialog| dialog.tag != tag);
    }

    pub(super) fn is_established(&self) -> bool {
        !self.dialogs.is_empty()
    }

    pub(super) fn is_over(&self) -> bool {
        !self.inviting && self.dialogs.is_empty()
    }

    /// When the first of its dialogs is forgotten.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.dialogs.iter().map(|dialog| dialog.expires.unwrap_or(self.used + IDLE)).min()
    }

    /// Forgets the dialogs whose time has come. Their ends know without us (clause 8.2.2.4).
    pub(super) fn tick(&mut self, now: Time) {
        let used = self.used;
        self.dialogs.retain(|dialog| dialog.expires.unwrap_or(used + IDLE) > now);
    }

    pub(super) fn view(&self, now: Time) -> SessionView {
        let state = if self.is_established() { "established" } else { "inviting" };
        let leg = |role, name: &str| LegView {
            role,
            name: name.to_owned(),
            state: state.to_owned(),
            call_id: self.call_id.clone(),
            media: Vec::new(),
            counters: LegCounters::default(),
        };
        SessionView {
            id: self.id,
            mode: SessionMode::Proxy,
            originator: self.user.clone(),
            destination: self.destination.clone(),
            conversation_id: self.conversation_id.clone(),
            contribution_id: self.contribution_id.clone(),
            age_seconds: now.saturating_since(self.started).as_secs(),
            state: state.to_owned(),
            recorded: false,
            legs: vec![leg(LegRole::Originator, &self.device), leg(LegRole::Far, &self.destination)],
        }
    }
}

/// When the session ends if nobody refreshes it, as the two ends have agreed (RFC 4028).
fn expires(now: Time, response: &Response) -> Option<Time> {
    let value = response.headers.get("Session-Expires")?;
    let seconds: u32 = value.split(';').next()?.trim().parse().ok()?;
    Some(now + Duration::from_secs(seconds.into()))
}
