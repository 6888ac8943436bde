//! Sessions with several IWFs: who accepts which stream, and who leaves.

use super::*;
use crate::core::policy::{IwfLeaves, IwfSetup};

/// A rejected m-line.
pub(super) const NO: &str = "m=message 0 TCP/MSRP *\r\n";

/// A session of UE-A through the ISF.
pub(super) struct Interworked {
    pub(super) a: Ua,
    ok: Response,
    pub(super) iwfs: Vec<Ua>,
}

pub(super) fn mail(lines: &str) -> Request {
    let mut request = invite();
    request.uri = "mailto:bob@example.com".to_owned();
    request.body = sdp(1, lines).into();
    request
}

pub(super) fn two_lines() -> String {
    chat("10.1.0.1", "aaaaaaaa", "actpass") + &chat("10.1.0.1", "bbbbbbbb", "actpass")
}

/// The 200 of IWF number `n`, which accepts the lines that say so.
pub(super) fn iwf_ok(out: &Out, n: u8, accepts: &[bool]) -> Response {
    let ok = answer(out, 200, &format!("iwf{n}"))
        .with("Contact", format!("<sip:iwf{n}@10.3.0.{n}:5060>"))
        .with("Allow", "INVITE, ACK, BYE, CANCEL");
    let host = format!("10.3.0.{n}");
    let line = |(at, yes): (usize, &bool)| {
        if *yes { chat(&host, &format!("iwf{n}line{at}"), "passive") } else { NO.to_owned() }
    };
    with_sdp(ok, &sdp(1, &accepts.iter().enumerate().map(line).collect::<String>()))
}

pub(super) fn ports(body: &[u8]) -> Vec<u16> {
    let text = std::str::from_utf8(body).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("m=message "));
    lines.map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect()
}

pub(super) fn setups(body: &[u8]) -> Vec<&str> {
    std::str::from_utf8(body).unwrap().lines().filter_map(|line| line.strip_prefix("a=setup:")).collect()
}

impl World {
    /// UE-A's two streams go to two IWFs, one each.
    pub(super) fn interworked(change: impl FnOnce(&mut Policy)) -> (World, Interworked) {
        World::interworked_as(World::with(change))
    }

    fn interworked_as(mut w: World) -> (World, Interworked) {
        let tx = w.receive(mail(&two_lines()));
        let isf = w.request(Method::Invite);
        w.reply(&isf, iwf_ok(&isf, 1, &[true, false]));
        assert!(!w.has_response(tx), "the second stream may still be accepted");
        w.reply(&isf, iwf_ok(&isf, 2, &[false, true]));
        let ok = w.response(tx);
        let a = Ua::caller(&mail(""), &ok);
        assert!(w.try_acked(&isf).is_none(), "ACKs follow UE-A's");
        w.ack(tx, &a);
        let mut tags = vec![w.acked(&isf).to_tag(), w.acked(&isf).to_tag()];
        tags.sort();
        assert_eq!(tags, [Some("iwf1".to_owned()), Some("iwf2".to_owned())]);
        let iwfs = vec![Ua::callee(&isf, "iwf1"), Ua::callee(&isf, "iwf2")];
        (w, Interworked { a, ok, iwfs })
    }

    /// UE-B takes part too; UE-C does not.
    fn with_device(&mut self) -> (Ua, Out) {
        let out = self.request(Method::Invite);
        let ok = answer(&out, 200, "tag-b").with("Contact", "<sip:ann@b.example.net:5060>");
        let lines = chat("10.1.0.2", "b1", "passive") + &chat("10.1.0.2", "b2", "passive");
        self.reply(&out, with_sdp(ok, &sdp(1, &lines)));
        self.acked(&out);
        let other = self.request(Method::Invite);
        self.reply(&other, answer(&other, 486, "tag-c"));
        (Ua::callee(&out, "tag-b"), out)
    }

    /// The BYEs that have gone out, and their Request-URIs.
    pub(super) fn byes(&mut self) -> Vec<(String, Out)> {
        let mut byes = Vec::new();
        while self.has_request(Method::Bye) {
            let bye = self.request(Method::Bye);
            byes.push((bye.request.uri.clone(), bye));
        }
        byes.sort_by(|a, b| a.0.cmp(&b.0));
        byes
    }
}

