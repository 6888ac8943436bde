//! UPDATE and re-INVITE before the session is there (RFC 3311 section 5.2).

use super::*;

fn reliable(far: &Out, tag: &str, rseq: u32) -> Response {
    answer(far, 183, tag)
        .with("Require", "100rel")
        .with("RSeq", rseq.to_string())
        .with("Contact", "<sip:far@10.2.0.1:5060>")
}

fn retry_after(response: &Response) -> u32 {
    response.headers.get("Retry-After").unwrap().parse().unwrap()
}

#[test]
fn the_far_ends_offer_meets_ours_until_it_has_answered_and_then_the_clients() {
    let mut w = World::with(|policy| policy.direct_delivery = false);
    let (tx, far) = w.invite();
    w.reply(&far, answer(&far, 180, "far"));
    w.said.clear();
    let mut f = Ua::callee(&far, "far");
    // Without an offer: where it is now.
    let update = w.receive(f.request(Method::Update));
    let ok = w.response(update);
    assert_eq!((ok.status, ok.headers.has("Contact"), ok.body.len()), (200, true, 0));
    // Our offer waits for its answer.
    let line = chat("10.2.0.1", "x", "active");
    let update = w.receive(f.offer(Method::Update, &sdp(1, &line)));
    let refusal = w.response(update);
    assert_eq!((refusal.status, refusal.headers.has("Retry-After")), (491, false));
    // A re-INVITE has no place here at all.
    let again = w.receive(f.offer(Method::Invite, &sdp(1, &line)));
    let refusal = w.response(again);
    assert!(refusal.status == 500 && retry_after(&refusal) <= 10);
    // It answers in a reliable response: then it may offer, but the client's own offer is not answered.
    w.reply(&far, with_sdp(reliable(&far, "far", 1), &sdp(1, &line)));
    w.response(tx);
    let prack = w.request(Method::Prack);
    w.reply(&prack, answer(&prack, 200, "far"));
    let update = w.receive(f.offer(Method::Update, &sdp(2, &chat("10.2.0.1", "y", "active"))));
    let refusal = w.response(update);
    assert!(refusal.status == 500 && retry_after(&refusal) <= 10);
    // The same once more is no change.
    let update = w.receive(f.offer(Method::Update, &sdp(1, &line)));
    let ok = w.response(update);
    assert_eq!((ok.status, &ok.body[..]), (200, &far.request.body[..]));
    // The session comes about, and its numbers go on.
    w.reply(&far, answer(&far, 200, "far").with("Contact", "<sip:far@10.2.0.1:5060>"));
    assert_eq!(w.response(tx).status, 200);
    let mut old = f.request(Method::Options);
    old.headers.set("CSeq", "1 OPTIONS");
    let tx = w.receive(old);
    assert_eq!(w.response(tx).status, 500, "out of order: the UPDATEs were before it");
}

#[test]
fn each_fork_counts_its_own_requests() {
    let mut w = World::with(|policy| policy.direct_delivery = false);
    let (tx, far) = w.invite();
    for tag in ["one", "two"] {
        w.reply(&far, answer(&far, 180, tag));
    }
    w.said.clear();
    let (mut one, mut two) = (Ua::callee(&far, "one"), Ua::callee(&far, "two"));
    one.cseq = 500;
    for f in [&mut one, &mut two] {
        let update = w.receive(f.request(Method::Update));
        assert_eq!(w.response(update).status, 200);
    }
    let ok = answer(&far, 200, "two").with("Contact", "<sip:far@10.2.0.1:5060>");
    w.reply(&far, with_sdp(ok, &sdp(1, &chat("10.2.0.1", "ffffffff", "passive"))));
    assert_eq!(w.response(tx).status, 200);
    // The numbers of the other fork mean nothing here, and its dialog is over.
    let options = w.receive(two.request(Method::Options));
    assert_eq!(w.response(options).status, 200);
    let update = w.receive(one.request(Method::Update));
    assert_eq!(w.response(update).status, 481);
}

#[test]
fn the_clients_offer_waits_for_our_answer() {
    let mut w = World::with(|policy| policy.direct_delivery = false);
    let (tx, far) = w.invite();
    w.reply(&far, answer(&far, 180, "far"));
    let ringing = w.response(tx);
    w.said.clear();
    let mut a = Ua::caller(&invite(), &ringing);
    let update = w.receive(a.request(Method::Update));
    assert_eq!(w.response(update).status, 200);
    let update = w.receive(a.offer(Method::Update, &sdp(2, &chat("10.1.0.1", "x", "active"))));
    let refusal = w.response(update);
    assert!(refusal.status == 500 && retry_after(&refusal) <= 10);
    let mut demanding = a.request(Method::Update);
    demanding.headers.push("Require", "magic");
    let tx = w.receive(demanding);
    let refusal = w.response(tx);
    assert_eq!((refusal.status, refusal.headers.get("Unsupported")), (420, Some("magic")));
    w.silent();
}
