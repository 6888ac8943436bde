//! Reads the configuration again while `pf` runs (`pf reload`, SIGHUP): what can change live does, what cannot is named,
//! and a file with faults changes nothing.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{
    signal::unix::Signal,
    sync::{Mutex, mpsc, oneshot},
};

use super::shard;
use crate::{
    admin::Answer,
    config::{self, Config, Finding, Severity},
    core::config::User,
};

/// Reads the files again. Cheap to clone.
#[derive(Clone)]
pub(super) struct Reloader(Arc<Shared>);

struct Shared {
    file: PathBuf,
    /// What counts at present.
    running: Mutex<(Config, Vec<User>)>,
    core: mpsc::Sender<shard::Reload>,
}

/// Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReloadError {
    /// `pf run` would not start with it either.
    #[error(
        "nothing is changed, the configuration has {errors} error(s): {first} (`pf check {file}` explains it)"
    )]
    Faults {
        /// How many errors there are.
        errors: usize,
        /// The first.
        first: String,
        /// The configuration file.
        file: String,
    },
    /// The process is ending.
    #[error("pf is stopping")]
    Stopping,
}

/// What a reload has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reloaded {
    /// Users that there are now.
    pub(super) users: usize,
    /// Of these, new ones.
    pub(super) users_added: usize,
    /// Users with another password, address or wish.
    pub(super) users_changed: usize,
    /// Users that are no more.
    pub(super) users_removed: usize,
    /// Options that have changed.
    pub(super) changed: Vec<String>,
    /// Options whose new values count after a restart only.
    pub(super) restart: Vec<String>,
}

impl Reloader {
    /// For a `pf` that runs with this.
    pub(super) fn new(
        file: &Path,
        config: &Config,
        users: &[User],
        core: mpsc::Sender<shard::Reload>,
    ) -> Reloader {
        let running = Mutex::new((config.clone(), users.to_vec()));
        Reloader(Arc::new(Shared { file: file.to_owned(), running, core }))
    }

    /// Reads the files again and has the core take in what can change live.
    pub(super) async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let reloaded = self.try_reload().await;
        match &reloaded {
            Ok(Reloaded { users, users_added, users_changed, users_removed, changed, restart }) => {
                let (changed, restart) = (changed.join(", "), restart.join(", "));
                tracing::info!(
                    users,
                    users_added,
                    users_changed,
                    users_removed,
                    changed,
                    restart,
                    "the configuration was read again"
                );
            }
            Err(error) => tracing::error!("{error}"),
        }
        reloaded
    }

    async fn try_reload(&self) -> Result<Reloaded, ReloadError> {
        let Shared { file, running, core } = self.0.as_ref();
        // One at a time.
        let mut running = running.lock().await;
        let path = file.clone();
        let read = tokio::task::spawn_blocking(move || config::load(&path)).await;
        let checked = read.map_err(|_| ReloadError::Stopping)?;
        let errors = checked.errors();
        let Some(fresh) = checked.config else {
            let first = checked.findings.iter().find(|finding| finding.severity == Severity::Error);
            let first = first.map(one_line).unwrap_or_default();
            return Err(ReloadError::Faults { errors, first, file: file.display().to_string() });
        };
        for finding in &checked.findings {
            tracing::warn!("{}", one_line(finding));
        }
        let (config, users) = &mut *running;
        let (changed, restart) = differences(config, &fresh).into_iter().partition(|option| is_live(option));
        let mut reloaded = Reloaded { users: checked.users.len(), changed, restart, ..Reloaded::default() };
        count(users, &checked.users, &mut reloaded);
        let (done, is_done) = oneshot::channel();
        let reload = shard::Reload { policy: fresh.policy.clone(), users: checked.users.clone(), done };
        core.send(reload).await.map_err(|_| ReloadError::Stopping)?;
        is_done.await.map_err(|_| ReloadError::Stopping)?;
        config.policy = fresh.policy;
        config.registrar.users = fresh.registrar.users;
        *users = checked.users;
        Ok(reloaded)
    }

    /// The answer to the admin socket.
    pub(super) async fn answer(&self) -> Answer {
        match self.reload().await {
            Ok(Reloaded { users, users_added, users_changed, users_removed, changed, restart }) => {
                Answer::Reloaded { users, users_added, users_changed, users_removed, changed, restart }
            }
            Err(error) => Answer::Error { message: error.to_string() },
        }
    }

    /// Reloads whenever the signal comes.
    pub(super) async fn on(self, mut signal: Signal) {
        while signal.recv().await.is_some() {
            // What came of it is in the log.
            let _ = self.reload().await;
        }
    }
}

