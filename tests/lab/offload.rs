//! What an interface does for the kernel: checksums, segments; switched by ethtool's system call.

use std::{io, mem::MaybeUninit, os::fd::AsRawFd};

use anyhow::{Context, Result, ensure};

/// `SIOCETHTOOL` of linux/sockios.h.
const ETHTOOL: libc::Ioctl = 0x8946;

/// Something that hardware does, by the command of linux/ethtool.h that switches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Offload {
    /// Checksums of what comes in are verified.
    ReceiveChecksums = 0x15,
    /// Checksums of what goes out are made.
    SendChecksums = 0x17,
    /// Large TCP segments are cut.
    Segmentation = 0x1f,
    /// Large segments are cut late (by the kernel).
    GenericSegmentation = 0x24,
    /// Segments that come in are joined (by the kernel).
    GenericReceive = 0x2c,
}

impl Offload {
    /// All of them, in an order in which they can be switched off.
    pub const ALL: [Offload; 5] = [
        Offload::Segmentation,
        Offload::GenericSegmentation,
        Offload::GenericReceive,
        Offload::SendChecksums,
        Offload::ReceiveChecksums,
    ];
}

/// Switches an offload of `interface` in the namespace of this thread.
pub fn switch(interface: &str, what: Offload, on: bool) -> Result<()> {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").or_else(|_| std::net::UdpSocket::bind("[::1]:0"));
    let socket = socket.context("a socket for ethtool")?;
    let mut value = [what as u32, u32::from(on)];
    let mut request = MaybeUninit::<libc::ifreq>::zeroed();
    // SAFETY: `ifreq` is plain data, and zero is a value of it.
    let request = unsafe { request.assume_init_mut() };
    ensure!(interface.len() < request.ifr_name.len(), "a long name: {interface}");
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
    // SAFETY: the call reads the request and the two words that it points to, which live.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), ETHTOOL, std::ptr::from_mut(request)) };
    ensure!(done == 0, "{what:?} of {interface} {on}: {}", io::Error::last_os_error());
    Ok(())
}
