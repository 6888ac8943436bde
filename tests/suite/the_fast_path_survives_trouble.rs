//! With the fast path, what goes wrong on one leg is that leg's own trouble, as it is without.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use lab::{
    actor::{Call, Scene, SceneOptions},
    msrp::Outgoing,
    wait::{QUIET, SOON},
};

use crate::fast::{diagnosis, fast, open_minded, rounds, shares};

fn hello(number: usize) -> Outgoing {
    let text = format!("message {number} {}", "x".repeat(number * 53 % 900));
    Outgoing { explicit_end: true, ..Outgoing::chat(Scene::ALICE, Scene::BOB, &text) }
}

/// The originator says so many things, one after the other.
async fn says(scene: &Scene, a: &Call, numbers: std::ops::Range<usize>) -> Result<Vec<Outgoing>> {
    let mut sent = Vec::new();
    for number in numbers {
        let message = hello(number);
        let sending = a.media.send(&message).await?;
        sending.accepted(SOON).await.with_context(|| format!("message {number}\n{}", diagnosis(scene)))?;
        sent.push(message);
    }
    Ok(sent)
}

async fn got(scene: &Scene, call: &mut Call, sent: &[Outgoing]) -> Result<()> {
    for (number, message) in sent.iter().enumerate() {
        let name = call.party.name.clone();
        let got = call.media.message(SOON).await;
        let got = got.with_context(|| format!("{name}: message {number}\n{}", diagnosis(scene)))?;
        ensure!(got.message_id == message.message_id && got.body == message.body, "{name}: message {number}");
    }
    call.media.quiet(QUIET / 4).await
}

/// A scene in namespaces whose chat runs in the kernel.
async fn running() -> Result<Option<(Scene, Call, Call, Vec<Call>)>> {
    let Some(scene) = fast(SceneOptions::default()).await? else { return Ok(None) };
    let (a, mut far, mut others) = scene.full_call_with(&open_minded()).await?;
    for _ in rounds() {
        let warm = says(&scene, &a, 0..10).await?;
        got(&scene, &mut far, &warm).await?;
        for other in &mut others {
            got(&scene, other, &warm).await?;
        }
        if shares(&scene)?.0 > 0 {
            return Ok(Some((scene, a, far, others)));
        }
    }
    anyhow::bail!("nothing in the kernel\n{}", diagnosis(&scene))
}

/// SENDs that the kernel carried while `work` was done, and all.
async fn share<T>(scene: &Scene, work: impl Future<Output = Result<T>>) -> Result<(T, u64, u64)> {
    let (kernel, passed) = shares(scene)?;
    let done = work.await?;
    let (kernel_now, passed_now) = shares(scene)?;
    Ok((done, kernel_now - kernel, kernel_now - kernel + passed_now - passed))
}

#[tokio::test]
async fn a_device_that_stops_reading_delays_nobody() -> Result<()> {
    let Some((scene, a, mut far, mut others)) = running().await? else { return Ok(()) };
    others[0].media.read(false);
    // Enough to fill both buffers of its connection, and then some of its queue.
    let sent = says(&scene, &a, 0..700).await?;
    got(&scene, &mut far, &sent).await?;
    got(&scene, &mut others[1], &sent).await?;
    // It wakes up, and nothing is missing.
    others[0].media.read(true);
    got(&scene, &mut others[0], &sent).await?;
    // And the kernel has it again.
    let (more, kernel, all) = share(&scene, says(&scene, &a, 0..100)).await?;
    ensure!(kernel * 10 > all * 9, "{kernel} of {all}\n{}", diagnosis(&scene));
    got(&scene, &mut others[0], &more).await
}

#[tokio::test]
async fn a_device_that_is_cut_off_takes_nobody_with_it() -> Result<()> {
    let Some((scene, a, mut far, mut others)) = running().await? else { return Ok(()) };
    let mut sent = says(&scene, &a, 0..50).await?;
    let lost = others.remove(0);
    lost.media.close();
    drop(lost);
    sent.extend(says(&scene, &a, 50..200).await?);
    got(&scene, &mut far, &sent).await?;
    got(&scene, &mut others[0], &sent).await?;
    let (more, kernel, all) = share(&scene, says(&scene, &a, 0..100)).await?;
    ensure!(kernel * 10 > all * 9, "{kernel} of {all}\n{}", diagnosis(&scene));
    got(&scene, &mut far, &more).await
}

#[tokio::test]
async fn the_last_words_before_the_end_arrive() -> Result<()> {
    let Some((scene, mut a, mut far, mut others)) = running().await? else { return Ok(()) };
    let sent = says(&scene, &a, 0..100).await?;
    let last = hello(100);
    // Nobody waits for its answer.
    let _sending = a.media.send(&last).await?;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let answering = async {
        far.hung_up().await?;
        for other in &mut others {
            other.hung_up().await?;
        }
        Ok::<_, anyhow::Error>(())
    };
    let (hung_up, answered) = tokio::join!(a.hang_up(), answering);
    hung_up?;
    answered?;
    let all = [sent, vec![last]].concat();
    for call in [&mut far].into_iter().chain(&mut others) {
        for (number, message) in all.iter().enumerate() {
            let got = call.media.message(SOON).await;
            let got = got.with_context(|| format!("{}: {number}\n{}", call.party.name, diagnosis(&scene)))?;
            ensure!(got.message_id == message.message_id, "{}: message {number}", call.party.name);
        }
        call.media.closed(SOON).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_busy_machine_loses_nothing() -> Result<()> {
    let Some((scene, a, mut far, mut others)) = running().await? else { return Ok(()) };
    let stop = Arc::new(AtomicBool::new(false));
    let hogs: Vec<_> = (0..4)
        .map(|_| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    let outcome = async {
        let mut sent = Vec::new();
        for round in 0..10 {
            sent.extend(says(&scene, &a, round * 50..round * 50 + 49).await?);
            // One that the kernel does not carry.
            let odd = Outgoing { explicit_end: false, ..hello(round) };
            a.media.send(&odd).await?.accepted(SOON).await?;
            sent.push(odd);
        }
        got(&scene, &mut far, &sent).await?;
        for other in &mut others {
            got(&scene, other, &sent).await?;
        }
        Ok(())
    }
    .await;
    stop.store(true, Ordering::Relaxed);
    hogs.into_iter().for_each(|hog| drop(hog.join()));
    outcome
}

#[tokio::test]
async fn a_killed_pf_leaves_nothing_behind() -> Result<()> {
    let Some((mut scene, a, mut far, _others)) = running().await? else { return Ok(()) };
    says(&scene, &a, 0..20).await?;
    scene.pf.kill()?;
    while far.media.message(QUIET).await.is_ok() {}
    // A new process has the interfaces, the tables and the ports for itself.
    scene.pf.restart().context("starting anew")?;
    let path = scene.pf.cli_json("stats")?["fast_path"].clone();
    ensure!(path["available"] == true, "{path:#}");
    Ok(())
}
