//! `pf` itself: the real binary, its sessions set up by SIP.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{
    contender::{Contender, Hits, Started},
    ground::{self, Side},
    process::Process,
    sip_client::{self, Network},
};

/// The binary to measure: the one given, else `PF_BIN`, else the release build.
pub(crate) fn binary(given: Option<&Path>) -> PathBuf {
    let from_env = || std::env::var_os("PF_BIN").map(PathBuf::from);
    given.map(Path::to_owned).or_else(from_env).unwrap_or_else(|| "target/release/pf".into())
}

/// What a `pf` for the bench is told.
pub(crate) struct Setting {
    /// Next hop towards the far end.
    pub(crate) core: String,
    /// Users of the registrar.
    pub(crate) users: usize,
    /// Value of `fast_path`.
    pub(crate) fast_path: &'static str,
    /// Peers whose P-Asserted-Identity counts.
    pub(crate) trusted: bool,
    /// Further lines of the `[msrp]` table.
    pub(crate) msrp: &'static str,
}

/// A running `pf` and its addresses.
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) udp: SocketAddr,
    pub(crate) tcp: SocketAddr,
}

/// Starts `binary` with its files in `dir` and waits until it listens.
pub(crate) fn start(binary: &Path, setting: &Setting, dir: &Path) -> Result<Running> {
    ensure!(binary.is_file(), "there is no {}: build it, or name it in PF_BIN", binary.display());
    fs::create_dir_all(dir.join("state"))?;
    let dir = &dir.canonicalize()?;
    let mut users = String::new();
    for number in 0..setting.users {
        let (user, domain) = (sip_client::user(number), sip_client::DOMAIN);
        let _ = write!(
            users,
            "[[user]]\naddresses = [\"sip:{user}@{domain}\"]\nusername = \"{user}\"\npassword = \"{user}\"\n"
        );
    }
    fs::write(dir.join("users.toml"), users)?;
    fs::set_permissions(dir.join("users.toml"), fs::Permissions::from_mode(0o600))?;
    let config = dir.join("pf.toml");
    let relay = ground::relay(Side::Near);
    let trusted = if setting.trusted { format!("\"{}\"", ground::end(Side::Near)) } else { String::new() };
    let Setting { core, fast_path, msrp, .. } = setting;
    fs::write(
        &config,
        format!(
            "state_dir = \"{0}/state\"\nfast_path = \"{fast_path}\"\n[sip]\nlisten = [\"udp:{relay}:0\", \"tcp:{relay}:0\"]\n\
             trusted = [{trusted}]\ncore = \"{core}\"\n[msrp]\nlisten = [\"{relay}:0\"]\nworkers = 1\n{msrp}\n\
             [registrar]\ndomains = [\"{1}\"]\nusers = \"{0}/users.toml\"\n[admin]\nsocket = \"{0}/pf.sock\"\n\
             [log]\nlevel = \"warn\"\n",
            dir.display(),
            sip_client::DOMAIN
        ),
    )?;
    let mut command = Command::new(binary);
    command.arg("run").arg("--config").arg(&config);
    let mut process = Process::start("pf", command, dir, true)?;
    let ready = process.wait_line("pf ready:", Duration::from_secs(20))?;
    let address = |transport: &str| -> Result<SocketAddr> {
        let found = ready.split_whitespace().find_map(|word| word.strip_prefix(transport));
        found.and_then(|text| text.parse().ok()).with_context(|| format!("no {transport} in `{ready}`"))
    };
    let (udp, tcp) = (address("udp:")?, address("tcp:")?);
    Ok(Running { process, udp, tcp })
}

/// What `pf stats` says of the fast path.
pub(crate) fn hits(binary: &Path, socket: &Path) -> Result<[u64; 2]> {
    let output = Command::new(binary).args(["stats", "--json", "--socket"]).arg(socket).output()?;
    let stats: serde_json::Value = serde_json::from_slice(&output.stdout).context("pf stats --json")?;
    let path =
        stats.get("fast_path").or_else(|| stats.pointer("/stats/fast_path")).context("no fast_path")?;
    let kernel =
        path.get("sends_in_kernel").and_then(serde_json::Value::as_u64).context("sends_in_kernel")?;
    let reasons = path.get("sends_in_userspace").and_then(serde_json::Value::as_object);
    let user = reasons.into_iter().flat_map(|map| map.values()).filter_map(serde_json::Value::as_u64).sum();
    Ok([kernel, user])
}

/// `pf` as a contender, its user-space relay or its fast path.
pub(crate) struct Pf {
    /// Name in tables.
    pub(crate) name: &'static str,
    /// The program.
    pub(crate) binary: PathBuf,
    /// Value of `fast_path`.
    pub(crate) fast_path: &'static str,
}

impl Contender for Pf {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> Result<String> {
        ensure!(self.binary.is_file(), "there is no {}", self.binary.display());
        let version = crate::process::version(&self.binary, "--version");
        Ok(format!("{version}, 1 MSRP worker, fast_path = \"{}\", sessions set up by SIP", self.fast_path))
    }

    fn fans_out(&self) -> bool {
        true
    }

    fn start(&self, lanes: usize, fanout: usize, dir: &Path) -> Result<Started> {
        let mut network = Network::new()?;
        let core = format!("sip:{};transport=tcp", network.far());
        let setting = Setting { core, users: 1, fast_path: self.fast_path, trusted: false, msrp: "" };
        let running = start(&self.binary, &setting, &dir.join(self.name))?;
        network.connect(running.tcp, 1)?;
        for device in 0..fanout {
            network.register(0, device)?;
        }
        // The devices are known: they have been in a session before.
        let first = network.invite(0, fanout - 1)?;
        network.end(&first)?;
        let lanes = (0..lanes).map(|_| network.session(0, fanout - 1)).collect::<Result<_>>()?;
        let pids = running.process.pids();
        let (binary, socket) = (self.binary.clone(), dir.join(self.name).join("pf.sock"));
        let hits: Option<Hits> = Some(Box::new(move || hits(&binary, &socket)));
        Ok(Started {
            lanes,
            pids,
            hits: hits.filter(|_| self.fast_path != "off"),
            keep: vec![Box::new(running), Box::new(network)],
        })
    }
}
