//! Logs to standard error.

use std::io::IsTerminal as _;

use anyhow::Context;
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::model::{Log, LogFormat};

/// Starts logging as configured. Only once in a process.
pub(super) fn start(log: &Log) -> anyhow::Result<()> {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        // Colours are for people: not in a file, not in the journal.
        .with_ansi(std::io::stderr().is_terminal());
    let layer = match log.format {
        LogFormat::Json => lines.json().boxed(),
        LogFormat::Text => lines.boxed(),
    };
    let filter: Targets = log.level.parse().with_context(|| format!("log.level: `{}`", log.level))?;
    tracing_subscriber::registry().with(layer.with_filter(filter)).try_init().context("logging")
}
