//! What is remembered of a session, and for how long.

use super::*;
use crate::core::view::SessionMode;

// Rows: PRX-06, BYE-01, BYE-02
#[test]
fn a_session_is_shown_until_its_bye_is_answered() {
    let mut w = proxying();
    let (tx, out) = w.passed();
    let view = &w.shard.sessions(w.now)[0];
    assert_eq!((view.mode, view.state.as_str()), (SessionMode::Proxy, "inviting"));
    assert_eq!(
        (view.originator.as_str(), view.destination.as_str()),
        ("sip:ann@example.org", "sip:bob@example.com;user=phone")
    );
    w.reply(&out, returned(&out, 200, "far").with("Contact", "<sip:bob@10.2.0.1>"));
    assert!(w.back(tx).is_some());
    assert_eq!(w.shard.sessions(w.now)[0].state, "established");
    assert_eq!((w.shard.session_count(), w.shard.proxied_count()), (1, 1));

    let mut f = Ua::callee(&out, "far");
    let bye = f.bye(Some("SIP;cause=200"));
    let tx = w.along(&out, bye);
    let (bye, _) = w.onward();
    assert_eq!(bye.request.headers.get("Reason"), Some("SIP;cause=200"));
    assert_eq!(w.shard.session_count(), 1, "not before it is answered");
    w.reply(&bye, returned(&bye, 200, ""));
    assert_eq!(w.back(tx).map(|r| r.status), Some(200));
    assert_eq!(w.shard.session_count(), 0);
    w.pass(40);
    w.silent();
    w.over();
}

#[test]
fn a_fork_is_one_session_and_ends_with_its_last_dialog() {
    let mut w = proxying();
    let (_, out) = w.passed();
    for tag in ["one", "two", "one"] {
        w.reply(&out, returned(&out, 200, tag));
    }
    for (tag, left) in [("one", 1), ("two", 0)] {
        let mut f = Ua::callee(&out, tag);
        let bye = f.bye(None);
        w.along(&out, bye);
        w.said.retain(|c| !matches!(c, Command::Sip(SipCommand::Forward(Forward::Response { .. }))));
        let (bye, _) = w.onward();
        w.reply(&bye, returned(&bye, 481, ""));
        // A 200 that comes again does not bring its dialog back.
        w.reply(&out, returned(&out, 200, tag));
        assert_eq!(w.shard.session_count(), left, "{tag}");
    }
}

// Rows: TMR-09, PRX-06
#[test]
fn a_session_that_is_not_refreshed_is_forgotten_without_a_word() {
    let mut w = proxying();
    let (mut a, _, out) = w.talking(&[("Session-Expires", "1800;refresher=uac")]);
    w.pass(1700);
    // A refresh by either end counts.
    let update = a.request(Method::Update);
    let tx = w.along(&out, update);
    let (update, _) = w.onward();
    w.reply(&update, returned(&update, 200, "").with("Session-Expires", "1800;refresher=uac"));
    assert!(w.back(tx).is_some());
    w.pass(1790);
    assert_eq!(w.shard.session_count(), 1);
    w.pass(20);
    assert_eq!(w.shard.session_count(), 0);
    w.silent();
    w.over();
    // What the two ends still say to each other passes all the same.
    let bye = a.bye(None);
    let tx = w.along(&out, bye);
    let (bye, _) = w.onward();
    w.reply(&bye, returned(&bye, 200, ""));
    assert_eq!(w.back(tx).map(|r| r.status), Some(200));
    w.over();
}

#[test]
fn without_a_timer_it_is_forgotten_when_long_unused_or_for_want_of_room() {
    let mut w = proxying();
    let (mut a, _, out) = w.talking(&[]);
    w.pass(11 * 3600);
    let info = a.request(Method::Info);
    w.along(&out, info);
    let (info, _) = w.onward();
    w.reply(&info, returned(&info, 200, ""));
    w.said.clear();
    w.pass(11 * 3600);
    assert_eq!(w.shard.session_count(), 1);
    w.pass(2 * 3600);
    w.silent();
    w.over();

    // Room for two: a new one takes the place of the one longest unused, but never of one that rings.
    w.shard.limit(Limits { sessions: 2, ..Limits::default() });
    w.talking(&[]);
    w.pass(40);
    let first = w.shard.sessions(w.now)[0].id;
    w.passed();
    w.passed();
    let ids: Vec<u64> = w.shard.sessions(w.now).iter().map(|view| view.id).collect();
    assert!(ids.len() == 2 && !ids.contains(&first));
    let tx = w.receive(invite());
    assert_eq!(w.response(tx).status, 503);
    w.pass(400);
}

