//! Registrations (clause 7.1), as far as sessions feel them.

use anyhow::{Context, Result};
use lab::{
    actor::{Device, ICSI_SESSION, Party, Scene, SceneOptions, Ue, icsi_tag},
    net::Place,
    sip::{Message, SdpOptions, Transport, param, split_list, uri},
    wait::{QUIET, SOON, until},
};

fn more(scene: &Scene, name: &str, place: u8) -> Result<Ue> {
    let proxy = scene.at;
    Ue::start(name, &Place::loopback(place), Device::of_alice(name), proxy, &scene.trace)
}

fn devices(scene: &Scene) -> Result<Vec<serde_json::Value>> {
    Ok(scene.pf.cli_json("devices")?.as_array().cloned().unwrap_or_default())
}

/// The core's registrar, which is FAR here, reports a device of alice (third-party REGISTER), with the answer that
/// the device got if there is one.
async fn report(scene: &Scene, contact: &str, number: u32, granted: Option<&str>) -> Result<Message> {
    let original = format!(
        "REGISTER sip:example.org SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.14;branch=z9hG4bK{number}\r\n\
         From: <sip:alice@example.org>;tag=r\r\nTo: <sip:alice@example.org>\r\nCall-ID: original\r\n\
         CSeq: {number} REGISTER\r\nContact: \"Reported\" {contact}\r\nUser-Agent: CPM-client/OMA2.2\r\n\
         Supported: gruu\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n"
    );
    let to = scene.at;
    let mut register = Message::request("REGISTER", &format!("sip:{to}"))
        .with("From", format!("<sip:core@{}>;tag=s", scene.far.agent.local()))
        .with("To", "<sip:alice@example.org>")
        .with("Call-ID", lab::token(8))
        .with("CSeq", "1 REGISTER")
        .with("Contact", format!("<{}>", scene.far.agent.contact_uri("core")))
        .with("Expires", "600");
    match granted {
        None => register.set_body("message/sip", original.into_bytes()),
        Some(granted) => {
            let answer = format!(
                "SIP/2.0 200 OK\r\nContact: {granted}\r\nP-Associated-URI: <sip:alice@example.org>\r\n\r\n"
            );
            let parts =
                [original, answer].map(|part| format!("--b\r\nContent-Type: message/sip\r\n\r\n{part}\r\n"));
            register
                .set_body("multipart/mixed;boundary=b", format!("{}--b--\r\n", parts.concat()).into_bytes());
        }
    }
    scene.far.agent.send(register, to).await?.last(SOON).await
}

// Rows: REG-01, REG-02, REG-11
#[tokio::test]
async fn a_device_counts_from_its_registration_on() -> Result<()> {
    let mut scene = Scene::with(&["UE-A"]).await?;
    let mut b = more(&scene, "UE-B", 12)?;
    let (mut a, mut far) = scene.call().await?;
    b.agent.no_request(QUIET / 4).await?;
    let (bye, done) = tokio::join!(far.hung_up(), a.hang_up());
    bye?;
    done?;

    // The registrar asks for proof, and takes no other.
    b.device.credentials.password = "looking-glass".to_owned();
    let refused = b.register_with(3600, |_| {}).await?;
    assert!(matches!(refused.code(), 401 | 403), "{}", refused.summary());
    let elsewhere = b.register_with(3600, |register| register.set("To", "<sip:alice@elsewhere.example>"));
    assert!(elsewhere.await?.code() >= 400);
    assert_eq!(devices(&scene)?.len(), 1, "UE-A alone");
    b.device.credentials.password = "wonderland".to_owned();
    let answer = b.register().await?;
    let own = b.contact();
    let mut contacts = answer.all("Contact").into_iter().flat_map(split_list);
    let contact = contacts.find(|contact| uri(contact) == uri(&own)).context("UE-B in the 200")?;
    assert!(param(contact, "expires").is_some_and(|seconds| seconds.parse::<u32>().is_ok_and(|s| s > 3590)));
    // Once more: refreshed, not another device.
    b.register().await?;
    assert_eq!(devices(&scene)?.len(), 2);

    let (a, _far) = scene.call().await?;
    let mut b = b.invited(SOON).await?.accept().await?;
    b.media.ready(SOON).await?;
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "hello").await?;
    assert_eq!(b.media.message(SOON).await?.body, sent.body);
    scene.devices[0].register().await?;
    scene.verify()
}

