//! The thread that writes, and waits for the disk: what waits at a time is written and synced together.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::Receiver,
    },
    time::{Duration, Instant},
};

use tokio::sync::mpsc::UnboundedSender;

use super::{
    Journal, Work,
    record::{Row, Rows},
    recorder::Gauge,
};
use crate::{
    core::store::{Object, OrderId, Outcome, Recorded, StoreError},
    seldom::Seldom,
};

/// Orders and batches of messages that are written together at most.
const BATCH: usize = 256;
/// Octets of messages after which nothing is added to what is written together.
const BATCH_OCTETS: u64 = 4 << 20;

pub(super) struct Writer {
    pub(super) journal: Journal,
    pub(super) rows: Arc<Mutex<Rows>>,
    pub(super) outcomes: UnboundedSender<Outcome>,
    /// Orders that wait.
    pub(super) waiting: Arc<AtomicUsize>,
    pub(super) gauge: Arc<Gauge>,
    /// Messages that were not stored: said seldom.
    pub(super) lost: Seldom,
}

/// Who wants to know what became of an object.
enum Asked {
    Order(OrderId),
    Recording { completes: bool, octets: u64 },
}

/// Objects that are written together.
#[derive(Default)]
struct Batch {
    objects: Vec<Object>,
    asked: Vec<Asked>,
    /// What the messages among them count for.
    weight: u64,
    ending: bool,
}

impl Batch {
    fn add(&mut self, work: Work) {
        match work {
            Work::End => self.ending = true,
            Work::Order(order) => {
                self.asked.push(Asked::Order(order.id));
                self.objects.push(order.object);
            }
            Work::Recorded { batch, weight, later } => {
                self.weight += weight;
                batch.into_iter().for_each(|message| self.add_message(message, later));
            }
        }
    }

    fn add_message(&mut self, message: Recorded, later: Duration) {
        let octets = message.octets.len() as u64;
        self.asked.push(Asked::Recording { completes: message.completes(), octets });
        self.objects.push(message.object(later));
    }
}

impl Writer {
    pub(super) fn run(mut self, inbox: &Receiver<Work>) {
        while let Ok(first) = inbox.recv() {
            let mut batch = Batch::default();
            batch.add(first);
            for _ in 1..BATCH {
                if batch.ending || batch.weight >= BATCH_OCTETS {
                    break;
                }
                let Ok(work) = inbox.try_recv() else { break };
                batch.add(work);
            }
            let (weight, ending) = (batch.weight, batch.ending);
            self.write(batch);
            self.gauge.done(weight);
            if ending {
                return;
            }
        }
    }

    fn write(&mut self, batch: Batch) {
        let kinds: Vec<&str> = batch.objects.iter().map(|object| object.body.kind()).collect();
        let written = self.journal.append(batch.objects);
        for ((stored, asked), object) in written.into_iter().zip(batch.asked).zip(kinds) {
            match asked {
                Asked::Order(id) => {
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                    if let Err(error) = &stored {
                        tracing::error!(%error, object, "not stored");
                    }
                    let stored = self.keep_row(stored);
                    // Without a core nobody wants to know.
                    let _ = self.outcomes.send(Outcome { id, stored });
                }
                Asked::Recording { completes, octets } => {
                    self.gauge.note(completes, octets, &stored);
                    if let Err(error) = &stored
                        && let Some(count) = self.lost.count(Instant::now())
                    {
                        tracing::error!(%error, count, "messages of recorded sessions are not stored");
                    }
                    let _ = self.keep_row(stored);
                }
            }
        }
    }

    fn keep_row(&self, stored: Result<Row, StoreError>) -> Result<crate::core::store::Uid, StoreError> {
        stored.map(|row| {
            let uid = row.uid;
            self.rows.lock().unwrap_or_else(PoisonError::into_inner).push(row);
            uid
        })
    }
}
