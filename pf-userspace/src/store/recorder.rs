//! The way of recorded messages into the journal. They wait for its writer in a queue that is bounded in octets; who
//! records asks whether it is full, and holds the sources up while it is. Nothing is dropped for want of room.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Instant,
};

use super::{Store, Work};
use crate::core::{
    media::Noted,
    store::{Order, Recorded, RecordingCounters, StoreError},
};

/// Wakes whoever waits for room.
type Wake = Box<dyn Fn() + Send>;

/// What waits for the writer, and who waits for that.
#[derive(Default)]
pub(super) struct Gauge {
    /// Octets that may wait.
    bound: u64,
    waiting: AtomicU64,
    /// Somebody wants to be woken when there is room.
    wanted: AtomicBool,
    wakes: Mutex<Vec<Wake>>,
    messages: AtomicU64,
    octets: AtomicU64,
    holding: AtomicU64,
    held: AtomicU64,
    abandoned: AtomicU64,
    incomplete: AtomicU64,
    lost: AtomicU64,
}

impl std::fmt::Debug for Gauge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gauge")
            .field("bound", &self.bound)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

impl Gauge {
    pub(super) fn new(bound: u64) -> Gauge {
        Gauge { bound, ..Gauge::default() }
    }

    /// The writer is done with objects of this weight.
    pub(super) fn done(&self, weight: u64) {
        self.waiting.fetch_sub(weight, SeqCst);
        if self.has_room() && self.wanted.swap(false, SeqCst) {
            self.wakes.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|wake| wake());
        }
    }

    /// What became of one of them.
    pub(super) fn note<T>(&self, completes: bool, octets: u64, stored: &Result<T, StoreError>) {
        match stored {
            Ok(_) => {
                self.messages.fetch_add(completes.into(), SeqCst);
                self.octets.fetch_add(octets, SeqCst);
            }
            Err(_) => _ = self.lost.fetch_add(1, SeqCst),
        }
    }

    fn has_room(&self) -> bool {
        self.waiting.load(SeqCst) <= self.bound / 2
    }
}

/// The recorder of one worker.
#[derive(Debug)]
pub struct Recorder {
    store: Store,
    /// The core's time zero.
    zero: Instant,
    /// The sources are held up.
    holding: bool,
    /// Octets that may have to be recorded.
    kept: u64,
}

impl Recorder {
    pub(super) fn new(store: Store, zero: Instant) -> Recorder {
        Recorder { store, zero, holding: false, kept: 0 }
    }

    /// The same for another worker, which is woken by `wake` when there is room again.
    pub(crate) fn for_worker(&self, wake: impl Fn() + Send + 'static) -> Recorder {
        let wakes = &self.store.gauge.wakes;
        wakes.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(wake));
        Recorder::new(self.store.clone(), self.zero)
    }

    /// Hands messages over; their times count from `zero`.
    pub(crate) fn record(&self, zero: Instant, noted: Vec<Noted>) {
        let gauge = &self.store.gauge;
        let mut batch: Vec<Recorded> = Vec::with_capacity(noted.len());
        for noted in noted {
            match noted {
                Noted::Abandoned => _ = gauge.abandoned.fetch_add(1, SeqCst),
                Noted::Message(message) => {
                    gauge.incomplete.fetch_add(message.missing.is_some().into(), SeqCst);
                    batch.push(*message);
                }
            }
        }
        if batch.is_empty() {
            return;
        }
        let weight = batch.iter().map(Recorded::weight).sum();
        gauge.waiting.fetch_add(weight, SeqCst);
        let later = zero.saturating_duration_since(self.zero);
        let lost = batch.len() as u64;
        if self.store.work.send(Work::Recorded { batch, weight, later }).is_err() {
            // The writer has ended; it will make no room either.
            gauge.waiting.fetch_sub(weight, SeqCst);
            gauge.lost.fetch_add(lost, SeqCst);
        }
    }

    /// So many octets are kept for the time being, until it is known whether they are to be recorded: they count as
    /// waiting, too.
    pub(crate) fn keeps(&mut self, octets: u64) {
        let before = std::mem::replace(&mut self.kept, octets);
        if octets > before {
            self.store.gauge.waiting.fetch_add(octets - before, SeqCst);
        } else if octets < before {
            self.store.gauge.done(before - octets);
        }
    }

    /// An order that comes after what was handed over.
    pub(crate) fn order(&self, order: Order) {
        self.store.order(order);
    }

    /// Must sources be held up? To be asked after [`Recorder::record`], and when woken. Gives whether that is so, and
    /// whether it has just begun.
    pub(crate) fn is_full(&mut self) -> (bool, bool) {
        let gauge = &self.store.gauge;
        let before = self.holding;
        if !before && gauge.waiting.load(SeqCst) > gauge.bound {
            self.holding = true;
            gauge.held.fetch_add(1, SeqCst);
            gauge.holding.fetch_add(1, SeqCst);
        }
        if self.holding {
            // First the wish, then the look: the writer does it the other way round.
            gauge.wanted.store(true, SeqCst);
            if gauge.has_room() {
                self.holding = false;
                gauge.holding.fetch_sub(1, SeqCst);
            }
        }
        (self.holding, self.holding && !before)
    }
}

impl Store {
    /// A recorder; `zero` is the core's time zero.
    pub fn recorder(&self, zero: Instant) -> Recorder {
        Recorder::new(self.clone(), zero)
    }

    /// How recording does.
    pub fn recording(&self) -> RecordingCounters {
        let get = |counter: &AtomicU64| counter.load(SeqCst);
        let gauge = &self.gauge;
        RecordingCounters {
            messages: get(&gauge.messages),
            octets: get(&gauge.octets),
            waiting_octets: get(&gauge.waiting),
            holding: get(&gauge.holding) > 0,
            held: get(&gauge.held),
            abandoned: get(&gauge.abandoned),
            incomplete: get(&gauge.incomplete),
            lost: get(&gauge.lost),
        }
    }
}
