//! Logs to standard error.

use std::io::IsTerminal as _;

use anyhow::Context;
use tracing::level_filters::LevelFilter;
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
    let filter = filter(&log.level)?;
    tracing_subscriber::registry().with(layer.with_filter(filter)).try_init().context("logging")
}

/// The operator's filter. The SIP engine logs every message as it stands at INFO, so that it is held at WARN
/// whatever the filter says.
fn filter(level: &str) -> anyhow::Result<Targets> {
    let targets: Targets = level.parse().with_context(|| format!("log.level: `{level}`"))?;
    Ok(targets.with_target("rsipstack", LevelFilter::WARN))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn the_sip_engine_never_logs_messages() {
        for level in ["trace", "info,rsipstack=trace", "debug"] {
            let filter = filter(level).unwrap();
            assert!(!filter.would_enable("rsipstack::transaction::endpoint", &Level::INFO), "{level}");
            assert!(filter.would_enable("rsipstack::transport", &Level::WARN), "{level}");
            assert!(filter.would_enable("pf::sip", &Level::INFO), "{level}");
        }
    }
}
