//! Clause 8.2.2.1 step 5: where nothing needs `pf` in the media path it is a SIP proxy, and the two ends talk directly.

use anyhow::{Context, Result, ensure};
use lab::{
    actor::{Call, Party, Scene, SceneOptions},
    net::Place,
    sip::{Message, Sdp, SdpOptions, Transport, split_list, uri},
    trace::Trace,
    wait::{QUIET, SOON},
};

/// Nothing needs the media path.
pub(crate) const PROXY: &str = "media_path = \"when-needed\"\ndirect_delivery = false";

pub(crate) async fn proxied(transport: Transport) -> Result<Scene> {
    let devices = vec!["UE-A"];
    Scene::start(SceneOptions { policy: PROXY.to_owned(), devices, transport, ..SceneOptions::default() })
        .await
}

/// Takes out what makes an INVITE so large that it would change to TCP (RFC 3261 section 18.1.1).
pub(crate) fn small(invite: &mut Message) {
    let contact = uri(invite.header("Contact").unwrap_or_default()).to_owned();
    invite.set("Contact", format!("<{contact}>"));
    ["Accept-Contact", "Allow", "User-Agent"].iter().for_each(|name| invite.remove(name));
}

fn routes(message: &Message) -> Vec<String> {
    message.all("Record-Route").into_iter().flat_map(split_list).map(str::to_owned).collect()
}

/// The header fields but for those that a proxy writes, in order.
fn others(message: &Message) -> Vec<(String, String)> {
    let written = ["Via", "Max-Forwards", "Record-Route", "Route", "P-Asserted-Identity", "Content-Length"];
    message.headers.iter().filter(|(name, _)| !written.contains(&name.as_str())).cloned().collect()
}

async fn end(a: &mut Call, far: &mut Call) -> Result<()> {
    let (bye, done) = tokio::join!(far.hung_up(), a.hang_up());
    bye?;
    done
}

// Rows: PRX-01, PRX-04, PRX-05, BYE-01, BYE-02, ANS-16
#[tokio::test]
async fn both_ends_share_one_dialog_and_one_msrp_session() -> Result<()> {
    for transport in [Transport::Udp, Transport::Tcp] {
        let scene = proxied(transport).await?;
        let offer = SdpOptions::setup("active");
        let calling = scene
            .a()
            .invite_with(Scene::BOB, &offer, |invite| {
                invite.headers.push(("X-Unknown".into(), "kept; as=\"it,  stands\"".into()));
                invite.headers.push(("k".into(), "path".into()));
            })
            .await?;
        let sent = calling.invite().clone();
        let invited = scene.far.invited(SOON).await?;
        let got = invited.request.message.clone();
        // Call-ID, tags, Contact, User-Agent, P-Preferred-Service and all else as they were.
        assert_eq!(others(&got), others(&sent));
        assert_eq!(got.uri(), sent.uri());
        assert_eq!(got.header("Max-Forwards"), Some("69"));
        ensure!(got.body == sent.body, "the body changed on the way");
        let vias: Vec<&str> = got.all("Via").into_iter().flat_map(split_list).collect();
        ensure!(vias.len() == 2 && got.branch() != sent.branch(), "{vias:?}");
        ensure!(vias[1].contains(sent.branch().context("branch")?), "{vias:?}");

        let mut far = invited
            .accept_with(&SdpOptions::setup("passive"), |ok| {
                ok.headers.push(("X-Unknown".into(), "far,  end".into()));
            })
            .await?;
        let mut a = calling.answered(SOON).await?;
        // The 200 has lost the topmost Via, and nothing else changed.
        let mut expected = far.answer.clone();
        let values = expected.all("Via").len();
        ensure!(values == 2, "{values} Vias");
        let first = expected.headers.iter().position(|(name, _)| name == "Via").context("Via")?;
        expected.headers.remove(first);
        assert_eq!(String::from_utf8(a.answer.encode())?, String::from_utf8(expected.encode())?);
        assert_eq!(a.dialog.remote, far.dialog.local);

        // The paths are those of the two ends, and messages go straight between them.
        assert_eq!(a.peer_sdp.msrp()?.path()?, Sdp::parse(&far.answer.body)?.msrp()?.path()?);
        assert_eq!(far.peer_sdp.msrp()?.path()?, Sdp::parse(&sent.body)?.msrp()?.path()?);
        a.media.ready(SOON).await?;
        let message = a.media.chat(Scene::ALICE, Scene::BOB, "hello").await?;
        assert_eq!(far.media.message(SOON).await?.body, message.body);
        assert_eq!(scene.pf.cli_json("legs")?, serde_json::json!([]), "no MSRP leg of pf");
        let table = scene.pf.cli_json("sessions")?;
        assert_eq!(table[0]["mode"], "proxy", "{table}");
        assert_eq!(table[0]["state"], "established", "{table}");
        assert_eq!(scene.pf.cli_json("stats")?["sessions_proxied"], 1);

        end(&mut a, &mut far).await?;
        lab::wait::until(SOON, "the session is forgotten", || {
            scene.pf.cli_json("sessions").is_ok_and(|table| table == serde_json::json!([]))
        })
        .await?;
        scene.verify()?;
    }
    Ok(())
}

