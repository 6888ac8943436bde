//! Clause 8.2.2.1, request part.

use super::*;
use crate::core::{
    config::User,
    registry::{address::tests::looked_at, digest, tests::user},
};

fn refusal(world: &mut World, invite: Request) -> Response {
    let tx = world.receive(invite);
    let response = world.response(tx);
    world.silent();
    world.over();
    response
}

fn warning(response: &Response) -> (u16, &str) {
    (response.status, response.headers.get("Warning").unwrap_or_default())
}

// Rows: INV-02, INV-03, AMB-07
#[test]
fn a_barred_user_gets_403_with_127() {
    let mut w = World::with(|policy| policy.barred = vec!["sip:ann@example.org".to_owned()]);
    let response = refusal(&mut w, invite());
    assert_eq!(warning(&response), (403, "399 10.0.0.1:5060 \"127 Service not authorised\""));
    assert!(response.to_tag().is_some());
}

// Rows: INV-02, INV-03
#[test]
fn any_address_of_a_barred_user_is_barred() {
    let user = |addresses: [&str; 2]| User {
        addresses: addresses.map(str::to_owned).to_vec(),
        username: addresses[0].to_owned(),
        password: "secret".to_owned(),
        preferences: Default::default(),
    };
    for (barred, status) in
        [("tel:+1555100", Some(403)), ("sips:ann@example.org;user=phone", Some(403)), ("tel:+1555200", None)]
    {
        let mut w = World::configured(|config| {
            config.policy.barred = vec![barred.to_owned()];
            config.users = vec![
                user(["sip:ann@example.org", "tel:+1-555-100"]),
                user(["sip:carl@example.org", "tel:+1-555-200"]),
            ];
        });
        let tx = w.receive(invite());
        assert_eq!(status, w.has_response(tx).then(|| w.response(tx).status), "{barred}");
    }
}

/// What an INVITE costs does not grow with the users of the configuration, nor with those that are barred.
#[test]
fn an_invite_costs_the_same_with_many_users() {
    let cost = |others: usize| {
        let named = |n: usize| format!("sip:u{n}@example.org");
        let user = |address: String| User {
            username: address.clone(),
            addresses: vec![address],
            password: "secret".to_owned(),
            preferences: Default::default(),
        };
        let mut w = World::configured(|config| {
            config.policy.barred = (0..others).map(named).collect();
            config.users =
                (0..others).map(named).chain(["sip:ann@example.org".to_owned()]).map(user).collect();
        });
        let cost = looked_at(|| {
            w.receive(invite());
        });
        w.request(Method::Invite);
        cost
    };
    assert_eq!(cost(200), cost(1));
}

// Rows: INV-02, INV-03
#[test]
fn an_unknown_user_gets_403_with_127() {
    let mut w = World::new();
    let mut stranger = invite();
    stranger.headers.set("P-Asserted-Identity", "<sip:eve@elsewhere.example>");
    assert_eq!(
        warning(&refusal(&mut w, stranger)),
        (403, "399 10.0.0.1:5060 \"127 Service not authorised\"")
    );
}

// Rows: INV-04, INV-05, AMB-06
#[test]
fn a_client_of_another_release_gets_403_with_132() {
    let rule = r#"{"minimum":"2.2"}"#;
    let mut w = World::with(|policy| policy.client_version = Some(serde_json::from_str(rule).unwrap()));
    for agent in [Some("CPM-client/OMA1.0"), None] {
        let mut old = invite();
        old.headers.remove("User-Agent");
        if let Some(agent) = agent {
            old.headers.push("User-Agent", agent);
        }
        assert_eq!(
            warning(&refusal(&mut w, old.clone())),
            (403, "399 10.0.0.1:5060 \"132 Version not supported\"")
        );
        // Without the rule nobody looks.
        let mut w = World::new();
        w.receive(old);
        w.request(Method::Invite);
    }
    w.receive(invite());
    w.request(Method::Invite);
}

// Rows: INV-06
#[test]
fn anonymity_that_is_not_allowed_gets_403_with_119() {
    let mut anonymous = invite();
    anonymous.headers.push("Privacy", "id");
    let mut w = World::with(|policy| policy.allow_anonymity = false);
    assert_eq!(
        warning(&refusal(&mut w, anonymous.clone())),
        (403, "399 10.0.0.1:5060 \"119 Anonymity not allowed\"")
    );
    w.receive(invite());
    w.request(Method::Invite);
    let mut w = World::new();
    w.receive(anonymous);
    assert_eq!(w.request(Method::Invite).request.headers.get("Privacy"), Some("id"));
}

