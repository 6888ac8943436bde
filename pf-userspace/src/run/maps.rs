//! The maps of the kernel programs as the admin socket sees them.

use std::{path::PathBuf, sync::Arc};

use crate::{
    admin::{Answer, Query, Request},
    config::model,
    fastpath::{Pins, Tables},
};

/// All maps of this process, and where they are pinned.
pub(super) struct Maps {
    tables: Arc<Tables>,
    pins: Option<Pins>,
}

impl Maps {
    /// Pins the maps if that is wanted. Where it cannot be done, one line in the log says why.
    pub(super) fn new(config: &model::Datapath, tables: Tables) -> Maps {
        let wanted = (config.pin && !tables.is_empty()).then(|| Pins::new(&config.pin_dir, &tables));
        let pins = wanted.and_then(|made| match made {
            Ok(pins) => {
                tracing::info!(folder = %pins.folder().display(), "maps: pinned");
                Some(pins)
            }
            Err(error) => {
                tracing::warn!("maps: not pinned, other programs do not find them: {error}");
                None
            }
        });
        Maps { tables: Arc::new(tables), pins }
    }

    /// Answers what is about maps. Reading a large one takes a while: not on a thread that others wait for.
    pub(super) async fn answer(&self, request: Request) -> Answer {
        let tables = self.tables.clone();
        let pinned = self.pins.as_ref().map(|pins| pins.folder().to_owned());
        let work = move || answer(&tables, pinned, &request);
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|error| Answer::Error { message: error.to_string() })
    }
}

fn answer(tables: &Tables, pinned: Option<PathBuf>, request: &Request) -> Answer {
    let answer = match (request.query, request.map) {
        (Query::Dump, Some(map)) => {
            tables.dump(map, request.key.as_deref(), request.rows()).map(|dump| Answer::Entries { map, dump })
        }
        (Query::Dump, None) => {
            return Answer::Error { message: "the question does not say which map".to_owned() };
        }
        _ => tables.list(pinned.as_deref()).map(|maps| Answer::Maps { maps }),
    };
    answer.unwrap_or_else(|error| Answer::Error { message: error.to_string() })
}

/// The rows under `key`, or all of them.
pub(super) fn only<T>(
    rows: &mut Vec<T>,
    map: &str,
    key: Option<&str>,
    name: impl Fn(&T) -> Vec<String>,
) -> Result<(), Answer> {
    let Some(key) = key else { return Ok(()) };
    let known: Vec<String> = rows.iter().filter_map(|row| name(row).into_iter().next()).collect();
    rows.retain(|row| name(row).iter().any(|name| name == key));
    if rows.is_empty() {
        let message = format!("{map} has no entry `{key}`: {}", crate::fastpath::known_keys(&known));
        return Err(Answer::Error { message });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fastpath::TableName;

    #[tokio::test]
    async fn without_programs_there_are_no_maps() {
        let none = Maps::new(&model::Datapath::default(), Tables::default());
        assert!(none.pins.is_none());
        let maps = none.answer(Request::new(Query::Maps, None)).await;
        assert!(matches!(maps, Answer::Maps { maps } if maps.is_empty()));
        let answer = none.answer(Request::entries(TableName::Flows, None, None)).await;
        assert!(
            matches!(&answer, Answer::Error { message } if message.contains("no map FLOWS") && message.contains("no kernel program")),
            "{answer:?}"
        );
    }

    #[test]
    fn an_entry_that_is_not_there_is_told_with_those_that_are() {
        let mut rows = vec![1, 2];
        let name = |row: &i32| vec![row.to_string()];
        let Err(Answer::Error { message }) = only(&mut rows.clone(), "LEGS", Some("3"), name) else {
            panic!()
        };
        assert_eq!(message, "LEGS has no entry `3`: it has 1, 2");
        only(&mut rows, "LEGS", Some("2"), name).unwrap();
        assert_eq!(rows, [2]);
    }
}