// Rows: ANS-01
#[test]
fn forked_answers_become_one_and_each_stream_gets_its_iwf() {
    let (mut w, call) = World::interworked(|policy| policy.direct_delivery = false);
    assert_eq!(ports(&call.ok.body), [2855, 2855]);
    let media = w.media();
    let connects: Vec<&String> = media.iter().filter(|c| c.starts_with("connect F")).collect();
    assert_eq!(
        connects,
        [
            "connect F to 10.3.0.1:2855 as msrp://10.3.0.1:2855/iwf1line0;tcp",
            "connect F to 10.3.0.2:2855 as msrp://10.3.0.2:2855/iwf2line1;tcp",
        ]
    );
    assert!(!media.iter().any(|c| c.starts_with("close")), "{media:?}");
    w.silent();
}

// Rows: ANS-01, ANS-02
#[test]
fn what_nobody_accepts_in_time_is_rejected_and_late_forks_are_ended() {
    let mut w = World::with(|policy| policy.direct_delivery = false);
    let tx = w.receive(mail(&two_lines()));
    let isf = w.request(Method::Invite);
    w.reply(&isf, iwf_ok(&isf, 1, &[true, false]));
    w.pass(1);
    assert!(!w.has_response(tx));
    w.pass(1);
    let ok = w.response(tx);
    assert_eq!((ok.status, ports(&ok.body)), (200, vec![2855, 0]));
    w.ack(tx, &Ua::caller(&mail(""), &ok));
    w.acked(&isf);
    // A fork that comes now has nothing to carry.
    w.reply(&isf, iwf_ok(&isf, 2, &[false, true]));
    assert_eq!(w.acked(&isf).to_tag().as_deref(), Some("iwf2"));
    assert_eq!(w.request(Method::Bye).request.uri, "sip:iwf2@10.3.0.2:5060");
    w.silent();
}

#[test]
fn a_single_iwf_that_accepts_all_is_not_waited_with() {
    let mut w = World::with(|policy| policy.direct_delivery = false);
    let tx = w.receive(mail(&two_lines()));
    let isf = w.request(Method::Invite);
    w.reply(&isf, iwf_ok(&isf, 1, &[true, true]));
    assert_eq!(ports(&w.response(tx).body), [2855, 2855]);
    w.silent();
}

#[test]
fn an_iwf_that_accepts_too_much_is_told_which_streams_are_its_own() {
    let mut w = World::with(|policy| policy.direct_delivery = false);
    let tx = w.receive(mail(&two_lines()));
    let isf = w.request(Method::Invite);
    w.reply(&isf, iwf_ok(&isf, 1, &[true, false]));
    w.reply(&isf, iwf_ok(&isf, 2, &[true, true]));
    let ok = w.response(tx);
    w.ack(tx, &Ua::caller(&mail(""), &ok));
    w.acked(&isf);
    w.acked(&isf);
    let told = w.request(Method::Invite);
    assert_eq!(told.request.uri, "sip:iwf2@10.3.0.2:5060");
    assert_eq!(ports(&told.request.body), [0, 2855]);
    w.reply(&told, iwf_ok(&told, 2, &[false, true]));
    w.acked(&told);
    w.silent();
}

