//! While a chat runs in the kernel, an operator sees where everything stands, and what is changed counts at once.

use anyhow::{Context, Result, ensure};
use lab::{
    actor::{Call, Scene, SceneOptions},
    msrp::Outgoing,
    net::Place,
    pf::{Pf, PfOptions},
    wait::{SOON, until},
};
use serde_json::Value;

use crate::fast::{PAUSE, diagnosis, fast, open_minded, rounds, shares};

/// Messages of the originator, one after the other, that the far end and the devices get.
async fn chat(a: &Call, hearers: &mut [&mut Call], times: usize) -> Result<()> {
    for number in 0..times {
        let text = format!("message {number}");
        let message = Outgoing { explicit_end: true, ..Outgoing::chat(Scene::ALICE, Scene::BOB, &text) };
        a.media.send(&message).await?.accepted(SOON).await?;
        for hearer in hearers.iter_mut() {
            ensure!(hearer.media.message(SOON).await?.message_id == message.message_id);
        }
    }
    Ok(())
}

/// A scene with two more devices, whose chat runs in the kernel.
async fn running(datapath: &str) -> Result<Option<(Scene, Call, Call, Vec<Call>)>> {
    let options = SceneOptions { datapath: datapath.to_owned(), ..SceneOptions::default() };
    let Some(scene) = fast(options).await? else { return Ok(None) };
    let (a, mut far, mut others) = scene.full_call_with(&open_minded()).await?;
    let mut hearers: Vec<&mut Call> = [&mut far].into_iter().chain(&mut others).collect();
    // On a busy machine the first connection to settle may take a while.
    for _ in rounds() {
        chat(&a, &mut hearers, 20).await?;
        if shares(&scene)?.0 > 0 {
            return Ok(Some((scene, a, far, others)));
        }
        tokio::time::sleep(PAUSE).await;
    }
    anyhow::bail!("nothing in the kernel\n{}", diagnosis(&scene));
}

fn json(pf: &Pf, arguments: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&pf.cli(&[arguments, &["--json"]].concat())?)?)
}

/// SENDs that the kernel carried meanwhile, and those in userspace for this reason.
fn counted(scene: &Scene, why: &str) -> Result<(u64, u64)> {
    let path = scene.pf.cli_json("stats")?["fast_path"].clone();
    let kernel = path["sends_in_kernel"].as_u64().context("no count")?;
    Ok((kernel, path["sends_in_userspace"][why].as_u64().unwrap_or(0)))
}

