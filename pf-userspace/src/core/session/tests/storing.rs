//! Clauses 8.5 and 8.5.2 as 8.2.2.1, 8.2.2.3 and 8.2.2.4 call for them: what is ordered, and what waits for it.

use super::*;
use crate::core::store::Body;

/// A recorded session of UE-A with FAR; the orders that began it were looked at.
fn recorded(group: bool) -> (World, Call) {
    let mut w = World::recording();
    let call = w.answered_with(if group { group_invite() } else { invite() });
    let begun = w.order();
    assert!(matches!(&begun.object.body, Body::SessionInfo(info) if info.group == group));
    w.stored(&begun, 1);
    w.said.clear();
    (w, call)
}

// Rows: ANS-15
#[test]
fn the_record_begins_after_the_200() {
    let mut w = World::recording();
    let (tx, far) = w.invite();
    w.reply(&far, far_ok(&far));
    let is_200 = |c: &Command| matches!(c, Command::Sip(SipCommand::Respond { tx: of, .. }) if *of == tx);
    let ok = w.said.iter().position(is_200).unwrap();
    let stored = w.said.iter().position(|c| matches!(c, Command::Store(_))).unwrap();
    assert!(ok < stored);
    let order = w.order();
    assert_eq!(order.object.user, "sip:ann@example.org");
    assert_eq!(order.object.folder.conversation, "f81d4fae-7dec-11d0-a765-00a0c91e6bf6");
    assert_eq!(order.object.folder.session, "6b79b8bc937e4985b1dffd062b687bd7");
    let Body::SessionInfo(info) = order.object.body else { panic!("{:?}", order.object.body) };
    assert_eq!(
        (info.to.as_str(), info.subject.as_deref()),
        ("sip:bob@example.com;user=phone", Some("Lunch"))
    );
    // Neither without the user's wish nor without a store.
    for (wish, store) in [(false, true), (true, false)] {
        let mut w = World::configured(|config| {
            config.policy.allow_offline_storage = wish;
            config.store = store.then(super::store);
        });
        let mut call = w.answered();
        w.receive(call.a.bye(None));
        assert!(!w.said.iter().any(|c| matches!(c, Command::Store(_))));
    }
}

// Rows: BYE-20, AMB-17
#[test]
fn the_client_hears_200_when_the_group_state_is_stored() {
    let (mut w, mut call) = recorded(true);
    let bye = w.receive(call.a.bye(None));
    let to_far = w.request(Method::Bye);
    assert!(!w.said.iter().any(|c| matches!(c, Command::Store(_))), "not before the far end has answered");
    w.reply(&to_far, answer(&to_far, 200, "far"));
    let state = w.order();
    let Body::GroupState(body) = &state.object.body else { panic!("{:?}", state.object.body) };
    assert_eq!(body.last_focus_session_id, "sip:bob@10.2.0.1:5060");
    let end = w.order();
    assert!(matches!(end.object.body, Body::SessionEnd(_)));
    assert!(!w.has_response(bye));
    w.stored(&end, 3);
    assert!(!w.has_response(bye), "one of two is not all");
    w.stored(&state, 2);
    assert_eq!(w.response(bye).status, 200);
}

// Rows: AMB-17
#[test]
fn a_one_to_one_session_has_no_group_state() {
    let (mut w, mut call) = recorded(false);
    let bye = w.receive(call.a.bye(Some("SIP;cause=200")));
    let to_far = w.request(Method::Bye);
    w.reply(&to_far, answer(&to_far, 200, "far"));
    let end = w.order();
    let Body::SessionEnd(body) = &end.object.body else { panic!("{:?}", end.object.body) };
    assert_eq!(body.reason.as_deref(), Some("SIP;cause=200"));
    assert!(!w.said.iter().any(|c| matches!(c, Command::Store(_))));
    assert!(!w.has_response(bye));
    w.stored(&end, 2);
    assert_eq!(w.response(bye).status, 200);
}

// Rows: BYE-25
#[test]
fn the_client_s_bye_waits_for_the_record() {
    for group in [false, true] {
        let (mut w, mut call) = recorded(group);
        let bye = w.receive(call.f.bye(Some("SIP;cause=480")));
        let mut orders = Vec::new();
        while w.said.iter().any(|c| matches!(c, Command::Store(_))) {
            orders.push(w.order());
        }
        assert_eq!(orders.len(), if group { 2 } else { 1 });
        for order in &orders {
            assert!(!w.has_request(Method::Bye));
            w.stored(order, 5);
        }
        let to_a = w.request(Method::Bye);
        assert_eq!(to_a.request.call_id(), "call-a");
        assert_eq!(to_a.request.headers.get("Reason"), Some("SIP;cause=480"));
        assert!(!to_a.request.headers.has("Message-UID"), "AMB-19");
        w.reply(&to_a, answer(&to_a, 200, "x"));
        assert_eq!(w.response(bye).status, 200);
    }
}

