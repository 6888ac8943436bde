//! Every step of a session's life, torn down in the middle: conversations are played up to each of their steps, ended
//! there in every way, and whatever is heard of it afterwards, nothing may be left: no session, no dialog without
//! BYE, no 2xx without ACK, no request without answer, no stream and no leg.

use super::{
    property::{Setting, Step, Wire},
    *,
};
use crate::core::policy::IwfLeaves;

/// A conversation, and how many of its peers have a dialog with us in the end.
struct Script {
    name: &'static str,
    setting: Setting,
    group: bool,
    recorded: bool,
    steps: Vec<Step>,
    peers: usize,
}

/// How a session is torn down.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// CANCEL of the INVITE that is pending.
    Cancel,
    /// BYE of a peer.
    Bye { who: usize },
    /// BYE of a node of the core that has lost a peer.
    Lost { who: usize },
    /// None of our requests can be delivered any more.
    Unanswered,
    /// A media leg goes.
    Down { leg: usize },
    /// Our 2xx is never acknowledged.
    AckMissing,
    /// The process ends.
    ShutDown,
    /// Nothing but time.
    Time,
}

/// What is heard of the peers after that.
#[derive(Clone, Copy, Debug)]
enum After {
    Silence,
    /// 200 to everything, late answers to cancelled INVITEs included; ACKs; the store works.
    Yes,
    /// 487 to INVITEs, 481 to the rest; the store fails.
    No,
}

const ALICE: usize = 1;
const FAR: usize = 0;

fn yes(lines: u8) -> Step {
    reply(200, lines)
}

fn reply(status: u16, lines: u8) -> Step {
    Step::Reply { to: 0, status, described: true, lines }
}

fn ask(who: usize, what: usize) -> Step {
    Step::Ask { who, what }
}

const ACK: Step = Step::Ack { of: 0 };
const STORED: Step = Step::Stored { of: 0, fine: true };
const BYE: usize = 0;
const BYE_503: usize = 1;
const INFO: usize = 3;
const UPDATE: usize = 6;
const GROWING: usize = 7;
const INVITE: usize = 8;

/// UE-A, FAR, UE-B and UE-C have a session.
fn with_devices() -> Vec<Step> {
    vec![reply(180, 0), yes(0), ACK, reply(180, 0), yes(0), yes(0)]
}

fn interworked() -> Vec<Step> {
    vec![yes(2), Step::Fork { of: 0, lines: 1 }, ACK, yes(0), yes(0)]
}

fn scripts() -> Vec<Script> {
    let plain = |name, more: Vec<Step>| {
        let steps = [with_devices(), more].concat();
        Script { name, setting: Setting::Plain, group: false, recorded: false, steps, peers: 4 }
    };
    let leave = IwfLeaves::Streams;
    // Two IWFs: UE-A is the third peer.
    let a = 2;
    let grows = vec![ask(a, 9), yes(2), yes(1), reply(488, 0), reply(488, 0), yes(0), ACK];
    let refused =
        [vec![reply(404, 0)], interworked(), vec![ask(0, BYE), yes(0), ask(1, BYE), yes(0), yes(0)]];
    let group = vec![
        yes(0),
        ACK,
        STORED,
        reply(486, 0),
        reply(486, 0),
        ask(ALICE, BYE_503),
        yes(0),
        Step::Intercepted { number: 1 },
        STORED,
        ask(FAR, BYE),
        STORED,
        STORED,
    ];
    vec![
        plain("BYE of UE-A", vec![ask(ALICE, INFO), yes(0), ask(ALICE, BYE), yes(0), yes(0), yes(0)]),
        plain("BYE of FAR", vec![ask(FAR, INFO), yes(0), ask(FAR, BYE), yes(0), yes(0), yes(0)]),
        plain("re-INVITE of UE-A", vec![ask(ALICE, INVITE), reply(180, 0), yes(0), ACK, yes(0), yes(0)]),
        plain("re-INVITE of FAR", vec![ask(FAR, GROWING), yes(0), ACK, yes(0), yes(0)]),
        plain("UPDATE of UE-A", vec![ask(ALICE, UPDATE), yes(0), yes(0), yes(0)]),
        plain("refresh", vec![Step::Pass { seconds: 1000 }, yes(0), yes(0), yes(0), yes(0)]),
        plain(
            "a device stays",
            vec![ask(ALICE, GROWING), ask(ALICE, BYE_503), yes(0), yes(0), ask(FAR, BYE)],
        ),
        Script {
            name: "reliable progress",
            setting: Setting::Reliable,
            group: false,
            recorded: false,
            steps: vec![
                Step::Progress { to: 0, number: 7 },
                Step::Pass { seconds: 1 },
                Step::Prack,
                // FAR's answer to our PRACK, which is the last that it was asked, then one to the INVITE.
                Step::Reply { to: 1, status: 200, described: false, lines: 0 },
                Step::Progress { to: 0, number: 8 },
                yes(0),
                Step::Prack,
                ACK,
                yes(0),
                yes(0),
                yes(0),
            ],
            peers: 4,
        },
        Script {
            name: "interworked",
            setting: Setting::Mail { leave },
            group: false,
            recorded: false,
            steps: [interworked(), grows].concat(),
            peers: 6,
        },
        Script {
            name: "interworked, one IWF leaves after the other",
            setting: Setting::Refused { leave },
            group: false,
            recorded: true,
            steps: refused.concat(),
            peers: 5,
        },
        Script {
            name: "a group session goes on for a lost client",
            setting: Setting::Plain,
            group: true,
            recorded: true,
            steps: group,
            peers: 2,
        },
    ]
}

