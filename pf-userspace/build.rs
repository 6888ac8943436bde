//! Puts the kernel programs into the binary, where they have been built.
//!
//! In this order: the file that `PF_BPF_OBJECT` names; `target/bpf/pf.o`, which `cargo xtask build` makes; nothing. Then
//! `pf` says at run time that this build has no kernel programs. No part of this needs their toolchain.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

const VARIABLE: &str = "PF_BPF_OBJECT";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");
    let var = |name: &str| env::var_os(name).map(PathBuf::from).unwrap_or_default();
    let object = match env::var_os(VARIABLE) {
        Some(named) => fs::read(watched(Path::new(&named)))
            .map_err(|error| io::Error::new(error.kind(), format!("{VARIABLE}: {named:?}: {error}")))?,
        None => {
            let root = var("CARGO_MANIFEST_DIR").join("..");
            let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
            let folder = target.join("bpf");
            // The folder is watched, so it has to be there: what is missing counts as changed every time.
            let _ = fs::create_dir_all(&folder);
            fs::read(watched(&folder).join("pf.o")).unwrap_or_default()
        }
    };
    if object.is_empty() {
        println!(
            "cargo::warning=this pf will have no kernel programs: it runs without them, and `cargo xtask build` before \
             this makes them"
        );
    }
    fs::write(var("OUT_DIR").join("pf.o"), object)
}

/// Makes cargo run this again when the file, or a file of the folder, changes.
fn watched(path: &Path) -> &Path {
    println!("cargo::rerun-if-changed={}", path.display());
    path
}
