//! The scene of tests with interworking functions.

use anyhow::{Context, Result, ensure};

use super::{CallingStreams, Invited, Party, Scene, SceneOptions, Streams};
use crate::{net::Place, sip::Message, trace::Trace, wait::SOON};

/// Alice's devices, the far end, and two IWFs behind an ISF.
pub struct Interworking {
    /// The devices, FAR and `pf`.
    pub scene: Scene,
    /// The ISF: what goes to it asks it to choose.
    pub isf: Party,
    /// What it chooses from.
    pub iwfs: Vec<Party>,
}

impl Interworking {
    /// Starts all of them; an INVITE that FAR answers 404 goes to the ISF.
    pub async fn start(devices: &[&'static str], policy: &str) -> Result<Interworking> {
        Interworking::start_with(SceneOptions {
            devices: devices.to_vec(),
            policy: policy.to_owned(),
            ..SceneOptions::default()
        })
        .await
    }

    /// The same with all options of a scene but the ISF.
    pub async fn start_with(options: SceneOptions) -> Result<Interworking> {
        let trace = Trace::default();
        let party = |name: &str, last| {
            Party::start(name, &Place::loopback(last), options.core, &format!("sip:{name}@iwf"), &trace)
        };
        let isf = party("isf", 8)?;
        let iwfs = vec![party("iwf1", 6)?, party("iwf2", 7)?];
        let scene = Scene::start(SceneOptions {
            isf: Some(isf.agent.local()),
            policy: format!(
                "interworking_after = [404]
{}",
                options.policy
            ),
            ..options
        })
        .await?;
        Ok(Interworking { scene, isf, iwfs })
    }

    /// UE-A invites with two streams; FAR does not know its user.
    pub async fn invite(&self, edit: impl FnOnce(&mut Message)) -> Result<(CallingStreams, Invited)> {
        let calling = self.scene.a().invite_streams(Scene::BOB, 2, edit).await?;
        self.scene.far.invited(SOON).await?.refuse(404, "Not Found").await?;
        Ok((calling, self.isf.invited(SOON).await?))
    }

    /// UE-A's two streams go to two IWFs, one each.
    pub async fn call(&self, edit: impl FnOnce(&mut Message)) -> Result<(Streams, [Streams; 2])> {
        let (calling, invited) = self.invite(edit).await?;
        let mut first = invited.accept_for(&self.iwfs[0], &[0], "passive").await?;
        let mut second = invited.accept_for(&self.iwfs[1], &[1], "passive").await?;
        let mut a = calling.answered(SOON).await?;
        for (at, iwf) in [&mut first, &mut second].into_iter().enumerate() {
            iwf.stream(at)?.ready(SOON).await?;
            talk(&mut a, iwf, at, "hello").await?;
        }
        Ok((a, [first, second]))
    }

    /// The user's other device is invited and takes both streams; it has heard what has been said in [`Self::call`].
    pub async fn tablet(&self) -> Result<Streams> {
        let tablet = self.scene.device(1);
        let mut b = tablet.invited(SOON).await?.accept_for(tablet, &[0, 1], "passive").await?;
        for stream in [0, 1] {
            // Both ways.
            for _ in 0..2 {
                b.stream(stream)?.message(SOON).await?;
            }
        }
        Ok(b)
    }

    /// Nobody has seen a breach of SIP.
    pub fn verify(&self) -> Result<()> {
        self.iwfs.iter().chain([&self.isf]).try_for_each(Party::verify)?;
        self.scene.verify()
    }
}

/// A message of UE-A on that stream reaches that IWF, and one of the IWF reaches UE-A.
pub async fn talk(a: &mut Streams, iwf: &mut Streams, stream: usize, text: &str) -> Result<()> {
    let sent = a.stream(stream)?.chat(Scene::ALICE, Scene::BOB, text).await?;
    let got =
        iwf.stream(stream)?.message(SOON).await.with_context(|| format!("{text} on stream {stream}"))?;
    ensure!(got.body == sent.body, "another message came");
    let back = iwf.stream(stream)?.chat(Scene::BOB, Scene::ALICE, "back").await?;
    ensure!(a.stream(stream)?.message(SOON).await?.body == back.body, "another message came back");
    Ok(())
}
