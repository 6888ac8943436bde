//! Clause 8.2.2.1, 200 OK step 7 with 8.4.1: the XDMS is asked, and the record waits for it.

use super::*;
use crate::core::{
    policy::{
        MediaPath,
        access_rules::AccessRules,
        retrieval::{Found, Question, Retrieved, XdmsConfig},
    },
    store::Body,
};

const ANN: &str = "sip:ann@example.org";

pub(super) const XDMS: XdmsConfig = XdmsConfig { wait: Duration::from_secs(2), epoch: Duration::ZERO };

/// One of the answers that an XDMS can give.
pub(super) fn found(which: usize) -> Found {
    let all = [document("true"), document("false"), Found::Nothing, Found::Failed, Found::Unchanged];
    all.into_iter().nth(which).unwrap()
}

/// A world with a store and an XDMS, whose operator has the history recorded (or not) of who says nothing.
fn asking(by_default: bool) -> World {
    asking_with(by_default, |_| {})
}

fn asking_with(by_default: bool, change: impl FnOnce(&mut CoreConfig)) -> World {
    World::configured(|config| {
        config.policy.allow_offline_storage = by_default;
        config.policy.direct_delivery = false;
        config.store = Some(store());
        config.xdms = Some(XDMS);
        change(config);
    })
}

fn document(value: &str) -> Found {
    let text = format!(
        "<ruleset xmlns=\"urn:ietf:params:xml:ns:common-policy\"><rule id=\"r\"><actions>\
         <x:allow-offline-storage xmlns:x=\"urn:oma:xml:xdm:extensions\">{value}</x:allow-offline-storage>\
         </actions></rule></ruleset>"
    );
    let rules = AccessRules::parse(text.as_bytes()).unwrap();
    Found::Document { rules, octets: text.len(), etag: Some("\"1\"".to_owned()) }
}

impl World {
    fn question(&mut self) -> Option<Question> {
        let at = self.said.iter().position(|c| matches!(c, Command::Preferences(_)))?;
        match self.said.remove(at) {
            Command::Preferences(question) => Some(question),
            _ => unreachable!(),
        }
    }

    pub(super) fn found(&mut self, found: Found) {
        self.event(Event::Preferences(Retrieved { user: ANN.to_owned(), found }));
    }

    fn orders(&mut self) -> Vec<&'static str> {
        let kinds = self.said.iter().filter_map(|c| match c {
            Command::Store(order) => Some(order.object.body.kind()),
            _ => None,
        });
        let kinds = kinds.collect();
        self.said.retain(|c| !matches!(c, Command::Store(_)));
        kinds
    }

    /// What the relay was told of the recording.
    fn told_to_record(&mut self) -> Vec<String> {
        let about = |word: &String| word.contains("record") || word.contains("kep") || word.contains("keep");
        self.media().into_iter().filter(about).collect()
    }

    fn hang_up(&mut self, call: &mut Call) {
        self.receive(call.a.bye(None));
        let bye = self.request(Method::Bye);
        self.reply(&bye, answer(&bye, 200, "far"));
    }
}

// Rows: ANS-14
#[test]
fn the_xdms_is_asked_with_the_invite_and_its_answer_decides_after_the_200() {
    for (by_default, found, recorded) in [
        (false, document("true"), true),
        (true, document("false"), false),
        (true, Found::Document { rules: AccessRules::default(), octets: 0, etag: None }, false),
        (true, Found::Nothing, true),
        (false, Found::Nothing, false),
        (true, Found::Failed, true),
        (false, Found::Failed, false),
    ] {
        let expected: &[&str] = if recorded { &["session-info"] } else { &[] };
        // The answer is there before the 200.
        let mut w = asking(by_default);
        let (tx, far) = w.invite();
        assert_eq!(w.question(), Some(Question { user: ANN.to_owned(), etag: None }));
        w.found(found.clone());
        assert!(w.orders().is_empty(), "not before the 200");
        w.reply(&far, far_ok(&far));
        let is_200 = |c: &Command| matches!(c, Command::Sip(SipCommand::Respond { tx: of, .. }) if *of == tx);
        let ok = w.said.iter().position(is_200).unwrap();
        assert!(w.said.iter().take(ok).all(|c| !matches!(c, Command::Store(_))));
        assert_eq!(w.orders(), expected, "{by_default} {found:?}");
        assert_eq!(w.told_to_record(), if recorded { &["begin recording"][..] } else { &[] });
        assert!(w.question().is_none(), "asked once");
        // It comes later: what is said meanwhile is kept.
        let mut w = asking(by_default);
        let _call = w.answered();
        assert!(w.question().is_some() && w.orders().is_empty());
        assert_eq!(w.told_to_record(), ["keep"]);
        w.found(found.clone());
        assert_eq!(w.orders(), expected, "{by_default} {found:?}");
        assert_eq!(
            w.told_to_record(),
            [if recorded { "record what was kept" } else { "forget what was kept" }]
        );
    }
}