fn rows(value: &Value) -> Result<&Vec<Value>> {
    value.as_array().context("no list")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_map_is_shown_decoded() -> Result<()> {
    let Some((scene, a, mut far, _others)) = running("").await? else { return Ok(()) };
    let pf = &scene.pf;
    let maps = json(pf, &["maps"])?;
    let used = |name: &str| -> Result<Value> {
        let map = rows(&maps)?.iter().find(|map| map["name"] == name).context(name.to_owned())?;
        ensure!(map["memory_octets"].as_u64() > Some(0), "{map}");
        Ok(map["used_entries"].clone())
    };
    for name in ["FLOWS", "CONNECTIONS", "SESSIONS", "LEGS"] {
        ensure!(used(name)? == 4, "{name}\n{maps:#}");
    }
    for name in ["LOG", "CONTROL", "SPLICE_COUNTS", "SCRATCH"] {
        used(name)?;
    }

    // A peer's flow leads to its connection, its session to its leg, its leg to those who get its messages.
    let flows = json(pf, &["maps", "dump", "flows"])?;
    ensure!(rows(&flows)?.len() == 4, "{flows:#}");
    let legs = json(pf, &["legs"])?;
    let originator =
        rows(&legs)?.iter().find(|leg| leg["role"] == "Originator" || leg["role"] == "originator");
    let originator = originator.with_context(|| format!("{legs:#}"))?;
    let peer = originator["peer"].as_str().context("no peer")?;
    let flow = json(pf, &["maps", "entry", "FLOWS", peer])?;
    ensure!(rows(&flow)?.len() == 1 && flow[0]["remote"] == peer, "{flow:#}");
    let connection = json(pf, &["maps", "entry", "connections", &flow[0]["connection"].to_string()])?;
    ensure!(connection[0]["peer"] == peer && connection[0]["source"] == "fast", "{connection:#}");
    let sessions = json(pf, &["maps", "dump", "sessions"])?;
    let session = rows(&sessions)?.iter().find(|row| row["connection"] == flow[0]["connection"]);
    let session = session.with_context(|| format!("{sessions:#}"))?;
    let leg = json(pf, &["maps", "entry", "legs", &session["leg"].to_string()])?;
    let sends_to = leg[0]["sends_to"].as_str().unwrap_or_default().split(',').count();
    ensure!(sends_to == 3, "far end and two devices\n{leg:#}");
    let (id, block) = (session["session"].as_str().context("no id")?, leg[0]["in_block"].as_str());
    let block = block.context("no block")?;
    ensure!(block.starts_with("To-Path: msrp://") && block.contains(id) && block.contains("From-Path: "));

    // What is counted grows by what is said.
    let consumed = || {
        Ok::<_, anyhow::Error>(json(pf, &["maps", "entry", "counts", "total/consumed"])?[0]["count"].clone())
    };
    let before = consumed()?.as_u64().context("no count")?;
    chat(&a, &mut [&mut far], 10).await?;
    let after = consumed()?.as_u64().context("no count")?;
    ensure!(after >= before + 20, "ten SENDs and their answers: {before} to {after}");
    ensure!(json(pf, &["maps", "dump", "log"])?[0]["octets"] == 32 << 20);
    ensure!(!rows(&json(pf, &["maps", "dump", "control"])?)?.is_empty());
    ensure!(pf.cli(&["maps", "dump", "legs"])?.contains("To-Path: msrp://"));

    // Each leg: path, in flight, injected and acknowledged, and why it left.
    let path =
        &rows(&json(pf, &["legs"])?)?.iter().find(|leg| leg["peer"] == peer).context("no leg")?["path"]
            .clone();
    ensure!(path["source"] == "fast" && path["injected"].as_u64() >= Some(10), "{path:#}");
    ensure!(path["acknowledged"].as_u64() > Some(0) && path["left"].is_object(), "{path:#}");

    // Errors say what there is.
    let error = pf.cli(&["maps", "entry", "legs", "4711"]).err().context("no error")?.to_string();
    ensure!(error.contains("LEGS has no entry `4711`") && error.contains("it has 0, 1, 2, 3"), "{error}");
    let error = pf.cli(&["maps", "dump", "secrets"]).err().context("no error")?.to_string();
    ensure!(error.contains("sessions"), "{error}");
    let error = pf.cli(&["maps", "dump", "guard-counts"]).err().context("no error")?.to_string();
    ensure!(error.contains("there is no map GUARD_COUNTS") && error.contains("FLOWS"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_copies_send_a_living_session_to_userspace() -> Result<()> {
    let Some((scene, a, mut far, mut others)) = running("").await? else { return Ok(()) };
    let mut hearers: Vec<&mut Call> = [&mut far].into_iter().chain(&mut others).collect();
    ensure!(scene.pf.cli(&["maps", "set", "datapath.fan_out", "2"])?.contains("15 -> 2"));
    let (kernel, many) = counted(&scene, "many-legs")?;
    chat(&a, &mut hearers, 20).await?;
    let (kernel_now, many_now) = counted(&scene, "many-legs")?;
    ensure!((kernel_now, many_now) == (kernel, many + 20), "{}", diagnosis(&scene));
    // And back.
    scene.pf.cli(&["maps", "set", "datapath.fan_out", "3"])?;
    chat(&a, &mut hearers, 40).await?;
    let (kernel_now, _) = counted(&scene, "many-legs")?;
    ensure!(kernel_now > kernel + 20, "{}", diagnosis(&scene));
    for bad in [["datapath.fan_out", "0"], ["datapath.fan_out", "16"], ["datapath.backoff_ms", "3000"]] {
        let error = scene.pf.cli(&["maps", "set", bad[0], bad[1]]).err().context("no error")?.to_string();
        ensure!(error.contains(bad[0]), "{error}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn how_long_a_peer_stays_in_userspace_is_changed_at_once() -> Result<()> {
    let Some((scene, a, mut far, _others)) = running("").await? else { return Ok(()) };
    for (key, value) in [
        ("datapath.backoff_max_ms", "600000"),
        ("datapath.backoff_ms", "60000"),
        ("datapath.backoff_octets", "16777216"),
    ] {
        scene.pf.cli(&["maps", "set", key, value])?;
    }
    chat(&a, &mut [&mut far], 5).await?;
    // One that the kernel does not carry.
    let odd =
        Outgoing { failure_report: Some("no".to_owned()), ..Outgoing::chat(Scene::ALICE, Scene::BOB, "odd") };
    a.media.send(&odd).await?;
    ensure!(far.media.message(SOON).await?.message_id == odd.message_id);
    let (kernel, passed) = shares(&scene)?;
    chat(&a, &mut [&mut far], 20).await?;
    ensure!(shares(&scene)? == (kernel, passed + 20), "{}", diagnosis(&scene));
    // Whoever waits by the old rule waits no longer.
    scene.pf.cli(&["maps", "set", "datapath.backoff_octets", "0"])?;
    for _ in rounds() {
        chat(&a, &mut [&mut far], 40).await?;
        if shares(&scene)?.0 > kernel + 20 {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    anyhow::bail!("it still waits\n{}", diagnosis(&scene))
}

#[tokio::test(flavor = "multi_thread")]
async fn how_much_may_be_in_flight_is_changed_at_once() -> Result<()> {
    let Some((scene, a, mut far, _others)) = running("in_flight_segments = 64").await? else { return Ok(()) };
    let over = || -> Result<u64> {
        let entry = json(&scene.pf, &["maps", "entry", "counts", "left-or-missed/leg-cap"])?;
        entry[0]["count"].as_u64().context("no count")
    };
    // Several messages at once, each of most of a segment.
    let burst = async |far: &mut Call| -> Result<()> {
        let mut sending = Vec::new();
        for number in 0..8 {
            let text = format!("{number} {}", "x".repeat(800));
            let message = Outgoing { explicit_end: true, ..Outgoing::chat(Scene::ALICE, Scene::BOB, &text) };
            sending.push(a.media.send(&message).await?);
        }
        for sending in sending {
            sending.accepted(SOON).await?;
            far.media.message(SOON).await?;
        }
        Ok(())
    };
    for _ in 0..5 {
        burst(&mut far).await?;
        chat(&a, &mut [&mut far], 5).await?;
    }
    ensure!(over()? == 0, "{}", diagnosis(&scene));
    ensure!(scene.pf.cli(&["maps", "set", "datapath.in_flight_segments", "1"])?.contains("64 -> 1"));
    for _ in rounds() {
        burst(&mut far).await?;
        chat(&a, &mut [&mut far], 5).await?;
        if over()? > 0 {
            return Ok(());
        }
    }
    anyhow::bail!("no leg was ever too full\n{}", diagnosis(&scene));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_programs_are_measured_while_somebody_wants_to_know() -> Result<()> {
    let Some((scene, a, mut far, _others)) = running("").await? else { return Ok(()) };
    let pf = &scene.pf;
    let runs = || -> Result<u64> {
        let stats = pf.cli_json("stats")?;
        let program =
            rows(&stats["programs"])?.iter().find(|program| program["name"] == "pf_ingress").cloned();
        let program = program.with_context(|| format!("{stats:#}"))?;
        ensure!(program["verified_instructions"].as_u64() > Some(0), "{program}");
        program["runs"].as_u64().context("no runs")
    };
    let before = runs()?;
    ensure!(pf.cli(&["maps", "set", "datapath.statistics", "on"])?.contains("0 -> 1"));
    chat(&a, &mut [&mut far], 20).await?;
    let measured = runs()?;
    ensure!(measured >= before + 20, "{before} to {measured}");
    let text = pf.cli(&["stats"])?;
    ensure!(text.contains("CPU of pf_ingress") && text.contains("ns each"), "{text}");
    let first = text.lines().nth(1).unwrap_or_default();
    ensure!(first.starts_with("SENDs through the kernel") && first.ends_with('%'), "{text}");
    pf.cli(&["maps", "set", "datapath.statistics", "off"])?;
    Ok(())
}

/// What `pf` says of its fast path where `under` keeps something from it, and what it does if it must have one.
async fn without(under: &[&str], missing: &str) -> Result<()> {
    let mut options = PfOptions::new(&Place::loopback(1));
    options.under = under.iter().map(ToString::to_string).collect();
    options.fast_path = "auto";
    let pf = Pf::start(&options)?;
    until(SOON, "a line about the fast path", || pf.log().contains("fast path")).await?;
    let log = pf.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("fast path")).collect();
    ensure!(lines.len() == 1 && lines[0].contains("fast path: off") && lines[0].contains(missing), "{log}");
    let path = pf.cli_json("stats")?["fast_path"].clone();
    ensure!(
        path["available"] == false && path["missing"].as_str().is_some_and(|why| why.contains(missing)),
        "{path}"
    );
    let error = pf.cli(&["maps", "set", "datapath.fan_out", "2"]).err().context("no error")?.to_string();
    ensure!(error.contains("there is no fast path"), "{error}");
    drop(pf);
    options.fast_path = "required";
    let error = format!("{:#}", Pf::start(&options).err().context("it has started")?);
    ensure!(error.contains("cannot be had") && error.contains(missing), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_told_in_one_line() -> Result<()> {
    // SAFETY: no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        // There is nothing that could be taken away.
        return without(&[], "").await;
    }
    let built = Pf::start(&PfOptions { fast_path: "auto", ..PfOptions::new(&Place::loopback(1)) })?;
    until(SOON, "a line about the fast path", || built.log().contains("fast path")).await?;
    if built.log().contains("has no kernel programs") {
        return without(&[], "has no kernel programs").await;
    }
    drop(built);
    without(&["setarch", "--uname-2.6"], "is too old for the fast path: it needs 6.8 or later").await?;
    without(&["setpriv", "--bounding-set=-bpf,-sys_admin"], "CAP_BPF").await?;
    without(&["setpriv", "--bounding-set=-net_admin"], "CAP_NET_ADMIN").await
}
