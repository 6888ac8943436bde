//! How much of it never left the kernel, as `pf legs` tells.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::pf::Pf;

/// SENDs to one receiver.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Carried {
    all: u64,
    kernel: u64,
}

impl Carried {
    /// The share of the kernel, in percent; `None`: there was nothing to carry.
    pub(super) fn percent(self) -> Option<f64> {
        (self.all > 0).then(|| 100.0 * self.kernel as f64 / self.all as f64)
    }
}

/// By receiver: what the legs that live have carried so far.
pub(super) fn carried(pf: &Pf) -> Result<BTreeMap<&'static str, Carried>> {
    let said: Value = serde_json::from_str(&pf.cli(&["legs", "--json"])?).context("pf legs --json")?;
    let legs = said.as_array().or_else(|| said["legs"].as_array()).context("no legs in pf legs --json")?;
    let mut carried = BTreeMap::new();
    for leg in legs {
        let name = leg["name"].as_str().unwrap_or_default();
        let who = match leg["role"].as_str() {
            Some("far") => "FAR",
            Some("device") if name.contains("UE-B") => "UE-B",
            Some("device") if name.contains("UE-C") => "UE-C",
            _ => continue,
        };
        let all = leg["counters"]["sends_out"].as_u64().unwrap_or_default();
        let kernel = leg["kernel"]["sends_out"].as_u64().unwrap_or_default();
        carried.insert(who, Carried { all, kernel });
    }
    Ok(carried)
}
