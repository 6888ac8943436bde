//! Starts the real `pf` as a user would: `pf run --config FILE`.

use std::{
    io::{BufRead, BufReader, Read},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};

use crate::{lock, net::Place, sip::Transport};

/// How long `pf` may take to start.
const START: Duration = Duration::from_secs(20);

/// What its configuration says.
#[derive(Clone, Debug)]
pub struct PfOptions {
    /// Where it runs.
    pub place: Place,
    /// Further addresses to listen at.
    pub also: Vec<IpAddr>,
    /// Lines of the `[policy]` table.
    pub policy: String,
    /// Next hop towards the far end.
    pub core: Option<SocketAddr>,
    /// Interworking Selection Function.
    pub isf: Option<SocketAddr>,
    /// How the core and the ISF are spoken to.
    pub transport: Transport,
    /// Peers whose P-Asserted-Identity counts.
    pub trusted: Vec<IpAddr>,
    /// Peers whose third-party REGISTERs count.
    pub registrars: Vec<IpAddr>,
    /// Users: address, user name, password.
    pub users: Vec<(String, String, String)>,
    /// Further lines for each user of the users file.
    pub user: String,
    /// Further lines of the `[sip]` table.
    pub sip: String,
    /// Further lines of the `[msrp]` table.
    pub msrp: String,
    /// Value of `fast_path`. Off at first: loading the programs takes a while, and tests beside each other would have
    /// theirs on one loopback interface.
    pub fast_path: &'static str,
    /// Further tables.
    pub more: String,
    /// A program that runs `pf`, with its arguments: one that takes rights away, say.
    pub under: Vec<String>,
    /// Log level.
    pub log: String,
}

impl PfOptions {
    /// `sip:alice@example.org` with password `wonderland`, everything else as it comes.
    pub fn new(place: &Place) -> PfOptions {
        PfOptions {
            place: place.clone(),
            also: Vec::new(),
            policy: String::new(),
            core: None,
            isf: None,
            transport: Transport::usual(),
            trusted: Vec::new(),
            registrars: Vec::new(),
            users: vec![("sip:alice@example.org".into(), "alice".into(), "wonderland".into())],
            user: String::new(),
            sip: String::new(),
            msrp: String::new(),
            fast_path: "off",
            more: String::new(),
            under: Vec::new(),
            log: "info".into(),
        }
    }

    fn config(&self, directory: &Path) -> String {
        let addresses: Vec<IpAddr> = [self.place.ip].into_iter().chain(self.also.iter().copied()).collect();
        let quoted =
            |list: Vec<String>| list.iter().map(|item| format!("\"{item}\"")).collect::<Vec<_>>().join(", ");
        let sip = addresses.iter().flat_map(|ip| {
            ["udp", "tcp"].map(|transport| format!("{transport}:{}", SocketAddr::new(*ip, 0)))
        });
        let msrp = addresses.iter().map(|ip| SocketAddr::new(*ip, 0).to_string());
        let mut text = format!("state_dir = \"{}\"\n", directory.join("state").display());
        text.push_str(&format!("fast_path = \"{}\"\n", self.fast_path));
        text.push_str("\n[sip]\n");
        text.push_str(&format!("listen = [{}]\n", quoted(sip.collect())));
        for (key, peers) in [("trusted", &self.trusted), ("registrars", &self.registrars)] {
            let peers = peers.iter().map(IpAddr::to_string).collect();
            text.push_str(&format!("{key} = [{}]\n", quoted(peers)));
        }
        for (key, value) in [("core", self.core), ("isf", self.isf)] {
            if let Some(address) = value {
                text.push_str(&format!("{key} = \"sip:{address}{}\"\n", self.transport.parameter()));
            }
        }
        text.push_str(&format!("{}\n", self.sip));
        text.push_str(&format!("\n[msrp]\nlisten = [{}]\n{}\n", quoted(msrp.collect()), self.msrp));
        text.push_str(&format!(
            "\n[registrar]\ndomains = [\"example.org\"]\nusers = \"{}\"\n",
            directory.join("users.toml").display()
        ));
        text.push_str(&format!("\n[policy]\n{}\n", self.policy));
        text.push_str(&format!("\n[admin]\nsocket = \"{}\"\n", directory.join("pf.sock").display()));
        text.push_str(&format!("\n[log]\nlevel = \"{}\"\n{}\n", self.log, self.more));
        text
    }
}

