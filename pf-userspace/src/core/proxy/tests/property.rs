//! Any order of events: nothing panics, we say nothing of our own accord, every request is answered at most once (an
//! INVITE exactly once, but for its 2xx), and in the end nothing is left.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Ack { who: usize },
    Ask { who: usize, what: usize },
    Cancel { of: usize },
    Invite { tag: usize },
    Pass { seconds: u64 },
    Reply { to: usize, status: u16, tag: usize },
    ShutDown,
    Unanswered { to: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let status = prop::sample::select(vec![100, 180, 183, 200, 200, 200, 302, 401, 408, 481, 487, 503, 603]);
    prop_oneof![
        2 => (0..4_usize).prop_map(|who| Step::Ack { who }),
        5 => (0..4_usize, 0..6_usize).prop_map(|(who, what)| Step::Ask { who, what }),
        1 => (0..4_usize).prop_map(|of| Step::Cancel { of }),
        2 => (0..3_usize).prop_map(|tag| Step::Invite { tag }),
        3 => prop::sample::select(vec![0, 1, 31, 40, 100, 200, 2000]).prop_map(|seconds| Step::Pass { seconds }),
        8 => (0..6_usize, status, 0..3_usize).prop_map(|(to, status, tag)| Step::Reply { to, status, tag }),
        1 => Just(Step::ShutDown),
        1 => (0..6_usize).prop_map(|to| Step::Unanswered { to }),
    ]
}

struct Wire {
    w: World,
    /// What was passed on and may still be answered; the shell forgets it at some time.
    open: Vec<(Out, bool)>,
    /// Requests that came in: method, and final responses other than 2xx to an INVITE.
    asked: BTreeMap<ServerTx, (Method, usize)>,
    /// Those that got a 2xx.
    accepted: BTreeSet<ServerTx>,
    received: BTreeMap<Method, usize>,
    passed: BTreeMap<Method, usize>,
    /// Both ends of each dialog, with what was recorded.
    ends: Vec<(Ua, Out)>,
}

impl Wire {
    fn ask(&mut self, request: Request) {
        let method = request.method;
        *self.received.entry(method).or_default() += 1;
        let tx = self.w.receive(request);
        self.asked.insert(tx, (method, 0));
        self.listen();
    }

