//! Sockets as the relay wants them.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream},
};

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, Type};

/// Pending connections per listener.
const BACKLOG: i32 = 4096;

/// Listens on `address`; writes the port back where it was 0. Several listeners may share an address: the
/// kernel spreads connections over them; `first` makes sure that no other process has it already.
///
/// # Errors
/// The address cannot be bound.
pub(super) fn listen(address: &mut SocketAddr, first: bool) -> io::Result<TcpListener> {
    if first {
        // A shared port would hide a second process from both.
        let probe = plain(*address)?;
        probe.set_reuse_address(true)?;
        probe.bind(&(*address).into())?;
    }
    let socket = plain(*address)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&(*address).into())?;
    socket.listen(BACKLOG)?;
    let listener = StdListener::from(socket);
    *address = listener.local_addr()?;
    Ok(TcpListener::from_std(listener))
}

/// Begins to connect, from `from` if that can be had, else from any port.
///
/// # Errors
/// Connecting failed at once.
pub(super) fn connect(to: SocketAddr, from: Option<SocketAddr>) -> io::Result<TcpStream> {
    if let Some(from) = from.filter(|from| from.is_ipv4() == to.is_ipv4()) {
        // Fails where the same two addresses are already connected, or were a moment ago.
        let bound = plain(to).and_then(|socket| {
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(true)?;
            socket.bind(&from.into())?;
            begin(socket, to)
        });
        if let Ok(stream) = bound {
            return Ok(stream);
        }
    }
    begin(plain(to)?, to)
}

fn plain(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn begin(socket: Socket, to: SocketAddr) -> io::Result<TcpStream> {
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
        _ => {}
    }
    Ok(TcpStream::from_std(StdStream::from(socket)))
}
