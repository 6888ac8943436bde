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
    let settings: [(fn(&mut Policy), bool); 4] = [
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
    assert_eq!(w.media(), ["close stream"]);
    w.silent();
    w.over();
    assert_eq!(w.shard.group_views(w.now).next().unwrap().restartable, Some(true));
}
