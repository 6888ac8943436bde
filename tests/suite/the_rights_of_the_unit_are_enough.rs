//! `pf` under its systemd unit is no root: the drop-in `packaging/pf-kernel.conf` gives it what the kernel programs
//! need. Here `setpriv` gives the same, and nothing more; /proc shows no other processes and no settings.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, ensure};
use lab::{
    actor::SceneOptions,
    msrp::Incoming,
    wait::{SOON, until},
};

use crate::{
    a_killed_pf_ends_every_connection::{helpers, in_the_kernel},
    fast::{fast, open_minded},
};

/// Runs a copy of `pf`, which may lie where root alone can read, as nobody with what `setpriv` is told first.
const UNIT: &str = r#"
set -e
rights=$1 program=$2
shift 2
for file; do :; done
directory=$(dirname "$file")
mount -t proc -o hidepid=invisible,subset=pid proc /proc
test -x "$directory/pf" || cp "$program" "$directory/pf"
chown -R 65534:65534 "$directory"
exec setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs --bounding-set "$rights" --inh-caps "$rights" \
    --ambient-caps "$rights" "$directory/pf" "$@"
"#;

/// What the drop-in says.
fn drop_in() -> Result<BTreeMap<String, String>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/pf-kernel.conf");
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let settings = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    Ok(settings.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// A line of `/proc/<process>/status`.
fn status(process: &Path, name: &str) -> Result<String> {
    let text = fs::read_to_string(process.join("status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(line.context("no such line")?.trim().to_owned())
}

#[tokio::test]
async fn the_rights_of_the_drop_in_are_enough_for_the_fast_path() -> Result<()> {
    let drop_in = drop_in()?;
    let given = drop_in.get("AmbientCapabilities").context("no capabilities")?;
    ensure!(drop_in.get("CapabilityBoundingSet") == Some(given), "{drop_in:?}");
    let names = given.split_whitespace().map(|name| name.trim_start_matches("CAP_").to_ascii_lowercase());
    let rights = names.fold("-all".to_owned(), |rights, name| format!("{rights},+{name}"));
    let under = ["unshare", "--mount", "sh", "-c", UNIT, "unit", &rights].map(str::to_owned).to_vec();
    let Some(mut scene) = fast(SceneOptions { under, ..SceneOptions::default() }).await? else {
        return Ok(());
    };
    let (mut a, mut far, _others) = scene.full_call_with(&open_minded()).await?;
    in_the_kernel(&scene, &a).await?;

    let first = scene.pf.pid().context("it runs")?;
    let second = helpers(first)?;
    ensure!(second.len() == 1, "{second:?}");
    let first = Path::new("/proc").join(first.to_string());
    for process in [&first, &second[0]] {
        ensure!(status(process, "Uid")?.starts_with("65534\t65534"), "{}", status(process, "Uid")?);
        let bounds = u64::from_str_radix(&status(process, "CapBnd")?, 16)?;
        ensure!(bounds.count_ones() as usize == given.split_whitespace().count(), "{bounds:x}");
    }
    let words = fs::read_to_string(second[0].join("cmdline"))?;
    ensure!(words == "pf\0keep-attached\0", "{words:?}");

    scene.pf.kill()?;
    for call in [&mut a, &mut far] {
        while !matches!(call.media.next(SOON).await?, Incoming::Closed(_)) {}
    }
    until(SOON, "the end of the old programs", || !second[0].exists()).await
}
