//! Clause 8.2.2.5 step 4: changes in a session with IWFs.

use super::{
    iwf::{Interworked, NO, iwf_ok, mail, ports, setups, two_lines},
    *,
};

const IWF1: &str = "sip:iwf1@10.3.0.1:5060";
const IWF2: &str = "sip:iwf2@10.3.0.2:5060";

fn quiet(policy: &mut Policy) {
    policy.direct_delivery = false;
}

fn first() -> String {
    chat("10.1.0.1", "aaaaaaaa", "actpass")
}

fn third() -> String {
    chat("10.1.0.1", "cccccccc", "actpass")
}

/// UE-A offers this; gives the transaction.
fn offer(w: &mut World, call: &mut Interworked, lines: &str) -> ServerTx {
    let request = call.a.offer(Method::Invite, &sdp(2, lines));
    w.receive(request)
}

/// UE-A has its answer with these ports; its ACK leads to one for each of these.
fn agreed(w: &mut World, call: &Interworked, tx: ServerTx, expected: &[u16], accepted: &[&Out]) {
    let ok = w.response(tx);
    assert_eq!((ok.status, ports(&ok.body)), (200, expected.to_vec()));
    for out in accepted {
        assert!(w.try_acked(out).is_none(), "not before UE-A's");
    }
    w.ack(tx, &call.a);
    for out in accepted {
        w.acked(out);
    }
    w.silent();
}

// Rows: MOD-05
#[test]
fn a_changed_stream_concerns_its_own_iwf_alone() {
    let (mut w, mut call) = World::interworked(quiet);
    let changed = chat("10.1.0.1", "bbbbbbbb", "actpass").replace("text/plain", "text/plain image/png");
    let tx = offer(&mut w, &mut call, &(first() + &changed));
    let asked = w.request(Method::Invite);
    assert_eq!(asked.request.uri, IWF2);
    assert_eq!(ports(&asked.request.body), [0, 2855]);
    assert!(std::str::from_utf8(&asked.request.body).unwrap().contains("image/png"));
    assert!(!w.has_request(Method::Invite) && !w.has_response(tx));
    w.reply(&asked, iwf_ok(&asked, 2, &[false, true]));
    agreed(&mut w, &call, tx, &[2855, 2855], &[&asked]);
}

// Rows: MOD-05
#[test]
fn a_removed_stream_is_told_to_its_iwf_which_may_go() {
    let (mut w, mut call) = World::interworked(quiet);
    w.media();
    let tx = offer(&mut w, &mut call, &(first() + NO));
    let asked = w.request(Method::Invite);
    assert_eq!((asked.request.uri.as_str(), ports(&asked.request.body)), (IWF2, vec![0, 0]));
    w.reply(&asked, iwf_ok(&asked, 2, &[false, false]));
    assert_eq!(ports(&w.response(tx).body), [2855, 0]);
    assert!(w.media().contains(&"close stream".to_owned()));
    // It has nothing more to do.
    w.acked(&asked);
    let bye = w.request(Method::Bye);
    assert_eq!(bye.request.uri, IWF2);
    w.reply(&bye, answer(&bye, 200, ""));
    w.ack(tx, &call.a);
    w.silent();
    let end = w.receive(call.a.bye(None));
    let byes = w.byes();
    assert_eq!(byes.len(), 1);
    assert_eq!(byes[0].0, IWF1);
    w.reply(&byes[0].1, answer(&byes[0].1, 200, ""));
    assert_eq!(w.response(end).status, 200);
    w.over();
}

// Rows: MOD-05
#[test]
fn a_refused_change_leaves_every_iwf_as_it_was() {
    let (mut w, mut call) = World::interworked(quiet);
    let tx = offer(&mut w, &mut call, &two_lines().replace("text/plain", "text/html"));
    let asked = w.request(Method::Invite);
    assert_eq!(asked.request.uri, IWF1);
    w.reply(&asked, iwf_ok(&asked, 1, &[true, false]));
    let other = w.request(Method::Invite);
    assert_eq!(other.request.uri, IWF2);
    w.reply(&other, answer(&other, 488, ""));
    assert_eq!(w.response(tx).status, 488);
    w.acked(&asked);
    // IWF 1 gets back what was agreed.
    let back = w.request(Method::Invite);
    assert_eq!((back.request.uri.as_str(), ports(&back.request.body)), (IWF1, vec![2855, 0]));
    assert!(std::str::from_utf8(&back.request.body).unwrap().contains("text/plain"));
    w.reply(&back, iwf_ok(&back, 1, &[true, false]));
    w.acked(&back);
    w.silent();
}

