//! The relay's half of the in-kernel path: which connections the kernel programs serve, and what userspace owes them.
//!
//! Each stream that [`Switch::plan`] finds fit is a *group*: its connections are registered as *lines*, its legs
//! written into the programs' tables, and armed whenever userspace has nothing of it in hand. The promises U1 to U3
//! of `docs/datapath.md` are kept here: [`look`](self::look) reads (U1), [`take`](self::take) writes (U2),
//! [`release`](self::release) gives logged octets back (U3).
//!
//! # Who owns an octet?
//! The sender, until the programs claim it. Then [`Line::records`](line::Line), until every leg has acknowledged it
//! or has it in its outbox. What a leg had in flight when userspace took it is in [`Line::again`](line::Line) until
//! its kernel socket has it.

mod arm;
mod close;
mod dump;
mod group;
mod line;
mod look;
mod record;
mod release;
mod take;
mod tick;
mod tune;
mod view;
mod worker;

use std::{io, os::fd::RawFd, time::Duration};

use pf_common::{
    maps::{ControlRow, LogHeader, Op},
    splice::Cause,
    whole::{self, WHOLE_MAX},
};

pub use self::{dump::ConnectionRow, view::PathView};
use self::{group::Group, line::Line, tick::Pace};
use super::{Tunables, worker::Socket};
use crate::{
    core::{
        media::{ConnId, LONG_MAX, MESSAGE_MAX, StreamId},
        time::Time,
    },
    fastpath::Datapath,
};

/// How long userspace waits for the programs to finish a message that is in work. They take microseconds; only a
/// processor that is held up needs longer.
const PATIENCE: Duration = Duration::from_millis(100);

/// The programs, and everything userspace has to remember for them.
pub(super) struct Splice {
    path: Datapath,
    /// By number.
    lines: Vec<Option<Line>>,
    /// Numbers by place of the connection in the switch.
    numbers: Vec<Option<u32>>,
    groups: slab::Slab<Group>,
    /// Groups by place of their stream in the switch.
    streams: Vec<Option<(StreamId, usize)>>,
    /// Streams that could not be served yet, for a passing reason.
    later: Vec<Later>,
    /// Groups that want to be armed.
    wanting: Vec<usize>,
    pace: Pace,
    /// Connections with rolled-back octets to write.
    pressing: Vec<ConnId>,
    /// Connections whose stream is broken beyond repair.
    broken: Vec<ConnId>,
    /// Room for what is read from the log.
    inbox: Vec<(LogHeader, Vec<u8>)>,
    /// Room for a batch.
    rows: Vec<ControlRow>,
    /// Batches that failed: said seldom.
    faults: crate::seldom::Seldom,
    tunables: Tunables,
}

/// A stream that is tried again.
#[derive(Debug)]
struct Later {
    stream: StreamId,
    at: Time,
    wait: Duration,
}

impl Splice {
    pub(super) fn new(mut path: Datapath) -> Splice {
        path.set_asleep(true);
        Splice {
            path,
            lines: Vec::new(),
            numbers: Vec::new(),
            groups: slab::Slab::new(),
            streams: Vec::new(),
            later: Vec::new(),
            wanting: Vec::new(),
            pace: Pace::default(),
            pressing: Vec::new(),
            broken: Vec::new(),
            inbox: Vec::new(),
            rows: Vec::new(),
            faults: Default::default(),
            tunables: Tunables::default(),
        }
    }

    /// Readable when a record of the log must not wait.
    pub(super) fn log_fd(&self) -> RawFd {
        self.path.log_fd()
    }

    /// The number under which a connection is registered.
    fn number(&self, conn: ConnId) -> Option<u32> {
        let number = self.numbers.get(conn.index()).copied().flatten()?;
        self.line(number).filter(|line| line.conn == Some(conn)).map(|_| number)
    }

    fn line(&self, number: u32) -> Option<&Line> {
        self.lines.get(usize::try_from(number).ok()?)?.as_ref()
    }

    fn line_mut(&mut self, number: u32) -> Option<&mut Line> {
        self.lines.get_mut(usize::try_from(number).ok()?)?.as_mut()
    }

    /// The group of a connection.
    fn group_of(&self, conn: ConnId) -> Option<usize> {
        self.line(self.number(conn)?)?.group.map(|(group, _)| group)
    }

    fn members(&self, group: usize) -> Vec<u32> {
        self.groups.get(group).map(|group| group.numbers.clone()).unwrap_or_default()
    }

    /// Has the control program work on rows; gives them with their answers. An error is one of the kernel's memory or
    /// of its interface: the state of the programs stays as it was, and whoever asked tries again later.
    fn batch(&mut self, rows: impl IntoIterator<Item = ControlRow>) -> io::Result<Vec<ControlRow>> {
        let mut batch = std::mem::take(&mut self.rows);
        batch.clear();
        batch.extend(rows);
        let done = if batch.is_empty() { Ok(()) } else { self.path.batch(&mut batch) };
        if let Err(error) = &done
            && let Some(count) = self.faults.count(std::time::Instant::now())
        {
            tracing::error!(%error, count, "the fast path's control program does not run");
        }
        done.map(|()| batch)
    }

    /// The rows are done with.
    fn put_back(&mut self, rows: Vec<ControlRow>) {
        self.rows = rows;
    }

    /// A connection has left the fast path, as a source or as a leg.
    fn note_leaving(&mut self, number: u32, cause: Cause) {
        if let Some(line) = self.line_mut(number) {
            line.count(cause);
        }
    }
}

/// A row that only looks.
const fn view(number: u32) -> ControlRow {
    ControlRow::new(Op::View, number, 0, 0)
}

// The programs carry no longer message than plans assume.
const _: () = assert!(MESSAGE_MAX >= WHOLE_MAX as u64 && LONG_MAX >= whole::LONG_MAX as u64);
