//! SIPp as any neighbour: scenarios from `sipp/`, each for one role in one procedure.
//!
//! A scenario is made of its own steps and of parts that many share: `<?use PART KEY=value | KEY=value?>` stands for
//! `sipp/parts/PART.xml` with its keys filled in. A line that has nothing but a key without value is left out.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use lab::{
    net::Place,
    pf::{Pf, PfOptions},
    sip::Transport,
    wait::{SOON, until},
};

use super::{Directory, Neighbour, free_address, tool};

/// Words of a scenario with what they stand for.
pub(crate) type Words = Vec<(&'static str, String)>;

/// One procedure: who plays which scenario around `pf`, and what its operator has set.
pub(crate) struct Procedure {
    /// Lines of the `[policy]` table.
    pub(crate) policy: String,
    /// The core on the caller's side, which asserts who calls.
    pub(crate) near: &'static str,
    /// The far end.
    pub(crate) far: Option<&'static str>,
    /// Another device of the caller.
    pub(crate) device: Option<&'static str>,
    /// The Interworking Selection Function.
    pub(crate) isf: Option<&'static str>,
    /// The calls, one after the other, with the words of each.
    pub(crate) calls: Vec<Words>,
    /// How long a call may take.
    pub(crate) limit: Duration,
}

impl Procedure {
    /// One call between these two, nothing set.
    pub(crate) fn new(near: &'static str, far: &'static str) -> Procedure {
        Procedure {
            policy: "direct_delivery = false".into(),
            near,
            far: Some(far),
            device: None,
            isf: None,
            calls: vec![Vec::new()],
            limit: Duration::from_secs(15),
        }
    }

    /// Plays it.
    pub(crate) async fn play(self, transport: Transport) -> Result<()> {
        let Some(program) = tool("sipp", "sip-tester")? else { return Ok(()) };
        let home = Place::loopback(1);
        let [near, far, device, isf] = [21, 29, 23, 28].map(Place::loopback);
        let at = [free_address(&near)?, free_address(&far)?, free_address(&device)?, free_address(&isf)?];
        let [near_at, far_at, device_at, isf_at] = at;
        let directory = Directory::new("sipp")?;
        let mut options = PfOptions::new(&home);
        options.trusted = vec![near.ip, far.ip, isf.ip];
        options.registrars = vec![near.ip];
        options.policy = self.policy.clone();
        let by = if transport == Transport::Tcp { "tcp" } else { "udp" };
        options.sip =
            format!("core = \"sip:{far_at};transport={by}\"\nisf = \"sip:{isf_at};transport={by}\"\n");
        options.msrp = "silent_seconds = 300".to_owned(); // SIPp speaks no MSRP
        let pf = Pf::start(&options)?;
        let target = pf.sip_address(transport, home.ip)?;

        let mut places: Words = vec![("DEVICE_HOST", pattern(device.ip)), ("DEVICE", device_at.to_string())];
        // Where a call does not say that there is more than one stream.
        places.extend([("SECOND_STREAM", String::new()), ("REJECTED", String::new())]);
        places.extend(
            [("PF_HOST", home.ip), ("NEAR_HOST", near.ip), ("FAR_HOST", far.ip)]
                .map(|(w, ip)| (w, pattern(ip))),
        );
        for (number, words) in self.calls.iter().enumerate() {
            let words: Words = words.iter().chain(&places).cloned().collect();
            let story = |runs: &[Neighbour]| {
                let runs: Vec<String> = runs.iter().map(|run| told(&directory, run.name)).collect();
                format!("call {number} {words:?}\n{}\n{}", runs.concat(), pf.log())
            };
            let mut runs = Vec::new();
            let waiting =
                [(self.far, far_at, "far"), (self.device, device_at, "device"), (self.isf, isf_at, "isf")];
            for (scenario, address, name) in waiting {
                let Some(scenario) = scenario else { continue };
                let file = directory.file(&format!("{name}.xml"), &read(scenario, &words)?)?;
                let command = self.command(&program, &file, address, transport);
                runs.push(Neighbour::start(name, command, &directory)?);
                until(SOON, "SIPp to listen", || listens(address, transport))
                    .await
                    .with_context(|| story(&runs))?;
            }
            let file = directory.file("near.xml", &read(self.near, &words)?)?;
            let mut command = self.command(&program, &file, near_at, transport);
            command.arg(target.to_string());
            // The caller first: it is the one that ends.
            runs.insert(0, Neighbour::start("near", command, &directory)?);
            for at in 0..runs.len() {
                let status = runs[at].ended(self.limit).await.with_context(|| story(&runs))?;
                ensure!(status.success(), "{}: {status}\n{}", runs[at].name, story(&runs));
            }
        }
        Ok(())
    }

    fn command(&self, program: &Path, scenario: &Path, local: SocketAddr, transport: Transport) -> Command {
        let mut command = Command::new(program);
        command.arg("-sf").arg(scenario).args([
            "-i",
            &local.ip().to_string(),
            "-p",
            &local.port().to_string(),
        ]);
        let socket = if transport == Transport::Tcp { "t1" } else { "u1" };
        command.args(["-t", socket, "-m", "1", "-nostdin", "-skip_rlimit", "-timeout_error"]);
        command.args(["-timeout", &self.limit.as_secs().to_string(), "-recv_timeout", "10000"]);
        for kind in ["error", "message"] {
            let flag = if kind == "error" { "-trace_err" } else { "-trace_msg" };
            command.args([flag, &format!("-{kind}_file")]).arg(scenario.with_extension(kind));
        }
        command
    }
}

/// A scenario with its parts and words filled in.
fn read(name: &str, words: &Words) -> Result<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("neighbours/sipp");
    let load = |name: String| fs::read_to_string(folder.join(&name)).with_context(|| name);
    let mut rest = load(format!("{name}.xml"))?;
    for (word, value) in words {
        rest = rest.replace(word, value);
    }
    let mut text = String::new();
    while let Some((before, after)) = rest.split_once("<?use ") {
        let (this, after) = after.split_once("?>").context("a part without end")?;
        let (part, keys) = this.split_once(' ').unwrap_or((this, ""));
        let mut lines: Vec<String> = load(format!("parts/{part}.xml"))?.lines().map(str::to_owned).collect();
        for (key, value) in keys.split(" | ").filter_map(|pair| pair.trim_start().split_once('=')) {
            lines.retain(|line| line != key || !value.is_empty());
            for line in &mut lines {
                *line = line.replace(key, &value.replace("\\n", "\n"));
            }
        }
        text.push_str(before);
        text.push_str(&lines.join("\n"));
        for (word, value) in words {
            text = text.replace(word, value);
        }
        rest = after.to_owned();
    }
    Ok(text + &rest)
}

/// An address in a regular expression.
fn pattern(ip: IpAddr) -> String {
    ip.to_string().replace('.', "\\.")
}

/// Does a process listen there? Asked of the kernel, as SIPp does not say and a probe would be a call to it.
fn listens(address: SocketAddr, transport: Transport) -> bool {
    let IpAddr::V4(ip) = address.ip() else { return false };
    let (table, state) = if transport == Transport::Tcp { ("tcp", " 0A ") } else { ("udp", " 07 ") };
    let local = format!("{:08X}:{:04X} ", u32::from_ne_bytes(ip.octets()), address.port());
    let table = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
    table.lines().any(|line| line.contains(&local) && line.contains(state))
}

/// What SIPp wrote about a run.
fn told(directory: &Directory, name: &str) -> String {
    let read =
        |kind: &str| fs::read_to_string(directory.0.join(name).with_extension(kind)).unwrap_or_default();
    format!("--- {name}\n{}\n{}\n", read("error"), read("message"))
}
