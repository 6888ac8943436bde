//! Requests: what is refused, what changes, and where they go.

use super::*;
use crate::core::registry::{digest::tests::answer as digest_answer, tests::user};

// Rows: PRX-01, PRX-02, PRX-04
#[test]
fn an_invite_changes_only_where_a_proxy_has_to_write() {
    let mut w = proxying();
    let mut received = invite();
    received.headers.0.insert(0, crate::core::sip::Header { name: "k".into(), value: "odd;x".into() });
    received.headers.push("X-Unknown", "a, b");
    received.headers.push("Session-Expires", "1800");
    w.receive(received.clone());
    let (out, mark) = w.onward();
    w.silent();
    assert_eq!(out.hop.uri, "sip:10.0.0.5:5060");
    assert!(!mark.is_empty());
    let mut expected = received.headers.clone();
    expected.0.iter_mut().filter(|h| h.is("Max-Forwards")).for_each(|h| h.value = "67".to_owned());
    let mut got = out.request.headers.clone();
    let recorded = values(&got, "Record-Route");
    got.remove("Record-Route");
    assert_eq!(got, expected);
    assert_eq!((out.request.uri.as_str(), &out.request.body), (received.uri.as_str(), &received.body));
    assert_eq!(recorded.len(), 1);
    assert!(recorded[0].starts_with("<sip:rr1-") && recorded[0].ends_with("@10.0.0.1:5060;lr>"));
}

#[test]
fn two_transports_or_families_are_two_record_routes() {
    let address = |transport, bound: &str, host: &str| SipAddress {
        transport,
        bound: socket(bound),
        host: host.to_owned(),
        port: socket(bound).port(),
    };
    for (core, expected) in [
        ("sip:10.0.0.5:5060", vec!["@10.0.0.1:5060;lr>"]),
        ("sip:core.example.org", vec!["@10.0.0.1:5060;lr>"]),
        ("sip:10.0.0.5:5060;transport=tcp", vec!["@10.0.0.1:5070;transport=tcp;lr>", "@10.0.0.1:5060;lr>"]),
        ("sip:[2001:db8::5]", vec!["@[2001:db8::1]:5060;lr>", "@10.0.0.1:5060;lr>"]),
    ] {
        let mut w = World::configured(|config| {
            config.policy.media_path = MediaPath::WhenNeeded;
            config.policy.direct_delivery = false;
            config.sip.push(address(Transport::Tcp, "10.0.0.1:5070", "10.0.0.1"));
            config.sip.push(address(Transport::Udp, "[2001:db8::1]:5060", "2001:db8::1"));
            config.core_route = Some(core.to_owned());
        });
        w.receive(invite());
        let (out, _) = w.onward();
        let recorded = values(&out.request.headers, "Record-Route");
        assert_eq!(recorded.len(), expected.len(), "{core}: {recorded:?}");
        for (got, end) in recorded.iter().zip(expected) {
            assert!(got.ends_with(end), "{core}: {recorded:?}");
        }
        // Both are ours when they come back.
        let (a, _) = (Ua::caller(&invite(), &returned(&out, 200, "far")), ());
        let bye = a.clone().bye(None);
        w.along(&out, bye);
        let (bye, _) = w.onward();
        assert_eq!(values(&bye.request.headers, "Route"), Vec::<String>::new());
    }
}

#[test]
fn the_route_leads_on_and_strict_routers_are_served() {
    let mut w = proxying();
    let (mut a, mut f, out) = w.talking(&[]);
    // Both directions; what is left of the route decides.
    let mut bye = a.request(Method::Info);
    bye.headers.push("Route", values(&out.request.headers, "Record-Route")[0].clone());
    bye.headers.push("Route", "<sip:p1.example.net;lr>, <sip:p2.example.net;lr>");
    w.receive(bye.clone());
    let (got, _) = w.onward();
    assert_eq!(got.hop.uri, "sip:p1.example.net;lr");
    assert_eq!(values(&got.request.headers, "Route"), ["<sip:p1.example.net;lr>", "<sip:p2.example.net;lr>"]);
    assert_eq!(got.request.uri, bye.uri);

    // The next element is a strict router: it finds itself as Request-URI.
    let mut info = f.request(Method::Info);
    info.headers.push("Route", values(&out.request.headers, "Record-Route")[0].clone());
    info.headers.push("Route", "<sip:strict.example.net>");
    w.receive(info.clone());
    let (got, _) = w.onward();
    assert_eq!(
        (got.request.uri.as_str(), got.hop.uri.as_str()),
        ("sip:strict.example.net", "sip:strict.example.net")
    );
    assert_eq!(values(&got.request.headers, "Route"), [format!("<{}>", info.uri)]);

    // The one before was a strict router: our URI is the Request-URI (section 16.4).
    let mut info = f.request(Method::Info);
    let target = std::mem::replace(
        &mut info.uri,
        NameAddr::parse(&values(&out.request.headers, "Record-Route")[0]).unwrap().uri.to_uppercase(),
    );
    info.uri = info.uri.replacen("SIP:", "sip:", 1);
    info.headers.push("Route", format!("<{target}>"));
    w.receive(info);
    let (got, _) = w.onward();
    assert_eq!((got.request.uri.as_str(), got.hop.uri.as_str()), (target.as_str(), target.as_str()));
    assert!(!got.request.headers.has("Route"));
}

