//! Clauses 8.5 and 8.5.2: what a session has recorded in the message store, and what waits for it. The record begins
//! after the 200 to the originating device (clause 8.2.2.1, 200 OK step 7); it is completed before the session ends
//! towards the served client (clauses 8.2.2.3 and 8.2.2.4). Whatever the store and the XDMS do or do not do, the
//! session goes on.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Session,
    connection_loss::Lost,
    context::Context,
    groups::GroupEnd,
    leg::{A, Close},
};
use crate::core::{
    Time,
    event::StreamKey,
    store::{Body, GroupState, Object, Order, OrderId, Outcome, SessionEnd, SessionInfo, Uid},
};

/// How far the record of a session is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Storing {
    /// The originating device has its 200: there is a session to record.
    begun: bool,
    /// The XDMS is being asked what the user wants.
    asked: Option<Asked>,
    /// The user wanted it when it began.
    recorded: bool,
    /// Everything was ordered.
    completed: bool,
    /// How the client leaves, and its Reason, while the far end's answer to that is waited for.
    leaving: Option<(GroupEnd, Option<String>)>,
    /// What is waited for.
    wait: Option<Wait>,
    /// What Message-UID says in the BYEs of an expired session.
    pub(super) message_uid: Option<Uid>,
    /// When the last Group State Object came to be.
    last_group_state: Option<Time>,
}

/// The least difference of two times in the store.
const RESOLUTION: Duration = Duration::from_micros(1);

/// A record that begins as soon as it is known whether the user wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    /// When the 200 was sent; none before.
    since: Option<Time>,
    /// What is known then decides.
    until: Time,
    /// Streams whose messages are kept for the record.
    kept: Vec<StreamKey>,
}

/// Orders that hold a step up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Wait {
    orders: BTreeSet<OrderId>,
    /// The one of these that Message-UID names.
    group_state: Option<OrderId>,
    /// The session goes on at this time in any case.
    until: Time,
    then: Then,
}

/// The step that comes after the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Then {
    /// The 200 to the client's BYE (clause 8.2.2.3 step 1.e.iii).
    Answer,
    /// The BYEs after a session timer expired (clause 8.2.2.4 step 3).
    Expire,
    /// BYE to the served client and the connected devices (clause 8.2.2.3 step 2.c).
    HangUp {
        /// Its Reason.
        reason: Option<String>,
    },
}

impl Storing {
    /// The client leaves; the record is completed when the far end has answered.
    pub(super) fn leaves(&mut self, end: GroupEnd, reason: Option<&str>) {
        self.leaving = Some((end, reason.map(str::to_owned)));
    }

    /// When the session goes on without the store, where it waits for one.
    pub(super) fn until(&self) -> Option<Time> {
        self.wait.as_ref().map(|wait| wait.until)
    }

    /// When the record begins without the word of the XDMS, where it waits for that.
    pub(super) fn asked_until(&self) -> Option<Time> {
        self.asked.as_ref().filter(|asked| asked.since.is_some()).map(|asked| asked.until)
    }

    /// Was the 200 sent, and it is not known yet whether there is a record?
    pub(super) fn is_undecided(&self) -> bool {
        self.asked_until().is_some()
    }

    /// The messages of this stream are kept for the record.
    pub(super) fn keep(&mut self, stream: StreamKey) {
        if let Some(asked) = &mut self.asked {
            asked.kept.push(stream);
        }
    }

    /// The orders whose outcome matters to the session.
    pub(super) fn orders(&self) -> impl Iterator<Item = OrderId> {
        self.wait.iter().flat_map(|wait| wait.orders.iter().copied())
    }
}

impl Session {
    /// The INVITE was taken: where there is an XDMS it is asked what the user wants, for step 7 of the 200 part.
    pub(super) fn ask_wishes(&mut self, cx: &mut Context<'_>) {
        if cx.config.store.is_some() {
            let until = cx.ask_wishes(&self.invitation.user);
            self.storing.asked = until.map(|until| Asked { since: None, until, kept: Vec::new() });
        }
    }

