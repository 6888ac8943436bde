//! A worker carries out what it is told, and what the switch wants done.

use std::sync::mpsc;

use super::{
    Order, connect,
    worker::{Colleagues, Worker},
};
use crate::core::media::Action;

impl Worker {
    /// Carries out orders; false when told to stop.
    pub(super) fn orders(&mut self) -> bool {
        loop {
            match self.inbox.try_recv() {
                Ok(Order::Command(command)) => {
                    if let Some(splice) = &mut self.splice {
                        splice.before_command(self.now, &mut self.switch, &command);
                    }
                    self.switch.command(self.now, command);
                    self.act();
                }
                Ok(Order::Adopt { stream, peer, octets }) => self.take_in(stream, peer, octets),
                Ok(Order::Resolved(found)) => match found.to {
                    Ok(to) => self.connect(found.conn, to, found.from),
                    Err(error) => {
                        tracing::debug!(%error, "a name in an MSRP path cannot be resolved");
                        self.gone(found.conn);
                    }
                },
                Ok(Order::Connections(reply)) => {
                    let legs = self.switch.snapshot();
                    let rows = self.splice.as_ref().map(|splice| splice.dump(&legs));
                    // Whoever asked may have gone.
                    let _ = reply.send(rows.unwrap_or_default());
                }
                Ok(Order::Path(reply)) => {
                    let path = self.splice.as_mut();
                    let _ = reply.send(path.map(|splice| splice.sums(self.now, &mut self.switch)));
                }
                Ok(Order::Tune(tunables, reply)) => {
                    self.config.tunables = tunables;
                    if let Some(splice) = &mut self.splice {
                        splice.tune(self.now, &mut self.switch, tunables);
                    }
                    let _ = reply.send(());
                }
                Ok(Order::Store(order)) => {
                    self.flush_recorded();
                    if let Some(recorder) = &self.recorder {
                        recorder.order(order);
                    }
                }
                Ok(Order::Recorded(reply)) => {
                    if let Some(splice) = &mut self.splice {
                        splice.refresh(self.now, &mut self.switch);
                    }
                    self.flush_recorded();
                    // Whoever asked may have gone.
                    let _ = reply.send(());
                }
                Ok(Order::Snapshot(reply)) => {
                    if let Some(splice) = &mut self.splice {
                        splice.refresh(self.now, &mut self.switch);
                    }
                    let mut legs = self.switch.snapshot();
                    if let Some(splice) = &mut self.splice {
                        splice.complete(&mut self.switch, &mut legs);
                    }
                    // Whoever asked may have gone.
                    let _ = reply.send(legs);
                }
                #[cfg(test)]
                Ok(Order::Fail) => panic!("told to fail"),
                Ok(Order::Stop) | Err(mpsc::TryRecvError::Disconnected) => return false,
                Err(mpsc::TryRecvError::Empty) => return true,
            }
        }
    }

    pub(super) fn act(&mut self) {
        while let Some(action) = self.switch.action() {
            match action {
                Action::Close { conn, rest } => self.close(conn, rest),
                Action::Connect { conn, to, from } => {
                    let from = from.filter(|_| self.config.connect_from_path_port);
                    match to.parse() {
                        Ok(to) => self.connect(conn, to, from),
                        Err(_) => {
                            let Colleagues { number, seats, .. } = &self.colleagues;
                            if connect::resolve(conn, to, from, seats.clone(), *number).is_err() {
                                self.gone(conn);
                            }
                        }
                    }
                }
                Action::Event(event) => {
                    if !self.colleagues.directory.is_single() {
                        self.colleagues.directory.note(&event);
                    }
                    // Without a core nobody needs to know.
                    let _ = self.events.send(event);
                }
            }
        }
    }
}
