//! Provisional responses: passed on, reliably where the caller requires it, and with PRACK where the far end does
//! (RFC 3262).

use super::*;

/// UE-A's INVITE, which requires reliable provisional responses.
fn requiring() -> Request {
    let mut invite = invite();
    invite.headers.push("Require", "100rel");
    invite
}

/// A reliable provisional response of the far end.
fn reliable(far: &Out, status: u16, tag: &str, number: u32) -> Response {
    answer(far, status, tag)
        .with("Contact", format!("<sip:{tag}@10.2.0.1:5060>"))
        .with("Require", "100rel")
        .with("RSeq", number.to_string())
}

fn prack(a: &mut Ua, number: u64) -> Request {
    let mut prack = a.request(Method::Prack);
    prack.headers.push("RAck", format!("{number} 1 INVITE"));
    prack
}

fn number(response: &Response) -> u64 {
    assert!(response.headers.has_token("Require", "100rel"), "{response:?}");
    response.headers.get("RSeq").unwrap().parse().unwrap()
}

#[test]
fn a_caller_that_requires_it_gets_progress_until_its_prack_and_one_after_the_other() {
    let mut w = World::with(|policy| policy.direct_delivery = false);
    let (tx, far) = w.invite_with(requiring());
    assert_eq!(far.request.headers.get("Supported"), Some("timer, 100rel"));
    assert!(!far.request.headers.has("Require"));
    w.reply(&far, answer(&far, 180, "far"));
    let ringing = w.response(tx);
    let first = number(&ringing);
    assert!(first >= 1 && ringing.headers.has("Contact"));
    // Another one has to wait.
    w.reply(&far, answer(&far, 183, "far"));
    assert!(!w.has_response(tx));
    // After 0.5 s and 1.5 s.
    w.pass(2);
    for _ in 0..2 {
        assert_eq!(number(&w.response(tx)), first);
    }
    w.silent();
    let mut a = Ua::caller(&invite(), &ringing);
    let wrong = w.receive(prack(&mut a, first + 1));
    assert_eq!(w.response(wrong).status, 481);
    let right = w.receive(prack(&mut a, first));
    assert_eq!(w.response(right).status, 200);
    let progress = w.response(tx);
    assert_eq!((progress.status, number(&progress)), (183, first + 1));
    // The answer comes before the PRACK, and the ACK has the INVITE's number all the same.
    w.reply(&far, far_ok(&far));
    assert_eq!(w.response(tx).status, 200);
    let late = w.receive(prack(&mut a, first + 1));
    assert_eq!(w.response(late).status, 200);
    let mut ack = a.ack();
    ack.headers.set("CSeq", "1 ACK");
    w.event(Event::Sip(SipEvent::Ack { tx: None, from: peer(CORE), request: ack }));
    w.acked(&far);
    w.pass(40);
    w.silent();
    assert_eq!(w.shard.sessions(w.now)[0].state, "established");
}

#[test]
fn without_prack_the_invite_is_given_up() {
    let mut w = World::new();
    let (tx, far) = w.invite_with(requiring());
    w.reply(&far, answer(&far, 180, "far"));
    w.pass(33);
    let statuses: Vec<u16> =
        std::iter::from_fn(|| w.has_response(tx).then(|| w.response(tx).status)).collect();
    assert_eq!(statuses, [180, 180, 180, 180, 180, 180, 180, 504]);
    w.cancelled(&far).unwrap();
    w.reply(&far, answer(&far, 487, "far"));
    w.silent();
    w.over();
}

#[test]
fn a_caller_that_requires_it_and_offers_nothing_waits_for_the_answer() {
    let mut w = World::new();
    let mut invite = requiring();
    invite.headers.remove("Content-Type");
    invite.body = Default::default();
    let (tx, far) = w.invite_with(invite);
    w.reply(&far, answer(&far, 180, "far"));
    assert!(!w.has_response(tx), "it would have to make our offer");
    w.reply(&far, far_ok(&far));
    assert_eq!(w.response(tx).status, 200);
}

