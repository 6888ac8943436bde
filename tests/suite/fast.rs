//! What tests of the fast path share.

use anyhow::{Context, Result, ensure};
use lab::{
    actor::{Scene, SceneOptions},
    net::Network,
    sip::SdpOptions,
};

/// A scene in namespaces with the fast path; `None` with a printed reason where this build or this host has none.
pub(crate) async fn fast(options: SceneOptions) -> Result<Option<Scene>> {
    let Some(network) = Network::for_test()? else { return Ok(None) };
    let options = SceneOptions { network: Some(network), fast_path: "auto", ..options };
    let scene = Scene::start(options).await?;
    let path = scene.pf.cli_json("stats")?["fast_path"].clone();
    if path["available"] == true {
        return Ok(Some(scene));
    }
    let required = std::env::var_os("PF_EBPF_REQUIRED").is_some_and(|value| value == "1");
    ensure!(!required, "no fast path: {}", path["missing"]);
    eprintln!("SKIPPED: {}", path["missing"]);
    Ok(None)
}

/// A device that takes whatever is wrapped.
pub(crate) fn open_minded() -> SdpOptions {
    SdpOptions { accept_wrapped_types: "*".to_owned(), ..SdpOptions::setup("passive") }
}

/// SENDs that the kernel carried, and that userspace carried.
pub(crate) fn shares(scene: &Scene) -> Result<(u64, u64)> {
    let path = scene.pf.cli_json("stats")?["fast_path"].clone();
    let kernel = path["sends_in_kernel"].as_u64().context("no count")?;
    let passed = path["sends_in_userspace"].as_object().context("no reasons")?;
    Ok((kernel, passed.values().filter_map(serde_json::Value::as_u64).sum()))
}

/// What an operator would look at.
pub(crate) fn diagnosis(scene: &Scene) -> String {
    let view = |what| scene.pf.cli(&[what]).unwrap_or_default();
    let connections = scene.pf.cli(&["maps", "dump", "connections"]).unwrap_or_default();
    view("legs") + &connections + &view("stats") + &scene.pf.log()
}
