//! Responses, timer C and CANCEL (RFC 3261 sections 16.7 to 16.10).

use super::*;
use crate::core::{proxy::responses::Pending, session::Context};

// Rows: PRX-05, ANS-16
#[test]
fn a_response_loses_our_via_and_nothing_else() {
    let mut w = proxying();
    let (tx, out) = w.passed();
    w.reply(&out, returned(&out, 100, "x"));
    w.silent();
    for (status, tag) in [(180, "one"), (180, "two"), (183, "two")] {
        let ringing = returned(&out, status, tag).with("X-Odd", "a,b").with("Record-Route", "<sip:x;lr>");
        let mut expected = ringing.clone();
        expected.headers.0.remove(0);
        w.reply(&out, ringing);
        assert_eq!(w.back(tx), Some(expected));
    }
    // Two answer, and one of them again: all of that is for the caller to sort out.
    for tag in ["one", "two", "one"] {
        let ok = returned(&out, 200, tag).with("Server", "far/1");
        let mut expected = ok.clone();
        expected.headers.0.remove(0);
        w.reply(&out, ok);
        assert_eq!(w.back(tx), Some(expected));
    }
    // In one field with the others, only ours goes.
    let mut joined = returned(&out, 200, "two");
    let list: Vec<String> = values(&joined.headers, "Via");
    joined.headers.remove("Via");
    joined.headers.push("v", list.join(","));
    w.reply(&out, joined);
    assert_eq!(values(&w.back(tx).unwrap().headers, "Via"), list[1..]);
    // One that was for us alone is no response to anybody else.
    w.reply(&out, answer(&out, 200, "three").with("Via", "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKours"));
    w.silent();
    // Late ones have nobody to go to; and they are no sessions of ours that would need a BYE.
    w.pass(40);
    w.reply(&out, returned(&out, 200, "four").with("Contact", "<sip:bob@10.2.0.1>"));
    w.silent();
}

#[test]
fn a_refusal_goes_back_and_503_does_not() {
    for (status, back) in [(404, 404), (486, 486), (302, 302), (401, 401), (603, 603), (503, 500)] {
        let mut w = proxying();
        let (tx, out) = w.passed();
        w.reply(&out, returned(&out, status, "far"));
        let got = w.back(tx).map(|r| r.status).unwrap_or_else(|| w.response(tx).status);
        assert_eq!(got, back);
        w.silent();
        w.over();
    }
}

#[test]
fn silence_is_408_for_an_invite_and_silence_for_all_else() {
    let mut w = proxying();
    let (tx, out) = w.passed();
    w.unanswered(&out);
    assert_eq!(w.response(tx).status, 408);
    w.over();

    let (mut a, _, out) = w.talking(&[]);
    let info = a.request(Method::Info);
    w.along(&out, info);
    let (info, _) = w.onward();
    w.unanswered(&info);
    w.silent();
    let bye = a.bye(None);
    let tx = w.along(&out, bye);
    let (bye, _) = w.onward();
    w.event(Event::Sip(SipEvent::Unanswered {
        tx: bye.tx,
        reason: NoAnswer::Unreachable("gone".to_owned()),
    }));
    assert_eq!(w.response(tx).status, 500);
    w.pass(40);
    w.over();
}

#[test]
fn timer_c_cancels_what_rings_for_ever() {
    let mut w = proxying();
    let (tx, out) = w.passed();
    w.pass(170);
    w.reply(&out, returned(&out, 180, "far"));
    assert!(w.back(tx).is_some());
    w.pass(180);
    w.silent();
    // A 100 does not begin it anew.
    w.reply(&out, returned(&out, 100, "far"));
    w.pass(2);
    assert_eq!(w.cancelled(&out), Some(None));
    w.reply(&out, returned(&out, 487, "far"));
    assert_eq!(w.back(tx).map(|r| r.status), Some(487));
    w.silent();
    w.over();
}

#[test]
fn a_cancel_goes_on_and_its_487_comes_back() {
    let mut w = proxying();
    let (tx, out) = w.passed();
    w.cancel(tx, Some("SIP;cause=200;text=\"Call completed elsewhere\""));
    assert_eq!(w.cancelled(&out), Some(Some("SIP;cause=200;text=\"Call completed elsewhere\"".to_owned())));
    w.reply(&out, returned(&out, 487, "far"));
    assert_eq!(w.back(tx).map(|r| r.status), Some(487));
    w.over();

    // Nobody answers: who cancelled gets the 487 all the same.
    let (tx, out) = w.passed();
    w.cancel(tx, None);
    assert_eq!(w.cancelled(&out), Some(None));
    w.unanswered(&out);
    assert_eq!(w.response(tx).status, 487);
    w.over();

    // The 200 was faster.
    let (tx, out) = w.passed();
    w.cancel(tx, None);
    w.reply(&out, returned(&out, 200, "far"));
    assert_eq!(w.back(tx).map(|r| r.status), Some(200));
}

