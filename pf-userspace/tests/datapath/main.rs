//! The datapath in the kernel: alone, without the relay.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test program: nobody reads its documentation, and what fails shall fail"
)]

mod case;
mod chat;
mod duplex;
mod ends;
mod frames;
mod lab;
mod long;
mod loss;
mod message;
mod programs;
mod reasons;
mod relay;
mod scenes;
mod shown;
mod stage;
mod table;
mod wishes;

use pf::fastpath::{Datapath, DatapathSettings, FastPathError};

/// Whether the programs can run here; if not, that is said, and with `PF_EBPF_REQUIRED=1` it is a failure.
fn can_run() -> bool {
    datapath().is_some()
}

/// A loaded datapath, or nothing with a printed reason. With `PF_EBPF_REQUIRED=1` that is a failure.
fn datapath() -> Option<Datapath> {
    datapath_with(&DatapathSettings { connections: 64, legs: 64, ..DatapathSettings::default() })
}

fn datapath_with(settings: &DatapathSettings) -> Option<Datapath> {
    match Datapath::load(settings) {
        Ok(datapath) => Some(datapath),
        Err(
            error @ (FastPathError::NotBuilt | FastPathError::Capability(_) | FastPathError::OldKernel(..)),
        ) => {
            let required = std::env::var_os("PF_EBPF_REQUIRED").is_some_and(|value| value == "1");
            assert!(!required, "{error}");
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}