/// The options whose new values count at once.
fn is_live(option: &str) -> bool {
    option == "registrar.users" || option.starts_with("policy.")
}

/// The options whose values differ.
fn differences(old: &Config, new: &Config) -> Vec<String> {
    let (old, new) = (options(old), options(new));
    let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
    let mut names: Vec<String> = names.filter(|name| old.get(*name) != new.get(*name)).cloned().collect();
    names.sort();
    names
}

/// `table.key` of everything that is set, and its value.
fn options(config: &Config) -> BTreeMap<String, toml::Value> {
    let Ok(toml::Value::Table(top)) = toml::Value::try_from(config) else { return BTreeMap::new() };
    let named = top.into_iter().flat_map(|(name, value)| match value {
        toml::Value::Table(table) => {
            table.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)).collect::<Vec<_>>()
        }
        value => vec![(name, value)],
    });
    named.collect()
}

fn count(old: &[User], new: &[User], reloaded: &mut Reloaded) {
    let named = |users: &[User]| -> BTreeMap<String, User> {
        users.iter().map(|user| (user.username.clone(), user.clone())).collect()
    };
    let (old, new) = (named(old), named(new));
    reloaded.users_added = new.keys().filter(|name| !old.contains_key(*name)).count();
    reloaded.users_removed = old.keys().filter(|name| !new.contains_key(*name)).count();
    let changed = |(name, user): &(&String, &User)| old.get(*name).is_some_and(|was| was != *user);
    reloaded.users_changed = new.iter().filter(changed).count();
}

fn one_line(finding: &Finding) -> String {
    let Finding { file, line, column, key, message, .. } = finding;
    let key = if key.is_empty() { String::new() } else { format!("{key}: ") };
    format!("{}:{line}:{column}: {key}{message}", file.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_and_told_apart() {
        let (old, mut new) = (Config::default(), Config::default());
        assert_eq!(differences(&old, &new), Vec::<String>::new());
        new.policy.barred = vec!["sip:eve@example.org".to_owned()];
        new.sip.core = Some("sip:10.0.0.5".to_owned());
        new.msrp.workers = 2;
        let names = differences(&old, &new);
        assert_eq!(names, ["msrp.workers", "policy.barred", "sip.core"]);
        assert_eq!(differences(&new, &old), names);
        let live: Vec<bool> = names.iter().map(|name| is_live(name)).collect();
        assert_eq!(live, [false, true, false]);
    }

    #[test]
    fn users_are_known_by_their_names() {
        let user = |username: &str, password: &str| User {
            addresses: vec![format!("sip:{username}@example.org")],
            username: username.to_owned(),
            password: password.to_owned(),
            preferences: Default::default(),
        };
        let mut reloaded = Reloaded::default();
        let old = [user("ann", "1"), user("bea", "1"), user("eve", "1")];
        count(&old, &[user("bea", "2"), user("ann", "1"), user("fay", "1"), user("gil", "1")], &mut reloaded);
        let Reloaded { users_added, users_changed, users_removed, .. } = reloaded;
        assert_eq!((users_added, users_changed, users_removed), (2, 1, 1));
    }
}