    /// Clause 8.2.2.1, 200 OK step 7: the 200 was sent. The record begins, if the user wants that; while the XDMS is
    /// still to say so what is said is kept.
    pub(super) fn begin_record(&mut self, cx: &mut Context<'_>) {
        // A client that is back is in a session whose record has begun.
        if std::mem::replace(&mut self.storing.begun, true) || cx.config.store.is_none() {
            return;
        }
        match &mut self.storing.asked {
            Some(asked) => {
                asked.since = Some(cx.now);
                self.record_messages(cx);
                self.wishes_due(cx);
            }
            None => self.record(cx, cx.now),
        }
    }

    /// The XDMS has answered, or has failed to.
    pub(crate) fn wishes_known(&mut self, cx: &mut Context<'_>) {
        let Some(asked) = self.storing.asked.take() else { return };
        // Before the 200 nothing is decided.
        let Some(since) = asked.since else { return };
        self.record(cx, since);
        self.decide_messages(cx, &asked.kept, self.storing.recorded);
    }

    /// The XDMS has been waited for long enough: what is known decides.
    pub(super) fn wishes_due(&mut self, cx: &mut Context<'_>) {
        if self.storing.asked_until().is_some_and(|until| until <= cx.now) {
            cx.preferences.is_late();
            self.wishes_known(cx);
        }
    }

    /// The record begins, if the user wants that.
    fn record(&mut self, cx: &mut Context<'_>, since: Time) {
        self.storing.recorded = self.is_wanted(cx);
        if !self.storing.recorded {
            return;
        }
        let header = |name| self.invitation.headers.get(name).map(str::to_owned);
        let info = SessionInfo {
            from: self.invitation.user.clone(),
            to: self.invitation.destination.clone(),
            group: self.invitation.group,
            subject: header("Subject"),
            in_reply_to: header("InReplyTo-Contribution-ID"),
        };
        self.order_as_of(cx, since, Body::SessionInfo(info));
        self.record_messages(cx);
    }

    /// The session ends: completes its record and then goes on with `then`, at once where nothing is to be stored.
    pub(super) fn store_before(
        &mut self,
        cx: &mut Context<'_>,
        end: GroupEnd,
        reason: Option<&str>,
        then: Then,
    ) {
        if self.storing.wait.is_some() {
            return;
        }
        let ordered = self.complete_record(cx, end, reason);
        if ordered.0.is_empty() {
            return self.after_store(cx, then);
        }
        self.wait_for_store(cx, ordered, then);
    }

    /// Does the 200 to the client's BYE wait for the store? The record is completed if it is not yet.
    pub(super) fn answer_waits_for_store(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some((end, reason)) = self.storing.leaving.take() {
            let ordered = self.complete_record(cx, end, reason.as_deref());
            if !ordered.0.is_empty() {
                self.wait_for_store(cx, ordered, Then::Answer);
            }
        }
        self.storing.wait.is_some()
    }

    fn wait_for_store(
        &mut self,
        cx: &Context<'_>,
        (orders, group_state): (BTreeSet<OrderId>, Option<OrderId>),
        then: Then,
    ) {
        let until = cx.now + cx.store_wait();
        self.storing.wait = Some(Wait { orders, group_state, until, then });
    }

