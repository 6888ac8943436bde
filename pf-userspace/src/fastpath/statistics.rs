//! How much time the programs take: the kernel measures it only while somebody wants to know.

use std::{io, os::fd::OwnedFd};

use aya::sys::{Stats, enable_stats};

/// As long as this value lives, the kernel measures the run time of its programs, those of other processes too.
#[derive(Debug)]
pub struct Statistics(#[expect(dead_code, reason = "closing it ends the measurement")] OwnedFd);

/// The kernel does not measure.
#[derive(Debug, thiserror::Error)]
pub enum StatisticsError {
    /// This process may not ask for it.
    #[error(
        "the kernel measures its programs for CAP_SYS_ADMIN alone: run pf as root, or `sysctl kernel.bpf_stats_enabled=1`"
    )]
    Capability,
    /// Anything else.
    #[error("the kernel does not measure its programs: {0}")]
    System(io::Error),
}

impl Statistics {
    /// Begins to measure.
    ///
    /// # Errors
    /// See [`StatisticsError`].
    pub fn start() -> Result<Statistics, StatisticsError> {
        match enable_stats(Stats::RunTime) {
            Ok(handle) => Ok(Statistics(handle)),
            Err(error) if error.io_error.kind() == io::ErrorKind::PermissionDenied => {
                Err(StatisticsError::Capability)
            }
            Err(error) => Err(StatisticsError::System(error.io_error)),
        }
    }

    /// Does the kernel measure, for whoever asked?
    pub fn sysctl() -> bool {
        std::fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled").is_ok_and(|value| value.trim() != "0")
    }
}
