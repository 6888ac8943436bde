//! A peer that writes several messages at once is cheaper in userspace: the kernel's programs do not even know its
//! connections. Whoever writes one message at a time is theirs, from the third on.

use anyhow::{Context, Result, ensure};
use lab::{
    actor::{Call, Scene, SceneOptions},
    msrp::Outgoing,
    wait::SOON,
};
use serde_json::Value;

use crate::fast::{PAUSE, diagnosis, fast, open_minded, rounds};

/// How many come at once.
const TOGETHER: usize = 8;

fn hello(number: usize) -> Outgoing {
    Outgoing { explicit_end: true, ..Outgoing::chat(Scene::ALICE, Scene::BOB, &format!("message {number}")) }
}

/// So many times, the originator sends messages together; everybody gets all of them.
async fn bursts(a: &Call, hearers: &mut [&mut Call], times: usize, together: usize) -> Result<()> {
    for _ in 0..times {
        let messages: Vec<Outgoing> = (0..together).map(hello).collect();
        for sending in a.media.send_together(&messages).await? {
            sending.accepted(SOON).await?;
        }
        for hearer in hearers.iter_mut() {
            for message in &messages {
                ensure!(hearer.media.message(SOON).await?.message_id == message.message_id);
            }
        }
    }
    Ok(())
}

fn path(scene: &Scene) -> Result<Value> {
    Ok(scene.pf.cli_json("stats")?["fast_path"].clone())
}

fn count(path: &Value, what: &str) -> Result<u64> {
    path[what].as_u64().with_context(|| format!("no {what}"))
}

#[tokio::test]
async fn who_writes_several_at_once_is_userspaces() -> Result<()> {
    let Some(scene) = fast(SceneOptions::default()).await? else { return Ok(()) };
    let (a, mut far, mut others) = scene.full_call_with(&open_minded()).await?;
    let mut hearers: Vec<&mut Call> = [&mut far].into_iter().chain(&mut others).collect();
    bursts(&a, &mut hearers, 10, TOGETHER).await?;
    let seen = path(&scene)?;
    let unknown = count(&seen, "connections")? == 0 && count(&seen, "sends_in_kernel")? == 0;
    ensure!(unknown, "{}", diagnosis(&scene));
    // Nobody knew at first.
    let reasons = &seen["sends_in_userspace"];
    let pipelined = reasons["pipelined"].as_u64().unwrap_or(0) + reasons["new"].as_u64().unwrap_or(0);
    ensure!(pipelined == 80 && reasons["pipelined"].as_u64() > Some(60), "{}", diagnosis(&scene));
    // Two would have been enough of a peer that never wrote otherwise; now eight are wanted.
    bursts(&a, &mut hearers, 7, 1).await?;
    ensure!(count(&path(&scene)?, "connections")? == 0, "{}", diagnosis(&scene));
    for _ in rounds() {
        bursts(&a, &mut hearers, 20, 1).await?;
        if count(&path(&scene)?, "sends_in_kernel")? > 0 {
            return scene.verify();
        }
        tokio::time::sleep(PAUSE).await;
    }
    anyhow::bail!("nothing in the kernel\n{}", diagnosis(&scene))
}

#[tokio::test]
async fn who_writes_one_at_a_time_is_the_kernels_soon() -> Result<()> {
    let Some(scene) = fast(SceneOptions::default()).await? else { return Ok(()) };
    let (a, mut far, mut others) = scene.full_call_with(&open_minded()).await?;
    let mut hearers: Vec<&mut Call> = [&mut far].into_iter().chain(&mut others).collect();
    bursts(&a, &mut hearers, 1, 1).await?;
    ensure!(count(&path(&scene)?, "connections")? == 0, "{}", diagnosis(&scene));
    for _ in rounds() {
        bursts(&a, &mut hearers, 1, 1).await?;
        if count(&path(&scene)?, "connections")? == 4 {
            return scene.verify();
        }
        tokio::time::sleep(PAUSE).await;
    }
    anyhow::bail!("its connections are not known\n{}", diagnosis(&scene))
}

#[tokio::test]
async fn an_operator_may_have_every_session_in_the_kernel_at_once() -> Result<()> {
    let datapath = "single_messages = 1000".to_owned();
    let Some(scene) = fast(SceneOptions { datapath, ..SceneOptions::default() }).await? else {
        return Ok(());
    };
    let (a, mut far, _others) = scene.full_call_with(&open_minded()).await?;
    bursts(&a, &mut [&mut far], 5, TOGETHER).await?;
    bursts(&a, &mut [&mut far], 20, 1).await?;
    ensure!(count(&path(&scene)?, "connections")? == 0, "{}", diagnosis(&scene));
    scene.pf.cli(&["maps", "set", "datapath.single_messages", "0"])?;
    for _ in rounds() {
        if count(&path(&scene)?, "connections")? == 4 {
            return scene.verify();
        }
        tokio::time::sleep(PAUSE).await;
    }
    anyhow::bail!("its connections are not known\n{}", diagnosis(&scene))
}
