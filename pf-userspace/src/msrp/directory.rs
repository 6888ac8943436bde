//! Which worker owns a stream, a leg, a session-id.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use pf_common::msrp::Uri;

use crate::core::event::{LegKey, MediaCommand, MediaEvent, StreamKey};

/// Asked once per command and once per accepted connection; never per frame. With one worker it stays empty.
pub(super) struct Directory {
    workers: usize,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    legs: HashMap<LegKey, (usize, Box<[u8]>)>,
    sessions: HashMap<Box<[u8]>, usize>,
}

impl Directory {
    pub(super) fn new(workers: usize) -> Directory {
        Directory { workers, entries: Mutex::default() }
    }

    pub(super) fn is_single(&self) -> bool {
        self.workers == 1
    }

    /// The worker that a command is for; nothing if its leg is gone.
    pub(super) fn owner(&self, command: &MediaCommand) -> Option<usize> {
        if self.is_single() {
            return Some(0);
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        match command {
            MediaCommand::BeginRecording { stream, .. }
            | MediaCommand::CloseStream { stream }
            | MediaCommand::ConfirmIntercepted { stream, .. }
            | MediaCommand::DecideRecording { stream, .. }
            | MediaCommand::Deliver { stream, .. }
            | MediaCommand::EndRecording { stream }
            | MediaCommand::Intercept { stream, .. }
            | MediaCommand::OpenStream { stream, .. }
            | MediaCommand::Resume { stream } => Some(self.of(*stream)),
            MediaCommand::OpenLeg { leg, stream, local, .. } => {
                let worker = self.of(*stream);
                let session: Box<[u8]> =
                    Uri::parse(local.as_bytes()).map_or(&[][..], |uri| uri.session).into();
                entries.sessions.entry(session.clone()).or_insert(worker);
                entries.legs.insert(*leg, (worker, session));
                Some(worker)
            }
            MediaCommand::ConnectLeg { leg, .. } | MediaCommand::CloseLeg { leg } => {
                entries.legs.get(leg).map(|(worker, _)| *worker)
            }
        }
    }

    /// The worker whose session it is.
    pub(super) fn session(&self, session: &[u8]) -> Option<usize> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.sessions.get(session).copied()
    }

    /// A worker reports the end of a leg.
    pub(super) fn note(&self, event: &MediaEvent) {
        let leg = match event {
            MediaEvent::Delivered { .. }
            | MediaEvent::Intercepted { .. }
            | MediaEvent::LegUp { .. }
            | MediaEvent::Resumed { .. }
            | MediaEvent::Waiting { .. } => return,
            MediaEvent::LegClosed { leg, .. } | MediaEvent::LegDown { leg, .. } => leg,
        };
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, session)) = entries.legs.remove(leg) {
            entries.sessions.remove(&session);
        }
    }

    /// The worker that owns a stream.
    pub(super) fn of(&self, stream: StreamKey) -> usize {
        (stream.0 % self.workers as u64) as usize
    }
}
