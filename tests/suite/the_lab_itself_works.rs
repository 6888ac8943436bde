//! A device and a far end with nothing between them: what the other tests stand on.

use anyhow::Result;
use lab::{
    actor::{Device, Party, Scene, Ue},
    msrp::{Answer, Incoming, Outgoing},
    net::{Network, Place},
    sip::{SdpOptions, Transport},
    trace::Trace,
    wait::{QUIET, SOON},
};

async fn meet(transport: Transport, ue_setup: &str, far_setup: &str) -> Result<()> {
    let trace = Trace::default();
    let far = Party::start("FAR", &Place::loopback(9), transport, Scene::BOB, &trace)?;
    let device = Device { transport, ..Device::of_alice("A") };
    let ue = Ue::start("UE-A", &Place::loopback(11), device, far.agent.local(), &trace)?;
    let calling = ue.invite_with(Scene::BOB, &SdpOptions::setup(ue_setup), |_| {}).await?;
    let invited = far.invited(SOON).await?;
    let mut there = invited.accept_with(&SdpOptions::setup(far_setup), |_| {}).await?;
    let mut here = calling.answered(SOON).await?;
    here.media.ready(SOON).await?;
    there.media.ready(SOON).await?;

    let text = "x".repeat(300_000);
    let sent = here.media.chat(Scene::ALICE, Scene::BOB, &text).await?;
    assert_eq!(there.media.message(SOON).await?.body, sent.body);

    there.media.script(|_| Answer::Code(413));
    let refused = here.media.send(&Outgoing::chat(Scene::ALICE, Scene::BOB, "no")).await?;
    assert_eq!(refused.answers(SOON).await?, [413]);
    there.media.message(SOON).await?;

    let abandoned = Outgoing { abort_after: Some(2), ..Outgoing::chat(Scene::ALICE, Scene::BOB, &text) };
    here.media.send(&abandoned).await?;
    assert!(matches!(there.media.next(SOON).await?, Incoming::Aborted(_, body) if body.len() == 4_096));

    let silent = Outgoing { failure_report: Some("no".into()), ..Outgoing::new("text/plain", "quiet") };
    here.media.send(&silent).await?.unanswered(QUIET).await?;
    assert_eq!(there.media.message(SOON).await?.body, "quiet");

    let (bye, done) = tokio::join!(there.hung_up(), here.hang_up());
    done?;
    assert!(bye?.header("Reason").is_some_and(|reason| reason.contains("cause=200")));
    assert!(there.invite.header("Conversation-ID").is_some());
    assert_eq!(trace.sip("UE-A", "FAR", "INVITE").len(), 1);
    Ok(())
}

#[tokio::test]
async fn device_and_far_end_chat_over_udp() -> Result<()> {
    meet(Transport::Udp, "active", "passive").await
}

#[tokio::test]
async fn device_and_far_end_chat_over_tcp_with_the_far_end_connecting() -> Result<()> {
    meet(Transport::Tcp, "actpass", "active").await
}

#[tokio::test]
async fn cancel_is_answered_and_ends_the_invite() -> Result<()> {
    let trace = Trace::default();
    let far = Party::start("FAR", &Place::loopback(9), Transport::Udp, Scene::BOB, &trace)?;
    let ue = Ue::start("UE-A", &Place::loopback(11), Device::of_alice("A"), far.agent.local(), &trace)?;
    let calling = ue.invite(Scene::BOB).await?;
    let invited = far.invited(SOON).await?;
    assert_eq!(calling.tx.cancel(None).await?.last(SOON).await?.code(), 200);
    invited.request.cancelled(SOON).await?;
    assert_eq!(calling.refused(SOON).await?.code(), 487);
    invited.request.acked(SOON).await?;
    Ok(())
}

#[tokio::test]
async fn hosts_of_a_network_reach_each_other() -> Result<()> {
    let Some(mut network) = Network::for_test()? else { return Ok(()) };
    let (one, two) = (network.host("one")?, network.host("two")?);
    for (from, to) in [(&one.v4, &two.v4), (&one.v6, &two.v6)] {
        let listener = to.listen(0)?;
        let stream = from.connect(listener.local_addr()?, None).await?;
        let (_, peer) = listener.accept().await?;
        assert_eq!(peer, stream.local_addr()?);
        assert_eq!(peer.ip(), from.ip);
    }
    Ok(())
}
