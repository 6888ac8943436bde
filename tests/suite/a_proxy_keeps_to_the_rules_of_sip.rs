//! RFC 3261 section 16 on the wire, for sessions that `pf` only passes on: CANCEL, forks, loops, routes.

use anyhow::{Context, Result, ensure};
use lab::{
    actor::Scene,
    net::Place,
    sip::{Message, ServerRequest, Start, Transport, split_list, tag, uri},
    wait::{QUIET, SOON},
};

use crate::sessions_nobody_needs_pf_for_are_proxied::proxied;

/// A request inside the dialog that `answer` has made, from who sent `invite`.
fn inside(invite: &Message, answer: &Message, method: &str, cseq: u32) -> Result<Message> {
    let mut message = Message::request(method, uri(answer.required("Contact")?)).with("Max-Forwards", "70");
    let mut routes: Vec<&str> = answer.all("Record-Route").into_iter().flat_map(split_list).collect();
    routes.reverse();
    for route in routes {
        message = message.with("Route", route);
    }
    Ok(message
        .with("From", invite.required("From")?)
        .with("To", answer.required("To")?)
        .with("Call-ID", invite.required("Call-ID")?)
        .with("CSeq", format!("{cseq} {method}")))
}

fn with_via(mut message: Message, from: &lab::sip::Agent) -> Message {
    let via = format!("SIP/2.0/UDP {};rport;branch=z9hG4bK{}", from.local(), lab::token(8));
    message.headers.insert(0, ("Via".to_owned(), via));
    message
}

/// An answer as one branch of a fork would give it.
fn fork(request: &ServerRequest, code: u16, reason: &str, tag: &str, contact: &str) -> Message {
    Message::response(&request.message, code, reason, tag).with("Contact", contact)
}

#[tokio::test]
async fn a_cancel_and_its_487_pass() -> Result<()> {
    for transport in [Transport::Udp, Transport::Tcp] {
        let scene = proxied(transport).await?;
        let mut calling = scene.a().invite(Scene::BOB).await?;
        let invited = scene.far.invited(SOON).await?;
        invited.request.answer(180, "Ringing").await?;
        let ringing = loop {
            // Over TCP or UDP, pf's own 100 may come first.
            let response = calling.tx.response(SOON).await?;
            if response.code() != 100 {
                break response;
            }
        };
        assert_eq!((ringing.code(), ringing.all("Via").len()), (180, 1));
        let mut cancel = calling.tx.cancel(Some("SIP;cause=200;text=\"Call completed elsewhere\"")).await?;
        assert_eq!(cancel.last(SOON).await?.code(), 200);
        let at_far = invited.request.cancelled(SOON).await?;
        assert_eq!(at_far.header("Reason"), Some("SIP;cause=200;text=\"Call completed elsewhere\""));
        assert_eq!(at_far.branch(), invited.request.message.branch(), "pf's own branch");
        assert_eq!(at_far.uri(), invited.request.message.uri());
        let last = calling.last(SOON).await?;
        assert_eq!((last.code(), tag(last.required("To")?)), (487, Some(invited.request.tag.as_str())));
        invited.request.acked(SOON).await?;
        assert_eq!(scene.pf.cli_json("sessions")?, serde_json::json!([]));
        scene.verify()?;
    }
    Ok(())
}

