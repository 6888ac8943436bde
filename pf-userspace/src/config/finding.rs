//! One fault of a configuration file: where it is, what it is, how to mend it.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// `pf` does not start with it.
    Error,
    /// `pf` starts, but probably not as meant.
    Warning,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file it is in.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The option, `sip.listen[1]`; empty where there is none.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: String,
    /// The line as it stands in the file.
    pub source: String,
}

impl Finding {
    /// A finding at `span` (octets) of `text`, the contents of `file`.
    pub fn at(
        (file, text, span): (&Path, &str, Range<usize>),
        severity: Severity,
        key: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Finding {
        let (line, column, source) = place(text, span.start);
        Finding {
            severity,
            file: file.to_owned(),
            line,
            column,
            key: key.into(),
            message: message.into(),
            help: help.into(),
            source: source.to_owned(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}:{}:{}: ", self.file.display(), self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.message)?;
        if !self.source.trim().is_empty() {
            write!(f, "\n  {} | {}", self.line, self.source.trim_end())?;
        }
        if !self.help.is_empty() {
            write!(f, "\n  help: {}", self.help)?;
        }
        Ok(())
    }
}

/// Line and column (from 1) of an octet offset, and the text of that line.
fn place(text: &str, offset: usize) -> (usize, usize, &str) {
    let before = text.get(..offset).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.matches('\n').count() + 1;
    let column = before[start..].chars().count() + 1;
    (line, column, text[start..].lines().next().unwrap_or_default())
}
