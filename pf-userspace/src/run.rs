//! placeholder
use std::path::Path;
/// Runs.
pub fn run(_config: &Path) -> anyhow::Result<()> {
    anyhow::bail!("x")
}
