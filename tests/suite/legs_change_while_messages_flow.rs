//! With the fast path, legs that stall, join, leave and are negotiated anew while the originator talks on: nobody misses
//! a message, and nobody hears one twice.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{
    actor::{Call, Scene, SceneOptions},
    msrp::Outgoing,
    sip::SdpOptions,
    wait::SOON,
};

use crate::{
    fast::{Hogs, PAUSE, diagnosis, fast, got, left, leg, open_minded, rounds, shares},
    sessions_change_on_the_way::{accept, changed, re_invite},
};

fn hello(number: usize) -> Outgoing {
    let text = format!("message {number} {}", "x".repeat(number * 53 % 900));
    Outgoing { explicit_end: number.is_multiple_of(2), ..Outgoing::chat(Scene::ALICE, Scene::BOB, &text) }
}

/// The originator talks, three messages at a time, until it is told to stop.
async fn talks(a: &Call, from: usize, stop: &std::cell::Cell<bool>) -> Result<Vec<Outgoing>> {
    let mut sent: Vec<Outgoing> = Vec::new();
    while !stop.get() {
        let mut sendings = Vec::new();
        for _ in 0..3 {
            let message = hello(from + sent.len());
            sendings.push(a.media.send(&message).await?);
            sent.push(message);
        }
        for sending in sendings {
            sending.accepted(SOON).await.with_context(|| format!("message {}", sent.len()))?;
        }
        // What is kept for a late device has a bound.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(sent)
}

/// Does something while the originator talks; gives what was said.
async fn while_talking(
    a: &Call,
    from: usize,
    work: impl Future<Output = Result<()>>,
) -> Result<Vec<Outgoing>> {
    let stop = std::cell::Cell::new(false);
    let working = async {
        let done = work.await;
        stop.set(true);
        done
    };
    let (sent, done) = tokio::join!(talks(a, from, &stop), working);
    done?;
    sent
}

/// After that, the kernel has the stream again.
async fn taken_back(scene: &Scene, a: &Call) -> Result<Vec<Outgoing>> {
    let mut sent = Vec::new();
    for round in rounds() {
        let before = shares(scene)?;
        for number in 0..50 {
            let message = hello(100_000 + round * 50 + number);
            a.media.send(&message).await?.accepted(SOON).await?;
            sent.push(message);
        }
        let after = shares(scene)?;
        if after.0 - before.0 >= 45 {
            return Ok(sent);
        }
        tokio::time::sleep(PAUSE).await;
    }
    anyhow::bail!("not taken back\n{}", diagnosis(scene))
}

async fn devices_stall(busy: bool) -> Result<()> {
    // Small buffers: a pause is felt soon.
    let Some(mut scene) = fast(SceneOptions::default()).await? else { return Ok(()) };
    for device in &mut scene.devices {
        device.party.receive_buffer = Some(8_192);
    }
    let (a, mut far, mut others) = scene.full_call_with(&open_minded()).await?;
    let mut sent = taken_back(&scene, &a).await?;
    let hogs = busy.then(Hogs::start);
    let before = shares(&scene)?;
    let stalls = async {
        for round in 0..12_u64 {
            let other = &others[(round % 2) as usize];
            other.media.read(false);
            tokio::time::sleep(Duration::from_millis(100 + 37 * round)).await;
            other.media.read(true);
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        Ok(())
    };
    sent.extend(while_talking(&a, 0, stalls).await.with_context(|| diagnosis(&scene))?);
    ensure!(shares(&scene)?.0 > before.0, "nothing in the kernel\n{}", diagnosis(&scene));
    ensure!(!left(&scene)?.is_empty(), "nobody left the fast path");
    for other in &others {
        let leg = leg(&scene, &other.party.name)?;
        ensure!(leg["path"]["left"].as_object().is_some_and(|left| !left.is_empty()), "{leg:#}");
    }
    sent.extend(taken_back(&scene, &a).await?);
    drop(hogs);
    eprintln!(
        "{} messages, {:?} before, {:?}, left {:?}",
        sent.len(),
        before,
        shares(&scene)?,
        left(&scene)?
    );
    got(&scene, &mut far, &sent).await?;
    for other in &mut others {
        got(&scene, other, &sent).await?;
    }
    scene.verify()
}

#[tokio::test]
async fn devices_that_stall_again_and_again_miss_nothing() -> Result<()> {
    devices_stall(false).await
}

#[tokio::test]
async fn devices_that_stall_miss_nothing_on_a_busy_machine() -> Result<()> {
    devices_stall(true).await
}

async fn negotiated_anew(busy: bool) -> Result<()> {
    let Some(scene) = fast(SceneOptions::default()).await? else { return Ok(()) };
    let _hogs = busy.then(Hogs::start);
    let (mut a, mut far, mut others) = scene.full_call_with(&open_minded()).await?;
    let mut sent = taken_back(&scene, &a).await?;
    let bodies = |call: &Call| call.answer.body.clone();
    let (mut of_a, mut of_far) = (a.invite.body.clone(), bodies(&far));
    let mut of_others: Vec<_> = others.iter().map(bodies).collect();
    for round in 0..3 {
        of_a = changed(&of_a)?;
        of_far = changed(&of_far)?;
        let request = re_invite(&mut a, of_a.clone());
        let number = request.cseq();
        let mut tx = a.dialog.send(request).await?;
        let before = shares(&scene)?;
        let negotiating = async {
            let at_far = far.dialog.expect("INVITE", SOON).await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
            accept(&far, &at_far, of_far.clone()).await?;
            ensure!(tx.last(SOON).await?.code() == 200, "refused");
            a.dialog.ack(number, None).await?;
            for (other, body) in others.iter_mut().zip(&mut of_others) {
                *body = changed(body)?;
                let at = other.dialog.expect("INVITE", SOON).await?;
                tokio::time::sleep(Duration::from_millis(30)).await;
                accept(other, &at, body.clone()).await?;
                at.acked(SOON).await?;
            }
            Ok(())
        };
        let spoken = while_talking(&a, round * 10_000, negotiating).await;
        sent.extend(spoken.with_context(|| diagnosis(&scene))?);
        ensure!(shares(&scene)?.0 > before.0, "nothing in the kernel\n{}", diagnosis(&scene));
        sent.extend(taken_back(&scene, &a).await?);
    }
    got(&scene, &mut far, &sent).await?;
    for other in &mut others {
        got(&scene, other, &sent).await?;
    }
    scene.verify()
}

#[tokio::test]
async fn a_session_is_negotiated_anew_while_messages_flow() -> Result<()> {
    negotiated_anew(false).await
}

#[tokio::test]
async fn a_session_is_negotiated_anew_on_a_busy_machine() -> Result<()> {
    negotiated_anew(true).await
}

async fn join_and_leave(busy: bool) -> Result<()> {
    let Some(scene) = fast(SceneOptions::default()).await? else { return Ok(()) };
    let _hogs = busy.then(Hogs::start);
    let (a, mut far) = scene.call().await?;
    let ringing = scene.device(1).invited(SOON).await?;
    let answer: SdpOptions = open_minded();
    let mut c = scene.device(2).invited(SOON).await?.accept_with(&answer, |_| {}).await?;
    c.media.ready(SOON).await?;
    // B joins late.
    let mut joined = None;
    let joining = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let b = ringing.accept_with(&answer, |_| {}).await?;
        b.media.ready(SOON).await?;
        joined = Some(b);
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok(())
    };
    let mut sent = while_talking(&a, 0, joining).await.with_context(|| diagnosis(&scene))?;
    let mut b = joined.context("B")?;
    sent.extend(taken_back(&scene, &a).await.context("with B")?);
    got(&scene, &mut b, &sent).await?;
    got(&scene, &mut c, &sent).await?;
    got(&scene, &mut far, &sent).await?;
    // C leaves with a BYE, B by closing its connection.
    let leaving = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        c.hang_up().await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok(())
    };
    let mut sent = while_talking(&a, 20_000, leaving).await.with_context(|| diagnosis(&scene))?;
    sent.extend(taken_back(&scene, &a).await.context("without C")?);
    got(&scene, &mut b, &sent).await?;
    got(&scene, &mut far, &sent).await?;
    let leaving = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        b.media.close();
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok(())
    };
    let mut sent = while_talking(&a, 40_000, leaving).await.with_context(|| diagnosis(&scene))?;
    sent.extend(taken_back(&scene, &a).await.context("without B")?);
    got(&scene, &mut far, &sent).await?;
    scene.verify()
}

#[tokio::test]
async fn devices_join_and_leave_while_messages_flow() -> Result<()> {
    join_and_leave(false).await
}

#[tokio::test]
async fn devices_join_and_leave_on_a_busy_machine() -> Result<()> {
    join_and_leave(true).await
}
