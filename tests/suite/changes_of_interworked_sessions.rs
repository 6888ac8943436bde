//! re-INVITE of the originating device in a session with several interworking functions (clause 8.2.2.5 step 4).

use anyhow::{Context, Result};
use lab::{
    actor::{Interworking, Party, Streams, description, endpoint, talk},
    msrp::Media,
    sip::{ClientTx, Message, Sdp, ServerRequest},
    wait::{QUIET, SOON, never},
};

/// A description as it was, with a further stream, its `o=` one version later.
fn with_stream(sdp: &[u8], media: &Media, setup: &str) -> Result<Vec<u8>> {
    let more = String::from_utf8(description(1, &[Some(media)], setup)?)?;
    let line = &more[more.find("m=").context("no m-line")?..];
    Ok(format!("{}{line}", next_version(sdp)?).into_bytes())
}

fn next_version(sdp: &[u8]) -> Result<String> {
    Ok(std::str::from_utf8(sdp)?.replacen(" 1 IN ", " 2 IN ", 1))
}

/// A description with its second stream rejected, and the next version.
fn without_second(sdp: &[u8]) -> Result<Vec<u8>> {
    let text = next_version(sdp)?;
    let (at, _) = text.match_indices("m=").nth(1).context("two lines")?;
    Ok(format!("{}m=message 0 TCP/MSRP *\r\n", &text[..at]).into_bytes())
}

/// UE-A sends a re-INVITE with this description.
async fn re_invite(a: &mut Streams, body: Vec<u8>) -> Result<(ClientTx, u32)> {
    let mut request = a.dialog.request("INVITE").with("Contact", a.party.contact());
    for name in ["User-Agent", "Supported", "P-Preferred-Service"] {
        request = request.with(name, a.invite.header(name).unwrap_or_default());
    }
    request.set_body("application/sdp", body);
    let number = request.cseq();
    Ok((a.dialog.send(request).await?, number))
}

async fn accept(party: &Party, request: &ServerRequest, body: Vec<u8>) -> Result<()> {
    let mut answer = request.reply(200, "OK").with("Contact", party.contact());
    answer.set_body("application/sdp", body);
    request.respond(answer).await
}

fn ports(message: &Message) -> Result<Vec<bool>> {
    Ok(Sdp::parse(&message.body)?.media.iter().map(|line| line.port != 0).collect())
}

/// UE-A offers a third stream.
async fn add_stream(a: &mut Streams) -> Result<(ClientTx, u32, Media)> {
    let media = a.party.media()?;
    let body = with_stream(&a.invite.body, &media, "active")?;
    let (tx, number) = re_invite(a, body).await?;
    Ok((tx, number, media))
}

// Rows: MOD-05
#[tokio::test]
async fn a_changed_stream_concerns_its_own_iwf_alone() -> Result<()> {
    let lab = Interworking::start(&["UE-A"], "").await?;
    let (mut a, [mut first, mut second]) = lab.call(|_| {}).await?;
    // The second stream takes one type more.
    let text = next_version(&a.invite.body)?;
    let at = text.rfind("a=accept-wrapped-types:text/plain").context("the second line")?;
    let (head, tail) = text.split_at(at);
    let body = format!("{head}{}", tail.replacen("text/plain", "text/plain text/html", 1));
    let (mut tx, number) = re_invite(&mut a, body.into_bytes()).await?;
    let asked = second.dialog.expect("INVITE", SOON).await?;
    assert_eq!(ports(&asked.message)?, [false, true], "its own stream alone");
    assert!(std::str::from_utf8(&asked.message.body)?.contains("text/html"));
    first.dialog.next_request(QUIET / 4).await.err().context("IWF 1 heard of it")?;
    accept(&second.party, &asked, next_version(&second.answer.body)?.into_bytes()).await?;
    let answer = tx.last(SOON).await?;
    assert_eq!((answer.code(), ports(&answer)?), (200, vec![true, true]));
    a.dialog.ack(number, None).await?;
    asked.acked(SOON).await?;
    talk(&mut a, &mut first, 0, "first").await?;
    talk(&mut a, &mut second, 1, "second").await?;
    first.dialog.next_request(QUIET / 4).await.err().context("IWF 1 heard of it")?;
    lab.verify()
}

