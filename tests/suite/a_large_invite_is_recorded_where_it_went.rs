//! A request that is too large for UDP goes over TCP (RFC 3261 section 18.1.1): the Record-Route of `pf` then says TCP.

use anyhow::{Context, Result};
use lab::{
    actor::Scene,
    net::Place,
    sip::{SdpOptions, Transport, split_list, uri},
    wait::SOON,
};

use crate::sessions_nobody_needs_pf_for_are_proxied::{proxied, small};

#[tokio::test]
async fn an_invite_that_changes_to_tcp_for_its_size_is_recorded_there() -> Result<()> {
    let scene = proxied(Transport::Udp).await?;
    let offer = SdpOptions::setup("active");
    for large in [false, true] {
        let calling = scene
            .a()
            .invite_with(Scene::BOB, &offer, |invite| match large {
                true => invite.headers.push(("X-Padding".to_owned(), "x".repeat(1300))),
                false => small(invite),
            })
            .await?;
        let invited = scene.far.invited(SOON).await?;
        let over = if large { Transport::Tcp } else { Transport::Udp };
        assert_eq!(invited.request.peer.transport, over);
        let recorded: Vec<String> = invited
            .request
            .message
            .all("Record-Route")
            .into_iter()
            .flat_map(split_list)
            .map(|route| uri(route).to_owned())
            .collect();
        assert_eq!(recorded.len(), if large { 2 } else { 1 }, "{recorded:?}");
        for (route, transport) in recorded.iter().zip([over, Transport::Udp]) {
            let (address, named) = lab::sip::host_port(route).context("a numeric address")?;
            assert_eq!(address, scene.pf.sip_address(transport, Place::loopback(1).ip)?, "{route}");
            assert_eq!(named.as_deref() == Some("tcp"), transport == Transport::Tcp, "{route}");
        }
        let mut far = invited.accept_with(&SdpOptions::setup("passive"), |_| {}).await?;
        let mut a = calling.answered(SOON).await?;
        lab::wait::until(SOON, "ACK at FAR", || !scene.trace.sip("pf", "FAR", "ACK").is_empty()).await?;
        // What the far end asks comes by the transport that it heard pf on, and UE-A gets it by its own.
        let info = far.dialog.request("INFO");
        assert_eq!(far.dialog.next_hop()?.0, over);
        let mut tx = far.dialog.send(info).await?;
        let got = a.dialog.expect("INFO", SOON).await?;
        assert_eq!(got.peer.transport, Transport::Udp);
        assert_eq!(got.message.all("Route"), Vec::<&str>::new(), "pf is off the route, twice");
        got.answer(200, "OK").await?;
        assert_eq!(tx.last(SOON).await?.code(), 200);
        let (bye, done) = tokio::join!(far.hung_up(), a.hang_up());
        bye?;
        done?;
        scene.verify()?;
    }
    Ok(())
}
