//! Messages for devices that answer late.
//!
//! The user's other devices are invited when the session already runs, so its first messages come before their
//! legs are up. Frames that such a leg would get are kept, once per stream, for all legs that wait. A leg that
//! comes up gets them at once, joins the frames that are still coming where they stand, and is like any other from
//! then on. A frame that no leg waits for any more is freed.
//!
//! # What is given up?
//! When more than [`super::Limits::device_backlog`] octets are kept for a stream, its oldest messages go, whole:
//! a device sees all of a message or nothing, and [`crate::core::event::LegCounters::missed`] says how many.

use std::collections::VecDeque;

use pf_common::msrp::{DASHES, Flag, Head, Parsed};

use super::{ConnId, LegId, StreamId, Switch, accept::Content, connection::Target, frame::end_line};
use crate::core::{
    event::{LegDown, LegRole},
    time::Time,
};

/// A frame as it came, for legs that are not up yet.
#[derive(Debug)]
pub(super) struct Kept {
    stream: StreamId,
    source: ConnId,
    from: LegId,
    /// Empty where the message cannot be followed.
    message_id: Vec<u8>,
    /// It is the message's first chunk.
    first: bool,
    /// Who waits for it; never empty.
    pub(super) legs: Vec<LegId>,
    /// Head, and what has come of body and end-line.
    octets: Vec<u8>,
    /// How it ended; [`Flag::More`] while it is still coming.
    flag: Flag,
}

/// What is kept of one stream.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Complete frames, in the order in which they ended.
    frames: VecDeque<Kept>,
    /// Octets of these and of the frames that are still coming.
    octets: usize,
}

impl Kept {
    fn is_of_message(&self, from: LegId, message_id: &[u8]) -> bool {
        self.from == from && self.message_id == message_id && !message_id.is_empty()
    }

    /// `leg` no longer waits for it; tells whether it did.
    fn release(&mut self, leg: LegId) -> bool {
        let before = self.legs.len();
        self.legs.retain(|l| *l != leg);
        self.legs.len() < before
    }
}

impl Backlog {
    /// Is anything kept?
    pub(super) fn holds_something(&self) -> bool {
        self.octets > 0
    }

    fn put_back(&mut self, mut frames: VecDeque<Kept>) {
        let octets = &mut self.octets;
        frames.retain(|kept| {
            if kept.legs.is_empty() {
                *octets -= kept.octets.len();
            }
            !kept.legs.is_empty()
        });
        self.frames = if frames.is_empty() { VecDeque::new() } else { frames };
    }

    #[cfg(test)]
    pub(super) fn measure(&self) -> (usize, usize, usize) {
        (self.octets, self.frames.iter().map(|kept| kept.octets.len()).sum(), self.frames.len())
    }
}

#[cfg(test)]
impl Kept {
    pub(super) fn measure(&self) -> (StreamId, usize) {
        (self.stream, self.octets.len())
    }
}

impl Switch {
    /// A frame begins for which [`Switch::late`] legs wait: begins to keep it. `rest` begins with the frame.
    pub(super) fn keep(&mut self, id: ConnId, from: LegId, head: &Head<'_>, rest: &[u8]) {
        let legs = std::mem::take(&mut self.late);
        let limit = self.limits.device_backlog;
        let total = head.byte_range.and_then(|range| range.total.or(range.end)).unwrap_or(0);
        let too_long = limit == 0 || total > limit as u64;
        let Some(stream) = self.legs.get(from).map(|leg| leg.stream) else { return };
        let Some(conn) = self.conns.get_mut(id) else { return };
        let first = conn.frame.first;
        if too_long && first {
            return self.count_missed(&legs);
        }
        let message_id = conn.frame.message_id.clone();
        let kept =
            Kept { stream, source: id, from, message_id, first, legs, octets: Vec::new(), flag: Flag::More };
        conn.frame.kept = Some(Box::new(kept));
        while too_long && self.conns.get(id).is_some_and(|c| c.frame.kept.is_some()) {
            self.drop_coming(id);
        }
        self.keep_on(id, rest.get(..head.len).unwrap_or(&[]));
    }

    /// More of the frame has come.
    pub(super) fn keep_on(&mut self, id: ConnId, octets: &[u8]) {
        self.make_room(id, octets.len());
        let Some(kept) = self.conns.get_mut(id).and_then(|c| c.frame.kept.as_mut()) else { return };
        kept.octets.extend_from_slice(octets);
        if let Some(stream) = self.streams.get_mut(kept.stream) {
            stream.backlog.octets += octets.len();
        }
    }

    /// The frame has ended.
    pub(super) fn kept_whole(&mut self, id: ConnId, flag: Flag) {
        let Some(mut kept) = self.conns.get_mut(id).and_then(|c| c.frame.kept.take()) else { return };
        let stream_id = kept.stream;
        let Some(stream) = self.streams.get_mut(stream_id) else { return };
        kept.flag = flag;
        kept.octets.shrink_to_fit();
        stream.backlog.frames.push_back(*kept);
        if stream.backlog.frames.len() > self.limits.device_backlog_frames {
            self.drop_message(stream_id, 0);
        }
    }