// Rows: ANS-02, ANS-03, ANS-04, ANS-05, ANS-06, ANS-07
#[test]
fn rejected_streams_may_get_a_second_session() {
    for (setup, written) in [(IwfSetup::Passive, "passive"), (IwfSetup::Actpass, "actpass")] {
        let mut w = World::with(|policy| {
            policy.direct_delivery = false;
            policy.interworking_rejected_streams = true;
            policy.interworking_rejected_setup = setup;
        });
        let mut request = mail(&two_lines());
        request.headers.set("Supported", "timer, recipient-list-invite");
        let tx = w.receive(request);
        let isf = w.request(Method::Invite);
        w.reply(&isf, iwf_ok(&isf, 1, &[true, false]));
        w.pass(2);
        let second = w.request(Method::Invite);
        assert!(!w.has_response(tx), "UE-A is answered when this one is");
        assert_eq!(
            (second.request.uri.as_str(), second.hop.uri.as_str()),
            ("mailto:bob@example.com", "sip:10.0.0.6:5060")
        );
        assert_ne!(second.request.call_id(), isf.request.call_id());
        assert_ne!(second.request.from_tag(), isf.request.from_tag());
        for name in ["Supported", "Session-Expires", "Min-SE", "Require"] {
            assert!(!second.request.headers.has(name), "{name}");
        }
        for name in [
            "Conversation-ID",
            "Contribution-ID",
            "Accept-Contact",
            "Contact",
            "P-Asserted-Service",
            "User-Agent",
            "To",
        ] {
            assert_eq!(second.request.headers.get(name), isf.request.headers.get(name), "{name}");
        }
        assert_eq!(ports(&second.request.body), [2855]);
        assert_eq!(setups(&second.request.body), [written]);
        w.media();
        let ok = answer(&second, 200, "iwf3").with("Contact", "<sip:iwf3@10.3.0.3:5060>");
        w.reply(&second, with_sdp(ok, &sdp(1, &chat("10.3.0.3", "third", "active"))));
        let ok = w.response(tx);
        assert_eq!((ok.status, ports(&ok.body)), (200, vec![2855, 2855]));
        assert!(w.media().contains(&"await F as msrp://10.3.0.3:2855/third;tcp".to_owned()));
        w.ack(tx, &Ua::caller(&mail(""), &ok));
        w.acked(&isf);
        w.acked(&second);
        w.silent();
    }
}

// Rows: ANS-02
#[test]
fn the_second_sessions_failure_leaves_the_first_alone() {
    for refused in [true, false] {
        let mut w = World::with(|policy| {
            policy.direct_delivery = false;
            policy.interworking_rejected_streams = true;
        });
        let tx = w.receive(mail(&two_lines()));
        let isf = w.request(Method::Invite);
        w.reply(&isf, iwf_ok(&isf, 1, &[true, false]));
        w.pass(2);
        let second = w.request(Method::Invite);
        if refused {
            w.reply(&second, answer(&second, 488, "isf"));
        } else {
            w.pass(2);
            assert!(w.cancelled(&second).is_some());
        }
        let ok = w.response(tx);
        assert_eq!((ok.status, ports(&ok.body)), (200, vec![2855, 0]));
        w.ack(tx, &Ua::caller(&mail(""), &ok));
        w.acked(&isf);
        if !refused {
            // It says yes all the same: nobody wants it any more.
            w.reply(&second, iwf_ok(&second, 3, &[true]));
            w.acked(&second);
            let bye = w.request(Method::Bye);
            w.reply(&bye, answer(&bye, 200, ""));
        }
        w.silent();
        assert_eq!(w.shard.sessions(w.now).len(), 1);
    }
}

// Rows: BYE-16, BYE-17
#[test]
fn the_clients_bye_goes_to_each_iwf_and_is_answered_last() {
    let (mut w, mut call) = World::interworked(|policy| policy.direct_delivery = false);
    let bye = w.receive(call.a.bye(None));
    let byes = w.byes();
    let uris: Vec<&str> = byes.iter().map(|(uri, _)| uri.as_str()).collect();
    assert_eq!(uris, ["sip:iwf1@10.3.0.1:5060", "sip:iwf2@10.3.0.2:5060"]);
    w.reply(&byes[0].1, answer(&byes[0].1, 200, ""));
    assert!(!w.has_response(bye));
    w.reply(&byes[1].1, answer(&byes[1].1, 200, ""));
    assert_eq!(w.response(bye).status, 200);
    w.silent();
    w.over();
}

// Rows: TMR-06
#[test]
fn an_expired_timer_ends_every_iwf() {
    let (mut w, _) = World::interworked(|policy| policy.direct_delivery = false);
    w.pass(900);
    // PF refreshes both IWFs; one of them does not know the dialog any more.
    let mut refreshes = [w.request(Method::Invite), w.request(Method::Invite)];
    refreshes.sort_by_key(|out| out.request.uri.clone());
    w.pass(1);
    w.reply(&refreshes[0], answer(&refreshes[0], 481, ""));
    let byes = w.byes();
    let uris: Vec<&str> = byes.iter().map(|(uri, _)| uri.as_str()).collect();
    assert_eq!(uris, ["sip:ann@a.example.net:5060", "sip:iwf1@10.3.0.1:5060", "sip:iwf2@10.3.0.2:5060"]);
    for (_, bye) in &byes {
        w.reply(bye, answer(bye, 200, ""));
    }
    w.over();
}

