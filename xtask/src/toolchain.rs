//! Finds a compiler and a linker for the kernel programs, and installs them where there are none.
//!
//! The compiler has to build `core` for the kernel's machine: Debian's `rustc-web` with `rust-web-src`, or a nightly of
//! rustup with the component rust-src. The linker has to read that compiler's LLVM.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{ebpf::version, setup, shell};

/// The LLVM that the linker is built with: it reads what this and older ones wrote.
const LLVM: u32 = 22;

/// The oldest compiler that the programs were built with (its second number).
const RUST: u32 = 96;

const LINKER: &str = "0.13.0";

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// What builds the kernel programs.
pub(crate) struct Toolchain {
    compiler: Compiler,
    /// bpf-linker.
    pub(crate) linker: PathBuf,
}

enum Compiler {
    /// `/usr/bin/rustc`, driven by whatever cargo runs this.
    System,
    /// `rustup run nightly`.
    Nightly,
}

impl Toolchain {
    /// A cargo that uses the compiler, and lets it use what only `core` may.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = match self.compiler {
            Compiler::System => {
                let mut command = shell::cargo();
                command.env("RUSTC", DEBIAN_RUSTC);
                command
            }
            Compiler::Nightly => {
                let mut command = Command::new("rustup");
                command.args(["run", "nightly", "cargo"]).env_remove("RUSTC").env_remove("CARGO");
                command
            }
        };
        for other in ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "RUSTUP_TOOLCHAIN"] {
            if !(other == "RUSTUP_TOOLCHAIN" && matches!(self.compiler, Compiler::System)) {
                command.env_remove(other);
            }
        }
        command.env("RUSTC_BOOTSTRAP", "1");
        command
    }
}

/// The toolchain, or what is missing.
pub(crate) fn find() -> Result<Toolchain, String> {
    let compiler = compiler()?;
    let linker = setup::find("bpf-linker")
        .filter(|file| version(Command::new(file).arg("--version")).contains(LINKER))
        .ok_or_else(|| format!("bpf-linker {LINKER} is missing: it links the kernel programs"))?;
    Ok(Toolchain { compiler, linker })
}

fn compiler() -> Result<Compiler, String> {
    let mut found = Vec::new();
    for compiler in [Compiler::System, Compiler::Nightly] {
        let rustc = |arguments: &[&str]| {
            let mut command = match compiler {
                Compiler::System => Command::new(DEBIAN_RUSTC),
                Compiler::Nightly => Command::new("rustup"),
            };
            if matches!(compiler, Compiler::Nightly) {
                command.args(["run", "nightly", "rustc"]);
            }
            version(command.args(arguments))
        };
        let name = match compiler {
            Compiler::System => DEBIAN_RUSTC,
            Compiler::Nightly => "rustup's nightly",
        };
        let verbose = rustc(&["--version", "--verbose"]);
        let number = |key: &str, nth: usize| -> Option<u32> {
            let line = verbose.lines().find_map(|line| line.strip_prefix(key))?;
            line.trim().split(['.', '-']).nth(nth)?.parse().ok()
        };
        let (Some(rust), Some(llvm)) = (number("release:", 1), number("LLVM version:", 0)) else {
            continue;
        };
        let sysroot = rustc(&["--print", "sysroot"]);
        let sysroot = sysroot.lines().last().unwrap_or_default();
        let source = Path::new(sysroot).join("lib/rustlib/src/rust/library/core/src/lib.rs");
        if rust < RUST {
            found.push(format!("{name} is 1.{rust}, older than 1.{RUST}"));
        } else if llvm > LLVM {
            found.push(format!("{name} has LLVM {llvm}, newer than the linker's {LLVM}"));
        } else if !source.exists() {
            found.push(format!("{name} lacks its library's source (rust-web-src, or rustup's rust-src)"));
        } else {
            return Ok(compiler);
        }
    }
    let found = if found.is_empty() { String::new() } else { format!(": {}", found.join("; ")) };
    Err(format!("there is no compiler that can build `core` for the kernel programs{found}"))
}

/// Installs what is missing, and says why.
pub(crate) fn install() -> Result<()> {
    if let Err(why) = compiler() {
        eprintln!("setup: {why}");
        apt(&["rustc-web", "rust-web-src"])?;
    }
    if let Err(why) = find() {
        eprintln!("setup: {why}");
        let llvm = format!("/usr/lib/llvm-{LLVM}/lib");
        if !Path::new(&llvm).join("libLLVM.so").exists() {
            apt(&["llvm-22-dev", "libpolly-22-dev", "zlib1g-dev", "libzstd-dev"])?;
        }
        let mut command = shell::cargo();
        command
            .args(["install", "bpf-linker", "--version", LINKER, "--force", "--no-default-features"])
            .args(["--features", "llvm-22"])
            .env("RUSTFLAGS", format!("-L {llvm}"));
        shell::run(&mut command).context("bpf-linker cannot be built")?;
    }
    match find() {
        Ok(_) => Ok(()),
        Err(why) => bail!("installed, and still: {why}"),
    }
}

fn apt(packages: &'static [&'static str]) -> Result<()> {
    setup::install(packages).with_context(|| {
        format!(
            "{} are Debian's packages: elsewhere, `rustup toolchain install nightly --component rust-src` and \
             LLVM {LLVM}'s development files serve as well",
            packages.join(", ")
        )
    })
}

/// Where cargo keeps sources and programs.
pub(crate) fn cargo_home() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}