// Rows: INV-01
#[test]
fn the_first_check_that_fails_answers() {
    let rule = r#"{"exact":"2.2"}"#;
    let mut w = World::with(|policy| {
        policy.barred = vec!["sip:ann@example.org".to_owned()];
        policy.client_version = Some(serde_json::from_str(rule).unwrap());
        policy.allow_anonymity = false;
    });
    let mut bad = invite();
    bad.headers.set("User-Agent", "CPM-client/OMA1.0");
    bad.headers.push("Privacy", "id");
    bad.headers.push("Require", "precondition");
    bad.body = "v=0".into();
    assert!(warning(&refusal(&mut w, bad.clone())).1.contains("127"));
    let mut w = World::with(|policy| {
        policy.client_version = Some(serde_json::from_str(rule).unwrap());
        policy.allow_anonymity = false;
    });
    assert!(warning(&refusal(&mut w, bad.clone())).1.contains("132"));
    let mut w = World::with(|policy| policy.allow_anonymity = false);
    assert!(warning(&refusal(&mut w, bad.clone())).1.contains("119"));
    let mut w = World::new();
    let response = refusal(&mut w, bad);
    assert_eq!((response.status, response.headers.get("Unsupported")), (420, Some("precondition")));
}

// Rows: INV-09, INV-10, INV-11, INV-12, INV-15, INV-16, INV-17, INV-18, INV-19, INV-20, INV-21, INV-22, INV-26, INV-29, AMB-02
#[test]
fn the_invite_to_the_far_end_is_a_new_one_with_what_shall_be_kept() {
    let mut w = World::new();
    let (_, far) = w.invite();
    let sent = &far.request;
    let one = |name: &str| {
        let all: Vec<_> = sent.headers.all(name).collect();
        assert_eq!(all.len(), 1, "{name}: {all:?}");
        all[0].to_owned()
    };
    // a. Kept.
    assert_eq!(sent.uri, "sip:bob@example.com;user=phone");
    assert_eq!(one("Conversation-ID"), "f81d4fae-7dec-11d0-a765-00a0c91e6bf6");
    assert_eq!(one("Contribution-ID"), "6b79b8bc937e4985b1dffd062b687bd7");
    assert!(!sent.headers.has("InReplyTo-Contribution-ID"), "not invented");
    assert_eq!(one("Subject"), "Lunch");
    // c. New.
    assert_ne!(sent.call_id(), "call-a");
    assert_eq!(one("CSeq"), "1 INVITE");
    assert_eq!(one("Max-Forwards"), "67");
    let from = one("From");
    assert!(from.starts_with("\"Ann\" <sip:ann@example.org>;tag=") && !from.ends_with("ann1"), "{from}");
    assert_eq!(one("To"), "<sip:bob@example.com>");
    assert!(!sent.headers.has("Via"));
    assert_eq!(one("P-Asserted-Identity"), "\"Ann\" <sip:ann@example.org>");
    // d.
    assert_eq!(one("User-Agent"), "CPM-serv/OMA2.2 pf/0.1.0");
    // e., i.
    assert_eq!(one("Contact"), format!("<sip:pf@10.0.0.1:5060>;+sip.instance=\"<urn:uuid:a>\";{TAG};q=0.7"));
    assert_eq!(one("Accept-Contact"), format!("*;{TAG};require;explicit"));
    // f., g.
    assert_eq!(one("Supported"), "timer");
    assert_eq!(one("Session-Expires"), "1800;refresher=uac");
    // h.
    assert_eq!(one("P-Asserted-Service"), ICSI);
    assert!(!sent.headers.has("P-Preferred-Service"));
    // k.
    assert_eq!(far.hop.uri, "sip:10.0.0.5:5060");
}