// Rows: MOD-04
#[test]
fn a_re_invite_passes_the_checks_again_and_leaves_the_route() {
    let mut w = proxying();
    let (mut a, _, out) = w.talking(&[]);
    let again = a.offer(Method::Invite, "v=0");
    w.along(&out, again);
    let (again, _) = w.onward();
    assert!(!again.request.headers.has("Route"));
    assert_eq!(again.hop.uri, "sip:bob@10.2.0.1:5060");
    // An end that has lost its route set finds it again (section 16.6 step 4).
    assert_eq!(values(&again.request.headers, "Record-Route"), values(&out.request.headers, "Record-Route"));

    let mut w = World::with(|policy| {
        policy.media_path = MediaPath::WhenNeeded;
        policy.direct_delivery = false;
        policy.allow_anonymity = false;
    });
    let (mut a, _, out) = w.talking(&[]);
    let mut hidden = a.offer(Method::Invite, "v=0");
    hidden.headers.push("Privacy", "id");
    let tx = w.along(&out, hidden);
    let refusal = w.response(tx);
    assert_eq!(refusal.status, 403);
    assert!(refusal.headers.get("Warning").is_some_and(|w| w.contains("119 Anonymity not allowed")));
    assert_eq!(w.shard.session_count(), 1, "the session lives on");
}

// Rows: MOD-01
#[test]
fn the_checks_are_those_of_now_and_of_forgotten_sessions_too() {
    let mut policy =
        Policy { media_path: MediaPath::WhenNeeded, direct_delivery: false, ..Policy::default() };
    let mut w = proxying();
    let (mut a, _, out) = w.talking(&[]);
    policy.barred.push("sip:ann@example.org".to_owned());
    w.shard.reload(policy.clone(), Vec::new());
    let again = a.offer(Method::Invite, "v=0");
    let tx = w.along(&out, again);
    assert_eq!(w.response(tx).status, 403);
    assert_eq!(w.shard.proxied_count(), 1);
    // A restart: the key of the routes stays, and nothing else.
    for (policy, header, text) in [
        (policy, ("P-Asserted-Identity", "<sip:ann@example.org>"), "127 Service not authorised"),
        (
            Policy { barred: vec!["tel:+1555".to_owned()], ..Policy::default() },
            ("P-Preferred-Identity", "<tel:+1-555>"),
            "127 Service not authorised",
        ),
        (
            Policy { allow_anonymity: false, ..Policy::default() },
            ("Privacy", "id"),
            "119 Anonymity not allowed",
        ),
    ] {
        let mut w = World::with(|of_world| *of_world = policy);
        let mut again = a.offer(Method::Invite, "v=0");
        again.headers.push(header.0, header.1);
        let tx = w.along(&out, again);
        let refusal = w.response(tx);
        assert_eq!(refusal.status, 403, "{text}");
        assert!(refusal.headers.get("Warning").is_some_and(|warning| warning.contains(text)));
        let again = a.offer(Method::Update, "v=0");
        w.along(&out, again);
        assert_eq!(w.onward().0.request.method, Method::Update, "no INVITE");
    }
    let mut w = World::with(|policy| policy.barred.push("sip:eve@example.org".to_owned()));
    let again = a.offer(Method::Invite, "v=0");
    w.along(&out, again);
    assert_eq!(w.onward().0.request.method, Method::Invite);
}

#[test]
fn the_caller_is_reached_over_its_own_connection() {
    let mut w = proxying();
    w.last_tx += 1;
    let flow = crate::core::event::FlowId(9);
    let from = Peer { flow: Some(flow), ..peer(CORE) };
    w.event(Event::Sip(SipEvent::Request { tx: ServerTx(w.last_tx), from, request: invite() }));
    let (out, _) = w.onward();
    w.reply(&out, returned(&out, 200, "far").with("Contact", "<sip:bob@10.2.0.1:5060>"));
    w.said.clear();
    let mut f = Ua::callee(&out, "far");
    for method in [Method::Bye, Method::Ack] {
        let mut request = f.request(method);
        request.headers.push("Route", values(&out.request.headers, "Record-Route")[0].clone());
        match method {
            Method::Ack => w.event(Event::Sip(SipEvent::Ack { tx: None, from: peer(CORE), request })),
            _ => drop(w.receive(request)),
        }
        assert_eq!(w.onward().0.hop.flow, Some(flow), "{method}");
    }
    let mut a = Ua::caller(&invite(), &returned(&out, 200, "far"));
    let info = a.request(Method::Info);
    w.along(&out, info);
    assert_eq!(w.onward().0.hop.flow, None);
}
