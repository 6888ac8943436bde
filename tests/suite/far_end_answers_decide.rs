//! UE-A hears what the far end answers, when it answers, and nothing of what devices answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use lab::{
    actor::Scene,
    msrp::{Answer, Incoming, Outgoing},
    sip::SdpOptions,
    wait::{QUIET, SOON},
};

fn hello() -> Outgoing {
    Outgoing::chat(Scene::ALICE, Scene::BOB, "hello")
}

// Rows: MED-19
#[tokio::test]
async fn the_200_is_the_far_ends() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B"]).await?;
    let (a, far, _others) = scene.full_call().await?;
    let answered = Arc::new(AtomicBool::new(false));
    let flag = answered.clone();
    far.media.script(move |_| {
        flag.store(true, Ordering::SeqCst);
        Answer::Later(200, Duration::from_millis(700))
    });
    let begin = Instant::now();
    a.media.send(&hello()).await?.accepted(SOON).await?;
    assert!(answered.load(Ordering::SeqCst));
    assert!(begin.elapsed() >= Duration::from_millis(700), "answered before the far end was heard");
    a.media.verify()
}

// Rows: MED-20
#[tokio::test]
async fn what_devices_answer_decides_nothing() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B", "UE-C"]).await?;
    for rude in [Answer::Code(413), Answer::Code(481), Answer::Silence, Answer::Close] {
        let (mut a, mut far, mut others) = scene.full_call().await?;
        others[0].media.script(move |_| rude);
        for _ in 0..2 {
            let message = hello();
            a.media.send(&message).await?.accepted(SOON).await?;
            assert_eq!(far.media.message(SOON).await?.body, message.body, "{rude:?}");
            assert_eq!(others[1].media.message(SOON).await?.body, message.body, "{rude:?}");
        }
        a.media.quiet(QUIET / 4).await?;
        let c = others.pop();
        let byes = async {
            far.hung_up().await?;
            if let Some(mut c) = c {
                c.hung_up().await?;
            }
            anyhow::Ok(())
        };
        let (done, byes) = tokio::join!(a.hang_up(), byes);
        done?;
        byes?;
    }
    Ok(())
}

// Rows: MED-23
#[tokio::test]
async fn an_error_of_the_far_end_reaches_the_sender() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B"]).await?;
    let (a, mut far, _others) = scene.full_call().await?;
    for code in [413, 415, 403, 481] {
        far.media.script(move |_| Answer::Code(code));
        assert_eq!(a.media.send(&hello()).await?.answers(SOON).await?, [code]);
        far.media.message(SOON).await?;
    }
    far.media.script(|_| Answer::Code(200));
    a.media.chat(Scene::ALICE, Scene::BOB, "still there").await?;
    Ok(())
}

// Rows: MED-20
#[tokio::test]
async fn reports_of_devices_are_absorbed_and_the_far_ends_come_through() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B"]).await?;
    let (mut a, mut far, mut others) = scene.full_call().await?;
    let message = Outgoing { success_report: Some("yes".into()), ..hello() };
    a.media.send(&message).await?.accepted(SOON).await?;
    let copy = others[0].media.message(SOON).await?;
    others[0].media.send_report(&copy, "000 200 OK")?;
    a.media.quiet(QUIET).await?;
    let got = far.media.message(SOON).await?;
    far.media.quiet(QUIET / 4).await?;
    far.media.send_report(&got, "000 200 OK")?;
    let report = a.media.report(SOON).await?;
    assert_eq!(report.head.header("Message-ID"), Some(message.message_id.as_str()));
    assert_eq!(report.head.header("Status"), Some("000 200 OK"));
    let length = message.body.len();
    assert_eq!(report.head.header("Byte-Range"), Some(format!("1-{length}/{length}").as_str()));
    Ok(())
}

// Rows: MED-25
#[tokio::test]
async fn failure_report_no_is_never_answered() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B"]).await?;
    let (a, mut far, mut others) = scene.full_call().await?;
    for wanted in ["no", "partial"] {
        let message = Outgoing { failure_report: Some(wanted.into()), ..hello() };
        let sending = a.media.send(&message).await?;
        let got = far.media.message(SOON).await?;
        assert_eq!(got.body, message.body);
        assert_eq!(got.chunks[0].header("Failure-Report"), Some(wanted));
        assert_eq!(others[0].media.message(SOON).await?.body, message.body);
        sending.unanswered(QUIET).await?;
    }
    Ok(())
}

// Rows: MED-17
#[tokio::test]
async fn an_abandoned_message_is_abandoned_everywhere() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B"]).await?;
    let (a, mut far, mut others) = scene.full_call().await?;
    let whole = Outgoing::chat(Scene::ALICE, Scene::BOB, &"x".repeat(10_000));
    let message = Outgoing { abort_after: Some(2), ..whole };
    a.media.send(&message).await?;
    for call in [&mut far, &mut others[0]] {
        match call.media.next(SOON).await? {
            Incoming::Aborted(id, body) => {
                assert_eq!(id, message.message_id);
                assert_eq!(body, message.body.slice(..4_096));
            }
            other => panic!("{other:?}"),
        }
    }
    a.media.chat(Scene::ALICE, Scene::BOB, "another one").await?;
    Ok(())
}

// Rows: MED-10
#[tokio::test]
async fn an_external_body_that_is_not_to_be_fetched_is_left_alone() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B"]).await?;
    let anything = |setup: &str| SdpOptions {
        accept_types: "*".to_owned(),
        accept_wrapped_types: "*".to_owned(),
        ..SdpOptions::setup(setup)
    };
    let calling = scene.a().invite_with(Scene::BOB, &anything("active"), |_| {}).await?;
    let mut far = scene.far.invited(SOON).await?.accept_with(&anything("passive"), |_| {}).await?;
    let a = calling.answered(SOON).await?;
    let mut b = scene.device(1).invited(SOON).await?.accept_with(&anything("passive"), |_| {}).await?;
    b.media.ready(SOON).await?;
    for kind in [
        "message/external-body; access-type=\"URL\"; URL=\"http://store.example/x\"",
        "message/external-body; access-type=ANON-FTP; site=x; name=\"a;action=fetch\"",
    ] {
        let body = lab::msrp::cpim(Scene::ALICE, Scene::BOB, "id", kind, b"Content-Type: text/plain\r\n\r\n");
        let message = Outgoing::new("message/cpim", body);
        a.media.send(&message).await?.accepted(SOON).await?;
        assert_eq!(far.media.message(SOON).await?.body, message.body);
        assert_eq!(b.media.message(SOON).await?.body, message.body);
    }
    Ok(())
}

crate::over_tcp::the_same_over_tcp!(
    the_200_is_the_far_ends,
    what_devices_answer_decides_nothing,
    an_error_of_the_far_end_reaches_the_sender,
    reports_of_devices_are_absorbed_and_the_far_ends_come_through,
    failure_report_no_is_never_answered,
    an_abandoned_message_is_abandoned_everywhere,
    an_external_body_that_is_not_to_be_fetched_is_left_alone
);
