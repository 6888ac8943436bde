//! Any order of events: nothing panics, every request is answered once, and in the end nothing is left.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::core::{event::LegRole, policy::IwfLeaves};

/// What a peer, the network or the clock may do next.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Ack { of: usize },
    AckMissing { of: usize },
    Ask { who: usize, what: usize },
    Cancel,
    Down { leg: usize },
    Intercepted { number: u64 },
    Fork { of: usize, lines: u8 },
    Pass { seconds: u64 },
    Prack,
    Progress { to: usize, number: u32 },
    Reply { to: usize, status: u16, described: bool, lines: u8 },
    ShutDown,
    Stored { of: usize, fine: bool },
    Unanswered { to: usize },
    Wishes { found: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let status = prop::sample::select(vec![
        100, 180, 200, 200, 200, 200, 302, 404, 408, 422, 481, 487, 488, 488, 491, 500, 603,
    ]);
    prop_oneof![
        2 => (0..4_usize).prop_map(|of| Step::Ack { of }),
        1 => (0..4_usize).prop_map(|of| Step::AckMissing { of }),
        4 => (0..6_usize, 0..12_usize).prop_map(|(who, what)| Step::Ask { who, what }),
        1 => Just(Step::Cancel),
        1 => (0..6_usize).prop_map(|leg| Step::Down { leg }),
        1 => (0..3_usize, 0..4_u8).prop_map(|(of, lines)| Step::Fork { of, lines }),
        1 => (0..5_u64).prop_map(|number| Step::Intercepted { number }),
        3 => prop::sample::select(vec![0, 1, 5, 31, 40, 200, 1000])
            .prop_map(|seconds| Step::Pass { seconds }),
        9 => (0..8_usize, status, any::<bool>(), 0..4_u8).prop_map(|(to, status, described, lines)| {
            Step::Reply { to, status, described: described || status == 200, lines }
        }),
        1 => Just(Step::Prack),
        1 => (0..8_usize, 1..4_u32).prop_map(|(to, number)| Step::Progress { to, number }),
        1 => Just(Step::ShutDown),
        2 => (0..3_usize, any::<bool>()).prop_map(|(of, fine)| Step::Stored { of, fine }),
        1 => (0..8_usize).prop_map(|to| Step::Unanswered { to }),
        2 => (0..5_usize).prop_map(|found| Step::Wishes { found }),
    ]
}

/// The wire around the shard: what was asked and not answered yet, on both sides.
pub(super) struct Wire {
    pub(super) w: World,
    pub(super) invite: ServerTx,
    /// Our requests without final response.
    pub(super) open: Vec<Out>,
    /// Our INVITEs that a fork may still answer, and how many have.
    pub(super) forks: Vec<(Out, usize)>,
    /// Everything that was asked of the shard: answered so often.
    pub(super) asked: BTreeMap<ServerTx, usize>,
    /// 2xx to INVITEs that wait for ACK.
    pub(super) unacked: Vec<(ServerTx, Request)>,
    pub(super) invites: BTreeMap<ServerTx, Request>,
    pub(super) peers: Vec<Ua>,
    pub(super) legs: BTreeSet<LegKey>,
    pub(super) opened: BTreeSet<u64>,
    /// Streams whose messages are kept until the XDMS has answered.
    undecided: BTreeSet<u64>,
    /// Call-ID and the peer's tag.
    pub(super) established: BTreeSet<(String, String)>,
    pub(super) ended: BTreeSet<(String, String)>,
    /// Messages for a lost client that were not confirmed.
    pub(super) heard: BTreeSet<(u64, u64)>,
    /// Orders to the store without outcome.
    pub(super) orders: Vec<Order>,
    /// The XDMS is asked what the user wants.
    wishing: bool,
    /// The last provisional response that wants a PRACK.
    progress: Option<Response>,
    /// Media legs that are open, and their streams.
    pub(super) open_legs: BTreeMap<LegKey, u64>,
    /// INVITEs that were answered 2xx: Call-ID, the peer's tag and CSeq number; and the ACKs.
    pub(super) accepted: BTreeSet<(String, String, u32)>,
    pub(super) acked: BTreeSet<(String, String, u32)>,
}

