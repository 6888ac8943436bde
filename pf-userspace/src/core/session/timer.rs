//! Session timers of each leg (RFC 4028) and clause 8.2.2.4, SIP Session Timer Expiry.
//!
//! | step | what | where |
//! |---|---|---|
//! | | whose timer it is, and what that costs | `Session::expired` |
//! | 2 | what is stored first; Message-UID | `storing` ([`Then::Expire`]), `Session::send_bye` |
//! | 1, 3 | BYE to each client | `Session::end` |
//! | 4 | BYE to each IWF | `Session::end` |
//! | 5 | BYE to the other CPM entity | `Session::end` |
//! | 6 | media, of each leg when its BYE is answered | `Session::close_leg` |
//! | | as a proxy: forgets, and says nothing | `core::proxy` |

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    Session, Work,
    context::Context,
    groups::GroupEnd,
    leg::{Close, F, LegNo, LegState, OwedAck},
    storing::Then,
};
use crate::core::{
    Time,
    event::{ClientTx, LegRole, SipCommand},
    policy::Policy,
    sip::{Headers, Method, Response},
};

/// The smallest session interval there is, in seconds (RFC 4028 section 4).
pub(crate) const FLOOR: u32 = 90;
/// How long to wait after a refresh that the peer could not take just now.
const RETRY: Duration = Duration::from_secs(30);

/// The session timer of one dialog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionTimer {
    /// Session interval in seconds.
    pub(crate) interval: u32,
    /// Do we refresh, or does the peer?
    pub(crate) we_refresh: bool,
    /// The last refresh.
    since: Time,
    /// The next try, after one that failed.
    retry: Option<Time>,
    /// A refresh of ours waits for its answer.
    refreshing: bool,
}

impl SessionTimer {
    pub(crate) fn new(interval: u32, we_refresh: bool, now: Time) -> SessionTimer {
        SessionTimer { interval, we_refresh, since: now, retry: None, refreshing: false }
    }

    /// When something is to be done: refresh at half the interval, or give up (RFC 4028 section 10).
    pub(crate) fn deadline(&self) -> Time {
        if self.we_refresh && !self.refreshing { self.refresh_at().min(self.expiry()) } else { self.expiry() }
    }

    fn refresh_at(&self) -> Time {
        self.retry.unwrap_or(self.since + self.whole() / 2)
    }

    /// Who waits for the peer's refresh says BYE somewhat earlier: by a third of the interval, at most 32 s.
    fn expiry(&self) -> Time {
        let early =
            if self.we_refresh { Duration::ZERO } else { (self.whole() / 3).min(Duration::from_secs(32)) };
        self.since + (self.whole() - early)
    }

    fn whole(&self) -> Duration {
        Duration::from_secs(self.interval.into())
    }
}

/// The timer that a peer's INVITE or UPDATE asks for; its own choice of refresher wins (RFC 4028 section 9).
/// `Err` is the Min-SE for a `422`.
pub(crate) fn propose(headers: &Headers, policy: &Policy, now: Time) -> Result<SessionTimer, u32> {
    let supports = headers.has_token("Supported", "timer") || headers.has_token("Require", "timer");
    let least = policy.min_session_expires.max(FLOOR);
    match session_expires(headers) {
        Some((interval, _)) if interval < least && supports => Err(least),
        Some((interval, refresher)) => {
            let we_refresh = !supports || refresher == Some(Refresher::Uas);
            Ok(SessionTimer::new(interval.max(min_se(headers)).max(FLOOR), we_refresh, now))
        }
        // It asks for none: we keep one, and refresh.
        None => {
            let interval = policy.session_expires.max(min_se(headers)).max(FLOOR);
            Ok(SessionTimer::new(interval, true, now))
        }
    }
}

/// The timer that holds after the peer's 2xx to our request with `interval` (RFC 4028 section 7.2).
/// A peer without timers leaves the refreshing to us.
pub(crate) fn agreed(headers: &Headers, interval: u32, now: Time) -> SessionTimer {
    match session_expires(headers) {
        Some((interval, refresher)) => {
            SessionTimer::new(interval.max(FLOOR), refresher != Some(Refresher::Uas), now)
        }
        None => SessionTimer::new(interval, true, now),
    }
}

/// Writes the timer into our 2xx. If the peer is to refresh, it must know that timers are in use.
pub(crate) fn accept(headers: &mut Headers, timer: &SessionTimer) {
    let refresher = if timer.we_refresh { "uas" } else { "uac" };
    headers.push("Session-Expires", format!("{};refresher={refresher}", timer.interval));
    headers.push("Supported", "timer");
    if !timer.we_refresh {
        headers.push("Require", "timer");
    }
}

/// Writes our wish into a request: we refresh.
pub(crate) fn write(headers: &mut Headers, interval: u32, min_se: u32) {
    headers.set("Session-Expires", format!("{interval};refresher=uac"));
    if min_se > FLOOR {
        headers.set("Min-SE", min_se.to_string());
    }
}

