//! One session, several interworking functions (clauses 8.2.2.1 200 part step 1, 8.2.2.3 step 3, 8.2.2.4 step 4).

use std::time::Duration;

use anyhow::{Context, Result};
use lab::{
    actor::{Interworking, Scene, SceneOptions, talk},
    sip::{Message, Sdp, Transport},
    store::Journal,
    wait::{QUIET, SOON, never, until},
};

const COMPLETED: &str = "SIP;cause=200;text=\"Call completed\"";

fn ports(sdp: &Sdp) -> Vec<bool> {
    sdp.media.iter().map(|line| line.port != 0).collect()
}

// Rows: ANS-01
#[tokio::test]
async fn each_iwf_gets_the_stream_that_it_accepts() -> Result<()> {
    let lab = Interworking::start(&["UE-A"], "").await?;
    let (mut a, [mut first, mut second]) = lab.call(|_| {}).await?;
    assert_eq!(ports(&a.peer_sdp), [true, true]);
    talk(&mut a, &mut second, 1, "second").await?;
    talk(&mut a, &mut first, 0, "first").await?;
    first.stream(0)?.quiet(QUIET / 4).await?;
    lab.verify()
}

// Rows: ANS-01, ANS-02
#[tokio::test]
async fn what_no_iwf_accepts_is_rejected_and_not_tried_again_without_policy() -> Result<()> {
    let lab = Interworking::start(&["UE-A"], "interworking_wait_seconds = 1").await?;
    let (calling, invited) = lab.invite(|_| {}).await?;
    let mut first = invited.accept_for(&lab.iwfs[0], &[0], "passive").await?;
    let mut a = calling.answered(SOON).await?;
    assert_eq!(ports(&a.peer_sdp), [true, false]);
    talk(&mut a, &mut first, 0, "hello").await?;
    lab.isf.agent.no_request(QUIET).await?;
    lab.verify()
}

// Rows: ANS-02, ANS-03, ANS-04, ANS-05, ANS-06, ANS-07, AMB-08
#[tokio::test]
async fn rejected_streams_get_a_second_session() -> Result<()> {
    // pf listens and the IWF connects, or as the operator wants it.
    second_session("", "passive", "active").await?;
    second_session("interworking_rejected_setup = \"actpass\"", "actpass", "passive").await
}

async fn second_session(policy: &str, offers: &str, answers: &str) -> Result<()> {
    let policy = format!("interworking_wait_seconds = 1\ninterworking_rejected_streams = true\n{policy}");
    let lab = Interworking::start(&["UE-A"], &policy).await?;
    let (mut calling, invited) =
        lab.invite(|invite| invite.set("Supported", "timer, recipient-list-invite")).await?;
    let mut first = invited.accept_for(&lab.iwfs[0], &[0], "passive").await?;
    let again = lab.isf.invited(SOON).await?;
    never(QUIET / 4, "UE-A's answer", calling.calling.last(SOON)).await?;
    let (one, two) = (&invited.request.message, &again.request.message);
    assert_eq!(one.uri(), two.uri());
    assert_ne!(one.header("Call-ID"), two.header("Call-ID"));
    assert!(one.header("Session-Expires").is_some());
    for name in ["Supported", "Session-Expires", "Require"] {
        assert_eq!(two.header(name), None, "{name}");
    }
    for name in [
        "To",
        "Conversation-ID",
        "Contribution-ID",
        "User-Agent",
        "Contact",
        "Accept-Contact",
        "P-Asserted-Service",
    ] {
        assert_eq!(two.required(name)?, one.required(name)?, "{name}");
    }
    let (offered, whole) = (again.offer()?, invited.offer()?);
    assert_eq!(offered.media.len(), 1, "the rejected stream alone");
    let line = offered.msrp()?;
    assert_eq!(line.attribute("setup"), Some(offers));
    assert_eq!(line.attribute("accept-types"), whole.media[1].attribute("accept-types"));
    assert_ne!(line.path()?, whole.media[1].path()?, "a path of its own");
    let mut second = again.accept_for(&lab.iwfs[1], &[0], answers).await?;
    let mut a = calling.answered(SOON).await?;
    assert_eq!(ports(&a.peer_sdp), [true, true]);
    talk(&mut a, &mut first, 0, "first").await?;
    second.stream(0)?.ready(SOON).await?;
    let sent = a.stream(1)?.chat(Scene::ALICE, Scene::BOB, "second").await?;
    assert_eq!(second.stream(0)?.message(SOON).await?.body, sent.body);
    let (bye, ends) = tokio::join!(a.hang_up(), async {
        first.hung_up().await?;
        second.hung_up().await
    });
    bye?;
    ends?;
    lab.verify()
}

