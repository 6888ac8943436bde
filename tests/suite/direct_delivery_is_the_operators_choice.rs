//! Who gets a leg, and who gets none.

use anyhow::Result;
use lab::{
    actor::{Device, ICSI_SESSION, Scene, SceneOptions, Ue, icsi_tag},
    net::Place,
    wait::{QUIET, SOON},
};

async fn late(scene: &Scene) -> Result<Ue> {
    let proxy = scene.at;
    let device = Device::of_alice("late");
    let mut ue = Ue::start("UE-L", &Place::loopback(14), device, proxy, &scene.trace)?;
    ue.register().await?;
    Ok(ue)
}

// Rows: DD-01
#[tokio::test]
async fn without_direct_delivery_no_device_is_invited() -> Result<()> {
    let policy = "direct_delivery = false".to_owned();
    let scene = Scene::start(SceneOptions { policy, ..SceneOptions::default() }).await?;
    let (a, mut far) = scene.call().await?;
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "hello").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
    scene.device(1).agent.no_request(QUIET).await?;
    scene.device(2).agent.no_request(QUIET / 4).await
}

// Rows: REG-03, REG-13
#[tokio::test]
async fn a_device_without_the_feature_tags_gets_no_leg() -> Result<()> {
    let mut scene = Scene::with(&["UE-A", "UE-B"]).await?;
    // Registered as before, but no longer for CPM.
    scene.devices[1].register_features(Vec::new()).await?;
    let (mut a, mut far) = scene.call().await?;
    scene.device(1).agent.no_request(QUIET).await?;
    let table = scene.pf.cli_json("devices")?;
    assert_eq!(table.as_array().map(Vec::len), Some(2), "it is still registered: {table}");
    let (bye, done) = tokio::join!(far.hung_up(), a.hang_up());
    bye?;
    done?;
    // With the tags it is a CPM device again.
    scene.devices[1].register_features(vec![icsi_tag(&[ICSI_SESSION])]).await?;
    let (_a, _far, others) = scene.full_call().await?;
    assert_eq!(others.len(), 1);
    Ok(())
}

// Rows: REG-14
#[tokio::test]
async fn a_device_that_has_left_gets_no_leg() -> Result<()> {
    let mut scene = Scene::with(&["UE-A", "UE-B", "UE-C"]).await?;
    let answer = scene.devices[2].register_with(0, |_| {}).await?;
    assert_eq!(answer.code(), 200);
    let calling = scene.a().invite(Scene::BOB).await?;
    let _far = scene.far.invited(SOON).await?.accept().await?;
    let _a = calling.answered(SOON).await?;
    scene.device(1).invited(SOON).await?;
    scene.device(2).agent.no_request(QUIET).await?;
    let table = scene.pf.cli_json("devices")?;
    assert_eq!(table.as_array().map(Vec::len), Some(2), "{table}");
    Ok(())
}

// Rows: REG-08
#[tokio::test]
async fn the_operator_sees_the_devices_by_name() -> Result<()> {
    let scene = Scene::with(&["UE-A", "UE-B"]).await?;
    let table = scene.pf.cli_json("devices")?;
    let mut seen: Vec<(&str, &str)> = table
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| (row["name"].as_str().unwrap_or(""), row["instance"].as_str().unwrap_or("")))
        .collect();
    seen.sort_unstable();
    let mut expected: Vec<(&str, &str)> = scene
        .devices
        .iter()
        .map(|ue| (ue.device.display_name.as_str(), ue.device.instance.as_str()))
        .collect();
    expected.sort_unstable();
    assert_eq!(seen, expected, "{table}");
    Ok(())
}

// Rows: REG-04, REG-05, DD-05
#[tokio::test]
async fn the_originator_is_known_by_its_instance_not_by_its_address() -> Result<()> {
    let mut scene =
        Scene::unregistered(SceneOptions { devices: vec!["UE-A", "UE-B"], ..SceneOptions::default() })
            .await?;
    // Both instance forms; a device that has moved to another address stays the same device.
    scene.devices[1].device.instance = "urn:gsma:imei:35209900-176148-0".to_owned();
    scene.devices[1].register_features(vec![icsi_tag(&[ICSI_SESSION])]).await?;
    scene.devices[0].register().await?;
    let proxy = scene.at;
    // The same URN by the rules of URNs.
    let mut device = scene.a().device.clone();
    device.instance = format!("URN:UUID:{}", device.instance["urn:uuid:".len()..].to_uppercase());
    let mut moved = Ue::start("UE-A2", &Place::loopback(15), device, proxy, &scene.trace)?;
    moved.register().await?;
    let calling = moved.invite(Scene::BOB).await?;
    let _far = scene.far.invited(SOON).await?.accept().await?;
    let _a = calling.answered(SOON).await?;
    scene.device(1).invited(SOON).await?;
    moved.agent.no_request(QUIET).await?;
    scene.device(0).agent.no_request(QUIET / 4).await
}

// Rows: DD-07
#[tokio::test]
async fn a_late_device_joins_by_policy_only() -> Result<()> {
    for wanted in [false, true] {
        let policy = format!("late_devices = {wanted}");
        let scene =
            Scene::start(SceneOptions { policy, devices: vec!["UE-A"], ..SceneOptions::default() }).await?;
        let (a, mut far) = scene.call().await?;
        let late = late(&scene).await?;
        if !wanted {
            late.agent.no_request(QUIET).await?;
            continue;
        }
        let mut leg = late.invited(SOON).await?.accept().await?;
        leg.media.ready(SOON).await?;
        let sent = a.media.chat(Scene::ALICE, Scene::BOB, "welcome").await?;
        assert_eq!(leg.media.message(SOON).await?.body, sent.body);
        assert_eq!(far.media.message(SOON).await?.body, sent.body);
    }
    Ok(())
}

crate::over_tcp::the_same_over_tcp!(
    without_direct_delivery_no_device_is_invited,
    a_device_without_the_feature_tags_gets_no_leg,
    a_device_that_has_left_gets_no_leg,
    the_operator_sees_the_devices_by_name,
    the_originator_is_known_by_its_instance_not_by_its_address,
    a_late_device_joins_by_policy_only
);
