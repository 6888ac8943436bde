//! Clause 8.2.2.6: who takes part in a group session, asked of its controlling function (RFC 4575, RFC 6665).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    Session, Work,
    context::Context,
    leg::F,
    media::{Reach, own_uri},
};
use crate::core::{
    Time,
    conference::{Applied, Participants},
    event::{Hop, ServerTx},
    registry::Icsi,
    sip::{Dialog, DialogError, Method, Request, Response, Uri, fields::parse_params},
    store::GroupState,
};

/// How long we subscribe for, in seconds; the controlling function may shorten it.
const EXPIRES: u32 = 3600;
/// The largest Expires that is believed, in seconds.
const LONGEST: u32 = 1 << 20;

/// A subscription to the conference event package, with what it has brought.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Subscription {
    /// Its dialog: none of the session's.
    dialog: Dialog,
    /// Header fields that every SUBSCRIBE of it has.
    headers: Vec<(String, String)>,
    /// What is wished for, in seconds.
    expires: u32,
    state: State,
    participants: Participants,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// A SUBSCRIBE waits for its answer.
    Asking,
    /// It holds; it is refreshed at this time.
    Holds(Time),
    /// It is made anew at this time.
    Again(Time),
    /// We have ended it: its last NOTIFY is the shard's to answer.
    Ended,
    /// It is over, and there will be no other.
    Over,
}

impl Subscription {
    /// When a SUBSCRIBE is due.
    pub(super) fn deadline(&self) -> Option<Time> {
        match self.state {
            State::Holds(at) | State::Again(at) => Some(at),
            State::Asking | State::Ended | State::Over => None,
        }
    }

    /// Call-ID and our tag, while its NOTIFYs concern the session.
    pub(super) fn key(&self) -> Option<(String, String)> {
        (self.state != State::Ended).then(|| self.dialog_key())
    }

    fn dialog_key(&self) -> (String, String) {
        (self.dialog.call_id.clone(), self.dialog.local_tag.clone())
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Ended | State::Over)
    }

    /// The last known participants as a document of that conference; `None` before there was one.
    pub(super) fn document(&self, focus: &str) -> Option<String> {
        self.participants.document(focus)
    }

    pub(super) fn owns(&self, request: &Request) -> bool {
        self.dialog.call_id == request.call_id()
            && request.to_tag().is_some_and(|tag| tag == self.dialog.local_tag)
    }
}

impl Session {
    /// The last known participants (BYE-46).
    pub(super) fn participants(&self) -> Vec<String> {
        let known = self.subscription.iter().flat_map(|subscription| subscription.participants.present());
        known.map(str::to_owned).collect()
    }

    /// Steps 1 to 8: subscribes.
    pub(super) fn subscribe(&mut self, cx: &mut Context<'_>) {
        let config = cx.config;
        // 2. The Request-URI is the CPM Group Session Identity: the controlling function's own, not the one that we
        // gave the client.
        let focus = self.legs[F].dialog.target.clone();
        let (hop, routes) = way(cx, &focus);
        let reach = own_uri(config, "pf", Reach::Uri(&hop.uri));
        // 6. From is our own address.
        let from = config.own_uri.as_deref().unwrap_or(&reach);
        let (call_id, tag) = (cx.call_id(), cx.tag());
        let (local, remote) = (format!("<{from}>"), format!("<{focus}>"));
        let dialog = Dialog::outgoing(call_id, local, tag, remote, focus, routes, None);
        // 3., 5. The session's feature tag; 4. the group session's service (AMB-23).
        let feature = format!("+g.3gpp.icsi-ref=\"{}\"", Icsi::Session.as_tag_value());
        let service = if config.outside_trust_domain { "P-Preferred-Service" } else { "P-Asserted-Service" };
        let mut headers: Vec<(String, String)> = Vec::new();
        let mut push = |name: &str, value: String| headers.push((name.to_owned(), value));
        // 1. RFC 6665 and RFC 4575.
        push("Event", "conference".to_owned());
        push("Accept", "application/conference-info+xml".to_owned());
        push("Accept-Contact", format!("*;{feature}"));
        push(service, Icsi::Group.as_urn().to_owned());
        push("Contact", format!("<{reach}>;{feature}"));
        // 7. The user on whose behalf.
        push("P-Asserted-Identity", format!("<{}>", self.invitation.user));
        push("User-Agent", config.product.clone());
        push("Allow", super::ALLOW.to_owned());
        let mut participants = self.subscription.take().map(|last| last.participants).unwrap_or_default();
        participants.begin_anew();
        let state = State::Asking;
        self.subscription = Some(Subscription { dialog, headers, expires: EXPIRES, state, participants });
        self.send_subscribe(cx, false);
    }

