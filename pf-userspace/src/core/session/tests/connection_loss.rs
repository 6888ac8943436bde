//! Clause 8.2.2.3 step 4: the core lost the served client of a group session.

use super::*;
use crate::core::store::{Body, Content};

const LOST: Option<&str> = Some("SIP;cause=503;text=\"Service Unavailable\"");

/// A group session of UE-A alone, and a world whose operator and user have these settings.
fn group(change: impl FnOnce(&mut Policy)) -> (World, Call) {
    let mut w = World::configured(|config| {
        config.policy.direct_delivery = false;
        config.store = Some(store());
        change(&mut config.policy);
    });
    let call = w.answered_with(group_invite());
    w.said.clear();
    (w, call)
}

// Rows: BYE-38, BYE-39, BYE-40, BYE-41, BYE-42, BYE-43, BYE-44, BYE-47
#[test]
fn any_one_setting_keeps_the_group_session_and_three_keep_what_is_said() {
    type Setting = fn(&mut Policy);
    let settings: [(Setting, bool); 4] = [
        (|policy| policy.allow_offline_storage = true, true),
        (|policy| policy.allow_store = true, true),
        (|policy| policy.allow_defer = true, true),
        (|policy| policy.restart_group_sessions = true, false),
    ];
    for (setting, keeps) in settings {
        let (mut w, mut call) = group(setting);
        let bye = w.receive(call.a.bye(LOST));
        assert_eq!(w.response(bye).status, 200);
        assert_eq!(w.media(), [if keeps { "intercept and keep" } else { "intercept" }, "close A"]);
        w.request(Method::Subscribe);
        assert!(w.said.is_empty(), "no BYE for the far end: {:?}", w.said);
        let session = &w.shard.sessions(w.now)[0];
        assert_eq!((session.state.as_str(), session.legs[0].state.as_str()), ("client lost", "lost"));
    }
}

// Rows: BYE-49
#[test]
fn without_a_setting_or_a_group_or_a_store_for_the_user_s_wish_the_bye_goes_on() {
    for (one_to_one, wish, store) in [(false, false, true), (true, true, true), (false, true, false)] {
        let mut w = World::configured(|config| {
            config.policy.direct_delivery = false;
            config.policy.allow_defer = wish;
            config.policy.restart_group_sessions = one_to_one;
            config.store = store.then(super::store);
        });
        let mut call = w.answered_with(if one_to_one { invite() } else { group_invite() });
        w.said.clear();
        let bye = w.receive(call.a.bye(LOST));
        let to_far = w.request(Method::Bye);
        assert_eq!(to_far.request.headers.get("Reason"), LOST);
        w.reply(&to_far, answer(&to_far, 200, "far"));
        assert_eq!(w.response(bye).status, 200);
        w.over();
    }
}

// Rows: BYE-38, AMB-16
#[test]
fn with_another_device_connected_the_settings_do_not_matter() {
    let mut w = World::recording();
    w.register_for_groups();
    let mut call = w.answered_with(group_invite());
    let b = w.request(Method::Invite);
    w.reply(&b, device_ok(&b, "b"));
    w.said.clear();
    let bye = w.receive(call.a.bye(LOST));
    assert_eq!(w.response(bye).status, 200);
    assert_eq!(w.media(), ["close A"]);
    assert_eq!(w.shard.sessions(w.now)[0].state, "established");
}

/// UE-A, UE-B and FAR have a session, and UE-A is lost while its re-INVITE waits for FAR: it has the 487, the
/// re-INVITE is cancelled.
fn lost_in_a_change() -> (World, Call, Out) {
    let mut w = World::new();
    let mut call = w.established();
    let tx = w.receive(call.a.offer(Method::Invite, &sdp(2, &chat("10.1.0.9", "moved", "actpass"))));
    let change = w.request(Method::Invite);
    let bye = w.receive(call.a.bye(LOST));
    assert_eq!((w.response(tx).status, w.response(bye).status), (487, 200));
    assert_eq!(w.cancelled(&change), Some(None));
    w.silent();
    (w, call, change)
}

