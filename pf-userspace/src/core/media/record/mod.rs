//! What is said in a recorded session is handed to the store as well (clause 8.2.6 step 1, clause 8.5).
//!
//! Every SEND that is handed on is recorded once, whether its octets pass here or the in-kernel path carried them
//! ([`Switch::carried`](super::Switch::carried)); forwarding waits for nothing of it. What is whole waits in
//! [`Switch::take_recorded`](super::Switch::take_recorded) for the caller, who says with
//! [`Switch::hold_recorded`](super::Switch::hold_recorded) when the store cannot follow: then sources of recorded
//! streams are not read, so that nothing is lost.

mod assembly;
mod chunk;
mod hold;
mod undecided;

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use pf_common::msrp::Flag;

use self::assembly::{Assembly, Scattered};
pub(super) use self::{chunk::Chunk, hold::Hold, undecided::Undecided};
use super::{LegId, StreamId, Switch};
use crate::core::{
    event::StreamKey,
    store::{Direction, Missing, Part, Place, Recorded},
    time::Time,
};

/// Messages of a stream that may be incomplete.
const MAX_INCOMPLETE: usize = 64;
/// All of them together hold no more than so many messages may.
const HELD_TOGETHER: u64 = 4;
/// The least difference of two times in the store.
const RESOLUTION: Duration = Duration::from_micros(1);

/// What a recorded stream gives to the store, in order.
#[derive(Debug)]
pub enum Noted {
    /// A message was given up by its sender; nothing of it is in the store.
    Abandoned,
    /// A message, or a part of one.
    Message(Box<Recorded>),
}

/// The recording of one stream.
#[derive(Debug)]
pub(super) struct Recording {
    stream: StreamKey,
    place: Arc<Place>,
    /// Octets of one message that are held before they are given away in parts.
    limit: u64,
    incomplete: VecDeque<Incomplete>,
    /// The time of the last message.
    last: Time,
}

/// A message of which chunks are missing.
#[derive(Debug)]
struct Incomplete {
    of: Origin,
    content_type: Option<Vec<u8>>,
    /// Octets of the whole message, where a Byte-Range has said so.
    total: Option<u64>,
    assembly: Assembly,
    touched: Time,
}

/// Whose message it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    leg: LegId,
    direction: Direction,
    message_id: Vec<u8>,
}

impl Recording {
    fn new(stream: StreamKey, place: Arc<Place>, limit: u64) -> Recording {
        Recording { stream, place, limit: limit.max(1), incomplete: VecDeque::new(), last: Time::ZERO }
    }

    /// Octets of a chunk have come.
    fn add(&mut self, now: Time, chunk: &mut Chunk, out: &mut Vec<Noted>) {
        let n = match self.incomplete.iter().position(|message| message.of == chunk.of) {
            Some(n) => n,
            None => {
                if self.incomplete.len() >= MAX_INCOMPLETE {
                    self.give_up(now, 0, Missing::Incomplete, out);
                }
                self.incomplete.push_back(Incomplete {
                    of: chunk.of.clone(),
                    content_type: chunk.content_type.clone(),
                    total: None,
                    assembly: Assembly::default(),
                    touched: now,
                });
                self.incomplete.len() - 1
            }
        };
        let Some(message) = self.incomplete.get_mut(n) else { return };
        message.touched = now;
        message.total = message.total.or(chunk.total);
        if message.content_type.is_none() {
            message.content_type.clone_from(&chunk.content_type);
        }
        let put = message.assembly.put(chunk.at, &chunk.octets);
        chunk.at = chunk.at.saturating_add(chunk.octets.len() as u64);
        chunk.octets.clear();
        if put == Err(Scattered) {
            return self.give_up(now, n, Missing::Scattered, out);
        }
        while self.incomplete.get(n).is_some_and(|message| message.assembly.octets() > self.limit) {
            self.give_part(now, n, out);
        }
        let held = |message: &Incomplete| message.assembly.octets();
        while self.incomplete.iter().map(held).sum::<u64>() > self.limit.saturating_mul(HELD_TOGETHER) {
            let longest = self.incomplete.iter().enumerate().max_by_key(|(_, message)| held(message));
            let Some((longest, _)) = longest else { break };
            self.give_part(now, longest, out);
        }
    }

    /// A chunk has ended. Gives whether its message is whole now.
    fn end(&mut self, now: Time, mut chunk: Chunk, flag: Flag, out: &mut Vec<Noted>) -> bool {
        let end = chunk.at.saturating_add(chunk.octets.len() as u64);
        let known = self.incomplete.iter().any(|message| message.of == chunk.of);
        if !known && flag == Flag::Last && chunk.at == 0 && end <= self.limit {
            // The ordinary message: all of it at once.
            let octets = std::mem::take(&mut chunk.octets);
            let recorded = self.recorded(now, &chunk.of, chunk.content_type.take(), octets, None, None);
            out.push(Noted::Message(Box::new(recorded)));
            return true;
        }
        if flag == Flag::Abandoned {
            match self.incomplete.iter().position(|message| message.of == chunk.of) {
                Some(n) => self.give_up(now, n, Missing::Abandoned, out),
                None => out.push(Noted::Abandoned),
            }
            return false;
        }
        self.add(now, &mut chunk, out);
        let Some(n) = self.incomplete.iter().position(|message| message.of == chunk.of) else { return false };
        let Some(message) = self.incomplete.get_mut(n) else { return false };
        if flag == Flag::Last {
            // Who ends a message knows how long it is, in whatever order its chunks come.
            message.assembly.ends_at(chunk.total.unwrap_or(end));
        }
        if !message.assembly.is_whole() {
            return false;
        }
        self.give_whole(now, n, out);
        true
    }