#[test]
fn a_caller_that_does_not_care_gets_it_as_it_is() {
    let mut w = World::new();
    let (tx, far) = w.invite();
    assert_eq!(far.request.headers.get("Supported"), Some("timer"));
    for status in [180, 183] {
        let progress = answer(&far, status, "far");
        w.reply(&far, with_sdp(progress, &sdp(1, &chat("10.2.0.1", "early", "passive"))));
        let got = w.response(tx);
        assert_eq!((got.status, got.headers.has("RSeq"), got.body.len()), (status, false, 0));
    }
}

#[test]
fn the_far_ends_reliable_progress_gets_its_prack_and_may_bring_the_answer() {
    let mut w = World::with(|policy| policy.direct_delivery = false);
    let (tx, far) = w.invite();
    let ringing = reliable(&far, 180, "far", 7).with("Record-Route", "<sip:p@10.0.0.9;lr>");
    w.reply(&far, ringing.clone());
    w.response(tx);
    let first = w.request(Method::Prack);
    let header = |out: &Out, name| out.request.headers.get(name).map(str::to_owned);
    assert_eq!(header(&first, "RAck").as_deref(), Some("7 1 INVITE"));
    assert_eq!(header(&first, "CSeq").as_deref(), Some("2 PRACK"));
    assert_eq!(
        (first.request.uri.as_str(), first.hop.uri.as_str()),
        ("sip:far@10.2.0.1:5060", "sip:p@10.0.0.9;lr")
    );
    w.reply(&first, answer(&first, 200, "far"));
    // The same one again, and one that is too early.
    w.reply(&far, ringing);
    w.reply(&far, reliable(&far, 183, "far", 9));
    w.silent();
    let described =
        with_sdp(reliable(&far, 183, "far", 8), &sdp(1, &chat("10.2.0.1", "ffffffff", "passive")));
    w.reply(&far, described);
    assert_eq!(w.response(tx).body.len(), 0);
    let second = w.request(Method::Prack);
    assert_eq!(header(&second, "CSeq").as_deref(), Some("3 PRACK"));
    w.reply(&second, answer(&second, 200, "far"));
    // The answer was there already.
    w.reply(&far, answer(&far, 200, "far").with("Contact", "<sip:far@10.2.0.1:5060>"));
    let ok = w.response(tx);
    assert_eq!(ok.status, 200);
    assert!(String::from_utf8_lossy(&ok.body).contains("m=message"));
    assert!(w.media().iter().any(|command| command.contains("ffffffff")));
    let mut a = Ua::caller(&invite(), &ok);
    w.ack(tx, &a);
    assert_eq!(w.acked(&far).cseq(), Some(1));
    let bye = w.receive(a.bye(None));
    let to_far = w.request(Method::Bye);
    assert_eq!(header(&to_far, "CSeq").as_deref(), Some("4 BYE"));
    w.reply(&to_far, answer(&to_far, 200, "far"));
    assert_eq!(w.response(bye).status, 200);
    w.over();
}

#[test]
fn each_early_dialog_has_its_own_numbers() {
    let mut w = World::with(|policy| policy.direct_delivery = false);
    let (tx, far) = w.invite();
    for (tag, rseq) in [("one", 100), ("two", 5), ("one", 101)] {
        w.reply(&far, reliable(&far, 183, tag, rseq));
        let prack = w.request(Method::Prack);
        assert_eq!(prack.request.to_tag().as_deref(), Some(tag));
        let cseq = if rseq == 101 { 3 } else { 2 };
        assert_eq!(prack.request.cseq(), Some(cseq));
    }
    let ok = |tag: &str| {
        let ok = answer(&far, 200, tag).with("Contact", format!("<sip:{tag}@10.2.0.1:5060>"));
        with_sdp(ok, &sdp(1, &chat("10.2.0.1", tag, "passive")))
    };
    w.reply(&far, ok("two"));
    let answer = loop {
        let response = w.response(tx);
        if response.status == 200 {
            break response;
        }
    };
    w.ack(tx, &Ua::caller(&invite(), &answer));
    w.acked(&far);
    w.reply(&far, ok("one"));
    w.acked(&far);
    let bye = w.request(Method::Bye);
    assert_eq!((bye.request.to_tag().as_deref(), bye.request.cseq()), (Some("one"), Some(4)));
    assert_eq!(w.shard.sessions(w.now)[0].state, "established");
}
