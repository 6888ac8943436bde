//! Two network namespaces with a pair of veth devices between them: one for the relay, one for its peers. They vanish
//! with the last socket and thread that uses them.

use std::{
    fs::File,
    io::{self, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard},
    thread,
};

pub(crate) struct Lab {
    relay: File,
    peers: File,
    /// Addresses of the hosts, the relay first.
    hosts: fn(usize) -> String,
    /// Everybody lives with the relay.
    together: bool,
    /// One lab at a time: they would compete for the processors.
    _alone: MutexGuard<'static, ()>,
}

static ALONE: Mutex<()> = Mutex::new(());

/// Addresses of a lab.
pub(crate) fn v4(host: usize) -> String {
    format!("10.99.0.{host}")
}

pub(crate) fn v6(host: usize) -> String {
    format!("fd99::{host}")
}

pub(crate) fn loopback(host: usize) -> String {
    format!("127.0.0.{host}")
}

/// The most peers of a lab over a link.
const MOST: usize = 16;

/// The device of the relay's side.
pub(crate) const DEVICE: &str = "pfr0";
/// The device of the peers' side.
pub(crate) const OTHER: &str = "pfp0";

fn fresh() -> File {
    thread::spawn(|| {
        // SAFETY: changes this thread only.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "{}", io::Error::last_os_error());
        File::open("/proc/thread-self/ns/net").unwrap()
    })
    .join()
    .unwrap()
}

/// Moves this thread.
fn enter(namespace: &File) {
    // SAFETY: changes this thread only.
    let done = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

pub(crate) fn run(command: &str) {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Commands of `ip`, all in one process.
fn ip(commands: impl Iterator<Item = String>) {
    let mut child = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let commands: String = commands.collect();
    child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{commands}");
}

impl Lab {
    /// Nothing where the programs cannot run: said, and with `PF_EBPF_REQUIRED=1` a failure.
    pub(crate) fn new(hosts: fn(usize) -> String) -> Option<Lab> {
        if !super::can_run() {
            return None;
        }
        let alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let together = hosts(1).starts_with("127.");
        let lab = Lab { relay: fresh(), peers: fresh(), hosts, together, _alone: alone };
        let target = format!("/proc/{}/fd/{}", std::process::id(), lab.peers.as_raw_fd());
        lab.in_relay(move || {
            run("ip link set lo up");
            run(&format!("ip link add {DEVICE} type veth peer name {OTHER} netns {target}"));
            run(&format!("ip addr add 10.99.0.1/24 dev {DEVICE}"));
            run(&format!("ip addr add fd99::1/64 dev {DEVICE} nodad"));
            run(&format!("ip link set {DEVICE} up"));
        });
        inside(&lab.peers, || {
            run("ip link set lo up");
            let hosts = 2..2 + MOST;
            ip(hosts.map(|n| {
                format!("addr add {}/24 dev {OTHER}\naddr add {}/64 dev {OTHER} nodad\n", v4(n), v6(n))
            }));
            run(&format!("ip link set {OTHER} up"));
        });
        Some(lab)
    }

    /// Runs something in a thread of the relay's namespace.
    pub(crate) fn in_relay<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        inside(&self.relay, run)
    }

    /// Runs something in a thread of the peers' namespace.
    pub(crate) fn in_peers<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        inside(if self.together { &self.relay } else { &self.peers }, run)
    }

    fn address(&self, host: usize) -> IpAddr {
        (self.hosts)(host).parse().unwrap()
    }

    /// Switches checksums and segmentation of both devices from the device to the kernel.
    pub(crate) fn no_offloads(&self) {
        self.in_relay(|| offloads_off(DEVICE));
        self.in_peers(|| offloads_off(OTHER));
    }

    /// Sets a value below `/proc/sys/net` on both sides.
    pub(crate) fn sysctl(&self, name: &str, value: &str) {
        self.in_relay(|| std::fs::write(format!("/proc/sys/net/{name}"), value).unwrap());
        self.in_peers(|| std::fs::write(format!("/proc/sys/net/{name}"), value).unwrap());
    }

    /// Connections of so many peers to the relay, each from an address of its own: the peers' ends and the relay's.
    pub(crate) fn connect(&self, count: usize) -> Vec<(TcpStream, TcpStream)> {
        let listener = self.in_relay(|| TcpListener::bind(SocketAddr::new(self.address(1), 0)).unwrap());
        let to = listener.local_addr().unwrap();
        (0..count)
            .map(|n| {
                let from = SocketAddr::new(self.address(2 + n), 0);
                let peer = self.in_peers(|| {
                    let domain = socket2::Domain::for_address(to);
                    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
                    socket.set_reuse_address(true).unwrap();
                    socket.bind(&from.into()).unwrap();
                    socket.connect(&to.into()).unwrap();
                    TcpStream::from(socket)
                });
                let (ours, _) = listener.accept().unwrap();
                ours.set_nonblocking(true).unwrap();
                ours.set_nodelay(true).unwrap();
                peer.set_nodelay(true).unwrap();
                peer.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
                (peer, ours)
            })
            .collect()
    }
}

/// What `ethtool -K DEVICE tx off tso off gso off gro off` does.
fn offloads_off(device: &str) {
    // linux/ethtool.h: ETHTOOL_STXCSUM, STSO, SGSO, SGRO; the device may refuse what it cannot change.
    for (command, required) in [(0x17_u32, true), (0x1f, false), (0x24, false), (0x2c, false)] {
        let mut value = [command, 0];
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        // SAFETY: plain octets; SIOCETHTOOL takes two words with these commands.
        let done = unsafe {
            let mut request: libc::ifreq = std::mem::zeroed();
            for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
                *to = from as libc::c_char;
            }
            request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
            libc::ioctl(socket.as_raw_fd(), 0x8946, &mut request)
        };
        assert!(done == 0 || !required, "{device}: {}", io::Error::last_os_error());
    }
}

fn inside<T: Send>(namespace: &File, run: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        scope
            .spawn(|| {
                enter(namespace);
                run()
            })
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
