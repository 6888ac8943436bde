//! The guard as the admin socket sees it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;

use crate::{
    admin::{
        Answer, Query, Request,
        protocol::{GuardStats, Setting},
    },
    config::model,
    fastpath::{Guard, GuardError, ProgramInfo, TableName, Tables},
};

use super::{maps::only, settings::valid};

/// The guard, where one is configured.
#[derive(Clone)]
pub(super) struct Guarded(Option<Arc<Mutex<Guard>>>);

impl Guarded {
    /// Starts the guard if interfaces are configured; then nothing but success lets `pf` start.
    pub(super) fn start(config: &model::Guard, listen: &[SocketAddr]) -> anyhow::Result<Guarded> {
        if config.interfaces.is_empty() {
            return Ok(Guarded(None));
        }
        let guard = Guard::start(config, listen).context("guard")?;
        Ok(Guarded(Some(Arc::new(Mutex::new(guard)))))
    }

    /// Its maps.
    pub(super) fn tables(&self) -> anyhow::Result<Tables> {
        let Some(guard) = &self.0 else { return Ok(Tables::default()) };
        Ok(guard.lock().unwrap_or_else(PoisonError::into_inner).tables()?)
    }

    /// Its program.
    pub(super) fn programs(&self) -> Vec<ProgramInfo> {
        let Some(guard) = &self.0 else { return Vec::new() };
        guard.lock().unwrap_or_else(PoisonError::into_inner).programs().unwrap_or_default()
    }

    /// Counters and limits; nothing where there is no guard.
    pub(super) fn stats(&self) -> Option<GuardStats> {
        let guard = self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let (connections_per_second, packets_per_second) = guard.limits();
        let counts = guard.counts().unwrap_or_default();
        Some(GuardStats {
            interfaces: guard.attached(),
            connections_per_second,
            packets_per_second,
            packets: counts.into_iter().map(|(verdict, count)| (verdict.name().to_owned(), count)).collect(),
        })
    }

    /// Answers what is about the guard. Reading a large table takes a while: not on a thread that others wait for.
    pub(super) async fn answer(&self, request: Request) -> Answer {
        let Some(guard) = self.0.clone() else {
            return refuse("there is no guard: `interfaces` under [guard] turns it on".to_owned());
        };
        let work = move || {
            let mut guard = guard.lock().unwrap_or_else(PoisonError::into_inner);
            answer(&mut guard, request).unwrap_or_else(|error| refuse(error.to_string()))
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| refuse(error.to_string()))
    }
}

fn answer(guard: &mut Guard, request: Request) -> Result<Answer, GuardError> {
    match (request.query, request.set) {
        (Query::Guard, _) => {
            let mut sources = guard.sources()?;
            let map = TableName::Guard.map();
            if let Err(none) = only(&mut sources, map, request.key.as_deref(), |row| vec![row.source.clone()])
            {
                return Ok(none);
            }
            let total = sources.len();
            sources.truncate(request.rows());
            Ok(Answer::Guard { total, sources })
        }
        (Query::Set, Some(change)) => match valid(change) {
            Ok(value) => set(guard, change.key, value),
            Err(message) => Ok(refuse(message)),
        },
        _ => Ok(refuse("the question does not say what to set".to_owned())),
    }
}

fn set(guard: &mut Guard, key: Setting, value: u32) -> Result<Answer, GuardError> {
    let (connections, packets) = guard.limits();
    let was = match key {
        Setting::GuardConnections => {
            guard.set_limits(value, packets)?;
            connections
        }
        Setting::GuardPackets => {
            guard.set_limits(connections, value)?;
            packets
        }
        other => return Ok(refuse(format!("{} is not of the guard", other.name()))),
    };
    tracing::info!(setting = key.name(), was, now = value, "changed until the next start");
    Ok(Answer::Set { key, was: was.into(), now: value.into() })
}

fn refuse(message: String) -> Answer {
    Answer::Error { message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_a_guard_there_is_nothing_to_see_and_nothing_to_set() {
        let none = Guarded::start(&model::Guard::default(), &[]).unwrap();
        assert_eq!(none.stats(), None);
        for request in [Request::new(Query::Guard, None), Request::change(Setting::GuardPackets, 1000)] {
            let answer = none.answer(request).await;
            assert!(
                matches!(&answer, Answer::Error { message } if message.contains("no guard")),
                "{answer:?}"
            );
        }
    }
}
