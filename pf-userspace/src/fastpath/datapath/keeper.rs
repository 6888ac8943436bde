//! When the process dies at once, its sockets close while their peers count other positions than they do: nobody
//! would understand their FINs without the programs. A second process therefore holds the links, too, and lets go a
//! moment after the first one's end.

use std::{
    io::{self, Read, Write},
    os::{fd::RawFd, unix::process::CommandExt},
    process::{Child, ChildStdin, Command, ExitCode, Stdio},
    time::Duration,
};

use aya::programs::links::FdLink;

/// Long enough for the ends of streams to be repeated a few times.
const MOMENT: Duration = Duration::from_secs(3);
/// The subcommand that it is.
const WORD: &str = "keep-attached";

/// The second process. Dropping it ends it at once.
pub(super) struct Keeper {
    child: Child,
    life: Option<ChildStdin>,
}

impl Keeper {
    /// Starts it, with these links.
    pub(super) fn start(links: &[FdLink]) -> io::Result<Keeper> {
        let links = links.iter().map(descriptor).collect::<io::Result<Vec<RawFd>>>()?;
        let mut command = Command::new("/proc/self/exe");
        // As what it is, in lists of processes.
        command
            .arg0("pf")
            .arg(WORD)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/");
        let inherit = move || {
            for link in &links {
                // SAFETY: the child's own table of descriptors; fcntl is async-signal-safe.
                if unsafe { libc::fcntl(*link, libc::F_SETFD, 0) } != 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        };
        // SAFETY: `inherit` makes system calls only and allocates nothing.
        unsafe { command.pre_exec(inherit) };
        let mut child = command.spawn()?;
        let life = child.stdin.take();
        Ok(Keeper { child, life })
    }
}

/// The descriptor of a link, which its owner does not tell: by what the kernel says of each of ours.
fn descriptor(link: &FdLink) -> io::Result<RawFd> {
    let line = format!("link_id:\t{}", link.info().map_err(io::Error::other)?.id());
    for entry in std::fs::read_dir("/proc/self/fdinfo")? {
        let entry = entry?;
        // Some end while we look.
        let about = std::fs::read_to_string(entry.path()).unwrap_or_default();
        if about.lines().any(|known| known == line) {
            return entry.file_name().to_string_lossy().parse().map_err(io::Error::other);
        }
    }
    Err(io::Error::other("a link without descriptor"))
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(mut life) = self.life.take() {
            let _ = life.write_all(b".");
        }
        let _ = self.child.wait();
    }
}

/// The second process: until the first one says so, or for a moment after it has died.
pub(crate) fn keep() -> ExitCode {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        // SAFETY: ignoring a signal takes no pointers.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    let mut word = [0];
    if !matches!(io::stdin().read(&mut word), Ok(1)) {
        std::thread::sleep(MOMENT);
    }
    ExitCode::SUCCESS
}
