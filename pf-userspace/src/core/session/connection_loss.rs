//! Clause 8.2.2.3 step 4: the core lost the served client. A group session may go on without it: then we stay in the
//! media path, answer the controlling function in the client's place, and keep what is said there where the user
//! wants that.
//!
//! | step | what | where |
//! |---|---|---|
//! | 4 | is another device connected? | [`Session::client_lost`] |
//! | 4.a to d | the settings | `Session::remains` |
//! | 4.i | the client's media; SUBSCRIBE | `Session::remain`; `participants` |
//! | 4.ii | what is said is kept | [`Session::intercepted`] |
//! | 4.iii | until the controlling function ends it, or the client comes back and leaves | `bye` (steps 1, 2); `rejoin` |
//! | else | all is released, the BYE goes on | [`Session::client_lost`], by `bye` |

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    Leg, Session,
    context::Context,
    groups::GroupEnd,
    leg::{A, Close, F},
};
use crate::core::{
    Time,
    event::{InterceptedMessage, LegKey, LegRole, MediaCommand, ServerTx, StreamKey},
    policy::preferences::Preferences,
    store::{Body, Content, Message, OrderId, Outcome},
};

/// The group session goes on for a client that is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lost {
    /// What is said is kept.
    keeps: bool,
    /// Octets of the messages that were kept, or are about to be.
    octets: u64,
    /// Messages on their way to the store.
    pending: BTreeMap<OrderId, Pending>,
    /// The client is back, and gets what it missed.
    pub(super) back: bool,
    /// It has got that; its legs on which the far end's messages do not pass again yet.
    pub(super) resuming: Option<BTreeSet<LegKey>>,
}

/// A message on its way to the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    stream: StreamKey,
    number: u64,
    /// What the client shall get of it.
    message: Option<InterceptedMessage>,
    /// Without an outcome till then its sender hears that it is not kept.
    until: Time,
}

impl Lost {
    /// Is what is said kept?
    pub(super) fn keeps(&self) -> bool {
        self.keeps
    }

    /// The client is back, and still misses something.
    pub(super) fn delivers(&self) -> bool {
        self.back && self.resuming.is_none()
    }

    /// Octets that wait for the store and are then to be delivered.
    fn octets_to_deliver(&self) -> u64 {
        let messages = self.pending.values().filter_map(|pending| pending.message.as_ref());
        messages.map(|message| message.octets.len() as u64).sum()
    }

    /// When the first outcome is no longer waited for.
    pub(super) fn until(&self) -> Option<Time> {
        self.pending.values().map(|pending| pending.until).min()
    }

    pub(super) fn orders(&self) -> impl Iterator<Item = OrderId> {
        self.pending.keys().copied()
    }
}

impl Session {
    /// Step 4: the core lost the served client.
    pub(super) fn client_lost(&mut self, cx: &mut Context<'_>, tx: ServerTx, reason: Option<&str>) {
        let connected = |leg: &Leg| leg.role == LegRole::Device && leg.is_established();
        if self.legs.iter().any(connected) {
            // Another suitable device is connected (AMB-16): the session goes on for it.
            self.answer_bye(cx, A, tx);
            self.close_leg(cx, A, Close::Left);
            self.ack_fars(cx);
            if self.lost.take().is_some() {
                // It was about to get what it missed; the other device has been there since.
                for stream in self.streams.iter().flatten().filter(|stream| stream.open) {
                    cx.media(MediaCommand::Resume { stream: stream.key });
                }
            }
        } else if self.remains(cx) {
            self.remain(cx);
            self.answer_bye(cx, A, tx);
            self.close_leg(cx, A, Close::Lost);
            // No ACK will come that ours could follow.
            self.ack_fars(cx);
        } else {
            // None of the settings that keep us in the session is there: release all, propagate the BYE.
            self.client_left(cx, tx, GroupEnd::Other, reason);
        }
    }

    /// A client that was coming back cannot be reached before it has got what it missed: the session goes on without it,
    /// as before. `false` where it cannot.
    pub(super) fn client_lost_again(
        &mut self,
        cx: &mut Context<'_>,
        reason: Option<&str>,
        why: Close,
    ) -> bool {
        let connected = |leg: &Leg| leg.role == LegRole::Device && leg.is_established();
        let coming = self.lost.as_ref().is_some_and(|lost| lost.back);
        if self.ending || !coming || self.legs.iter().any(connected) || !self.remains(cx) {
            return false;
        }
        self.close_lines(cx, A);
        self.hang_up(cx, A, reason, why);
        self.remain(cx);
        true
    }

