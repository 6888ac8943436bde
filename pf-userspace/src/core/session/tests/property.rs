//! Any order of events: nothing panics, every request is answered once, and in the end nothing is left.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// What a peer, the network or the clock may do next.
#[derive(Clone, Debug)]
enum Step {
    Ack { of: usize },
    AckMissing { of: usize },
    Ask { who: usize, what: usize },
    Cancel,
    Down { leg: usize },
    Pass { seconds: u64 },
    Reply { to: usize, status: u16, described: bool },
    ShutDown,
    Stored { of: usize, fine: bool },
    Unanswered { to: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let status =
        prop::sample::select(vec![100, 180, 200, 200, 200, 200, 302, 404, 408, 422, 481, 487, 491, 500, 603]);
    prop_oneof![
        2 => (0..4_usize).prop_map(|of| Step::Ack { of }),
        1 => (0..4_usize).prop_map(|of| Step::AckMissing { of }),
        4 => (0..4_usize, 0..10_usize).prop_map(|(who, what)| Step::Ask { who, what }),
        1 => Just(Step::Cancel),
        1 => (0..4_usize).prop_map(|leg| Step::Down { leg }),
        3 => prop::sample::select(vec![0, 1, 5, 31, 40, 200, 1000])
            .prop_map(|seconds| Step::Pass { seconds }),
        9 => (0..8_usize, status, any::<bool>())
            .prop_map(|(to, status, described)| Step::Reply { to, status, described: described || status == 200 }),
        1 => Just(Step::ShutDown),
        2 => (0..3_usize, any::<bool>()).prop_map(|(of, fine)| Step::Stored { of, fine }),
        1 => (0..8_usize).prop_map(|to| Step::Unanswered { to }),
    ]
}

/// The wire around the shard: what was asked and not answered yet, on both sides.
struct Wire {
    w: World,
    invite: ServerTx,
    /// Our requests without final response.
    open: Vec<Out>,
    /// Everything that was asked of the shard: answered so often.
    asked: BTreeMap<ServerTx, usize>,
    /// 2xx to INVITEs that wait for ACK.
    unacked: Vec<(ServerTx, Request)>,
    invites: BTreeMap<ServerTx, Request>,
    peers: Vec<Ua>,
    legs: BTreeSet<LegKey>,
    opened: BTreeSet<u64>,
    established: BTreeSet<String>,
    ended: BTreeSet<String>,
    /// Orders to the store without outcome.
    orders: Vec<Order>,
}

impl Wire {
    /// A session, of a group or not, recorded or not.
    fn new(group: bool, recorded: bool) -> Wire {
        let mut w = if recorded { World::recording() } else { World::new() };
        w.register_for_groups();
        w.said.clear();
        let invite = if group { group_invite() } else { invite() };
        let tx = w.receive(invite.clone());
        let mut wire = Wire {
            w,
            invite: tx,
            open: Vec::new(),
            asked: [(tx, 0)].into(),
            unacked: Vec::new(),
            invites: [(tx, invite)].into(),
            peers: Vec::new(),
            legs: BTreeSet::new(),
            opened: BTreeSet::new(),
            established: BTreeSet::new(),
            ended: BTreeSet::new(),
            orders: Vec::new(),
        };
        wire.listen();
        wire
    }

    /// Takes in what the shard said.
    fn listen(&mut self) {
        for command in std::mem::take(&mut self.w.said) {
            match command {
                Command::Sip(SipCommand::Request { tx, request, hop }) => {
                    assert!(!hop.uri.is_empty() && request.headers.has("CSeq"));
                    if request.method == Method::Bye {
                        self.ended.insert(request.call_id().to_owned());
                    }
                    self.open.push(Out { tx, request, hop });
                }
                Command::Sip(SipCommand::Respond { tx, response }) => {
                    if response.is_provisional() {
                        continue;
                    }
                    let count = self.asked.get_mut(&tx).expect("a response to what was asked");
                    *count += 1;
                    assert_eq!(*count, 1, "one final response to each request: {response:?}");
                    if let Some(invite) = self.invites.get(&tx).filter(|_| response.is_success()) {
                        if tx == self.invite {
                            self.peers.push(Ua::caller(invite, &response));
                            self.established.insert(invite.call_id().to_owned());
                        }
                        self.unacked.push((tx, invite.clone()));
                    }
                }
                Command::Sip(SipCommand::Ack { .. } | SipCommand::Cancel { .. }) => {}
                Command::Store(order) => self.orders.push(order),
                Command::Sip(SipCommand::Forward(forward)) => {
                    panic!("a B2BUA passes nothing on: {forward:?}")
                }
                Command::Media(MediaCommand::OpenStream { stream, .. }) => {
                    assert!(self.opened.insert(stream.0));
                }
                Command::Media(MediaCommand::CloseStream { stream }) => {
                    assert!(self.opened.remove(&stream.0), "closed once");
                }
                Command::Media(MediaCommand::OpenLeg { leg, stream, .. }) => {
                    assert!(self.opened.contains(&stream.0) && self.legs.insert(leg));
                }
                Command::Media(MediaCommand::CloseLeg { leg } | MediaCommand::ConnectLeg { leg, .. }) => {
                    assert!(self.legs.contains(&leg));
                }
            }
        }
    }