// Rows: MOD-06, MOD-15
#[test]
fn a_new_stream_goes_from_one_iwf_to_the_next() {
    let (mut w, mut call) = World::interworked(quiet);
    w.media();
    let tx = offer(&mut w, &mut call, &(two_lines() + &third()));
    let one = w.request(Method::Invite);
    assert_eq!((one.request.uri.as_str(), ports(&one.request.body)), (IWF1, vec![2855, 0, 2855]));
    assert!(!w.has_request(Method::Invite), "never both at once");
    w.reply(&one, answer(&one, 488, ""));
    let two = w.request(Method::Invite);
    assert_eq!((two.request.uri.as_str(), ports(&two.request.body)), (IWF2, vec![0, 2855, 2855]));
    assert!(!w.has_response(tx));
    w.reply(&two, iwf_ok(&two, 2, &[false, true, true]));
    assert!(
        w.media().contains(&"connect F to 10.3.0.2:2855 as msrp://10.3.0.2:2855/iwf2line2;tcp".to_owned())
    );
    agreed(&mut w, &call, tx, &[2855, 2855, 2855], &[&two]);
}

// Rows: MOD-06
#[test]
fn the_first_iwf_that_takes_a_new_stream_is_the_last_asked() {
    let (mut w, mut call) = World::interworked(quiet);
    let tx = offer(&mut w, &mut call, &(two_lines() + &third()));
    let one = w.request(Method::Invite);
    w.reply(&one, iwf_ok(&one, 1, &[true, false, true]));
    agreed(&mut w, &call, tx, &[2855, 2855, 2855], &[&one]);
}

// Rows: MOD-06
#[test]
fn a_200_that_rejects_the_new_stream_is_as_good_as_488() {
    let (mut w, mut call) = World::interworked(quiet);
    let tx = offer(&mut w, &mut call, &(two_lines() + &third()));
    let one = w.request(Method::Invite);
    w.reply(&one, iwf_ok(&one, 1, &[true, false, false]));
    w.acked(&one);
    let two = w.request(Method::Invite);
    w.reply(&two, answer(&two, 488, ""));
    assert_eq!(w.response(tx).status, 488);
    w.silent();
}

// Rows: MOD-10, MOD-12
#[test]
fn a_new_stream_that_all_refuse_is_refused_and_the_session_lives() {
    for (said, heard) in [([488, 488], 488), ([488, 500], 500), ([486, 488], 486), ([488, 481], 480)] {
        let (mut w, mut call) = World::interworked(|policy| {
            quiet(policy);
            policy.interworking_leave = crate::core::policy::IwfLeaves::Streams;
        });
        let tx = offer(&mut w, &mut call, &(two_lines() + &third()));
        for status in said {
            let asked = w.request(Method::Invite);
            w.reply(&asked, answer(&asked, status, ""));
        }
        assert_eq!(w.response(tx).status, heard, "{said:?}");
        assert_eq!(w.shard.sessions(w.now)[0].state, "established");
        if heard == 488 {
            w.silent();
        }
    }
}

// Rows: MOD-11, MOD-13, MOD-14, MOD-18
#[test]
fn a_new_stream_that_all_refuse_may_get_a_session_of_its_own() {
    for works in [true, false] {
        let (mut w, mut call) = World::interworked(|policy| {
            quiet(policy);
            policy.interworking_new_streams = true;
        });
        let tx = offer(&mut w, &mut call, &(two_lines() + &third()));
        for _ in 0..2 {
            let asked = w.request(Method::Invite);
            w.reply(&asked, answer(&asked, 488, ""));
        }
        let new = w.request(Method::Invite);
        assert_eq!(
            (new.hop.uri.as_str(), new.request.uri.as_str()),
            ("sip:10.0.0.6:5060", "mailto:bob@example.com")
        );
        assert_eq!((ports(&new.request.body), setups(&new.request.body)), (vec![2855], vec!["actpass"]));
        assert!(new.request.to_tag().is_none() && new.request.headers.get("CSeq") == Some("1 INVITE"));
        assert!(!w.has_response(tx));
        if !works {
            w.reply(&new, answer(&new, 480, ""));
            assert_eq!(w.response(tx).status, 488);
            w.silent();
            continue;
        }
        w.reply(&new, iwf_ok(&new, 3, &[true]));
        agreed(&mut w, &call, tx, &[2855, 2855, 2855], &[&new]);
        // The new session is one more to end, and may leave as any other.
        let end = w.receive(call.a.bye(None));
        let byes = w.byes();
        assert_eq!(byes.len(), 3);
        for (_, bye) in &byes {
            w.reply(bye, answer(bye, 200, ""));
        }
        assert_eq!(w.response(end).status, 200);
        w.over();
    }
}