// Rows: PRX-02, MOD-04
#[tokio::test]
async fn the_requests_of_the_dialog_come_through_pf_from_both_ends() -> Result<()> {
    for transport in [Transport::Udp, Transport::Tcp] {
        let scene = proxied(transport).await?;
        let calling = scene.a().invite_with(Scene::BOB, &SdpOptions::setup("active"), small).await?;
        let invited = scene.far.invited(SOON).await?;
        assert_eq!(invited.request.peer.transport, Transport::Udp);
        let mut far = invited.accept().await?;
        let mut a = calling.answered(SOON).await?;
        let recorded = routes(&far.invite);
        assert_eq!(recorded, routes(&a.answer), "the 200 carries them back");
        // Where two transports meet there are two, the one for the far end on top.
        assert_eq!(recorded.len(), if transport == Transport::Udp { 1 } else { 2 }, "{recorded:?}");
        for (route, over) in recorded.iter().zip([Transport::Udp, transport]) {
            let (address, parameter) = lab::sip::host_port(uri(route)).context("a numeric address")?;
            assert_eq!(address, scene.pf.sip_address(over, Place::loopback(1).ip)?, "{route}");
            assert_eq!(parameter.as_deref() == Some("tcp"), over == Transport::Tcp, "{route}");
            ensure!(route.contains(";lr"), "{route}");
        }
        // The ACK has come that way, and so do requests of both ends.
        assert_eq!(scene.trace.sip("UE-A", "FAR", "").len(), 0);
        lab::wait::until(SOON, "ACK at FAR", || !scene.trace.sip("pf", "FAR", "ACK").is_empty()).await?;
        for method in ["INVITE", "UPDATE", "INFO", "MESSAGE", "REFER", "OPTIONS", "PRACK", "NOTIFY"] {
            let (mut from, mut to) = (&mut a, &mut far);
            for _ in 0..2 {
                let contact = from.party.contact();
                let mut request = from.dialog.request(method).with("Contact", contact);
                request.set_body("text/plain", b"as it is".to_vec());
                let mut tx = from.dialog.send(request.clone()).await?;
                let got = to.dialog.expect(method, SOON).await?;
                ensure!(got.peer.addr.ip() == Place::loopback(1).ip, "{method} past pf");
                if to.party.name == "UE-A" {
                    // Over TCP that is the connection that UE-A itself has opened.
                    assert_eq!(got.peer.addr, scene.pf.sip_address(transport, Place::loopback(1).ip)?);
                }
                assert_eq!(got.message.all("Route"), Vec::<&str>::new(), "pf is off the route");
                assert_eq!(others(&got.message), others(&request), "{method}");
                assert_eq!(got.message.uri(), request.uri());
                ensure!(got.message.body == request.body);
                let answer =
                    got.reply(200, "Fine").with("Contact", to.party.contact()).with("X-Also", "kept");
                got.respond(answer).await?;
                let answer = tx.last(SOON).await?;
                assert_eq!((answer.code(), answer.header("X-Also")), (200, Some("kept")), "{method}");
                if method == "INVITE" {
                    from.dialog.ack(request.cseq(), None).await?;
                    got.acked(SOON).await?;
                }
                (from, to) = (to, from);
            }
        }
        // This time the far end hangs up.
        end(&mut far, &mut a).await?;
        scene.verify()?;
    }
    Ok(())
}

