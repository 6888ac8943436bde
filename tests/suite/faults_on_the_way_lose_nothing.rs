//! With the fast path, on links that lose, repeat, reorder, delay and stop: everybody gets every octet once, in order,
//! the kernel programs leave a connection in trouble to userspace, and take it back when the trouble is over.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{
    actor::{Call, Scene, SceneOptions},
    msrp::{Outgoing, Received},
    net::Network,
    path::{Counts, Faults, Way},
};

use crate::fast::{diagnosis, fast_on, left, leg, open_minded, shares};

/// Losses are repaired by timers of a fifth of a second and more, each time doubled.
const PATIENCE: Duration = Duration::from_secs(30);
/// Messages of each part.
const MESSAGES: usize = 90;

/// Everybody, and what they have said.
struct Chat {
    scene: Scene,
    a: Call,
    far: Call,
    others: Vec<Call>,
    /// Of the originator, of the far end; how many of each everybody has heard.
    said: [Vec<Outgoing>; 2],
    heard: usize,
    number: usize,
    dice: u64,
}

impl Chat {
    /// A scene on paths that can go wrong; `None` where there is no fast path.
    async fn start(devices: &[&'static str], seed: u64) -> Result<Option<Chat>> {
        let Some(mut network) = Network::for_test()? else { return Ok(None) };
        for name in ["FAR"].iter().chain(devices) {
            network.put_behind(name, seed);
        }
        let options = SceneOptions { devices: devices.to_vec(), ..SceneOptions::default() };
        let Some(scene) = fast_on(network, options).await? else { return Ok(None) };
        let (a, far, others) = scene.full_call_with(&open_minded()).await?;
        let dice = seed | 1;
        let mut chat = Chat { scene, a, far, others, said: Default::default(), heard: 0, number: 0, dice };
        chat.talks(20).await.context("warming up")?;
        Ok(Some(chat))
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 11) % sides
    }

    fn next(&mut self) -> Outgoing {
        // One in thirty is not for the kernel.
        let most = if self.roll(30) == 0 { 4_000 } else { 1_000 };
        let size = self.roll(most) as usize;
        let text = format!("message {} {}", self.number, "x".repeat(size));
        self.number += 1;
        let end = self.roll(2) == 0;
        Outgoing { explicit_end: end, ..Outgoing::chat(Scene::ALICE, Scene::BOB, &text) }
    }

    /// So many messages in bursts of one to three, every fourth burst the far end's.
    async fn talks(&mut self, messages: usize) -> Result<()> {
        let end = self.number + messages;
        while self.number < end {
            let who = usize::from(self.roll(4) == 0);
            let mut sendings = Vec::new();
            for _ in 0..=self.roll(3) {
                let message = self.next();
                let from = if who == 0 { &self.a } else { &self.far };
                sendings.push(from.media.send(&message).await?);
                self.said[who].push(message);
            }
            for sending in sendings {
                let accepted = sending.accepted(PATIENCE).await;
                accepted
                    .with_context(|| format!("before message {}: {}", self.number, diagnosis(&self.scene)))?;
            }
        }
        self.everybody_heard().await
    }

    async fn everybody_heard(&mut self) -> Result<()> {
        let said = self.said.clone();
        let [ours, theirs] = [&said[0][..], &said[1][..]];
        let all = ours.len() + theirs.len() - self.heard;
        self.heard += all;
        hears(&self.scene, &mut self.far, &[ours]).await?;
        hears(&self.scene, &mut self.a, &[theirs]).await?;
        for other in &mut self.others {
            hears(&self.scene, other, &[ours, theirs]).await?;
        }
        self.said = Default::default();
        self.heard = 0;
        Ok(())
    }