    /// Drops the oldest messages until `more` octets have room, that of the frame itself last.
    fn make_room(&mut self, id: ConnId, more: usize) {
        while let Some(kept) = self.conns.get(id).and_then(|c| c.frame.kept.as_ref()) {
            let stream_id = kept.stream;
            let Some(stream) = self.streams.get(stream_id) else { return };
            let (limit, octets) = (self.limits.device_backlog, stream.backlog.octets);
            if octets + more <= limit {
                return;
            }
            if stream.backlog.frames.is_empty() || kept.octets.len() + more > limit {
                self.drop_coming(id);
            } else {
                self.drop_message(stream_id, 0);
            }
        }
    }

    /// Drops the message of the frame that this source is sending.
    fn drop_coming(&mut self, id: ConnId) {
        let Some(kept) = self.conns.get(id).and_then(|c| c.frame.kept.as_ref()) else { return };
        let (stream_id, from) = (kept.stream, kept.from);
        let frames = self.streams.get(stream_id).map(|stream| &stream.backlog.frames).filter(|_| !kept.first);
        let of_message = |frame: &Kept| frame.is_of_message(from, &kept.message_id);
        // Of several messages with one id it is the last.
        let begin = frames.and_then(|frames| {
            frames
                .iter()
                .rposition(|f| of_message(f) && f.first)
                .or_else(|| frames.iter().position(of_message))
        });
        if let Some(begin) = begin {
            return self.drop_message(stream_id, begin);
        }
        let Some(kept) = self.conns.get_mut(id).and_then(|c| c.frame.kept.take()) else { return };
        if let Some(stream) = self.streams.get_mut(stream_id) {
            stream.backlog.octets -= kept.octets.len();
        }
        if !kept.first {
            self.unfollow(stream_id, from, &kept.message_id, &kept.legs);
        }
        self.count_missed(&kept.legs);
    }

    /// Drops a message: its first frame that is kept stands at `n`.
    fn drop_message(&mut self, stream_id: StreamId, mut n: usize) {
        let Some(stream) = self.streams.get_mut(stream_id) else { return };
        let backlog = &mut stream.backlog;
        let Some(begin) = backlog.frames.remove(n) else { return };
        backlog.octets -= begin.octets.len();
        let (mut legs, mut ended) = (begin.legs, begin.flag != Flag::More);
        while let Some(frame) = backlog.frames.get(n).filter(|_| !ended) {
            if !frame.is_of_message(begin.from, &begin.message_id) {
                n += 1;
            } else if frame.first {
                // The same id once more: another message.
                ended = true;
            } else if let Some(frame) = backlog.frames.remove(n) {
                backlog.octets -= frame.octets.len();
                ended = frame.flag != Flag::More;
                legs.extend(frame.legs);
            }
        }
        if !ended {
            let source = self.legs.get(begin.from).and_then(|leg| leg.conn);
            let coming = source.and_then(|source| self.conns.get_mut(source)).and_then(|conn| {
                let of_it =
                    |kept: &mut Box<Kept>| kept.is_of_message(begin.from, &begin.message_id) && !kept.first;
                conn.frame.kept.take_if(of_it)
            });
            if let Some(coming) = coming {
                backlog.octets -= coming.octets.len();
                legs.extend(coming.legs);
            }
            self.unfollow(stream_id, begin.from, &begin.message_id, &legs);
        }
        let mut counted: Vec<LegId> = Vec::new();
        for leg in legs {
            if !counted.contains(&leg) {
                counted.push(leg);
            }
        }
        self.count_missed(&counted);
    }

    /// These legs get no further chunks of the message.
    pub(super) fn unfollow(&mut self, stream: StreamId, from: LegId, message_id: &[u8], legs: &[LegId]) {
        let Some(stream) = self.streams.get_mut(stream) else { return };
        if let Some(message) =
            stream.chunked.iter_mut().find(|m| m.from == from && m.message_id == message_id)
        {
            message.legs.retain(|leg| !legs.contains(leg));
        }
    }

    pub(super) fn count_missed(&mut self, legs: &[LegId]) {
        for leg in legs {
            if let Some(leg) = self.legs.get_mut(*leg) {
                leg.counters.missed += 1;
            }
        }
    }

    /// A leg is gone: nothing is kept for it.
    pub(super) fn forget_kept(&mut self, stream_id: StreamId, leg: LegId) {
        let Some(stream) = self.streams.get_mut(stream_id).filter(|s| s.backlog.octets > 0) else { return };
        let mut frames = std::mem::take(&mut stream.backlog.frames);
        for kept in &mut frames {
            kept.release(leg);
        }
        stream.backlog.put_back(frames);
        for source in self.coming(stream_id) {
            let Some(kept) = self.conns.get_mut(source).and_then(|c| c.frame.kept.as_mut()) else { continue };
            kept.release(leg);
            self.free_coming(source);
        }
    }

    /// Frees the frame that is coming if nobody waits for it.
    fn free_coming(&mut self, source: ConnId) {
        let Some(conn) = self.conns.get_mut(source) else { return };
        if let Some(kept) = conn.frame.kept.take_if(|kept| kept.legs.is_empty())
            && let Some(stream) = self.streams.get_mut(kept.stream)
        {
            stream.backlog.octets -= kept.octets.len();
        }
    }