#[test]
fn a_change_of_a_client_that_is_lost_is_cancelled() {
    let (mut w, mut call, change) = lost_in_a_change();
    w.reply(&change, answer(&change, 487, "far"));
    w.silent();
    assert_eq!(w.shard.sessions(w.now)[0].state, "established");
    let tx = w.receive(call.f.request(Method::Options));
    assert_eq!(w.response(tx).status, 200);
}

#[test]
fn a_late_yes_to_a_change_of_a_client_that_is_lost_does_not_end_the_session() {
    let (mut w, mut call, change) = lost_in_a_change();
    w.reply(&change, far_ok(&change));
    w.acked(&change);
    assert!(!w.has_request(Method::Bye), "FAR and UE-B still talk");
    // FAR gets back what was agreed.
    let again = w.request(Method::Invite);
    assert_eq!(again.request.call_id(), call.f.call_id);
    let path = |out: &Out| {
        let text = String::from_utf8(out.request.body.to_vec()).unwrap();
        text.lines().find(|line| line.starts_with("a=path:")).map(str::to_owned)
    };
    assert_eq!(path(&again), path(&call.far));
    w.reply(&again, far_ok(&again));
    w.acked(&again);
    w.silent();
    let bye = w.receive(call.f.bye(None));
    let to_b = w.request(Method::Bye);
    assert_eq!(to_b.request.call_id(), call.devices[0].0.call_id);
    assert_eq!(w.response(bye).status, 200);
}

#[test]
fn a_client_that_is_lost_before_its_ack_does_not_leave_the_far_end_without_one() {
    let mut w = World::configured(|config| {
        config.policy.direct_delivery = false;
        config.policy.allow_defer = true;
        config.store = Some(store());
    });
    let (tx, far) = w.invite_with(group_invite());
    w.reply(&far, far_ok(&far));
    let ok = w.response(tx);
    let bye = w.receive(Ua::caller(&group_invite(), &ok).bye(LOST));
    assert_eq!(w.response(bye).status, 200);
    w.acked(&far);
    assert_eq!(w.shard.sessions(w.now)[0].state, "client lost");
}

// Rows: BYE-47
#[test]
fn what_is_said_is_stored_and_then_confirmed() {
    let (mut w, mut call) = group(|policy| policy.allow_defer = true);
    w.receive(call.a.bye(LOST));
    w.said.clear();
    w.intercepted(1, "hello");
    let order = w.order();
    let Body::Message(message) = &order.object.body else { panic!("{:?}", order.object.body) };
    assert_eq!(message.content, Content::Content("hello".to_owned()));
    assert_eq!((message.for_record, message.for_delivery), (false, true));
    assert_eq!(w.media(), [""; 0]);
    w.stored(&order, 1);
    assert_eq!(w.media(), ["message 1 kept"]);
    // A store that fails, and one that is silent.
    w.intercepted(2, "two");
    let order = w.order();
    w.not_stored(&order, StoreError::Full);
    assert_eq!(w.media(), ["message 2 not kept"]);
    w.intercepted(3, "three");
    let order = w.order();
    w.pass(5);
    assert_eq!(w.media(), ["message 3 not kept"]);
    w.stored(&order, 2);
    w.silent();
    // The bound of a session.
    for (number, kept) in [(4, true), (5, true), (6, true), (7, false)] {
        w.intercepted(number, &"x".repeat(990));
        if kept {
            let order = w.order();
            w.stored(&order, number as u32);
        }
        let outcome = if kept { "kept" } else { "not kept" };
        assert_eq!(w.media(), [format!("message {number} {outcome}")]);
    }
    assert_eq!(w.shard.store_counters().refused, 1);
}

