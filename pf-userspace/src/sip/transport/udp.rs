//! UDP sockets of ours.

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;

/// Room for any datagram.
pub(crate) const DATAGRAM: usize = 64 * 1024;

/// Binds a socket with large buffers, so that a burst waits in the kernel instead of being lost.
pub(crate) fn bind(addr: SocketAddr, buffer: usize) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    // The system may grant less (net.core.rmem_max); that is no reason not to start.
    for refused in [socket.set_recv_buffer_size(buffer), socket.set_send_buffer_size(buffer)] {
        if let Err(error) = refused {
            tracing::debug!(%error, "UDP buffer size");
        }
    }
    socket.bind(&addr.into())?;
    let socket = UdpSocket::from_std(socket.into())?;
    tracing::debug!(%addr, receive_buffer = SockRef::from(&socket).recv_buffer_size().unwrap_or(0), "UDP bound");
    Ok(socket)
}
