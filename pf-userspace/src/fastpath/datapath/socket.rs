//! What a socket says about its connection.

use std::{
    io,
    mem::size_of,
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, BorrowedFd},
};

use pf_common::maps::FlowKey;
use socket2::SockRef;

use super::RegisterError;

// linux/tcp.h
const TCP_REPAIR: libc::c_int = 19;
const TCP_REPAIR_QUEUE: libc::c_int = 20;
const TCP_QUEUE_SEQ: libc::c_int = 21;
const REPAIR_ON: libc::c_int = 1;
/// Off, without a probe to the peer.
const REPAIR_OFF: libc::c_int = -1;
const RECEIVE_QUEUE: libc::c_int = 1;
const SEND_QUEUE: libc::c_int = 2;

const ESTABLISHED: u8 = 1;
const OPTION_STAMPS: u8 = 1;
const OPTION_SCALE: u8 = 4;

// linux/sock_diag.h
const SO_MEMINFO: libc::c_int = 55;

/// Positions and properties of a connection, as its socket tells them. Two equal readings with nothing in between mean
/// that nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) key: FlowKey,
    /// Kernel: after the last octet that was written.
    pub(super) write_seq: u32,
    /// Kernel: the next octet expected from the peer.
    pub(super) rcv_nxt: u32,
    /// Octets received that nobody has read.
    pub(super) unread: u32,
    pub(super) stamps: bool,
    pub(super) our_scale: u8,
    pub(super) peer_scale: u8,
    pub(super) mss: u32,
    pub(super) our_window: u32,
    pub(super) peer_window: u32,
}

pub(super) fn read(socket: BorrowedFd<'_>) -> Result<Reading, RegisterError> {
    let key = key(socket)?;
    let info = info(socket)?;
    if info.tcpi_state != ESTABLISHED {
        return Err(RegisterError::Unsupported("it is not established"));
    }
    if outstanding(socket)? != 0 {
        return Err(RegisterError::Busy);
    }
    // Octets from beyond a gap would slide (R3). They are charged like unread ones; only then are they a danger.
    if info.tcpi_rcv_ooopack != 0 && held(socket)? != 0 {
        return Err(RegisterError::Busy);
    }
    let (write_seq, rcv_nxt) = positions(socket)?;
    let unread = unread(socket)?;
    let scaled = info.tcpi_options & OPTION_SCALE != 0;
    // Two fields of four bits, the peer's scale first.
    let scales = info.tcpi_snd_rcv_wscale;
    Ok(Reading {
        key,
        write_seq,
        rcv_nxt,
        unread,
        stamps: info.tcpi_options & OPTION_STAMPS != 0,
        our_scale: if scaled { scales >> 4 } else { 0 },
        peer_scale: if scaled { scales & 15 } else { 0 },
        mss: info.tcpi_snd_mss,
        our_window: info.tcpi_rcv_wnd,
        peer_window: info.tcpi_snd_wnd,
    })
}

/// The flow of a TCP connection.
fn key(socket: BorrowedFd<'_>) -> Result<FlowKey, RegisterError> {
    let socket = SockRef::from(&socket);
    let address = |address: socket2::SockAddr| {
        address.as_socket().ok_or(RegisterError::Unsupported("it is not a connection over IP"))
    };
    let local = address(socket.local_addr()?)?;
    let remote = address(socket.peer_addr()?)?;
    let octets = |address: &SocketAddr| {
        let mut octets = [0; 16];
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => {
                let (four, _) = octets.split_at_mut(4);
                four.copy_from_slice(&ip.octets());
                (4, octets)
            }
            IpAddr::V6(ip) => (6, ip.octets()),
        }
    };
    let ((family, local_octets), (_, remote_octets)) = (octets(&local), octets(&remote));
    Ok(FlowKey {
        family,
        zero: [0; 3],
        local_port: local.port().to_be_bytes(),
        remote_port: remote.port().to_be_bytes(),
        local: local_octets,
        remote: remote_octets,
    })
}