// Rows: PRX-03
#[tokio::test]
async fn what_is_neither_sip_nor_tel_goes_to_the_isf() -> Result<()> {
    let isf = Party::start("ISF", &Place::loopback(8), Transport::Udp, "sip:isf@x", &Trace::default())?;
    let scene = Scene::start(SceneOptions {
        policy: PROXY.to_owned(),
        devices: vec!["UE-A"],
        isf: Some(isf.agent.local()),
        ..SceneOptions::default()
    })
    .await?;
    let calling = scene.a().invite("mailto:carol@mail.example").await?;
    let invited = isf.invited(SOON).await?;
    assert_eq!(invited.request.message.uri(), "mailto:carol@mail.example");
    assert_eq!(invited.request.message.header("Call-ID"), calling.invite().header("Call-ID"));
    let _there = invited.accept().await?;
    let _here = calling.answered(SOON).await?;
    scene.far.agent.no_request(QUIET).await?;
    // SIP and tel URIs do not.
    for target in [Scene::BOB, "tel:+15550100"] {
        let calling = scene.a().invite(target).await?;
        let invited = scene.far.invited(SOON).await?;
        assert_eq!(invited.request.message.uri(), target);
        let _there = invited.accept().await?;
        let _here = calling.answered(SOON).await?;
    }
    isf.agent.no_request(QUIET).await
}

// Rows: INV-07, INV-08
#[tokio::test]
async fn one_reason_for_the_media_path_is_enough() -> Result<()> {
    for (reason, expected) in [
        ("", "proxy"),
        ("media_path_users = [\"sip:carol@example.org\"]", "proxy"),
        ("media_path_users = [\"sip:alice@example.org\"]", "b2bua"),
        ("legacy_matching = true", "b2bua"),
        ("allow_offline_storage = true", "b2bua"),
        ("allow_store = true", "b2bua"),
        ("interworking_after = [404]", "b2bua"),
    ] {
        let policy = format!("{PROXY}\n{reason}");
        let scene =
            Scene::start(SceneOptions { policy, devices: vec!["UE-A"], ..SceneOptions::default() }).await?;
        let calling = scene.a().invite(Scene::BOB).await?;
        let invited = scene.far.invited(SOON).await?;
        let same = invited.request.message.header("Call-ID") == calling.invite().header("Call-ID");
        assert_eq!(same, expected == "proxy", "{reason}");
        let ours = scene.pf.msrp[0] == invited.offer()?.msrp()?.socket()?;
        assert_eq!(ours, expected == "b2bua", "{reason}");
        assert_eq!(scene.pf.cli_json("sessions")?[0]["mode"], expected, "{reason}");
    }
    let policy = "media_path = \"when-needed\"\ndirect_delivery = true".to_owned();
    let scene = Scene::start(SceneOptions { policy, ..SceneOptions::default() }).await?;
    let (a, mut far, mut others) = scene.full_call().await?;
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "to everybody").await?;
    for call in others.iter_mut().chain([&mut far]) {
        assert_eq!(call.media.message(SOON).await?.body, sent.body);
    }
    Ok(())
}