/// Where a session goes, and what its operator wants.
#[derive(Clone, Copy, Debug)]
pub(super) enum Setting {
    /// To the far end, with one stream, without interworking.
    Plain,
    /// The same, and UE-A requires reliable provisional responses.
    Reliable,
    /// Directly to the ISF, with two streams.
    Mail { leave: IwfLeaves },
    /// To the far end, and then to the ISF, with two streams.
    Refused { leave: IwfLeaves },
}

impl Setting {
    fn policy(self, policy: &mut Policy) {
        if let Setting::Mail { leave } | Setting::Refused { leave } = self {
            policy.interworking_after = vec![404, 408, 487, 500, 603];
            policy.interworking_rejected_streams = true;
            policy.interworking_new_streams = true;
            policy.interworking_leave = leave;
        }
    }

    fn invite(self, group: bool) -> Request {
        let mut request = if group { group_invite() } else { invite() };
        if let Setting::Mail { .. } = self {
            request.uri = "mailto:bob@example.com".to_owned();
        }
        if let Setting::Reliable = self {
            request.headers.push("Require", "100rel");
        } else if !matches!(self, Setting::Plain) {
            let two = chat("10.1.0.1", "aaaaaaaa", "actpass") + &chat("10.1.0.1", "bbbbbbbb", "active");
            request.body = sdp(1, &two).into();
        }
        request
    }
}

impl Wire {
    /// A session, of a group or not, recorded or not.
    pub(super) fn new(setting: Setting, group: bool, recorded: bool) -> Wire {
        let policy = |config: &mut CoreConfig| {
            setting.policy(&mut config.policy);
            config.xdms = recorded.then_some(super::wishes::XDMS);
        };
        let mut w = if recorded { World::recording_with(policy) } else { World::configured(policy) };
        w.register_for_groups();
        w.said.clear();
        let invite = setting.invite(group);
        let tx = w.receive(invite.clone());
        let mut wire = Wire {
            w,
            invite: tx,
            open: Vec::new(),
            forks: Vec::new(),
            asked: [(tx, 0)].into(),
            unacked: Vec::new(),
            invites: [(tx, invite)].into(),
            peers: Vec::new(),
            legs: BTreeSet::new(),
            opened: BTreeSet::new(),
            undecided: BTreeSet::new(),
            established: BTreeSet::new(),
            ended: BTreeSet::new(),
            heard: BTreeSet::new(),
            orders: Vec::new(),
            wishing: false,
            progress: None,
            open_legs: BTreeMap::new(),
            accepted: BTreeSet::new(),
            acked: BTreeSet::new(),
        };
        wire.listen();
        wire
    }