/// `struct tcp_info` of Linux 6.8 as far as it is needed (include/uapi/linux/tcp.h): fields are only ever added to it.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct TcpInfo {
    tcpi_state: u8,
    tcpi_ca_state: u8,
    tcpi_retransmits: u8,
    tcpi_probes: u8,
    tcpi_backoff: u8,
    tcpi_options: u8,
    tcpi_snd_rcv_wscale: u8,
    tcpi_bits: u8,
    tcpi_rto: u32,
    tcpi_ato: u32,
    tcpi_snd_mss: u32,
    tcpi_rcv_mss: u32,
    unacked_to_total_retrans: [u32; 20],
    pacing_to_bytes_received: [u64; 4],
    segs_out: u32,
    segs_in: u32,
    tcpi_notsent_bytes: u32,
    tcpi_min_rtt: u32,
    tcpi_data_segs_in: u32,
    tcpi_data_segs_out: u32,
    delivery_rate_to_sndbuf_limited: [u64; 4],
    tcpi_delivered: u32,
    tcpi_delivered_ce: u32,
    tcpi_bytes_sent: u64,
    tcpi_bytes_retrans: u64,
    tcpi_dsack_dups: u32,
    tcpi_reord_seen: u32,
    tcpi_rcv_ooopack: u32,
    tcpi_snd_wnd: u32,
    tcpi_rcv_wnd: u32,
    tcpi_rehash: u32,
}

// Where the kernel has them.
const _: () = assert!(std::mem::offset_of!(TcpInfo, tcpi_notsent_bytes) == 144);
const _: () = assert!(std::mem::offset_of!(TcpInfo, tcpi_rcv_ooopack) == 224);
const _: () = assert!(std::mem::offset_of!(TcpInfo, tcpi_rcv_wnd) == 232);

fn info(socket: BorrowedFd<'_>) -> Result<TcpInfo, RegisterError> {
    let mut info = TcpInfo::default();
    let len = option(socket, libc::IPPROTO_TCP, libc::TCP_INFO, &mut info)
        .map_err(|_| RegisterError::Unsupported("it is not a TCP connection"))?;
    if len < size_of::<TcpInfo>() {
        return Err(RegisterError::Unsupported("this kernel tells too little of it"));
    }
    Ok(info)
}

/// Octets written and not acknowledged.
fn outstanding(socket: BorrowedFd<'_>) -> io::Result<u32> {
    ask(socket, libc::TIOCOUTQ)
}

/// Octets received and not read.
fn unread(socket: BorrowedFd<'_>) -> io::Result<u32> {
    ask(socket, libc::FIONREAD)
}

fn ask(socket: BorrowedFd<'_>, what: libc::Ioctl) -> io::Result<u32> {
    let mut octets: libc::c_int = 0;
    // SAFETY: both requests write one int.
    if unsafe { libc::ioctl(socket.as_raw_fd(), what, &mut octets) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(octets.unsigned_abs())
}

/// Octets of memory that the socket's receive queues hold.
fn held(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut memory = [0_u32; 9];
    option(socket, libc::SOL_SOCKET, SO_MEMINFO, &mut memory)?;
    Ok(memory[0])
}

/// The positions of both queues. Nothing is repaired: only in that mode they can be read.
fn positions(socket: BorrowedFd<'_>) -> Result<(u32, u32), RegisterError> {
    // Leaving the mode takes SO_REUSEADDR away.
    let reuse = SockRef::from(&socket).reuse_address()?;
    set(socket, TCP_REPAIR, REPAIR_ON).map_err(|error| match error.raw_os_error() {
        Some(libc::EPERM) => RegisterError::Unsupported("CAP_NET_ADMIN is missing to read its positions"),
        _ => RegisterError::System(error),
    })?;
    let position = |queue| {
        set(socket, TCP_REPAIR_QUEUE, queue)?;
        let mut position = 0_u32;
        option(socket, libc::IPPROTO_TCP, TCP_QUEUE_SEQ, &mut position)?;
        Ok::<u32, io::Error>(position)
    };
    let positions = position(SEND_QUEUE).and_then(|sent| Ok((sent, position(RECEIVE_QUEUE)?)));
    set(socket, TCP_REPAIR, REPAIR_OFF)?;
    SockRef::from(&socket).set_reuse_address(reuse)?;
    Ok(positions?)
}

fn set(socket: BorrowedFd<'_>, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the option is an int.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, name, (&raw const value).cast(), len)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads an option; how many octets the kernel had.
fn option<T: Copy>(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    to: &mut T,
) -> io::Result<usize> {
    let mut len = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: `to` is integers only, of `len` octets.
    let done = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (to as *mut T).cast(), &mut len) };
    if done == 0 { usize::try_from(len).map_err(io::Error::other) } else { Err(io::Error::last_os_error()) }
}