#[test]
fn the_controlling_function_ends_it() {
    let (mut w, mut call) = group(|policy| policy.allow_offline_storage = true);
    w.receive(call.a.bye(LOST));
    w.said.clear();
    let bye = w.receive(call.f.bye(Some("SIP;cause=480")));
    assert_eq!(w.response(bye).status, 200, "there is no client to wait for");
    let kinds: Vec<_> = (0..2).map(|_| w.order().object.body.kind()).collect();
    assert_eq!(kinds, ["group-state", "session-end"]);
    assert_eq!(w.media(), ["end recording", "close stream"]);
    w.silent();
    w.over();
    assert_eq!(w.shard.group_views(w.now).next().unwrap().restartable, Some(true));
}

/// The SUBSCRIBE of a session whose client is lost.
fn subscribed(change: impl FnOnce(&mut CoreConfig)) -> (World, Call, Out) {
    let mut w = World::configured(|config| {
        config.policy.direct_delivery = false;
        config.policy.allow_store = true;
        config.store = Some(store());
        change(config);
    });
    let mut call = w.answered_with(group_invite());
    w.receive(call.a.bye(LOST));
    let subscribe = w.request(Method::Subscribe);
    w.said.clear();
    (w, call, subscribe)
}

fn subscribe_ok(out: &Out) -> Response {
    answer(out, 200, "focus").with("Contact", "<sip:focus@10.2.0.1>").with("Expires", "3600")
}

/// A NOTIFY of the controlling function, whose tag is `tag`.
fn notify(out: &Out, tag: &str, number: u32, state: &str, users: &[&str]) -> Request {
    let mut notify = request(
        Method::Notify,
        "sip:pf@10.0.0.1:5060",
        &[
            ("From", &format!("{};tag={tag}", out.request.headers.get("To").unwrap())),
            ("To", out.request.headers.get("From").unwrap()),
            ("Call-ID", out.request.call_id()),
            ("CSeq", &format!("{number} NOTIFY")),
            ("Contact", "<sip:focus@10.2.0.1>"),
            ("Event", "conference"),
            ("Subscription-State", state),
            ("Content-Type", "application/conference-info+xml"),
        ],
    );
    let users: String = users.iter().map(|user| format!("<user entity=\"{user}\"/>")).collect();
    notify.body = format!(
        "<conference-info xmlns=\"urn:ietf:params:xml:ns:conference-info\" entity=\"sip:focus@10.2.0.1\" \
         state=\"full\" version=\"{number}\"><users>{users}</users></conference-info>"
    )
    .into();
    notify
}

// Rows: BYE-45, PART-01, PART-02, PART-03, PART-04, PART-05, PART-07, PART-09, PART-10, PART-11
#[test]
fn the_subscribe_is_ours_on_behalf_of_the_user() {
    let (_, call, subscribe) = subscribed(|config| config.own_uri = Some("sip:cpm@example.org".to_owned()));
    let header = |name| subscribe.request.headers.get(name);
    assert_eq!(subscribe.request.uri, "sip:bob@10.2.0.1:5060");
    assert_ne!(subscribe.request.call_id(), call.f.call_id);
    assert_eq!(subscribe.hop.uri, "sip:10.0.0.5:5060");
    assert_eq!((header("Event"), header("Expires")), (Some("conference"), Some("3600")));
    assert_eq!(header("Accept"), Some("application/conference-info+xml"));
    assert_eq!(header("Accept-Contact"), Some(format!("*;{TAG}").as_str()));
    assert_eq!((header("P-Asserted-Service"), header("P-Preferred-Service")), (Some(ICSI_G), None));
    assert_eq!(header("Contact"), Some(format!("<sip:pf@10.0.0.1:5060>;{TAG}").as_str()));
    assert!(header("From").unwrap().starts_with("<sip:cpm@example.org>;tag="));
    assert_eq!(header("P-Asserted-Identity"), Some("<sip:ann@example.org>"));
    // PART-06.
    let (_, _, outside) = subscribed(|config| config.outside_trust_domain = true);
    let header = |name| outside.request.headers.get(name);
    assert_eq!((header("P-Asserted-Service"), header("P-Preferred-Service")), (None, Some(ICSI_G)));
}

