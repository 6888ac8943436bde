//! The INVITE on leg F: what is copied, what is pf's own.

use anyhow::{Context, Result};
use lab::{
    actor::{Calling, ICSI_GROUP, ICSI_SESSION, Invited, Party, Scene, SceneOptions},
    net::Place,
    sip::{Message, Sdp, SdpOptions, Transport, param, uri},
    trace::Trace,
    wait::SOON,
};

/// UE-A's INVITE and what the far end gets of it.
async fn pass(scene: &Scene, target: &str, edit: impl FnOnce(&mut Message)) -> Result<(Calling, Invited)> {
    let offer = SdpOptions { max_size: Some(100_000), ..SdpOptions::setup("active") };
    let calling = scene.a().invite_with(target, &offer, edit).await?;
    let invited = scene.far.invited(SOON).await?;
    Ok((calling, invited))
}

// Rows: INV-09, INV-10, INV-11, INV-12, INV-17, INV-18, INV-29
#[tokio::test]
async fn what_is_copied_is_copied_to_the_letter() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let target = "sip:bob%20b@far.example.net;user=phone;x=Y";
    let accept =
        ["*;+g.3gpp.icsi-ref=\"urn%3aurn-7%3A3gpp-service.ims.icsi.oma.cpm.session\";require", "*;audio"];
    let (_calling, invited) = pass(&scene, target, |invite| {
        invite.set("Conversation-ID", "f81d4fae-7dec-11d0-A765-00a0c91e6bf6");
        invite.set("Contribution-ID", "6B79b8bc937e4985b1dffd062b687bd7");
        invite.headers.push(("InReplyTo-Contribution-ID".into(), "01234567-Aa".into()));
        let contact =
            format!("{};q=0.3;+g.example.unheard-of=\"<One>\"", invite.header("Contact").unwrap_or_default());
        invite.set("Contact", contact);
        invite.remove("Accept-Contact");
        for value in accept {
            invite.headers.push(("a".into(), value.into()));
        }
    })
    .await?;
    let got = &invited.request.message;
    assert_eq!(got.uri(), target);
    assert_eq!(got.header("Conversation-ID"), Some("f81d4fae-7dec-11d0-A765-00a0c91e6bf6"));
    assert_eq!(got.header("Contribution-ID"), Some("6B79b8bc937e4985b1dffd062b687bd7"));
    assert_eq!(got.header("InReplyTo-Contribution-ID"), Some("01234567-Aa"));
    assert_eq!(got.all("Accept-Contact"), accept);
    let contact = got.required("Contact")?;
    let own = format!("<{}>", scene.a().device.instance);
    assert_eq!(param(contact, "+sip.instance"), Some(own.as_str()));
    assert!(param(contact, "+g.3gpp.icsi-ref").is_some_and(|tag| tag.contains("oma.cpm.session")));
    assert_eq!(param(contact, "q"), Some("0.3"));
    assert_eq!(param(contact, "+g.example.unheard-of"), Some("<One>"), "{contact}");
    Ok(())
}

// Rows: INV-09
#[tokio::test]
async fn a_tel_uri_stays_a_tel_uri() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let target = "tel:+1-201-555-0123;phone-context=x.example";
    let (_calling, invited) = pass(&scene, target, |_| {}).await?;
    assert_eq!(invited.request.message.uri(), target);
    Ok(())
}

// Rows: INV-12, INV-14, INV-15, INV-16, INV-19, INV-20, INV-21, INV-26
#[tokio::test]
async fn the_dialog_is_pfs_own() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let (calling, invited) = pass(&scene, Scene::BOB, |invite| {
        invite.set("Max-Forwards", "50");
        invite.set("CSeq", "4711 INVITE");
        invite.remove("Supported");
    })
    .await?;
    let (ours, got) = (calling.invite().clone(), invited.request.message.clone());
    assert_ne!(got.header("Call-ID"), ours.header("Call-ID"));
    let tag =
        |message: &Message| lab::sip::tag(message.header("From").unwrap_or_default()).map(str::to_owned);
    assert_ne!(tag(&got), tag(&ours));
    assert_eq!(got.all("Via").len(), 1, "Vias of the client are not shown on");
    assert!(got.branch().is_some() && got.branch() != ours.branch());
    assert_ne!(got.cseq(), ours.cseq());
    assert_eq!(got.header("Max-Forwards"), Some("49"));
    assert_eq!(got.all("User-Agent").len(), 1);
    assert!(got.required("User-Agent")?.starts_with("CPM-serv/OMA2.2"), "{:?}", got.header("User-Agent"));
    assert!(got.all("Supported").iter().any(|value| value.contains("timer")));
    assert!(!got.all("Supported").iter().any(|value| value.contains("recipient-list-invite")));
    assert_eq!(param(got.required("Session-Expires")?, "refresher"), Some("uac"));
    assert_eq!(got.header("InReplyTo-Contribution-ID"), None, "not invented");
    // A request to that Contact arrives at pf: the far end's BYE uses it.
    let contact = uri(got.required("Contact")?).to_owned();
    let (address, _) = lab::sip::host_port(&contact).context("Contact")?;
    assert!(scene.pf.sip.iter().any(|(_, sip)| *sip == address), "{contact}");
    let mut far = invited.accept().await?;
    let mut a = calling.answered(SOON).await?;
    let (bye, done) = tokio::join!(a.hung_up(), far.hang_up());
    bye?;
    done?;
    scene.verify()
}