#[test]
fn nobody_gets_through_without_the_token_of_the_dialog() {
    let mut w = proxying();
    let (mut a, _, out) = w.talking(&[]);
    let recorded = values(&out.request.headers, "Record-Route")[0].clone();
    for route in [
        "<sip:10.0.0.1:5060;lr>".to_owned(),
        "<sip:rr1-aaaaaaaaaaaaaaaaaaaaaaaa@10.0.0.1:5060;lr>".to_owned(),
        recorded.replace("rr1-", "rr1"),
    ] {
        let mut bye = a.request(Method::Bye);
        bye.headers.push("Route", route.clone());
        bye.headers.push("Route", "<sip:victim.example.net;lr>");
        let tx = w.receive(bye.clone());
        assert_eq!(w.response(tx).status, 481, "{route}");
        bye.method = Method::Ack;
        w.event(Event::Sip(SipEvent::Ack { tx: None, from: peer(CORE), request: bye }));
        w.silent();
    }
    // The token is of this Call-ID and this caller's tag.
    for (name, value) in [("Call-ID", "other"), ("From", "<sip:ann@example.org>;tag=other")] {
        let mut bye = a.request(Method::Bye);
        bye.headers.push("Route", recorded.clone());
        bye.headers.set(name, value);
        let tx = w.receive(bye);
        assert_eq!(w.response(tx).status, 481, "{name}");
    }
    w.silent();
}

#[test]
fn loops_and_spent_requests_are_refused() {
    let mut w = proxying();
    let mut spent = invite();
    spent.headers.set("Max-Forwards", "0");
    let tx = w.receive(spent);
    assert_eq!(w.response(tx).status, 483);

    let tx = w.receive(invite());
    let (out, mark) = w.onward();
    // What comes back from behind has our Via in it.
    let mut looped = out.request.clone();
    let ours = format!("SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK0f.{mark}");
    let mut headers = Headers::default();
    headers.push("Via", "SIP/2.0/UDP 10.0.0.5;branch=z9hG4bKcore");
    headers.push("Via", ours);
    headers.0.append(&mut looped.headers.0);
    looped.headers = headers;
    let again = w.receive(looped.clone());
    assert_eq!(w.response(again).status, 482);
    // Sent elsewhere on its way, it is a spiral and may pass.
    looped.uri = "sip:carl@example.com".to_owned();
    let spiral = w.receive(looped);
    assert_eq!(w.onward().0.request.uri, "sip:carl@example.com");
    for (tx, tag) in [(tx, "1"), (spiral, "2")] {
        assert!(!w.has_response(tx), "{tag}");
    }

    let mut demanding = invite();
    demanding.headers.push("Proxy-Require", "privacy, foo");
    let tx = w.receive(demanding);
    let refusal = w.response(tx);
    assert_eq!((refusal.status, refusal.headers.get("Unsupported")), (420, Some("privacy, foo")));
    w.silent();
}

// Rows: PRX-03
#[test]
fn other_schemes_go_to_the_isf_or_nowhere() {
    let mut w = proxying();
    let mut mail = invite();
    mail.uri = "mailto:carol@example.com".to_owned();
    w.receive(mail.clone());
    assert_eq!(w.onward().0.hop.uri, "sip:10.0.0.6:5060");
    let mut w = World::configured(|config| {
        config.policy.media_path = MediaPath::WhenNeeded;
        config.policy.direct_delivery = false;
        config.isf_route = None;
    });
    let tx = w.receive(mail);
    assert_eq!(w.response(tx).status, 416);
    w.over();
}

#[test]
fn what_a_device_claims_does_not_enter_the_core() {
    let mut w = World::configured(|config| {
        config.policy.media_path = MediaPath::WhenNeeded;
        config.policy.direct_delivery = false;
        config.users = vec![user("ann")];
    });
    // From the address that ann's device registered at: no password is asked for.
    let mut claims = invite();
    claims.headers.remove("P-Asserted-Identity");
    for (name, value) in [
        ("P-Asserted-Identity", "<sip:president@example.org>"),
        ("P-Asserted-Service", "urn:urn-7:3gpp-service.ims.icsi.other"),
        ("P-Charging-Vector", "icid-value=1"),
        ("History-Info", "<sip:x@y>;index=1"),
        ("Proxy-Authorization", "Digest username=\"ann\", realm=\"elsewhere\", nonce=\"n\""),
    ] {
        claims.headers.push(name, value);
    }
    let tx = w.receive_from("192.0.2.9:5060", claims.clone());
    let challenge = w.response(tx);
    assert_eq!(challenge.status, 407);
    claims.headers.push("Proxy-Authorization", digest_answer(&challenge, 0, 1, &claims, &user("ann")));
    w.receive_from("192.0.2.9:5060", claims);
    let (out, _) = w.onward();
    let headers = &out.request.headers;
    assert_eq!(values(headers, "P-Asserted-Identity"), ["<sip:ann@example.org>", "<tel:+1-555-ann>"]);
    for name in ["P-Asserted-Service", "P-Charging-Vector", "History-Info"] {
        assert!(!headers.has(name), "{name}");
    }
    let credentials: Vec<&str> = headers.all("Proxy-Authorization").collect();
    assert_eq!(credentials, ["Digest username=\"ann\", realm=\"elsewhere\", nonce=\"n\""]);
}