#[test]
fn an_answer_that_was_due_before_the_200_is_not_waited_for() {
    let mut w = asking(true);
    let (_tx, far) = w.invite();
    w.pass(2);
    assert!(w.orders().is_empty());
    w.reply(&far, far_ok(&far));
    assert_eq!(w.orders(), ["session-info"]);
    assert_eq!(w.told_to_record(), ["keep", "record what was kept"]);
    w.found(document("false"));
    assert!(w.told_to_record().is_empty());
}

#[test]
fn the_record_says_when_the_session_began_and_waits_for_the_xdms_for_a_while_only() {
    let mut w = asking(true);
    let _call = w.answered();
    w.pass(1);
    assert!(!w.said.iter().any(|c| matches!(c, Command::Store(_))));
    let began = w.now.before(Duration::from_secs(1));
    w.pass(1);
    let order = w.order();
    assert!(matches!(order.object.body, Body::SessionInfo(_)));
    assert_eq!(order.object.at, began);
    // What comes later is for the next session.
    w.found(document("false"));
    assert!(w.orders().is_empty());
    let _next = w.answered();
    w.found(Found::Failed);
    assert!(w.orders().is_empty(), "the last good answer");
}

#[test]
fn sessions_of_one_user_ask_once_and_name_the_copy() {
    let mut w = asking(false);
    let mut calls = [w.answered(), w.answered()];
    assert!(w.question().is_some());
    assert!(w.question().is_none());
    w.found(document("true"));
    assert_eq!(w.orders(), ["session-info", "session-info"]);
    let mut third = w.answered();
    assert_eq!(w.question().and_then(|question| question.etag).as_deref(), Some("\"1\""));
    w.found(Found::Unchanged);
    assert_eq!(w.orders(), ["session-info"]);
    // A user who does not want it any more: what was begun is not completed.
    let _fourth = w.answered();
    w.question();
    w.found(document("0"));
    w.hang_up(&mut third);
    w.hang_up(&mut calls[0]);
    assert!(w.orders().is_empty());
}

#[test]
fn a_session_that_ends_before_the_answer_is_recorded_by_what_is_known() {
    for by_default in [false, true] {
        let mut w = asking(by_default);
        let mut call = w.answered();
        w.hang_up(&mut call);
        let expected: &[&str] = if by_default { &["session-info", "session-end"] } else { &[] };
        assert_eq!(w.orders(), expected);
        let expected: &[&str] = if by_default {
            &["keep", "record what was kept", "end recording"]
        } else {
            &["keep", "forget what was kept"]
        };
        assert_eq!(w.told_to_record(), expected);
        w.pass(60);
        w.found(document("true"));
        assert!(w.orders().is_empty());
    }
}

#[test]
fn whoever_may_want_a_record_is_not_proxied() {
    let mut w = asking_with(false, |config| config.policy.media_path = MediaPath::WhenNeeded);
    let _first = w.answered();
    assert_eq!(w.shard.proxied_count(), 0, "nothing is known of the user");
    w.question();
    w.found(document("false"));
    let mut second = invite();
    second.headers.set("Call-ID", "second");
    w.receive(second);
    assert_eq!(w.shard.proxied_count(), 1);
    assert!(w.question().is_some(), "for the next session");
    w.found(document("true"));
    assert!(w.orders().is_empty());
    let mut third = invite();
    third.headers.set("Call-ID", "third");
    w.receive(third);
    assert_eq!(w.shard.proxied_count(), 1);
}