// Rows: BYE-31, BYE-32, BYE-34, BYE-35, BYE-36, BYE-37
#[test]
fn one_iwfs_bye_ends_the_session_where_policy_says_so() {
    let (mut w, mut call) = World::interworked(|_| {});
    w.with_device();
    w.media();
    let left = w.receive(call.iwfs[0].bye(Some("SIP;cause=200")));
    let byes = w.byes();
    let uris: Vec<&str> = byes.iter().map(|(uri, _)| uri.as_str()).collect();
    assert_eq!(uris, ["sip:ann@a.example.net:5060", "sip:ann@b.example.net:5060", "sip:iwf2@10.3.0.2:5060"]);
    assert!(byes.iter().all(|(_, bye)| bye.request.headers.get("Reason") == Some("SIP;cause=200")));
    w.reply(&byes[1].1, answer(&byes[1].1, 200, ""));
    w.reply(&byes[2].1, answer(&byes[2].1, 200, ""));
    assert!(!w.has_response(left), "UE-A's answer comes first");
    assert!(!w.media().contains(&"close stream".to_owned()));
    w.reply(&byes[0].1, answer(&byes[0].1, 200, ""));
    assert_eq!(w.response(left).status, 200);
    assert_eq!(w.media().iter().filter(|c| *c == "close stream").count(), 2);
    w.silent();
    w.over();
}

// Rows: BYE-31
#[test]
fn the_last_iwfs_bye_ends_the_session_whatever_the_policy() {
    let mut w = World::with(|policy| {
        policy.direct_delivery = false;
        policy.interworking_leave = IwfLeaves::Streams;
    });
    let tx = w.receive(mail(&two_lines()));
    let isf = w.request(Method::Invite);
    w.reply(&isf, iwf_ok(&isf, 1, &[true, true]));
    let ok = w.response(tx);
    w.ack(tx, &Ua::caller(&mail(""), &ok));
    w.acked(&isf);
    let left = w.receive(Ua::callee(&isf, "iwf1").bye(None));
    let bye = w.request(Method::Bye);
    assert_eq!(bye.request.uri, "sip:ann@a.example.net:5060");
    w.reply(&bye, answer(&bye, 200, ""));
    assert_eq!(w.response(left).status, 200);
    w.silent();
    w.over();
}

// Rows: BYE-30, BYE-37
#[test]
fn one_iwfs_bye_may_cost_its_streams_alone() {
    let (mut w, mut call) = World::interworked(|policy| policy.interworking_leave = IwfLeaves::Streams);
    let (_, device) = w.with_device();
    w.media();
    let left = w.receive(call.iwfs[1].bye(None));
    let given = w.request(Method::Invite);
    assert_eq!(given.request.uri, "sip:ann@a.example.net:5060");
    assert_eq!(ports(&given.request.body), [2855, 0]);
    assert!(!w.has_response(left) && !w.has_request(Method::Bye));
    let lines = chat("10.1.0.1", "aaaaaaaa", "actpass") + NO;
    w.reply(&given, with_sdp(answer(&given, 200, ""), &sdp(2, &lines)));
    w.acked(&given);
    assert_eq!(w.response(left).status, 200);
    assert!(w.media().contains(&"close stream".to_owned()));
    let told = w.request(Method::Invite);
    assert_eq!(told.request.call_id(), device.request.call_id());
    assert_eq!(ports(&told.request.body), [2855, 0]);
    w.reply(&told, answer(&told, 488, ""));
    w.silent();
    // The rest goes on, and its end is the end.
    let bye = w.receive(call.a.bye(None));
    let byes = w.byes();
    let uris: Vec<&str> = byes.iter().map(|(uri, _)| uri.as_str()).collect();
    assert_eq!(uris, ["sip:ann@b.example.net:5060", "sip:iwf1@10.3.0.1:5060"]);
    for (_, bye) in &byes {
        w.reply(bye, answer(bye, 200, ""));
    }
    assert_eq!(w.response(bye).status, 200);
    w.over();
}

