//! INFO, MESSAGE and REFER of the client where several interworking functions are its far end (AMB-36).

use anyhow::{Context, Result};
use lab::{
    actor::{Interworking, Streams},
    sip::Message,
    wait::{QUIET, SOON, never},
};

#[tokio::test]
async fn all_iwfs_hear_what_is_said_and_one_of_them_is_referred() -> Result<()> {
    let lab = Interworking::start(&["UE-A"], "").await?;
    let (mut a, [mut first, mut second]) = lab.call(|_| {}).await?;
    for method in ["INFO", "MESSAGE"] {
        for (codes, expected) in [([405, 202], 202), ([488, 603], 603), ([404, 481], 404)] {
            let mut request = a.dialog.request(method);
            request.set_body("text/plain", b"to you all".to_vec());
            let mut tx = a.dialog.send(request).await?;
            let one = first.dialog.expect(method, SOON).await?;
            let two = second.dialog.expect(method, SOON).await?;
            for at_iwf in [&one, &two] {
                assert_eq!(at_iwf.message.body, b"to you all");
            }
            one.answer(codes[0], "First").await?;
            never(QUIET / 4, "an answer while the other may take it", tx.last(SOON)).await?;
            two.answer(codes[1], "Second").await?;
            assert_eq!(tx.last(SOON).await?.code(), expected, "{method} {codes:?}");
        }
        // One that takes it is enough.
        let request = a.dialog.request(method);
        let mut tx = a.dialog.send(request).await?;
        let one = first.dialog.expect(method, SOON).await?;
        let two = second.dialog.expect(method, SOON).await?;
        two.answer(200, "OK").await?;
        assert_eq!(tx.last(SOON).await?.code(), 200);
        one.answer(486, "Busy").await?;
    }
    // A REFER is carried out once: by the first that takes it.
    let request = refer(&mut a);
    let mut tx = a.dialog.send(request).await?;
    let one = first.dialog.expect("REFER", SOON).await?;
    second.dialog.next_request(QUIET).await.err().context("both were asked")?;
    one.answer(405, "Method Not Allowed").await?;
    let two = second.dialog.expect("REFER", SOON).await?;
    assert_eq!(two.message.header("Refer-To"), Some("<sip:carol@far.example.net>"));
    two.answer(202, "Accepted").await?;
    assert_eq!(tx.last(SOON).await?.code(), 202);
    let request = refer(&mut a);
    let mut tx = a.dialog.send(request).await?;
    first.dialog.expect("REFER", SOON).await?.answer(202, "Accepted").await?;
    assert_eq!(tx.last(SOON).await?.code(), 202);
    second.dialog.next_request(QUIET).await.err().context("the second was asked as well")?;

    // Who refers UE-A hears what comes of it.
    for iwf in [&mut second, &mut first] {
        let contact = iwf.party.contact();
        let request = iwf.dialog.request("REFER").with("Refer-To", "<sip:dan@far.example.net>");
        let mut tx = iwf.dialog.send(request.with("Contact", contact)).await?;
        a.dialog.expect("REFER", SOON).await?.answer(202, "Accepted").await?;
        assert_eq!(tx.last(SOON).await?.code(), 202);
        let contact = a.party.contact();
        let notify = a.dialog.request("NOTIFY").with("Event", "refer").with("Contact", contact);
        let mut tx = a.dialog.send(notify.with("Subscription-State", "terminated;reason=noresource")).await?;
        iwf.dialog.expect("NOTIFY", SOON).await?.answer(200, "OK").await?;
        assert_eq!(tx.last(SOON).await?.code(), 200);
    }
    lab.verify()
}

fn refer(a: &mut Streams) -> Message {
    let contact = a.party.contact();
    a.dialog.request("REFER").with("Refer-To", "<sip:carol@far.example.net>").with("Contact", contact)
}

crate::over_tcp::the_same_over_tcp!(all_iwfs_hear_what_is_said_and_one_of_them_is_referred);