// Rows: MOD-05
#[tokio::test]
async fn a_removed_stream_is_told_to_its_iwf_alone() -> Result<()> {
    let lab = Interworking::start(&["UE-A"], "").await?;
    let (mut a, [mut first, mut second]) = lab.call(|_| {}).await?;
    let body = without_second(&a.invite.body)?;
    let (mut tx, number) = re_invite(&mut a, body).await?;
    let asked = second.dialog.expect("INVITE", SOON).await?;
    assert_eq!(ports(&asked.message)?, [false, false]);
    accept(&second.party, &asked, without_any(&second.answer.body)?).await?;
    assert_eq!(ports(&tx.last(SOON).await?)?, [true, false]);
    a.dialog.ack(number, None).await?;
    // Without a stream it has nothing more to do.
    second.hung_up().await?;
    second.stream(1)?.closed(SOON).await?;
    talk(&mut a, &mut first, 0, "goes on").await?;
    first.dialog.next_request(QUIET / 4).await.err().context("IWF 1 heard of it")?;
    lab.verify()
}

/// The next version of a description, every stream of it rejected.
fn without_any(body: &[u8]) -> Result<Vec<u8>> {
    let session = next_version(body)?;
    let (at, _) = session.match_indices("m=").next().context("a line")?;
    Ok(format!("{}{}", &session[..at], "m=message 0 TCP/MSRP *\r\n".repeat(2)).into_bytes())
}

// Rows: MOD-08
#[tokio::test]
async fn what_iwfs_have_agreed_to_is_told_to_the_other_device() -> Result<()> {
    let lab = Interworking::start(&["UE-A", "UE-B"], "").await?;
    let (mut a, [mut first, mut second]) = lab.call(|_| {}).await?;
    let mut b = lab.tablet().await?;
    let body = without_second(&a.invite.body)?;
    let (mut tx, number) = re_invite(&mut a, body).await?;
    let asked = second.dialog.expect("INVITE", SOON).await?;
    never(QUIET / 4, "a re-INVITE to UE-B", b.dialog.next_request(SOON)).await?;
    accept(&second.party, &asked, without_any(&second.answer.body)?).await?;
    assert_eq!(ports(&tx.last(SOON).await?)?, [true, false]);
    a.dialog.ack(number, None).await?;
    second.hung_up().await?;
    let told = b.dialog.expect("INVITE", SOON).await?;
    assert_eq!(told.message.header("Call-ID"), b.invite.header("Call-ID"), "in its own dialog");
    assert_eq!(ports(&told.message)?, [true, false]);
    accept(&b.party, &told, without_second(&b.answer.body)?).await?;
    told.acked(SOON).await?;
    b.stream(1)?.closed(SOON).await?;
    let sent = a.stream(0)?.chat("sip:alice@example.org", "sip:bob@far.example.net", "goes on").await?;
    for call in [&mut first, &mut b] {
        assert_eq!(call.stream(0)?.message(SOON).await?.body, sent.body, "{}", call.party.name);
    }
    lab.verify()
}

// Rows: MOD-06, MOD-15, AMB-22
#[tokio::test]
async fn a_new_stream_goes_from_one_iwf_to_the_next_until_one_takes_it() -> Result<()> {
    let lab = Interworking::start(&["UE-A"], "").await?;
    let (mut a, [mut first, mut second]) = lab.call(|_| {}).await?;
    let (mut tx, number, media) = add_stream(&mut a).await?;
    let one = first.dialog.expect("INVITE", SOON).await?;
    assert_eq!(ports(&one.message)?, [true, false, true]);
    never(QUIET, "a re-INVITE to the next IWF", second.dialog.next_request(SOON)).await?;
    one.answer(488, "Not Acceptable Here").await?;
    let two = second.dialog.expect("INVITE", SOON).await?;
    let offer = Sdp::parse(&two.message.body)?;
    assert_eq!(ports(&two.message)?, [false, true, true]);
    let there = lab.iwfs[1].media()?;
    let body = with_stream(&second.answer.body, &there, "passive")?;
    accept(&second.party, &two, body).await?;
    let there = endpoint(there, "passive", &offer.media[2], false)?;
    let answer = tx.last(SOON).await?;
    assert_eq!((answer.code(), ports(&answer)?), (200, vec![true, true, true]));
    never(QUIET / 4, "an ACK before UE-A's", two.acked(SOON)).await?;
    a.dialog.ack(number, None).await?;
    two.acked(SOON).await?;
    let line = &Sdp::parse(&answer.body)?.media[2];
    a.media.push(endpoint(media, "active", line, true)?);
    second.media.push(there);
    talk(&mut a, &mut second, 2, "third").await?;
    talk(&mut a, &mut first, 0, "first").await?;
    lab.verify()
}

