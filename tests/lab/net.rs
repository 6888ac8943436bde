//! Hosts of the lab: addresses on loopback, or network namespaces joined by a bridge.
//!
//! Namespaces are nameless: the kernel removes them, with all their interfaces, when the last thread, socket or
//! process in them is gone. So nothing stays behind, even after a panic or a kill.

mod router;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener, UdpSocket as StdUdp},
    os::fd::{AsRawFd, RawFd},
    process::Command,
    sync::{Arc, mpsc},
};

use anyhow::{Context, Result, anyhow, bail};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

use crate::{
    offload::{self, Offload},
    path::Path,
};
use router::Router;

/// Where an actor lives: its address, and the namespace that has it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The address that the actor uses.
    pub ip: IpAddr,
    namespace: Option<Namespace>,
}

impl Place {
    /// An address of this machine, in the namespace of the process.
    pub fn here(ip: impl Into<IpAddr>) -> Place {
        Place { ip: ip.into(), namespace: None }
    }

    /// `127.0.0.<last>`: every actor of a test has its own loopback address.
    pub fn loopback(last: u8) -> Place {
        Place::here(Ipv4Addr::new(127, 0, 0, last))
    }

    /// Runs `f` in this place's namespace.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T> {
        match &self.namespace {
            Some(namespace) => namespace.run(f),
            None => Ok(f()),
        }
    }

    /// A UDP socket and a TCP listener on the same port, chosen by the system where `port` is 0.
    pub fn sip_sockets(&self, port: u16) -> Result<(UdpSocket, TcpListener)> {
        let ip = self.ip;
        let pair = self.run(move || -> io::Result<(StdUdp, StdListener)> {
            let mut last = None;
            // The port that TCP got may be taken for UDP: ask again.
            for _ in 0..20 {
                let tcp = StdListener::bind(SocketAddr::new(ip, port))?;
                match StdUdp::bind(SocketAddr::new(ip, tcp.local_addr()?.port())) {
                    Ok(udp) => return Ok((udp, tcp)),
                    Err(error) => last = Some(error),
                }
            }
            Err(last.unwrap_or_else(|| io::Error::other("no port")))
        })?;
        let (udp, tcp) = pair.with_context(|| format!("binding SIP sockets on {ip}"))?;
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        Ok((UdpSocket::from_std(udp)?, TcpListener::from_std(tcp)?))
    }

    /// A TCP listener.
    pub fn listen(&self, port: u16) -> Result<TcpListener> {
        let ip = self.ip;
        let listener = self
            .run(move || StdListener::bind(SocketAddr::new(ip, port)))?
            .with_context(|| format!("listening on {ip}"))?;
        listener.set_nonblocking(true)?;
        Ok(TcpListener::from_std(listener)?)
    }

    /// A TCP connection from this place to `to`; `receive_buffer` bounds the kernel's receive buffer in octets.
    pub async fn connect(&self, to: SocketAddr, receive_buffer: Option<usize>) -> Result<TcpStream> {
        let ip = self.ip;
        let socket = self.run(move || -> io::Result<Socket> {
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
            if let Some(octets) = receive_buffer {
                socket.set_recv_buffer_size(octets)?;
            }
            socket.set_nonblocking(true)?;
            if ip.is_ipv4() == to.is_ipv4() {
                socket.bind(&SocketAddr::new(ip, 0).into())?;
            }
            Ok(socket)
        })??;
        let stream = TcpSocket::from_std_stream(socket.into())
            .connect(to)
            .await
            .with_context(|| format!("connecting from {ip} to {to}"))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// A nameless network namespace; gone when the last user drops it.
#[derive(Clone, Debug)]
pub struct Namespace(Arc<Holder>);

#[derive(Debug)]
struct Holder {
    name: String,
    handle: File,
    thread: u32,
    // Dropping the sender ends the thread that keeps the namespace reachable by its thread id.
    _stay: mpsc::Sender<()>,
}

impl Namespace {
    /// A new namespace with its loopback interface up. `name` is for error messages.
    pub fn new(name: &str) -> Result<Namespace> {
        let (stay, leave) = mpsc::channel::<()>();
        let (ready, made) = mpsc::channel();
        std::thread::Builder::new().name(format!("ns-{name}")).spawn(move || {
            let made = unshare_network().and_then(|()| {
                // SAFETY: gettid has no preconditions.
                let thread = unsafe { libc::gettid() };
                Ok((File::open("/proc/thread-self/ns/net")?, thread.unsigned_abs()))
            });
            let _ = ready.send(made);
            let _ = leave.recv();
        })?;
        let (handle, thread) = made
            .recv()
            .map_err(|_| anyhow!("the namespace thread ended"))?
            .context("making a network namespace (needs root)")?;
        let namespace = Namespace(Arc::new(Holder { name: name.to_owned(), handle, thread, _stay: stay }));
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Runs `f` on a thread inside the namespace: sockets and processes made there stay there.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    // SAFETY: the handle is an open descriptor of a network namespace.
                    let entered = unsafe { libc::setns(self.0.handle.as_raw_fd(), libc::CLONE_NEWNET) };
                    if entered != 0 {
                        bail!("entering namespace {}: {}", self.0.name, io::Error::last_os_error());
                    }
                    Ok(f())
                })
                .join()
                .map_err(|_| anyhow!("a task in namespace {} panicked", self.0.name))?
        })
    }

    /// Runs `ip <arguments>` inside the namespace.
    pub fn ip(&self, arguments: &str) -> Result<()> {
        let output = self
            .run(|| Command::new("ip").args(arguments.split_whitespace()).output())?
            .context("running `ip` (package iproute2)")?;
        if !output.status.success() {
            bail!("{}: ip {arguments}: {}", self.0.name, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Sets a value below `/proc/sys/net` of the namespace.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/net/{key}");
        self.run(|| std::fs::write(&path, value))?.with_context(|| format!("{}: {path}", self.0.name))
    }

    /// Its descriptor, for `setns`, open as long as it exists.
    pub fn handle(&self) -> RawFd {
        self.0.handle.as_raw_fd()
    }

    /// A thread that lives in the namespace as long as it exists: `ip link ... netns` takes its id.
    pub fn thread(&self) -> u32 {
        self.0.thread
    }
}

/// Hosts on one bridge, each in its own namespace with an IPv4 and an IPv6 address.
pub struct Network {
    hub: Namespace,
    hosts: u8,
    /// Hosts that shall live behind a [`Path`], and the seed of its dice.
    behind: BTreeMap<String, u64>,
    paths: BTreeMap<String, Arc<Path>>,
    places: BTreeMap<String, Namespace>,
    router: Option<Router>,
}

/// A host of a [`Network`].
#[derive(Clone, Debug)]
pub struct Host {
    /// Its place with its IPv4 address.
    pub v4: Place,
    /// The same with its IPv6 address.
    pub v6: Place,
}

impl Network {
    /// A network without hosts.
    pub fn new() -> Result<Network> {
        let hub = Namespace::new("hub")?;
        hub.ip("link add br0 type bridge")?;
        hub.ip("link set br0 up")?;
        Ok(Network {
            hub,
            hosts: 0,
            behind: BTreeMap::new(),
            paths: BTreeMap::new(),
            places: BTreeMap::new(),
            router: None,
        })
    }

    /// A network for a test: `None`, with a word on stderr, where this process may not make one. In CI (`CI` is set)
    /// that is an error.
    pub fn for_test() -> Result<Option<Network>> {
        match Network::new() {
            Ok(network) => Ok(Some(network)),
            Err(error) if std::env::var_os("CI").is_none() => {
                let _ = writeln!(io::stderr(), "SKIPPED: {error:#}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Hosts of this name, added later, live behind a path that can go wrong.
    pub fn put_behind(&mut self, name: &str, seed: u64) {
        self.behind.insert(name.to_owned(), seed);
    }

    /// The path of a host that was put behind one.
    pub fn path(&self, name: &str) -> Result<&Path> {
        Ok(self.paths.get(name).with_context(|| format!("{name} lives behind no path"))?.as_ref())
    }

    /// The paths of several, to have.
    pub fn paths(&self, names: &[&str]) -> Result<Vec<Arc<Path>>> {
        let path = |name: &&str| self.paths.get(*name).cloned().with_context(|| format!("no path of {name}"));
        names.iter().map(path).collect()
    }

    /// Where a host lives.
    pub fn inside(&self, name: &str) -> Result<&Namespace> {
        self.places.get(name).with_context(|| format!("no host {name}"))
    }

    /// Switches what the interface of a host does for its kernel.
    pub fn offload(&self, name: &str, what: Offload, on: bool) -> Result<()> {
        self.inside(name)?.run(|| offload::switch("eth0", what, on))?
    }

    /// Adds a host: `10.77.0.<n>` and `fd77::<n>` on a veth pair; `10.78.0.<n>` and `fd78::<n>` behind the router.
    pub fn host(&mut self, name: &str) -> Result<Host> {
        self.hosts = self.hosts.checked_add(1).context("too many hosts")?;
        let number = self.hosts;
        let namespace = Namespace::new(name)?;
        let port = format!("port{number}");
        match self.behind.get(name) {
            Some(seed) => {
                let path = Path::new(&namespace, &self.hub, &port, *seed)?;
                self.paths.insert(name.to_owned(), Arc::new(path));
            }
            None => {
                let peer = namespace.thread();
                self.hub.ip(&format!("link add {port} type veth peer name eth0 netns {peer}"))?;
            }
        }
        self.places.insert(name.to_owned(), namespace.clone());
        let routed = self.router.as_ref().is_some_and(|router| router.serves(name));
        let (bridge, net) = if routed { ("br1", 78) } else { ("br0", 77) };
        self.hub.ip(&format!("link set {port} master {bridge} up"))?;
        let v4 = Ipv4Addr::new(10, net, 0, number);
        let v6 = Ipv6Addr::new(if routed { 0xfd78 } else { 0xfd77 }, 0, 0, 0, 0, 0, 0, number.into());
        namespace.ip(&format!("addr add {v4}/24 dev eth0"))?;
        namespace.ip(&format!("addr add {v6}/64 dev eth0 nodad"))?;
        namespace.ip("link set eth0 up")?;
        if let Some(router) = &self.router {
            router.tell(&namespace, routed)?;
        }
        let place = |ip| Place { ip, namespace: Some(namespace.clone()) };
        Ok(Host { v4: place(v4.into()), v6: place(v6.into()) })
    }
}

fn unshare_network() -> io::Result<()> {
    // SAFETY: unshare takes no pointers; it changes this thread only.
    match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