// Rows: BYE-33
#[test]
fn the_record_comes_before_the_clients_bye() {
    let (mut w, mut call) = World::interworked_as(World::recording_with(|config| {
        config.policy.direct_delivery = false;
    }));
    let begun = w.order();
    w.stored(&begun, 1);
    let left = w.receive(call.iwfs[0].bye(None));
    let byes = w.byes();
    assert_eq!(byes.len(), 1, "the other IWF is not held up");
    assert_eq!(byes[0].0, "sip:iwf2@10.3.0.2:5060");
    w.reply(&byes[0].1, answer(&byes[0].1, 200, ""));
    let end = w.order();
    assert!(!w.has_request(Method::Bye) && !w.has_response(left));
    w.stored(&end, 2);
    let bye = w.request(Method::Bye);
    assert_eq!(bye.request.uri, "sip:ann@a.example.net:5060");
    w.reply(&bye, answer(&bye, 200, ""));
    assert_eq!(w.response(left).status, 200);
    w.silent();
    w.over();
}

#[test]
fn giving_up_streams_waits_for_other_offers_and_ends_with_the_client() {
    let streams = |policy: &mut Policy| {
        policy.direct_delivery = false;
        policy.interworking_leave = IwfLeaves::Streams;
    };
    // Glare: tried again.
    let (mut w, mut call) = World::interworked(streams);
    let left = w.receive(call.iwfs[1].bye(None));
    let given = w.request(Method::Invite);
    w.reply(&given, answer(&given, 491, ""));
    w.pass(5);
    let again = w.request(Method::Invite);
    assert!(!w.has_response(left));
    // The client does not answer: the IWF gets its 200 before it gives up, and the session lives till the client is
    // known to be gone.
    w.pass(26);
    assert_eq!(w.response(left).status, 200);
    w.unanswered(&again);
    let byes = w.byes();
    assert_eq!(byes.len(), 2, "UE-A and IWF 1");
    for (_, bye) in &byes {
        w.reply(bye, answer(bye, 200, ""));
    }
    w.silent();
    w.over();

    // The client leaves meanwhile.
    let (mut w, mut call) = World::interworked(streams);
    let left = w.receive(call.iwfs[1].bye(None));
    w.request(Method::Invite);
    let bye = w.receive(call.a.bye(None));
    assert_eq!(w.response(left).status, 200);
    let out = w.request(Method::Bye);
    w.reply(&out, answer(&out, 200, ""));
    assert_eq!(w.response(bye).status, 200);
    w.silent();
    w.over();
}

#[test]
fn a_cancel_while_iwfs_answer_ends_those_that_have() {
    let mut w = World::with(|policy| policy.interworking_rejected_streams = true);
    let tx = w.receive(mail(&two_lines()));
    let isf = w.request(Method::Invite);
    w.reply(&isf, iwf_ok(&isf, 1, &[true, false]));
    w.pass(2);
    let second = w.request(Method::Invite);
    w.cancel(tx, None);
    assert_eq!(w.response(tx).status, 487);
    w.acked(&isf);
    let bye = w.request(Method::Bye);
    w.reply(&bye, answer(&bye, 200, ""));
    assert!(w.cancelled(&second).is_some());
    w.reply(&second, answer(&second, 487, "isf"));
    w.silent();
    w.over();
}

#[test]
fn an_iwf_that_leaves_before_the_client_has_its_answer_is_one_less() {
    let mut w = World::with(|policy| policy.direct_delivery = false);
    let tx = w.receive(mail(&two_lines()));
    let isf = w.request(Method::Invite);
    w.reply(&isf, iwf_ok(&isf, 1, &[true, false]));
    let left = w.receive(Ua::callee(&isf, "iwf1").bye(None));
    w.acked(&isf);
    assert_eq!(w.response(left).status, 200);
    assert_eq!(w.response(tx).status, 480);
    w.silent();
    w.over();
}
