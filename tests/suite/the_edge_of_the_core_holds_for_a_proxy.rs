//! What nodes of the core say to each other stays among them, whatever message it stands in (RFC 3325, RFC 7315).

use anyhow::{Context, Result, ensure};
use lab::{actor::Scene, sip::Transport, wait::SOON};

use crate::{
    a_proxy_keeps_to_the_rules_of_sip::{inside, with_via},
    sessions_nobody_needs_pf_for_are_proxied::proxied,
};

#[tokio::test]
async fn what_is_for_the_core_alone_crosses_its_edge_in_no_request_and_no_ack() -> Result<()> {
    let scene = proxied(Transport::Udp).await?;
    let pf = scene.at;
    let claims = [
        ("P-Asserted-Identity", "<sip:president@example.org>"),
        ("P-Asserted-Service", "urn:urn-7:3gpp-service.ims.icsi.other"),
        ("P-Charging-Vector", "icid-value=1"),
        ("P-Access-Network-Info", "IEEE-802.11"),
        ("History-Info", "<sip:x@y>;index=1"),
        ("Proxy-Authorization", "Digest username=\"alice\", realm=\"example.org\", nonce=\"n\""),
    ];
    let mut calling = scene.a().invite(Scene::BOB).await?;
    let invite = calling.invite().clone();
    let far = scene.far.invited(SOON).await?.accept().await?;
    let answer = calling.last(SOON).await?;
    // UE-A says all that in the ACK of the 200.
    let mut ack = with_via(inside(&invite, &answer, "ACK", invite.cseq())?, &scene.a().agent);
    claims.iter().for_each(|(name, value)| ack.headers.push((name.to_string(), value.to_string())));
    ack.headers.push(("X-Own".to_owned(), "passes".to_owned()));
    scene.a().agent.send_raw(&ack, pf).await?;
    lab::wait::until(SOON, "ACK at FAR", || !scene.trace.sip("pf", "FAR", "ACK").is_empty()).await?;
    let octets = scene.trace.sip("pf", "FAR", "ACK")[0].octets.clone();
    let text = String::from_utf8_lossy(&octets);
    ensure!(text.contains("X-Own: passes\r\n"), "{text}");
    for (name, _) in claims {
        ensure!(!text.contains(name), "{name} in {text}");
    }
    // And in a request.
    let mut far = far;
    let mut info = inside(&invite, &answer, "INFO", invite.cseq() + 1)?;
    claims.iter().for_each(|(name, value)| info.headers.push((name.to_string(), value.to_string())));
    let mut tx = scene.a().agent.send(info, pf).await?;
    let got = far.dialog.expect("INFO", SOON).await?;
    for (name, _) in claims {
        assert_eq!(got.message.header(name), None, "{name}");
    }
    got.answer(200, "OK").await?;
    assert_eq!(tx.last(SOON).await?.code(), 200);
    // The other way the core asserts an identity to a device, but for who wants it hidden, and its charging to nobody.
    for (privacy, told) in [("none", Some("<sip:bob@far.example.net>")), ("id", None)] {
        let info = far
            .dialog
            .request("INFO")
            .with("P-Asserted-Identity", "<sip:bob@far.example.net>")
            .with("Privacy", privacy)
            .with("P-Charging-Vector", "icid-value=2");
        let _tx = far.dialog.send(info).await?;
        let came = || {
            let infos = scene.trace.sip("pf", "UE-A", "INFO");
            infos.iter().find_map(|entry| {
                let text = String::from_utf8_lossy(&entry.octets).into_owned();
                text.contains(&format!("Privacy: {privacy}\r\n")).then_some(text)
            })
        };
        lab::wait::until(SOON, "INFO at UE-A", || came().is_some()).await?;
        let text = came().context("INFO at UE-A")?;
        assert_eq!(text.contains("P-Asserted-Identity"), told.is_some(), "{text}");
        ensure!(!text.contains("P-Charging-Vector"), "{text}");
    }
    Ok(())
}
