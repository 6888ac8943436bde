//! The maps of the kernel programs are pinned for other programs, and no name and no map outlives its `pf` for long.

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs, io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use lab::{
    net::Network,
    pf::{Pf, PfOptions},
    wait::{SOON, until},
};

const BPF_OBJ_GET: libc::c_int = 7;
const BPF_MAP_GET_FD_BY_ID: libc::c_int = 14;

/// A BPF file system of the test's own.
struct BpfFs(PathBuf);

impl BpfFs {
    fn mount() -> Result<Option<BpfFs>> {
        let folder = std::env::temp_dir().join(format!("pf-bpffs-{}-{}", std::process::id(), lab::token(4)));
        fs::create_dir(&folder)?;
        let mounted = Command::new("mount").args(["-t", "bpf", "bpf"]).arg(&folder).output()?;
        if mounted.status.success() {
            return Ok(Some(BpfFs(folder)));
        }
        fs::remove_dir(&folder)?;
        Ok(None)
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

fn bpf(command: libc::c_int, attributes: &[u64; 3]) -> io::Result<OwnedFd> {
    // SAFETY: the attributes are as long as told; a path in them outlives the call.
    unsafe {
        let got = libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size_of_val(attributes));
        let fd = libc::c_int::try_from(got).unwrap_or(-1);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// What the kernel says of a pinned map: as another process sees it.
fn look(path: &Path) -> Result<BTreeMap<String, u64>> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let fd = bpf(BPF_OBJ_GET, &[name.as_ptr() as u64, 0, 0]).with_context(|| path.display().to_string())?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
    let pairs = info.lines().filter_map(|line| line.split_once(':'));
    Ok(pairs.filter_map(|(key, value)| Some((key.to_owned(), value.trim().parse().ok()?))).collect())
}

fn is_there(map: u64) -> bool {
    bpf(BPF_MAP_GET_FD_BY_ID, &[map, 0, 0]).is_ok()
}

/// The folders of processes.
fn folders(root: &Path) -> Vec<PathBuf> {
    let list = |of: &Path| -> Vec<PathBuf> {
        fs::read_dir(of).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let mut found: Vec<PathBuf> = list(root).iter().flat_map(|layout| list(layout)).collect();
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn maps_have_names_while_pf_lives() -> Result<()> {
    let Some(mut network) = Network::for_test()? else { return Ok(()) };
    let Some(mounted) = BpfFs::mount()? else { return Ok(()) };
    let root = mounted.0.join("pf");
    let mut options = PfOptions::new(&network.host("pf")?.v4);
    options.fast_path = "auto";
    options.more = format!("[datapath]\nconnections = 128\npin_dir = \"{}\"\n", root.display());
    let mut one = Pf::start(&options)?;
    if one.cli_json("stats")?["fast_path"]["available"] != true {
        return Ok(());
    }
    // Two of them do not disturb each other.
    let mut two = Pf::start(&options)?;
    let both = folders(&root);
    ensure!(both.len() == 2 && both[0].ends_with("0") && both[1].ends_with("1"), "{both:?}");
    let layout =
        both[0].parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
    ensure!(layout.strip_prefix('v').is_some_and(|version| version.parse::<u32>().is_ok()), "{layout}");

    let maps: serde_json::Value = serde_json::from_str(&one.cli(&["maps", "--json"])?)?;
    let maps = maps.as_array().context("no list")?;
    for name in ["FLOWS", "CONNECTIONS", "SESSIONS", "LEGS", "LOG", "CONTROL", "SPLICE_COUNTS"] {
        let map = maps.iter().find(|map| map["name"] == name).context(name)?;
        let path = both[0].join(name);
        ensure!(map["pinned"] == path.to_string_lossy().as_ref(), "{map:#}");
        ensure!(map["max_entries"].as_u64() == look(&path)?.get("max_entries").copied(), "{name}");
    }
    let (first, second) = (look(&both[0].join("FLOWS"))?["map_id"], look(&both[1].join("FLOWS"))?["map_id"]);
    ensure!(first != second && is_there(first) && is_there(second));

    // Killed, it leaves names behind, and whoever starts next removes them and the maps with them.
    one.kill()?;
    ensure!(folders(&root) == both && is_there(first));
    one.restart()?;
    ensure!(folders(&root) == both, "{:?}", folders(&root));
    ensure!(look(&both[1].join("FLOWS"))?["map_id"] == second, "the other one's are its own");
    let third = look(&both[0].join("FLOWS"))?["map_id"];
    ensure!(third != first);
    until(SOON, "the end of the dead one's maps", || !is_there(first)).await?;

    // A clean end leaves nothing.
    one.stop()?;
    ensure!(folders(&root) == both[1..], "{:?}", folders(&root));
    two.stop()?;
    ensure!(folders(&root).is_empty());
    until(SOON, "the end of the maps", || !is_there(second) && !is_there(third)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_such_a_file_system_one_line_says_so() -> Result<()> {
    let Some(mut network) = Network::for_test()? else { return Ok(()) };
    let elsewhere =
        std::env::temp_dir().join(format!("pf-no-bpffs-{}-{}", std::process::id(), lab::token(4)));
    let mut options = PfOptions::new(&network.host("pf")?.v4);
    options.fast_path = "auto";
    options.more = format!("[datapath]\npin_dir = \"{}\"\n", elsewhere.display());
    let pf = Pf::start(&options)?;
    if pf.cli_json("stats")?["fast_path"]["available"] != true {
        return Ok(());
    }
    until(SOON, "a line about pins", || pf.log().contains("pinned")).await?;
    let log = pf.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("pinned")).collect();
    ensure!(lines.len() == 1 && lines[0].contains("is not in a BPF file system"), "{log}");
    ensure!(!elsewhere.exists());
    ensure!(pf.cli(&["maps"])?.contains("FLOWS"), "they can be looked at all the same");
    Ok(())
}
