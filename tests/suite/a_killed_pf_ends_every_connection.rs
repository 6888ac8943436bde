//! With the fast path, `pf` that is killed leaves its sockets to the kernel, which counts other positions than the
//! peers. All the same every peer sees the end of its connection at once, whole messages before it, and a new process
//! finds nothing of the old one in its way.

use std::{fs, path::PathBuf, time::Instant};

use anyhow::{Context, Result, ensure};
use lab::{
    actor::{Call, Scene, SceneOptions},
    msrp::{Incoming, Outgoing},
    wait::{SOON, until},
};

use crate::fast::{Hogs, PAUSE, diagnosis, fast, open_minded, rounds, shares};

fn hello(number: usize) -> Outgoing {
    let text = format!("message {number} {}", "x".repeat(number * 53 % 700));
    Outgoing { explicit_end: true, ..Outgoing::chat(Scene::ALICE, Scene::BOB, &text) }
}

/// The originator talks until most of it stays in the kernel.
pub(crate) async fn in_the_kernel(scene: &Scene, a: &Call) -> Result<Vec<Outgoing>> {
    let mut sent = Vec::new();
    for _ in rounds() {
        let (before, _) = shares(scene)?;
        for _ in 0..40 {
            let message = hello(sent.len());
            a.media.send(&message).await?.accepted(SOON).await?;
            sent.push(message);
        }
        if shares(scene)?.0 - before >= 32 {
            return Ok(sent);
        }
        tokio::time::sleep(PAUSE).await;
    }
    anyhow::bail!("not in the kernel\n{}", diagnosis(scene))
}

/// A beginning of what was said, octet by octet, and the end of the connection; how much.
async fn heard(call: &mut Call, sent: &[Outgoing]) -> Result<usize> {
    let name = call.party.name.clone();
    for count in 0..=sent.len() {
        match (call.media.next(SOON).await.with_context(|| name.clone())?, sent.get(count)) {
            (Incoming::Closed(_), _) => return Ok(count),
            (Incoming::Message(got), Some(message)) => {
                ensure!(got.message_id == message.message_id, "{name}: another message than {count}");
                ensure!(got.body == message.body, "{name}: message {count} altered");
            }
            (other, _) => anyhow::bail!("{name}: {other:?}"),
        }
    }
    anyhow::bail!("{name}: more than was said")
}

/// The processes of `pf` beside the first one.
pub(crate) fn helpers(of: u32) -> Result<Vec<PathBuf>> {
    let mut helpers = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let Ok(stat) = fs::read_to_string(path.join("stat")) else { continue };
        // Behind the name in brackets: state, parent.
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        if parent == Some(of.to_string().as_str()) {
            helpers.push(path);
        }
    }
    Ok(helpers)
}

async fn killed(talking: bool, busy: bool) -> Result<()> {
    let Some(mut scene) = fast(SceneOptions::default()).await? else { return Ok(()) };
    let _hogs = busy.then(Hogs::start);
    let (mut a, mut far, mut others) = scene.full_call_with(&open_minded()).await?;
    let mut sent = in_the_kernel(&scene, &a).await?;
    let acknowledged = sent.len();
    if talking {
        // These may be anywhere.
        for number in 0..50 {
            let message = hello(1_000 + number);
            let _answers = a.media.send(&message).await?;
            sent.push(message);
        }
    }
    let helpers = helpers(scene.pf.pid().context("it runs")?)?;
    ensure!(helpers.len() == 1, "{helpers:?}");
    scene.pf.kill()?;
    let killed = Instant::now();
    while !matches!(a.media.next(SOON).await?, Incoming::Closed(_)) {}
    for call in [&mut far].into_iter().chain(&mut others) {
        let count = heard(call, &sent).await?;
        ensure!(count >= acknowledged || talking, "{}: {count} of {acknowledged}", call.party.name);
    }
    ensure!(killed.elapsed() < SOON / 2, "noticed after {:?}", killed.elapsed());
    // The new one does not wait for what is left of the old one.
    scene.pf.restart().context("starting anew")?;
    for device in &mut scene.devices {
        device.register().await?;
    }
    let (a, mut far, mut others) = scene.full_call_with(&open_minded()).await?;
    let sent = in_the_kernel(&scene, &a).await?;
    for call in [&mut far].into_iter().chain(&mut others) {
        for message in &sent {
            ensure!(call.media.message(SOON).await?.body == message.body, "{}", call.party.name);
        }
    }
    until(SOON, "the end of the old programs", || helpers.iter().all(|path| !path.exists())).await?;
    let sent = in_the_kernel(&scene, &a).await.context("without the old programs")?;
    for message in &sent {
        ensure!(far.media.message(SOON).await?.body == message.body, "FAR");
    }
    Ok(())
}

#[tokio::test]
async fn a_killed_pf_ends_every_connection() -> Result<()> {
    killed(false, false).await
}

#[tokio::test]
async fn a_pf_that_is_killed_while_messages_flow_ends_every_connection() -> Result<()> {
    killed(true, false).await
}

#[tokio::test]
async fn a_killed_pf_ends_every_connection_on_a_busy_machine() -> Result<()> {
    killed(false, true).await
}

#[tokio::test]
async fn a_pf_that_is_killed_while_messages_flow_on_a_busy_machine_ends_every_connection() -> Result<()> {
    killed(true, true).await
}

#[tokio::test]
async fn a_pf_that_is_stopped_leaves_no_process() -> Result<()> {
    let Some(mut scene) = fast(SceneOptions::default()).await? else { return Ok(()) };
    let (a, _far, _others) = scene.full_call_with(&open_minded()).await?;
    in_the_kernel(&scene, &a).await?;
    let helpers = helpers(scene.pf.pid().context("it runs")?)?;
    ensure!(helpers.len() == 1, "{helpers:?}");
    scene.pf.stop()?;
    ensure!(helpers.iter().all(|path| !path.exists()), "{helpers:?}");
    Ok(())
}
