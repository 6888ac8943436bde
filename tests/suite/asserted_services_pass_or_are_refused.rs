//! P-Asserted-Service of an INVITE that a trusted node of the core hands over (clause 8.2.2.1 step 4.h).

use anyhow::Result;
use lab::{
    actor::{ICSI_GROUP, ICSI_SESSION, Party, Scene, SceneOptions},
    sip::{SdpOptions, Transport},
    wait::{QUIET, SOON},
};

/// A service whose name begins like that of a group session.
const OTHER: &str = "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.session.grouped";

/// A node of the core on alice's side, which `pf` trusts.
fn serving(scene: &Scene) -> Result<Party> {
    let name = "CSCF";
    let mut node = Party::start(name, &scene.far.place, Transport::usual(), Scene::ALICE, &scene.trace)?;
    node.proxy = Some(scene.at);
    Ok(node)
}

async fn scene(policy: &str) -> Result<Scene> {
    let policy = policy.to_owned();
    Scene::start(SceneOptions { policy, devices: vec!["UE-A"], ..SceneOptions::default() }).await
}

// Rows: INV-24
#[tokio::test]
async fn an_asserted_cpm_service_is_passed_on() -> Result<()> {
    let scene = scene("refuse_other_services = true").await?;
    let node = serving(&scene)?;
    for service in [ICSI_SESSION, ICSI_GROUP] {
        let offer = SdpOptions::setup("active");
        let calling = node.invite_with(Scene::BOB, &offer, |invite| {
            invite.remove("P-Preferred-Service");
            invite.set("P-Asserted-Identity", format!("<{}>", Scene::ALICE));
            invite.set("P-Asserted-Service", service);
        });
        let calling = calling.await?;
        let invited = scene.far.invited(SOON).await?;
        assert_eq!(invited.request.message.all("P-Asserted-Service"), [service]);
        assert_eq!(invited.request.message.header("P-Preferred-Service"), None);
        let _far = invited.accept().await?;
        let _call = calling.answered(SOON).await?;
    }
    scene.verify()
}

// Rows: INV-25
#[tokio::test]
async fn another_service_is_the_operators_choice() -> Result<()> {
    for (policy, refused) in [("refuse_other_services = true", true), ("", false)] {
        let scene = scene(policy).await?;
        let node = serving(&scene)?;
        let offer = SdpOptions::setup("active");
        let calling = node.invite_with(Scene::BOB, &offer, |invite| {
            invite.remove("P-Preferred-Service");
            invite.set("P-Asserted-Identity", format!("<{}>", Scene::ALICE));
            invite.set("P-Asserted-Service", OTHER);
        });
        let calling = calling.await?;
        if refused {
            assert_eq!(calling.refused(SOON).await?.code(), 403);
            scene.far.agent.no_request(QUIET).await?;
        } else {
            let invited = scene.far.invited(SOON).await?;
            assert_eq!(invited.request.message.all("P-Asserted-Service"), [OTHER]);
            let _far = invited.accept().await?;
            let _call = calling.answered(SOON).await?;
        }
    }
    Ok(())
}

crate::over_tcp::the_same_over_tcp!(
    an_asserted_cpm_service_is_passed_on,
    another_service_is_the_operators_choice
);
