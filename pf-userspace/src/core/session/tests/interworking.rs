//! Clause 8.2.2.1, error part: from the far end's refusal to the ISF.

use super::*;

const ISF: &str = "sip:10.0.0.6:5060";

/// Refusals of these statuses lead to the ISF.
fn world(after: &[u16]) -> World {
    World::with(|policy| policy.interworking_after = after.to_vec())
}

// Rows: RSP-02, RSP-03
#[test]
fn a_refusal_that_policy_names_leads_to_the_isf() {
    for status in [404, 488, 606] {
        let mut w = world(&[404, 488, 606]);
        let (tx, far) = w.invite();
        w.reply(&far, answer(&far, status, "far"));
        assert!(!w.has_response(tx), "UE-A has heard nothing");
        let isf = w.request(Method::Invite);
        assert_eq!(isf.hop.uri, ISF);
        assert_eq!(isf.request.uri, far.request.uri);
        assert_eq!(isf.request.body, far.request.body);
        assert_eq!(isf.request.headers.get("CSeq"), Some("2 INVITE"));
        for name in ["Call-ID", "From", "To", "Contact", "P-Asserted-Service", "Session-Expires"] {
            assert_eq!(isf.request.headers.get(name), far.request.headers.get(name), "{name}");
        }
        w.reply(&isf, far_ok(&isf));
        let ok = w.response(tx);
        assert_eq!(ok.status, 200);
        let a = Ua::caller(&invite(), &ok);
        w.ack(tx, &a);
        assert_eq!(w.acked(&isf).headers.get("CSeq"), Some("2 ACK"));
    }
}

// Rows: RSP-02, RSP-04
#[test]
fn another_refusal_goes_to_the_client() {
    for (mut w, status) in [(world(&[404]), 480), (world(&[]), 404)] {
        let (tx, far) = w.invite();
        w.reply(&far, answer(&far, status, "far"));
        assert_eq!(w.response(tx).status, status);
        w.silent();
        w.over();
    }
    let mut w = World::configured(|config| {
        config.isf_route = None;
        config.policy.interworking_after = vec![404];
    });
    let (tx, far) = w.invite();
    w.reply(&far, answer(&far, 404, "far"));
    assert_eq!(w.response(tx).status, 404, "there is no ISF");
    w.over();
}

// Rows: RSP-05
#[test]
fn the_isf_is_asked_once_and_the_better_refusal_goes_back() {
    for (first, second, best) in
        [(404, 480, 480), (404, 404, 404), (606, 480, 606), (404, 503, 404), (404, 603, 603)]
    {
        let mut w = world(&[404, 480, 503, 603, 606]);
        let (tx, far) = w.invite();
        w.reply(&far, answer(&far, first, "far"));
        let isf = w.request(Method::Invite);
        w.reply(&isf, answer(&isf, second, "isf"));
        assert_eq!(w.response(tx).status, best, "{first}, then {second}");
        w.silent();
        w.over();
    }
    // Nobody answers at all.
    let mut w = world(&[408]);
    let (tx, far) = w.invite();
    w.unanswered(&far);
    let isf = w.request(Method::Invite);
    w.unanswered(&isf);
    assert_eq!(w.response(tx).status, 408);
    w.silent();
    w.over();
}

// Rows: RSP-05
#[test]
fn what_went_to_the_isf_at_first_does_not_go_there_again() {
    let mut w = world(&[404]);
    let mut request = invite();
    request.uri = "mailto:bob@example.com".to_owned();
    let tx = w.receive(request);
    let isf = w.request(Method::Invite);
    assert_eq!(isf.hop.uri, ISF);
    w.reply(&isf, answer(&isf, 404, "isf"));
    assert_eq!(w.response(tx).status, 404);
    w.silent();
    w.over();
}

// Rows: RSP-05
#[test]
fn a_cancel_reaches_the_isf_and_no_further_attempt_is_made() {
    let mut w = world(&[404, 487]);
    let (tx, far) = w.invite();
    w.reply(&far, answer(&far, 404, "far"));
    let isf = w.request(Method::Invite);
    w.cancel(tx, None);
    assert_eq!(w.response(tx).status, 487);
    assert_eq!(w.cancelled(&isf), Some(None));
    w.reply(&isf, answer(&isf, 487, "isf"));
    w.silent();
    w.over();

    let mut w = world(&[404, 487]);
    let (tx, far) = w.invite();
    w.cancel(tx, None);
    assert_eq!(w.response(tx).status, 487);
    assert!(w.cancelled(&far).is_some());
    w.reply(&far, answer(&far, 487, "far"));
    w.silent();
    w.over();
}

// Rows: RSP-03
#[test]
fn the_isf_learns_who_calls_also_where_a_stranger_did_not() {
    let mut w = World::configured(|config| {
        config.core_route = None;
        config.isf_route = Some("sip:10.0.0.6:5060;lr".to_owned());
        config.policy.interworking_after = vec![404];
    });
    let mut request = invite();
    request.headers.push("Privacy", "id");
    request.headers.push("P-Charging-Vector", "icid-value=1");
    w.receive(request);
    let far = w.request(Method::Invite);
    assert!(!far.request.headers.has("P-Asserted-Identity") && !far.request.headers.has("P-Charging-Vector"));
    w.reply(&far, answer(&far, 404, "far"));
    let isf = w.request(Method::Invite).request;
    assert_eq!(isf.headers.get("P-Asserted-Identity"), Some("\"Ann\" <sip:ann@example.org>"));
    assert_eq!(isf.headers.get("P-Charging-Vector"), Some("icid-value=1"));
    assert_eq!(isf.headers.get("Route"), Some("<sip:10.0.0.6:5060;lr>"));
    assert_eq!(isf.headers.all("Max-Forwards").count(), 1);
}

// Rows: RSP-03
#[test]
fn the_contact_is_one_that_the_isf_reaches() {
    let mut w = World::configured(|config| {
        let tcp = SipAddress { transport: Transport::Tcp, port: 5070, ..config.sip[0].clone() };
        config.sip.push(tcp);
        config.isf_route = Some("sip:10.0.0.6:5060;transport=tcp".to_owned());
        config.policy.interworking_after = vec![404];
    });
    let (_, far) = w.invite();
    w.reply(&far, answer(&far, 404, "far"));
    let isf = w.request(Method::Invite);
    let (before, now) =
        (far.request.headers.get("Contact").unwrap(), isf.request.headers.get("Contact").unwrap());
    assert!(before.starts_with("<sip:pf@10.0.0.1:5060>;"), "{before}");
    assert_eq!(now, before.replace("5060>", "5070;transport=tcp>"));
}
