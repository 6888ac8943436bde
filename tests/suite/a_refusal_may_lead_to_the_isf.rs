//! What the far end refuses goes to the Interworking Selection Function, if the operator says so (clause 8.2.2.1,
//! error response).

use anyhow::Result;
use lab::{
    actor::{Party, Scene, SceneOptions},
    net::Place,
    sip::Transport,
    wait::{QUIET, SOON, never},
};

async fn scene(policy: &str) -> Result<(Scene, Party)> {
    let trace = lab::trace::Trace::default();
    let isf = Party::start("ISF", &Place::loopback(8), Transport::usual(), "sip:isf@x", &trace)?;
    let scene = Scene::start(SceneOptions {
        devices: vec!["UE-A"],
        isf: Some(isf.agent.local()),
        policy: policy.to_owned(),
        ..SceneOptions::default()
    })
    .await?;
    Ok((scene, isf))
}

// Rows: RSP-02, RSP-03, RSP-04
#[tokio::test]
async fn the_codes_of_the_policy_lead_to_the_isf_and_no_others() -> Result<()> {
    let (scene, isf) = scene("interworking_after = [404, 488, 606]").await?;
    for code in [404, 488, 606] {
        let mut calling = scene.a().invite(Scene::BOB).await?;
        let refused = scene.far.invited(SOON).await?;
        refused.refuse(code, "No").await?;
        let invited = isf.invited(SOON).await?;
        assert_eq!(invited.request.message.uri(), refused.request.message.uri());
        assert_eq!(invited.request.message.body, refused.request.message.body);
        never(QUIET / 4, "a final answer to UE-A", calling.last(SOON)).await?;
        let mut there = invited.accept().await?;
        let mut here = calling.answered(SOON).await?;
        there.media.ready(SOON).await?;
        let sent = here.media.chat(Scene::ALICE, Scene::BOB, "hello").await?;
        assert_eq!(there.media.message(SOON).await?.body, sent.body);
        let (bye, done) = tokio::join!(there.hung_up(), here.hang_up());
        bye?;
        done?;
    }
    for code in [480, 486, 603] {
        let calling = scene.a().invite(Scene::BOB).await?;
        scene.far.invited(SOON).await?.refuse(code, "No").await?;
        assert_eq!(calling.refused(SOON).await?.code(), code);
    }
    isf.agent.no_request(QUIET / 4).await?;
    scene.verify()
}

// Rows: RSP-04
#[tokio::test]
async fn without_that_policy_the_refusal_reaches_the_caller() -> Result<()> {
    let (scene, isf) = scene("").await?;
    let calling = scene.a().invite(Scene::BOB).await?;
    scene.far.invited(SOON).await?.refuse(404, "Not Found").await?;
    assert_eq!(calling.refused(SOON).await?.code(), 404);
    isf.agent.no_request(QUIET / 4).await?;
    scene.verify()
}

// Rows: RSP-05
#[tokio::test]
async fn the_isf_is_asked_once_and_the_caller_hears_one_answer() -> Result<()> {
    let (scene, isf) = scene("interworking_after = [404, 480, 606]").await?;
    for (far, then, best) in [(404, 480, 480), (606, 404, 606)] {
        let calling = scene.a().invite(Scene::BOB).await?;
        scene.far.invited(SOON).await?.refuse(far, "No").await?;
        isf.invited(SOON).await?.refuse(then, "No").await?;
        assert_eq!(calling.refused(SOON).await?.code(), best);
        isf.agent.no_request(QUIET / 4).await?;
        scene.far.agent.no_request(QUIET / 4).await?;
        let answers = scene.trace.sip("pf", "UE-A", &format!("{best} "));
        assert_eq!(answers.len(), 1, "one final answer: {answers:?}");
    }
    scene.verify()
}

crate::over_tcp::the_same_over_tcp!(
    the_codes_of_the_policy_lead_to_the_isf_and_no_others,
    without_that_policy_the_refusal_reaches_the_caller,
    the_isf_is_asked_once_and_the_caller_hears_one_answer
);
