//! Clause 8.2.2.4 for a user whose history is recorded: the store, then the BYEs.

use std::time::Duration;

use anyhow::Result;
use lab::{
    actor::{Call, ICSI_GROUP, Scene, SceneOptions},
    sip::SdpOptions,
    store::Journal,
    wait::{SOON, never},
};

/// The client promises to refresh a group session within 90 s and does not: 60 s later it is given up.
const EXPIRY: Duration = Duration::from_secs(75);

async fn unrefreshed(scene: &Scene) -> Result<(Call, Call)> {
    let calling = scene
        .a()
        .invite_with(Scene::BOB, &SdpOptions::setup("active"), |invite| {
            invite.headers.push(("Session-Expires".into(), "90;refresher=uac".into()));
            invite.set("P-Preferred-Service", ICSI_GROUP);
        })
        .await?;
    let far = scene.far.invited(SOON).await?.accept().await?;
    Ok((calling.answered(SOON).await?, far))
}

// Rows: TMR-03, TMR-04, TMR-05
#[tokio::test]
async fn every_client_s_bye_names_the_group_state_object() -> Result<()> {
    let scene = super::storing_comes_before_the_end::recording(&["UE-A", "UE-B"]).await?;
    let journal = Journal::of(&scene.pf);
    let (mut a, mut far) = unrefreshed(&scene).await?;
    let mut b = scene.device(1).invited(SOON).await?.accept().await?;
    journal.grown_to(1).await?;
    // The store works again 2 s after the timer has expired: no BYE comes before.
    let held = journal.hold()?;
    never(Duration::from_secs(62), "a BYE", a.dialog.next_request(EXPIRY)).await?;
    assert_eq!(journal.kinds()?, ["session-info"]);
    assert!(scene.trace.sip("pf", "FAR", "BYE").is_empty());
    drop(held);
    let a_bye = a.hung_up().await?;
    let records = journal.records()?;
    assert_eq!(journal.kinds()?, ["session-info", "group-state", "session-end"]);
    assert_eq!(a_bye.required("Message-UID")?, records[1]["uid"].to_string());
    assert_eq!(records[1]["conversation"], a.invite.required("Conversation-ID")?);
    assert_eq!(records[1]["session"], a.invite.required("Contribution-ID")?);
    assert_eq!(b.hung_up().await?.header("Message-UID"), a_bye.header("Message-UID"));
    assert_eq!(far.hung_up().await?.header("Message-UID"), None);
    scene.verify()
}

// Rows: TMR-10
#[tokio::test]
async fn a_store_that_fails_keeps_no_session() -> Result<()> {
    // Silent until the end.
    let silent = super::storing_comes_before_the_end::recording(&["UE-A"]).await?;
    let journal = Journal::of(&silent.pf);
    // Full at once.
    let full = Scene::start(SceneOptions {
        devices: vec!["UE-A"],
        user: "allow_offline_storage = true".into(),
        store: "kind = \"journal\"\nmax_octets = 1024".into(),
        ..SceneOptions::default()
    })
    .await?;
    let (mut of_silent, mut of_full) = (unrefreshed(&silent).await?, unrefreshed(&full).await?);
    journal.grown_to(1).await?;
    let held = journal.hold()?;
    // The first record fits into 1024 octets, and what ends the session does not any more.
    let filling = fill(&full).await?;
    let expires = async |(a, far): &mut (Call, Call)| {
        let bye = a.dialog.expect("BYE", EXPIRY).await?;
        bye.answer(200, "OK").await?;
        assert_eq!(bye.message.header("Message-UID"), None);
        far.hung_up().await
    };
    let (first, second) = tokio::join!(expires(&mut of_silent), expires(&mut of_full));
    first?;
    second?;
    assert_eq!(silent.pf.cli_json("stats")?["store"]["late"], 2);
    let stats = full.pf.cli_json("stats")?;
    assert!(stats["store"]["full"].as_u64() > filling, "{stats}");
    drop(held);
    Ok(())
}

/// Sessions until the journal takes no more; how many objects it has refused then.
async fn fill(scene: &Scene) -> Result<Option<u64>> {
    loop {
        let (mut a, mut far) = scene.call().await?;
        let (bye, ends) = tokio::join!(a.dialog.bye(None), far.hung_up());
        assert_eq!(bye?.code(), 200);
        ends?;
        let refused = scene.pf.cli_json("stats")?["store"]["full"].as_u64();
        if refused > Some(1) {
            return Ok(refused);
        }
    }
}
