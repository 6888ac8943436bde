//! The message store: what the core orders is kept, and named by a UID. The one backend today is a journal, which
//! records durably what a message store would hold.

mod clock;
mod journal;
mod record;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, SystemTime},
};

use tokio::sync::mpsc::UnboundedSender;

pub use journal::{Journal, JournalError};
pub use record::{Record, Row};

use crate::core::store::{Order, Outcome, StoreError};

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
}

/// A running store. Cheap to clone; it ends when every clone is gone, or one has finished it.
#[derive(Clone, Debug)]
pub struct Store {
    work: SyncSender<Work>,
    outcomes: UnboundedSender<Outcome>,
    rows: Arc<Mutex<record::Rows>>,
    ended: Arc<Mutex<Receiver<()>>>,
}

/// What waits for the writer.
#[derive(Debug)]
enum Work {
    /// An object.
    Order(Order),
    /// Nothing comes any more.
    End,
}

impl Store {
    /// Opens the journal and starts its writer, a thread of its own: it waits for the disk.
    pub fn start(options: StoreOptions, outcomes: UnboundedSender<Outcome>) -> Result<Store, JournalError> {
        let (journal, rows) = Journal::open(options)?;
        let rows = Arc::new(Mutex::new(rows));
        let (work, waiting) = sync_channel(WAITING);
        let (ending, ended) = sync_channel(1);
        let writer = Writer { journal, rows: rows.clone(), outcomes: outcomes.clone() };
        std::thread::Builder::new()
            .name("pf-store".to_owned())
            .spawn(move || {
                writer.run(&waiting);
                let _ = ending.send(());
            })
            .map_err(JournalError::Thread)?;
        Ok(Store { work, outcomes, rows, ended: Arc::new(Mutex::new(ended)) })
    }

    /// Takes an order. Its outcome follows as an event, in any case.
    pub fn order(&self, order: Order) {
        let id = order.id;
        let error = match self.work.try_send(Work::Order(order)) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => StoreError::Busy,
            Err(TrySendError::Disconnected(_)) => {
                StoreError::Failed("the journal's writer has ended".to_owned())
            }
        };
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
        let told = self.work.try_send(Work::End).is_ok();
        told && self.ended.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(patience).is_ok()
    }
}

/// The thread that writes.
struct Writer {
    journal: Journal,
    rows: Arc<Mutex<record::Rows>>,
    outcomes: UnboundedSender<Outcome>,
}

/// Orders written and synced together at most.
const BATCH: usize = 256;

impl Writer {
    fn run(mut self, waiting: &Receiver<Work>) {
        let mut ending = false;
        while !ending && let Ok(first) = waiting.recv() {
            let work: Vec<Work> = std::iter::once(first).chain(waiting.try_iter().take(BATCH - 1)).collect();
            ending = work.iter().any(|work| matches!(work, Work::End));
            let orders = work.into_iter().filter_map(|work| match work {
                Work::Order(order) => Some(order),
                Work::End => None,
            });
            let batch: Vec<Order> = orders.collect();
            let written = self.journal.append(&batch);
            for (order, stored) in batch.iter().zip(written) {
                let stored = match stored {
                    Ok(row) => {
                        let uid = row.uid;
                        self.rows.lock().unwrap_or_else(PoisonError::into_inner).push(row);
                        Ok(uid)
                    }
                    Err(error) => {
                        tracing::error!(%error, object = order.object.body.kind(), "not stored");
                        Err(error)
                    }
                };
                let _ = self.outcomes.send(Outcome { id: order.id, stored });
            }
        }
    }
}