// Rows: INV-12, INV-18, INV-19
#[test]
fn all_instances_of_a_header_are_kept_in_order_and_timer_is_always_supported() {
    let mut w = World::new();
    let mut received = invite();
    received.headers.remove("Supported");
    received.headers.push("Accept-Contact", "*;automata, *;+g.oma.sip-im");
    received.headers.push("InReplyTo-Contribution-ID", "AbC");
    w.receive(received);
    let sent = w.request(Method::Invite).request;
    let all: Vec<_> = sent.headers.all("Accept-Contact").collect();
    assert_eq!(all, [format!("*;{TAG};require;explicit").as_str(), "*;automata, *;+g.oma.sip-im"]);
    assert_eq!(sent.headers.get("InReplyTo-Contribution-ID"), Some("AbC"));
    assert_eq!(sent.headers.get("Supported"), Some("timer"));
}

/// A group INVITE: a recipient list beside the session description.
fn group_invite() -> Request {
    let mut group = invite();
    group.headers.set("P-Preferred-Service", ICSI_G);
    group.headers.push("Require", "recipient-list-invite");
    group.headers.set("Content-Type", "multipart/mixed;boundary=\"xx\"");
    let sdp = String::from_utf8(group.body.to_vec()).unwrap();
    group.body = format!(
        "--xx\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--xx\r\n\
         Content-Type: application/resource-lists+xml;charset=utf-8\r\nContent-Disposition: recipient-list\r\n\r\n\
         <list><entry uri=\"sip:bob@example.com\"/></list>\r\n--xx--\r\n"
    )
    .into();
    group
}

// Rows: INV-13, INV-20, INV-23, AMB-11, AMB-40
#[test]
fn a_recipient_list_goes_along_beside_our_own_description() {
    let mut w = World::new();
    w.receive(group_invite());
    let sent = w.request(Method::Invite).request;
    let body =
        crate::core::sdp::split_body(sent.headers.get("Content-Type"), &sent.body).expect("a multipart");
    assert_eq!(body.others.len(), 1);
    assert_eq!(&body.others[0].body[..], b"<list><entry uri=\"sip:bob@example.com\"/></list>");
    assert_eq!(body.others[0].header("Content-Type"), Some("application/resource-lists+xml;charset=utf-8"));
    assert_eq!(body.others[0].header("Content-Disposition"), Some("recipient-list"));
    let sdp = String::from_utf8(body.sdp.unwrap().to_vec()).unwrap();
    assert!(sdp.contains("a=path:msrp://10.0.0.1:2855/") && !sdp.contains("10.1.0.1"), "{sdp}");
    assert_eq!(sent.headers.get("Supported"), Some("timer, recipient-list-invite"));
    assert_eq!(sent.headers.get("Require"), Some("recipient-list-invite"));
    assert_eq!(sent.headers.get("P-Asserted-Service"), Some(ICSI_G));
    assert!(!sent.headers.has("P-Preferred-Service"));
}

// Rows: INV-24
#[test]
fn an_asserted_cpm_service_is_passed_on() {
    for urn in [ICSI, ICSI_G] {
        let mut w = World::new();
        let mut asserted = invite();
        asserted.headers.remove("P-Preferred-Service");
        asserted.headers.push("P-Asserted-Service", urn);
        w.receive(asserted);
        let sent = w.request(Method::Invite).request;
        assert_eq!(sent.headers.all("P-Asserted-Service").collect::<Vec<_>>(), [urn]);
    }
}

// Rows: INV-25, AMB-04
#[test]
fn another_service_is_refused_only_if_policy_says_so() {
    for header in ["P-Asserted-Service", "P-Preferred-Service"] {
        let other = "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.session.grouped";
        let mut foreign = invite();
        foreign.headers.remove("P-Preferred-Service");
        foreign.headers.push(header, other);
        let mut w = World::with(|policy| policy.refuse_other_services = true);
        assert_eq!(warning(&refusal(&mut w, foreign.clone())), (403, ""));
        let mut w = World::new();
        w.receive(foreign);
        let sent = w.request(Method::Invite).request;
        assert_eq!(sent.headers.get(header), Some(other));
        let both =
            ["P-Asserted-Service", "P-Preferred-Service"].iter().filter(|h| sent.headers.has(h)).count();
        assert_eq!(both, 1);
    }
}

