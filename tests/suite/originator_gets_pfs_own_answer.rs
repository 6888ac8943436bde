//! The 200 on leg A.

use std::time::Duration;

use anyhow::{Context, Result};
use lab::{
    actor::Scene,
    sip::{Message, Sdp, SdpOptions, host_port, tag, uri},
    wait::{SOON, never, until},
};

// Rows: ANS-08, ANS-09, ANS-11
#[tokio::test]
async fn originator_gets_pfs_own_answer() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let (a, far) = scene.call().await?;
    assert_eq!(a.answer.header("Call-ID"), a.invite.header("Call-ID"));
    let far_tag = tag(far.answer.required("To")?).map(str::to_owned);
    assert_ne!(tag(a.answer.required("To")?).map(str::to_owned), far_tag);
    let server = a.answer.required("Server")?;
    assert!(server.starts_with("CPM-serv/OMA2.2") && !server.contains("lab/1"), "{server}");
    let line = a.peer_sdp.msrp()?.clone();
    assert_eq!(line.attribute("setup"), Some("passive"));
    assert_eq!(line.socket()?, scene.pf.msrp[0]);
    let contact = uri(a.answer.required("Contact")?).to_owned();
    let (address, _) = host_port(&contact).context("Contact")?;
    assert!(scene.pf.sip.iter().any(|(_, sip)| *sip == address), "{contact}");
    scene.verify()
}

// Rows: ANS-10
#[tokio::test]
async fn the_answer_keeps_rejected_lines_and_the_far_ends_types() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let second = "m=message 9 TCP/MSRP *\r\na=accept-types:*\r\na=path:msrp://127.0.0.1:9/second;tcp\r\na=setup:active";
    let offer = SdpOptions { extra: vec![second.to_owned()], ..SdpOptions::setup("active") };
    let calling = scene.a().invite_with(Scene::BOB, &offer, |_| {}).await?;
    let invited = scene.far.invited(SOON).await?;
    let got = invited.offer()?;
    assert_eq!(got.media.len(), 2, "both lines are offered on");
    let answer = SdpOptions {
        accept_types: "message/cpim".to_owned(),
        accept_wrapped_types: "text/plain".to_owned(),
        extra: vec!["m=message 0 TCP/MSRP *".to_owned()],
        ..SdpOptions::setup("passive")
    };
    let far = invited.accept_with(&answer, |_| {}).await?;
    let a = calling.answered(SOON).await?;
    let lines = &a.peer_sdp.media;
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1].port, 0, "rejected stays rejected, and in its place");
    assert_eq!(lines[0].attribute("accept-types"), Some("message/cpim"));
    assert_eq!(lines[0].attribute("accept-wrapped-types"), Some("text/plain"));
    assert_ne!(lines[0].path()?, Sdp::parse(&far.answer.body)?.media[0].path()?);
    assert_eq!(lines[0].socket()?, scene.pf.msrp[0], "c= and m= are pf's");
    Ok(())
}

// Rows: ANS-13, RSP-06
#[tokio::test]
async fn the_200_is_repeated_until_the_ack_and_the_ack_goes_on() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let mut calling = scene.a().invite(Scene::BOB).await?;
    let invited = scene.far.invited(SOON).await?;
    let far_request = invited.request.clone();
    let _far = invited.accept().await?;
    let answer = calling.last(SOON).await?;
    assert_eq!(answer.code(), 200);
    let answers = || scene.trace.sip("pf", "UE-A", "200 OK (INVITE)").len();
    until(SOON, "a repeated 200", || answers() >= 3).await?;
    let pending = far_request.is_acked();
    let _a = calling.acknowledge(answer).await?;
    let ack: Message = far_request.acked(SOON).await?;
    assert!(!pending, "the far end was acknowledged before UE-A had acknowledged");
    assert_eq!(ack.cseq(), far_request.message.cseq());
    // The pause before the next one would have been 4 s at the most.
    let until_now = answers();
    let again = until(SOON, "", || answers() > until_now);
    never(Duration::from_secs(4), "the 200 once more", again).await?;
    Ok(())
}

crate::over_tcp::the_same_over_tcp!(
    originator_gets_pfs_own_answer,
    the_answer_keeps_rejected_lines_and_the_far_ends_types,
    the_200_is_repeated_until_the_ack_and_the_ack_goes_on
);