// Rows: INV-27
#[tokio::test]
async fn the_offer_is_made_from_the_clients() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let (calling, invited) = pass(&scene, Scene::BOB, |_| {}).await?;
    let ours = lab::sip::Sdp::parse(&calling.invite().body)?;
    let offer = invited.offer()?;
    let (ours, got) = (ours.msrp()?.clone(), offer.msrp()?.clone());
    assert_ne!(got.path()?, ours.path()?);
    assert_eq!(got.path()?.len(), 1);
    assert_eq!(got.socket()?, scene.pf.msrp[0]);
    let own = lab::msrp::MsrpUri::parse(&got.path()?[0])?;
    assert_eq!(own.socket, scene.pf.msrp[0]);
    assert!(own.session.len() >= 14, "80 bits of randomness need more than `{}`", own.session);
    assert!(matches!(got.attribute("setup"), Some("actpass" | "active")));
    for name in ["accept-types", "accept-wrapped-types", "max-size"] {
        assert_eq!(got.attribute(name), ours.attribute(name), "{name}");
    }
    assert_eq!(got.attribute("connection"), None);
    Ok(())
}

// Rows: INV-22, INV-23
#[tokio::test]
async fn the_preferred_service_becomes_the_asserted_one() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    for service in [ICSI_SESSION, ICSI_GROUP] {
        let (_calling, invited) =
            pass(&scene, Scene::BOB, |invite| invite.set("P-Preferred-Service", service)).await?;
        let got = &invited.request.message;
        assert_eq!(got.all("P-Asserted-Service"), [service]);
        assert_eq!(got.header("P-Preferred-Service"), None);
    }
    Ok(())
}

// Rows: INV-13, INV-20
#[tokio::test]
async fn a_recipient_list_goes_along() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let list = "<?xml version=\"1.0\"?>\r\n<resource-lists><list>\r\n<entry uri=\"sip:c@x\"/></list></resource-lists>";
    let part = format!(
        "Content-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list\r\n\r\n{list}"
    );
    let (calling, invited) = pass(&scene, "sip:factory@far.example.net", |invite| {
        let sdp = String::from_utf8_lossy(&invite.body).into_owned();
        let body = format!(
            "--edge\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--edge\r\n{part}\r\n--edge--\r\n"
        );
        invite.set_body("multipart/mixed;boundary=\"edge\"", body.into_bytes());
        invite.headers.push(("Require".into(), "recipient-list-invite".into()));
        invite.set("P-Preferred-Service", ICSI_GROUP);
    })
    .await?;
    let got = &invited.request.message;
    let kind = got.required("Content-Type")?;
    assert!(kind.starts_with("multipart/mixed"), "{kind}");
    let boundary = param(kind, "boundary").context("boundary")?;
    let body = String::from_utf8(got.body.clone())?;
    let parts: Vec<&str> = body
        .split(&format!("--{boundary}"))
        .map(|part| part.trim_start_matches("\r\n").strip_suffix("\r\n").unwrap_or(part))
        .collect();
    assert!(parts.contains(&part.as_str()), "{body}");
    assert!(!body.contains(&calling.invite().required("Call-ID")?.to_owned()));
    let sdp = parts.iter().find(|p| p.contains("application/sdp")).context("no SDP part")?;
    let sdp = sdp.split_once("\r\n\r\n").context("no SDP")?.1;
    let sdp = lab::sip::Sdp::parse(format!("{}\r\n", sdp.trim_end()).as_bytes())?;
    assert_eq!(sdp.msrp()?.socket()?, scene.pf.msrp[0]);
    assert!(got.all("Supported").iter().any(|value| value.contains("recipient-list-invite")));
    Ok(())
}

// Rows: INV-08
#[tokio::test]
async fn whatever_needs_the_media_path_puts_pf_there() -> Result<()> {
    let isf = Party::start("ISF", &Place::loopback(8), Transport::usual(), "sip:isf@x", &Trace::default())?;
    // Each alone: direct delivery, MSRP interoperability, interworking, storage.
    for (policy, interworking) in [
        ("direct_delivery = true", false),
        ("direct_delivery = false\nlegacy_matching = true", false),
        ("direct_delivery = false\ninterworking_after = [404]", true),
        ("direct_delivery = false\nallow_defer = true", false),
    ] {
        let scene = Scene::start(SceneOptions {
            policy: format!("media_path = \"when-needed\"\n{policy}"),
            isf: interworking.then(|| isf.agent.local()),
            ..SceneOptions::default()
        })
        .await?;
        let calling = scene.a().invite(Scene::BOB).await?;
        let invited = scene.far.invited(SOON).await?;
        let (ours, got) = (calling.invite().clone(), invited.request.message.clone());
        assert_ne!(got.header("Call-ID"), ours.header("Call-ID"), "{policy}");
        let offer = invited.offer()?.msrp()?.clone();
        assert_eq!(offer.socket()?, scene.pf.msrp[0], "{policy}");
        assert_ne!(offer.path()?, Sdp::parse(&ours.body)?.msrp()?.path()?, "{policy}");
        // The path is no mere claim: messages come through it.
        let mut far = invited.accept().await?;
        let a = calling.answered(SOON).await?;
        assert_eq!(a.peer_sdp.msrp()?.socket()?, scene.pf.msrp[0], "{policy}");
        a.media.ready(SOON).await?;
        let sent = a.media.chat(Scene::ALICE, Scene::BOB, "hello").await?;
        assert_eq!(far.media.message(SOON).await?.body, sent.body);
    }
    Ok(())
}

crate::over_tcp::the_same_over_tcp!(
    what_is_copied_is_copied_to_the_letter,
    a_tel_uri_stays_a_tel_uri,
    the_dialog_is_pfs_own,
    the_offer_is_made_from_the_clients,
    the_preferred_service_becomes_the_asserted_one,
    a_recipient_list_goes_along,
    whatever_needs_the_media_path_puts_pf_there
);
