//! Every twentieth datagram is lost, on either way of the device and of the far end: retransmissions carry the calls
//! (RFC 3261 section 17).

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use lab::{
    actor::{Call, Scene, SceneOptions},
    sip::{SdpOptions, ServerRequest, Transport},
};
use tokio::task::JoinSet;

use crate::sessions_nobody_needs_pf_for_are_proxied::small;

/// Of a thousand datagrams, in each direction.
const LOSS: u32 = 50;
/// Transactions end after 32 s.
const PATIENCE: Duration = Duration::from_secs(40);
const CALLS: usize = 100;

/// A call as the device sees it; with `change`, a re-INVITE in the middle.
async fn call(scene: Arc<Scene>, change: bool) -> Result<()> {
    // Nothing is so large that it goes over TCP, which loses nothing.
    let mut calling = scene.a().invite_with(Scene::BOB, &SdpOptions::setup("active"), small).await?;
    let answer = calling.last(PATIENCE).await?;
    ensure!(answer.code() == 200, "INVITE answered {}", answer.code());
    let mut a = calling.acknowledge(answer).await?;
    ensure!(a.dialog.next_hop()?.0 == Transport::Udp, "{}", a.dialog.target);
    if change {
        let mut request = a.dialog.request("INVITE").with("Contact", a.party.contact());
        for name in ["Supported", "P-Preferred-Service"] {
            request = request.with(name, a.invite.header(name).unwrap_or_default());
        }
        // The next version of the description, so that it is no mere refresh.
        let offer = String::from_utf8(a.invite.body.to_vec())?;
        let version = offer.lines().find_map(|line| line.strip_prefix("o=")?.split(' ').nth(2)).unwrap_or("");
        let next = (version.parse::<u64>()? + 1).to_string();
        request.set_body("application/sdp", offer.replacen(version, &next, 1).into_bytes());
        let number = request.cseq();
        let answer = a.dialog.send(request).await?.last(PATIENCE).await?;
        ensure!(answer.code() == 200, "re-INVITE answered {}", answer.code());
        a.dialog.ack(number, None).await?;
    }
    let bye = a.dialog.request("BYE").with("Reason", "SIP;cause=200");
    let answer = a.dialog.send(bye).await?.last(PATIENCE).await?;
    ensure!(answer.code() == 200, "BYE answered {}", answer.code());
    Ok(())
}

/// Requests that came to the far end, by how they came.
#[derive(Default)]
struct Came {
    over_udp: AtomicUsize,
    over_tcp: AtomicUsize,
}

impl Came {
    fn count(&self, request: &ServerRequest) {
        let came = match request.peer.transport {
            Transport::Udp => &self.over_udp,
            Transport::Tcp => &self.over_tcp,
        };
        came.fetch_add(1, Ordering::Relaxed);
    }
}

/// A call as the far end sees it: everything is answered until the BYE.
async fn take(mut far: Call, came: &Came) -> Result<()> {
    loop {
        let request = far.dialog.next_request(PATIENCE).await?;
        came.count(&request);
        match request.message.method() {
            "BYE" => return request.answer(200, "OK").await,
            "INVITE" => {
                let mut answer = request.reply(200, "OK").with("Contact", far.party.contact());
                answer.set_body("application/sdp", far.answer.body.to_vec());
                request.respond(answer).await?;
            }
            "ACK" => {}
            _ => request.answer(501, "Not Implemented").await?,
        }
    }
}

/// How many of the calls went well.
async fn completed(change: bool) -> Result<usize> {
    let options = SceneOptions { devices: vec!["UE-A"], ..SceneOptions::default() };
    let scene = Arc::new(Scene::start(options).await?);
    scene.a().agent.lose(LOSS, 20_260_101);
    scene.far.agent.lose(LOSS, 20_260_102);
    let far = scene.far.clone();
    let came = Arc::new(Came::default());
    let counts = came.clone();
    let taking = tokio::spawn(async move {
        while let Ok(invited) = far.invited(PATIENCE).await {
            let came = counts.clone();
            came.count(&invited.request);
            tokio::spawn(async move {
                if let Ok(call) = invited.accept_with(&SdpOptions::setup("passive"), |_| {}).await {
                    let _ = take(call, &came).await;
                }
            });
        }
    });
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        calls.spawn(call(scene.clone(), change));
    }
    let mut completed = 0;
    while let Some(done) = calls.join_next().await {
        match done? {
            Ok(()) => completed += 1,
            Err(why) => eprintln!("a call failed: {why:#}"),
        }
    }
    taking.abort();
    // An INVITE, the change, and a BYE, each of which had to survive the loss on leg F as well.
    let (over_udp, over_tcp) = (came.over_udp.load(Ordering::Relaxed), came.over_tcp.load(Ordering::Relaxed));
    ensure!(over_tcp == 0, "{over_tcp} requests came over TCP");
    ensure!(over_udp >= completed * if change { 3 } else { 2 }, "{over_udp} requests for {completed} calls");
    for party in [&scene.a().party, &scene.far] {
        ensure!(party.agent.lost() > 10, "{} lost only {} datagrams", party.name, party.agent.lost());
    }
    Ok(completed)
}

#[tokio::test]
async fn of_a_hundred_calls_ninety_nine_complete() -> Result<()> {
    let completed = completed(false).await?;
    ensure!(completed * 100 >= CALLS * 99, "{completed} of {CALLS}");
    Ok(())
}

#[tokio::test]
async fn of_a_hundred_calls_with_a_change_ninety_seven_complete() -> Result<()> {
    let completed = completed(true).await?;
    ensure!(completed * 100 >= CALLS * 97, "{completed} of {CALLS}");
    Ok(())
}
