//! Events on their way to the core: one order for all of them, and a bound that pushes back on the sockets.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use tokio::sync::{Notify, mpsc};

use crate::core::event::SipEvent;

/// The queue between the engine, which must not wait, and the core's bounded channel.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: Mutex<VecDeque<SipEvent>>,
    limit: usize,
    filled: Notify,
    drained: Notify,
}

impl Outbox {
    pub(crate) fn new(limit: usize) -> Outbox {
        Outbox { queue: Mutex::default(), limit, filled: Notify::new(), drained: Notify::new() }
    }

    /// Appends events. Never waits: what calls this keeps to the bound beforehand.
    pub(crate) fn push(&self, events: Vec<SipEvent>) {
        if events.is_empty() {
            return;
        }
        self.lock().extend(events);
        self.filled.notify_one();
    }

    /// Events that wait now.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Is there no room for what the network brings?
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.limit
    }

    /// Waits until there is room again.
    pub(crate) async fn room(&self) {
        loop {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            // Registered before the look, so that no wake-up falls between the two.
            drained.as_mut().enable();
            if !self.is_full() {
                return;
            }
            drained.await;
        }
    }

    /// Hands events to the core until it goes away.
    pub(crate) async fn forward(&self, events: mpsc::Sender<SipEvent>) {
        loop {
            let next = {
                let mut queue = self.lock();
                let was_full = queue.len() >= self.limit;
                let next = queue.pop_front();
                if was_full && queue.len() < self.limit {
                    self.drained.notify_waiters();
                }
                next
            };
            match next {
                Some(event) => {
                    if events.send(event).await.is_err() {
                        return;
                    }
                }
                None => tokio::select! {
                    () = self.filled.notified() => {}
                    () = events.closed() => return,
                },
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<SipEvent>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
