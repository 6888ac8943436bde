//! What tests of the fast path share.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lab::{
    actor::{Scene, SceneOptions},
    net::Network,
    sip::SdpOptions,
};

/// A scene in namespaces with the fast path; `None` with a printed reason where this build or this host has none.
pub(crate) async fn fast(options: SceneOptions) -> Result<Option<Scene>> {
    match Network::for_test()? {
        Some(network) => fast_on(network, options).await,
        None => Ok(None),
    }
}

/// The same on a network that the test has prepared.
pub(crate) async fn fast_on(network: Network, options: SceneOptions) -> Result<Option<Scene>> {
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

/// Rounds of talk until enough of one was the kernel's: what left the fast path is tried again after up to two seconds, and
/// the machine may be busy.
pub(crate) fn rounds() -> impl Iterator<Item = usize> {
    let begin = Instant::now();
    (0..).take_while(move |_| begin.elapsed() < ENOUGH)
}

/// After that it is a fault.
const ENOUGH: Duration = Duration::from_secs(30);
/// Between two rounds.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

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

/// How often connections left the fast path, by cause.
pub(crate) fn left(scene: &Scene) -> Result<BTreeMap<String, u64>> {
    let left = scene.pf.cli_json("stats")?["fast_path"]["left"].clone();
    Ok(serde_json::from_value(left)?)
}

/// What `pf legs` says of the leg of this actor.
pub(crate) fn leg(scene: &Scene, who: &str) -> Result<serde_json::Value> {
    let legs = scene.pf.cli_json("legs")?;
    let role = if who == "FAR" { "far" } else { "device" };
    let mut legs = legs.as_array().context("no legs")?.iter();
    let leg = legs.find(|leg| {
        let named = leg["name"].as_str().is_some_and(|name| name.contains(who));
        leg["role"] == role && (who == "FAR" || named)
    });
    leg.cloned().with_context(|| format!("no leg of {who}"))
}

/// Threads that want every processor, twice over.
pub(crate) struct Hogs {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Hogs {
    pub(crate) fn start() -> Hogs {
        let stop = Arc::<AtomicBool>::default();
        let threads = (0..4)
            .map(|_| {
                let stop = stop.clone();
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        Hogs { stop, threads }
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}
