//! A clock that wakes the load at a rate.

use std::{
    io::{self, Read},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use mio::{Interest, Registry, Token, unix::SourceFd};

/// A periodic timer that a poll can wait for.
pub(crate) struct Clock(std::fs::File);

impl Clock {
    /// A clock that strikes `per_second` times a second, from now on.
    pub(crate) fn start(per_second: u32, registry: &Registry, token: Token) -> io::Result<Clock> {
        let period = libc::timespec { tv_sec: 0, tv_nsec: i64::from(1_000_000_000 / per_second.max(2)) };
        let when = libc::itimerspec { it_interval: period, it_value: period };
        // SAFETY: no pointers; the result is checked before it is owned.
        let fd =
            unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` is open and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: `when` lives through the call; the last argument may be null.
        if unsafe { libc::timerfd_settime(fd.as_raw_fd(), 0, &when, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        registry.register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Clock(fd.into()))
    }

    /// How often it has struck since the last call.
    pub(crate) fn struck(&mut self) -> io::Result<u64> {
        let mut count = [0; 8];
        match self.0.read_exact(&mut count) {
            Ok(()) => Ok(u64::from_ne_bytes(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        }
    }
}