#[tokio::test]
async fn every_answer_of_a_fork_reaches_the_caller_and_every_ack_its_answer() -> Result<()> {
    let scene = proxied(Transport::Udp).await?;
    let mut calling = scene.a().invite(Scene::BOB).await?;
    let invite = calling.invite().clone();
    let invited = scene.far.invited(SOON).await?.request;
    let contact = scene.far.contact();
    for (code, reason, tag) in
        [(180, "Ringing", "one"), (183, "Session Progress", "two"), (200, "OK", "one"), (200, "OK", "two")]
    {
        invited.respond(fork(&invited, code, reason, tag, &contact)).await?;
    }
    let mut seen = Vec::new();
    let mut answers = Vec::new();
    // Nothing is acknowledged yet: both 200 come again and again, from the far end.
    while seen.len() < 6 {
        let response = calling.tx.response(SOON).await?;
        if response.code() == 100 {
            continue;
        }
        let tag = tag(response.required("To")?).context("tag")?.to_owned();
        seen.push((response.code(), tag.clone()));
        if response.code() == 200 && !answers.iter().any(|(known, _)| *known == tag) {
            answers.push((tag, response));
        }
    }
    let expected = [(180, "one"), (183, "two"), (200, "one"), (200, "two")].map(|(c, t)| (c, t.to_owned()));
    assert_eq!(seen[..4], expected);
    let mut again = seen[4..].to_vec();
    again.sort();
    assert_eq!(again, expected[2..]);
    let to = scene.pf.sip_address(Transport::Udp, Place::loopback(1).ip)?;
    for (tag, answer) in &answers {
        let ack = with_via(inside(&invite, answer, "ACK", invite.cseq())?, &scene.a().agent);
        scene.a().agent.send_raw(&ack, to).await?;
        let came = || {
            let acks = scene.trace.sip("pf", "FAR", "ACK");
            acks.iter().any(|entry| String::from_utf8_lossy(&entry.octets).contains(&format!("tag={tag}")))
        };
        lab::wait::until(SOON, "the ACK at the far end", came).await?;
    }
    // pf repeats nothing by itself: as many have come out as have gone in.
    let count = |from, to| scene.trace.sip(from, to, "200 OK (INVITE)").len();
    lab::wait::until(SOON, "each 200 once", || count("pf", "UE-A") == count("FAR", "pf")).await?;
    let before = count("pf", "UE-A");
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!((count("pf", "UE-A"), count("FAR", "pf")), (before, before), "acknowledged, and quiet");
    let table = scene.pf.cli_json("sessions")?;
    assert_eq!(table.as_array().map(Vec::len), Some(1), "one session, whatever has answered: {table}");
    // The far end's BYE for one, the caller's for the other.
    let (_, surplus) = &answers[1];
    let bye = inside(&invite, surplus, "BYE", invite.cseq() + 1)?;
    let mut tx = scene.a().agent.send(bye, to).await?;
    assert_eq!(tx.last(SOON).await?.code(), 481, "the lab's far end knows no dialog, and says so itself");
    assert_eq!(scene.trace.sip("pf", "FAR", "BYE sip:").len(), 1);
    Ok(())
}

#[tokio::test]
async fn refusals_pass_and_503_becomes_500() -> Result<()> {
    let scene = proxied(Transport::Udp).await?;
    for (code, reason, expected) in
        [(404, "Gone Fishing", 404), (486, "Busy", 486), (606, "No", 606), (503, "Overloaded", 500)]
    {
        let calling = scene.a().invite(Scene::BOB).await?;
        let invited = scene.far.invited(SOON).await?;
        let refusal = invited.request.reply(code, reason).with("X-Why", "because");
        invited.request.respond(refusal).await?;
        let got = calling.refused(SOON).await?;
        assert_eq!(got.code(), expected);
        if code == expected {
            assert_eq!(got.start, Start::Response { code, reason: reason.to_owned() });
            assert_eq!(got.header("X-Why"), Some("because"));
        }
        invited.request.acked(SOON).await?;
    }
    assert_eq!(scene.pf.cli_json("sessions")?, serde_json::json!([]));
    scene.verify()
}

#[tokio::test]
async fn loops_copies_and_spent_requests_go_no_further() -> Result<()> {
    let scene = proxied(Transport::Udp).await?;
    let pf = scene.pf.sip_address(Transport::Udp, Place::loopback(1).ip)?;
    let spent = scene
        .a()
        .invite_with(Scene::BOB, &lab::sip::SdpOptions::setup("active"), |invite| {
            invite.set("Max-Forwards", "0");
        })
        .await?;
    assert_eq!(spent.refused(SOON).await?.code(), 483);

    // The core sends the INVITE back, and the caller's sends it a second time by another way.
    let calling = scene.a().invite(Scene::BOB).await?;
    let invited = scene.far.invited(SOON).await?;
    let looped = invited.request.message.clone();
    assert_eq!(scene.far.agent.send(looped, pf).await?.last(SOON).await?.code(), 482);
    let mut merged = calling.invite().clone();
    merged.remove("Via");
    assert_eq!(scene.a().agent.send(merged, pf).await?.last(SOON).await?.code(), 482);
    let mut far = invited.accept().await?;
    let mut a = calling.answered(SOON).await?;

    // Inside the dialog a loop shows in our own Via.
    let info = a.dialog.request("INFO");
    let mut tx = a.dialog.send(info).await?;
    let got = far.dialog.expect("INFO", SOON).await?;
    let mut looped = got.message.clone();
    let route = split_list(far.invite.required("Record-Route")?)[0].to_owned();
    looped.headers.insert(0, ("Route".to_owned(), route));
    assert_eq!(scene.far.agent.send(looped, pf).await?.last(SOON).await?.code(), 482);
    got.answer(200, "OK").await?;
    assert_eq!(tx.last(SOON).await?.code(), 200);

    let mut spent = a.dialog.request("INFO");
    spent.set("Max-Forwards", "0");
    assert_eq!(a.dialog.send(spent).await?.last(SOON).await?.code(), 483);
    far.dialog.next_request(QUIET).await.err().context("it went on")?;
    scene.far.agent.no_request(QUIET / 4).await?;
    scene.verify()
}

