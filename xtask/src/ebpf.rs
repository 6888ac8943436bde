//! Builds the kernel programs into `target/bpf/pf.o`, and looks at what came out.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSymbol};

use crate::{
    shell,
    toolchain::{self, Toolchain},
};

const TARGET: &str = "bpfel-unknown-none";

/// Where the object is for `pf`'s build script.
pub(crate) fn object() -> PathBuf {
    shell::target("bpf", "pf.o")
}

/// Builds; with `twice`, builds again and fails if any octet differs.
pub(crate) fn run(twice: bool) -> Result<()> {
    let toolchain = match toolchain::find() {
        Ok(toolchain) => toolchain,
        Err(missing) => bail!("{missing}\n`cargo xtask setup --ebpf` installs it"),
    };
    let octets = build(&toolchain)?;
    if twice {
        let mut clean = toolchain.cargo();
        clean.args(["clean", "--manifest-path", "pf-ebpf/Cargo.toml", "--release", "--target", TARGET]);
        clean.args(["-p", "pf-ebpf", "-p", "pf-common", "--target-dir"]).arg(folder());
        shell::run(&mut clean)?;
        if build(&toolchain)? != octets {
            bail!("the same sources gave another object: the build is not reproducible");
        }
        eprintln!("build: twice the same octets");
    }
    let programs = inspect(&octets)?;
    let file = object();
    // Left alone where nothing changed, so that `pf` is not built anew for it.
    if fs::read(&file).ok().as_deref() != Some(&octets) {
        fs::create_dir_all(file.parent().context("no folder")?)?;
        fs::write(&file, &octets).with_context(|| file.display().to_string())?;
    }
    eprintln!("build: {} ({} octets; {})", file.display(), octets.len(), programs.join(", "));
    Ok(())
}

/// Beside `target/bpf`, not in it: that one is watched by `pf`'s build script.
fn folder() -> PathBuf {
    shell::target("bpf-build", "")
}

fn build(toolchain: &Toolchain) -> Result<Vec<u8>> {
    let mut command = toolchain.cargo();
    command
        .args(["build", "--manifest-path", "pf-ebpf/Cargo.toml", "--release", "--locked", "--target", TARGET])
        .args(["-Z", "build-std=core", "--target-dir"])
        .arg(folder())
        .env("CARGO_ENCODED_RUSTFLAGS", flags(toolchain).join("\x1f"));
    shell::run(&mut command)?;
    let built = folder().join(TARGET).join("release").join("pf");
    fs::read(&built).with_context(|| built.display().to_string())
}

/// Version 3 of the instruction set has atomic instructions that give back the old value, and 32-bit jumps.
fn flags(toolchain: &Toolchain) -> Vec<String> {
    let mut flags = vec![
        "-Ctarget-cpu=v3".to_owned(),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        format!("-Clinker={}", toolchain.linker.display()),
        format!("--remap-path-prefix={}=/pf", shell::root().display()),
    ];
    if let Some(home) = toolchain::cargo_home() {
        flags.push(format!("--remap-path-prefix={}=/cargo", home.display()));
    }
    flags
}

/// The programs of the object with their lengths. Fails on what would only show when the kernel loads it.
fn inspect(octets: &[u8]) -> Result<Vec<String>> {
    let file = object::File::parse(octets).context("the object is not ELF")?;
    let mut programs = Vec::new();
    for symbol in file.symbols() {
        let name = symbol.name().unwrap_or_default();
        if symbol.is_undefined() && !name.is_empty() {
            bail!("the object refers to `{name}`, which is nowhere: a panic is left in a program");
        }
        if name.contains("panic") || name.contains("unwrap_failed") {
            bail!("the object holds `{name}`: a panic is left in a program, and the kernel will not load it");
        }
        if symbol.kind() == object::SymbolKind::Text && symbol.is_global() && name.starts_with("pf_") {
            programs.push(format!("{name}: {} instructions", symbol.size() / 8));
        }
    }
    if file.section_by_name(".BTF").is_none() {
        bail!("the object has no BTF: its maps cannot be made");
    }
    if programs.is_empty() {
        bail!("the object has no program");
    }
    Ok(programs)
}

/// The version line of a program, empty if it cannot be run.
pub(crate) fn version(command: &mut Command) -> String {
    command.output().map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default()
}
