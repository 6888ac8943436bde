//! The demo: a user's devices, a far end and `pf`, each on its own host of a network of namespaces.
//!
//! UE-A sends messages to the far end. UE-B gets every one of them, UE-C stops reading half-way, UE-D is busy.
//! Whatever UE-C and UE-D do, the far end and UE-B must get everything, once, in order and unchanged.

mod kernel;
mod message;
mod receiver;
mod report;
mod sender;

use std::{
    io::Write,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;
use tokio::task::JoinHandle;

use crate::{
    actor::{Call, Device, Invited, Party, Ue},
    ladder,
    net::{Host, Network, Place},
    pf::{Pf, PfOptions},
    sip::Transport,
    trace::Trace,
    wait::{SOON, within},
};

use message::Script;
use receiver::{Part, Tally, receive};
use report::{Line, Report};

/// Shows a user's devices, a far end and pf at work in network namespaces of their own. Needs root and `ip`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// How many messages UE-A sends
    #[arg(long, default_value_t = 1_000)]
    messages: usize,
    /// How many short ones it sends before them, as in a chat: one when the one before is answered
    #[arg(long, default_value_t = 1_000)]
    chat: usize,
    /// The in-kernel path: off, auto, or both one after the other
    #[arg(long, default_value = "both", value_parser = ["both", "off", "auto"])]
    fast_path: String,
    /// Seed of sizes and contents
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Everything over IPv6
    #[arg(long)]
    ipv6: bool,
    /// SIP over TCP instead of UDP
    #[arg(long)]
    tcp: bool,
    /// Where the ladder diagram goes
    #[arg(long, default_value = "target/demo/ladder.svg")]
    svg: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const ALICE: &str = "sip:alice@example.org";
const BOB: &str = "sip:bob@far.example.net";
/// Messages that may wait for their answers at the same time, before the chat.
const WINDOW: usize = 8;
/// No progress for so long means that messages are lost.
const STUCK: Duration = Duration::from_secs(60);

/// Runs the demo. `false` if anything was lost, duplicated, reordered or altered.
pub async fn run(arguments: Arguments, out: &mut dyn Write) -> Result<bool> {
    tokio::select! {
        outcome = demo(&arguments, out) => outcome,
        // Returning drops pf and the namespaces, so that nothing stays behind.
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
    }
}

async fn demo(arguments: &Arguments, out: &mut dyn Write) -> Result<bool> {
    let paths: &[&'static str] = match arguments.fast_path.as_str() {
        "off" => &["off"],
        "auto" => &["auto"],
        _ => &["off", "auto"],
    };
    let mut reports = Vec::new();
    for (number, fast_path) in paths.iter().enumerate() {
        if !arguments.json {
            let gap = if number > 0 { "\n" } else { "" };
            writeln!(out, "{gap}== fast_path = \"{fast_path}\"")?;
        }
        let report = act(arguments, fast_path, out).await?;
        if !arguments.json {
            report.write(out)?;
        }
        reports.push(report);
    }
    if arguments.json {
        serde_json::to_writer_pretty(&mut *out, &reports)?;
        writeln!(out)?;
    }
    Ok(reports.iter().all(Report::good))
}

/// The whole of it once.
async fn act(arguments: &Arguments, fast_path: &'static str, out: &mut dyn Write) -> Result<Report> {
    let mut say = |text: String| -> Result<()> {
        if !arguments.json {
            writeln!(out, "{text}")?;
            out.flush()?;
        }
        Ok(())
    };
    // Enough MSRP for the diagram to show how a session begins.
    let trace = Trace::new(24);
    let stage = Stage::build(arguments, fast_path, &trace).await?;
    say(format!(
        "pf runs at {} (SIP) and {} (MSRP); {} devices of {ALICE} are registered",
        stage.pf.sip[0].1,
        stage.pf.msrp[0],
        stage.devices.len()
    ))?;

    let script = Arc::new(Script::new(arguments.seed, arguments.messages, arguments.chat));
    say(format!(
        "UE-A chats with {BOB}: {} short messages, one at a time; then it sends {} of 20 B to 200 KB, {WINDOW} at a time; \
         {:.1} MB in all",
        script.chat(),
        script.len() - script.chat(),
        script.octets() as f64 / 1e6
    ))?;
    let mut acts = stage.invite(&script).await?;
    say("the far end, UE-B and UE-C have accepted; UE-D is busy (486)".to_owned())?;

    let begin = Instant::now();
    let chatted = tokio::select! {
        sent = sender::send(&acts.a.media, &script, 0..script.chat(), 1, &mut say) => sent?,
        () = acts.broken() => anyhow::bail!("a receiver ended early"),
    };
    // The kernel's share is entered a moment later.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let chat = kernel::carried(&stage.pf)?;
    say(format!("\nafter the chat `pf legs` shows:\n\n{}", stage.pf.cli(&["legs"])?))?;
    say(format!("and `pf stats`:\n\n{}", stage.pf.cli(&["stats"])?))?;
    let sent = tokio::select! {
        sent = sender::send(&acts.a.media, &script, script.chat()..script.len(), WINDOW, &mut say) => sent?,
        () = acts.broken() => anyhow::bail!("a receiver ended early"),
    };
    let far = finish(&mut acts.far).await?;
    let b = finish(&mut acts.b).await?;
    let seconds = begin.elapsed().as_secs_f64();
    say(format!("all sent in {seconds:.1} s; what `pf sessions` shows now:\n"))?;
    say(stage.pf.cli(&["sessions"])?)?;
    let after = kernel::carried(&stage.pf)?;
    say("UE-A hangs up".to_owned())?;

    let c = finish(&mut acts.c).await?;
    acts.a.hang_up().await.context("UE-A's BYE")?;
    for (name, task) in acts.byes {
        within(SOON, &format!("BYE at {name}"), async { task.await? }).await?;
    }

    let mut pf = stage.pf;
    let stopped = pf.stop().err().map(|error| format!("{error:#}"));
    let mut lines = vec![
        Line::new("FAR", "200", &far.tally, script.len(), true),
        Line::new("UE-B", "200", &b.tally, script.len(), true),
        Line::new("UE-C", "200, stops reading half-way", &c.tally, script.len(), false),
        Line::new("UE-D", "486", &Tally::default(), 0, true),
    ];
    for line in &mut lines {
        line.in_kernel(after.get(line.device).copied(), chat.get(line.device).copied());
    }
    let svg = ladder::draw(
        &trace,
        &["UE-A", "pf", "FAR", "UE-B", "UE-C", "UE-D"],
        "One session: the first messages of the demo",
    );
    if let Some(directory) = arguments.svg.parent() {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::write(&arguments.svg, svg).with_context(|| format!("writing {}", arguments.svg.display()))?;
    Ok(Report {
        fast_path,
        messages: script.len(),
        octets: script.octets(),
        seconds,
        accepted: sent.accepted + chatted.accepted,
        devices: lines,
        ladder: arguments.svg.display().to_string(),
        fault: stopped,
    })
}

async fn finish(task: &mut JoinHandle<Part>) -> Result<Part> {
    within(STUCK, "a receiver", async { Ok(task.await?) }).await
}

/// The network and everybody in it.
struct Stage {
    pf: Pf,
    far: Party,
    devices: Vec<Ue>,
    // Holds the namespaces.
    _network: Network,
}

/// A session with everybody.
struct Acts {
    a: Call,
    far: JoinHandle<Part>,
    b: JoinHandle<Part>,
    c: JoinHandle<Part>,
    byes: Vec<(&'static str, JoinHandle<Result<()>>)>,
}

impl Acts {
    /// Returns when a receiver that must get everything has given up.
    async fn broken(&self) {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            // A receiver that has got everything ends too, but only when the sender is all but done.
            if self.far.is_finished() || self.b.is_finished() {
                tokio::time::sleep(Duration::from_secs(5)).await;
                return;
            }
        }
    }
}

impl Stage {
    async fn build(arguments: &Arguments, fast_path: &'static str, trace: &Trace) -> Result<Stage> {
        let mut network = Network::new()?;
        let place = |host: Host| -> Place { if arguments.ipv6 { host.v6 } else { host.v4 } };
        let transport = if arguments.tcp { Transport::Tcp } else { Transport::Udp };
        let home = place(network.host("pf")?);
        let far_host = place(network.host("far")?);
        let far = Party::start("FAR", &far_host, transport, BOB, trace)?;
        let mut options = PfOptions::new(&home);
        options.fast_path = fast_path;
        options.core = Some(far.agent.local());
        options.trusted = vec![far_host.ip];
        let pf = Pf::start(&options)?;
        trace.name_host(home.ip, "pf");
        let proxy = pf.sip_address(transport, home.ip)?;
        let mut devices = Vec::new();
        for name in ["UE-A", "UE-B", "UE-C", "UE-D"] {
            let host = place(network.host(name)?);
            let device = Device { transport, ..Device::of_alice(&format!("Alice's {name}")) };
            let mut ue = Ue::start(name, &host, device, proxy, trace)?;
            if name == "UE-C" {
                // A small window: the device that stops reading is felt at once.
                ue.receive_buffer = Some(16 << 10);
            }
            ue.register().await?;
            devices.push(ue);
        }
        Ok(Stage { pf, far, devices, _network: network })
    }

    async fn invite(&self, script: &Arc<Script>) -> Result<Acts> {
        let calling = self.devices[0].invite(BOB).await?;
        let far = self.far.invited(SOON).await?.accept().await?;
        let a = calling.answered(SOON).await.context("UE-A's INVITE")?;
        let invited = |number: usize| async move {
            let device: &Ue = &self.devices[number];
            device.invited(SOON).await.with_context(|| format!("INVITE to {}", device.name))
        };
        let (b, c, d): (Invited, Invited, Invited) = tokio::try_join!(invited(1), invited(2), invited(3))?;
        d.refuse(486, "Busy Here").await?;
        let (b, c) = (b.accept().await?, c.accept().await?);
        for (name, call) in [("UE-A", &a), ("FAR", &far), ("UE-B", &b), ("UE-C", &c)] {
            call.media.ready(SOON).await.with_context(|| format!("media of {name}"))?;
        }
        let half = script.chat() + (script.len() - script.chat()) / 2;
        let (mut byes, mut tasks) = (Vec::new(), Vec::new());
        for (name, call) in [("FAR", far), ("UE-B", b), ("UE-C", c)] {
            let Call { mut dialog, media, .. } = call;
            byes.push((
                name,
                tokio::spawn(async move {
                    let bye = dialog.expect("BYE", STUCK * 10).await?;
                    bye.answer(200, "OK").await
                }),
            ));
            let stop_after = (name == "UE-C").then_some(half);
            tasks.push(tokio::spawn(receive(media, script.clone(), stop_after)));
        }
        let (c, b, far) = (tasks.pop(), tasks.pop(), tasks.pop());
        let missing = "a receiver";
        Ok(Acts { a, far: far.context(missing)?, b: b.context(missing)?, c: c.context(missing)?, byes })
    }
}