#[test]
fn the_end_of_the_process_cancels_what_rings_and_leaves_the_rest() {
    let mut w = proxying();
    let (mut a, _, far) = w.talking(&[]);
    let (tx, out) = w.passed();
    w.shut_down();
    assert_eq!(w.cancelled(&out), Some(None));
    assert!(w.shard.has_sessions());
    w.silent();
    w.reply(&out, returned(&out, 487, "far"));
    assert_eq!(w.response(tx).status, 503);
    assert!(!w.shard.has_sessions(), "an established session needs nobody to wait");
    // Until the very end its requests pass.
    let bye = a.bye(None);
    let tx = w.along(&far, bye);
    let (bye, _) = w.onward();
    w.reply(&bye, returned(&bye, 200, ""));
    assert_eq!(w.back(tx).map(|r| r.status), Some(200));
    let new = w.receive(invite());
    assert_eq!(w.response(new).status, 503);
}

/// A request that went to several places.
struct Branches {
    pending: Pending,
    w: World,
    said: Vec<Command>,
}

impl Branches {
    fn new(count: u64) -> Branches {
        let clients: Vec<ClientTx> = (1..=count).map(ClientTx).collect();
        Branches {
            pending: Pending::new(Time::ZERO, ServerTx(1), &invite(), true, &clients),
            w: proxying(),
            said: Vec::new(),
        }
    }

    fn with(&mut self, work: impl FnOnce(&mut Pending, &mut Context<'_>)) {
        let pending = &mut self.pending;
        self.said.extend(self.w.shard.with_context(Time::ZERO, |cx| work(pending, cx)));
    }

    fn reply(&mut self, branch: u64, response: Response) {
        self.with(|pending, cx| pending.response(cx, ClientTx(branch), response));
    }

    /// What has gone upstream, and which branches were cancelled.
    fn said(&mut self) -> (Vec<u16>, Vec<u64>) {
        let (mut up, mut cancelled) = (Vec::new(), Vec::new());
        for command in self.said.drain(..) {
            match command {
                Command::Sip(SipCommand::Forward(Forward::Response { response, .. })) => {
                    up.push(response.status)
                }
                Command::Sip(SipCommand::Respond { response, .. }) => up.push(response.status),
                Command::Sip(SipCommand::Cancel { tx, .. }) => cancelled.push(tx.0),
                other => panic!("{other:?}"),
            }
        }
        (up, cancelled)
    }
}

fn refusal(status: u16) -> Response {
    let invite = Out { tx: ClientTx(1), request: invite(), hop: Hop { uri: "sip:x".to_owned(), flow: None } };
    returned(&invite, status, "far")
}

#[test]
fn the_best_of_several_responses_is_chosen() {
    for (statuses, best) in [
        (vec![404, 302, 503], 302),
        (vec![486, 407, 404], 407),
        (vec![503, 500], 500),
        (vec![503, 504], 500),
        (vec![404, 603], 603),
        (vec![480, 415, 404], 415),
    ] {
        let mut b = Branches::new(statuses.len() as u64);
        for (branch, status) in (1..).zip(&statuses) {
            assert_eq!(b.said().0, Vec::<u16>::new(), "not before all have answered");
            b.reply(branch, refusal(*status));
        }
        assert_eq!(b.said().0, [best], "{statuses:?}");
        assert!(b.pending.is_over());
    }
    // All challenges together (step 7).
    let mut b = Branches::new(2);
    b.reply(1, refusal(407).with("Proxy-Authenticate", "Digest realm=\"one\""));
    b.reply(2, refusal(401).with("WWW-Authenticate", "Digest realm=\"two\""));
    let Some(Command::Sip(SipCommand::Forward(Forward::Response { response, .. }))) = b.said.pop() else {
        panic!()
    };
    assert_eq!(response.status, 401);
    assert!(response.headers.has("Proxy-Authenticate") && response.headers.has("WWW-Authenticate"));
}

#[test]
fn a_2xx_or_6xx_ends_the_other_branches() {
    let mut b = Branches::new(3);
    b.reply(1, refusal(486));
    b.reply(2, refusal(200));
    assert_eq!(b.said(), (vec![200], vec![3]));
    // The 487 of the cancelled branch is nobody's business, its 2xx is.
    let mut late = b;
    late.reply(3, refusal(200));
    assert_eq!(late.said(), (vec![200], vec![]));

    let mut b = Branches::new(3);
    b.reply(2, refusal(603));
    assert_eq!(b.said(), (vec![], vec![1, 3]));
    b.reply(1, refusal(487));
    b.with(|pending, cx| pending.unanswered(cx, ClientTx(3), &NoAnswer::TimedOut));
    assert_eq!(b.said(), (vec![603], vec![]));
}
