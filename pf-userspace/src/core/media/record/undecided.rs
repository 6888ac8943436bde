//! What is said while it is not known whether the user wants it recorded (clause 8.2.2.1, 200 OK step 7): it is kept
//! here, and with the decision goes to the store or away. What is kept counts as waiting for the store.

use std::collections::BTreeMap;

use super::{Noted, Recording};
use crate::core::{event::StreamKey, media::Switch};

/// What is kept of each undecided stream, until the decision: also when the stream has ended before that.
#[derive(Debug, Default)]
pub(in crate::core::media) struct Undecided {
    streams: BTreeMap<StreamKey, Vec<Noted>>,
    octets: u64,
}

impl Undecided {
    /// Is it open whether what is said on this stream is recorded?
    pub(in crate::core::media) fn has(&self, stream: StreamKey) -> bool {
        self.streams.contains_key(&stream)
    }

    pub(super) fn begin(&mut self, stream: StreamKey) {
        self.streams.entry(stream).or_default();
    }

    /// The decision has come: what was kept.
    fn end(&mut self, stream: StreamKey) -> Vec<Noted> {
        let kept = self.streams.remove(&stream).unwrap_or_default();
        self.octets -= weight(&kept);
        kept
    }

    /// Lets a recording work. What it gives is kept here, or comes to `recorded` where it is decided.
    pub(super) fn through<T>(
        &mut self,
        recorded: &mut Vec<Noted>,
        recording: &mut Recording,
        work: impl FnOnce(&mut Recording, &mut Vec<Noted>) -> T,
    ) -> T {
        let Some(kept) = self.streams.get_mut(&recording.stream) else { return work(recording, recorded) };
        let before = kept.len();
        let done = work(recording, kept);
        self.octets += weight(kept.get(before..).unwrap_or(&[]));
        done
    }
}

impl Switch {
    /// The user wants what is said on this stream recorded, or does not.
    pub(in crate::core::media) fn decide_recording(&mut self, key: StreamKey, wanted: bool) {
        let kept = self.undecided.end(key);
        if wanted {
            return self.recorded.extend(kept);
        }
        let Some(id) = self.stream_keys.get(&key).copied() else { return };
        if let Some(stream) = self.streams.get_mut(id) {
            stream.recording = None;
            let legs = stream.originator.into_iter().chain(stream.far).chain(stream.devices.iter().copied());
            for leg in legs {
                if let Some(leg) = self.legs.get_mut(leg) {
                    leg.counters.recorded = 0;
                }
            }
        }
        // Its sources wait for no store any more.
        self.let_go_on();
        self.plan_changed(id);
    }

    /// Octets that are kept until it is decided whether they are recorded.
    pub fn undecided_octets(&self) -> u64 {
        self.undecided.octets
    }
}

/// Octets that these take.
fn weight(kept: &[Noted]) -> u64 {
    let of = |noted: &Noted| match noted {
        Noted::Abandoned => size_of::<Noted>() as u64,
        Noted::Message(message) => message.weight(),
    };
    kept.iter().map(of).sum()
}
