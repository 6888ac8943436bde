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

use crate::fast::{Hogs, PAUSE, diagnosis, fast_on, left, leg, open_minded, rounds, shares};

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
        self.talks_in(messages, 3).await
    }

    /// The same in bursts of at most so many.
    async fn talks_in(&mut self, messages: usize, burst: u64) -> Result<()> {
        let end = self.number + messages;
        while self.number < end {
            let who = usize::from(self.roll(4) == 0);
            let mut sendings = Vec::new();
            for _ in 0..=self.roll(burst) {
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
        // What userspace has in hand goes first.
        for _ in rounds() {
            self.talks_in(10, 1).await?;
            let (before, passed_before) = shares(&self.scene)?;
            self.talks_in(40, 1).await?;
            let (kernel, passed) = shares(&self.scene)?;
            let (kernel, passed) = (kernel - before, passed - passed_before);
            if kernel * 10 > (kernel + passed) * 7 {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
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

/// A fault, and what it may be called.
struct Trouble {
    /// Of all dice.
    seed: u64,
    /// The originator, the others.
    devices: &'static [&'static str],
    faults: Faults,
    ways: &'static [Way],
    /// How often it has happened.
    seen: fn(&Counts) -> u64,
    /// When it is over, where nothing would come through.
    lasts: Option<Duration>,
    /// With a processor that is wanted by others.
    busy: bool,
}

/// So often at most, to see a fault that dice decide on.
const ROUNDS: usize = 60;

const FOUR_LEGS: &[&str] = &["UE-A", "UE-B", "UE-C", "UE-D"];
const THREE_LEGS: &[&str] = &["UE-A", "UE-B", "UE-C"];
const TWO_LEGS: &[&str] = &["UE-A", "UE-B"];
const ONE_LEG: &[&str] = &["UE-A"];
const BOTH: &[Way] = &[Way::Out, Way::In];

impl Trouble {
    fn at(&self, chat: &Chat, links: &[&str], faults: Faults) -> Result<()> {
        for link in links {
            let path = chat.scene.network()?.path(link)?;
            self.ways.iter().for_each(|way| path.set(*way, faults));
        }
        Ok(())
    }

    fn happened(&self, chat: &Chat, links: &[&str]) -> Result<u64> {
        let mut sum = 0;
        for link in links {
            let path = chat.scene.network()?.path(link)?;
            sum += self.ways.iter().map(|way| (self.seen)(&path.counts(*way))).sum::<u64>();
        }
        Ok(sum)
    }

    /// While people talk, at the originator's link, at the devices', at the far end's, then at all.
    async fn strikes(&self) -> Result<()> {
        let Some(mut chat) = Chat::start(self.devices, self.seed).await? else { return Ok(()) };
        let hogs = self.busy.then(Hogs::start);
        let (first, others) = self.devices.split_at(1);
        for links in [first, others, &["FAR"], &[self.devices, &["FAR"]].concat()] {
            if links.is_empty() {
                continue;
            }
            let about = || format!("seed {:#x}, {:?} at {links:?}", self.seed, self.faults);
            chat.talks_in_the_kernel().await.with_context(|| format!("before {}", about()))?;
            let (kernel, _) = shares(&chat.scene)?;
            let (left_before, seen) = (left(&chat.scene)?, self.happened(&chat, links)?);
            self.at(&chat, links, self.faults)?;
            // The same paths, from another task.
            if let Some(lasts) = self.lasts {
                let scene = chat.scene.network()?.paths(links)?;
                let ways = self.ways;
                tokio::spawn(async move {
                    tokio::time::sleep(lasts).await;
                    for path in scene {
                        ways.iter().for_each(|way| path.set(*way, Faults::default()));
                    }
                });
            }
            // Dice decide what goes wrong: people talk until something has.
            let (mut happened, mut carried, mut causes) = (0, 0, left_before.clone());
            for _ in 0..ROUNDS {
                chat.talks(MESSAGES).await.with_context(about)?;
                happened = self.happened(&chat, links)? - seen;
                carried = shares(&chat.scene)?.0 - kernel;
                causes = left(&chat.scene)?;
                if happened > 0 && carried > 0 && causes != left_before {
                    break;
                }
            }
            self.at(&chat, links, Faults::default())?;
            ensure!(happened > 0, "nothing went wrong: {}", about());
            ensure!(carried > 0, "nothing in the kernel: {}\n{}", about(), diagnosis(&chat.scene));
            ensure!(causes != left_before, "nobody left the fast path: {}", about());
            eprintln!("{}: {happened} times, {carried} in the kernel, left {causes:?}", about());
        }
        chat.talks_in_the_kernel().await.context("at the end")?;
        drop(hogs);
        chat.done()
    }
}

impl Chat {
    /// Every leg was the kernel's and is again; every packet had right checksums.
    fn done(&self) -> Result<()> {
        for call in [&self.far].into_iter().chain(&self.others) {
            let name = &call.party.name;
            let leg = leg(&self.scene, name)?;
            ensure!(leg["kernel"]["sends_out"].as_u64().is_some_and(|count| count > 0), "{name}: {leg:#}");
            ensure!(leg["path"]["leg"] == "fast", "{name}: {leg:#}");
            self.scene.network()?.path(name)?.verify().with_context(|| name.clone())?;
        }
        self.scene.network()?.path("UE-A")?.verify().context("UE-A")?;
        self.scene.verify()
    }
}

const NONE: Faults =
    Faults { lose_data: 0, lose_acks: 0, double: 0, reorder: 0, delay: Duration::ZERO, zero_window: false };

const LOST_OCTETS: Trouble = Trouble {
    seed: 0x5eed0001,
    devices: FOUR_LEGS,
    faults: Faults { lose_data: 40, ..NONE },
    ways: BOTH,
    seen: |counts| counts.lost_data,
    lasts: None,
    busy: false,
};

#[tokio::test]
async fn lost_octets_are_repaired() -> Result<()> {
    LOST_OCTETS.strikes().await
}

#[tokio::test]
async fn lost_octets_are_repaired_on_a_busy_machine() -> Result<()> {
    Trouble { busy: true, seed: 0xb5ee0001, ..LOST_OCTETS }.strikes().await
}

const LOST_ACKS: Trouble = Trouble {
    seed: 0x5eed0002,
    devices: TWO_LEGS,
    faults: Faults { lose_acks: 300, ..NONE },
    ways: BOTH,
    seen: |counts| counts.lost_acks,
    lasts: None,
    busy: false,
};

#[tokio::test]
async fn lost_acknowledgements_are_no_loss() -> Result<()> {
    LOST_ACKS.strikes().await
}

#[tokio::test]
async fn lost_acknowledgements_are_no_loss_on_a_busy_machine() -> Result<()> {
    Trouble { busy: true, seed: 0xb5ee0002, ..LOST_ACKS }.strikes().await
}

const DOUBLED: Trouble = Trouble {
    seed: 0x5eed0003,
    devices: THREE_LEGS,
    faults: Faults { double: 200, ..NONE },
    ways: BOTH,
    seen: |counts| counts.doubled,
    lasts: None,
    busy: false,
};

#[tokio::test]
async fn repeated_packets_are_heard_once() -> Result<()> {
    DOUBLED.strikes().await
}

#[tokio::test]
async fn repeated_packets_are_heard_once_on_a_busy_machine() -> Result<()> {
    Trouble { busy: true, seed: 0xb5ee0003, ..DOUBLED }.strikes().await
}

const REORDERED: Trouble = Trouble {
    seed: 0x5eed0004,
    devices: THREE_LEGS,
    faults: Faults { reorder: 150, ..NONE },
    ways: BOTH,
    seen: |counts| counts.reordered,
    lasts: None,
    busy: false,
};

#[tokio::test]
async fn overtaken_packets_are_heard_in_order() -> Result<()> {
    REORDERED.strikes().await
}

#[tokio::test]
async fn overtaken_packets_are_heard_in_order_on_a_busy_machine() -> Result<()> {
    Trouble { busy: true, seed: 0xb5ee0004, ..REORDERED }.strikes().await
}

const CLOSED: Trouble = Trouble {
    seed: 0x5eed0005,
    devices: TWO_LEGS,
    faults: Faults { zero_window: true, ..NONE },
    ways: &[Way::Out],
    seen: |counts| counts.closed,
    lasts: Some(Duration::from_millis(700)),
    busy: false,
};

#[tokio::test]
async fn a_closed_window_is_waited_for() -> Result<()> {
    CLOSED.strikes().await
}

#[tokio::test]
async fn a_closed_window_is_waited_for_on_a_busy_machine() -> Result<()> {
    Trouble { busy: true, seed: 0xb5ee0005, ..CLOSED }.strikes().await
}

const EVERYTHING: Trouble = Trouble {
    seed: 0x5eed0006,
    devices: FOUR_LEGS,
    faults: Faults {
        lose_data: 15,
        lose_acks: 50,
        double: 50,
        reorder: 50,
        delay: Duration::from_millis(2),
        zero_window: false,
    },
    ways: BOTH,
    seen: |counts| counts.lost_data.min(counts.doubled).min(counts.reordered),
    lasts: None,
    busy: false,
};

#[tokio::test]
async fn everything_at_once() -> Result<()> {
    EVERYTHING.strikes().await
}

#[tokio::test]
async fn everything_at_once_on_a_busy_machine() -> Result<()> {
    Trouble { busy: true, seed: 0xb5ee0006, ..EVERYTHING }.strikes().await
}

const ALONE: Trouble = Trouble {
    seed: 0x5eed0007,
    devices: ONE_LEG,
    faults: Faults {
        lose_data: 30,
        lose_acks: 100,
        double: 50,
        reorder: 50,
        delay: Duration::from_millis(1),
        zero_window: false,
    },
    ways: BOTH,
    seen: |counts| counts.lost_data + counts.doubled + counts.reordered,
    lasts: None,
    busy: false,
};

#[tokio::test]
async fn a_call_with_the_far_end_alone_survives_everything() -> Result<()> {
    ALONE.strikes().await
}

#[tokio::test]
async fn a_call_with_the_far_end_alone_survives_everything_on_a_busy_machine() -> Result<()> {
    Trouble { busy: true, seed: 0xb5ee0007, ..ALONE }.strikes().await
}
