//! Loading the in-kernel path, or saying why there is none.

use anyhow::bail;

use crate::{
    config::{Config, model},
    fastpath::{Datapath, DatapathSettings},
};

/// What became of the wish for the in-kernel path.
pub(super) struct FastPath {
    /// As configured.
    pub(super) wanted: model::FastPath,
    /// Why there is none although it was wanted.
    pub(super) missing: Option<String>,
}

impl FastPath {
    /// Is there one?
    pub(super) fn loaded(&self) -> bool {
        self.wanted != model::FastPath::Off && self.missing.is_none()
    }
}

/// Loads the in-kernel path if it is wanted. One line in the log says whether it is on, and why not.
pub(super) fn load(config: &Config) -> anyhow::Result<(Option<Datapath>, FastPath)> {
    let wanted = config.fast_path;
    let why = match wanted {
        model::FastPath::Off => return Ok((None, FastPath { wanted, missing: None })),
        _ if config.msrp.workers != 1 => {
            format!("it serves one MSRP worker, and there are {}", config.msrp.workers)
        }
        model::FastPath::Auto | model::FastPath::Required => match Datapath::load(&settings(config)) {
            Ok(mut path) => {
                path.outlive();
                let (connections, log) = (config.datapath.connections, config.datapath.log);
                tracing::info!(connections, log, "fast path: on, the kernel forwards what it can");
                return Ok((Some(path), FastPath { wanted, missing: None }));
            }
            Err(error) => error.to_string(),
        },
    };
    if wanted == model::FastPath::Required {
        bail!("fast_path is \"required\" and cannot be had: {why}");
    }
    tracing::warn!("fast path: off, every message goes through userspace: {why}");
    Ok((None, FastPath { wanted, missing: Some(why) }))
}

fn settings(config: &Config) -> DatapathSettings {
    let datapath = &config.datapath;
    DatapathSettings {
        connections: datapath.connections,
        // A connection that carries several sessions is not served, so there is one leg for each.
        legs: datapath.connections,
        ring_octets: datapath.log,
        source_octets: datapath.log_per_connection,
    }
}