    fn ask(&mut self, request: Request) {
        let method = request.method;
        let call_id = request.call_id().to_owned();
        let tx = self.w.receive(request.clone());
        self.asked.insert(tx, 0);
        if method == Method::Invite {
            self.invites.insert(tx, request);
        }
        if method == Method::Bye {
            self.ended.insert(call_id);
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Ack { of } if *of < self.unacked.len() => {
                let (tx, invite) = self.unacked.remove(*of);
                let mut ack = invite.clone();
                ack.method = Method::Ack;
                ack.headers.set("CSeq", format!("{} ACK", invite.cseq().unwrap()));
                self.w.event(Event::Sip(SipEvent::Ack { tx: Some(tx), request: ack }));
            }
            Step::AckMissing { of } if *of < self.unacked.len() => {
                let (tx, _) = self.unacked.remove(*of);
                self.w.event(Event::Sip(SipEvent::AckMissing { tx }));
            }
            Step::Ask { who, what } if *who < self.peers.len() => {
                let ua = &mut self.peers[*who];
                let described = sdp(*what as u32, &chat("10.9.0.9", "moved", "actpass"));
                let request = match what {
                    0 => ua.bye(None),
                    1 => ua.bye(Some("SIP;cause=503")),
                    2 => ua.request(Method::Update),
                    3 => ua.request(Method::Info),
                    4 => ua.request(Method::Invite),
                    5 => ua.request(Method::Options),
                    6 => ua.offer(Method::Update, &described),
                    7 => ua.offer(Method::Invite, &(described.clone() + &chat("10.9.0.9", "two", "active"))),
                    8 => ua.offer(Method::Invite, &described),
                    _ => ua.offer(Method::Invite, "nonsense"),
                };
                self.ask(request);
            }
            Step::Cancel => {
                let pending = self.invites.keys().find(|tx| self.asked[tx] == 0).copied();
                if let Some(tx) = pending {
                    self.w.cancel(tx, None);
                }
            }
            Step::Down { leg } => {
                if let Some(leg) = self.legs.iter().nth(*leg).copied() {
                    let (reason, counters) = (LegDown::Closed, LegCounters::default());
                    self.w.event(Event::Media(MediaEvent::LegDown { leg, reason, counters }));
                }
            }
            Step::Pass { seconds } => self.pass(*seconds),
            Step::Reply { to, status, described } if *to < self.open.len() => {
                let out = self.open[*to].clone();
                let mut response = answer(&out, *status, &format!("t{}", out.tx.0));
                response.headers.push("Contact", "<sip:peer@10.8.0.1>");
                response.headers.push("Min-SE", "2400");
                response.headers.push("Allow", if *to % 2 == 0 { "UPDATE" } else { "INVITE" });
                if *described && out.request.method == Method::Invite {
                    let id = format!("peer{}", out.tx.0);
                    let lines = chat("10.8.0.1", &id, if *to % 2 == 0 { "passive" } else { "active" });
                    response = with_sdp(response, &sdp(1, &lines));
                }
                let invite = out.request.method == Method::Invite;
                if response.is_success() && invite && out.request.to_tag().is_none() {
                    self.established.insert(out.request.call_id().to_owned());
                    self.peers.push(Ua::callee(&out, &format!("t{}", out.tx.0)));
                }
                if !response.is_provisional() {
                    self.open.remove(*to);
                }
                self.w.reply(&out, response);
            }
            Step::ShutDown => self.w.shut_down(),
            Step::Stored { of, fine } if *of < self.orders.len() => {
                let order = self.orders.remove(*of);
                if *fine {
                    self.w.stored(&order, 1);
                } else {
                    self.w.not_stored(&order, StoreError::Full);
                }
            }
            Step::Unanswered { to } if *to < self.open.len() => {
                let out = self.open.remove(*to);
                self.w.unanswered(&out);
            }
            Step::Ack { .. }
            | Step::AckMissing { .. }
            | Step::Ask { .. }
            | Step::Reply { .. }
            | Step::Stored { .. }
            | Step::Unanswered { .. } => {}
        }
        self.listen();
    }

    fn pass(&mut self, seconds: u64) {
        self.w.pass(seconds);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    // Rows: INV-14, BYE-21, BYE-23
    #[test]
    fn any_order_of_events_ends_with_nothing_left(
        answered in any::<bool>(),
        (group, recorded) in any::<(bool, bool)>(),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut wire = Wire::new(group, recorded);
        if answered {
            let yes = Step::Reply { to: 0, status: 200, described: true };
            for step in [yes.clone(), Step::Ack { of: 0 }, yes.clone(), yes] {
                wire.step(&step);
            }
            prop_assert_eq!(wire.peers.len(), 4);
        }
        for step in &steps {
            wire.step(step);
            // What a session is made of can be written down and read again.
            for session in wire.w.shard.all() {
                let text = serde_json::to_string(session).unwrap();
                let again: crate::core::session::Session = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(serde_json::to_string(&again).unwrap(), text);
            }
        }
        // Nobody says anything any more; UE-A's BYE is lost too. The timers end it.
        wire.pass(20_000);
        wire.listen();
        wire.w.over();
        prop_assert!(wire.opened.is_empty(), "media left: {:?}", wire.opened);
        prop_assert!(wire.asked.values().all(|count| *count == 1), "unanswered: {:?}", wire.asked);
        let left: Vec<_> = wire.established.difference(&wire.ended).collect();
        prop_assert!(left.is_empty(), "dialogs without BYE: {:?}", left);
    }
}
