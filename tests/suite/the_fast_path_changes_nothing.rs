//! The same conversation with and without the fast path: every leg gets the same frames, but for the paths.

use anyhow::{Context, Result, ensure};
use lab::{
    actor::{Scene, SceneOptions},
    net::Network,
};

use crate::{
    conversation::{Dice, TRIED, have},
    fast::{Hogs, diagnosis, fast, shares},
};

/// As many as a user may have.
const DEVICES: [&str; 16] = [
    "UE-A", "UE-B", "UE-C", "UE-D", "UE-E", "UE-F", "UE-G", "UE-H", "UE-I", "UE-J", "UE-K", "UE-L", "UE-M",
    "UE-N", "UE-O", "UE-P",
];
/// Devices beside the originator that the programs serve: with the far end, `datapath.fan_out` copies.
const MOST: usize = 14;
/// Into the kernel as soon and as often as possible.
const EAGER: &str = "single_messages = 0\nbackoff_octets = 0";

/// One conversation, twice.
struct Twice {
    seed: u32,
    /// Devices beside the originator.
    others: usize,
    lines: usize,
    /// So many of them the programs serve.
    most: usize,
    datapath: &'static str,
    /// So many of [`TRIED`] messages shall be the kernel's, one after the other.
    kernel: u64,
}

impl Twice {
    fn options(&self) -> SceneOptions {
        let devices = DEVICES[..=self.others].to_vec();
        SceneOptions { devices, datapath: self.datapath.to_owned(), ..SceneOptions::default() }
    }

    async fn check(&self) -> Result<()> {
        let Some(scene) = fast(self.options()).await? else { return Ok(()) };
        let mut dice = Dice::new(self.seed);
        let parts = dice.script(self.lines, self.others, self.most, self.kernel);
        let (with, parts) = have(&scene, parts, &mut dice).await.with_context(|| diagnosis(&scene))?;
        let (kernel, passed) = shares(&scene)?;
        eprintln!("{} others, seed {:x}: {kernel} in the kernel, {passed} not", self.others, self.seed);
        if self.others > self.most {
            let stats = scene.pf.cli_json("stats")?["fast_path"].clone();
            let many = stats["sends_in_userspace"]["many-legs"].as_u64().unwrap_or(0);
            // Until one has left.
            let some = kernel > 0 && self.others == self.most + 1;
            ensure!((kernel == 0 || some) && many * 2 > passed, "{}", diagnosis(&scene));
        }
        drop(scene);
        let network = Network::for_test()?;
        let slow = Scene::start(SceneOptions { network, fast_path: "off", ..self.options() }).await?;
        let (without, _) = have(&slow, parts, &mut dice).await.context("without the fast path")?;
        ensure!(with.len() == without.len(), "other legs");
        for (leg, (with, without)) in with.iter().zip(&without).enumerate() {
            for (sender, theirs) in without {
                let ours = with.get(sender).context("a silent sender")?;
                for (ours, theirs) in ours.iter().zip(theirs) {
                    ensure!(
                        ours == theirs,
                        "leg {leg} heard {ours:?} with, {theirs:?} without the fast path"
                    );
                }
            }
            ensure!(with == without, "leg {leg}");
        }
        Ok(())
    }
}

#[tokio::test]
async fn the_fast_path_changes_nothing() -> Result<()> {
    for seed in [0x2545_F491, 0x0BAD_5EED] {
        Twice { seed, others: 2, lines: 300, most: MOST, datapath: "", kernel: TRIED * 4 / 5 }
            .check()
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_eager_fast_path_changes_nothing() -> Result<()> {
    for seed in [0x1357_9BDF, 0x7777_0001] {
        Twice { seed, others: 2, lines: 300, most: MOST, datapath: EAGER, kernel: TRIED * 4 / 5 }
            .check()
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn with_one_other_device_the_fast_path_changes_nothing() -> Result<()> {
    for (seed, datapath) in [(0x4242_4242, ""), (0x0101_F00D, EAGER)] {
        Twice { seed, others: 1, lines: 300, most: MOST, datapath, kernel: TRIED * 4 / 5 }.check().await?;
    }
    Ok(())
}

/// The far end and 14 devices: 15 copies of each message.
#[tokio::test]
async fn with_as_many_devices_as_can_be_the_fast_path_changes_nothing() -> Result<()> {
    Twice { seed: 0x3333_3333, others: MOST, lines: 120, most: MOST, datapath: "", kernel: TRIED * 4 / 5 }
        .check()
        .await
}

/// The programs begin when it has left.
#[tokio::test]
async fn with_one_device_too_many_for_a_while_the_fast_path_changes_nothing() -> Result<()> {
    Twice {
        seed: 0x5555_5555,
        others: MOST + 1,
        lines: 90,
        most: MOST,
        datapath: EAGER,
        kernel: TRIED * 4 / 5,
    }
    .check()
    .await
}

#[tokio::test]
async fn with_too_many_devices_the_fast_path_changes_nothing() -> Result<()> {
    Twice {
        seed: 0x1234_4321,
        others: MOST + 1,
        lines: 90,
        most: MOST - 1,
        datapath: "fan_out = 14",
        kernel: TRIED,
    }
    .check()
    .await
}

#[tokio::test]
async fn on_a_busy_machine_the_fast_path_changes_nothing() -> Result<()> {
    let _hogs = Hogs::start();
    for (seed, datapath) in [(0x6B8B_4567, ""), (0x327B_23C6, EAGER)] {
        Twice { seed, others: 2, lines: 150, most: MOST, datapath, kernel: TRIED / 2 }.check().await?;
    }
    Ok(())
}