    /// Talks, and demands that most of it stays in the kernel.
    async fn talks_in_the_kernel(&mut self) -> Result<()> {
        // What userspace has in hand goes first, and what has failed is tried again after a while.
        for _ in 0..20 {
            self.talks(10).await?;
            let (before, passed_before) = shares(&self.scene)?;
            self.talks(40).await?;
            let (kernel, passed) = shares(&self.scene)?;
            let (kernel, passed) = (kernel - before, passed - passed_before);
            if kernel * 10 > (kernel + passed) * 8 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::bail!("not taken back: {}", diagnosis(&self.scene))
    }
}

/// The next messages of a receiver are those, in each sender's order, and nothing else.
async fn hears(scene: &Scene, call: &mut Call, said: &[&[Outgoing]]) -> Result<()> {
    let mut next = vec![0; said.len()];
    let all: usize = said.iter().map(|said| said.len()).sum();
    for nth in 0..all {
        let name = call.party.name.clone();
        let got: Received = call
            .media
            .message(PATIENCE)
            .await
            .with_context(|| format!("{name}: {nth} of {all}\n{}", diagnosis(scene)))?;
        let due = said.iter().zip(&mut next).find(|(said, next)| {
            said.get(**next).is_some_and(|message| message.message_id == got.message_id)
        });
        let (said, next) =
            due.with_context(|| format!("{name}: not the next message of anybody\n{}", diagnosis(scene)))?;
        let message = &said[*next];
        ensure!(got.body == message.body && got.content_type == message.content_type, "{name}: altered");
        *next += 1;
    }
    call.media.verify()
}

/// A fault that goes on while people talk, at the originator's link, at a device's, at the far end's, then at all.
async fn trouble(
    seed: u64,
    devices: &[&'static str],
    faults: Faults,
    ways: &[Way],
    seen: fn(&Counts) -> u64,
) -> Result<()> {
    let Some(mut chat) = Chat::start(devices, seed).await? else { return Ok(()) };
    let links = [vec!["UE-A"], devices[1..].to_vec(), vec!["FAR"], [&["FAR"], devices].concat()];
    for links in links.iter().filter(|links| !links.is_empty()) {
        let context = || format!("seed {seed}, {faults:?} at {links:?}");
        chat.talks_in_the_kernel().await.with_context(|| format!("before {}", context()))?;
        let (kernel, _) = shares(&chat.scene)?;
        for link in links {
            let path = chat.scene.network()?.path(link)?;
            ways.iter().for_each(|way| path.set(*way, faults));
        }
        chat.talks(MESSAGES).await.with_context(context)?;
        let mut happened = 0;
        for link in links {
            let path = chat.scene.network()?.path(link)?;
            path.heal();
            happened += ways.iter().map(|way| seen(&path.counts(*way))).sum::<u64>();
        }
        ensure!(happened > 0, "nothing went wrong: {}", context());
        let (kernel_now, _) = shares(&chat.scene)?;
        ensure!(kernel_now > kernel, "nothing in the kernel: {}\n{}", context(), diagnosis(&chat.scene));
        eprintln!(
            "{}: {happened} times, {} in the kernel, left {:?}",
            context(),
            kernel_now - kernel,
            left(&chat.scene)?
        );
    }
    chat.talks_in_the_kernel().await.context("at the end")?;
    done(&chat)
}

/// Every leg was the kernel's and is again; every packet had right checksums.
fn done(chat: &Chat) -> Result<()> {
    for call in [&chat.far].into_iter().chain(&chat.others) {
        let name = &call.party.name;
        let leg = leg(&chat.scene, name)?;
        ensure!(leg["kernel"]["sends_out"].as_u64().is_some_and(|count| count > 0), "{name}: {leg:#}");
        ensure!(leg["path"]["leg"] == "fast", "{name}: {leg:#}");
        chat.scene.network()?.path(name)?.verify().with_context(|| name.clone())?;
    }
    chat.scene.network()?.path("UE-A")?.verify().context("UE-A")?;
    chat.scene.verify()
}

const FOUR_LEGS: [&str; 4] = ["UE-A", "UE-B", "UE-C", "UE-D"];
const BOTH: [Way; 2] = [Way::Out, Way::In];

async fn lost_data(seed: u64) -> Result<()> {
    trouble(seed, &FOUR_LEGS, Faults { lose_data: 30, ..Faults::default() }, &BOTH, |c| c.lost_data).await
}

#[tokio::test]
async fn lost_octets_are_repaired() -> Result<()> {
    lost_data(0x5eed_0001).await
}
