//! Attaches an XDP program to an interface, by a link that dies with the process.

use std::{fmt, io};

use aya::programs::{ProgramError, Xdp, XdpMode, links::FdLink, xdp::XdpError};
use serde::{Deserialize, Serialize};

use super::GuardError;

/// Where on the way into the host the program runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// In the driver where that can be, else generic.
    #[default]
    Auto,
    /// In the driver, before the kernel makes a packet of it.
    Driver,
    /// Generic: after the kernel has made a packet of it. Every interface can.
    Skb,
}

impl Mode {
    /// As written in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Auto => "auto",
            Mode::Driver => "driver",
            Mode::Skb => "skb",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An interface that is guarded, and the mode it really got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Its name.
    pub interface: String,
    /// `driver` or `skb`.
    pub mode: Mode,
}

/// Attaches; the program is detached when the link is dropped, or when the process ends in whatever way.
pub(super) fn attach(program: &mut Xdp, name: &str, wanted: Mode) -> Result<(FdLink, Attached), GuardError> {
    let tries: &[Mode] = match wanted {
        Mode::Auto => &[Mode::Driver, Mode::Skb],
        Mode::Driver => &[Mode::Driver],
        Mode::Skb => &[Mode::Skb],
    };
    let mut failed = None;
    for mode in tries {
        match link(program, name, *mode) {
            Ok(link) => {
                if let Some(GuardError::Attach { why, .. }) = &failed {
                    tracing::info!(interface = name, %why, "guard: the driver cannot run it, the kernel does");
                }
                return Ok((link, Attached { interface: name.to_owned(), mode: *mode }));
            }
            Err(error @ GuardError::Attach { .. }) => failed = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(failed.unwrap_or(GuardError::NoInterface(name.to_owned())))
}

fn link(program: &mut Xdp, name: &str, mode: Mode) -> Result<FdLink, GuardError> {
    let flags = match mode {
        Mode::Auto => XdpMode::Default,
        Mode::Driver => XdpMode::Driver,
        Mode::Skb => XdpMode::Skb,
    };
    let refused = |why: io::Error| match why.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => GuardError::Occupied(name.to_owned()),
        _ => GuardError::Attach { interface: name.to_owned(), mode: mode.name(), why },
    };
    let id = program.attach(name, flags).map_err(|error| match error {
        ProgramError::UnknownInterface { name } => GuardError::NoInterface(name),
        ProgramError::SyscallError(error) => refused(error.io_error),
        ProgramError::XdpError(XdpError::NetlinkError(error)) => {
            let number = error.raw_os_error();
            refused(number.map_or_else(|| io::Error::other(error), io::Error::from_raw_os_error))
        }
        other => refused(io::Error::other(other)),
    })?;
    let link = program.take_link(id).map_err(|error| refused(io::Error::other(error)))?;
    // Without links the kernel would keep the program after the process has died: dropped at once, that is.
    FdLink::try_from(link).map_err(|_| refused(io::Error::other("this kernel has no links for XDP")))
}