/// An INVITE from a client itself, answered with credentials, and what came of it.
fn by_client(w: &mut World, mut received: Request) -> Out {
    let tx = w.receive_from("192.0.2.66:5060", received.clone());
    let challenge = w.response(tx);
    assert_eq!(challenge.status, 407);
    let credentials = digest::tests::answer(&challenge, 0, 1, &received, &user("ann"));
    received.headers.push("Proxy-Authorization", credentials);
    received.headers.set("CSeq", "2 INVITE");
    w.receive_from("192.0.2.66:5060", received);
    w.request(Method::Invite)
}

// Rows: INV-24, INV-25
#[test]
fn what_a_client_itself_asserts_is_only_what_it_prefers() {
    let other = "urn:urn-7:3gpp-service.ims.icsi.mmtel";
    for (headers, asserted, preferred) in [
        (&[("P-Asserted-Service", ICSI_G)][..], Some(ICSI_G), None),
        (&[("P-Asserted-Service", other)], None, Some(other)),
        (&[("P-Asserted-Service", other), ("P-Preferred-Service", ICSI)], Some(ICSI), None),
        (&[("P-Asserted-Service", ICSI), ("P-Preferred-Service", other)], None, Some(other)),
    ] {
        let mut w = World::configured(|config| config.users = vec![user("ann")]);
        let mut received = invite();
        received.headers.remove("P-Preferred-Service");
        for (name, value) in headers {
            received.headers.push(*name, *value);
        }
        let sent = by_client(&mut w, received).request.headers;
        assert_eq!(sent.get("P-Asserted-Service"), asserted, "{headers:?}");
        assert_eq!(sent.get("P-Preferred-Service"), preferred, "{headers:?}");
    }
}

/// What clients have no right to say to the core.
const FOR_THE_CORE: [(&str, &str); 6] = [
    ("P-Access-Network-Info", "3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=1"),
    ("P-Charging-Function-Addresses", "ccf=192.0.2.66"),
    ("P-Charging-Vector", "icid-value=forged;orig-ioi=example.net"),
    ("P-Asserted-Identity", "<sip:bob@example.org>"),
    ("History-Info", "<sip:boss@example.org>;index=1"),
    ("Feature-Caps", "*;+g.3gpp.srvcc"),
];

// Rows: INV-15
#[test]
fn a_client_itself_writes_nothing_that_belongs_to_the_core() {
    let passed = |sent: &Request, value: &str| sent.headers.0.iter().any(|h| h.value == value);
    let mut received = invite();
    for (name, value) in FOR_THE_CORE {
        received.headers.push(name, value);
    }
    let mut w = World::configured(|config| config.users = vec![user("ann")]);
    let out = by_client(&mut w, received.clone());
    for (name, value) in FOR_THE_CORE {
        assert!(!passed(&out.request, value), "{name}");
    }
    assert!(out.request.headers.list("P-Asserted-Identity").all(|value| value.contains("ann")));
    // Nor does it learn what the core says of charging.
    let mut ringing = answer(&out, 180, "x");
    ringing.headers.push("P-Charging-Vector", "icid-value=secret");
    w.reply(&out, ringing.clone());
    let tx = ServerTx(w.last_tx);
    assert!(!w.response(tx).headers.has("P-Charging-Vector"));
    // A trusted node's go on.
    let mut w = World::new();
    let tx = w.receive(received);
    let out = w.request(Method::Invite);
    for (name, value) in FOR_THE_CORE {
        assert!(passed(&out.request, value), "{name}");
    }
    ringing = answer(&out, 180, "x");
    ringing.headers.push("P-Charging-Vector", "icid-value=secret");
    w.reply(&out, ringing);
    assert_eq!(w.response(tx).headers.get("P-Charging-Vector"), Some("icid-value=secret"));
}

// Rows: AMB-03
#[test]
fn without_a_service_header_the_feature_tags_and_the_list_show_the_service() {
    for (mut received, urn) in [(invite(), Some(ICSI)), (group_invite(), Some(ICSI_G)), (invite(), None)] {
        let mut w = World::new();
        received.headers.remove("P-Preferred-Service");
        if urn.is_none() {
            received.headers.remove("Accept-Contact");
            received.headers.set("Contact", "<sip:ann@a.example.net>");
        }
        w.receive(received);
        assert_eq!(w.request(Method::Invite).request.headers.get("P-Asserted-Service"), urn);
    }
}

