//! Where a benchmark takes place: all on loopback, or in three network namespaces, the relay's in the middle.
//!
//! In namespaces the senders, the relay and the sinks are hosts of their own, joined by veth pairs; the relay's host
//! routes between the two sides, so that a connection without any relay crosses it as well. Each host's packets are
//! received on its own processor (receive packet steering), as they are on machines of their own. All sockets of the
//! load are one process's: a socket stays in the namespace that it was made in.

use std::{
    ffi::CStr,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::{fd::RawFd, unix::process::CommandExt},
    process::Command,
    sync::{Mutex, OnceLock, PoisonError},
};

use anyhow::{Context, Result};
use lab::net::Namespace;

/// A side of the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The senders.
    Near,
    /// The far end and the devices.
    Far,
}

/// Three hosts.
struct Hosts {
    near: Namespace,
    relay: Namespace,
    far: Namespace,
    /// Processors that were chosen last: of the ends, of the relay.
    steered: Mutex<Option<[Option<usize>; 2]>>,
}

static HOSTS: OnceLock<Hosts> = OnceLock::new();

/// From now on everything happens in namespaces. Needs root.
pub(crate) fn route() -> Result<()> {
    let hosts = Hosts {
        near: Namespace::new("near")?,
        relay: Namespace::new("relay")?,
        far: Namespace::new("far")?,
        steered: Mutex::new(None),
    };
    for (side, host, net) in [("near", &hosts.near, 1), ("far", &hosts.far, 2)] {
        hosts.relay.ip(&format!("link add {side} type veth peer name eth0 netns {}", host.thread()))?;
        hosts.relay.ip(&format!("addr add 10.78.{net}.1/24 dev {side}"))?;
        hosts.relay.ip(&format!("link set {side} up"))?;
        host.ip(&format!("addr add 10.78.{net}.2/24 dev eth0"))?;
        host.ip("link set eth0 up")?;
        host.ip(&format!("route add default via 10.78.{net}.1"))?;
    }
    hosts
        .relay
        .run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"))?
        .context("switching routing on in the relay's namespace")?;
    let _ = HOSTS.set(hosts);
    Ok(())
}

/// What the hosts are, for the head of a table.
pub(crate) fn about() -> &'static str {
    match HOSTS.get() {
        Some(_) => {
            "senders, relay and sinks in namespaces of their own, routed veth pairs, MTU 1500, offloads on; packets are \
             received on the processor of the host they are for"
        }
        None => "loopback",
    }
}

/// Has packets for the ends and for the relay received on these processors; `None`: wherever they were sent.
pub(crate) fn steer(ends: Option<usize>, relay: Option<usize>) -> Result<()> {
    let Some(hosts) = HOSTS.get() else { return Ok(()) };
    let mut steered = hosts.steered.lock().unwrap_or_else(PoisonError::into_inner);
    if *steered == Some([ends, relay]) {
        return Ok(());
    }
    for (host, interface, processor) in [
        (&hosts.near, "eth0", ends),
        (&hosts.far, "eth0", ends),
        (&hosts.relay, "near", relay),
        (&hosts.relay, "far", relay),
    ] {
        let mask = processor.map_or(0_u64, |processor| 1 << processor);
        let write = || std::thread::scope(|scope| scope.spawn(|| steer_here(interface, mask)).join());
        host.run(write)?.unwrap_or_else(|_| Err(io::Error::other("the thread panicked"))).with_context(
            || {
                format!(
                    "steering what {interface} receives (/sys/class/net/{interface}/queues/rx-0/rps_cpus)"
                )
            },
        )?;
    }
    *steered = Some([ends, relay]);
    Ok(())
}

/// Writes the mask where this thread's network namespace has its interfaces: in a view of the file system of its own.
fn steer_here(interface: &str, mask: u64) -> io::Result<()> {
    let mount = |kind: Option<&CStr>, to: &CStr, flags| {
        let kind = kind.map_or(std::ptr::null(), CStr::as_ptr);
        // SAFETY: strings that end in zero, or none where none is needed.
        match unsafe { libc::mount(c"none".as_ptr(), to.as_ptr(), kind, flags, std::ptr::null()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: no pointers.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(io::Error::last_os_error());
    }
    mount(None, c"/", libc::MS_REC | libc::MS_PRIVATE)?;
    mount(Some(c"sysfs"), c"/sys", 0)?;
    std::fs::write(format!("/sys/class/net/{interface}/queues/rx-0/rps_cpus"), format!("{mask:x}"))
}

/// The address of the ends on this side.
pub(crate) fn end(side: Side) -> IpAddr {
    match (HOSTS.get(), side) {
        (None, _) => Ipv4Addr::LOCALHOST.into(),
        (Some(_), Side::Near) => Ipv4Addr::new(10, 78, 1, 2).into(),
        (Some(_), Side::Far) => Ipv4Addr::new(10, 78, 2, 2).into(),
    }
}

/// The relay's address on this side.
pub(crate) fn relay(side: Side) -> IpAddr {
    match (HOSTS.get(), side) {
        (None, _) => Ipv4Addr::LOCALHOST.into(),
        (Some(_), Side::Near) => Ipv4Addr::new(10, 78, 1, 1).into(),
        (Some(_), Side::Far) => Ipv4Addr::new(10, 78, 2, 1).into(),
    }
}

fn on<T: Send>(side: Side, f: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let Some(hosts) = HOSTS.get() else { return f() };
    let host = match side {
        Side::Near => &hosts.near,
        Side::Far => &hosts.far,
    };
    host.run(f).map_err(io::Error::other)?
}

/// A connection from this side.
pub(crate) fn connect(side: Side, to: SocketAddr) -> io::Result<TcpStream> {
    on(side, || TcpStream::connect(to))
}

/// A listener on this side, at a port of the system's choice.
pub(crate) fn listen(side: Side) -> io::Result<TcpListener> {
    on(side, || TcpListener::bind((end(side), 0)))
}

/// A port of the relay's host that nothing listens on, for programs that cannot choose one themselves.
pub(crate) fn free_port() -> Result<u16> {
    let bind = || TcpListener::bind((relay(Side::Near), 0)).and_then(|listener| listener.local_addr());
    let address = match HOSTS.get() {
        Some(hosts) => hosts.relay.run(bind)?,
        None => bind(),
    };
    Ok(address?.port())
}

/// Lets the command run on the relay's host.
pub(crate) fn on_relay(command: &mut Command) {
    let Some(hosts) = HOSTS.get() else { return };
    let namespace: RawFd = hosts.relay.handle();
    let enter = move || {
        // SAFETY: the descriptor is open, in the parent and in its forked child; setns is async-signal-safe.
        match unsafe { libc::setns(namespace, libc::CLONE_NEWNET) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: `enter` makes one system call and allocates nothing.
    unsafe { command.pre_exec(enter) };
}