// Rows: REG-01, REG-16
#[tokio::test]
async fn a_device_that_the_core_reports_counts_too() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let b = Party::start("UE-B", &Place::loopback(12), Transport::usual(), Scene::ALICE, &scene.trace)?;
    let contact =
        format!("<{}>;+sip.instance=\"<urn:uuid:b>\"{}", b.agent.contact_uri("b"), b.contact_params);
    assert_eq!(report(&scene, &contact, 1, None).await?.code(), 200);
    assert_eq!(devices(&scene)?.len(), 2);
    let (a, _far) = scene.call().await?;
    let invited = b.invited(SOON).await?;
    assert_eq!(invited.request.message.uri(), b.agent.contact_uri("b"));
    let mut b = invited.accept().await?;
    b.media.ready(SOON).await?;
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "hello").await?;
    assert_eq!(b.media.message(SOON).await?.body, sent.body);
    Ok(())
}

// Rows: REG-09
#[tokio::test]
async fn a_device_with_a_gruu_is_invited_by_it() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let contact =
        format!("<sip:b@127.0.0.12:5999>;+sip.instance=\"<urn:uuid:b>\";{}", icsi_tag(&[ICSI_SESSION]));
    let gruu = "sip:alice@example.org;gr=urn:uuid:b";
    let granted = format!("{contact};expires=600;pub-gruu=\"{gruu}\"");
    assert_eq!(report(&scene, &contact, 1, Some(&granted)).await?.code(), 200);
    let (_a, _far) = scene.call().await?;
    // Through the registrar that gave it: FAR gets this one as well.
    let invited = scene.far.invited(SOON).await?;
    assert_eq!(invited.request.message.uri(), gruu);
    Ok(())
}

// Rows: REG-09, REG-10
#[tokio::test]
async fn a_gruu_is_given_to_who_supports_or_requires_it_and_names_the_device() -> Result<()> {
    let mut scene =
        Scene::unregistered(SceneOptions { devices: vec!["UE-A", "UE-B"], ..SceneOptions::default() })
            .await?;
    let mut gruus = Vec::new();
    for (header, value, wanted) in
        [("Supported", "path", false), ("Supported", "path, gruu", true), ("Require", "gruu", true)]
    {
        let answer = scene.devices[0].register_with(3600, |register| {
            register.remove("Supported");
            register.set(header, value);
        });
        let answer = answer.await?;
        assert_eq!(answer.code(), 200, "{header}: {value}");
        let gruu =
            param(answer.required("Contact")?, "pub-gruu").map(|gruu| gruu.trim_matches('"').to_owned());
        assert_eq!(gruu.is_some(), wanted, "{header}: {value}");
        gruus.extend(gruu);
    }
    assert_eq!(gruus[0], gruus[1], "it is the device's for good");
    let unknown =
        scene.devices[0].register_with(3600, |register| register.set("Require", "teleport")).await?;
    assert_eq!((unknown.code(), unknown.header("Unsupported")), (420, Some("teleport")));
    scene.devices[1].register().await?;
    // By its GRUU alone UE-A is known as the originator.
    let gruu = gruus.remove(0);
    let offer = SdpOptions::setup("active");
    let contact = format!("<{gruu}>");
    let calling = scene.a().invite_with(Scene::BOB, &offer, |invite| invite.set("Contact", contact));
    let mut calling = calling.await?;
    let _far = scene.far.invited(SOON).await?.accept().await?;
    assert_eq!(calling.last(SOON).await?.code(), 200);
    scene.device(1).invited(SOON).await?;
    scene.device(0).agent.no_request(QUIET).await
}

// Rows: REG-12
#[tokio::test]
async fn a_registration_that_is_not_refreshed_ends() -> Result<()> {
    let policy = "registration_min_seconds = 1".to_owned();
    let mut scene = Scene::start(SceneOptions { policy, ..SceneOptions::default() }).await?;
    for (device, seconds) in [(1, 2), (2, 2)] {
        assert_eq!(scene.devices[device].register_with(seconds, |_| {}).await?.code(), 200);
    }
    // UE-C refreshes in time.
    scene.devices[2].register().await?;
    until(SOON, "UE-B to be forgotten", || devices(&scene).is_ok_and(|devices| devices.len() == 2)).await?;
    let (_a, _far) = scene.call().await?;
    scene.device(2).invited(SOON).await?;
    scene.device(1).agent.no_request(QUIET).await
}

