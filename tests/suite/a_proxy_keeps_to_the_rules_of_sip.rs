//! RFC 3261 section 16 on the wire, for sessions that `pf` only passes on: CANCEL, forks, loops, routes.

use anyhow::{Context, Result, ensure};
use lab::{
    actor::Scene,
    sip::{Message, ServerRequest, Start, Transport, split_list, tag, uri},
    wait::{QUIET, SOON},
};

use crate::sessions_nobody_needs_pf_for_are_proxied::proxied;

/// A request inside the dialog that `answer` has made, from who sent `invite`.
pub(crate) fn inside(invite: &Message, answer: &Message, method: &str, cseq: u32) -> Result<Message> {
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

pub(crate) fn with_via(mut message: Message, from: &lab::sip::Agent) -> Message {
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
    let to = scene.at;
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

// Rows: RSP-01
#[tokio::test]
async fn refusals_pass_and_503_becomes_500() -> Result<()> {
    let scene = proxied(Transport::Udp).await?;
    for (code, reason, expected) in [
        (404, "Gone Fishing", 404),
        (408, "Too Late", 408),
        (480, "Away", 480),
        (486, "Busy", 486),
        (488, "Not Like That", 488),
        (606, "No", 606),
        (503, "Overloaded", 500),
    ] {
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
    let pf = scene.at;
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
    let pf = scene.at;
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