// Rows: BYE-46, PART-16, PART-18, PART-19, PART-20
#[test]
fn the_last_participants_are_in_the_group_state() {
    let (mut w, mut call, subscribe) = subscribed(|_| {});
    // It may come before the 2xx.
    let first =
        w.receive(notify(&subscribe, "focus", 1, "active;expires=3600", &["sip:bob@x", "sip:carl@x"]));
    assert_eq!(w.response(first).status, 200);
    w.reply(&subscribe, subscribe_ok(&subscribe));
    let forged = w.receive(notify(&subscribe, "other", 2, "active", &["sip:eve@x"]));
    assert_eq!(w.response(forged).status, 481);
    let mut foreign = notify(&subscribe, "focus", 2, "active", &[]);
    foreign.headers.set("Event", "presence");
    let foreign = w.receive(foreign);
    assert_eq!(w.response(foreign).status, 489);
    let last = notify(&subscribe, "focus", 3, "Terminated; reason=noresource", &["sip:bob@x", "sip:dora@x"]);
    let last = w.receive(last);
    assert_eq!(w.response(last).status, 200);
    let participants = |order: &Order| match &order.object.body {
        Body::GroupState(state) => state.participants.clone(),
        other => panic!("{other:?}"),
    };
    let snapshot = w.order();
    assert_eq!(participants(&snapshot), ["sip:bob@x", "sip:dora@x"]);
    w.stored(&snapshot, 1);
    w.silent();
    // And once more at the end.
    w.receive(call.f.bye(Some("SIP;cause=480")));
    let end = w.order();
    assert_eq!(participants(&end), ["sip:bob@x", "sip:dora@x"]);
    assert!(snapshot.object.at < end.object.at, "the latest one counts, however close they are");
    assert!(!w.has_request(Method::Subscribe), "it is over");
}

#[test]
fn a_subscription_is_refreshed_made_anew_and_ended() {
    let (mut w, mut call, subscribe) = subscribed(|_| {});
    let mut granted = subscribe_ok(&subscribe);
    granted.headers.set("Expires", "600");
    w.reply(&subscribe, granted);
    w.said.clear();
    let refresh = loop {
        w.pass(30);
        if w.has_request(Method::Subscribe) {
            break w.request(Method::Subscribe);
        }
    };
    assert_eq!(refresh.request.call_id(), subscribe.request.call_id());
    assert_eq!(refresh.request.to_tag().as_deref(), Some("focus"));
    w.reply(&refresh, answer(&refresh, 481, "focus"));
    w.pass(59);
    assert!(!w.has_request(Method::Subscribe));
    w.pass(1);
    let anew = w.request(Method::Subscribe);
    assert_ne!(anew.request.call_id(), subscribe.request.call_id());
    w.reply(&anew, answer(&anew, 423, "focus").with("Min-Expires", "7200"));
    let longer = w.request(Method::Subscribe);
    assert_eq!(longer.request.headers.get("Expires"), Some("7200"));
    w.reply(&longer, subscribe_ok(&longer));
    let timeout = w.receive(notify(&longer, "focus", 1, "terminated;reason=timeout", &[]));
    assert_eq!(w.response(timeout).status, 200);
    w.pass(1);
    let again = w.request(Method::Subscribe);
    w.reply(&again, subscribe_ok(&again));
    w.receive(call.f.bye(None));
    let end = w.request(Method::Subscribe);
    assert_eq!(end.request.headers.get("Expires"), Some("0"));
    assert_eq!(end.request.call_id(), again.request.call_id());
    // One that is refused is not asked for again.
    let (mut w, _, refused) = subscribed(|_| {});
    w.reply(&refused, answer(&refused, 403, "focus"));
    w.said.clear();
    w.pass(800);
    assert!(!w.has_request(Method::Subscribe));
}
