//! One line of the journal, and what an operator sees of it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{
    admin::protocol::MAX_LIMIT,
    core::store::{Body, Folder, Uid},
};

/// One stored object: a line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its UID.
    pub uid: Uid,
    /// When the object came to be (RFC 3339).
    pub time: String,
    /// Whose history.
    pub user: String,
    /// Where in it.
    #[serde(flatten)]
    pub folder: Folder,
    /// What it says.
    #[serde(flatten)]
    pub body: Body,
}

impl Record {
    /// What an operator sees of it.
    pub fn row(&self) -> Row {
        Row {
            uid: self.uid,
            time: self.time.clone(),
            user: self.user.clone(),
            folder: self.folder.clone(),
            object: self.body.kind().to_owned(),
        }
    }
}

/// What an operator sees of a stored object: never what was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its UID.
    pub uid: Uid,
    /// When the object came to be (RFC 3339).
    pub time: String,
    /// Whose history.
    pub user: String,
    /// Where in it.
    #[serde(flatten)]
    pub folder: Folder,
    /// Its kind.
    pub object: String,
}

/// The last rows, as many as can be shown at once.
#[derive(Debug, Default)]
pub(super) struct Rows {
    last: VecDeque<Row>,
    total: usize,
}

impl Rows {
    pub(super) fn push(&mut self, row: Row) {
        if self.last.len() == MAX_LIMIT {
            self.last.pop_front();
        }
        self.last.push_back(row);
        self.total += 1;
    }

    pub(super) fn newest(&self, most: usize) -> Vec<Row> {
        self.last.iter().rev().take(most).cloned().collect()
    }

    pub(super) fn total(&self) -> usize {
        self.total
    }
}
