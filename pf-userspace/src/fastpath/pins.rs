//! Names for the maps in a BPF file system, so that other programs can look at them.
//!
//! Maps alone are pinned. Programs and their links have no names: they end with the process, however it ends.
//!
//! Each process has a folder of its own, `<root>/v<layout>/<number>`, and holds a lock on it (flock), which the kernel
//! takes back when the process is gone. So a folder that can be locked is a dead one's, whose maps are removed by
//! whoever starts next. A lock on the root is held meanwhile, so that a folder that was just made is not taken for a
//! dead one's.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, ErrorKind},
    os::unix::{ffi::OsStrExt, fs::DirBuilderExt},
    path::{Path, PathBuf},
};

use aya::maps::MapData;
use pf_common::maps::SCHEMA;

use super::Tables;

/// `f_type` of a BPF file system (linux/magic.h).
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// More processes than this have no pins: something else is wrong then.
const MOST: u32 = 1024;

/// Why the maps have no names. One line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The folder is elsewhere.
    #[error("{} is not in a BPF file system: mount one (`mount -t bpf bpf /sys/fs/bpf`) or set datapath.pin_dir", .0.display())]
    NotBpf(PathBuf),
    /// The system refused.
    #[error("{path}: {1}", path = .0.display())]
    System(PathBuf, io::Error),
    /// The kernel refused.
    #[error("{path}: {1}", path = .0.display())]
    Pin(PathBuf, String),
    /// There are too many others.
    #[error("{path} has {MOST} folders of living processes", path = .0.display())]
    Full(PathBuf),
}

/// The pinned maps of this process. Dropping it removes them.
#[derive(Debug)]
pub struct Pins {
    root: PathBuf,
    folder: PathBuf,
    // Tells others that this process lives.
    _lock: File,
}

impl Pins {
    /// Removes what dead processes left under `root`, and pins these maps there.
    ///
    /// # Errors
    /// There is no BPF file system, or it cannot be written to. Then nothing is pinned.
    pub fn new(root: &Path, tables: &Tables) -> Result<Pins, PinError> {
        if !is_bpf(root) {
            return Err(PinError::NotBpf(root.to_owned()));
        }
        let system = |path: &Path| {
            let path = path.to_owned();
            move |error| PinError::System(path, error)
        };
        make(root).map_err(system(root))?;
        let whole = File::open(root).and_then(|root| root.lock().map(|()| root)).map_err(system(root))?;
        sweep(root);
        let layout = root.join(format!("v{SCHEMA}"));
        make(&layout).map_err(system(&layout))?;
        let mut numbers = 0..MOST;
        let folder = loop {
            let number = numbers.next().ok_or_else(|| PinError::Full(layout.clone()))?;
            let folder = layout.join(number.to_string());
            match DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => break folder,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(PinError::System(folder, error)),
            }
        };
        let lock = File::open(&folder).and_then(|lock| lock.lock().map(|()| lock));
        let lock = lock.map_err(system(&folder))?;
        drop(whole);
        // From here on dropping it removes what was made.
        let pins = Pins { root: root.to_owned(), folder, _lock: lock };
        for (name, map) in tables.each() {
            let path = pins.folder.join(name);
            let own = map.try_clone_to_owned().map_err(system(&path))?;
            let pinned = MapData::from_fd(own)
                .map_err(|error| super::error::chain(&error))
                .and_then(|map| map.pin(&path).map_err(|error| super::error::chain(&error)));
            pinned.map_err(|why| PinError::Pin(path, why))?;
        }
        Ok(pins)
    }

    /// The folder that the maps are in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        // What cannot be removed now, the next start removes.
        let whole = File::open(&self.root).and_then(|root| root.lock().map(|()| root));
        remove(&self.folder);
        if let Some(layout) = self.folder.parent() {
            // Others may be in there.
            let _ = fs::remove_dir(layout);
        }
        drop(whole);
    }
}

/// A folder that others than root and its owner see nothing of.
fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Is the path, or what there is of it, in a BPF file system?
fn is_bpf(path: &Path) -> bool {
    let Some(there) = path.ancestors().find(|path| path.exists()) else { return false };
    let Ok(there) = std::ffi::CString::new(there.as_os_str().as_bytes()) else { return false };
    // SAFETY: plain numbers, for which zeros are valid; a string that ends in zero, and a place for the answer.
    let (done, about) = unsafe {
        let mut about: libc::statfs = std::mem::zeroed();
        (libc::statfs(there.as_ptr(), &mut about), about)
    };
    done == 0 && u64::try_from(about.f_type).is_ok_and(|kind| kind & 0xffff_ffff == BPF_FS_MAGIC)
}

/// Removes the folders of dead processes, of whatever layout.
fn sweep(root: &Path) {
    for layout in folders(root, |name| name.strip_prefix('v').is_some_and(is_number)) {
        for folder in folders(&layout, is_number) {
            if File::open(&folder).is_ok_and(|dead| dead.try_lock().is_ok()) {
                tracing::info!(folder = %folder.display(), "maps of a pf that was killed are removed");
                remove(&folder);
            }
        }
        let _ = fs::remove_dir(&layout);
    }
}

fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_digit())
}

fn folders(of: &Path, ours: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(of).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_str().is_some_and(&ours));
    ours.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// Removes a folder of maps; it stays where somebody has made folders in it.
fn remove(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let _ = fs::remove_file(entry.path());
    }
    let _ = fs::remove_dir(folder);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elsewhere_nothing_is_made() {
        let root = std::env::temp_dir().join(format!("pf-pins-{}", std::process::id()));
        let error = Pins::new(&root, &Tables::default()).unwrap_err().to_string();
        assert!(error.contains("not in a BPF file system") && error.contains("mount -t bpf"), "{error}");
        assert!(!root.exists());
    }

    #[test]
    fn the_dead_are_swept_and_the_living_and_strangers_stay() {
        let root = std::env::temp_dir().join(format!("pf-sweep-{}", std::process::id()));
        let folder = |name: &str| {
            let folder = root.join(name);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("FLOWS"), "").unwrap();
            folder
        };
        let current = |name: &str| format!("v{SCHEMA}/{name}");
        let (dead, old, living) = (folder(&current("0")), folder("v1/7"), folder(&current("1")));
        let (other, named) = (folder("other/0"), folder(&current("mine")));
        let lock = File::open(&living).unwrap();
        lock.lock().unwrap();
        sweep(&root);
        assert!(!dead.exists() && !old.exists() && !root.join("v1").exists());
        assert!(
            living.join("FLOWS").exists() && other.join("FLOWS").exists() && named.join("FLOWS").exists()
        );
        drop(lock);
        sweep(&root);
        assert!(!living.exists());
        fs::remove_dir_all(&root).unwrap();
    }
}