// Rows: REG-16
#[tokio::test]
async fn what_changes_during_a_session_shows_in_the_next_one() -> Result<()> {
    let mut scene = Scene::with(&["UE-A", "UE-B", "UE-C"]).await?;
    let (mut a, mut far, mut others) = scene.full_call().await?;
    // B moves to another address, C leaves, D comes.
    let proxy = scene.at;
    let device = scene.device(1).device.clone();
    let mut moved = Ue::start("UE-B2", &Place::loopback(14), device, proxy, &scene.trace)?;
    moved.register().await?;
    scene.devices[2].register_with(0, |_| {}).await?;
    let mut d = more(&scene, "UE-D", 15)?;
    d.register().await?;
    for party in [&moved.party, &d.party] {
        party.agent.no_request(QUIET / 4).await.context("this session is as it was")?;
    }
    let ends = async {
        far.hung_up().await?;
        for call in &mut others {
            call.hung_up().await?;
        }
        anyhow::Ok(())
    };
    let (ends, done) = tokio::join!(ends, a.hang_up());
    ends?;
    done?;

    let (_a, _far) = scene.call().await?;
    moved.invited(SOON).await?;
    d.invited(SOON).await?;
    for device in [1, 2] {
        scene.device(device).agent.no_request(QUIET / 4).await?;
    }
    Ok(())
}

// Rows: REG-06
#[tokio::test]
async fn a_device_that_lacks_a_required_feature_gets_no_leg() -> Result<()> {
    let mut scene = Scene::with(&["UE-A", "UE-B", "UE-C"]).await?;
    let features = |more: &[&str]| {
        let more = more.iter().map(|feature| (*feature).to_owned());
        [icsi_tag(&[ICSI_SESSION])].into_iter().chain(more).collect::<Vec<_>>()
    };
    scene.devices[1].register_features(features(&["video", "+g.example.unheard-of=\"<One>\""])).await?;
    scene.devices[2].register_features(features(&["video=\"FALSE\""])).await?;
    let table = devices(&scene)?;
    assert!(
        table.iter().any(|row| row["features"].to_string().contains("g.example.unheard-of")),
        "unknown ones are kept: {table:?}"
    );
    for (header, value, invited) in [
        ("Accept-Contact", "*;video;require", [true, false]),
        ("Accept-Contact", "*;+g.example.unheard-of=\"<One>\";require;explicit", [true, false]),
        ("Accept-Contact", "*;+g.example.unheard-of=\"<one>\";require", [false, true]),
        ("Accept-Contact", "*;video", [true, true]),
        ("Reject-Contact", "*;video", [false, true]),
    ] {
        let offer = SdpOptions::setup("active");
        let calling = scene.a().invite_with(Scene::BOB, &offer, |invite| {
            // Beside the one that asks for the service.
            invite.headers.push((header.to_owned(), value.to_owned()));
        });
        let calling = calling.await?;
        let mut far = scene.far.invited(SOON).await?.accept().await?;
        let mut a = calling.answered(SOON).await?;
        for (number, invited) in [(1, invited[0]), (2, invited[1])] {
            let device = scene.device(number);
            match invited {
                true => {
                    let invited = device.invited(SOON).await.with_context(|| format!("{header}: {value}"))?;
                    invited.refuse(486, "Busy Here").await?;
                }
                false => {
                    device.agent.no_request(QUIET / 2).await.with_context(|| format!("{header}: {value}"))?
                }
            }
        }
        let (bye, done) = tokio::join!(far.hung_up(), a.hang_up());
        bye?;
        done?;
    }
    scene.verify()
}

crate::over_tcp::the_same_over_tcp!(
    a_device_counts_from_its_registration_on,
    a_device_that_the_core_reports_counts_too,
    a_device_with_a_gruu_is_invited_by_it,
    a_gruu_is_given_to_who_supports_or_requires_it_and_names_the_device,
    a_registration_that_is_not_refreshed_ends,
    what_changes_during_a_session_shows_in_the_next_one,
    a_device_that_lacks_a_required_feature_gets_no_leg
);
