//! RFC 3261 section 16.3: a proxy passes methods on that it has never heard of; a user agent does not.

use anyhow::{Context, Result, ensure};
use lab::{
    actor::Scene,
    net::Place,
    sip::{Message, Transport},
    wait::{QUIET, SOON},
};

use crate::sessions_nobody_needs_pf_for_are_proxied::proxied;

#[tokio::test]
async fn methods_that_pf_has_never_heard_of_pass_inside_the_dialog_and_nowhere_else() -> Result<()> {
    let strange = ["FLY", "invite", "!interesting-Method0123456789_*+`.%indeed'~"];
    for transport in [Transport::Udp, Transport::Tcp] {
        let scene = proxied(transport).await?;
        let (mut a, mut far) = scene.call().await?;
        for method in strange {
            let (mut from, mut to) = (&mut a, &mut far);
            for _ in 0..2 {
                let mut request = from.dialog.request(method).with("X-Height", "10,000 m");
                request.set_body("text/plain", b"as it is".to_vec());
                let mut tx = from.dialog.send(request.clone()).await?;
                let got = to.dialog.expect(method, SOON).await?;
                assert_eq!(got.message.all("Via").len(), 2, "through pf");
                assert_eq!(got.message.header("X-Height"), Some("10,000 m"));
                assert_eq!((got.message.uri(), &got.message.body), (request.uri(), &request.body));
                got.respond(got.reply(299, "Flown").with("X-Also", "kept")).await?;
                let answer = tx.last(SOON).await?;
                assert_eq!((answer.code(), answer.header("X-Also")), (299, Some("kept")), "{method}");
                (from, to) = (to, from);
            }
        }
        // Without a dialog that pf is on the path of it is no proxy.
        let pf = scene.pf.sip_address(transport, Place::loopback(1).ip)?;
        for method in strange {
            for route in [None, Some(format!("<sip:{pf};lr>"))] {
                let mut stray = Message::request(method, &far.dialog.target)
                    .with("From", a.dialog.local.clone())
                    .with("To", a.dialog.remote.clone())
                    .with("Call-ID", a.dialog.call_id.clone())
                    .with("CSeq", format!("90 {method}"));
                if let Some(route) = route {
                    stray = stray.with("Route", route);
                }
                let refusal = scene.a().agent.send_over(stray, transport, pf).await?.last(SOON).await?;
                assert_eq!(refusal.code(), 501, "{method}");
                ensure!(refusal.required("Allow")?.contains("INVITE"));
            }
        }
        far.dialog.next_request(QUIET).await.err().context("it went on")?;
        let (bye, done) = tokio::join!(far.hung_up(), a.hang_up());
        bye?;
        done?;
        scene.verify()?;
    }
    // A back-to-back user agent understands what it passes on.
    let scene = Scene::with(&["UE-A"]).await?;
    let (mut a, mut far) = scene.call().await?;
    for method in strange {
        let request = a.dialog.request(method);
        let refusal = a.dialog.send(request).await?.last(SOON).await?;
        assert_eq!(refusal.code(), 501, "{method}");
        ensure!(refusal.required("Allow")?.contains("UPDATE"));
    }
    far.dialog.next_request(QUIET).await.err().context("it went on")?;
    scene.verify()
}
