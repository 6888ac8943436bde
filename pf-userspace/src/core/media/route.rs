//! A SEND's head has come: who gets the frame?

use pf_common::msrp::{Ending, FailureReport, Head, Method, Search, find_end};

use super::{
    ConnId, LegId, Switch,
    accept::Content,
    leg::{Gone, Leg, Stream},
    receive::Step,
};
use crate::core::{
    event::{LegDown, LegRole},
    time::Time,
};

/// A frame's head, and what is at hand of its body.
type Frame<'a> = (&'a Head<'a>, &'a [u8]);

/// What stands in the way of a frame.
enum Primary {
    /// We answer in the place of a client that is lost.
    Intercepted,
    /// Answer with this status.
    Refused(&'static [u8]),
    /// The leg is there and its connection is free.
    Ready(LegId, ConnId),
    /// Reading pauses; somebody will wake it.
    Wait,
}

impl Switch {
    pub(super) fn send(
        &mut self,
        now: Time,
        id: ConnId,
        from: LegId,
        head: &Head<'_>,
        input: &[u8],
        at: usize,
    ) -> Step {
        if let Some(leg) = self.legs.get_mut(from) {
            leg.answer_to(head.sender());
        }
        if let Ending::EndLine { end, .. } = head.ending {
            // Binding or keep-alive: for us alone.
            self.count_in(from, end, false);
            if head.failure_report == FailureReport::Yes {
                self.answer(id, from, &head.transaction, b"200 OK");
            }
            return Step::Consumed(end);
        }
        if self.legs.get(from).is_some_and(|leg| self.waits_for_store(leg.stream)) {
            self.wait_for_store(id);
            return Step::Wait;
        }
        let complete = || {
            matches!(find_end(&input[at + head.len..], head.transaction.as_bytes(), true), Search::End { .. })
        };
        let (primary, conn) =
            match self.primary(now, id, from, at > 0, (head, &input[at + head.len..]), complete) {
                Primary::Ready(leg, conn) => (leg, conn),
                Primary::Intercepted => return self.intercept(id, from, head, &input[at..]),
                Primary::Wait => return Step::Wait,
                Primary::Refused(status) => {
                    self.count_in(from, head.len, true);
                    self.refuse(id, head, Method::Send, status);
                    return self.skip(id, head);
                }
            };
        self.count_in(from, head.len, true);
        self.count_passed(id, head.byte_range);
        self.learn_block(from, input.get(at + head.start_line..at + head.fields).unwrap_or(&[]));
        self.begin(id, from, head, &input[at..]);
        self.record_frame(id, from, head);
        self.add_target(id, from, head, &input[at..], (primary, conn), true);
        let mut copies = std::mem::take(&mut self.copies);
        self.choose_copies(&mut copies, from, primary, (head, &input[at + head.len..]));
        for leg in copies.drain(..) {
            if let Some(conn) = self.legs.get(leg).and_then(|l| l.conn) {
                self.add_target(id, from, head, &input[at..], (leg, conn), false);
            }
        }
        self.copies = copies;
        if !self.late.is_empty() {
            self.keep(id, from, head, &input[at..]);
        }
        Step::Consumed(head.len)
    }

    /// The legs that get a copy: for a first chunk all that the stream's policy names and that accept the
    /// message, for a further chunk those that got the first (RFC 7701 section 6.1). Devices among them that are
    /// not up yet are put into [`Switch::late`].
    fn choose_copies(
        &mut self,
        copies: &mut Vec<LegId>,
        from: LegId,
        primary: LegId,
        (head, body): Frame<'_>,
    ) {
        let Some(source) = self.legs.get(from) else { return };
        let Some(stream) = self.streams.get(source.stream) else { return };
        if head.byte_range.is_some_and(|range| range.start > 1) {
            let id = head.message_id.unwrap_or(&[]);
            let message = stream.chunked.iter().find(|m| m.from == from && m.message_id == id);
            copies.extend(message.iter().flat_map(|m| &m.legs));
        } else {
            let devices = match source.role {
                LegRole::Far => stream.policy.copy_far,
                LegRole::Device | LegRole::Originator => true,
            };
            let originator = stream.originator.filter(|_| source.role == LegRole::Device);
            let devices = stream.devices.iter().copied().filter(|leg| devices && *leg != from);
            copies.extend(originator.into_iter().chain(devices));
        }
        let content = Content::of(head, body);
        copies.retain(|id| {
            if *id == primary {
                return false;
            }
            let (conns, late) = (&self.conns, &mut self.late);
            let Some(leg) = self.legs.get_mut(*id) else { return false };
            if leg.remote.is_none() || !leg.conn.and_then(|c| conns.get(c)).is_some_and(|c| c.up) {
                if leg.role == LegRole::Device {
                    late.push(*id);
                }
                return false;
            }
            let accepted = leg.accepts_again(&content);
            leg.counters.unacceptable += u64::from(!accepted);
            accepted
        });
    }

    pub(super) fn count_in(&mut self, leg: LegId, octets: usize, send: bool) {
        if let Some(leg) = self.legs.get_mut(leg) {
            leg.counters.octets_in += octets as u64;
            leg.counters.sends_in += u64::from(send);
        }
    }

