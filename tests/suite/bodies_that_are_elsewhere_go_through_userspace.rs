//! Whether a body has to be fetched from somewhere is not for the kernel's programs to say: a message that speaks of an
//! external body is userspace's, in the middle of a chat that is theirs.

use anyhow::{Result, ensure};
use lab::{
    actor::{Call, Scene, SceneOptions},
    msrp::Outgoing,
    wait::SOON,
};

use crate::fast::{PAUSE, diagnosis, fast, open_minded, rounds, shares};

/// It is sent and reaches everybody as it is.
async fn said(a: &Call, hearers: &mut [Call], message: &Outgoing) -> Result<()> {
    a.media.send(message).await?.accepted(SOON).await?;
    for hearer in hearers {
        let got = hearer.media.message(SOON).await?;
        ensure!(got.message_id == message.message_id && got.body == message.body, "{}", hearer.party.name);
    }
    Ok(())
}

/// How often the programs met such a body.
fn met(scene: &Scene) -> Result<u64> {
    let counts = scene.pf.cli_json("stats")?["fast_path"]["counts"].clone();
    Ok(counts["payload: external-body"].as_u64().unwrap_or(0))
}

fn elsewhere(kind: &str, long: bool) -> Outgoing {
    // The programs look at a long one in pieces: then it stands in the second, in a part of the body.
    let before = if long { "-a line of a part of some length\r\n".repeat(80) } else { String::new() };
    let outer = if long { "multipart/mixed; boundary=x" } else { kind };
    let content = format!("{before}--x\r\nContent-Type: {kind}\r\n\r\n");
    let body = lab::msrp::cpim(Scene::ALICE, Scene::BOB, "id", outer, content.as_bytes());
    Outgoing { explicit_end: true, chunk: 20_000, ..Outgoing::new("message/cpim", body) }
}

// Rows: MED-10
#[tokio::test]
async fn what_speaks_of_an_external_body_is_userspaces() -> Result<()> {
    let Some(scene) = fast(SceneOptions::default()).await? else { return Ok(()) };
    let (a, far, others) = scene.full_call_with(&open_minded()).await?;
    let mut hearers: Vec<Call> = [far].into_iter().chain(others).collect();
    let kinds = [
        ("message/external-body; access-type=\"URL\"; URL=\"http://store.example/x\"", false),
        ("Message/External-Body; access-type=ANON-FTP; site=x; name=y", true),
    ];
    for (kind, long) in kinds {
        let (before, mut in_kernel) = (met(&scene)?, 0);
        for round in rounds() {
            let chat = Outgoing {
                explicit_end: true,
                ..Outgoing::chat(Scene::ALICE, Scene::BOB, &format!("{kind:.8} {round}"))
            };
            said(&a, &mut hearers, &chat).await?;
            let (kernel, _) = shares(&scene)?;
            in_kernel = kernel;
            said(&a, &mut hearers, &elsewhere(kind, long)).await?;
            ensure!(shares(&scene)?.0 == kernel, "{kind} in the kernel\n{}", diagnosis(&scene));
            if met(&scene)? > before && kernel > 0 {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        ensure!(met(&scene)? > before && in_kernel > 0, "nobody met {kind}\n{}", diagnosis(&scene));
    }
    scene.verify()
}