// Rows: INV-27
#[test]
fn the_offer_is_ours_with_the_clients_terms() {
    let mut w = World::new();
    let (_, far) = w.invite();
    assert_eq!(w.media(), ["open stream", "open F"]);
    let offer = crate::core::sdp::Sdp::parse(&far.request.body).unwrap();
    let line = &offer.msrp_lines()[0];
    assert_eq!((line.port, line.host.as_deref()), (2855, Some("10.0.0.1")));
    assert!(line.path[0].starts_with("msrp://10.0.0.1:2855/") && line.path[0].ends_with(";tcp"));
    assert_eq!(line.accept_types, ["message/cpim"]);
    assert_eq!(line.accept_wrapped_types, ["text/plain"]);
    assert_eq!(line.setup.map(|s| s.as_str()), Some("actpass"));
    let id = line.path[0].strip_prefix("msrp://10.0.0.1:2855/").unwrap();
    assert!(id.len() >= 16 + ";tcp".len(), "80 random bits: {id}");
}

// Rows: INV-28
#[test]
fn a_destination_that_is_neither_sip_nor_tel_goes_to_the_isf() {
    for (uri, hop) in [
        ("mailto:bob@example.com", "sip:10.0.0.6:5060"),
        ("tel:+15550100;phone-context=x", "sip:10.0.0.5:5060"),
        ("sips:bob@example.com", "sip:10.0.0.5:5060"),
    ] {
        let mut w = World::new();
        let mut received = invite();
        received.uri = uri.to_owned();
        w.receive(received);
        let far = w.request(Method::Invite);
        assert_eq!((far.request.uri.as_str(), far.hop.uri.as_str()), (uri, hop));
    }
    let mut w = World::configured(|config| config.isf_route = None);
    let mut received = invite();
    received.uri = "mailto:bob@example.com".to_owned();
    assert_eq!(refusal(&mut w, received).status, 416);
}

// Rows: INV-29
#[test]
fn the_route_of_the_core_is_followed_and_a_clients_is_not() {
    let mut received = invite();
    received.headers.push("Route", "<sip:10.0.0.1:5060;lr>, <sip:odi7@10.0.0.9:5070;lr>");
    let mut w = World::new();
    w.receive(received.clone());
    let far = w.request(Method::Invite);
    assert_eq!(far.hop.uri, "sip:odi7@10.0.0.9:5070;lr");
    assert_eq!(far.request.headers.all("Route").collect::<Vec<_>>(), ["<sip:odi7@10.0.0.9:5070;lr>"]);

    let mut w = World::configured(|config| {
        config.core_route = None;
        config.users = vec![User {
            addresses: vec!["sip:ann@example.org".to_owned()],
            username: "ann".to_owned(),
            password: "secret".to_owned(),
            preferences: Default::default(),
        }];
    });
    let tx = w.receive_from("10.1.0.1:5060", received);
    assert_eq!(w.response(tx).status, 407, "not the core: it has to show who it is");
    w.receive(invite());
    assert_eq!(w.request(Method::Invite).hop.uri, "sip:bob@example.com;user=phone");
}

// Rows: INV-15
#[test]
fn an_invite_without_hops_left_is_not_forwarded() {
    let mut w = World::new();
    let mut last = invite();
    last.headers.set("Max-Forwards", "0");
    assert_eq!(refusal(&mut w, last).status, 483);
    let mut none = invite();
    none.headers.remove("Max-Forwards");
    w.receive(none);
    assert_eq!(w.request(Method::Invite).request.headers.get("Max-Forwards"), Some("70"));
}

#[test]
fn an_invite_that_cannot_be_served_is_refused_with_the_right_status() {
    type Spoil = fn(&mut Request);
    let cases: [(Spoil, u16); 9] = [
        (|r| r.headers.remove("Contact"), 400),
        (|r| r.headers.set("From", "<sip:ann@example.org>"), 400),
        (|r| r.headers.set("Content-Type", "multipart/mixed"), 400),
        (|r| r.headers.remove("Content-Type"), 415),
        (|r| r.body = "not sdp".into(), 400),
        (|r| r.body = sdp(1, "m=audio 4000 RTP/AVP 0\r\n").into(), 488),
        (
            |r| r.body = sdp(1, &chat("10.1.0.1", "a", "actpass").replace("TCP/MSRP", "TCP/TLS/MSRP")).into(),
            488,
        ),
        (|r| r.uri = "sip:nobody@10.0.0.1:5060".to_owned(), 404),
        (|r| r.uri = "nonsense".to_owned(), 400),
    ];
    let mut w = World::new();
    for (spoil, status) in cases {
        let mut bad = invite();
        spoil(&mut bad);
        assert_eq!(refusal(&mut w, bad.clone()).status, status, "{bad:#?}");
    }
}