    /// Takes in what the shard said.
    pub(super) fn listen(&mut self) {
        for command in std::mem::take(&mut self.w.said) {
            match command {
                Command::Sip(SipCommand::Request { tx, request, hop }) => {
                    assert!(!hop.uri.is_empty() && request.headers.has("CSeq"));
                    if request.method == Method::Bye {
                        let tag = request.to_tag().unwrap_or_default();
                        self.ended.insert((request.call_id().to_owned(), tag));
                    }
                    self.open.push(Out { tx, request, hop });
                }
                Command::Sip(SipCommand::Respond { tx, response }) => {
                    if response.is_provisional() {
                        self.progress = response.headers.has("RSeq").then_some(response);
                        continue;
                    }
                    let count = self.asked.get_mut(&tx).expect("a response to what was asked");
                    *count += 1;
                    assert_eq!(*count, 1, "one final response to each request: {response:?}");
                    if let Some(invite) = self.invites.get(&tx).filter(|_| response.is_success()) {
                        if tx == self.invite {
                            self.peers.push(Ua::caller(invite, &response));
                            let tag = invite.from_tag().unwrap();
                            self.established.insert((invite.call_id().to_owned(), tag));
                        }
                        self.unacked.push((tx, invite.clone()));
                    }
                }
                Command::Sip(SipCommand::Ack { request, .. }) => {
                    let tag = request.to_tag().unwrap_or_default();
                    self.acked.insert((request.call_id().to_owned(), tag, request.cseq().unwrap()));
                }
                Command::Sip(SipCommand::Cancel { .. }) => {}
                Command::Store(order) => self.orders.push(order),
                Command::Preferences(question) => {
                    assert!(!std::mem::replace(&mut self.wishing, true), "asked once: {question:?}");
                }
                Command::Sip(SipCommand::Forward(forward)) => {
                    panic!("a B2BUA passes nothing on: {forward:?}")
                }
                Command::Media(MediaCommand::OpenStream { stream, .. }) => {
                    assert!(self.opened.insert(stream.0));
                }
                Command::Media(MediaCommand::CloseStream { stream }) => {
                    assert!(self.opened.remove(&stream.0), "closed once");
                    self.open_legs.retain(|_, of| *of != stream.0);
                }
                Command::Media(MediaCommand::BeginRecording { stream, undecided, .. }) => {
                    assert!(self.opened.contains(&stream.0));
                    assert!(!undecided || self.undecided.insert(stream.0));
                }
                Command::Media(MediaCommand::DecideRecording { stream, .. }) => {
                    assert!(self.undecided.remove(&stream.0), "decided once");
                }
                Command::Media(MediaCommand::EndRecording { stream }) => {
                    assert!(self.opened.contains(&stream.0) && !self.undecided.contains(&stream.0));
                }
                Command::Media(
                    MediaCommand::Deliver { stream, .. }
                    | MediaCommand::Intercept { stream, .. }
                    | MediaCommand::Resume { stream },
                ) => {
                    assert!(self.opened.contains(&stream.0));
                }
                Command::Media(MediaCommand::ConfirmIntercepted { stream, number, .. }) => {
                    assert!(self.heard.remove(&(stream.0, number)), "each message is confirmed once");
                }
                Command::Media(MediaCommand::OpenLeg { leg, stream, .. }) => {
                    assert!(self.opened.contains(&stream.0) && self.legs.insert(leg));
                    self.open_legs.insert(leg, stream.0);
                }
                Command::Media(MediaCommand::ConnectLeg { leg, .. }) => {
                    assert!(self.legs.contains(&leg));
                }
                Command::Media(MediaCommand::CloseLeg { leg }) => {
                    assert!(self.legs.contains(&leg));
                    self.open_legs.remove(&leg);
                }
            }
        }
    }

    fn ask(&mut self, request: Request) {
        let method = request.method;
        let dialog = (request.call_id().to_owned(), request.from_tag().unwrap());
        let tx = self.w.receive(request.clone());
        self.asked.insert(tx, 0);
        if method == Method::Invite {
            self.invites.insert(tx, request);
        }
        if method == Method::Bye {
            self.ended.insert(dialog);
        }
    }