    /// A SUBSCRIBE in the dialog, or one that begins it; `end`: the subscription shall end.
    fn send_subscribe(&mut self, cx: &mut Context<'_>, end: bool) {
        let Some(subscription) = &mut self.subscription else { return };
        let (mut request, mut hop) = subscription.dialog.request(Method::Subscribe);
        if subscription.dialog.remote_tag.is_none() {
            hop = way(cx, &subscription.dialog.target).0;
        }
        for (name, value) in &subscription.headers {
            request.headers.push(name.as_str(), value.as_str());
        }
        let expires = if end { 0 } else { subscription.expires };
        request.headers.push("Expires", expires.to_string());
        if end {
            subscription.state = State::Ended;
            self.unsubscribed.push(subscription.dialog_key());
            // Whatever it answers: nothing here depends on it.
            let tx = cx.ids.client();
            return cx.request(tx, request, hop);
        }
        subscription.state = State::Asking;
        self.send(cx, F, Work::Subscribe, (request, hop));
    }

    /// Dialogs of subscriptions that we have ended since this was asked last.
    pub(crate) fn take_unsubscribed(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.unsubscribed)
    }

    /// The session ends, or its client is back, and nobody needs the participants any more.
    pub(super) fn unsubscribe(&mut self, cx: &mut Context<'_>) {
        let lives =
            |subscription: &Subscription| matches!(subscription.state, State::Asking | State::Holds(_));
        let established = |subscription: &Subscription| subscription.dialog.remote_tag.is_some();
        if self.subscription.as_ref().is_some_and(|s| lives(s) && established(s)) {
            self.send_subscribe(cx, true);
        }
    }

    /// It is time to refresh, or to try again.
    pub(super) fn subscription_due(&mut self, cx: &mut Context<'_>) {
        let due = |subscription: &Subscription| subscription.deadline().is_some_and(|at| at <= cx.now);
        let Some(subscription) = self.subscription.as_ref().filter(|s| due(s) && !self.ending) else {
            return;
        };
        match subscription.state {
            State::Again(_) => self.subscribe(cx),
            _ => self.send_subscribe(cx, false),
        }
    }

    /// The answer to a SUBSCRIBE (RFC 6665 section 4.1.2).
    pub(super) fn subscribe_answered(&mut self, cx: &mut Context<'_>, response: &Response) {
        let Some(subscription) = &mut self.subscription else { return };
        if subscription.state != State::Asking {
            return;
        }
        match response.status {
            200..300 => {
                if subscription.dialog.remote_tag.is_none() {
                    subscription.dialog.establish(response);
                }
                let granted = response.headers.get("Expires").and_then(|value| value.trim().parse().ok());
                subscription.state = State::Holds(refresh_at(cx.now, granted.unwrap_or(EXPIRES)));
            }
            423 => {
                let least = response.headers.get("Min-Expires").and_then(|value| value.trim().parse().ok());
                match least {
                    Some(least) if least > subscription.expires && least <= LONGEST => {
                        subscription.expires = least;
                        self.send_subscribe(cx, false);
                    }
                    _ => subscription.state = State::Over,
                }
            }
            // The subscription is gone, or the controlling function cannot just now.
            408 | 481 | 500..600 => {
                subscription.state = State::Again(cx.now + cx.config.policy.subscription_retry())
            }
            _ => subscription.state = State::Over,
        }
    }

    /// Clause 8.2.2.6.1: a NOTIFY in the dialog of the subscription.
    pub(super) fn notified(&mut self, cx: &mut Context<'_>, tx: ServerTx, request: &Request) {
        let Some(subscription) = self.subscription.as_mut().filter(|s| !s.is_over()) else {
            return cx.refuse(tx, request, 481);
        };
        if request.method != Method::Notify {
            return cx.refuse(tx, request, 405);
        }
        if !event_is_conference(request) {
            return cx.refuse(tx, request, 489);
        }
        if subscription.dialog.remote_tag.is_none() {
            // The NOTIFY may come before the 2xx: it makes the dialog (RFC 6665 section 4.4.1).
            subscription.dialog.remote_tag = request.from_tag();
            subscription.dialog.routes = request.headers.list("Record-Route").map(str::to_owned).collect();
        }
        if let Err(error) = subscription.dialog.receive(request) {
            let status = match error {
                DialogError::Contact | DialogError::Incomplete => 400,
                DialogError::Order => 500,
                DialogError::Tag => 481,
            };
            return cx.refuse(tx, request, status);
        }
        subscription.dialog.refresh_target(request.headers.get("Contact"));
        // 1. RFC 4575.
        let mut gap = false;
        if !request.body.is_empty() {
            match subscription.participants.apply(&request.body) {
                Ok(applied) => gap = applied == Applied::Gap,
                Err(_) => return cx.refuse(tx, request, 400),
            }
        }
        let ok = cx.refusal(request, 200);
        cx.respond(tx, ok);
        self.subscription_state(cx, request.headers.get("Subscription-State").unwrap_or_default());
        let holds = self.subscription.as_ref().is_some_and(|s| matches!(s.state, State::Holds(_)));
        if gap && holds {
            self.send_subscribe(cx, false);
        }
    }

    /// What Subscription-State says (RFC 6665 section 4.1.3, AMB-24).
    fn subscription_state(&mut self, cx: &mut Context<'_>, value: &str) {
        let (state, params) = value.split_once(';').unwrap_or((value, ""));
        let params = parse_params(params);
        let param = |name: &str| {
            let found = params.iter().find(|(n, _)| n.trim().eq_ignore_ascii_case(name));
            found.and_then(|(_, value)| value.as_deref()).unwrap_or_default().trim().to_ascii_lowercase()
        };
        let Some(subscription) = &mut self.subscription else { return };
        if !state.trim().eq_ignore_ascii_case("terminated") {
            if let Ok(expires) = param("expires").parse() {
                subscription.state = State::Holds(refresh_at(cx.now, expires));
            }
            return;
        }
        let retry = cx.config.policy.subscription_retry();
        let after =
            param("retry-after").parse().map_or(retry, |s: u32| Duration::from_secs(s.min(LONGEST).into()));
        subscription.state = match param("reason").as_str() {
            "noresource" | "rejected" | "invariant" => State::Over,
            "deactivated" | "timeout" => State::Again(cx.now),
            _ => State::Again(cx.now + after),
        };
        if param("reason") == "noresource" {
            self.group_is_inactive(cx);
        }
    }

    /// Step 2: the group session has ended or is inactive: a new Group State Object, where the user wants one.
    fn group_is_inactive(&mut self, cx: &mut Context<'_>) {
        self.inactive = true;
        let wishes = cx.wishes(&self.invitation.user, &self.invitation.destination);
        if cx.config.store.is_some() && (wishes.allow_store || wishes.allow_offline_storage) {
            let state = self.group_state(None);
            self.order_group_state(cx, state);
        }
    }

    /// The Group State Object as things stand.
    pub(super) fn group_state(&self, restartable: Option<bool>) -> GroupState {
        let last_focus_session_id = self.legs[F].dialog.target.clone();
        GroupState { last_focus_session_id, participants: self.participants(), restartable }
    }
}

/// 8. By the rules of the core: to the configured core, else straight to the controlling function.
fn way(cx: &Context<'_>, focus: &str) -> (Hop, Vec<String>) {
    let Some(core) = cx.config.core_route.clone() else {
        return (Hop { uri: focus.to_owned(), flow: None }, Vec::new());
    };
    let loose = Uri::parse(&core).is_ok_and(|uri| uri.param("lr").is_some());
    let routes = if loose { vec![format!("<{core}>")] } else { Vec::new() };
    (Hop { uri: core, flow: None }, routes)
}

/// A subscription of so many seconds is refreshed when three quarters of them are over.
fn refresh_at(now: Time, expires: u32) -> Time {
    now + Duration::from_secs(u64::from(expires.clamp(4, LONGEST)) * 3 / 4)
}

fn event_is_conference(request: &Request) -> bool {
    let value = request.headers.get("Event").unwrap_or_default();
    let package = value.split(';').next().unwrap_or_default();
    package.trim().eq_ignore_ascii_case("conference")
}