// Rows: TMR-03, TMR-04, TMR-05, TMR-10, AMB-18
#[test]
fn an_expired_session_is_stored_before_its_byes_which_name_the_group_state() {
    /// What the store does.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Does {
        Store,
        Fail,
        Nothing,
    }
    for (group, does) in
        [(true, Does::Store), (true, Does::Fail), (true, Does::Nothing), (false, Does::Store)]
    {
        let mut w = World::recording();
        w.register_for_groups();
        let mut invite = if group { group_invite() } else { invite() };
        invite.headers.push("x", "90;refresher=uac");
        let call = w.answered_with(invite);
        let b = w.request(Method::Invite);
        w.reply(&b, device_ok(&b, "b"));
        w.said.clear();
        w.pass(60);
        assert!(!w.has_request(Method::Bye), "the store comes first");
        let orders: Vec<Order> = (0..if group { 2 } else { 1 }).map(|_| w.order()).collect();
        assert_eq!(matches!(orders[0].object.body, Body::GroupState(_)), group);
        match does {
            Does::Store => orders.iter().zip(41..).for_each(|(order, uid)| w.stored(order, uid)),
            Does::Fail => orders.iter().for_each(|order| w.not_stored(order, StoreError::Full)),
            Does::Nothing => {
                w.pass(4);
                assert!(!w.has_request(Method::Bye));
                w.pass(1);
            }
        }
        let byes = [w.request(Method::Bye), w.request(Method::Bye), w.request(Method::Bye)];
        let ids = byes.each_ref().map(|bye| bye.request.call_id());
        assert_eq!(ids, ["call-a", &call.f.call_id, b.request.call_id()]);
        let uids = byes.each_ref().map(|bye| bye.request.headers.get("Message-UID"));
        let uid = (group && does == Does::Store).then_some("41");
        assert_eq!(uids, [uid, None, uid], "{group} {does:?}");
        byes.iter().for_each(|bye| w.reply(bye, answer(bye, 200, "x")));
        let counters = w.shard.store_counters();
        let expected = match does {
            Does::Store => (if group { 2 } else { 1 }, 0, 0),
            Does::Fail => (0, 2, 0),
            Does::Nothing => (0, 0, 2),
        };
        assert_eq!((counters.stored, counters.full, counters.late), expected);
    }
}

// Rows: BYE-20, BYE-23, AMB-39
#[test]
fn neither_a_silent_far_end_nor_a_silent_store_keeps_the_client_beyond_its_timer_f() {
    let (mut w, mut call) = recorded(true);
    let bye = w.receive(call.a.bye(None));
    w.request(Method::Bye);
    w.pass(25);
    assert_eq!(
        (0..2).map(|_| w.order().object.body.kind()).collect::<Vec<_>>(),
        ["group-state", "session-end"]
    );
    w.pass(4);
    assert!(!w.has_response(bye));
    w.pass(1);
    assert_eq!(w.response(bye).status, 200, "64*T1 are 32 s");
    w.pass(10);
    w.said.clear();
    w.over();
}

// Rows: BYE-25
#[test]
fn a_silent_store_does_not_keep_the_session() {
    let (mut w, mut call) = recorded(true);
    let bye = w.receive(call.f.bye(None));
    w.pass(4);
    assert!(!w.has_request(Method::Bye));
    w.pass(1);
    let to_a = w.request(Method::Bye);
    w.reply(&to_a, answer(&to_a, 200, "x"));
    assert_eq!(w.response(bye).status, 200);
    assert_eq!(w.shard.store_counters().late, 2);
}

#[test]
fn a_client_that_leaves_while_the_store_works_needs_no_bye() {
    let (mut w, mut call) = recorded(false);
    let from_far = w.receive(call.f.bye(None));
    let order = w.order();
    let from_a = w.receive(call.a.bye(None));
    assert_eq!((w.response(from_a).status, w.response(from_far).status), (200, 200));
    w.said.clear();
    w.stored(&order, 2);
    assert!(!w.has_request(Method::Bye));
}

// Rows: BYE-08, BYE-09
#[test]
fn the_cause_tells_whether_a_group_session_may_be_started_again() {
    for (reason, restartable) in [
        (Some("SIP;cause=410;text=\"Gone\""), Some(false)),
        (Some("SIP;cause=480;text=\"Bearer unavailable\""), Some(true)),
        (None, None),
    ] {
        let mut w = World::with(|policy| policy.direct_delivery = false);
        let mut call = w.answered_with(group_invite());
        w.receive(call.f.bye(reason));
        let groups: Vec<_> = w.shard.group_views(w.now).collect();
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].focus, "sip:bob@10.2.0.1:5060");
        assert_eq!(groups[0].restartable, restartable, "{reason:?}");
    }
    // A one-to-one session is no group.
    let mut w = World::new();
    let mut call = w.established();
    w.receive(call.f.bye(Some("SIP;cause=480")));
    assert_eq!(w.shard.group_count(), 0);
}
