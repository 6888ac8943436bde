//! Processes that the bench starts, and ends by their id.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    ground::{self, Side},
    measure,
};

/// A running process; ended with the value.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; its standard error, and output unless `piped`, go to `dir/name.log`.
    pub(crate) fn start(name: &str, mut command: Command, dir: &Path, piped: bool) -> Result<Process> {
        fs::create_dir_all(dir)?;
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log)?;
        command.stdin(Stdio::null()).stderr(file.try_clone()?);
        command.stdout(if piped { Stdio::piped() } else { Stdio::from(file) });
        ground::on_relay(&mut command);
        let child = command.process_group(0).spawn().with_context(|| format!("starting {name}"))?;
        Ok(Process { child, log })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process and everything below it.
    pub(crate) fn pids(&self) -> Vec<u32> {
        measure::family(self.pid())
    }

    /// First line of standard output that begins with `prefix`; later output is read and dropped.
    pub(crate) fn wait_line(&mut self, prefix: &str, wait: Duration) -> Result<String> {
        let output = self.child.stdout.take().context("standard output is not piped")?;
        let (tx, rx) = std::sync::mpsc::channel();
        let wanted = prefix.to_owned();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if line.starts_with(&wanted) {
                    tx.send(line).ok();
                }
            }
        });
        rx.recv_timeout(wait)
            .map_err(|_| anyhow::anyhow!("no line `{prefix}...` from it; see {}", self.log.display()))
    }

    /// Waits until `address` accepts connections.
    pub(crate) fn wait_port(&mut self, address: SocketAddr) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("ended with {status}; see {}", self.log.display());
            }
            if ground::connect(Side::Near, address).is_ok() {
                return Ok(());
            }
            ensure!(Instant::now() < end, "nothing listens at {address}; see {}", self.log.display());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether it ended; it is not waited for.
    fn is_dead(&self) -> bool {
        // SAFETY: `siginfo_t` is plain data, written by the call, which leaves it zero while the child runs.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            libc::waitid(libc::P_PID, self.child.id(), &mut info, how) != 0 || info.si_pid() != 0
        }
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<std::process::ExitStatus> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < end, "still running after {limit:?}; see {}", self.log.display());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        signal(self.child.id().cast_signed(), libc::SIGTERM);
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end && !self.is_dead() {
            thread::sleep(Duration::from_millis(10));
        }
        // Not yet waited for, so the process group, which holds it and its children only, is still ours.
        signal(-self.child.id().cast_signed(), libc::SIGKILL);
        self.child.wait().ok();
    }
}

fn signal(pid: i32, signal: i32) {
    // SAFETY: no pointers; `pid` is a process of ours that was not yet waited for, or the group that it leads.
    unsafe { libc::kill(pid, signal) };
}

/// The program's path, from PATH and the system directories; `None` if it is not installed.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/usr/local/sbin"])
        .map(|dir| Path::new(dir).join(program))
        .find(|p| p.is_file())
}

/// First line that `program` prints with `argument`, as its version.
pub(crate) fn version(program: &Path, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or("unknown").trim().to_owned()
}
