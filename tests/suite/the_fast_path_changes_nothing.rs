//! The same conversation with and without the fast path: every leg gets the same frames, but for the paths.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use lab::{
    actor::{Call, Scene, SceneOptions},
    msrp::{Endpoint, Outgoing},
    net::Network,
    wait::{QUIET, SOON},
};

use crate::fast::{diagnosis, fast, open_minded, shares};

const MESSAGES: usize = 600;

/// Somebody says something.
struct Line {
    /// 0: the originator, 1: the far end, 2: another device.
    who: usize,
    message: Outgoing,
    /// The next line waits for its answer.
    waits: bool,
}

/// A conversation as people, and some programs, have it: mostly short messages, some that are not for the kernel.
fn script(messages: usize) -> Vec<Line> {
    let mut dice = 0x2545_F491_u32;
    let mut roll = move |sides: usize| {
        dice ^= dice << 13;
        dice ^= dice >> 17;
        dice ^= dice << 5;
        dice as usize % sides
    };
    let line = |number: usize| {
        let who = if roll(40) == 0 { 2 } else { roll(2) };
        let most = if roll(20) == 0 { 8 } else { 5 };
        let size = [5, 30, 200, 600, 900, 1_200, 3_000, 9_000][roll(most)];
        let text = format!("{number} {}", "-wonderland-".repeat(size / 12));
        let mut message = Outgoing::chat(Scene::ALICE, Scene::BOB, &text);
        message.message_id = format!("m{who}-{number:05}");
        message.explicit_end = roll(40) != 0;
        message.chunk = if roll(40) == 0 { 500 } else { 65_536 };
        if roll(30) == 0 {
            message.failure_report = Some("no".to_owned());
        }
        if roll(40) == 0 {
            message.headers.push(("X-Mood".to_owned(), "curious".to_owned()));
        }
        // Some are in a hurry.
        Line { who, message, waits: roll(20) != 0 }
    };
    (0..messages).map(line).collect()
}

/// What a leg got from one sender, in order: per message its id, its chunks without paths, its body.
type Heard = BTreeMap<char, Vec<(String, Vec<String>, Vec<u8>)>>;

async fn say(endpoint: &Endpoint, line: &Line) -> Result<()> {
    let mut answers = Vec::new();
    for (nth, mut frame) in
        line.message.frames(&endpoint.remote.join(" "), &endpoint.uri).into_iter().enumerate()
    {
        frame.head.tid = format!("t{}-{nth}", line.message.message_id);
        answers.push(endpoint.request(&frame).await?);
    }
    if line.message.failure_report.is_none() && line.waits {
        for answer in answers {
            let code = tokio::time::timeout(SOON, answer).await.context("no answer in time")??.code();
            ensure!(code == 200, "answered {code}");
        }
    }
    Ok(())
}

async fn hear(call: &mut Call, expected: usize) -> Result<Heard> {
    let mut heard = Heard::new();
    for number in 0..expected {
        let name = call.party.name.clone();
        let got =
            call.media.message(SOON).await.with_context(|| format!("{name}: {number} of {expected}"))?;
        let chunks = got.chunks.iter().map(|head| {
            let headers = head.headers.iter().filter(|(name, _)| !name.ends_with("-Path"));
            format!("{} {:?} {:?}", head.tid, head.kind, headers.collect::<Vec<_>>())
        });
        let sender = got.message_id.chars().nth(1).context("no sender")?;
        heard.entry(sender).or_default().push((got.message_id.clone(), chunks.collect(), got.body.to_vec()));
    }
    call.media.quiet(QUIET / 4).await?;
    Ok(heard)
}

/// Has the conversation; gives what every leg heard: originator, far end, both other devices.
async fn conversation(scene: &Scene, lines: &[Line]) -> Result<Vec<Heard>> {
    let (mut a, mut far, mut others) = scene.full_call_with(&open_minded()).await?;
    for (number, line) in lines.iter().enumerate() {
        let who = match line.who {
            0 => &a.media,
            1 => &far.media,
            _ => &others[0].media,
        };
        let said = say(who, line).await;
        said.with_context(|| format!("line {number} of {}\n{}", line.who, diagnosis(scene)))?;
        if number % 40 == 39 {
            // Time to fall asleep.
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
    let from_others = |own: usize| lines.iter().filter(|line| line.who != own).count();
    let mut heard = vec![hear(&mut a, from_others(0)).await?, hear(&mut far, from_others(1)).await?];
    for (nth, other) in others.iter_mut().enumerate() {
        heard.push(hear(other, from_others(2 + nth)).await?);
    }
    scene.verify()?;
    Ok(heard)
}

#[tokio::test]
async fn the_fast_path_changes_nothing() -> Result<()> {
    let Some(scene) = fast(SceneOptions::default()).await? else { return Ok(()) };
    let lines = script(MESSAGES);
    let with = conversation(&scene, &lines).await.with_context(|| diagnosis(&scene))?;
    let (kernel, passed) = shares(&scene)?;
    ensure!(kernel > passed, "a test of nothing: {}", diagnosis(&scene));
    drop(scene);
    let slow = SceneOptions { network: Network::for_test()?, fast_path: "off", ..SceneOptions::default() };
    let slow = Scene::start(slow).await?;
    let without = conversation(&slow, &lines).await?;
    for (leg, (with, without)) in with.iter().zip(&without).enumerate() {
        for (sender, theirs) in without {
            let ours = with.get(sender).context("a silent sender")?;
            for (ours, theirs) in ours.iter().zip(theirs) {
                ensure!(ours == theirs, "leg {leg} heard {ours:?} with, {theirs:?} without the fast path");
            }
        }
        ensure!(with == without, "leg {leg}");
    }
    Ok(())
}
