//! A chunk on its way into the record: from the octets that pass, or from what the in-kernel path carried.

use pf_common::msrp::{DASHES, Flag, Head, Parsed};

use super::{Noted, Origin, Recording};
use crate::core::{
    event::LegRole,
    media::{ConnId, LegId, StreamId, Switch},
    store::Direction,
    time::Time,
};

/// Octets of a chunk that are gathered before they are put to their place.
const GATHERED: usize = 64 * 1024;
/// The CRLF between body and end-line, which comes with the body.
const CRLF: usize = 2;
/// Flag and CRLF at the end of an end-line.
const FLAG: usize = 3;

/// The chunk that is being read.
#[derive(Debug)]
pub(in crate::core::media) struct Chunk {
    pub(super) stream: StreamId,
    pub(super) of: Origin,
    pub(super) content_type: Option<Vec<u8>>,
    /// Octets of the whole message, where its Byte-Range says so.
    pub(super) total: Option<u64>,
    /// The place of `octets` in the message.
    pub(super) at: u64,
    pub(super) octets: Vec<u8>,
}

impl Switch {
    /// The chunk that begins with this head, if it is to be recorded.
    fn chunk(&self, from: LegId, head: &Head<'_>) -> Option<Chunk> {
        let leg = self.legs.get(from)?;
        self.streams.get(leg.stream)?.recording.as_ref()?;
        let direction = match leg.role {
            LegRole::Far => Direction::Received,
            LegRole::Device | LegRole::Originator => Direction::Sent,
        };
        let range = head.byte_range;
        Some(Chunk {
            stream: leg.stream,
            of: Origin { leg: from, direction, message_id: head.message_id.unwrap_or(&[]).to_vec() },
            content_type: head.content_type.map(<[u8]>::to_vec),
            total: range.and_then(|range| range.total),
            at: range.map_or(0, |range| range.start.saturating_sub(1)),
            octets: Vec::new(),
        })
    }

    /// A frame begins to be handed on.
    pub(in crate::core::media) fn record_frame(&mut self, id: ConnId, from: LegId, head: &Head<'_>) {
        let chunk = self.chunk(from, head).map(Box::new);
        if let Some(conn) = self.conns.get_mut(id) {
            conn.frame.recorded = chunk;
        }
    }

    /// More of its body has come; the CRLF behind the body may be among it.
    pub(in crate::core::media) fn record_octets(&mut self, id: ConnId, octets: &[u8]) {
        let Some(chunk) = self.conns.get_mut(id).and_then(|conn| conn.frame.recorded.as_mut()) else {
            return;
        };
        chunk.octets.extend_from_slice(octets);
        if chunk.octets.len() < GATHERED {
            return;
        }
        let recording = self.streams.get_mut(chunk.stream).and_then(|stream| stream.recording.as_mut());
        let Some(recording) = recording else { return chunk.octets.clear() };
        let kept = chunk.octets.split_off(chunk.octets.len() - CRLF);
        let now = self.now;
        let add = |recording: &mut Recording, out: &mut Vec<Noted>| recording.add(now, chunk, out);
        self.undecided.through(&mut self.recorded, recording, add);
        chunk.octets = kept;
    }

    /// The frame has ended.
    pub(in crate::core::media) fn record_end(&mut self, now: Time, id: ConnId, flag: Flag) {
        let chunk = self.conns.get_mut(id).and_then(|conn| conn.frame.recorded.take());
        let Some(mut chunk) = chunk else { return };
        chunk.octets.truncate(chunk.octets.len().saturating_sub(CRLF));
        self.record(now, *chunk, flag);
    }

    /// The in-kernel path has carried a whole message: its frame.
    pub(in crate::core::media) fn record_carried(&mut self, now: Time, from: LegId, frame: &[u8]) {
        if !self.legs.get(from).is_some_and(|leg| self.is_recorded(leg.stream)) {
            return;
        }
        let Parsed::Head(head) = Head::parse(frame) else { return };
        let Some(mut chunk) = self.chunk(from, &head) else { return };
        let end_line = DASHES.len() + head.transaction.as_bytes().len() + FLAG;
        let end = frame.len().saturating_sub(CRLF + end_line);
        chunk.octets = frame.get(head.len..end).unwrap_or(&[]).to_vec();
        self.record(now, chunk, Flag::Last);
    }

    fn record(&mut self, now: Time, chunk: Chunk, flag: Flag) {
        let (stream, from) = (chunk.stream, chunk.of.leg);
        let recording = self.streams.get_mut(stream).and_then(|stream| stream.recording.as_mut());
        let Some(recording) = recording else { return };
        let end = |recording: &mut Recording, out: &mut Vec<Noted>| recording.end(now, chunk, flag, out);
        let whole = self.undecided.through(&mut self.recorded, recording, end);
        let waits = !recording.incomplete.is_empty();
        if let Some(leg) = self.legs.get_mut(from) {
            leg.counters.recorded += u64::from(whole);
        }
        if waits {
            self.alarm_at(now + self.limits.chunks);
        }
    }
}
