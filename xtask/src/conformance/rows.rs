//! The rows.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    group: Vec<Group>,
}

/// Rows of one subject.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    /// First part of its rows' names.
    pub(super) name: String,
    /// What it is about.
    pub(super) title: String,
    /// Its rows in order.
    pub(super) rows: Vec<Row>,
}

/// One obligation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    /// `INV-03`.
    pub(super) id: String,
    /// Clause and step.
    pub(super) clause: String,
    /// How binding it is.
    pub(super) level: String,
    /// What it says, in one sentence.
    pub(super) says: String,
}

/// Reads `docs/rows.toml`.
pub(super) fn read(text: &str) -> Result<Vec<Group>> {
    let file: File = toml::from_str(text).context("docs/rows.toml")?;
    let mut seen = BTreeSet::new();
    for group in &file.group {
        for row in &group.rows {
            if !seen.insert(&row.id) || !row.id.starts_with(&format!("{}-", group.name)) {
                bail!("docs/rows.toml: {} stands twice or in the wrong group", row.id);
            }
        }
    }
    Ok(file.group)
}

/// Is there such a row?
pub(super) fn has(groups: &[Group], id: &str) -> bool {
    groups.iter().flat_map(|group| &group.rows).any(|row| row.id == id)
}

/// Does it name a reading of docs/decisions.md (`AMB-07`) and not a row?
pub(super) fn is_reading(id: &str) -> bool {
    id.strip_prefix("AMB-").and_then(|n| n.parse::<u8>().ok()).is_some_and(|n| (1..=42).contains(&n))
}
