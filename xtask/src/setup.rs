//! Installs what is missing, and nothing else. Debian 12 and 13, Ubuntu 24.04.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use crate::{shell, toolchain};

/// A program that a task needs.
pub(crate) struct Tool {
    /// Its file name.
    command: &'static str,
    /// The Debian package that has it.
    package: &'static str,
    /// What it is for.
    why: &'static str,
}

/// Network namespaces.
pub(crate) const IP: Tool =
    Tool { command: "ip", package: "iproute2", why: "network namespaces for tests and demo" };
/// SIPp.
pub(crate) const SIPP: Tool =
    Tool { command: "sipp", package: "sip-tester", why: "an independent SIP peer in tests" };
/// Kamailio.
pub(crate) const KAMAILIO: Tool =
    Tool { command: "kamailio", package: "kamailio", why: "an independent SIP core and MSRP relay in tests" };
/// tcpdump.
pub(crate) const TCPDUMP: Tool =
    Tool { command: "tcpdump", package: "tcpdump", why: "captures of what tests put on the wire" };
/// HAProxy.
pub(crate) const HAPROXY: Tool =
    Tool { command: "haproxy", package: "haproxy", why: "a TCP relay to compare with in benchmarks" };

/// Installs everything that any task needs; `ebpf`: that the kernel programs need to be built, and nothing else.
pub(crate) fn run(ebpf: bool) -> Result<()> {
    if ebpf {
        toolchain::install()?;
    } else {
        ensure(&[IP, SIPP, KAMAILIO, TCPDUMP, HAPROXY])?;
    }
    eprintln!("setup: nothing is missing");
    Ok(())
}

/// Installs those tools that are missing.
pub(crate) fn ensure(tools: &[Tool]) -> Result<()> {
    let missing: Vec<&Tool> = tools.iter().filter(|tool| find(tool.command).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for tool in &missing {
        eprintln!("setup: `{}` is missing (package {}): {}", tool.command, tool.package, tool.why);
    }
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    install(&packages)?;
    let still: Vec<&str> = tools.iter().map(|t| t.command).filter(|c| find(c).is_none()).collect();
    if !still.is_empty() {
        bail!("installed, and still not found: {} ({})", still.join(", "), system());
    }
    Ok(())
}

/// Installs packages.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let by_hand = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    if find("apt-get").is_none() {
        bail!("this host has no apt-get ({}): install {} by hand", system(), packages.join(", "));
    }
    if !is_root() {
        bail!("installing needs root: run `sudo {by_hand}`, then this again");
    }
    if packages.contains(&KAMAILIO.package) {
        eprintln!(
            "setup: the package may start a Kamailio of its own: `systemctl disable --now kamailio` ends it"
        );
    }
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
        shell::run(&mut command)
    };
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(packages);
    // The lists of packages may be missing or old: fetched only then.
    if apt(&install).is_err() {
        apt(&["update"])?;
        apt(&install)?;
    }
    Ok(())
}

/// The program's file, looked for where a shell of root looks, and where cargo installs.
pub(crate) fn find(command: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .chain(toolchain::cargo_home().map(|home| home.join("bin")))
        .map(|folder| folder.join(command))
        .find(|file| file.is_file())
}

fn is_root() -> bool {
    // The owner of a process's own folder is its effective user.
    use std::os::unix::fs::MetadataExt;
    fs::metadata(Path::new("/proc/self")).is_ok_and(|meta| meta.uid() == 0)
}

/// Name of the system, and whether the setup was made for it.
fn system() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |key: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    let (id, version) = (value("ID="), value("VERSION_ID="));
    let known = matches!((id.as_str(), version.as_str()), ("debian", "12" | "13") | ("ubuntu", "24.04"));
    let note = if known { "" } else { "; the setup is made for Debian 12 and 13 and Ubuntu 24.04" };
    format!("{id} {version}{note}")
}
