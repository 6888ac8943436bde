//! The message store: what the core orders is kept, and named by a UID. The one backend today is a journal, which
//! records durably what a message store would hold.

mod clock;
mod journal;
mod record;
mod recorder;
mod writer;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel, sync_channel},
    },
    time::{Duration, SystemTime},
};

use tokio::sync::mpsc::UnboundedSender;

pub use journal::{Journal, JournalError};
pub use record::{Record, Row};
pub use recorder::Recorder;

use crate::{
    core::store::{Order, Outcome, Recorded, StoreError},
    seldom::Seldom,
};

/// Orders that may wait for the writer; one more is refused as [`StoreError::Busy`].
const WAITING: usize = 4096;

/// What the store is told at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// The journal file.
    pub path: PathBuf,
    /// Octets that it may grow to.
    pub max_octets: u64,
    /// The wall clock at the core's time zero.
    pub epoch: SystemTime,
    /// Octets of recorded messages that may wait for the writer.
    pub recording_octets: u64,
}

/// A running store. Cheap to clone; it ends when every clone is gone, or one has finished it.
#[derive(Clone, Debug)]
pub struct Store {
    work: Sender<Work>,
    /// Orders that wait for the writer.
    waiting: Arc<AtomicUsize>,
    gauge: Arc<recorder::Gauge>,
    outcomes: UnboundedSender<Outcome>,
    rows: Arc<Mutex<record::Rows>>,
    ended: Arc<Mutex<Receiver<()>>>,
}

/// What waits for the writer.
#[derive(Debug)]
enum Work {
    /// An object.
    Order(Order),
    /// Messages of recorded sessions.
    Recorded {
        /// In order.
        batch: Vec<Recorded>,
        /// What they count for in the bound of what waits.
        weight: u64,
        /// How much their clock is behind the core's.
        later: Duration,
    },
    /// Nothing comes any more.
    End,
}

impl Store {
    /// Opens the journal and starts its writer, a thread of its own: it waits for the disk.
    pub fn start(options: StoreOptions, outcomes: UnboundedSender<Outcome>) -> Result<Store, JournalError> {
        let options_bound = options.recording_octets;
        let (journal, rows) = Journal::open(options)?;
        let rows = Arc::new(Mutex::new(rows));
        let gauge = Arc::new(recorder::Gauge::new(options_bound));
        let (work, inbox) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let (ending, ended) = sync_channel(1);
        let writer = writer::Writer {
            journal,
            rows: rows.clone(),
            outcomes: outcomes.clone(),
            waiting: waiting.clone(),
            gauge: gauge.clone(),
            lost: Seldom::default(),
        };
        std::thread::Builder::new()
            .name("pf-store".to_owned())
            .spawn(move || {
                writer.run(&inbox);
                let _ = ending.send(());
            })
            .map_err(JournalError::Thread)?;
        Ok(Store { work, waiting, gauge, outcomes, rows, ended: Arc::new(Mutex::new(ended)) })
    }

    /// Takes an order. Its outcome follows as an event, in any case.
    pub fn order(&self, order: Order) {
        let id = order.id;
        let error = if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING {
            StoreError::Busy
        } else if self.work.send(Work::Order(order)).is_err() {
            StoreError::Failed("the journal's writer has ended".to_owned())
        } else {
            return;
        };
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        // Without a core nobody wants to know.
        let _ = self.outcomes.send(Outcome { id, stored: Err(error) });
    }

    /// The last objects stored, the newest first, and how many there are in all.
    pub fn rows(&self, most: usize) -> (Vec<Row>, usize) {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        (rows.newest(most), rows.total())
    }

    /// Gives the writer so much time to write what was ordered, and ends it. Waits; `false` if it was too slow.
    pub fn finish(&self, patience: Duration) -> bool {
        let told = self.work.send(Work::End).is_ok();
        told && self.ended.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(patience).is_ok()
    }
}