// Rows: ANS-02
#[tokio::test]
async fn the_second_sessions_failure_leaves_the_first_alone() -> Result<()> {
    let policy = "interworking_wait_seconds = 1\ninterworking_rejected_streams = true";
    let lab = Interworking::start(&["UE-A"], policy).await?;
    let (calling, invited) = lab.invite(|_| {}).await?;
    let mut first = invited.accept_for(&lab.iwfs[0], &[0], "passive").await?;
    let again = lab.isf.invited(SOON).await?;
    again.refuse(488, "Not Acceptable Here").await?;
    let mut a = calling.answered(SOON).await?;
    assert_eq!(ports(&a.peer_sdp), [true, false]);
    talk(&mut a, &mut first, 0, "hello").await?;
    lab.isf.agent.no_request(QUIET / 4).await?;
    lab.verify()
}

// Rows: BYE-16, BYE-17
#[tokio::test]
async fn the_originators_bye_goes_to_each_iwf_and_not_to_the_far_end() -> Result<()> {
    let lab = Interworking::start(&["UE-A"], "").await?;
    let (mut a, [mut first, mut second]) = lab.call(|_| {}).await?;
    let mut bye = a.dialog.start_bye(Some(COMPLETED)).await?;
    let one = first.dialog.expect("BYE", SOON).await?;
    second.hung_up().await?;
    never(QUIET, "the 200 to UE-A's BYE", bye.last(SOON)).await?;
    one.answer(200, "OK").await?;
    assert_eq!(bye.last(SOON).await?.code(), 200);
    lab.scene.far.agent.no_request(QUIET / 4).await?;
    until(SOON, "no session to be left", || {
        lab.scene.pf.cli_json("sessions").is_ok_and(|list| list.as_array().is_some_and(Vec::is_empty))
    })
    .await?;
    lab.verify()
}

// Rows: BYE-30, BYE-37
#[tokio::test]
async fn an_iwf_that_leaves_takes_its_streams_along_and_no_more() -> Result<()> {
    let lab = Interworking::start(&["UE-A"], "interworking_leave = \"streams\"").await?;
    let (mut a, [mut first, mut second]) = lab.call(|_| {}).await?;
    let mut bye = second.dialog.start_bye(Some(COMPLETED)).await?;
    let request = a.dialog.expect("INVITE", SOON).await?;
    let offer = Sdp::parse(&request.message.body)?;
    assert_eq!(ports(&offer), [true, false]);
    assert_eq!(offer.media[0].path()?, a.peer_sdp.media[0].path()?, "the other stream is as it was");
    never(QUIET / 4, "the 200 to the IWF's BYE", bye.last(SOON)).await?;
    let mut answer = request.reply(200, "OK").with("Contact", a.party.contact());
    answer.set_body("application/sdp", without_second(&a.invite.body)?);
    request.respond(answer).await?;
    request.acked(SOON).await?;
    assert_eq!(bye.last(SOON).await?.code(), 200);
    a.stream(1)?.closed(SOON).await?;
    second.stream(1)?.closed(SOON).await?;
    talk(&mut a, &mut first, 0, "goes on").await?;
    let (bye, end) = tokio::join!(a.hang_up(), first.hung_up());
    bye?;
    end?;
    lab.verify()
}

/// The description with its second stream rejected, and the next version.
fn without_second(sdp: &[u8]) -> Result<Vec<u8>> {
    let text = std::str::from_utf8(sdp)?;
    let (first, second) =
        text.match_indices("m=").nth(1).map(|(at, _)| text.split_at(at)).context("two lines")?;
    assert!(second.starts_with("m=message"));
    Ok(format!("{}m=message 0 TCP/MSRP *\r\n", first.replacen(" 1 IN ", " 2 IN ", 1)).into_bytes())
}

// Rows: BYE-31, BYE-32, BYE-34, BYE-35, BYE-36, BYE-37
#[tokio::test]
async fn an_iwf_that_leaves_ends_the_session_for_everybody() -> Result<()> {
    let lab = Interworking::start(&["UE-A"], "interworking_leave = \"session\"").await?;
    let (mut a, [mut first, mut second]) = lab.call(|_| {}).await?;
    let mut bye = second.dialog.start_bye(Some(COMPLETED)).await?;
    first.hung_up().await?;
    let ours = a.dialog.expect("BYE", SOON).await?;
    never(QUIET, "the 200 to the IWF's BYE", bye.last(SOON)).await?;
    assert!(second.stream(1)?.is_up(), "media stays till then");
    ours.answer(200, "OK").await?;
    assert_eq!(bye.last(SOON).await?.code(), 200);
    second.stream(1)?.closed(SOON).await?;
    lab.verify()
}

