//! Real neighbours of `pf`: programs of others, as distributions ship them.

pub(crate) mod sipp;

use std::{
    fs,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use lab::net::Place;

/// The program, or `None` with a printed reason if it is not installed; with `PF_LAB_REQUIRED=1` that is an error.
pub(crate) fn tool(program: &str, package: &str) -> Result<Option<PathBuf>> {
    let path = std::env::var("PATH").unwrap_or_default();
    let found =
        path.split(':').chain(["/usr/sbin"]).map(|dir| Path::new(dir).join(program)).find(|p| p.is_file());
    if found.is_none() {
        let reason = format!("{program} is not installed (Debian package {package})");
        ensure!(std::env::var_os("PF_LAB_REQUIRED").is_none_or(|value| value != "1"), "{reason}");
        eprintln!("SKIPPED: {reason}");
    }
    Ok(found)
}

/// A port of `place` that is free for UDP and TCP, for programs that cannot choose one themselves.
pub(crate) fn free_address(place: &Place) -> Result<SocketAddr> {
    for _ in 0..50 {
        let address = TcpListener::bind((place.ip, 0))?.local_addr()?;
        if UdpSocket::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port on {}", place.ip)
}

/// A directory of one test, removed with it.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Result<Directory> {
        let path = std::env::temp_dir().join(format!("pf-{name}-{}-{}", std::process::id(), lab::token(4)));
        fs::create_dir_all(&path)?;
        Ok(Directory(path))
    }

    /// Writes a file and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        fs::write(&path, text)?;
        Ok(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running neighbour; ended with the value, by its process id.
pub(crate) struct Neighbour {
    name: &'static str,
    child: Child,
    output: PathBuf,
}

impl Neighbour {
    /// Starts `command`; what it prints goes to a file in `directory`.
    pub(crate) fn start(
        name: &'static str,
        mut command: Command,
        directory: &Directory,
    ) -> Result<Neighbour> {
        let output = directory.0.join(format!("{name}.out"));
        let file = fs::File::create(&output)?;
        command.current_dir(&directory.0).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.process_group(0).spawn().with_context(|| format!("starting {name}"))?;
        Ok(Neighbour { name, child, output })
    }

    /// Waits until its output has this text.
    pub(crate) async fn says(&mut self, text: &str, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        while !self.output().contains(text) {
            ensure!(self.child.try_wait()?.is_none(), "{} ended:\n{}", self.name, self.output());
            ensure!(Instant::now() < end, "{} did not say `{text}`:\n{}", self.name, self.output());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < end, "{} did not end:\n{}", self.name, self.output());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether it ended; it is not waited for, so that its process group cannot become another's.
    fn is_dead(&self, pid: i32) -> bool {
        // SAFETY: `siginfo_t` is plain data, written by the call, which leaves it zero while the child runs.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            libc::waitid(libc::P_PID, pid.unsigned_abs(), &mut info, how) != 0 || info.si_pid() != 0
        }
    }

    /// What it printed so far.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return; // SIPp: it has no children
        }
        let Ok(pid) = i32::try_from(self.child.id()) else { return };
        // SAFETY: the child is ours and not yet waited for, so its pid is not another's. SIGTERM first: a neighbour that
        // forks ends its children itself.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end && !self.is_dead(pid) {
            std::thread::sleep(Duration::from_millis(5));
        }
        // SAFETY: as above; it leads a process group of its own, which holds nothing but its children.
        unsafe { libc::kill(-pid, libc::SIGKILL) };
        let _ = self.child.wait();
    }
}