    fn listen(&mut self) {
        for command in std::mem::take(&mut self.w.said) {
            let Command::Sip(command) = command else { panic!("media: {command:?}") };
            match command {
                SipCommand::Forward(Forward::Request { tx, request, hop, .. }) => {
                    assert!(!hop.uri.is_empty());
                    *self.passed.entry(request.method).or_default() += 1;
                    self.open.push((Out { tx, request, hop }, false));
                }
                SipCommand::Forward(Forward::Ack { .. }) => *self.passed.entry(Method::Ack).or_default() += 1,
                SipCommand::Forward(Forward::Response { tx, response })
                | SipCommand::Respond { tx, response } => {
                    let (method, count) = self.asked.get_mut(&tx).expect("a response to what was asked");
                    match (response.is_provisional(), response.is_success() && *method == Method::Invite) {
                        (true, _) => {}
                        (_, true) => drop(self.accepted.insert(tx)),
                        _ => *count += 1,
                    }
                    assert!(*count <= 1, "answered twice: {response:?}");
                }
                SipCommand::Cancel { tx, .. } => {
                    let (out, _) = self.open.iter().find(|(out, _)| out.tx == tx).expect("it was passed on");
                    assert_eq!(out.request.method, Method::Invite);
                }
                other => panic!("of our own accord: {other:?}"),
            }
        }
        // Nothing that did not come in first: no BYE above all.
        for (method, passed) in &self.passed {
            assert!(passed <= self.received.get(method).unwrap_or(&0), "{method} of our own");
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Invite { tag } => {
                let mut request = invite();
                let from = format!("<sip:ann@example.org>;tag={tag}");
                request.headers.0.iter_mut().filter(|h| h.is("From")).for_each(|h| h.value.clone_from(&from));
                self.ask(request);
            }
            Step::Ask { who, what } if *who < self.ends.len() => {
                let (ua, out) = &mut self.ends[*who];
                let methods = [
                    Method::Bye,
                    Method::Invite,
                    Method::Update,
                    Method::Info,
                    Method::Prack,
                    Method::Message,
                ];
                let mut request = ua.request(methods[*what]);
                request.headers.push("Via", "SIP/2.0/UDP 10.0.0.5;branch=z9hG4bKinside");
                for route in values(&out.request.headers, "Record-Route") {
                    request.headers.push("Route", route);
                }
                self.ask(request);
            }
            Step::Ack { who } if *who < self.ends.len() => {
                let (ua, out) = &self.ends[*who];
                let mut request = ua.ack();
                request.headers.push("Route", values(&out.request.headers, "Record-Route")[0].clone());
                *self.received.entry(Method::Ack).or_default() += 1;
                self.w.event(Event::Sip(SipEvent::Ack { tx: None, from: peer(CORE), request }));
            }
            Step::Cancel { of } => {
                let waits = |(tx, (method, count)): (&ServerTx, &(Method, usize))| {
                    let open = *method == Method::Invite && *count == 0 && !self.accepted.contains(tx);
                    open.then_some(*tx)
                };
                if let Some(tx) = self.asked.iter().filter_map(waits).nth(*of) {
                    self.w.cancel(tx, None);
                }
            }
            Step::Pass { seconds } => {
                self.w.pass(*seconds);
                self.listen();
                // By then the shell has said that nobody answers, and taken leave of what was answered.
                if *seconds >= 100 {
                    for (out, _) in std::mem::take(&mut self.open) {
                        self.w.unanswered(&out);
                    }
                }
            }
            Step::Reply { to, status, tag } if *to < self.open.len() => {
                let (out, accepted) = self.open[*to].clone();
                let invite = out.request.method == Method::Invite;
                let success = (200..300).contains(status);
                // The shell's transaction gives no more than this.
                if accepted && !success {
                    return;
                }
                let tag = format!("t{tag}");
                let response = returned(&out, *status, &tag).with("Session-Expires", "1800;refresher=uas");
                if invite && success && out.request.to_tag().is_none() {
                    self.ends.push((Ua::callee(&out, &tag), out.clone()));
                    let mut ok = response.clone();
                    ok.headers.push("Contact", "<sip:bob@10.2.0.1>");
                    self.ends.push((Ua::caller(&out.request, &ok), out.clone()));
                }
                match *status {
                    100..=199 => {}
                    _ if invite && success => self.open[*to].1 = true,
                    _ => drop(self.open.remove(*to)),
                }
                self.w.reply(&out, response);
            }
            Step::ShutDown => self.w.shut_down(),
            Step::Unanswered { to } if *to < self.open.len() && !self.open[*to].1 => {
                let (out, _) = self.open.remove(*to);
                self.w.unanswered(&out);
            }
            Step::Ack { .. } | Step::Ask { .. } | Step::Reply { .. } | Step::Unanswered { .. } => {}
        }
        self.listen();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    // Rows: PRX-06
    #[test]
    fn any_order_of_events_makes_no_request_of_ours_and_leaves_nothing(
        limit in prop::sample::select(vec![1, 2, 100]),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut w = proxying();
        w.said.clear();
        w.shard.limit(Limits { sessions: limit, ..Limits::default() });
        let mut wire = Wire {
            w,
            open: Vec::new(),
            asked: BTreeMap::new(),
            accepted: BTreeSet::new(),
            received: BTreeMap::new(),
            passed: BTreeMap::new(),
            ends: Vec::new(),
        };
        wire.step(&Step::Invite { tag: 0 });
        for step in &steps {
            wire.step(step);
        }
        wire.step(&Step::Pass { seconds: 13 * 3600 });
        wire.w.over();
        for (tx, (method, count)) in &wire.asked {
            let answered = *count == 1 || wire.accepted.contains(tx);
            prop_assert!(answered || *method != Method::Invite, "unanswered {method} {tx:?}");
        }
    }
}