// Rows: AMB-15
#[tokio::test]
async fn the_users_other_device_is_told_when_an_iwf_ends_the_session() -> Result<()> {
    let lab = Interworking::start(&["UE-A", "UE-B"], "interworking_leave = \"session\"").await?;
    let (mut a, [mut first, mut second]) = lab.call(|_| {}).await?;
    let mut b = lab.tablet().await?;
    let ends = async {
        first.hung_up().await?;
        a.hung_up().await?;
        b.hung_up().await
    };
    let (bye, told) = tokio::join!(second.dialog.bye(Some(COMPLETED)), ends);
    assert_eq!(bye?.code(), 200);
    assert_eq!(told?.header("Reason"), Some(COMPLETED));
    for stream in [0, 1] {
        b.stream(stream)?.closed(SOON).await?;
    }
    lab.verify()
}

// Rows: BYE-33
#[tokio::test]
async fn the_session_is_stored_before_the_client_hears_of_an_iwfs_bye() -> Result<()> {
    let lab = Interworking::start_with(SceneOptions {
        devices: vec!["UE-A"],
        user: "allow_offline_storage = true".into(),
        store: "kind = \"journal\"".into(),
        ..SceneOptions::default()
    })
    .await?;
    let journal = Journal::of(&lab.scene.pf);
    let (mut a, [mut first, mut second]) = lab.call(|_| {}).await?;
    journal.grown_to(1).await?;
    let held = journal.hold()?;
    let mut bye = second.dialog.start_bye(None).await?;
    first.hung_up().await?;
    never(QUIET, "UE-A's BYE", a.dialog.next_request(SOON)).await?;
    let of_session = || -> Result<Vec<String>> {
        let kinds = journal.kinds()?.into_iter();
        Ok(kinds.filter(|kind| kind != "chat-message").collect())
    };
    assert_eq!(of_session()?, ["session-info"]);
    drop(held);
    let ours = a.dialog.expect("BYE", SOON).await?;
    assert_eq!(of_session()?, ["session-info", "session-end"]);
    ours.answer(200, "OK").await?;
    assert_eq!(bye.last(SOON).await?.code(), 200);
    lab.verify()
}

// Rows: BYE-31
#[tokio::test]
async fn a_single_iwf_that_leaves_ends_the_session() -> Result<()> {
    let lab = Interworking::start(&["UE-A"], "interworking_leave = \"streams\"").await?;
    let (calling, invited) = lab.invite(|_| {}).await?;
    let mut iwf = invited.accept_for(&lab.iwfs[0], &[0, 1], "passive").await?;
    let mut a = calling.answered(SOON).await?;
    talk(&mut a, &mut iwf, 0, "hello").await?;
    let (bye, end) = tokio::join!(iwf.hang_up(), a.hung_up());
    bye?;
    end?;
    lab.verify()
}

// Rows: TMR-06
#[tokio::test]
async fn an_expired_session_timer_ends_every_iwf() -> Result<()> {
    // It takes a minute, so both at once.
    let (udp, tcp) = tokio::join!(expires(Transport::Udp), expires(Transport::Tcp));
    udp.and(tcp)
}

async fn expires(transport: Transport) -> Result<()> {
    let options =
        SceneOptions { devices: vec!["UE-A"], transport, core: transport, ..SceneOptions::default() };
    let lab = Interworking::start_with(options).await?;
    let expires = |invite: &mut Message| invite.set("Session-Expires", "90;refresher=uac");
    let (mut a, [mut first, mut second]) = lab.call(expires).await?;
    let bye = a.dialog.expect("BYE", Duration::from_secs(95)).await?;
    first.hung_up().await?;
    second.hung_up().await?;
    bye.answer(200, "OK").await?;
    lab.verify()
}

crate::over_tcp::the_same_over_tcp!(
    each_iwf_gets_the_stream_that_it_accepts,
    what_no_iwf_accepts_is_rejected_and_not_tried_again_without_policy,
    rejected_streams_get_a_second_session,
    the_second_sessions_failure_leaves_the_first_alone,
    the_originators_bye_goes_to_each_iwf_and_not_to_the_far_end,
    an_iwf_that_leaves_takes_its_streams_along_and_no_more,
    an_iwf_that_leaves_ends_the_session_for_everybody,
    the_users_other_device_is_told_when_an_iwf_ends_the_session,
    the_session_is_stored_before_the_client_hears_of_an_iwfs_bye,
    a_single_iwf_that_leaves_ends_the_session
);