    /// So much is held that a part of message `n` has to go before the rest is here.
    fn give_part(&mut self, now: Time, n: usize, out: &mut Vec<Noted>) {
        let limit = self.limit;
        let Some(message) = self.incomplete.get_mut(n) else { return };
        let Some((at, octets)) = message.assembly.give(limit) else { return };
        let (of, content_type) = (message.of.clone(), message.content_type.clone());
        let part = Part { first: at.saturating_add(1), total: message.total, last: false };
        let recorded = self.recorded(now, &of, content_type, octets, Some(part), None);
        out.push(Noted::Message(Box::new(recorded)));
    }

    /// Message `n` is whole.
    fn give_whole(&mut self, now: Time, n: usize, out: &mut Vec<Noted>) {
        let Some(mut message) = self.incomplete.remove(n) else { return };
        let (total, limit) = (message.assembly.end(), self.limit);
        let in_parts = message.assembly.is_begun() || message.assembly.octets() > limit;
        loop {
            let (at, octets) = message
                .assembly
                .give_first(limit)
                // Its end alone has come after all parts were given away.
                .unwrap_or((total.unwrap_or(0), Vec::new()));
            let last = message.assembly.octets() == 0;
            let part = in_parts.then_some(Part { first: at.saturating_add(1), total, last });
            let content_type = message.content_type.clone();
            let recorded = self.recorded(now, &message.of, content_type, octets, part, None);
            out.push(Noted::Message(Box::new(recorded)));
            if last {
                return;
            }
        }
    }

    /// Message `n` will not be whole. What its sender gave up is no message; of all else, and where a part of it is in
    /// the store already, that is noted.
    fn give_up(&mut self, now: Time, n: usize, missing: Missing, out: &mut Vec<Noted>) {
        let Some(message) = self.incomplete.remove(n) else { return };
        if missing == Missing::Abandoned && !message.assembly.is_begun() {
            return out.push(Noted::Abandoned);
        }
        let recorded = self.recorded(now, &message.of, message.content_type, Vec::new(), None, Some(missing));
        out.push(Noted::Message(Box::new(recorded)));
    }

    /// Each is later than the one before.
    fn recorded(
        &mut self,
        now: Time,
        of: &Origin,
        content_type: Option<Vec<u8>>,
        octets: Vec<u8>,
        part: Option<Part>,
        missing: Option<Missing>,
    ) -> Recorded {
        self.last = now.max(self.last + RESOLUTION);
        Recorded {
            place: self.place.clone(),
            at: self.last,
            direction: of.direction,
            message_id: of.message_id.clone(),
            content_type,
            octets,
            part,
            missing,
        }
    }

    /// Nothing more is recorded.
    fn close(&mut self, now: Time, out: &mut Vec<Noted>) {
        while !self.incomplete.is_empty() {
            self.give_up(now, 0, Missing::Incomplete, out);
        }
    }

    /// Gives up what nothing came of since `patience`; gives when that has to be done again.
    fn expire(&mut self, now: Time, patience: Duration, out: &mut Vec<Noted>) -> Option<Time> {
        while let Some(n) = self.incomplete.iter().position(|message| now >= message.touched + patience) {
            self.give_up(now, n, Missing::Incomplete, out);
        }
        self.incomplete.iter().map(|message| message.touched + patience).min()
    }
}

impl Switch {
    /// What is said on this stream is recorded from now on; `undecided`: kept until it is known whether it is to be.
    pub(super) fn begin_recording(&mut self, key: StreamKey, place: Arc<Place>, undecided: bool) {
        let limit = self.limits.recorded_octets;
        let Some(stream) = self.stream_keys.get(&key).and_then(|id| self.streams.get_mut(*id)) else {
            return;
        };
        if stream.recording.is_none() {
            stream.recording = Some(Box::new(Recording::new(key, place, limit)));
            if undecided {
                self.undecided.begin(key);
            }
        }
    }

    /// Nothing of this stream is recorded from now on.
    pub(super) fn end_recording(&mut self, now: Time, id: StreamId) {
        let recording = self.streams.get_mut(id).and_then(|stream| stream.recording.take());
        if let Some(mut recording) = recording {
            let close = |recording: &mut Recording, out: &mut Vec<Noted>| recording.close(now, out);
            self.undecided.through(&mut self.recorded, &mut recording, close);
            self.plan_changed(id);
        }
    }

    /// What was recorded since the last call, in order.
    pub fn take_recorded(&mut self) -> Vec<Noted> {
        std::mem::take(&mut self.recorded)
    }

    /// Messages of which chunks are missing are not waited for without end.
    pub(super) fn look_at_recordings(&mut self, now: Time) {
        let patience = self.limits.chunks;
        let mut next: Option<Time> = None;
        for stream in self.stream_keys.values() {
            let Some(recording) = self.streams.get_mut(*stream).and_then(|s| s.recording.as_mut()) else {
                continue;
            };
            let expire =
                |recording: &mut Recording, out: &mut Vec<Noted>| recording.expire(now, patience, out);
            let at = self.undecided.through(&mut self.recorded, recording, expire);
            next = next.into_iter().chain(at).min();
        }
        if let Some(next) = next {
            self.alarm_at(next);
        }
    }
}