/// Min-SE in seconds; 0 where there is none.
pub(crate) fn min_se(headers: &Headers) -> u32 {
    let value = headers.get("Min-SE").and_then(|v| v.split(';').next()?.trim().parse().ok());
    value.unwrap_or(0)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Refresher {
    Uac,
    Uas,
}

fn session_expires(headers: &Headers) -> Option<(u32, Option<Refresher>)> {
    let mut parts = headers.get("Session-Expires")?.split(';').map(str::trim);
    let interval = parts.next()?.parse().ok()?;
    let refresher = parts.find_map(|param| {
        let (name, value) = param.split_once('=')?;
        match value.trim() {
            _ if !name.trim().eq_ignore_ascii_case("refresher") => None,
            who if who.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
            who if who.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
            _ => None,
        }
    });
    Some((interval, refresher))
}

impl Session {
    /// Looks at the timer of leg `no`: refreshes, or ends.
    pub(super) fn timer_due(&mut self, cx: &mut Context<'_>, no: LegNo) {
        let leg = &self.legs[no];
        let Some(timer) = leg.timer.as_ref().filter(|_| leg.is_established() && !self.ending) else { return };
        if timer.deadline() > cx.now {
            return;
        }
        if timer.expiry() <= cx.now {
            self.expired(cx, no);
        } else if !leg.allows_update && self.is_offering(no) {
            // Another offer is on its way (RFC 3261 section 14.1).
            self.refresh_later(cx, no, RETRY);
        } else {
            self.refresh(cx, no);
        }
    }

    /// Clause 8.2.2.4: the timer of a leg expired. A device's costs its own leg.
    fn expired(&mut self, cx: &mut Context<'_>, no: LegNo) {
        match self.legs[no].role {
            LegRole::Device => self.hang_up(cx, no, None, Close::Expired),
            // Steps 1, 3: BYE to each connected client. Steps 4, 5: BYE to each IWF, or to the other CPM entity.
            // Step 6: media goes with the answer to each BYE.
            LegRole::Far | LegRole::Originator => {
                self.ending = true;
                // Step 2: the store comes first.
                self.store_before(cx, GroupEnd::Expired, None, Then::Expire);
            }
        }
    }

    /// Refreshes with UPDATE where the peer takes it, else with a re-INVITE that says the same again.
    fn refresh(&mut self, cx: &mut Context<'_>, no: LegNo) {
        let leg = &mut self.legs[no];
        let Some(timer) = leg.timer.as_mut() else { return };
        timer.refreshing = true;
        let (interval, invite) = (timer.interval, !leg.allows_update);
        let method = if invite { Method::Invite } else { Method::Update };
        let (mut request, hop) = leg.request(method, &cx.config.product);
        request.headers.push("Contact", leg.contact.as_str());
        request.headers.push("Supported", "timer");
        request.headers.push("Allow", super::ALLOW);
        write(&mut request.headers, interval, 0);
        if invite {
            request.headers.push("Content-Type", "application/sdp");
            request.body = leg.ours.clone().into();
        }
        self.send(cx, no, Work::Refresh { invite }, (request, hop));
    }

    /// The answer to a refresh of ours.
    pub(super) fn refresh_answered(
        &mut self,
        cx: &mut Context<'_>,
        tx: ClientTx,
        no: LegNo,
        invite: bool,
        response: &Response,
    ) {
        if invite && response.is_success() {
            self.legs[no].owed_ack = response.cseq().map(|(number, _)| OwedAck { tx, number });
            self.ack_owed(cx, no);
        }
        let leg = &mut self.legs[no];
        if leg.state != LegState::Established {
            return;
        }
        let Some(timer) = leg.timer.as_mut() else { return };
        timer.refreshing = false;
        match response.status {
            200..300 => {
                leg.timer = Some(agreed(&response.headers, timer.interval, cx.now));
                leg.dialog.refresh_target(response.headers.get("Contact"));
                leg.learn(&response.headers);
                if invite {
                    self.refreshed_answer(cx, no, response);
                }
            }
            // The peer wants a longer interval.
            422 if min_se(&response.headers) > timer.interval => {
                timer.interval = min_se(&response.headers);
                self.refresh(cx, no);
            }
            // RFC 4028 section 10, RFC 5057: the dialog is gone.
            408 | 481 => self.expired(cx, no),
            // It has no UPDATE after all.
            405 | 501 if !invite => {
                leg.allows_update = false;
                self.refresh(cx, no);
            }
            // Glare (RFC 3261 section 14.1), and everything that may pass.
            491 => {
                let wait = glare_wait(cx, no);
                self.refresh_later(cx, no, wait);
            }
            _ => self.refresh_later(cx, no, RETRY),
        }
    }

    fn refresh_later(&mut self, cx: &Context<'_>, no: LegNo, wait: Duration) {
        if let Some(timer) = self.legs[no].timer.as_mut() {
            timer.retry = Some(cx.now + wait);
        }
    }

    /// Sends the ACK that leg `no` owes, if any.
    pub(super) fn ack_owed(&mut self, cx: &mut Context<'_>, no: LegNo) {
        let Some(owed) = self.legs[no].owed_ack.take() else { return };
        let (request, hop) = self.legs[no].dialog.ack(owed.number);
        cx.sip(SipCommand::Ack { tx: owed.tx, request, hop });
    }
}

/// How long to wait after `491`, in steps of 10 ms: 2.1 to 4 s for who made the Call-ID, else up to 2 s
/// (RFC 3261 section 14.1).
pub(super) fn glare_wait(cx: &mut Context<'_>, no: LegNo) -> Duration {
    let mut random = [0; 1];
    cx.entropy.fill(&mut random);
    let steps = u64::from(random[0]) % 190;
    Duration::from_millis(if no >= F { 2100 + 10 * steps } else { 10 * (steps + 1) })
}
