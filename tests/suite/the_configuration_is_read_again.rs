//! `pf reload` and SIGHUP: users and policy change while sessions go on, and a file with faults changes nothing.

use anyhow::{Context, Result, ensure};
use lab::{
    actor::{Device, Scene, SceneOptions, Ue},
    net::Place,
    sip::{Credentials, Transport},
    wait::{SOON, until},
};

use super::sessions_change_on_the_way::{changed, re_invite};

const BEA: &str = "sip:bea@example.org";

fn entry(address: &str, name: &str, password: &str) -> String {
    format!("[[user]]\naddresses = [\"{address}\"]\nusername = \"{name}\"\npassword = \"{password}\"\n")
}

/// A device of bea, who is not in the users file at first.
fn bea(scene: &Scene) -> Result<Ue> {
    let mut device = Device::of_alice("Bea");
    device.address = BEA.into();
    device.credentials = Credentials { username: "bea".into(), password: "buzz".into() };
    let proxy = scene.pf.sip_address(Transport::Udp, Place::loopback(1).ip)?;
    Ue::start("UE-Z", &Place::loopback(30), device, proxy, &scene.trace)
}

#[tokio::test]
async fn users_come_and_go() -> Result<()> {
    let mut scene = Scene::with(&["UE-A", "UE-B"]).await?;
    let mut bea = bea(&scene)?;
    assert_ne!(bea.register_with(60, |_| {}).await?.code(), 200);
    let (mut a, mut far, mut others) = scene.full_call().await?;
    let devices = || scene.pf.cli_json("devices").ok().and_then(|rows| rows.as_array().map(Vec::len));
    assert_eq!(devices(), Some(2));

    let both = entry(Scene::ALICE, "alice", "wonderland") + &entry(BEA, "bea", "buzz");
    scene.pf.edit("users.toml", |_| both)?;
    let said = scene.pf.cli(&["reload"])?;
    ensure!(said.contains("2 users: 1 added, 0 changed, 0 removed"), "{said}");
    assert_eq!(devices(), Some(2), "alice's devices stay registered");
    bea.register().await?;
    let _calling = bea.invite(Scene::BOB).await?;
    scene.far.invited(SOON).await?.refuse(486, "Busy Here").await?;

    // Alice is none any more: her devices are not registered, and her session goes on as it is.
    scene.pf.edit("users.toml", |_| entry(BEA, "bea", "buzz"))?;
    let said = scene.pf.cli(&["reload"])?;
    ensure!(said.contains("1 users: 0 added, 0 changed, 1 removed"), "{said}");
    assert_eq!(devices(), Some(1));
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "still here").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);
    assert_eq!(others[0].media.message(SOON).await?.body, sent.body);
    let offer = changed(&a.invite.body)?;
    let request = re_invite(&mut a, offer);
    let refusal = a.dialog.send(request).await?.last(SOON).await?;
    assert_eq!(refusal.code(), 403);
    let warning = refusal.required("Warning")?;
    ensure!(warning.ends_with(" \"127 Service not authorised\""), "{warning}");
    let refusal = scene.a().invite(Scene::BOB).await?.refused(SOON).await?;
    assert!(matches!(refusal.code(), 403 | 407), "{}", refusal.summary());
    assert_ne!(scene.devices[0].register_with(60, |_| {}).await?.code(), 200);
    let sent = a.media.chat(Scene::ALICE, Scene::BOB, "and here").await?;
    assert_eq!(far.media.message(SOON).await?.body, sent.body);

    // A new password counts with the next REGISTER.
    let both = entry(Scene::ALICE, "alice", "looking glass") + &entry(BEA, "bea", "hum");
    scene.pf.edit("users.toml", |_| both)?;
    let said = scene.pf.cli(&["reload"])?;
    ensure!(said.contains("2 users: 1 added, 1 changed, 0 removed"), "{said}");
    let shown = scene.pf.cli_json("devices")?;
    assert_eq!(shown.as_array().map(Vec::len), Some(1), "bea's device stays registered");
    assert_ne!(bea.register_with(60, |_| {}).await?.code(), 200);
    bea.device.credentials.password = "hum".into();
    bea.party.credentials = Some(bea.device.credentials.clone());
    bea.register().await?;
    scene.verify()
}

#[tokio::test]
async fn a_file_with_faults_changes_nothing() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let sound = std::fs::read_to_string(scene.pf.directory.join("pf.toml"))?;
    let barred = format!("[policy]\nbarred = [\"{}\"]\n", Scene::ALICE);
    let faulty = sound.replace("[policy]\n", &format!("{barred}session_expires = 1\ndirect_delivery = 7\n"));
    scene.pf.edit("pf.toml", |_| faulty)?;
    let refusal = scene.pf.cli(&["reload"]).err().context("it was taken")?.to_string();
    ensure!(refusal.contains("nothing is changed, the configuration has 2 error(s)"), "{refusal}");
    ensure!(refusal.contains("pf.toml:") && refusal.contains("policy.session_expires"), "{refusal}");
    assert_eq!(refusal.trim_end().lines().count(), 1, "{refusal}");
    let (_a, _far) = scene.call().await?;
    // The users file counts as well.
    scene.pf.edit("pf.toml", |_| sound.clone())?;
    scene.pf.edit("users.toml", |text| text + "[[user]]\nusername = \"eve\"\n")?;
    let refusal = scene.pf.cli(&["reload"]).err().context("it was taken")?.to_string();
    ensure!(refusal.contains("users.toml:"), "{refusal}");
    let (_a, _far) = scene.call().await?;
    scene.verify()
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_stays() -> Result<()> {
    let scene = Scene::with(&["UE-A"]).await?;
    let product = "product = \"CPM-serv/OMA2.2 other/1\"\nidle_seconds = 77\n";
    scene.pf.edit("pf.toml", |text| text.replace("[sip]\n", &format!("[sip]\n{product}")))?;
    for _ in 0..2 {
        // As long as it is not restarted.
        let said = scene.pf.reload_policy("late_devices = true")?;
        ensure!(said.contains("options that need a restart: sip.idle_seconds, sip.product\n"), "{said}");
    }
    let said = scene.pf.cli_json("reload")?;
    assert_eq!(said["changed"], serde_json::json!([]));
    let (a, _far) = scene.call().await?;
    ensure!(!a.answer.required("Server")?.contains("other"), "{:?}", a.answer.header("Server"));
    scene.verify()
}

#[tokio::test]
async fn sighup_does_the_same() -> Result<()> {
    let scene = Scene::start(SceneOptions { devices: vec!["UE-A"], ..SceneOptions::default() }).await?;
    let (_a, _far) = scene.call().await?;
    let barred = format!("[policy]\nbarred = [\"{}\"]\n", Scene::ALICE);
    let sound = std::fs::read_to_string(scene.pf.directory.join("pf.toml"))?;
    scene.pf.edit("pf.toml", |text| text.replace("[policy]\n", "[policy]\nlate_devices = 5\n"))?;
    scene.pf.signal(libc::SIGHUP);
    let told = |what: &str| scene.pf.log().contains(what);
    until(SOON, "the fault in the log", || told("nothing is changed")).await?;
    scene.pf.edit("pf.toml", |_| sound.replace("[policy]\n", &barred))?;
    scene.pf.signal(libc::SIGHUP);
    until(SOON, "the change in the log", || told("the configuration was read again")).await?;
    ensure!(scene.pf.log().contains("policy.barred"), "{}", scene.pf.log());
    let refusal = scene.a().invite(Scene::BOB).await?.refused(SOON).await?;
    assert_eq!(refusal.code(), 403);
    scene.verify()
}
