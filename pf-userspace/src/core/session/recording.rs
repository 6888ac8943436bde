//! Clause 8.5: the messages of a recorded session go to the store from the relay, which sees them anyway. The session
//! says where they belong, from when on, and until when.

use std::sync::Arc;

use super::{Session, context::Context, leg::A};
use crate::core::{
    event::{MediaCommand, StreamKey},
    store::{Folder, Place},
};

impl Session {
    /// The record has begun, or will if the user wants it: what is said on the streams that are open is part of it.
    pub(super) fn record_messages(&mut self, cx: &mut Context<'_>) {
        let undecided = self.storing.is_undecided();
        let place = Arc::new(Place { user: self.invitation.user.clone(), folder: self.folder() });
        for stream in self.streams.iter_mut().flatten() {
            if stream.open && !std::mem::replace(&mut stream.recorded, true) {
                let place = place.clone();
                cx.media(MediaCommand::BeginRecording { stream: stream.key, place, undecided });
                if undecided {
                    self.storing.keep(stream.key);
                }
            }
        }
    }

    /// It is known whether the user wants a record: what is said on these streams is kept so far.
    pub(super) fn decide_messages(&mut self, cx: &mut Context<'_>, kept: &[StreamKey], wanted: bool) {
        for stream in kept {
            cx.media(MediaCommand::DecideRecording { stream: *stream, wanted });
        }
        for stream in self.streams.iter_mut().flatten() {
            stream.recorded &= wanted;
        }
    }

    /// The record ends: what the store is told behind this comes after the messages.
    pub(super) fn end_messages(&mut self, cx: &mut Context<'_>) {
        for stream in self.streams.iter_mut().flatten() {
            if std::mem::take(&mut stream.recorded) && stream.open {
                cx.media(MediaCommand::EndRecording { stream: stream.key });
            }
        }
    }

    /// Are messages of this session recorded?
    pub(super) fn records_messages(&self) -> bool {
        !self.storing.is_undecided() && self.streams.iter().flatten().any(|stream| stream.recorded)
    }

    /// The folder of this session in its user's history.
    pub(super) fn folder(&self) -> Folder {
        let name = |header| {
            let value = self.invitation.headers.get(header);
            value.unwrap_or(&self.legs[A].dialog.call_id).to_owned()
        };
        Folder { conversation: name("Conversation-ID"), session: name("Contribution-ID") }
    }
}