#[test]
fn sessions_have_a_cap() {
    let mut w = World::new();
    w.shard.limit(Limits { sessions: 1, ..Limits::default() });
    w.invite();
    let mut second = invite();
    second.headers.set("Call-ID", "call-2");
    let tx = w.receive(second);
    let response = w.response(tx);
    assert_eq!((response.status, response.headers.has("Retry-After")), (503, true));
}

#[test]
fn requests_outside_of_a_dialog_are_answered() {
    let mut w = World::new();
    for (method, tag, status) in [
        (Method::Options, "", 200),
        (Method::Bye, ";tag=x", 481),
        (Method::Bye, "", 481),
        (Method::Update, ";tag=x", 481),
        (Method::Prack, "", 481),
        (Method::Subscribe, "", 405),
        (Method::Message, "", 405),
    ] {
        let mut stray = invite();
        stray.method = method;
        stray.headers.set("CSeq", format!("1 {method}"));
        stray.headers.set("To", format!("<sip:bob@example.com>{tag}"));
        let response = refusal(&mut w, stray);
        assert_eq!(response.status, status, "{method}{tag}");
        assert_eq!(response.headers.has("Allow"), status == 405 || status == 200);
    }
}

// Rows: INV-27
#[test]
fn an_invite_without_offer_gets_ours_and_answers_in_its_ack() {
    let mut w = World::new();
    let mut offerless = invite();
    offerless.headers.remove("Content-Type");
    offerless.body = "".into();
    let tx = w.receive(offerless.clone());
    let far = w.request(Method::Invite);
    let text = String::from_utf8(far.request.body.to_vec()).unwrap();
    assert!(text.contains("a=accept-types:message/cpim application/im-iscomposing+xml\r\n"), "{text}");
    w.media();
    w.reply(&far, far_ok(&far));
    let ok = w.response(tx);
    let ours = crate::core::sdp::Sdp::parse(&ok.body).unwrap();
    assert_eq!(ours.msrp_lines()[0].setup.map(|s| s.as_str()), Some("actpass"), "an offer");
    let media = w.media();
    assert!(media.iter().all(|m| !m.contains(" A to") && !m.contains("await A")), "{media:?}");

    let ua = Ua::caller(&offerless, &ok);
    let mut ack = ua.ack();
    ack.headers.push("Content-Type", "application/sdp");
    ack.body = sdp(1, &chat("10.1.0.1", "aaaaaaaa", "active")).into();
    w.event(Event::Sip(SipEvent::Ack { tx: Some(tx), from: peer(CORE), request: ack }));
    assert_eq!(w.media(), ["await A as msrp://10.1.0.1:2855/aaaaaaaa;tcp"]);
    w.acked(&far);

    // Without an answer there is no session.
    let mut w = World::new();
    let tx = w.receive(offerless.clone());
    let far = w.request(Method::Invite);
    w.reply(&far, far_ok(&far));
    let ok = w.response(tx);
    let ua = Ua::caller(&offerless, &ok);
    w.ack(tx, &ua);
    w.acked(&far);
    let byes = [w.request(Method::Bye), w.request(Method::Bye)];
    for bye in &byes {
        w.reply(bye, answer(bye, 200, "x"));
    }
    w.pass(60);
    w.over();
}

// Rows: INV-15
#[test]
fn an_anonymous_users_identity_does_not_leave_the_trust_domain() {
    for (core, privacy, shown) in [(true, true, true), (false, false, true), (false, true, false)] {
        let mut w = World::configured(|config| {
            config.core_route = config.core_route.take().filter(|_| core);
        });
        let mut received = invite();
        received.headers.push("P-Access-Network-Info", "3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=1");
        if privacy {
            received.headers.push("Privacy", "id");
        }
        w.receive(received);
        let sent = w.request(Method::Invite).request;
        assert_eq!(sent.headers.has("P-Asserted-Identity"), shown, "core {core}, privacy {privacy}");
        assert_eq!(sent.headers.has("P-Access-Network-Info"), core);
    }
}