    /// Clause 8.5.2: orders what completes the record, once: of a group session the Group State Object (AMB-17), of
    /// any the end. Gives the orders, and the one of the Group State Object.
    pub(super) fn complete_record(
        &mut self,
        cx: &mut Context<'_>,
        end: GroupEnd,
        reason: Option<&str>,
    ) -> (BTreeSet<OrderId>, Option<OrderId>) {
        if !self.storing.begun || std::mem::replace(&mut self.storing.completed, true) {
            return (BTreeSet::new(), None);
        }
        self.wishes_known(cx);
        self.end_messages(cx);
        self.group_ended(cx, end);
        // For a lost client that is also where it finds the last participants.
        let wanted = self.is_recorded(cx) || self.lost.as_ref().is_some_and(Lost::keeps);
        let group_state = (self.invitation.group && wanted).then(|| {
            let state = self.group_state(end.restartable());
            self.order_group_state(cx, state)
        });
        if !self.is_recorded(cx) {
            return (group_state.into_iter().collect(), group_state);
        }
        let lasted_seconds = cx.now.saturating_since(self.started).as_secs();
        let last = SessionEnd { reason: reason.map(str::to_owned), lasted_seconds };
        let last = self.order(cx, Body::SessionEnd(last));
        (group_state.into_iter().chain([last]).collect(), group_state)
    }

    /// Is the history of this session recorded? Asked anew at each step, as each step of the clause does: what the user
    /// does not want any more ends there.
    fn is_recorded(&self, cx: &Context<'_>) -> bool {
        self.storing.recorded && self.is_wanted(cx)
    }

    fn is_wanted(&self, cx: &Context<'_>) -> bool {
        let wishes = cx.wishes(&self.invitation.user, &self.invitation.destination);
        cx.config.store.is_some() && wishes.allow_offline_storage
    }

    /// Is there a record that is still to be completed?
    pub(super) fn has_open_record(&self, cx: &Context<'_>) -> bool {
        self.storing.begun && !self.storing.completed && self.is_recorded(cx)
    }

    /// May the end of the session order something from the store, so that it will take some time?
    pub(super) fn may_order_at_its_end(&self, cx: &Context<'_>) -> bool {
        self.has_open_record(cx) || self.storing.is_undecided()
    }

    /// Orders one object of this session.
    pub(super) fn order(&self, cx: &mut Context<'_>, body: Body) -> OrderId {
        self.order_as_of(cx, cx.now, body)
    }

    /// Orders a Group State Object. Of several in one session the latest counts: each is later than the one before.
    pub(super) fn order_group_state(&mut self, cx: &mut Context<'_>, state: GroupState) -> OrderId {
        let at = self.storing.last_group_state.map_or(cx.now, |last| cx.now.max(last + RESOLUTION));
        self.storing.last_group_state = Some(at);
        self.order_as_of(cx, at, Body::GroupState(state))
    }

    fn order_as_of(&self, cx: &mut Context<'_>, at: Time, body: Body) -> OrderId {
        let object = Object { user: self.invitation.user.clone(), folder: self.folder(), at, body };
        let id = cx.ids.order();
        cx.store(Order { id, object });
        id
    }

    /// What became of an order.
    pub(super) fn stored(&mut self, cx: &mut Context<'_>, outcome: &Outcome) {
        let Some(wait) = self.storing.wait.as_mut() else { return };
        if !wait.orders.remove(&outcome.id) {
            return;
        }
        if wait.group_state == Some(outcome.id) && wait.then == Then::Expire {
            self.storing.message_uid = outcome.stored.as_ref().ok().copied();
        }
        if wait.orders.is_empty() {
            self.stop_waiting(cx);
        }
    }

    /// The store has been waited for long enough.
    pub(super) fn store_due(&mut self, cx: &mut Context<'_>) {
        let Some(wait) = self.storing.wait.as_ref().filter(|wait| wait.until <= cx.now) else { return };
        cx.counters.late += wait.orders.len() as u64;
        self.stop_waiting(cx);
    }

    fn stop_waiting(&mut self, cx: &mut Context<'_>) {
        if let Some(wait) = self.storing.wait.take() {
            self.after_store(cx, wait.then);
        }
    }

    fn after_store(&mut self, cx: &mut Context<'_>, then: Then) {
        match then {
            Then::Answer => self.say_farewell(cx),
            Then::Expire => self.end(cx, None, Close::Expired),
            Then::HangUp { reason } => {
                self.hang_up(cx, A, reason.as_deref(), Close::Ended);
                self.devices_leave(cx, reason.as_deref());
            }
        }
    }
}
