//! `pf check`: says everything about a configuration file.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use super::table::octets;
use crate::{
    config::{self, Checked, model::FastPath},
    fastpath,
};

/// Checks `file`; fails if `pf run` would not accept it.
pub fn check(file: &Path) -> ExitCode {
    let checked = config::load(file);
    let _ = io::stdout().write_all(report(file, &checked).as_bytes());
    if checked.errors() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
        let maps = fastpath::datapath_memory(config.datapath.connections, config.datapath.log);
        let memory = maps.iter().map(|(_, memory)| memory).sum();
        let each = maps.iter().map(|(name, memory)| format!("{name} {}", octets(*memory)));
        let _ = writeln!(
            text,
            "fast path: {} connections take {} octets of kernel memory ({})",
            config.datapath.connections,
            octets(memory),
            each.collect::<Vec<_>>().join(", ")
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