    /// Sources of frames that are coming and kept.
    fn coming(&self, stream_id: StreamId) -> Vec<ConnId> {
        let Some(stream) = self.streams.get(stream_id) else { return Vec::new() };
        let legs = stream.originator.into_iter().chain(stream.far).chain(stream.devices.iter().copied());
        let mut sources: Vec<ConnId> = Vec::new();
        for source in legs.filter_map(|leg| self.legs.get(leg)?.conn) {
            let kept = self.conns.get(source).and_then(|c| c.frame.kept.as_ref());
            if kept.is_some_and(|kept| kept.stream == stream_id) && !sources.contains(&source) {
                sources.push(source);
            }
        }
        sources
    }

    /// Legs that have come up get what was kept for them.
    pub(super) fn welcome(&mut self, now: Time) {
        while let Some(leg) = self.arrived.pop() {
            self.catch_up(now, leg);
        }
        while let Some(leg) = self.slow.pop() {
            self.down(now, leg, LegDown::Slow);
        }
        self.deliver_on();
    }

    fn catch_up(&mut self, now: Time, leg_id: LegId) {
        let Some(leg) = self.legs.get(leg_id).filter(|l| l.role == LegRole::Device && l.remote.is_some())
        else {
            return;
        };
        let stream_id = leg.stream;
        let Some(to) = leg.conn.filter(|c| self.conns.get(*c).is_some_and(|c| c.up)) else { return };
        let Some(stream) = self.streams.get_mut(stream_id).filter(|s| s.backlog.octets > 0) else { return };
        let mut frames = std::mem::take(&mut stream.backlog.frames);
        let before = self.conns.get(to).map_or(0, |c| c.queued());
        // Messages whose first chunk it did not accept.
        let mut refused: Vec<(LegId, Vec<u8>)> = Vec::new();
        for kept in &mut frames {
            if kept.release(leg_id) {
                self.give_kept(now, (leg_id, to), kept, true, &mut refused);
            }
        }
        if let Some(stream) = self.streams.get_mut(stream_id) {
            stream.backlog.put_back(frames);
        }
        for source in self.coming(stream_id) {
            let Some(mut kept) = self.conns.get_mut(source).and_then(|c| c.frame.kept.take()) else {
                continue;
            };
            if kept.release(leg_id)
                && let Some(target) = self.give_kept(now, (leg_id, to), &kept, false, &mut refused)
                && let Some(source) = self.conns.get_mut(source)
            {
                source.frame.targets.push(target);
            }
            if let Some(source) = self.conns.get_mut(source) {
                source.frame.kept = Some(kept);
            }
            self.free_coming(source);
        }
        for (from, message_id) in refused {
            self.unfollow(stream_id, from, &message_id, &[leg_id]);
        }
        if let Some(conn) = self.conns.get_mut(to) {
            conn.allowance += conn.queued().saturating_sub(before);
        }
        self.alarm_at(now + self.limits.guard.min(self.limits.silent));
    }

    /// Writes a kept frame, or the beginning of one, for a leg; one that goes on is given as a target.
    fn give_kept(
        &mut self,
        now: Time,
        (leg_id, to): (LegId, ConnId),
        kept: &Kept,
        whole: bool,
        refused: &mut Vec<(LegId, Vec<u8>)>,
    ) -> Option<Target> {
        let Parsed::Head(head) = Head::parse(&kept.octets) else { return None };
        let body = kept.octets.get(head.len..)?;
        let known = refused.iter().position(|(from, id)| kept.is_of_message(*from, id));
        match known {
            Some(_) if !kept.first => return None,
            Some(n) => drop(refused.remove(n)),
            None => {}
        }
        let leg = self.legs.get_mut(leg_id)?;
        if !leg.accepts(&Content::of(&head, body)) {
            leg.counters.unacceptable += 1;
            refused.push((kept.from, kept.message_id.clone()));
            return None;
        }
        let target = self.open_target(kept.source, kept.from, &head, &kept.octets, (leg_id, to), false)?;
        let conn = self.conns.get_mut(to)?;
        let out = match conn.deferred.back_mut() {
            Some(deferred) if target.deferred => {
                deferred.done = whole;
                &mut deferred.octets
            }
            _ => conn.outbox.octets(),
        };
        let before = out.len();
        if !whole || target.kept {
            out.extend_from_slice(body);
        } else {
            let end = DASHES.len() + head.transaction.as_bytes().len() + 3;
            out.extend_from_slice(body.get(..body.len().saturating_sub(end)).unwrap_or(&[]));
            end_line(out, &target.transaction, kept.flag);
        }
        let written = out.len() - before;
        if let Some(leg) = self.legs.get_mut(leg_id) {
            leg.counters.octets_out += written as u64;
        }
        if !whole {
            return Some(target);
        }
        if let Some(number) = target.number {
            conn.live.complete(number, now);
        }
        if !target.deferred {
            self.release(to);
        }
        None
    }
}
