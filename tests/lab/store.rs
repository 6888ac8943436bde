//! The journal of `pf` as another program sees it: its lines, and the lock that holds it up.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{pf::Pf, wait};

/// A journal.
pub struct Journal {
    path: PathBuf,
}

/// Holds the journal up while it lives.
#[must_use]
pub struct Held(#[allow(dead_code)] File);

impl Journal {
    /// The journal of a `pf` that keeps it where it does by default.
    pub fn of(pf: &Pf) -> Journal {
        Journal::at(&pf.directory.join("state/store.jsonl"))
    }

    /// The journal at `path`.
    pub fn at(path: &Path) -> Journal {
        Journal { path: path.to_owned() }
    }

    /// Takes the lock: nothing is written until it is dropped.
    pub fn hold(&self) -> Result<Held> {
        let file = File::open(&self.path).with_context(|| self.path.display().to_string())?;
        file.lock()?;
        Ok(Held(file))
    }

    /// All records.
    pub fn records(&self) -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(&self.path).with_context(|| self.path.display().to_string())?;
        text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    /// The kinds of all records, in the order of the file.
    pub fn kinds(&self) -> Result<Vec<String>> {
        let kind = |record: &Value| record["object"].as_str().map(str::to_owned).context("no kind");
        self.records()?.iter().map(kind).collect()
    }

    /// Waits until there are so many records.
    pub async fn grown_to(&self, count: usize) -> Result<Vec<Value>> {
        let what = format!("{count} records in the journal");
        wait::until(wait::SOON, &what, || self.records().is_ok_and(|records| records.len() >= count)).await?;
        self.records()
    }
}