#[test]
fn a_cancelled_change_asks_nobody_else() {
    let new_session = |policy: &mut Policy| {
        quiet(policy);
        policy.interworking_new_streams = true;
    };
    let (mut w, mut call) = World::interworked(new_session);
    let tx = offer(&mut w, &mut call, &(two_lines() + &third()));
    let one = w.request(Method::Invite);
    w.cancel(tx, None);
    assert!(w.cancelled(&one).is_some());
    w.reply(&one, answer(&one, 487, ""));
    assert_eq!(w.response(tx).status, 487);
    w.silent();

    let (mut w, mut call) = World::interworked(new_session);
    let tx = offer(&mut w, &mut call, &(two_lines() + &third()));
    for _ in 0..2 {
        let asked = w.request(Method::Invite);
        w.reply(&asked, answer(&asked, 488, ""));
    }
    let new = w.request(Method::Invite);
    w.cancel(tx, None);
    assert_eq!(w.response(tx).status, 487);
    assert!(w.cancelled(&new).is_some());
    w.reply(&new, answer(&new, 487, ""));
    w.silent();
    assert_eq!(w.shard.sessions(w.now).len(), 1);
}

#[test]
fn an_iwf_changes_its_own_streams_and_nothing_else() {
    let (mut w, mut call) = World::interworked(quiet);
    let moved = chat("10.3.0.2", "moved", "actpass").replace("text/plain", "text/html");
    let request = call.iwfs[1].offer(Method::Invite, &sdp(2, &(NO.to_owned() + &moved + &third())));
    let tx = w.receive(request);
    let asked = w.request(Method::Invite);
    assert_eq!(asked.request.uri, "sip:ann@a.example.net:5060");
    assert_eq!(ports(&asked.request.body), [2855, 2855], "an IWF adds nothing");
    let text = String::from_utf8(asked.request.body.to_vec()).unwrap();
    assert!(text.contains("text/plain") && text.contains("text/html"));
    w.media();
    w.reply(&asked, with_sdp(answer(&asked, 200, ""), &sdp(2, &two_lines())));
    let ok = w.response(tx);
    // We keep connecting, as before: 9 is the port of who does (RFC 4145 section 4.1).
    assert_eq!((ok.status, ports(&ok.body)), (200, vec![0, 9, 0]));
    let media = w.media();
    assert!(
        media.iter().any(|c| c.starts_with("connect F to 10.3.0.2:2855 as msrp://10.3.0.2:2855/moved")),
        "{media:?}"
    );
    w.ack(tx, &call.iwfs[1]);
    w.acked(&asked);
    w.silent();
    // Its dialog has three m-lines from now on.
    let changed = first() + &chat("10.1.0.1", "bbbbbbbb", "actpass").replace("text/plain", "a/b");
    let request = call.a.offer(Method::Invite, &sdp(3, &changed));
    let tx = w.receive(request);
    let asked = w.request(Method::Invite);
    assert_eq!(
        (asked.request.uri.as_str(), ports(&asked.request.body)),
        ("sip:peer@10.9.0.9:5060", vec![0, 2855, 0])
    );
    w.reply(&asked, iwf_ok(&asked, 2, &[false, true, false]));
    agreed(&mut w, &call, tx, &[2855, 2855], &[&asked]);
}

#[test]
fn the_only_iwf_may_add_a_stream() {
    let mut w = World::with(quiet);
    let tx = w.receive(mail(&first()));
    let isf = w.request(Method::Invite);
    w.reply(&isf, iwf_ok(&isf, 1, &[true]));
    let ok = w.response(tx);
    let a = Ua::caller(&mail(""), &ok);
    w.ack(tx, &a);
    w.acked(&isf);
    let lines = chat("10.3.0.1", "iwf1line0", "actpass") + &chat("10.3.0.1", "more", "actpass");
    let request = Ua::callee(&isf, "iwf1").offer(Method::Invite, &sdp(2, &lines));
    let tx = w.receive(request);
    let asked = w.request(Method::Invite);
    assert_eq!(ports(&asked.request.body), [2855, 2855]);
    w.reply(&asked, with_sdp(answer(&asked, 200, ""), &sdp(2, &two_lines())));
    assert_eq!(ports(&w.response(tx).body), [9, 2855]);
}