#[tokio::test]
async fn a_strict_router_in_front_is_served_and_a_stranger_is_not() -> Result<()> {
    let scene = proxied(Transport::Udp).await?;
    let pf = scene.pf.sip_address(Transport::Udp, Place::loopback(1).ip)?;
    let (mut a, mut far) = scene.call().await?;
    // As a strict router would send it (RFC 3261 section 16.4).
    let mut info = a.dialog.request("INFO");
    let ours = uri(&a.dialog.routes[0]).to_owned();
    info.set("Route", format!("<{}>", info.uri()));
    info.start = Start::Request { method: "INFO".to_owned(), uri: ours };
    let mut tx = scene.a().agent.send(info, pf).await?;
    let got = far.dialog.expect("INFO", SOON).await?;
    assert_eq!(got.message.uri(), a.dialog.target);
    assert_eq!(got.message.all("Route"), Vec::<&str>::new());
    got.answer(200, "OK").await?;
    assert_eq!(tx.last(SOON).await?.code(), 200);

    // With pf as a mere route, or with the token of another dialog, nothing goes anywhere.
    let token = a.dialog.routes[0].clone();
    for (route, call_id) in
        [(format!("<sip:{pf};lr>"), a.dialog.call_id.clone()), (token, "other".to_owned())]
    {
        let stray = Message::request("BYE", &far.dialog.target)
            .with("Route", route)
            .with("From", a.dialog.local.clone())
            .with("To", a.dialog.remote.clone())
            .with("Call-ID", call_id)
            .with("CSeq", "77 BYE");
        assert_eq!(scene.a().agent.send(stray, pf).await?.last(SOON).await?.code(), 481);
    }
    far.dialog.next_request(QUIET).await.err().context("it went on")?;
    ensure!(scene.trace.sip("pf", "FAR", "BYE sip:").is_empty());
    let (bye, done) = tokio::join!(far.hung_up(), a.hang_up());
    bye?;
    done?;
    scene.verify()
}

// Rows: INV-01
#[tokio::test]
async fn the_checks_hold_for_a_proxy_as_well() -> Result<()> {
    use crate::sessions_nobody_needs_pf_for_are_proxied::PROXY;
    let all = "barred = [\"sip:alice@example.org\"]\nclient_version = { minimum = \"2.2\" }\nallow_anonymity = false";
    let lines: Vec<&str> = all.lines().collect();
    for (first, text) in [
        (0, "127 Service not authorised"),
        (1, "132 Version not supported"),
        (2, "119 Anonymity not allowed"),
    ] {
        let policy = format!("{PROXY}\n{}", lines[first..].join("\n"));
        let devices = vec!["UE-A"];
        let scene = Scene::start(lab::actor::SceneOptions { policy, devices, ..Default::default() }).await?;
        let calling = scene
            .a()
            .invite_with(Scene::BOB, &lab::sip::SdpOptions::setup("active"), |invite| {
                invite.set("User-Agent", "CPM-client/OMA1.0 lab/1");
                if first == 2 {
                    invite.set("User-Agent", "CPM-client/OMA2.2 lab/1");
                }
                invite.headers.push(("Privacy".into(), "id".into()));
            })
            .await?;
        let refusal = calling.refused(SOON).await?;
        assert_eq!(refusal.code(), 403);
        let warning = refusal.required("Warning")?;
        assert!(warning.ends_with(&format!("\"{text}\"")), "{warning}");
        scene.far.agent.no_request(QUIET).await?;
    }
    Ok(())
}

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

#[tokio::test]
async fn what_is_for_the_core_alone_crosses_its_edge_in_no_request_and_no_ack() -> Result<()> {
    let scene = proxied(Transport::Udp).await?;
    let pf = scene.pf.sip_address(Transport::Udp, Place::loopback(1).ip)?;
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

#[tokio::test]
async fn an_invite_that_changes_to_tcp_for_its_size_is_recorded_there() -> Result<()> {
    let scene = proxied(Transport::Udp).await?;
    let offer = lab::sip::SdpOptions::setup("active");
    for size in [10, 1400] {
        let large = size > 1300;
        let calling = scene
            .a()
            .invite_with(Scene::BOB, &offer, |invite| {
                invite.headers.push(("X-Padding".to_owned(), "x".repeat(size)));
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
        let mut far = invited.accept_with(&lab::sip::SdpOptions::setup("passive"), |_| {}).await?;
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
