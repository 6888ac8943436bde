//! Why the guard cannot do its work. Each is one line for the operator.

use std::io;

/// Why the guard cannot be loaded, attached, read or changed.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The build has no object.
    #[error(
        "this build has no kernel programs: build with `cargo xtask build` first, or leave `guard.interfaces` out"
    )]
    NotBuilt,
    /// The kernel is older than those that the programs work with.
    #[error("Linux {0} is too old for the guard: it needs {1} or later")]
    OldKernel(String, &'static str),
    /// A capability is missing.
    #[error(
        "the guard needs the capability {0}: run pf as root, or give it to pf (packaging/pf-kernel.conf for systemd)"
    )]
    Capability(&'static str),
    /// The kernel does not take the programs.
    #[error("the kernel does not load the guard: {0}")]
    Load(String),
    /// The loaded program does not do what it should.
    #[error(
        "the guard was loaded and does not judge packets as it should ({0}): it is of another build than pf"
    )]
    SelfCheck(String),
    /// There is no such interface.
    #[error("guard.interfaces: there is no interface `{0}` (`ip link` lists them)")]
    NoInterface(String),
    /// Another XDP program is there.
    #[error(
        "the interface `{0}` has another XDP program: is another pf running? (`ip link show {0}` names it by its id)"
    )]
    Occupied(String),
    /// The kernel refused to attach.
    #[error("the guard cannot be attached to `{interface}` in mode {mode}: {why}")]
    Attach {
        /// The interface.
        interface: String,
        /// The mode that was asked for.
        mode: &'static str,
        /// What the kernel says.
        why: io::Error,
    },
    /// A map cannot be read or written.
    #[error("the guard's map {0}: {1}")]
    Map(&'static str, String),
}

/// An error with everything it was caused by.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