    /// Is there nobody of the user in it at present?
    pub(super) fn is_lost(&self) -> bool {
        self.lost.as_ref().is_some_and(|lost| !lost.back)
    }

    /// Do we remain in the media path of the group session? a. to c. by the user's wish, d. by the operator's.
    fn remains(&self, cx: &Context<'_>) -> bool {
        let any = keeps(&self.wishes(cx)) || cx.config.policy.restart_group_sessions;
        self.invitation.group && any && self.legs[F].is_established()
    }

    /// What the user wants, as far as there is a store to fulfil it.
    fn wishes(&self, cx: &Context<'_>) -> Preferences {
        let wishes = cx.wishes(&self.invitation.user, &self.invitation.destination);
        cx.config.store.map(|_| wishes).unwrap_or_default()
    }

    /// i. and ii.: the far end is answered here from now on; the client's own media goes with its leg.
    fn remain(&mut self, cx: &mut Context<'_>) {
        let keep =
            keeps(&self.wishes(cx)).then_some(cx.config.store).flatten().map(|store| store.held_octets);
        // It may have been back for a while; what it has not got yet goes on waiting.
        let Lost { octets, pending, .. } = self.lost.take().unwrap_or_default();
        self.lost = Some(Lost { keeps: keep.is_some(), octets, pending, ..Lost::default() });
        for stream in self.streams.iter().flatten().filter(|stream| stream.open) {
            cx.media(MediaCommand::Intercept { stream: stream.key, keep });
        }
        // Devices that have not answered so far are not connected.
        self.devices_leave(cx, None);
        self.subscribe(cx);
    }

    /// ii.: the far end said something that the client shall get later, or have recorded.
    pub(super) fn intercepted(
        &mut self,
        cx: &mut Context<'_>,
        stream: StreamKey,
        number: u64,
        message: InterceptedMessage,
    ) {
        let wishes = self.wishes(cx);
        let most = cx.config.store.map_or(0, |store| store.session_octets);
        let most_waiting = cx.config.store.map_or(0, |store| store.deferred_octets);
        let until = cx.now + cx.store_wait();
        let Some(lost) = self.lost.as_mut().filter(|lost| lost.keeps && !self.ending) else {
            return cx.media(MediaCommand::ConfirmIntercepted { stream, number, kept: false });
        };
        let length = message.octets.len() as u64;
        let octets = lost.octets.saturating_add(length);
        let waiting = self.missed.octets().saturating_add(lost.octets_to_deliver()).saturating_add(length);
        if octets > most || (wishes.allow_defer && waiting > most_waiting) {
            cx.counters.refused += 1;
            return cx.media(MediaCommand::ConfirmIntercepted { stream, number, kept: false });
        }
        lost.octets = octets;
        let missed = wishes.allow_defer.then(|| message.clone());
        let body = Body::Message(Message {
            message_id: message.message_id,
            content_type: message.content_type,
            content: Content::from(message.octets),
            for_record: wishes.allow_offline_storage || wishes.allow_store,
            for_delivery: wishes.allow_defer,
        });
        let order = self.order(cx, body);
        if let Some(lost) = &mut self.lost {
            lost.pending.insert(order, Pending { stream, number, message: missed, until });
        }
    }

    /// What became of such a message.
    pub(super) fn intercepted_stored(&mut self, cx: &mut Context<'_>, outcome: &Outcome) {
        let Some(pending) = self.lost.as_mut().and_then(|lost| lost.pending.remove(&outcome.id)) else {
            return;
        };
        let Pending { stream, number, message, .. } = pending;
        if let Some(message) = message.filter(|_| outcome.stored.is_ok()) {
            if self.is_lost() {
                self.missed.push(stream, message);
            } else {
                // Before it is confirmed: the relay knows then that there is one more.
                self.missed_late(cx, stream, message);
            }
        }
        cx.media(MediaCommand::ConfirmIntercepted { stream, number, kept: outcome.stored.is_ok() });
    }

    /// Messages whose store takes too long: their senders may try again.
    pub(super) fn intercepted_due(&mut self, cx: &mut Context<'_>) {
        let Some(lost) = &mut self.lost else { return };
        let (now, mut late) = (cx.now, Vec::new());
        lost.pending.retain(|_, pending| {
            if pending.until <= now {
                late.push((pending.stream, pending.number));
            }
            pending.until > now
        });
        cx.counters.late += late.len() as u64;
        for (stream, number) in late {
            cx.media(MediaCommand::ConfirmIntercepted { stream, number, kept: false });
        }
    }
}

/// Is what is said kept? Not for d. alone.
fn keeps(wishes: &Preferences) -> bool {
    wishes.allow_offline_storage || wishes.allow_store || wishes.allow_defer
}