/// A running `pf`. Ends with its owner.
pub struct Pf {
    /// Its SIP addresses.
    pub sip: Vec<(Transport, SocketAddr)>,
    /// Its MSRP addresses.
    pub msrp: Vec<SocketAddr>,
    /// Its administration socket.
    pub admin: PathBuf,
    /// Directory of its configuration.
    pub directory: PathBuf,
    binary: PathBuf,
    under: Vec<String>,
    place: Place,
    child: Option<Child>,
    log: Arc<Mutex<String>>,
}

impl Pf {
    /// Writes the configuration, starts `pf` and waits for its ready line.
    pub fn start(options: &PfOptions) -> Result<Pf> {
        let directory =
            std::env::temp_dir().join(format!("pf-lab-{}-{}", std::process::id(), crate::token(4)));
        std::fs::create_dir_all(directory.join("state"))?;
        let mut users = String::new();
        for (address, username, password) in &options.users {
            users.push_str(&format!(
                "[[user]]\naddresses = [\"{address}\"]\nusername = \"{username}\"\npassword = \"{password}\"\n{}\n",
                options.user
            ));
        }
        std::fs::write(directory.join("users.toml"), users)?;
        std::fs::write(directory.join("pf.toml"), options.config(&directory))?;
        let mut pf = Pf {
            sip: Vec::new(),
            msrp: Vec::new(),
            admin: PathBuf::new(),
            directory,
            binary: binary()?,
            under: options.under.clone(),
            place: options.place.clone(),
            child: None,
            log: Arc::default(),
        };
        pf.launch()?;
        Ok(pf)
    }

