//! With the fast path, a host gets another MAC address in the middle of a chat. The copies that the kernel programs
//! send to the old one are lost until the leg is found silent; then its kernel socket repeats them, finds the host, and
//! the programs learn the way from it. Nobody misses a message.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{
    actor::{Call, Scene, SceneOptions},
    msrp::Outgoing,
};

use crate::fast::{Hogs, PAUSE, diagnosis, fast, got, left, leg, open_minded, rounds, shares};

/// A kernel that repeats to a host that is not there takes longer each time.
const PATIENCE: Duration = Duration::from_secs(30);

fn hello(number: usize) -> Outgoing {
    let text = format!("message {number} {}", "x".repeat(number * 53 % 700));
    Outgoing { explicit_end: true, ..Outgoing::chat(Scene::ALICE, Scene::BOB, &text) }
}

/// The originator talks.
async fn says(scene: &Scene, a: &Call, sent: &mut Vec<Outgoing>, messages: usize) -> Result<()> {
    for _ in 0..messages {
        let message = hello(sent.len());
        let sending = a.media.send(&message).await?.accepted(PATIENCE).await;
        sending.with_context(|| format!("message {}\n{}", sent.len(), diagnosis(scene)))?;
        sent.push(message);
    }
    Ok(())
}

/// Messages that the programs have put into the stream of this leg.
fn injected(scene: &Scene, who: &str) -> Result<u64> {
    let leg = leg(scene, who)?;
    leg["path"]["injected"].as_u64().with_context(|| format!("{leg:#}"))
}

/// The originator talks until most of it stays in the kernel, and this leg gets it from there.
async fn in_the_kernel(scene: &Scene, a: &Call, sent: &mut Vec<Outgoing>, who: &str) -> Result<()> {
    for _ in rounds() {
        let before = (shares(scene)?.0, injected(scene, who).unwrap_or(0));
        says(scene, a, sent, 40).await?;
        let now = (shares(scene)?.0, injected(scene, who).unwrap_or(0));
        // What the originator gets are answers.
        if now.0 - before.0 >= 32 && (now.1 - before.1 >= 32 || who == "UE-A") {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    anyhow::bail!("not in the kernel\n{}", diagnosis(scene))
}

/// How often copies got no acknowledgement.
fn troubles(scene: &Scene) -> Result<u64> {
    Ok(left(scene)?
        .iter()
        .filter(|(why, _)| *why == "stalled" || *why == "leg-cap")
        .map(|(_, times)| times)
        .sum())
}

/// How the others learn of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum News {
    /// The host says so (gratuitous ARP).
    Announced,
    /// They find out when nobody answers.
    Silent,
}

async fn moves(who: &str, news: News, busy: bool) -> Result<()> {
    let Some(scene) = fast(SceneOptions::default()).await? else { return Ok(()) };
    let network = scene.network()?;
    let host = network.inside(who)?;
    if news == News::Announced {
        host.sysctl("ipv4/conf/eth0/arp_notify", "1")?;
    } else {
        // Linux would believe for half a minute, and ask the old address for eight seconds.
        let relay = network.inside("pf")?;
        for (key, value) in
            [("base_reachable_time_ms", "500"), ("delay_first_probe_time", "1"), ("retrans_time_ms", "100")]
        {
            relay.sysctl(&format!("ipv4/neigh/eth0/{key}"), value)?;
        }
    }
    let (a, mut far, mut others) = scene.full_call_with(&open_minded()).await?;
    let mut sent = Vec::new();
    in_the_kernel(&scene, &a, &mut sent, who).await.context("at first")?;
    let (b, c) = others.split_at_mut(1);
    let (b, c) = (&mut b[0], &mut c[0]);
    for call in [&mut far, &mut *b, &mut *c] {
        got(&scene, call, &sent).await?;
    }
    let hogs = busy.then(Hogs::start);
    let mut sent = Vec::new();
    // What userspace has in hand at that moment shows the programs the way, and nothing is lost.
    let mut lost = 0;
    for number in rounds() {
        if number >= 2 && (lost > 0 || busy) {
            break;
        }
        let before = troubles(&scene)?;
        let address = format!("02:00:00:77:00:{:02x}", number % 256);
        let begin = Instant::now();
        host.ip(&format!("link set dev eth0 address {address}"))?;
        let first = sent.len();
        says(&scene, &a, &mut sent, 20).await?;
        let said = begin.elapsed();
        // The one who moved hears all of them.
        let moved = match who {
            "FAR" => Some(&mut far),
            "UE-B" => Some(&mut *b),
            _ => None,
        };
        if let Some(call) = moved {
            for (number, message) in sent[first..].iter().enumerate() {
                let got = call.media.message(PATIENCE).await;
                let got = got.with_context(|| {
                    format!("{who}: {number} after {:?}\n{}", begin.elapsed(), diagnosis(&scene))
                })?;
                ensure!(got.message_id == message.message_id && got.body == message.body, "{who}: {number}");
            }
        }
        let heard = begin.elapsed();
        lost += troubles(&scene)? - before;
        eprintln!("{who} moves, {number}: said {said:?}, heard {heard:?}, left {:?}", left(&scene)?);
        let rest = sent.len();
        in_the_kernel(&scene, &a, &mut sent, who).await.context("after the move")?;
        let moved = match who {
            "FAR" => Some(&mut far),
            "UE-B" => Some(&mut *b),
            _ => None,
        };
        if let Some(call) = moved {
            got(&scene, call, &sent[rest..]).await?;
        }
    }
    ensure!(lost > 0 || busy, "no copy was lost: a test of nothing");
    drop(hogs);
    for call in [&mut far, b, c] {
        if call.party.name != who {
            got(&scene, call, &sent).await?;
        }
    }
    scene.verify()
}

#[tokio::test]
async fn a_device_that_moves_and_says_so_misses_nothing() -> Result<()> {
    moves("UE-B", News::Announced, false).await
}

#[tokio::test]
async fn a_device_that_moves_on_a_busy_machine_misses_nothing() -> Result<()> {
    moves("UE-B", News::Announced, true).await
}

#[tokio::test]
async fn a_device_that_moves_in_silence_misses_nothing() -> Result<()> {
    moves("UE-B", News::Silent, false).await
}

#[tokio::test]
async fn an_originator_that_moves_misses_no_answer() -> Result<()> {
    moves("UE-A", News::Announced, false).await
}

#[tokio::test]
async fn a_far_end_that_moves_misses_nothing() -> Result<()> {
    moves("FAR", News::Announced, false).await
}