    /// The device that takes the place of an originator that is gone (AMB-16): the first one, in order of
    /// invitation, that is connected and accepts the message; of a further chunk, that got the first one too.
    /// `Err` is the answer where there is none.
    fn heir(&self, stream: &Stream, from: LegId, (head, body): Frame<'_>) -> Result<LegId, &'static [u8]> {
        let known = |leg: &Leg| leg.remote.is_some();
        let mut present = stream.devices.iter().copied().filter(|id| self.legs.get(*id).is_some_and(known));
        let Some(first) = present.clone().next() else { return Err(b"481 Session has ended") };
        let up =
            |id: &LegId| self.legs.get(*id).and_then(|l| self.conns.get(l.conn?)).is_some_and(|conn| conn.up);
        let further = head.byte_range.is_some_and(|range| range.start > 1);
        let message_id = head.message_id.unwrap_or(&[]);
        let message = stream.chunked.iter().find(|m| further && m.from == from && m.message_id == message_id);
        if !present.clone().any(|id| up(&id)) {
            // Its connection is still to come.
            return Ok(first);
        }
        let content = Content::of(head, body);
        let fits = |id: &LegId| {
            up(id)
                && match message {
                    Some(message) => message.legs.contains(id),
                    None => self.legs.get(*id).is_some_and(|leg| leg.accepts(&content)),
                }
        };
        match (present.find(fits), message) {
            (Some(heir), _) => Ok(heir),
            (None, Some(_)) => Err(b"481 Who got its beginning is gone"),
            (None, None) => Err(b"415 No device accepts this"),
        }
    }

    /// The primary leg for what comes from `from`, if the frame may begin now. `later`: other frames came
    /// before it in the same input; `complete`: all of it is at hand.
    fn primary(
        &mut self,
        now: Time,
        id: ConnId,
        from: LegId,
        later: bool,
        frame: Frame<'_>,
        complete: impl FnOnce() -> bool,
    ) -> Primary {
        let Some((role, stream_id)) = self.legs.get(from).map(|l| (l.role, l.stream)) else {
            return Primary::Refused(b"481 No such session");
        };
        let Some(stream) = self.streams.get(stream_id) else {
            return Primary::Refused(b"481 No such session");
        };
        if role == LegRole::Device && !stream.policy.copy_devices {
            return Primary::Refused(b"403 Not allowed here");
        }
        let (leg, gone) = match role {
            LegRole::Far if stream.interception.is_some() => {
                let resuming = stream.interception.as_ref().is_some_and(|interception| interception.resuming);
                return if resuming { self.hold(now, id, stream_id) } else { Primary::Intercepted };
            }
            LegRole::Far if stream.originator_gone.is_some() && !stream.devices.is_empty() => {
                match self.heir(stream, from, frame) {
                    Ok(heir) => (Some(heir), None),
                    Err(status) => return Primary::Refused(status),
                }
            }
            LegRole::Far => (stream.originator, stream.originator_gone),
            LegRole::Device | LegRole::Originator => (stream.far, stream.far_gone),
        };
        match gone {
            Some(Gone::Down(LegDown::ConnectFailed | LegDown::Silent)) => {
                return Primary::Refused(b"408 Next hop cannot be reached");
            }
            Some(_) => return Primary::Refused(b"481 Session has ended"),
            None => {}
        }
        let reachable = leg.and_then(|leg| {
            let known = self.legs.get(leg).filter(|l| l.remote.is_some())?;
            let conn = known.conn.filter(|c| self.conns.get(*c).is_some_and(|c| c.up))?;
            Some((leg, conn))
        });
        let Some((leg, conn)) = reachable else {
            if role == LegRole::Originator && leg.is_none() {
                self.far_is_wanted(stream_id);
            }
            return self.hold(now, id, stream_id);
        };
        if let Some(source) = self.conns.get_mut(id) {
            source.held = None;
        }
        let Some(to) = self.conns.get(conn) else { return Primary::Refused(b"481 Session has ended") };
        if to.busy(&self.limits) {
            self.pause(id, conn);
            return Primary::Wait;
        }
        // Sources that share a connection take turns: while others wait, a source goes on with the frames
        // that are wholly at hand, and leaves one that is still on its way for its next turn.
        if to.turn != Some(id) && to.contended(id) && !(later && complete()) {
            self.pause(id, conn);
            return Primary::Wait;
        }
        Primary::Ready(leg, conn)
    }

    /// The primary leg is not connected yet: its sources wait, but not for ever.
    fn hold(&mut self, now: Time, id: ConnId, stream: super::StreamId) -> Primary {
        let guard = self.limits.guard;
        let Some(conn) = self.conns.get_mut(id) else { return Primary::Refused(b"481 No such session") };
        let since = *conn.held.get_or_insert(now);
        if now >= since + guard {
            return Primary::Refused(b"408 Next hop not connected in time");
        }
        conn.paused = true;
        if let Some(stream) = self.streams.get_mut(stream)
            && !stream.waiters.contains(&id)
        {
            stream.waiters.push(id);
        }
        self.alarm_at(since + guard);
        Primary::Wait
    }
}
