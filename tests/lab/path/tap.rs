//! TAP devices: the kernel's end is a network interface, ours a descriptor that reads and writes frames.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsRawFd, FromRawFd, RawFd},
        unix::fs::OpenOptionsExt,
    },
};

use anyhow::{Context, Result, ensure};

/// `TUNSETIFF` of linux/if_tun.h.
const SET_INTERFACE: libc::Ioctl = 0x4004_54ca;

/// A TAP device of this name in the namespace of this thread, gone with the descriptor.
pub(super) fn open(name: &str) -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")
        .context("/dev/net/tun")?;
    // SAFETY: `ifreq` is plain data, and zero is a value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    ensure!(name.len() < request.ifr_name.len(), "a long name: {name}");
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: the call reads and writes `request`, which lives.
    let made = unsafe { libc::ioctl(file.as_raw_fd(), SET_INTERFACE, &mut request) };
    ensure!(made == 0, "making {name}: {}", io::Error::last_os_error());
    Ok(file)
}

/// What wakes a thread that polls, and what it polls.
pub(super) fn waker() -> Result<(File, File)> {
    // SAFETY: no pointers; the descriptor is new, and ours alone.
    let event = unsafe {
        let event = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
        ensure!(event >= 0, "eventfd: {}", io::Error::last_os_error());
        File::from_raw_fd(event)
    };
    Ok((event.try_clone()?, event))
}

/// Wakes it.
pub(super) fn wake(event: RawFd) {
    let one = 1_u64;
    // SAFETY: the call reads eight octets of `one`.
    unsafe { libc::write(event, (&raw const one).cast(), 8) };
}