    /// Stops it and starts it again with the same configuration, state directory and ports.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.keep_ports()?;
        self.launch()
    }

    /// Writes the ports that the system chose into the configuration.
    fn keep_ports(&self) -> Result<()> {
        let file = self.directory.join("pf.toml");
        let sip = self
            .sip
            .iter()
            .map(|(transport, address)| format!("\"{}:{address}\"", transport.name().to_ascii_lowercase()));
        let msrp = self.msrp.iter().map(|address| format!("\"{address}\""));
        let (sip, msrp): (Vec<_>, Vec<_>) = (sip.collect(), msrp.collect());
        let (mut text, mut section) = (String::new(), String::new());
        for line in std::fs::read_to_string(&file)?.lines() {
            if line.starts_with('[') {
                section = line.to_owned();
            }
            match (section.as_str(), line.starts_with("listen = ")) {
                ("[sip]", true) => text.push_str(&format!("listen = [{}]", sip.join(", "))),
                ("[msrp]", true) => text.push_str(&format!("listen = [{}]", msrp.join(", "))),
                _ => text.push_str(line),
            }
            text.push('\n');
        }
        Ok(std::fs::write(file, text)?)
    }

    fn launch(&mut self) -> Result<()> {
        let mut command = match self.under.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(&self.binary);
                command
            }
            None => Command::new(&self.binary),
        };
        command.arg("run").arg("--config").arg(self.directory.join("pf.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self
            .place
            .run(move || command.spawn())?
            .with_context(|| format!("starting {}", self.binary.display()))?;
        let stdout = child.stdout.take().context("no stdout")?;
        let stderr = child.stderr.take().context("no stderr")?;
        self.child = Some(child);
        let (lines, ready) = mpsc::channel();
        collect(stdout, self.log.clone(), Some(lines));
        collect(stderr, self.log.clone(), None);
        let deadline = Instant::now() + START;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match ready.recv_timeout(left) {
                Ok(line) => {
                    if let Some(rest) = line.split_once("pf ready:").map(|(_, rest)| rest) {
                        return self.read_ready(rest);
                    }
                }
                Err(_) => bail!("pf did not get ready. Its output:\n{}", self.log()),
            }
        }
    }

    fn read_ready(&mut self, line: &str) -> Result<()> {
        let wrong = || anyhow!("bad ready line `{line}`");
        (self.sip, self.msrp) = (Vec::new(), Vec::new());
        let mut section = "";
        for word in line.split_whitespace() {
            match (word, section) {
                ("sip" | "msrp" | "admin", _) => section = word,
                (word, "sip") => {
                    let (transport, address) = word.split_once(':').ok_or_else(wrong)?;
                    let address = address.parse().map_err(|_| wrong())?;
                    match transport {
                        "udp" => self.sip.push((Transport::Udp, address)),
                        "tcp" => self.sip.push((Transport::Tcp, address)),
                        _ => {}
                    }
                }
                (word, "msrp") => {
                    let word = word.strip_prefix("tcp:").unwrap_or(word);
                    self.msrp.push(word.parse().map_err(|_| wrong())?);
                }
                (word, "admin") => self.admin = PathBuf::from(word),
                _ => return Err(wrong()),
            }
        }
        if self.sip.is_empty() || self.msrp.is_empty() {
            return Err(wrong());
        }
        Ok(())
    }

    /// Its first SIP address of this transport and of the family of `like`.
    pub fn sip_address(&self, transport: Transport, like: IpAddr) -> Result<SocketAddr> {
        let fits = |(t, a): &&(Transport, SocketAddr)| *t == transport && a.is_ipv4() == like.is_ipv4();
        Ok(self.sip.iter().find(fits).context("pf has no such SIP address")?.1)
    }

    /// Runs `pf <arguments> --socket <its socket>` and returns what it prints.
    pub fn cli(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.binary);
        command.args(arguments).arg("--socket").arg(&self.admin);
        let output = command.output()?;
        if !output.status.success() {
            bail!("pf {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// `pf <arguments> --json`, read.
    pub fn cli_json(&self, command: &str) -> Result<serde_json::Value> {
        Ok(serde_json::from_str(&self.cli(&[command, "--json"])?)?)
    }

    /// Changes a file of its configuration, `pf.toml` or `users.toml`, as an operator would; it is not told.
    pub fn edit(&self, file: &str, edit: impl FnOnce(String) -> String) -> Result<()> {
        let path = self.directory.join(file);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(std::fs::write(path, edit(text))?)
    }

    /// Writes these lines below `[policy]`, in the place of all that stands there, and tells it.
    pub fn reload_policy(&self, lines: &str) -> Result<String> {
        self.edit("pf.toml", |text| {
            let (before, rest) = text.split_once("[policy]\n").unwrap_or((&text, ""));
            let (_, after) = rest.split_once("\n[").unwrap_or((rest, "log]"));
            format!("{before}[policy]\n{lines}\n[{after}")
        })?;
        self.cli(&["reload"])
    }

    /// Everything it has printed so far.
    pub fn log(&self) -> String {
        lock(&self.log).clone()
    }

    /// Its process id.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Sends SIGTERM and does not wait.
    pub fn terminate(&self) {
        self.signal(libc::SIGTERM);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        if let Some(child) = &self.child {
            // SAFETY: the child is ours and not yet waited for, so its pid is not another's.
            unsafe { libc::kill(child.id().cast_signed(), signal) };
        }
    }

    /// Waits until it has ended, with exit code 0.
    pub async fn ended(&mut self, limit: Duration) -> Result<()> {
        let mut child = self.child.take().context("it does not run")?;
        let wait = async {
            loop {
                match child.try_wait()? {
                    Some(status) if status.success() => return Ok(()),
                    Some(status) => bail!("pf ended with {status}"),
                    None => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        let ended = crate::wait::within(limit, "the end of pf", wait).await;
        if ended.is_err() {
            self.child = Some(child);
        }
        ended
    }

    /// Ends it with SIGKILL: it can do nothing about it.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("it does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Ends it with SIGTERM, which it must obey within 10 s with exit code 0.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        // SAFETY: the child is ours and not yet waited for, so its pid is not another's.
        unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) };
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("pf ended with {status}. Its output:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill()?;
        child.wait()?;
        bail!("pf did not obey SIGTERM. Its output:\n{}", self.log());
    }
}

impl Drop for Pf {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let _ = std::io::Write::write_all(&mut std::io::stderr(), log.as_bytes());
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The `pf` to test: `PF_BIN`, else the one beside the running test.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("PF_BIN") {
        let path = PathBuf::from(path);
        if path.is_file() {
            return Ok(path);
        }
        bail!("PF_BIN is {}, and there is no such file", path.display());
    }
    let here = std::env::current_exe()?;
    // target/<profile>/deps/suite-... or target/<profile>/pf-lab
    let beside = here.ancestors().skip(1).take(2).map(|directory| directory.join("pf"));
    beside.into_iter().find(|path| path.is_file()).with_context(|| {
        format!("no `pf` beside {}: run `cargo build -p pf` first, or set PF_BIN", here.display())
    })
}

fn collect(stream: impl Read + Send + 'static, log: Arc<Mutex<String>>, lines: Option<mpsc::Sender<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            lock(&log).push_str(&format!("{line}\n"));
            if let Some(lines) = &lines {
                let _ = lines.send(line);
            }
        }
    });
}
