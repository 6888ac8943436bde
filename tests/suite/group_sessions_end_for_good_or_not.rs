//! The controlling function's BYE tells whether a group session may be started again as a long-lived one.

use anyhow::Result;
use lab::{actor::Scene, wait::SOON};
use serde_json::Value;

use super::storing_comes_before_the_end::group_call;

/// Ends a group session with this Reason; the client's BYE has the same. Gives what `pf groups` shows of it.
async fn ended(scene: &Scene, reason: &str) -> Result<Value> {
    let (mut a, mut far) = group_call(scene).await?;
    let mut bye = far.dialog.start_bye(Some(reason)).await?;
    let a_bye = a.dialog.expect("BYE", SOON).await?;
    assert_eq!(a_bye.message.header("Reason"), Some(reason));
    a_bye.answer(200, "OK").await?;
    assert_eq!(bye.last(SOON).await?.code(), 200);
    let shown = scene.pf.cli_json("groups")?;
    let group = shown[0].clone();
    assert_eq!(group["user"], Scene::ALICE);
    assert_eq!(group["focus"], far.party.agent.contact_uri("bob"));
    assert_eq!(group["contribution_id"], a.invite.required("Contribution-ID")?);
    Ok(group)
}

// Rows: BYE-08
#[tokio::test]
async fn cause_410_ends_it_for_good() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let group = ended(&scene, "SIP;cause=410;text=\"Gone\"").await?;
    assert_eq!((&group["restartable"], &group["end"]), (&false.into(), &"gone".into()));
    let table = scene.pf.cli(&["groups"])?;
    assert!(table.lines().nth(1).is_some_and(|row| row.trim_end().ends_with("no")), "{table}");
    scene.verify()
}

// Rows: BYE-09
#[tokio::test]
async fn cause_480_lets_it_be_started_again() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let group = ended(&scene, "SIP;cause=480;text=\"Bearer unavailable\"").await?;
    assert_eq!((&group["restartable"], &group["end"]), (&true.into(), &"inactive".into()));
    // Another end of the same session counts from then on.
    let group = ended(&scene, "SIP ; cause=410 ; text=\"Gone\"").await?;
    assert_eq!(group["restartable"], false);
    assert_eq!(scene.pf.cli_json("groups")?.as_array().map(Vec::len), Some(1));
    scene.verify()
}

crate::over_tcp::the_same_over_tcp!(cause_410_ends_it_for_good, cause_480_lets_it_be_started_again);
