//! `pf check`: says everything about a configuration file.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use pf_common::maps::{Flow, FlowKey, LegEntry, SessionKey, Slot};

use super::table::octets;
use crate::{
    config::{
        self, Checked,
        model::{Datapath, FastPath},
    },
    fastpath,
};

/// Checks `file`; fails if `pf run` would not accept it.
pub fn check(file: &Path) -> ExitCode {
    let checked = config::load(file);
    let _ = io::stdout().write_all(report(file, &checked).as_bytes());
    if checked.errors() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Octets of kernel memory that the fast path takes at the start.
fn path_memory(datapath: &Datapath) -> u64 {
    // Two hash tables and two arrays, an entry each for every connection; the kernel's own part of an entry and its
    // bucket are some 64 octets.
    let hashed =
        size_of::<FlowKey>() + size_of::<Flow>() + size_of::<SessionKey>() + size_of::<u32>() + 2 * 64;
    let each = hashed + size_of::<Slot>() + size_of::<LegEntry>();
    u64::from(datapath.connections) * each as u64 + u64::from(datapath.log)
}

/// Every finding, then the sum.
pub fn report(file: &Path, checked: &Checked) -> String {
    let mut text = String::new();
    for finding in &checked.findings {
        let _ = writeln!(text, "{finding}");
    }
    if let Some(config) = checked.config.as_ref().filter(|config| !config.guard.interfaces.is_empty()) {
        let (sources, memory) = (config.guard.sources, fastpath::table(config.guard.sources));
        let _ = writeln!(text, "guard: {sources} sources take {} octets of kernel memory", octets(memory));
    }
    if let Some(config) = checked.config.as_ref().filter(|config| config.fast_path != FastPath::Off) {
        let (connections, memory) = (config.datapath.connections, path_memory(&config.datapath));
        let _ = writeln!(
            text,
            "fast path: {connections} connections take {} octets of kernel memory",
            octets(memory)
        );
    }
    let errors = checked.errors();
    let warnings = checked.findings.len() - errors;
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let sum = match (errors, warnings) {
        (0, 0) => "no faults".to_owned(),
        (0, warnings) => format!("{}; pf would start", count(warnings, "warning")),
        (errors, 0) => format!("{}; pf would not start", count(errors, "error")),
        (errors, warnings) => {
            format!("{}, {}; pf would not start", count(errors, "error"), count(warnings, "warning"))
        }
    };
    let _ = writeln!(text, "{}: {sum}", file.display());
    text
}
