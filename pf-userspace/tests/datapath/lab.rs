//! Two network namespaces with a pair of veth devices between them: one for the relay, one for its peers. They vanish
//! with the last socket and thread that uses them.

use std::{
    fs::File,
    io,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    process::Command,
    thread,
};

pub(crate) struct Lab {
    relay: File,
    peers: File,
    v6: bool,
}

/// The device of the relay's side.
pub(crate) const DEVICE: &str = "pfr0";
const OTHER: &str = "pfp0";

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

impl Lab {
    pub(crate) fn new(v6: bool) -> Lab {
        let lab = Lab { relay: fresh(), peers: fresh(), v6 };
        let target = format!("/proc/{}/fd/{}", std::process::id(), lab.peers.as_raw_fd());
        lab.in_relay(move || {
            run("ip link set lo up");
            run(&format!("ip link add {DEVICE} type veth peer name {OTHER} netns {target}"));
            run(&format!("ip addr add 10.99.0.1/24 dev {DEVICE}"));
            run(&format!("ip addr add fd99::1/64 dev {DEVICE} nodad"));
            run(&format!("ip link set {DEVICE} up"));
        });
        lab.in_peers(|| {
            run("ip link set lo up");
            for n in 2..8 {
                run(&format!("ip addr add 10.99.0.{n}/24 dev {OTHER}"));
                run(&format!("ip addr add fd99::{n}/64 dev {OTHER} nodad"));
            }
            run(&format!("ip link set {OTHER} up"));
        });
        lab
    }

    /// Runs something in a thread of the relay's namespace.
    pub(crate) fn in_relay<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        inside(&self.relay, run)
    }

    /// Runs something in a thread of the peers' namespace.
    pub(crate) fn in_peers<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        inside(&self.peers, run)
    }

    fn address(&self, host: usize) -> IpAddr {
        let text = if self.v6 { format!("fd99::{host}") } else { format!("10.99.0.{host}") };
        text.parse().unwrap()
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