impl Script {
    /// The conversation up to its step `upto`.
    fn play(&self, upto: usize) -> Wire {
        let mut wire = Wire::new(self.setting, self.group, self.recorded);
        for step in &self.steps[..upto] {
            wire.step(step);
        }
        wire
    }
}

/// Everything that may happen to the session in this state.
fn endings(wire: &Wire) -> Vec<Ending> {
    let mut endings =
        vec![Ending::Cancel, Ending::Unanswered, Ending::AckMissing, Ending::ShutDown, Ending::Time];
    endings.extend((0..wire.peers.len()).flat_map(|who| [Ending::Bye { who }, Ending::Lost { who }]));
    endings.extend((0..wire.legs.len()).map(|leg| Ending::Down { leg }));
    endings
}

impl Wire {
    fn tear_down(&mut self, ending: Ending) {
        match ending {
            Ending::Cancel => self.step(&Step::Cancel),
            Ending::Bye { who } => self.step(&ask(who, BYE)),
            Ending::Lost { who } => self.step(&ask(who, BYE_503)),
            Ending::Unanswered => {
                for _ in 0..self.open.len() {
                    self.step(&Step::Unanswered { to: 0 });
                }
            }
            Ending::Down { leg } => self.step(&Step::Down { leg }),
            Ending::AckMissing => self.step(&Step::AckMissing { of: 0 }),
            Ending::ShutDown => self.step(&Step::ShutDown),
            Ending::Time => {}
        }
    }

    /// The peers and the store answer what is asked of them, till nothing is.
    fn hear(&mut self, after: After) {
        let yes = match after {
            After::Silence => return,
            After::Yes => true,
            After::No => false,
        };
        for _ in 0..100 {
            if !self.unacked.is_empty() {
                self.step(&ACK);
            } else if let Some(out) = self.open.first() {
                let invite = out.request.method == Method::Invite;
                let status = if yes { 200 } else { 481 + 6 * u16::from(invite) };
                self.step(&reply(status, 0));
            } else if !self.orders.is_empty() {
                self.step(&Step::Stored { of: 0, fine: yes });
            } else {
                return;
            }
        }
        panic!("it never becomes quiet: {:#?}", self.open);
    }
}

#[test]
fn a_session_torn_down_after_any_of_its_steps_leaves_nothing() {
    let mut failed = Vec::new();
    for script in scripts() {
        let whole = script.play(script.steps.len());
        assert_eq!(whole.peers.len(), script.peers, "{}", script.name);
        for upto in 0..=script.steps.len() {
            for ending in endings(&script.play(upto)) {
                for after in [After::Silence, After::Yes, After::No] {
                    let run = format!("{}, {upto} steps, {ending:?}, {after:?}", script.name);
                    let played = std::panic::catch_unwind(|| {
                        let mut wire = script.play(upto);
                        wire.tear_down(ending);
                        wire.hear(after);
                        wire.fade();
                    });
                    failed.extend(played.is_err().then_some(run));
                }
            }
        }
    }
    assert_eq!(failed, [""; 0]);
}