    pub(super) fn step(&mut self, step: &Step) {
        match step {
            Step::Ack { of } if *of < self.unacked.len() => {
                let (tx, invite) = self.unacked.remove(*of);
                let mut ack = invite.clone();
                ack.method = Method::Ack;
                ack.headers.set("CSeq", format!("{} ACK", invite.cseq().unwrap()));
                self.w.event(Event::Sip(SipEvent::Ack { tx: Some(tx), from: peer(CORE), request: ack }));
            }
            Step::AckMissing { of } if *of < self.unacked.len() => {
                let (tx, _) = self.unacked.remove(*of);
                self.w.event(Event::Sip(SipEvent::AckMissing { tx }));
            }
            Step::Wishes { found } if self.wishing => {
                self.wishing = false;
                self.w.found(super::wishes::found(*found));
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
                    9 => ua.offer(
                        Method::Invite,
                        &(described.clone()
                            + &chat("10.9.0.9", "two", "active")
                            + &chat("10.9.0.9", "three", "active")),
                    ),
                    10 => ua.offer(Method::Invite, &(described.clone() + "m=message 0 TCP/MSRP *\r\n")),
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
            Step::Intercepted { number } => {
                let far = self.w.names.iter().find(|(_, name)| *name == "F").map(|(leg, _)| *leg);
                if let Some((leg, stream)) = far.zip(self.opened.first().copied())
                    && self.heard.insert((stream, *number))
                {
                    let message = InterceptedMessage {
                        message_id: "m".to_owned(),
                        content_type: None,
                        octets: vec![b'x'; 700],
                    };
                    let (stream, number) = (StreamKey(stream), *number);
                    let event = MediaEvent::Intercepted { leg, stream, number, message: Box::new(message) };
                    self.w.event(Event::Media(event));
                }
            }
            Step::Pass { seconds } => self.pass(*seconds),
            Step::Fork { of, lines } if *of < self.forks.len() => {
                let (out, forks) = &mut self.forks[*of];
                *forks += 1;
                let (out, tag) = (out.clone(), format!("t{}f{forks}", out.tx.0));
                let response = answer(&out, 200, &tag).with("Contact", "<sip:fork@10.8.0.2>");
                let response = with_sdp(response, &sdp(1, &answer_lines(&out, *lines, "passive")));
                self.established.insert((out.request.call_id().to_owned(), tag.clone()));
                self.peers.push(Ua::callee(&out, &tag));
                self.reply(&out, response);
            }
            Step::Prack => {
                let Some(progress) = &self.progress else { return };
                let mut prack = Ua::caller(&self.invites[&self.invite], progress).request(Method::Prack);
                let number = progress.headers.get("RSeq").unwrap();
                prack.headers.push("RAck", format!("{number} 1 INVITE"));
                self.ask(prack);
            }
            Step::Progress { to, number } if *to < self.open.len() => {
                let out = self.open[*to].clone();
                let progress = answer(&out, 183, &format!("t{}", out.tx.0))
                    .with("Contact", "<sip:peer@10.8.0.1>")
                    .with("Require", "100rel")
                    .with("RSeq", number.to_string());
                self.w.reply(&out, progress);
            }
            Step::Reply { to, status, described, lines } if *to < self.open.len() => {
                let out = self.open[*to].clone();
                let mut response = answer(&out, *status, &format!("t{}", out.tx.0));
                response.headers.push("Contact", "<sip:peer@10.8.0.1>");
                response.headers.push("Min-SE", "2400");
                response.headers.push("Allow", if *to % 2 == 0 { "UPDATE" } else { "INVITE" });
                if *described && out.request.method == Method::Invite {
                    let setup = if *to % 2 == 0 { "passive" } else { "active" };
                    response = with_sdp(response, &sdp(1, &answer_lines(&out, *lines, setup)));
                }
                let invite = out.request.method == Method::Invite;
                if response.is_success() && invite && out.request.to_tag().is_none() {
                    let dialog = (out.request.call_id().to_owned(), format!("t{}", out.tx.0));
                    self.established.insert(dialog);
                    self.forks.push((out.clone(), 0));
                    self.peers.push(Ua::callee(&out, &format!("t{}", out.tx.0)));
                }
                if !response.is_provisional() {
                    self.open.remove(*to);
                }
                self.reply(&out, response);
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
            | Step::Fork { .. }
            | Step::Progress { .. }
            | Step::Reply { .. }
            | Step::Stored { .. }
            | Step::Unanswered { .. }
            | Step::Wishes { .. } => {}
        }
        self.listen();
    }

    fn reply(&mut self, out: &Out, response: Response) {
        if response.is_success() && out.request.method == Method::Invite {
            let tag = response.to_tag().unwrap_or_default();
            let number = out.request.cseq().unwrap();
            self.accepted.insert((out.request.call_id().to_owned(), tag, number));
        }
        self.w.reply(out, response);
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.w.pass(seconds);
    }

    /// Nobody says anything any more. The timers end what there is, and nothing is left.
    pub(super) fn fade(&mut self) {
        self.pass(20_000);
        self.listen();
        self.w.over();
        assert!(self.opened.is_empty(), "streams left: {:?}", self.opened);
        assert!(self.open_legs.is_empty(), "legs left: {:?}", self.open_legs);
        assert!(self.undecided.is_empty(), "kept for ever: {:?}", self.undecided);
        assert!(self.asked.values().all(|count| *count == 1), "unanswered: {:?}", self.asked);
        let left: Vec<_> = self.established.difference(&self.ended).collect();
        assert!(left.is_empty(), "dialogs without BYE: {left:?}");
        let left: Vec<_> = self.accepted.difference(&self.acked).collect();
        assert!(left.is_empty(), "2xx without ACK: {left:?}");
    }
}

/// m-lines that answer those of an offer of the shard: rejected where the bit of `rejects` says so.
fn answer_lines(out: &Out, rejects: u8, setup: &str) -> String {
    let offered = String::from_utf8_lossy(&out.request.body).matches("m=message").count();
    let line = |at: usize| match rejects & (1 << at) {
        0 => chat("10.8.0.1", &format!("peer{}line{at}", out.tx.0), setup),
        _ => "m=message 0 TCP/MSRP *\r\n".to_owned(),
    };
    (0..offered.max(1)).map(line).collect()
}

/// Every stream belongs to one leg of the other side, and that leg's lines are its own streams alone.
fn has_owners(session: &crate::core::session::Session) -> bool {
    let far = |no: usize| session.legs[no].role == LegRole::Far;
    let owned = session.streams.iter().flatten().all(|stream| far(stream.far));
    owned
        && session.legs.iter().enumerate().filter(|(no, _)| far(*no)).all(|(no, leg)| {
            let lines = leg.lines.iter().enumerate().filter(|(_, line)| line.is_some());
            lines.into_iter().all(|(at, _)| session.far_of(at) == Some(no))
        })
}

fn setting() -> impl Strategy<Value = Setting> {
    let leave = prop::sample::select(vec![IwfLeaves::Session, IwfLeaves::Streams]);
    (0..5_u8, leave).prop_map(|(kind, leave)| match kind {
        0 => Setting::Plain,
        1 => Setting::Refused { leave },
        2 => Setting::Reliable,
        _ => Setting::Mail { leave },
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    // Rows: INV-14, BYE-21, BYE-23
    #[test]
    fn any_order_of_events_ends_with_nothing_left(
        setting in setting(),
        answered in any::<bool>(),
        (group, recorded, grows) in any::<(bool, bool, bool)>(),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut wire = Wire::new(setting, group, recorded);
        if answered {
            let yes = |lines| Step::Reply { to: 0, status: 200, described: true, lines };
            match setting {
                Setting::Plain | Setting::Reliable => wire.step(&yes(0)),
                Setting::Mail { .. } | Setting::Refused { .. } => {
                    if let Setting::Refused { .. } = setting {
                        wire.step(&Step::Reply { to: 0, status: 404, described: false, lines: 0 });
                    }
                    wire.step(&yes(2));
                    wire.step(&Step::Fork { of: 0, lines: 1 });
                }
            }
            for step in [Step::Ack { of: 0 }, yes(0), yes(0)] {
                wire.step(&step);
            }
            prop_assert_eq!(wire.peers.len(), if matches!(setting, Setting::Plain | Setting::Reliable) { 4 } else { 5 });
        }
        if answered && grows && !matches!(setting, Setting::Plain | Setting::Reliable) {
            // UE-A changes both streams and adds one, which is refused by both IWFs: the ISF is asked again.
            wire.step(&Step::Ask { who: 2, what: 9 });
            for (status, lines) in [(200, 2), (200, 1), (488, 0), (488, 0)] {
                wire.step(&Step::Reply { to: 0, status, described: true, lines });
            }
            prop_assert!(wire.open.iter().any(|out| out.request.to_tag().is_none()));
        }
        for step in &steps {
            wire.step(step);
            // What a session is made of can be written down and read again.
            for session in wire.w.shard.all() {
                prop_assert!(has_owners(session), "{:?}", session);
                let text = serde_json::to_string(session).unwrap();
                let again: crate::core::session::Session = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(serde_json::to_string(&again).unwrap(), text);
            }
        }
        wire.fade();
    }
}
