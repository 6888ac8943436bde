//! Why the datapath cannot do something.

use std::io;

/// Why the programs cannot be loaded or read.
#[derive(Debug, thiserror::Error)]
pub enum FastPathError {
    /// The build has no object.
    #[error("this build has no kernel programs: build with `cargo xtask build` first")]
    NotBuilt,
    /// The kernel is older than those that the programs work with.
    #[error("Linux {0} is too old for the fast path: it needs {1} or later")]
    OldKernel(String, &'static str),
    /// A capability is missing.
    #[error(
        "the fast path needs the capability {0}: run pf as root, or give it to pf (packaging/pf-kernel.conf for systemd)"
    )]
    Capability(&'static str),
    /// The kernel does not take the programs.
    #[error("the kernel does not load the fast path: {0}")]
    Load(String),
    /// The loaded programs are not those this build speaks with.
    #[error(
        "the fast path was loaded and does not answer as it should ({0}): it is of another build than pf"
    )]
    SelfCheck(String),
    /// A map cannot be read or written.
    #[error("the map {0}: {1}")]
    Map(&'static str, String),
    /// A system call failed.
    #[error("{0}: {1}")]
    System(&'static str, io::Error),
}

/// Why a connection cannot be registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Octets are in flight, or come in just now.
    #[error("octets are in flight: later")]
    Busy,
    /// All numbers are taken.
    #[error("the tables of the fast path are full")]
    Full,
    /// It will never do.
    #[error("the fast path cannot serve this connection: {0}")]
    Unsupported(&'static str),
    /// A system call failed.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// Why a leg cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum LegError {
    /// The programs cannot serve it.
    #[error("the fast path cannot serve this leg: {0}")]
    Unsupported(&'static str),
    /// The kernel refuses.
    #[error(transparent)]
    System(#[from] io::Error),
}