// Rows: MOD-06, MOD-10, MOD-12
#[tokio::test]
async fn a_new_stream_that_all_refuse_is_refused_and_the_session_lives() -> Result<()> {
    let lab = Interworking::start(&["UE-A"], "").await?;
    let (mut a, [mut first, mut second]) = lab.call(|_| {}).await?;
    let (mut tx, _, _) = add_stream(&mut a).await?;
    // One after the other, and all of them.
    let one = first.dialog.expect("INVITE", SOON).await?;
    assert_eq!(ports(&one.message)?, [true, false, true]);
    never(QUIET, "a re-INVITE to the next IWF", second.dialog.next_request(SOON)).await?;
    one.answer(488, "Not Acceptable Here").await?;
    one.acked(SOON).await?;
    let two = second.dialog.expect("INVITE", SOON).await?;
    assert_eq!(ports(&two.message)?, [false, true, true]);
    never(QUIET / 4, "an answer to UE-A while one IWF is still asked", tx.last(SOON)).await?;
    two.answer(488, "Not Acceptable Here").await?;
    two.acked(SOON).await?;
    assert_eq!(tx.last(SOON).await?.code(), 488);
    for iwf in [&mut first, &mut second] {
        never(QUIET / 4, "another re-INVITE", iwf.dialog.next_request(SOON)).await?;
    }
    lab.isf.agent.no_request(QUIET / 4).await?;
    talk(&mut a, &mut first, 0, "first").await?;
    talk(&mut a, &mut second, 1, "second").await?;
    lab.verify()
}

// Rows: MOD-11, MOD-13, MOD-14, MOD-18
#[tokio::test]
async fn a_new_stream_that_all_refuse_gets_a_session_of_its_own() -> Result<()> {
    let lab = Interworking::start(&["UE-A"], "interworking_new_streams = true").await?;
    let (mut a, [mut first, mut second]) = lab.call(|_| {}).await?;
    for works in [false, true] {
        let (mut tx, number, media) = add_stream(&mut a).await?;
        first.dialog.expect("INVITE", SOON).await?.answer(488, "Not Acceptable Here").await?;
        second.dialog.expect("INVITE", SOON).await?.answer(488, "Not Acceptable Here").await?;
        let new = lab.isf.invited(SOON).await?;
        let message = &new.request.message;
        assert_eq!(ports(message)?, [true], "the new stream alone");
        assert_ne!(message.header("Call-ID"), first.invite.header("Call-ID"));
        assert_eq!(message.uri(), first.invite.uri());
        never(QUIET / 4, "UE-A's answer", tx.last(SOON)).await?;
        if !works {
            new.refuse(480, "Temporarily Unavailable").await?;
            assert_eq!(tx.last(SOON).await?.code(), 488);
            talk(&mut a, &mut first, 0, "goes on").await?;
            continue;
        }
        let mut third = new.accept_for(&lab.iwfs[0], &[0], "passive").await?;
        let answer = tx.last(SOON).await?;
        assert_eq!((answer.code(), ports(&answer)?), (200, vec![true, true, true]));
        a.dialog.ack(number, None).await?;
        let line = &Sdp::parse(&answer.body)?.media[2];
        a.media.push(endpoint(media, "active", line, true)?);
        let sent = a.stream(2)?.chat("sip:alice@example.org", "sip:bob@far.example.net", "third").await?;
        assert_eq!(third.stream(0)?.message(SOON).await?.body, sent.body);
        let ends = async {
            first.hung_up().await?;
            second.hung_up().await?;
            third.hung_up().await
        };
        let (bye, ends) = tokio::join!(a.dialog.bye(None), ends);
        ends?;
        assert_eq!(bye?.code(), 200);
        break;
    }
    lab.verify()
}

crate::over_tcp::the_same_over_tcp!(
    a_changed_stream_concerns_its_own_iwf_alone,
    a_removed_stream_is_told_to_its_iwf_alone,
    what_iwfs_have_agreed_to_is_told_to_the_other_device,
    a_new_stream_goes_from_one_iwf_to_the_next_until_one_takes_it,
    a_new_stream_that_all_refuse_is_refused_and_the_session_lives,
    a_new_stream_that_all_refuse_gets_a_session_of_its_own
);
